//! Trying again, with growing pauses.

use std::time::{Duration, Instant, SystemTime};

use jiff::fmt::rfc2822::DateTimeParser;

use super::{Client, TransferError};

/// How often is looked whether the build was cancelled.
pub(super) const WATCH: Duration = Duration::from_millis(50);

/// How often, and after what pauses, something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often at most; 0 for a single try.
    pub times: u32,
    /// The first pause; each is twice the one before, and up to a quarter shorter by chance.
    pub first_wait: Duration,
    /// The longest pause, whatever the server asks for.
    pub longest_wait: Duration,
}

impl Default for Retries {
    /// Six times, within about a minute and a half.
    fn default() -> Self {
        Self { times: 6, first_wait: Duration::from_secs(1), longest_wait: Duration::from_mins(1) }
    }
}

/// Several tries at one thing. What a [`Client`] sends is tried again by itself; this is for work that
/// takes more than one request.
#[derive(Debug)]
pub struct Retry<'a> {
    client: &'a Client<'a>,
    failed: u32,
    is_of_one_request: bool,
}

impl<'a> Retry<'a> {
    pub(super) fn of_one_request(client: &'a Client<'a>) -> Self {
        Self { client, failed: 0, is_of_one_request: true }
    }

    /// Waits until it may be tried again what failed by `error`, and tells the build so.
    ///
    /// # Errors
    /// `error` itself when it will not pass, or was met too often; [`TransferError::Cancelled`]. What has not reached
    /// the server at all, the [`Client`] has tried as often as it may be.
    pub fn wait(&mut self, error: TransferError) -> Result<(), TransferError> {
        let retries = self.client.options().retries;
        // Whatever request it was, that has been tried as often as it may be.
        let is_over = error.is_unsent() && !self.is_of_one_request;
        if is_over || !error.is_passing() || self.failed >= retries.times {
            return Err(error);
        }
        let wait = error.retry_after().unwrap_or_else(|| pause(&retries, self.failed));
        let wait = wait.min(retries.longest_wait);
        self.failed += 1;
        let told = format!(
            "{}, trying again in {} s ({} of {})",
            error.in_short(),
            wait.as_millis().div_ceil(1000),
            self.failed,
            retries.times
        );
        // Whoever watches is told by the activity.
        tracing::info!(%error, "{told}");
        self.client.builder().activity(told);
        self.client.sleep(wait)
    }
}

/// A pause after `failed` tries before this one. Clients that failed together do not come back together.
fn pause(retries: &Retries, failed: u32) -> Duration {
    let doubled = retries.first_wait.saturating_mul(2_u32.saturating_pow(failed));
    doubled.min(retries.longest_wait).mul_f64(1.0 - fastrand::f64() / 4.0)
}

/// `Retry-After` in seconds, or until a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

impl Client<'_> {
    /// Several tries at one thing.
    pub fn retry(&self) -> Retry<'_> {
        Retry { client: self, failed: 0, is_of_one_request: false }
    }

    /// Waits, and ends early when the build is cancelled.
    ///
    /// # Errors
    /// [`TransferError::Cancelled`].
    pub fn sleep(&self, time: Duration) -> Result<(), TransferError> {
        let end = Instant::now() + time;
        loop {
            self.check_cancelled()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(WATCH));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let after = |value| retry_after(value, now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Sat, 06 Nov 1993 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries { longest_wait: Duration::from_secs(5), ..Retries::default() };
        for (failed, longest) in [(0, 1), (1, 2), (2, 4), (3, 5), (60, 5)] {
            let longest = Duration::from_secs(longest);
            let pause = pause(&retries, failed);
            assert!(pause <= longest && pause >= longest * 3 / 4, "{failed}: {pause:?}");
        }
    }
}
