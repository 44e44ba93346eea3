//! Tells which ports a guest answers on, from the host's side of QEMU's user network.
//!
//! QEMU accepts a forwarded connection on the host before the guest has said anything, so
//! connecting proves nothing. But QEMU knows what became of it: `info usernet` shows the state
//! of the TCP connection with the guest.
//!
//! I/O: QMP, and sockets on 127.0.0.1.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::machine::{MachineError, Running};

/// How long a guest under emulation may take to answer a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a guest did with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Nothing: the packets were dropped.
    Dropped,
    /// It refused.
    Refused,
    /// It accepted.
    Accepted,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Accepted => "accepted",
        })
    }
}

/// One line of `info usernet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `TCP[ESTABLISHED]`, `TCP[HOST_FORWARD]`, `UDP[HOST_FORWARD]`, …
    pub state: String,
    /// The port on the host, for forwards and forwarded connections.
    pub host_port: u16,
    /// The port of the guest.
    pub guest_port: u16,
}

/// Parses the output of `info usernet`; lines that are no connection are skipped.
pub fn parse_usernet(text: &str) -> Vec<Connection> {
    text.lines().filter_map(parse_connection).collect()
}

/// `TCP[ESTABLISHED]  17  127.0.0.1 18080  10.0.2.15 8080  0  0`; ICMP has other columns.
fn parse_connection(line: &str) -> Option<Connection> {
    let mut words = line.split_whitespace();
    let state = words.next().filter(|word| word.ends_with(']'))?;
    let [_descriptor, _source, host_port, _guest, guest_port] = [
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
        words.next()?,
    ];
    Some(Connection {
        state: state.to_owned(),
        host_port: host_port.parse().ok()?,
        guest_port: guest_port.parse().ok()?,
    })
}

/// What the guest did with a connection to `guest_port` that is in these states; `None` if there
/// is none any more.
fn classify(connections: &[Connection], guest_port: u16) -> Option<Answer> {
    connections
        .iter()
        .filter(|connection| connection.guest_port == guest_port)
        .filter_map(|connection| match connection.state.as_str() {
            "TCP[SYN_SENT]" => Some(Answer::Dropped),
            "TCP[HOST_FORWARD]" | "TCP[CLOSED]" => None,
            state if state.starts_with("TCP[") => Some(Answer::Accepted),
            _ => None,
        })
        .max()
}

/// Connects to each of the guest's TCP ports, all at once, and tells what it did.
///
/// A port that the guest refuses, and one that it accepts and closes within the time between two
/// looks, are told apart by looking every few milliseconds while it may answer.
///
/// # Errors
///
/// [`MachineError`] if QEMU is gone.
pub fn probe_tcp(machine: &Running, ports: &[u16]) -> Result<BTreeMap<u16, Answer>, MachineError> {
    let mut answers = BTreeMap::new();
    let mut streams = Vec::new();
    for &port in ports {
        let host_port = machine.forward_tcp(port)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, host_port));
        let mut stream = TcpStream::connect(address).map_err(MachineError::Io)?;
        // Something to answer to, for services that wait for the client. What became of it
        // shows in the connection's state.
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
        streams.push(stream);
        look(machine, ports, &mut answers)?;
    }
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        look(machine, ports, &mut answers)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    // Seen waiting once, but gone now: refused. Still waiting: dropped.
    let now = parse_usernet(&machine.usernet()?);
    for (port, answer) in &mut answers {
        if *answer != Answer::Accepted && classify(&now, *port).is_none() {
            *answer = Answer::Refused;
        }
    }
    Ok(answers)
}

fn look(
    machine: &Running,
    ports: &[u16],
    answers: &mut BTreeMap<u16, Answer>,
) -> Result<(), MachineError> {
    let now = parse_usernet(&machine.usernet()?);
    for &port in ports {
        let seen = classify(&now, port).unwrap_or(Answer::Dropped);
        let answer = answers.entry(port).or_insert(seen);
        *answer = seen.max(*answer);
    }
    Ok(())
}

/// Sends a datagram to each of the guest's UDP ports and returns those that sent one back.
///
/// Silence proves little for UDP: a service may not like what it was sent. The payloads are
/// requests that DNS, LLMNR, NTP and the like answer.
///
/// # Errors
///
/// [`MachineError`] if QEMU is gone or no socket can be had.
pub fn probe_udp(machine: &Running, ports: &[u16]) -> Result<Vec<u16>, MachineError> {
    let mut sockets = Vec::new();
    for &port in ports {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(MachineError::Io)?;
        let host_port = machine.forward_udp(port)?;
        socket
            .connect((Ipv4Addr::LOCALHOST, host_port))
            .and_then(|()| socket.send(&udp_request(port)))
            .and_then(|_| socket.set_nonblocking(true))
            .map_err(MachineError::Io)?;
        sockets.push((port, socket));
    }
    std::thread::sleep(PATIENCE);
    Ok(sockets
        .into_iter()
        .filter(|(_, socket)| has_answer(socket))
        .map(|(port, _)| port)
        .collect())
}

fn has_answer(socket: &UdpSocket) -> bool {
    let answer: io::Result<usize> = socket.recv(&mut [0; 1500]);
    answer.is_ok()
}

/// A request that the service usual on `port` answers.
fn udp_request(port: u16) -> Vec<u8> {
    match port {
        // NTP, RFC 5905: version 4, client; the other 47 bytes may be zero.
        123 => [&[0x23u8][..], &[0; 47]].concat(),
        // DNS and its kin, RFC 1035: one question, the root's name servers.
        _ => vec![
            0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, /* . */ 0, 0, 2, 0, 1,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERNET: &str = "\
Hub -1 (n0):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[ESTABLISHED]   31       127.0.0.1 40001       10.0.2.15  7936     0     0\r
  TCP[SYN_SENT]      30       127.0.0.1 40002       10.0.2.15    22     0    18\r
  TCP[HOST_FORWARD]  12       127.0.0.1 40003       10.0.2.15    80     0     0\r
  UDP[HOST_FORWARD]  13       127.0.0.1 40004       10.0.2.15    53     0     0\r
  ICMP[10 sec]       14       10.0.2.15   -          10.0.2.2     0     0     0\r
";

    #[test]
    fn connections_are_classified() {
        let connections = parse_usernet(USERNET);
        assert_eq!(connections.len(), 4);
        assert_eq!(classify(&connections, 7936), Some(Answer::Accepted));
        assert_eq!(classify(&connections, 22), Some(Answer::Dropped));
        assert_eq!(classify(&connections, 80), None);
        assert_eq!(classify(&connections, 53), None);
    }

    #[test]
    fn connection_that_the_guest_closed_was_accepted() {
        let line = "TCP[CLOSE_WAIT] 31 127.0.0.1 40001 10.0.2.15 7936 0 0";
        let connections = parse_usernet(line);
        assert_eq!(classify(&connections, 7936), Some(Answer::Accepted));
    }

    #[test]
    fn requests_have_the_size_that_the_protocols_ask_for() {
        assert_eq!(udp_request(123).len(), 48);
        assert_eq!(udp_request(53).len(), 17);
    }
}
