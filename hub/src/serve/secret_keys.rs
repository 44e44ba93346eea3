//! Where the keys come from that seal secrets: a file, a program, or with SQLite a file that is made.
//!
//! A program is for keys that a KMS, an HSM or a TPM keeps: it runs once at the start, unwraps, and
//! writes to its standard output what a key file would hold. No shell is between.
//!
//! I/O: reads or creates the key file; runs the program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::database::postgres;
use crate::sealing::Keys;

/// Most bytes of keys: some nine hundred of them.
const MOST_KEYS: usize = 64 << 10;

/// Most bytes of what a program that fails has to say.
const MOST_WORDS: usize = 2 << 10;

/// Variables of options that are, or may hold, passwords.
const SECRET_VARIABLES: [&str; 3] = ["DATABASE", "POSTGRES_DSN", "ADMIN_BASIC_PASSWORD_BCRYPT"];

/// Where the keys are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Secrets at rest")]
pub(crate) struct SecretKeyArguments {
    /// Keys that seal secrets, one `id:hex` a line, the first seals (default with SQLite: the
    /// database's name and .key, made if missing)
    #[arg(long, env = "SECRETS_KEY_FILE", value_name = "FILE")]
    secrets_key_file: Option<PathBuf>,

    /// Run this program at the start and take what it writes to standard output for the key file
    #[arg(
        long,
        env = "SECRETS_KEY_COMMAND",
        value_name = "PROGRAM",
        conflicts_with = "secrets_key_file"
    )]
    secrets_key_command: Option<PathBuf>,

    /// An argument for that program, as it is; repeat it for more
    #[arg(
        long,
        value_name = "TEXT",
        requires = "secrets_key_command",
        allow_hyphen_values = true
    )]
    secrets_key_argument: Vec<OsString>,

    /// How long that program may take
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    secrets_key_seconds: u64,
}

impl SecretKeyArguments {
    /// Gets the keys for the database at `location`.
    ///
    /// # Errors
    ///
    /// If there are none, or what is there is no key file. Nothing of a key is ever in the error.
    pub(super) async fn keys(&self, location: &str) -> anyhow::Result<Keys> {
        if let Some(path) = &self.secrets_key_file {
            ensure!(
                self.secrets_key_argument.is_empty(),
                "--secrets-key-argument is for --secrets-key-command"
            );
            return Keys::read(path);
        }
        if let Some(program) = &self.secrets_key_command {
            let limit = Duration::from_secs(self.secrets_key_seconds);
            let text = output(program, &self.secrets_key_argument, limit).await;
            let context = || format!("get the keys for secrets from {}", program.display());
            return text
                .and_then(|text| Keys::parse(&text))
                .with_context(context);
        }
        if postgres::is_url(location) {
            bail!(
                "PostgreSQL needs --secrets-key-file or --secrets-key-command: make a key with \
                 `builderhub key new FILE`"
            );
        }
        let path = PathBuf::from(format!("{location}.key"));
        if !path.exists() {
            Keys::create(&path)?;
            let path = path.display();
            tracing::warn!(%path, "made a key for secrets: keep a copy, and away from the database's");
        }
        Keys::read(&path)
    }
}

/// What a program writes to its standard output until it ends well.
async fn output(program: &Path, arguments: &[OsString], limit: Duration) -> anyhow::Result<String> {
    // Which program PATH means is decided by whoever sets it.
    ensure!(program.is_absolute(), "expected an absolute path");
    let mut command = Command::new(program);
    // It needs none of the hub's other secrets.
    for name in SECRET_VARIABLES {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: what it started ends with it.
    let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let result = match tokio::time::timeout(limit, collect(&mut child)).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("it took longer than {limit:?}")),
    };
    if result.is_err()
        && let Some(group) = group.and_then(Pid::from_raw)
    {
        // Whoever has left the group is not reached. An error means that nobody is in it any more;
        // nothing more could be done about another one.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let (status, keys, words) = result?;
    ensure!(status.success(), "it failed ({status}){}", said(&words));
    // Not the library's error: it would say where in the key it is.
    String::from_utf8(keys).map_err(|_| anyhow::anyhow!("expected text on its standard output"))
}

/// Both outputs to their ends, then how it ended.
async fn collect(child: &mut Child) -> anyhow::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (keys, words) = tokio::try_join!(all(stdout), beginning(stderr))?;
    let status = child.wait().await.context("wait for it")?;
    Ok((status, keys, words))
}

async fn all(stdout: Option<impl AsyncRead + Unpin>) -> anyhow::Result<Vec<u8>> {
    let mut keys = Vec::new();
    if let Some(stdout) = stdout {
        let most = u64::try_from(MOST_KEYS.saturating_add(1)).unwrap_or(u64::MAX);
        let read = stdout.take(most).read_to_end(&mut keys).await;
        read.context("read its standard output")?;
    }
    ensure!(
        keys.len() <= MOST_KEYS,
        "it wrote more than {MOST_KEYS} bytes"
    );
    Ok(keys)
}

/// Reads on to the end, so that nobody waits for a reader.
async fn beginning(stderr: Option<impl AsyncRead + Unpin>) -> anyhow::Result<Vec<u8>> {
    let mut words = Vec::new();
    let Some(mut stderr) = stderr else {
        return Ok(words);
    };
    let mut buffer = [0; 4096];
    loop {
        let read = stderr.read(&mut buffer).await;
        let read = read.context("read its standard error")?;
        if read == 0 {
            return Ok(words);
        }
        let room = MOST_WORDS.saturating_sub(words.len());
        words.extend(buffer.iter().take(read.min(room)));
    }
}

/// Words for people, in one line.
fn said(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.trim().chars().map(plain).collect();
    match line.is_empty() {
        true => String::new(),
        false => format!(" and said: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn shell(script: &str, limit: Duration) -> anyhow::Result<String> {
        let arguments = ["-c", script].map(OsString::from);
        output(Path::new("/bin/sh"), &arguments, limit).await
    }

    #[tokio::test]
    async fn what_a_program_writes_is_taken() {
        assert_eq!(shell("echo a; echo note >&2", LONG).await.unwrap(), "a\n");
        let arguments = ["$HOME", "a b"].map(OsString::from);
        let echoed = output(Path::new("/bin/echo"), &arguments, LONG).await;
        assert_eq!(echoed.unwrap(), "$HOME a b\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted_and_its_output_is_not() {
        let script = "echo hidden; printf 'no\\n\\033such key' >&2; exit 3";
        let error = format!("{:#}", shell(script, LONG).await.unwrap_err());
        let expected = "it failed (exit status: 3) and said: no  such key";
        assert_eq!(error, expected);
        let error = shell("kill -9 $$", LONG).await.unwrap_err().to_string();
        assert!(error.contains("signal: 9"), "{error}");
        let error = output(Path::new("sh"), &[], LONG).await.unwrap_err();
        assert_eq!(error.to_string(), "expected an absolute path");
        let missing = output(Path::new("/nonexistent/kms"), &[], LONG).await;
        assert!(missing.unwrap_err().to_string().contains("No such file"));
    }

    #[tokio::test]
    async fn a_flood_of_words_or_bytes_ends() {
        let words = "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1";
        let error = shell(words, LONG).await.unwrap_err().to_string();
        assert!(error.len() < 3000, "{}", error.len());
        let error = shell("yes", LONG).await.unwrap_err().to_string();
        assert_eq!(error, "it wrote more than 65536 bytes");
        let error = shell("printf '\\377'", LONG).await.unwrap_err().to_string();
        assert_eq!(error, "expected text on its standard output");
    }

    #[tokio::test]
    async fn what_a_program_that_hangs_has_started_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        // Its child keeps the output open and would outlive it.
        let script = format!("sleep 600 & echo $! > {}; exit 0", file.display());
        let mut pid = String::new();
        // A machine that has other things to do may not get that far in the first time.
        for limit in [1, 5, 30].map(Duration::from_secs) {
            let error = shell(&script, limit).await.unwrap_err().to_string();
            assert_eq!(error, format!("it took longer than {limit:?}"));
            pid = std::fs::read_to_string(&file).unwrap_or_default();
            if pid.ends_with('\n') {
                break;
            }
        }
        assert!(pid.ends_with('\n'), "it never began: {pid:?}");
        let stat = PathBuf::from("/proc").join(pid.trim()).join("stat");
        // Gone, or a zombie that nobody has collected yet.
        let start = std::time::Instant::now();
        while start.elapsed() < LONG {
            match std::fs::read_to_string(&stat) {
                Ok(stat) if !stat.contains(") Z ") => {}
                _ => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it still runs");
    }
}
