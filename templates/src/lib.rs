//! Renders configuration files strictly: a missing value is an error, every value is escaped.
//!
//! A [`Set`] is a folder of templates in which a path is a destination: `etc/x.toml` in it is what
//! `/etc/x.toml` is rendered from. All are rendered, all are checked, and only then are files
//! swapped; [`Changes`] says which units have to know.
//!
//! ```no_run
//! use std::process::Command;
//! use templates::{Root, Set};
//!
//! fn render(configuration: &serde_json::Value) -> Result<(), Box<dyn std::error::Error>> {
//!     // Rendered at run time: destinations below `/`, what the crate has to remember in `/run`.
//!     let root = Root::new("/", "/run/cvm-agent/templates");
//!     let rendered = Set::read("/usr/share/cvm-agent/templates".as_ref())?.render(configuration)?;
//!     let checked = rendered.check(&root, |checker| {
//!         Command::new(checker.program).args(checker.arguments).status()
//!     })?;
//!     let changes = checked.commit()?;
//!     for unit in changes.restart() {
//!         Command::new("systemctl").args(["try-restart", unit]).status()?;
//!     }
//!     for unit in changes.reload() {
//!         Command::new("systemctl").args(["try-reload-or-restart", unit]).status()?;
//!     }
//!     // Only now forgotten: after a crash above, the next commit reports the same again.
//!     Ok(changes.done()?)
//! }
//! ```
//!
//! # Templates
//!
//! Tags are Mustache's, their meaning is strict. A name is a key of the configuration, from its root:
//! `{{a.b}}`. In a section of a list or object a leading dot means the item: `{{.name}}`, `{{.}}`.
//! Nothing is looked up anywhere else.
//!
//! | tag | what |
//! |---|---|
//! | `{{a.b}}` | the value, escaped for where it stands; missing, null or an object is an error |
//! | `{{#a.b}}…{{/a.b}}` | for each item of the list; for the object; if the boolean is true |
//! | `{{^a.b}}…{{/a.b}}` | if the list is empty or the boolean false |
//! | `{{#a.b?}}`, `{{^a.b?}}` | the same, of a key that may be missing or null; also of a string or number |
//! | `{{{a.b}}}` | text in the destination's own language: a TOML or JSON value, a whole TOML document, any text in a `text` file. It is parsed before it is put in |
//! | `{{! … }}`, `{{=<% %>=}}` | comment; other delimiters |
//!
//! Where a value may stand depends on the [`Format`], and is checked when the template is parsed: in
//! TOML, YAML and JSON as a whole value (`port = {{port}}`, quotes are written by us) or within double
//! quotes (`"http://{{host}}/"`), in env files the same. Never as a key, in a comment, in other quotes.
//! So no value makes a second key, line or section of any of the formats.
//!
//! `NAME.template.toml` beside the template `NAME` declares the rest, see [`Declaration`]. A key
//! `x#base64` is seen as `x`, decoded.
//!
//! Files named `NAME.mustache…` are rendered as existing images render them, see [`compat`].
//!
//! # Why an engine of our own
//!
//! Libraries escape by file, at best; what keeps a value in its place is knowing *where* in the file it
//! stands. The existing templates need a Mustache engine with the flaws that they rely on; the strict
//! language is the same grammar, so that both are one parser, and a template computes nothing.
//!
//! # Trust
//!
//! Templates and declarations are measured with the image; values come from the hub. Errors and
//! warnings name templates, lines and keys, never a value. What a checker prints may hold values; it
//! does not pass through here.
//!
//! I/O: reads the folder of templates; writes destinations below [`Root`], nothing else.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

pub mod compat;
mod format;
mod grammar;
mod name;
mod set;
mod template;
mod values;

pub use format::{Format, NotWellFormed, Problem};
pub use grammar::SyntaxError;
pub use set::{
    Account, Change, ChangeKind, Changes, CheckError, Checked, Checker, CommitError, Declaration,
    Destination, ReadError, Rendered, Root, Set, SetRenderError,
};
pub use template::{ParseError, RenderError, Template};
pub use values::{Values, ValuesError};

/// Largest template.
pub const TEMPLATE_LIMIT: usize = 1 << 20;
/// Largest file that is rendered.
pub const OUTPUT_LIMIT: usize = 4 << 20;
/// Most tags that are rendered for one file, those of loops counted each time.
pub const TAG_LIMIT: usize = 1 << 20;
