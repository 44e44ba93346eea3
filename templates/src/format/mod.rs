//! The languages of destinations: where a value may stand in them, how it is written, what parses.
//!
//! A lexer follows the template's text far enough to know where a tag stands: in a quoted string, where
//! a value is expected, elsewhere. Only the first two are slots. What it doesn't understand is no slot.
//!
//! I/O: none.

mod env;
mod haproxy;
mod json;
mod toml;
mod write;
mod yaml;

use serde::Deserialize;
use serde_json::Value;

/// The language of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// TOML. Values as a whole or in basic strings; `{{{x}}}` is a TOML value, or, on a line of its
    /// own, a TOML document.
    Toml,
    /// YAML. Values as a whole or in double quotes; `{{{x}}}` is a JSON value, which is YAML too.
    Yaml,
    /// JSON. Values as a whole or in strings; `{{{x}}}` is a JSON value.
    Json,
    /// What systemd's `EnvironmentFile=` and a shell read alike: `KEY=value`. Values as a whole or in
    /// double quotes, without control characters: neither reader, nor one that knows no quotes, can
    /// take them for another line.
    Env,
    /// HAProxy's configuration. Addresses, numbers, names and paths, from `A-Z a-z 0-9 . _ - : / * [ ]`,
    /// and behind a line's first word: the languages that HAProxy has inside a word begin with others.
    Haproxy,
    /// Any other. Values on one line, without control characters; `{{{x}}}` is any text.
    Text,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// As a whole value, with its quotes.
    Whole,
    /// In a quoted string.
    Quoted,
    /// A document in a document.
    Document,
}

/// What is wrong with a value. Never says the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The configuration has no such key, or there is no item.
    #[error("missing")]
    Missing,
    /// Null.
    #[error("expected a value, got null")]
    Null,
    /// An object where a value is needed.
    #[error("expected a value, got an object")]
    Object,
    /// A list where the format, or the slot, has none.
    #[error("expected a single value, got a list")]
    List,
    /// A section of something else.
    #[error("expected a boolean, a list or an object")]
    NotASection,
    /// `{{{x}}}` of something else.
    #[error("expected text")]
    NotText,
    /// A character that cannot be expressed.
    #[error("expected one line without control characters, got one of those")]
    Control,
    /// A character that means something to the reader.
    #[error("expected only characters that mean nothing in this format, got others")]
    Character,
    /// Empty where a word is needed.
    #[error("expected a word, got nothing")]
    Empty,
    /// A number that the format has not.
    #[error("expected a number of 64 bits with sign")]
    Number,
    /// `{{{x}}}` does not parse.
    #[error("not well-formed by itself, its line {line}")]
    Fragment {
        /// The first line that is wrong, counted from 1.
        line: usize,
    },
    /// The file has become too large, or its loops too long.
    #[error(
        "expected at most {} bytes from {} tags",
        crate::OUTPUT_LIMIT,
        crate::TAG_LIMIT
    )]
    TooLarge,
}

/// A text is not of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: not well-formed")]
pub struct NotWellFormed {
    /// The first line that is wrong, counted from 1.
    pub line: usize,
}

impl Format {
    /// The format that a file of this name has, `None` if its extension does not say.
    pub fn of_file(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "env" => Some(Self::Env),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }

    /// Parses the text, where the format has a parser here: TOML, YAML (one or more documents) and
    /// JSON. Keys that are there twice are errors.
    ///
    /// # Errors
    ///
    /// With the line, and nothing of the text.
    pub fn parse(self, text: &str) -> Result<(), NotWellFormed> {
        match self {
            Self::Toml => toml::parse(text).map(drop),
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text).map(drop),
            Self::Env | Self::Haproxy | Self::Text => Ok(()),
        }
    }

    /// Writes a value.
    pub(crate) fn write(self, slot: Slot, value: &Value, out: &mut String) -> Result<(), Problem> {
        match (self, slot) {
            (Self::Env, slot) => env::write(slot, value, out),
            (Self::Haproxy, slot) => haproxy::write(slot, value, out),
            (Self::Text, _) => write::line(value, out),
            (_, Slot::Quoted) => write::inside(value, out),
            (_, _) => write::whole(value, self == Self::Toml, out),
        }
    }

    /// Writes text that is in the format's own language.
    pub(crate) fn write_raw(self, slot: Slot, text: &str, out: &mut String) -> Result<(), Problem> {
        let fragment = |error: NotWellFormed| Problem::Fragment { line: error.line };
        match (self, slot) {
            (Self::Toml, Slot::Document) => {
                toml::parse(text).map_err(fragment)?;
                out.push_str(text);
                out.push('\n');
            }
            (Self::Toml, _) => toml::write_value(&toml::parse_value(text).map_err(fragment)?, out),
            (Self::Json | Self::Yaml, _) => {
                write::json(&json::parse(text).map_err(fragment)?, out);
            }
            (Self::Env | Self::Haproxy | Self::Text, _) => out.push_str(text),
        }
        Ok(())
    }
}

/// Follows the text of a template of some format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lexer {
    Toml(toml::Lexer),
    Yaml(yaml::Lexer),
    Json(json::Lexer),
    Env(env::Lexer),
    Haproxy(haproxy::Lexer),
    Text,
}

/// Why a tag cannot stand where it stands.
pub(crate) type Misplaced = &'static str;

/// The commonest.
const NO_SLOT: Misplaced = "a value can only stand as a whole value or in double quotes, not in a key, a comment or a word";
const GLUED: Misplaced = "expected the end of the value right behind the tag";
const NO_RAW: Misplaced = "this format has no {{{raw}}} values here";

impl Lexer {
    /// At a file's begin.
    pub(crate) fn new(format: Format) -> Self {
        match format {
            Format::Toml => Self::Toml(toml::Lexer::default()),
            Format::Yaml => Self::Yaml(yaml::Lexer::default()),
            Format::Json => Self::Json(json::Lexer::default()),
            Format::Env => Self::Env(env::Lexer::default()),
            Format::Haproxy => Self::Haproxy(haproxy::Lexer::default()),
            Format::Text => Self::Text,
        }
    }

    /// Reads text of the template.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Misplaced> {
        match self {
            Self::Toml(lexer) => lexer.text(text),
            Self::Yaml(lexer) => lexer.text(text),
            Self::Json(lexer) => lexer.text(text),
            Self::Env(lexer) => lexer.text(text),
            Self::Haproxy(lexer) => {
                lexer.text(text);
                Ok(())
            }
            Self::Text => Ok(()),
        }
    }

    /// Passes a value's tag.
    pub(crate) fn value(&mut self) -> Result<Slot, Misplaced> {
        match self {
            Self::Toml(lexer) => lexer.value(),
            Self::Yaml(lexer) => lexer.value(),
            Self::Json(lexer) => lexer.value(),
            Self::Env(lexer) => lexer.value(),
            Self::Haproxy(lexer) => lexer.value(),
            Self::Text => Ok(Slot::Whole),
        }
    }

    /// Passes the tag of text in the format's own language.
    pub(crate) fn raw(&mut self) -> Result<Slot, Misplaced> {
        match self {
            Self::Toml(lexer) => lexer.raw(),
            Self::Yaml(_) | Self::Json(_) => match self.value()? {
                Slot::Whole => Ok(Slot::Whole),
                _ => Err(NO_RAW),
            },
            Self::Env(_) | Self::Haproxy(_) => Err(NO_RAW),
            Self::Text => Ok(Slot::Whole),
        }
    }

    /// Where one is behind a section that begins here and may end there, if that is one place.
    pub(crate) fn join(&self, end: &Self) -> Option<Self> {
        match (self, end) {
            (start, end) if start == end => Some(start.clone()),
            (Self::Toml(start), Self::Toml(end)) => start.join(end).map(Self::Toml),
            (Self::Yaml(start), Self::Yaml(end)) => start.join(end).map(Self::Yaml),
            _ => None,
        }
    }
}
