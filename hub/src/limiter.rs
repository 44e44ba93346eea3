//! How often one address may ask.
//!
//! A bucket for each address, refilled steadily. The table is bounded: when it is full, buckets that
//! are full again go, and if there are none, whoever is new is refused.
//!
//! I/O: none; the time is given.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most addresses that are remembered.
const MOST: usize = 65_536;

/// Counts what each address may still ask.
pub(crate) struct Limiter {
    burst: u32,
    refill: Duration,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

/// Full at `full_at`; each request moves that time by one refill.
#[derive(Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

impl Limiter {
    /// Allows `burst` requests at once, and as many each `period`.
    pub(crate) fn new(burst: u32, period: Duration) -> Self {
        let burst = burst.max(1);
        let refill = period.checked_div(burst).unwrap_or(period);
        Self {
            burst,
            refill,
            buckets: Mutex::default(),
        }
    }

    /// Takes one request of an address; if there is none, says how long it takes to get one.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| bucket.full_at > now);
            if buckets.len() >= MOST {
                return Err(self.refill);
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { full_at: now });
        let full_at = bucket.full_at.max(now);
        let full_at = full_at.checked_add(self.refill).unwrap_or(now);
        let whole = self.refill.saturating_mul(self.burst);
        let behind = full_at.saturating_duration_since(now);
        if behind > whole {
            return Err(behind.saturating_sub(whole));
        }
        bucket.full_at = full_at;
        Ok(())
    }

    /// Whether an address has a request left, without taking it.
    pub(crate) fn has_room(&self, address: IpAddr, now: Instant) -> bool {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = self.refill.saturating_mul(self.burst.saturating_sub(1));
        let bucket = buckets.get(&address);
        bucket.is_none_or(|bucket| bucket.full_at.saturating_duration_since(now) <= whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 2, 3, 4));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 2, 3, 5));

    #[test]
    fn a_burst_is_allowed_and_then_what_is_refilled() {
        let limiter = Limiter::new(3, Duration::from_secs(3));
        let start = Instant::now();
        for _ in 0..3 {
            assert!(limiter.has_room(A, start));
            assert_eq!(limiter.take(A, start), Ok(()));
        }
        assert!(!limiter.has_room(A, start));
        assert_eq!(limiter.take(A, start), Err(Duration::from_secs(1)));
        assert_eq!(limiter.take(B, start), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!(limiter.take(A, later), Ok(()));
        assert_eq!(limiter.take(A, later), Err(Duration::from_secs(1)));
    }

    #[test]
    fn the_table_is_bounded_and_full_buckets_make_room() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        let start = Instant::now();
        for n in 0..u32::try_from(MOST).unwrap() {
            let address = IpAddr::from(n.to_be_bytes());
            assert_eq!(limiter.take(address, start), Ok(()));
        }
        let new = IpAddr::from([255, 255, 255, 255]);
        assert!(limiter.take(new, start).is_err());
        assert_eq!(limiter.take(new, start + Duration::from_secs(61)), Ok(()));
    }
}
