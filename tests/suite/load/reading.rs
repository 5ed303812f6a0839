//! Readers: questions at a fixed rate, whether or not the ones before were answered.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::building::Orders;
use super::client::{Client, Place};
use super::figures::Distribution;

/// Who ask at once. Each waits for its answer.
pub(super) const READERS: usize = 8;
/// One in so many questions is the cheapest that there is, for comparison.
const FLOOR_EVERY: u32 = 5;

/// A plan of when to ask what, and the answers' times.
#[derive(Debug)]
pub(super) struct Questions<'q> {
    place: &'q Place,
    orders: &'q Orders<'q>,
    start: Instant,
    pause: Duration,
    next: AtomicU32,
    may_fail: bool,
    reads: Mutex<Distribution>,
    floor: Mutex<Distribution>,
}

/// How long answers took.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reads: Distribution,
    /// Those of the cheapest question.
    pub(super) floor: Distribution,
}

impl<'q> Questions<'q> {
    pub(super) fn new(place: &'q Place, orders: &'q Orders<'q>, per_second: u32) -> Self {
        // The comparison comes on top.
        let rate = per_second + per_second.div_ceil(FLOOR_EVERY - 1);
        Self {
            place,
            orders,
            start: Instant::now(),
            pause: Duration::from_secs(1) / rate,
            next: AtomicU32::new(0),
            may_fail: false,
            reads: Mutex::default(),
            floor: Mutex::default(),
        }
    }

    /// The daemon may be gone.
    pub(super) fn may_fail(self) -> Self {
        Self { may_fail: true, ..self }
    }

    /// Asks until `over`. Time counts from the moment at which a question was due.
    pub(super) fn ask(&self, over: &AtomicBool) {
        let client = Client::new(self.place);
        while !over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.start + self.pause * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let is_floor = number.is_multiple_of(FLOOR_EVERY);
            let path = if is_floor { "/v1/health/live".to_owned() } else { self.path(number) };
            let (status, text) = match client.get(&path) {
                Err(_) if self.may_fail => continue,
                answer => answer.unwrap(),
            };
            let took = due.elapsed();
            assert_eq!(status, 200, "{path}: {text}");
            let kind = if is_floor { &self.floor } else { &self.reads };
            kind.lock().unwrap().add(took);
        }
    }

    pub(super) fn answered(self) -> Answered {
        let Self { reads, floor, .. } = self;
        Answered { reads: reads.into_inner().unwrap(), floor: floor.into_inner().unwrap() }
    }

    /// What dashboards and clients ask for.
    fn path(&self, number: u32) -> String {
        let image = {
            let accepted = self.orders.accepted();
            let count = accepted.len().max(1);
            let any = usize::try_from(number).unwrap().wrapping_mul(7919) % count;
            accepted.get(any).and_then(|order| order.images.last().cloned())
        };
        let Some(image) = image else { return "/v1/targets".to_owned() };
        match number % 7 {
            0 | 1 => format!("/v1/images/{image}"),
            2 => format!("/v1/images/{image}/log"),
            3 => "/v1/images?status=BUILDING,PENDING&limit=50".to_owned(),
            4 => "/v1/images?limit=100".to_owned(),
            5 => "/v1/jobs?state=running".to_owned(),
            _ => "/v1/targets".to_owned(),
        }
    }
}
