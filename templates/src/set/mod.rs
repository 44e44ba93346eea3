//! A folder of templates, rendered, checked and swapped as one.
//!
//! I/O: reads the folder of templates; the rest is in the modules below.

mod accounts;
mod check;
mod commit;
mod declaration;
mod destination;
mod journal;
mod plan;
mod root;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use accounts::Account;
pub use check::{CheckError, Checked, Checker};
pub use commit::{Change, ChangeKind, Changes, CommitError};
pub use declaration::Declaration;
pub use destination::Destination;
pub use root::Root;
use serde_json::Value;

use crate::TEMPLATE_LIMIT;
use crate::compat::{Data, FileName, Mode, Mustache, Warning};
use crate::format::Format;
use crate::template::{ParseError, RenderError, Template};
use crate::values::{Values, ValuesError};

/// How a declaration's file is named, behind the template's name.
const DECLARATION: &str = ".template.toml";

/// The templates of a folder.
#[derive(Debug, Clone)]
pub struct Set {
    entries: Vec<Entry>,
}

/// One template.
#[derive(Debug, Clone)]
struct Entry {
    /// Path in the folder.
    template: String,
    destination: Destination,
    engine: Engine,
    declaration: Declaration,
}

#[derive(Debug, Clone)]
enum Engine {
    Strict(Template),
    Compat(Mustache, Mode),
}

/// Why a folder is no set of templates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file or folder cannot be read, or is not UTF-8.
    #[error("read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither file nor folder, or a name that cannot be a destination's.
    #[error("{path}: expected a file or folder with a name of printable characters")]
    NotATemplate {
        /// Which.
        path: PathBuf,
    },
    /// Part of the name of a Mustache template, but not all.
    #[error("{path}: expected NAME.mustache[_unsafe][_MODE], three or four octal digits as mode")]
    FileName {
        /// Which.
        path: PathBuf,
    },
    /// A declaration is wrong.
    #[error("{path}: {reason}")]
    Declaration {
        /// Which.
        path: PathBuf,
        /// With line and column where there are some.
        reason: String,
    },
    /// A declaration without its template.
    #[error("{path}: there is no template beside it")]
    Orphan {
        /// Which.
        path: PathBuf,
    },
    /// The extension says no format, nor does a declaration.
    #[error("{path}: the format is not known, declare it: format = \"…\" in {path}{DECLARATION}")]
    Format {
        /// Which.
        path: String,
    },
    /// Two templates for one destination, or one's destination is another's folder.
    #[error("{first} and {second} cannot both be there")]
    Conflict {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A template cannot be parsed.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Why a set cannot be rendered with this configuration. Never says a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetRenderError {
    /// The configuration itself is wrong.
    #[error("configuration: {0}")]
    Values(#[from] ValuesError),
    /// A template cannot be rendered.
    #[error(transparent)]
    Template(#[from] RenderError),
}

impl Set {
    /// Reads all templates below a folder.
    ///
    /// # Errors
    ///
    /// If one cannot be parsed, or its declaration is wrong; names the file.
    pub fn read(folder: &Path) -> Result<Self, ReadError> {
        let mut files = BTreeMap::new();
        read_folder(folder, "", &mut files)?;
        let mut entries: Vec<Entry> = Vec::new();
        for (path, source) in &files {
            if let Some(template) = path.strip_suffix(DECLARATION) {
                if !files.contains_key(template) {
                    let path = path.into();
                    return Err(ReadError::Orphan { path });
                }
                continue;
            }
            let declaration = format!("{path}{DECLARATION}");
            let declared = match files.get(&declaration) {
                None => Declaration::default(),
                Some(text) => {
                    Declaration::parse(text).map_err(|reason| ReadError::Declaration {
                        path: declaration.into(),
                        reason,
                    })?
                }
            };
            let entry = Entry::parse(path, source, declared)?;
            let other = entries
                .iter()
                .find(|other| other.destination.conflicts(&entry.destination));
            if let Some(other) = other {
                return Err(ReadError::Conflict {
                    first: other.template.clone(),
                    second: entry.template,
                });
            }
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// Renders all of them.
    ///
    /// # Errors
    ///
    /// Names the first template, line and key that is wrong, never a value.
    pub fn render(&self, configuration: &Value) -> Result<Rendered, SetRenderError> {
        let values = Values::new(configuration)?;
        // Each is as large as the configuration.
        let needed = |mode| {
            let is_needed =
                |entry: &Entry| matches!(entry.engine, Engine::Compat(_, it) if it == mode);
            let data = || Data::new(configuration, mode);
            self.entries.iter().any(is_needed).then(data).transpose()
        };
        let (safe, decoded) = (needed(Mode::Safe)?, needed(Mode::Unsafe)?);
        let mut rendered = Rendered {
            files: Vec::new(),
            warnings: Vec::new(),
        };
        for entry in &self.entries {
            if !entry.is_wanted(&values) {
                continue;
            }
            let content = match &entry.engine {
                Engine::Strict(template) => template.render(&values)?,
                Engine::Compat(template, mode) => {
                    let data = if *mode == Mode::Safe { &safe } else { &decoded };
                    let Some(data) = data else { continue };
                    let (content, warnings) = template.render(data)?;
                    rendered.warnings.extend(warnings);
                    content
                }
            };
            rendered.files.push(File {
                destination: entry.destination.clone(),
                declaration: entry.declaration.clone(),
                content,
            });
        }
        Ok(rendered)
    }

    /// What is rendered to where: templates and destinations, as paths relative to their roots.
    pub fn destinations(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.template.as_str(), entry.destination.as_str()))
    }
}

impl Entry {
    fn parse(path: &str, source: &str, mut declaration: Declaration) -> Result<Self, ReadError> {
        let template = path.to_owned();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let not_a_template = || ReadError::NotATemplate { path: path.into() };
        let destination = |name: &str| {
            let path = Path::new(folder).join(name);
            path.to_str()
                .and_then(Destination::parse)
                .ok_or_else(not_a_template)
        };
        if !name.contains(".mustache") {
            let format = declaration.format.or_else(|| Format::of_file(name));
            let format = format.ok_or_else(|| ReadError::Format {
                path: path.to_owned(),
            })?;
            declaration.format = Some(format);
            return Ok(Self {
                destination: destination(name)?,
                engine: Engine::Strict(Template::parse(path, source, format)?),
                template,
                declaration,
            });
        }
        let wrong = || ReadError::FileName { path: path.into() };
        let parsed = FileName::parse(name).ok_or_else(wrong)?;
        if let Some(permissions) = parsed.permissions {
            let checked = declaration::check_permissions(permissions).ok_or_else(wrong)?;
            declaration.permissions.get_or_insert(checked);
        }
        let format = declaration.format;
        declaration.format = format.or_else(|| Format::of_file(&parsed.destination));
        Ok(Self {
            destination: destination(&parsed.destination)?,
            engine: Engine::Compat(Mustache::parse(path, source)?, parsed.mode),
            template,
            declaration,
        })
    }

    /// Whether the key that it is for is there.
    fn is_wanted(&self, values: &Values) -> bool {
        let name = self.declaration.only_with.as_ref();
        name.is_none_or(|name| {
            name.find(values.root(), None)
                .is_some_and(|value| !value.is_null())
        })
    }
}

/// What a set was rendered to, in memory.
pub struct Rendered {
    files: Vec<File>,
    warnings: Vec<Warning>,
}

/// One file.
struct File {
    destination: Destination,
    declaration: Declaration,
    content: String,
}

impl Rendered {
    /// What templates of existing images rendered as nothing.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What a destination will hold; a secret. `None` if nothing is rendered for it.
    pub fn content(&self, destination: &str) -> Option<&str> {
        let mut files = self.files.iter();
        let file = files.find(|file| file.destination.as_str() == destination);
        file.map(|file| file.content.as_str())
    }
}

impl fmt::Debug for Rendered {
    /// Without what the files hold, which is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.files.iter().map(|file| file.destination.as_str());
        f.debug_set().entries(names).finish()
    }
}

/// All files below a folder, by path; nothing but folders and files is accepted.
fn read_folder(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<(), ReadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| ReadError::Io { path, source }
    };
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let wrong = || ReadError::NotATemplate { path: path.clone() };
        let file_name = entry.file_name();
        let name = file_name.to_str().ok_or_else(wrong)?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            read_folder(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            let size = entry.metadata().map_err(failed(&path))?.len();
            if size > TEMPLATE_LIMIT as u64 {
                let error = io::Error::from(io::ErrorKind::FileTooLarge);
                return Err(failed(&path)(error));
            }
            files.insert(name, fs::read_to_string(&path).map_err(failed(&path))?);
        } else {
            return Err(wrong());
        }
    }
    Ok(())
}
