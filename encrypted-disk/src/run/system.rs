//! Programs of this machine.
//!
//! I/O: starts, feeds, kills and reaps processes.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::{Call, Output, Run, RunError, one_line};

/// Where Debian has programs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// As much of what a program says is kept.
const KEPT: u64 = 64 << 10;
/// As much of what it says to standard error.
const KEPT_ERRORS: usize = 2 << 10;
const POLL: Duration = Duration::from_millis(20);
/// A killed process that waits for a disk which is gone is not waited for.
const REAPING: Duration = Duration::from_secs(5);

/// Runs the programs of this machine. Nothing of the environment is passed on.
#[derive(Clone, Debug)]
pub struct System {
    path: String,
}

impl Default for System {
    /// Those of the folders where Debian has them.
    fn default() -> Self {
        Self::looking_in(PATH)
    }
}

impl System {
    /// Those of these folders, separated by colons, as in `PATH`.
    pub fn looking_in(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

impl Run for System {
    fn run(&mut self, call: &Call<'_>) -> Result<Output, RunError> {
        let program = call.program;
        let failed = |source| RunError::Start { program, source };
        let mut child = Command::new(program)
            .args(&call.arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .current_dir("/")
            // A signal to the daemon's group is none to what it writes to the disk.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().map(read);
        let stderr = child.stderr.take().map(read);
        // Inputs are some hundred bytes, which a pipe holds: this does not wait. A program that has
        // ended without reading them says why itself.
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(call.input);
        }
        let Some(status) = wait(&mut child, call.limit).map_err(failed)? else {
            // Whether it dies is not ours to know: it may hang in the kernel.
            let _ = child.kill();
            let _ = wait(&mut child, REAPING);
            let limit = call.limit;
            return Err(RunError::TimedOut { program, limit });
        };
        let Some(code) = status.code() else {
            let signal = status.signal().unwrap_or_default();
            return Err(RunError::Killed { program, signal });
        };
        Ok(Output {
            code,
            stdout: kept(stdout),
            stderr: one_line(&kept(stderr), KEPT_ERRORS),
        })
    }
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// Reads a pipe to its end in a thread, so that a program never waits for us; keeps the beginning.
fn read(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // An error ends it as the pipe's end does: what has come is what there is.
        let _ = pipe.by_ref().take(KEPT).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = sender.send(bytes);
    });
    receiver
}

/// What a pipe gave. A grandchild may hold it open for ever, so that this does not wait for ever.
fn kept(pipe: Option<Receiver<Vec<u8>>>) -> String {
    let bytes = pipe.and_then(|pipe| pipe.recv_timeout(REAPING).ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(call: &Call<'_>) -> Result<Output, RunError> {
        System::default().run(call)
    }

    #[test]
    fn program_gets_input_and_gives_output_and_code() {
        let output = run(&Call::new("cat", ["-"]).with_input(b"key")).unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (0, "key"));
        let output = run(&Call::new("cat", ["/nowhere"])).unwrap();
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains("No such file"), "{}", output.stderr);
    }

    #[test]
    fn environment_is_not_passed_on() {
        let output = run(&Call::new("env", [""; 0])).unwrap();
        let mut lines: Vec<_> = output.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LC_ALL=C".to_owned(), format!("PATH={PATH}")]);
    }

    #[test]
    fn output_is_bounded_and_the_program_ends() {
        let output = run(&Call::new("seq", ["100000"])).unwrap();
        assert_eq!((output.code, output.stdout.len() as u64), (0, KEPT));
    }

    #[test]
    fn program_that_hangs_is_killed() {
        let call = Call::new("sleep", ["60"]).within(Duration::from_millis(100));
        let begin = Instant::now();
        let error = run(&call).unwrap_err();
        assert!(
            matches!(
                error,
                RunError::TimedOut {
                    program: "sleep",
                    ..
                }
            ),
            "{error}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn missing_and_killed_programs_are_said() {
        let error = run(&Call::new("no-such-program", [""; 0])).unwrap_err();
        assert!(matches!(error, RunError::Start { .. }), "{error}");
        let error = run(&Call::new("sh", ["-c", "kill -9 $$"])).unwrap_err();
        assert!(
            matches!(error, RunError::Killed { signal: 9, .. }),
            "{error}"
        );
    }

    #[test]
    fn input_is_not_printed() {
        let call = Call::new("cryptsetup", ["open"]).with_input(b"secret");
        assert_eq!(
            format!("{call:?} {call}"),
            "cryptsetup open cryptsetup open"
        );
    }
}
