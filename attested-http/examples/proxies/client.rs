//! Clients that do as little as can be, so that what they talk to is what is measured.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf, sink};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::CHUNK;
use crate::peer::Failure;

/// Seconds that each of some requests took, and all of them together.
pub(crate) struct Taken {
    each: Vec<f64>,
    elapsed: f64,
    pub(crate) count: f64,
}

impl Taken {
    pub(crate) fn per_second(&self) -> f64 {
        self.count / self.elapsed
    }

    /// Half of the requests took no longer than the first, 99 of 100 no longer than the second.
    pub(crate) fn quantiles(&self) -> (f64, f64) {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)];
        (at(50), at(99))
    }
}

/// One client, one request after the other.
pub(crate) async fn latency(
    address: &str,
    time: Duration,
    sizes: (usize, usize),
) -> Result<Taken, Failure> {
    rate(address, 1, time, sizes).await
}

/// So many clients, each one request after the other on a connection of its own.
pub(crate) async fn rate(
    address: &str,
    clients: usize,
    time: Duration,
    sizes: (usize, usize),
) -> Result<Taken, Failure> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let mut connection = Connection::open(address).await?;
        connection.exchange(sizes).await?;
        connections.push(connection);
    }
    let (mut tasks, started) = (JoinSet::new(), Instant::now());
    for mut connection in connections {
        tasks.spawn(async move {
            let mut each = Vec::new();
            while started.elapsed() < time {
                let began = Instant::now();
                connection.exchange(sizes).await?;
                each.push(began.elapsed().as_secs_f64());
            }
            Ok::<_, Failure>(each)
        });
    }
    let mut each = Vec::new();
    while let Some(done) = tasks.join_next().await {
        each.extend(done??);
    }
    Ok(Taken {
        elapsed: started.elapsed().as_secs_f64(),
        count: each.len() as f64,
        each,
    })
}

/// Bytes per second of one large request or answer.
pub(crate) async fn transfer(address: &str, sizes: (usize, usize)) -> Result<f64, Failure> {
    let mut connection = Connection::open(address).await?;
    connection.exchange((1, 1)).await?;
    let started = Instant::now();
    connection.exchange(sizes).await?;
    Ok((sizes.0 + sizes.1) as f64 / started.elapsed().as_secs_f64())
}

/// A connection that is kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(CHUNK.len(), stream)))
    }

    /// Sends so many bytes and receives so many.
    async fn exchange(&mut self, (sent, received): (usize, usize)) -> Result<(), Failure> {
        let Self(stream) = self;
        let head =
            format!("POST /{received} HTTP/1.1\r\nhost: origin\r\ncontent-length: {sent}\r\n\r\n");
        let first = sent.min(CHUNK.len() - head.len());
        stream
            .write_all(&[head.as_bytes(), &CHUNK[..first]].concat())
            .await?;
        let mut left = sent - first;
        while left > 0 {
            let size = left.min(CHUNK.len());
            stream.write_all(&CHUNK[..size]).await?;
            left -= size;
        }

        let (mut line, mut length) = (String::new(), None);
        stream.read_line(&mut line).await?;
        if line.trim_end() != "HTTP/1.1 200 OK" {
            return Err(format!("expected an answer with status 200, got {line:?}").into());
        }
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = Some(value.trim().parse::<usize>()?);
                }
                Some(_) => {}
                None => break,
            }
        }
        if length != Some(received) {
            return Err(format!("expected {received} bytes, got {length:?}").into());
        }
        let read = copy_buf(&mut stream.take(received as u64), &mut sink()).await?;
        match read == received as u64 {
            true => Ok(()),
            false => Err(format!("expected {received} bytes, got {read}").into()),
        }
    }
}
