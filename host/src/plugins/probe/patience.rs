//! How long a probe is waited for: a slow machine is no reason to keep a library out.

use std::time::{Duration, Instant};

use crate::process::Family;

/// After so many times its limit a probe is ended however busy it is.
const LONGEST: u32 = 6;

/// A probe has its limit as processor time, and may be idle as long. Waiting for a processor or for pages
/// of the library counts for neither, until [`LONGEST`].
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    began: Instant,
    /// Processor time and major faults, as last seen to change.
    used: (Duration, u64),
    active: Instant,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { limit, began: now, used: (Duration::ZERO, 0), active: now }
    }

    /// Whether a probe whose processes have used so much must end, and what it exceeded.
    pub(super) fn exceeded(&mut self, family: &Family) -> Option<Duration> {
        let now = Instant::now();
        let used = (family.processor_time, family.major_faults);
        if used != self.used {
            (self.used, self.active) = (used, now);
        }
        let longest = self.limit * LONGEST;
        match () {
            () if used.0 >= self.limit || now - self.active >= self.limit => Some(self.limit),
            () if now - self.began >= longest => Some(longest),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    fn family(processor_time: Duration, major_faults: u64) -> Family {
        Family { processor_time, major_faults, ..Family::default() }
    }

    #[test]
    fn who_waits_for_the_machine_has_more_time_and_not_for_ever() {
        let (mut patience, began) = (Patience::new(LIMIT), Instant::now());
        let exceeded = (1..).find_map(|fault| {
            std::thread::sleep(Duration::from_millis(2));
            patience.exceeded(&family(Duration::from_millis(1), fault))
        });
        assert_eq!(exceeded, Some(LIMIT * LONGEST));
        assert!(began.elapsed() >= LIMIT * LONGEST);
    }

    #[test]
    fn who_sleeps_or_turns_in_a_circle_has_not() {
        let mut patience = Patience::new(LIMIT);
        assert_eq!(patience.exceeded(&family(LIMIT, 1)), Some(LIMIT));
        let mut patience = Patience::new(LIMIT);
        assert_eq!(patience.exceeded(&family(LIMIT / 2, 1)), None);
        std::thread::sleep(LIMIT);
        assert_eq!(patience.exceeded(&family(LIMIT / 2, 1)), Some(LIMIT));
    }
}
