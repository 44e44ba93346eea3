//! Child processes that never outlive the program that started them.
//!
//! I/O: starts, signals and reaps processes.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a waiting function looks again.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// A tool that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The tool could not be started; most often it is not installed.
    #[error("{tool} could not be started")]
    Start {
        /// The program's name.
        tool: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// The tool ended with an error.
    #[error("{tool} failed ({status}): {stderr}")]
    Failed {
        /// The program's name.
        tool: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// A running child process, killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
}

impl Child {
    /// Starts `command`, which should come from [`dependent`].
    ///
    /// # Errors
    ///
    /// [`ToolError::Start`] if it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self, ToolError> {
        let inner = command.spawn().map_err(|source| ToolError::Start {
            tool: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        Ok(Self { inner })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Takes the pipe to the child's standard input, if it has one.
    pub fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.inner.stdin.take()
    }

    /// Takes the pipe from the child's standard output, if it has one.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.inner.stdout.take()
    }

    /// The exit status, if the child has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.inner.try_wait().ok().flatten()
    }

    /// Waits until the child ends or `timeout` has passed.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            let status = self.try_wait();
            if status.is_some() || Instant::now() >= end {
                return status;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills and reaps the child.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command whose process is killed when the thread that starts it ends, even by SIGKILL.
///
/// `setpriv --pdeathsig` sets it without any unsafe code of ours. The child is in a process
/// group of its own, so that Ctrl-C reaches us alone and we end it in order.
pub fn dependent(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", program])
        .process_group(0)
        .stdin(Stdio::null());
    command
}

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
///
/// [`ToolError`] if it cannot be started or fails.
pub fn run_tool(program: &str, arguments: &[&str]) -> Result<Vec<u8>, ToolError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolError::Start {
            tool: program.to_owned(),
            source,
        })?;
    if !output.status.success() {
        return Err(ToolError::Failed {
            tool: program.to_owned(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(output.stdout)
}

/// Where `program` is on the search path.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_child_is_gone() {
        let child = Child::spawn(dependent("sleep").arg("600")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        assert!(proc.exists());
        drop(child);
        assert!(!proc.exists());
    }

    #[test]
    fn failing_tool_says_what_it_said() {
        let error = run_tool("sh", &["-c", "echo no such thing >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[test]
    fn finds_what_is_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("surely-not-a-program").is_none());
    }
}
