//! Connections that are too many: all together, or from one address.
//!
//! One client that takes every place would shut out all others, so an address has a share of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use crate::daemon::access::customer;
use crate::daemon::metrics::{Connections, Door};
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::settings::ConnectionSettings;

/// Time between two lines of the log about connections that are too many.
const REFUSAL_PAUSE: Duration = Duration::from_secs(10);

/// How many connections from the network are open, by customer, and how many were refused.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    places: Arc<Places>,
    all_taken: Refusals,
    share_taken: Refusals,
}

/// Connections that are open, by customer; nobody is in it without one.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, u64>>);

/// The place of a connection; free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    customer: IpAddr,
}

impl Crowd {
    /// A place for a connection from `address`.
    ///
    /// # Errors
    /// There is none: what the client is told.
    pub(super) fn enter(
        &mut self,
        address: IpAddr,
        limits: &ConnectionSettings,
        figures: &Connections,
    ) -> Result<Place, fn() -> Problem> {
        let max = limits.max.get();
        if figures.open(Door::Network) >= max {
            if let Some(refused) = self.all_taken.count() {
                tracing::warn!(refused, max, "there are too many connections");
            }
            return Err(all_taken);
        }
        let share = limits.share_of(address);
        self.places.take(customer(address), share).ok_or_else(|| {
            if let Some(refused) = self.share_taken.count() {
                let address = address.to_canonical();
                tracing::warn!(refused, %address, share, "an address has too many connections");
            }
            share_taken as fn() -> Problem
        })
    }
}

impl Places {
    /// One of the `share` places of `customer`, if one is free.
    fn take(self: &Arc<Self>, customer: IpAddr, share: u64) -> Option<Place> {
        let mut places = self.lock();
        let taken = places.get(&customer).copied().unwrap_or(0);
        if taken >= share {
            return None;
        }
        places.insert(customer, taken + 1);
        Some(Place { places: Arc::clone(self), customer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.places.lock().entry(self.customer) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

/// Refusals of one kind, which are told to the log now and then.
#[derive(Debug, Default)]
struct Refusals {
    untold: u64,
    told: Option<Instant>,
}

impl Refusals {
    /// Counts one; how many there were since the last time, when that is to be told.
    fn count(&mut self) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < REFUSAL_PAUSE) {
            return None;
        }
        let refused = self.untold;
        *self = Self { untold: 0, told: Some(Instant::now()) };
        Some(refused)
    }
}

fn all_taken() -> Problem {
    too_many("the daemon has as many connections as it may have", "max")
}

fn share_taken() -> Problem {
    too_many("this address has as many connections as one may have", "max_per_address")
}

fn too_many(message: &str, key: &str) -> Problem {
    let failure = Failure::new(Exit::Provider, message)
        .hint(format!("try again later; `{key}` below `[serve.connections]` is the limit"));
    let title = "there are too many connections";
    Problem::refused(StatusCode::SERVICE_UNAVAILABLE, "too-many-connections", title, failure)
        .soon_over()
}
