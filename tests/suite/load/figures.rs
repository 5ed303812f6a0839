//! What was measured, and how it is printed.

use std::time::Duration;

/// Durations of the same thing.
#[derive(Debug, Default)]
pub(super) struct Distribution(Vec<Duration>);

impl Distribution {
    pub(super) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// Prints `NAME P50 P90 P99 MAX COUNT`, in milliseconds.
    pub(super) fn print(mut self, name: &str) {
        self.0.sort_unstable();
        let at = |share: usize| {
            let rank = (self.0.len() * share).div_ceil(100).max(1) - 1;
            self.0.get(rank).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e3)
        };
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(at);
        print(name, format!("{p50:.2} {p90:.2} {p99:.2} {max:.2} {}", self.0.len()));
    }
}

/// Prints `NAME VALUE`.
#[expect(clippy::print_stdout, reason = "what is measured is for whoever runs the suite for it")]
pub(super) fn print(name: &str, value: impl std::fmt::Display) {
    println!("{name} {value}");
}
