//! How often somebody may call: a bucket for each caller, and one for the failures of each address.
//!
//! A bucket that is empty is refilled as time goes by. Memory is bounded: when everybody's bucket is in
//! use, those who come anew share one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Peer, customer};
use crate::settings::RateSettings;

/// Buckets that are kept; each takes some 100 bytes.
const MAX_BUCKETS: usize = 10_000;

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Somebody who is known, by name.
    Caller(String),
    /// Somebody who is not, by address.
    Address(IpAddr),
    /// Everybody for whom there is no bucket left.
    Others,
}

impl Key {
    /// The customer that `peer` is of.
    pub(super) fn of(peer: Option<&Peer>) -> Self {
        match peer {
            Some(Peer::Network { address }) => Self::Address(customer(address.ip())),
            Some(Peer::Local { .. }) | None => Self::Others,
        }
    }
}

/// How much goes into a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Time after which one more goes in.
    pub(super) interval: Duration,
    /// How many are in a full one.
    pub(super) burst: u32,
}

impl Quota {
    /// Requests of one caller; `None` is no limit.
    pub(super) fn requests(rates: &RateSettings) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(rates.requests_per_second)?;
        Some(Self { interval, burst: rates.burst.max(1) })
    }

    /// Failures of one address; `None` is no limit.
    pub(super) fn failures(rates: &RateSettings) -> Option<Self> {
        let interval = Duration::from_mins(1).checked_div(rates.failures_per_minute)?;
        Some(Self { interval, burst: rates.failures_per_minute })
    }
}

/// Time between two looks for buckets that are full again.
const PURGE: Duration = Duration::from_secs(1);

/// The buckets of everybody.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When each bucket will be full again.
    full: HashMap<Key, Instant>,
    /// When those that are full were last forgotten.
    purged: Option<Instant>,
}

impl State {
    /// Whether there is room for one more.
    fn has_room(&mut self, now: Instant) -> bool {
        let is_due = self.purged.is_none_or(|last| now.duration_since(last) >= PURGE);
        if self.full.len() >= MAX_BUCKETS && is_due {
            self.full.retain(|_, full_at| *full_at > now);
            self.purged = Some(now);
        }
        self.full.len() < MAX_BUCKETS
    }
}

impl Buckets {
    /// Takes one out of a bucket.
    ///
    /// # Errors
    /// It is empty: the time until there is one.
    pub(super) fn take(&self, key: &Key, quota: Quota) -> Result<(), Duration> {
        self.look(key, quota, Instant::now(), true)
    }

    /// Whether there is one in a bucket.
    ///
    /// # Errors
    /// It is empty: the time until there is one.
    pub(super) fn check(&self, key: &Key, quota: Quota) -> Result<(), Duration> {
        self.look(key, quota, Instant::now(), false)
    }

    fn look(&self, key: &Key, quota: Quota, now: Instant, takes: bool) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_bucket = state.full.contains_key(key) || state.has_room(now);
        let key = if has_bucket { key } else { &Key::Others };
        let full_at = state.full.get(key).map_or(now, |full_at| *full_at.max(&now));
        let without_one = full_at + quota.interval;
        let room = quota.interval * quota.burst;
        let missing = without_one.duration_since(now).saturating_sub(room);
        if !missing.is_zero() {
            return Err(missing);
        }
        if takes {
            state.full.insert(key.clone(), without_one);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const QUOTA: Quota = Quota { interval: Duration::from_secs(1), burst: 3 };

    fn caller(name: &str) -> Key {
        Key::Caller(name.to_owned())
    }

    fn at(address: &str) -> Key {
        let address = SocketAddr::new(address.parse().unwrap(), 4711);
        Key::of(Some(&Peer::Network { address }))
    }

    #[test]
    fn a_burst_passes_and_then_everybody_waits_alone() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let take = |name, at| buckets.look(&caller(name), QUOTA, at, true);
        for _ in 0..3 {
            assert_eq!(take("ada", now), Ok(()));
        }
        assert_eq!(take("ada", now), Err(Duration::from_secs(1)));
        assert_eq!(take("grace", now), Ok(()));
        assert_eq!(take("ada", now + Duration::from_millis(400)), Err(Duration::from_millis(600)));
        assert_eq!(take("ada", now + Duration::from_secs(1)), Ok(()));
        assert_eq!(take("ada", now + Duration::from_secs(1)), Err(Duration::from_secs(1)));
        assert_eq!((0..9).filter(|_| take("ada", now + Duration::from_mins(9)).is_ok()).count(), 3);
    }

    #[test]
    fn looking_takes_nothing() {
        let buckets = Buckets::default();
        for _ in 0..9 {
            assert_eq!(buckets.check(&at("192.0.2.1"), QUOTA), Ok(()));
        }
        assert!(buckets.0.lock().unwrap().full.is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let rates =
            RateSettings { requests_per_second: 0, failures_per_minute: 0, ..Default::default() };
        assert!(Quota::requests(&rates).is_none() && Quota::failures(&rates).is_none());
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_share_what_is_left() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let ip = |number: u32| Key::Address(IpAddr::V4(number.into()));
        let passed =
            (0..50_000).filter(|n| buckets.look(&ip(*n), QUOTA, now, true).is_ok()).count();
        assert_eq!(passed, MAX_BUCKETS + 3);
        assert_eq!(buckets.0.lock().unwrap().full.len(), MAX_BUCKETS + 1);
        let later = now + Duration::from_mins(1);
        assert_eq!(buckets.look(&ip(60_000), QUOTA, later, true), Ok(()));
        assert_eq!(buckets.0.lock().unwrap().full.len(), 1);
    }

    #[test]
    fn an_address_of_ipv6_counts_as_its_network() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }
}
