//! The way from a simulated machine to a service, which can be spoilt and mended while both run.
//!
//! A machine's network leads its connections here, and from here they go where the [`Course`] of the
//! moment says. With another course, all connections that are open end: what a client kept open
//! would hide what has changed.
//!
//! I/O: listens on 127.0.0.1, connects to loopback; threads end with their connections.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What [`Course::Noise`] says: nothing that begins a TLS record or an answer of HTTP.
const NOISE: &[u8] = b"220 mail.example ESMTP ready\r\n";

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// To this service.
    To(SocketAddrV4),
    /// Nowhere: they are closed at once.
    Closed,
    /// Nowhere: they are taken, and nothing is ever said.
    Silent,
    /// To somebody who speaks something else.
    Noise,
    /// To this service, until so many bytes have come back on each.
    CutAfter(SocketAddrV4, u64),
}

/// A way whose course can be changed. Connections that are open end when it is dropped.
#[derive(Debug)]
pub struct Way {
    address: SocketAddrV4,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    course: Course,
    open: Vec<TcpStream>,
    taken: u64,
}

impl Way {
    /// Takes connections from now on.
    ///
    /// # Errors
    ///
    /// An I/O error if there is no free port.
    pub fn start(course: Course) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let shared = Arc::new(Mutex::new(Shared {
            course,
            open: Vec::new(),
            taken: 0,
        }));
        let of_thread = Arc::downgrade(&shared);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Dropped: nobody is led anywhere any more.
                let Some(shared) = of_thread.upgrade() else {
                    return;
                };
                thread::spawn(move || lead(&near, &shared));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Changes the course, and ends all connections.
    pub fn set(&self, course: Course) {
        let mut shared = lock(&self.shared);
        shared.course = course;
        end_all(&mut shared);
    }

    /// Where it leads now.
    pub fn course(&self) -> Course {
        lock(&self.shared).course
    }

    /// How many connections have come.
    pub fn taken(&self) -> u64 {
        lock(&self.shared).taken
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        end_all(&mut lock(&self.shared));
    }
}

fn end_all(shared: &mut Shared) {
    for stream in shared.open.drain(..) {
        // An error means that it has ended already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// One connection, to its end. An error on either side ends it, which is the client's to notice.
fn lead(near: &TcpStream, shared: &Mutex<Shared>) {
    let course = {
        let mut shared = lock(shared);
        shared.open.retain(|stream| stream.peer_addr().is_ok());
        shared.open.extend(near.try_clone());
        shared.taken = shared.taken.saturating_add(1);
        shared.course
    };
    let _ = match course {
        Course::To(service) => join(near, service, u64::MAX, shared),
        Course::CutAfter(service, bytes) => join(near, service, bytes, shared),
        Course::Closed => Ok(()),
        Course::Silent => listen_only(near),
        Course::Noise => { near }.write_all(NOISE).and_then(|()| listen_only(near)),
    };
    let _ = near.shutdown(Shutdown::Both);
}

/// Reads until the client has had enough.
fn listen_only(mut near: &TcpStream) -> io::Result<()> {
    io::copy(&mut near, &mut io::sink()).map(drop)
}

/// Copies both ways until both have ended, or `most` bytes have come back.
fn join(
    near: &TcpStream,
    service: SocketAddrV4,
    most: u64,
    shared: &Mutex<Shared>,
) -> io::Result<()> {
    let far = TcpStream::connect(service)?;
    lock(shared).open.push(far.try_clone()?);
    for stream in [near, &far] {
        stream.set_nodelay(true)?;
    }
    let (far, near) = (&far, near);
    thread::scope(|scope| {
        scope.spawn(|| {
            let copied = io::copy(&mut { near }, &mut { far });
            far.shutdown(Shutdown::Write)?;
            copied
        });
        let copied = io::copy(&mut { far }.take(most), &mut { near });
        // Of one that was cut, the service has more to say: it must end for the other direction to.
        let end = match copied {
            Ok(length) if length >= most => Shutdown::Both,
            _ => Shutdown::Write,
        };
        near.shutdown(end)?;
        if end == Shutdown::Both {
            far.shutdown(end)?;
        }
        copied.map(drop)
    })
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Answers each connection with what it said, in capitals.
    fn service() -> SocketAddrV4 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("not IPv4");
        };
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut said = [0; 5];
                stream.read_exact(&mut said).unwrap();
                // The client may have gone.
                let _ = stream.write_all(&said.to_ascii_uppercase());
            }
        });
        address
    }

    fn say(way: &Way) -> String {
        let mut stream = TcpStream::connect(way.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // What is closed at once cannot be said anything.
        let _ = stream.write_all(b"hello");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn courses_lead_where_they_say() {
        let service = service();
        let way = Way::start(Course::To(service)).unwrap();
        assert_eq!(say(&way), "HELLO");
        way.set(Course::CutAfter(service, 2));
        assert_eq!(say(&way), "HE");
        way.set(Course::Closed);
        assert_eq!(say(&way), "");
        way.set(Course::To(service));
        assert_eq!(say(&way), "HELLO");
        assert_eq!(way.taken(), 4);
    }

    #[test]
    fn another_course_ends_what_is_open() {
        let way = Way::start(Course::Silent).unwrap();
        let mut stream = TcpStream::connect(way.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(stream.read(&mut [0]).is_err(), "silent");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        way.set(Course::Closed);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn noise_is_no_tls() {
        let way = Way::start(Course::Noise).unwrap();
        let mut stream = TcpStream::connect(way.address()).unwrap();
        let mut said = [0; 3];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"220");
    }
}
