//! UKIs of all shapes, made by ukify.
//!
//! I/O: runs ukify; files in the directory that it is given.

use std::fs;
use std::path::{Path, PathBuf};

use super::{MakeError, pe};
use crate::child::run_tool;

/// What is in a UKI beside its stub and its kernel.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// `.cmdline`, byte for byte.
    pub command_line: Option<Vec<u8>>,
    /// `.osrel`.
    pub os_release: Option<String>,
    /// `.initrd`.
    pub initrd: Option<Vec<u8>>,
    /// `.uname`.
    pub uname: Option<String>,
    /// What is added to the stub's `.sbat`.
    pub sbat: Option<String>,
    /// `.ucode`.
    pub microcode: Option<Vec<u8>>,
    /// `.splash`.
    pub splash: Option<Vec<u8>>,
    /// `.pcrsig`.
    pub signature: Option<Vec<u8>>,
    /// `.pcrpkey`.
    pub key: Option<Vec<u8>>,
    /// The first is for the sections above, each further one has its own command line.
    pub profiles: Vec<Profile>,
    /// A section that is to be larger in memory than in the file.
    pub stretched: Option<&'static str>,
}

/// One profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `.profile`.
    pub text: String,
    /// Its `.cmdline`; of the first, [`Recipe::command_line`] counts.
    pub command_line: Option<String>,
}

impl Recipe {
    /// Makes the UKI `NAME.efi` in `directory` and returns its path.
    ///
    /// # Errors
    ///
    /// [`MakeError::Tool`] if ukify is missing, or cannot make it of this stub.
    pub fn make(
        &self,
        name: &str,
        stub: &Path,
        kernel: &Path,
        directory: &Path,
    ) -> Result<PathBuf, MakeError> {
        let mut build = Build {
            directory,
            name,
            arguments: vec!["build".to_owned()],
        };
        build.option("stub", &stub.to_string_lossy());
        build.option("linux", &kernel.to_string_lossy());
        self.add_sections(&mut build)?;
        for (number, profile) in self.profiles.iter().enumerate() {
            if number == 0 {
                build.option("profile", &profile.text);
            } else {
                let joined = profile.make(&format!("{name}.profile{number}"), directory)?;
                build.option("join-profile", &joined.to_string_lossy());
            }
        }
        let path = build.run()?;
        let mut uki = fs::read(&path)?;
        self.change(&mut uki)?;
        fs::write(&path, uki)?;
        Ok(path)
    }

    fn add_sections(&self, build: &mut Build<'_>) -> Result<(), MakeError> {
        // ukify decodes and trims it: the true one is put into its place afterwards.
        if let Some(text) = &self.command_line {
            build.option("cmdline", &"x".repeat(text.len()));
        }
        // Where there is none, ukify takes that of the system, and looks for a name in the kernel.
        build.option("os-release", self.os_release.as_deref().unwrap_or_default());
        build.option("uname", self.uname.as_deref().unwrap_or_default());
        if let Some(text) = &self.sbat {
            build.option("sbat", text);
        }
        build.file("initrd", "", self.initrd.as_deref())?;
        build.file("microcode", "", self.microcode.as_deref())?;
        build.file("splash", "", self.splash.as_deref())?;
        build.file("pcrpkey", "", self.key.as_deref())?;
        build.file("section", ".pcrsig:@", self.signature.as_deref())
    }

    fn change(&self, uki: &mut [u8]) -> Result<(), MakeError> {
        if let Some(text) = &self.command_line {
            pe::replace(uki, ".cmdline", text)?;
        }
        if let Some(name) = self.stretched {
            pe::stretch(uki, name)?;
        }
        pe::part(uki).map(drop)
    }
}

impl Profile {
    /// Makes a PE with this profile's sections alone, to be joined to others.
    fn make(&self, name: &str, directory: &Path) -> Result<PathBuf, MakeError> {
        let mut build = Build {
            directory,
            name,
            arguments: vec!["build".to_owned()],
        };
        build.option("profile", &self.text);
        if let Some(text) = &self.command_line {
            build.option("cmdline", text);
        }
        build.run()
    }
}

/// A run of ukify that is being put together.
struct Build<'a> {
    directory: &'a Path,
    name: &'a str,
    arguments: Vec<String>,
}

impl Build<'_> {
    fn option(&mut self, option: &str, value: &str) {
        self.arguments.push(format!("--{option}={value}"));
    }

    /// Adds an option whose value is a file with these contents, if there are any.
    fn file(
        &mut self,
        option: &str,
        prefix: &str,
        contents: Option<&[u8]>,
    ) -> Result<(), MakeError> {
        if let Some(contents) = contents {
            let path = self.directory.join(format!("{}.{option}", self.name));
            fs::write(&path, contents)?;
            self.option(option, &format!("{prefix}{}", path.display()));
        }
        Ok(())
    }

    fn run(mut self) -> Result<PathBuf, MakeError> {
        let path = self.directory.join(format!("{}.efi", self.name));
        self.option("output", &path.to_string_lossy());
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        run_tool("ukify", &arguments)?;
        Ok(path)
    }
}
