//! Tells systemd how the service is doing: `sd_notify(3)`, `sd_watchdog_enabled(3)`.
//!
//! A page instead of a dependency. Left out: vsock addresses and passing file descriptors,
//! which a service in an image does not meet.
//!
//! I/O: reads `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`; sends datagrams to that socket.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use std::{env, process, thread};

/// How often and after how long what is needed is sent again: for a second in all.
const RETRIES: u32 = 50;
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The service manager's end of the notification socket; silent when there is none.
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// Connects to the socket that the service manager names, if it names one.
    pub(crate) fn from_env() -> io::Result<Self> {
        let socket = match env::var_os("NOTIFY_SOCKET") {
            Some(address) => Some(connect(&address)?),
            None => None,
        };
        Ok(Self { socket })
    }

    /// Sends newline-separated assignments such as `READY=1\nSTATUS=serving`.
    ///
    /// A service manager that does not listen is no reason to stop serving: failure is logged.
    /// `READY=1` and `RELOADING=1` come once, and their loss would fail the unit or its reload: while
    /// the manager's queue is full, they are tried again for up to a second. The others come again,
    /// or do not matter as much.
    pub(crate) fn send(&self, state: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        let is_needed = |line| matches!(line, "READY=1" | "RELOADING=1");
        let mut retries = if state.lines().any(is_needed) {
            RETRIES
        } else {
            0
        };
        while let Err(error) = socket.send(state.as_bytes()) {
            if error.kind() != io::ErrorKind::WouldBlock || retries == 0 {
                tracing::warn!("notify the service manager: {error}");
                return;
            }
            retries -= 1;
            thread::sleep(RETRY_PAUSE);
        }
    }
}

/// Tells the service manager as often as it wants that this thread is not stuck.
pub(crate) async fn keep_alive(notifier: Arc<Notifier>) {
    if let Some(interval) = watchdog_interval() {
        loop {
            notifier.send("WATCHDOG=1");
            tokio::time::sleep(interval / 2).await;
        }
    }
}

/// What a unit of `Type=notify-reload` sends when SIGHUP has come: `sd_notify(3)` wants the time
/// beside it, on the clock since the machine's start and in microseconds, to tell this reload from
/// an earlier one. `READY=1` follows when it is done.
pub(crate) fn reloading() -> String {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let microseconds = now.map_or(0, |now| Duration::from(now).as_micros());
    format!("RELOADING=1\nMONOTONIC_USEC={microseconds}")
}

/// How often the service manager expects `WATCHDOG=1` at the latest, if at all.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let usec = env::var("WATCHDOG_USEC").ok();
    let pid = env::var("WATCHDOG_PID").ok();
    parse_watchdog(usec.as_deref(), pid.as_deref(), process::id())
}

fn parse_watchdog(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    if let Some(pid) = pid
        && pid.parse() != Ok(own_pid)
    {
        return None;
    }
    match usec?.parse() {
        Ok(0) | Err(_) => None,
        Ok(usec) => Some(Duration::from_micros(usec)),
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // The manager's queue may be full; the accept loop must not wait for it.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn received(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = listener.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn abstract_socket() {
        let name = format!("cvm-agent-test-{}", process::id());
        let listener =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        Notifier {
            socket: Some(socket),
        }
        .send("READY=1");
        assert_eq!(received(&listener), "READY=1");
    }

    #[test]
    fn path_socket() {
        let path = env::temp_dir().join(format!("cvm-agent-notify-{}", process::id()));
        let listener = UnixDatagram::bind(&path).unwrap();
        let socket = connect(path.as_os_str()).unwrap();
        Notifier {
            socket: Some(socket),
        }
        .send("STOPPING=1");
        assert_eq!(received(&listener), "STOPPING=1");
        std::fs::remove_file(path).unwrap();
    }

    /// A listener that does not read, its queue full.
    fn full_queue(name: &str) -> (UnixDatagram, Notifier) {
        let name = format!("cvm-agent-test-{name}-{}", process::id());
        let listener =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        while socket.send(b"WATCHDOG=1").is_ok() {}
        let socket = Some(socket);
        (listener, Notifier { socket })
    }

    #[test]
    fn ready_waits_for_room_in_the_queue() {
        let (listener, notifier) = full_queue("room");
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            listener
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            while received(&listener) == "WATCHDOG=1" {}
        });
        notifier.send("READY=1\nSTATUS=serving");
        drop(notifier);
        reader.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (_listener, notifier) = full_queue("stuck");
        let start = Instant::now();
        notifier.send("WATCHDOG=1");
        assert!(start.elapsed() < Duration::from_millis(500));
        notifier.send("READY=1");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn watchdog_is_for_this_process_only() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(parse_watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(parse_watchdog(Some("1000000"), None, 7), second);
        assert_eq!(parse_watchdog(Some("1000000"), Some("8"), 7), None);
        assert_eq!(parse_watchdog(Some("0"), None, 7), None);
        assert_eq!(parse_watchdog(Some("soon"), None, 7), None);
        assert_eq!(parse_watchdog(None, None, 7), None);
    }
}
