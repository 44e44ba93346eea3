//! A hundred megabytes through both proxies, there and back, without their being kept anywhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::pin::Pin;
use std::task::{Context, Poll};

use attested_http::BoxError;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame};

use support::{Chain, H1, H2, Machine, Spoken, request, to};

const SIZE: usize = 100 << 20;

/// What the test may hold more than before: windows, buffers, and what the allocator keeps.
const MOST: usize = 48 << 20;

/// Numbered chunks of a size that divides no buffer.
struct Numbered {
    next: u64,
    left: usize,
}

fn chunk(number: u64, size: usize) -> Bytes {
    let number = number.to_be_bytes();
    number.iter().copied().cycle().take(size).collect()
}

const CHUNK: usize = 40_000;

impl hyper::body::Body for Numbered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = self.left.min(CHUNK);
        self.left -= size;
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(chunk(self.next, size)))))
    }
}

/// What this process has in memory, at most so far.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_passed_on_and_not_kept() {
    // Whatever is needed once.
    let mut before = None;
    for (spoken, http) in [(Spoken::Atls, H1), (Spoken::Ratls, H2)] {
        let chain = Chain::start(spoken, http, &Machine::dcap(), None).await;
        let client = to(&chain.client);
        let warm = client
            .send(request("GET", "/", attested_http::body::empty()))
            .await
            .unwrap();
        warm.response.into_body().collect().await.unwrap();
        let before = *before.get_or_insert_with(peak);
        let body = Numbered {
            next: 0,
            left: SIZE,
        }
        .boxed_unsync();
        let started = std::time::Instant::now();
        let answer = client.send(request("POST", "/echo", body)).await.unwrap();
        let mut body = answer.response.into_body();
        let (mut received, mut next) = (0, Bytes::new());
        let mut number = 0;
        while let Some(frame) = body.frame().await {
            let mut data = frame.unwrap().into_data().unwrap();
            received += data.len();
            while !data.is_empty() {
                if next.is_empty() {
                    number += 1;
                    next = chunk(number, CHUNK);
                }
                let size = data.len().min(next.len());
                assert!(data.split_to(size) == next.split_to(size), "chunk {number}");
            }
        }
        assert_eq!(received, SIZE);
        let more = peak().saturating_sub(before);
        let rate = SIZE as f64 / started.elapsed().as_secs_f64() / 1e6;
        println!(
            "{spoken:?} {http:?}: {rate:.0} MB/s both ways, {} kB more memory",
            more >> 10
        );
        assert!(more < MOST, "{more} bytes more");
    }
}
