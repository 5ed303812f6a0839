//! Writes down what a worker tells, then tells the observer.

use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use plugin_api::host::LogLevel;
use plugin_kit::sparse::Control;

use super::bounds::is_in;
use super::notice::{Notice, Observer, What};
use super::protocol::Message;
use crate::images::{ImageId, LogLine, LogStream, Store, StoreError, Update};

/// Log lines are written at least this often, all in one transaction.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// And when so many are waiting.
const FLUSH_LINES: usize = 256;
/// When progress or activities come too fast, the latest is written this often.
const STEP_AFTER: Duration = Duration::from_millis(50);
/// A log that is longer is cut: a plugin that never stops talking must not fill the disk.
const MAX_LOG_BYTES: usize = 64 << 20;
/// Roughly what a line takes besides its text.
const LINE_OVERHEAD: usize = 128;

/// Longest text of one line, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Steps that are written as fast as they come.
const BURST: u32 = 200;

/// The latest of values that may come too fast to be written one by one.
#[derive(Debug)]
struct Latest<T> {
    waiting: Option<T>,
    credit: u32,
    earned: Instant,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { waiting: None, credit: BURST, earned: Instant::now() }
    }
}

impl<T> Latest<T> {
    /// The value that waits, unless many were written just before it.
    fn due(&mut self) -> Option<T> {
        if self.earned.elapsed() >= STEP_AFTER {
            self.earned = Instant::now();
            self.credit = BURST.min(self.credit + 1);
        }
        let credit = self.credit.checked_sub(1)?;
        let value = self.waiting.take()?;
        self.credit = credit;
        Some(value)
    }
}

/// The journal of one image.
pub(super) struct Journal<'a> {
    store: &'a Store,
    observer: &'a dyn Observer,
    image: ImageId,
    label: &'a str,
    lines: Vec<LogLine>,
    flushed: Instant,
    log_bytes: usize,
    percent: Latest<u8>,
    activity: Latest<String>,
    artifacts: Vec<(String, Utf8PathBuf, String)>,
    media_type: Option<String>,
    failure: Option<StoreError>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(
        store: &'a Store,
        observer: &'a dyn Observer,
        image: ImageId,
        label: &'a str,
    ) -> Self {
        Self {
            store,
            observer,
            image,
            label,
            lines: Vec::new(),
            flushed: Instant::now(),
            log_bytes: 0,
            percent: Latest::default(),
            activity: Latest::default(),
            artifacts: Vec::new(),
            media_type: None,
            failure: None,
        }
    }

    /// Takes one message down; `None` means that there is a moment to write what is waiting.
    pub(super) fn take(&mut self, message: Option<&Message>) {
        let result = match message {
            None => self.flush().and_then(|()| self.write_steps()),
            Some(message) => self.write(message),
        };
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
        if let Some(message) = message {
            self.announce(message);
        }
    }

    /// Takes down how far the plugin is; when it tells too often, the latest word waits.
    fn step(&mut self, message: &Message) -> Result<(), StoreError> {
        match message {
            Message::Progress(percent) => self.percent.waiting = Some(*percent),
            Message::Activity(text) => self.activity.waiting = Some(text.clone()),
            _ => {},
        }
        let (percent, activity) = (self.percent.due(), self.activity.due());
        if percent.is_some() || activity.is_some() {
            self.flush()?;
        }
        self.write_step(percent, activity)
    }

    /// Writes the steps that wait.
    fn write_steps(&mut self) -> Result<(), StoreError> {
        let (percent, activity) = (self.percent.waiting.take(), self.activity.waiting.take());
        self.write_step(percent, activity)
    }

    fn write_step(&self, percent: Option<u8>, activity: Option<String>) -> Result<(), StoreError> {
        if let Some(percent) = percent {
            self.store.progress(self.image, percent)?;
            self.tell(What::Progress(percent));
        }
        if let Some(text) = activity {
            self.store.activity(self.image, &text)?;
            self.tell(What::Activity(&text));
        }
        Ok(())
    }

    /// Whether the store has failed: there is no point in building on.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The media type that the plugin gave, once everything is written.
    pub(super) fn finish(mut self, control: &Control<'_>) -> Result<Option<String>, StoreError> {
        let flushed = self.flush().and_then(|()| self.write_steps());
        if let Some(error) = self.failure {
            return Err(error);
        }
        flushed?;
        let own = self.store.work_dir(self.image);
        for (name, path, media_type) in &self.artifacts {
            // The worker has looked, but a plugin may have told of it behind the worker's back.
            if !is_in(path, &own) {
                return Err(StoreError::NotOwn { path: path.clone() });
            }
            self.store.add_artifact(self.image, name, path, media_type, control)?;
        }
        Ok(self.media_type)
    }

    fn write(&mut self, message: &Message) -> Result<(), StoreError> {
        match message {
            Message::Log(record) => {
                let mut line = LogLine::new(record.level, &record.target, &record.message);
                line.fields.clone_from(&record.fields);
                line.spans.clone_from(&record.spans);
                return self.push(line);
            },
            Message::Output(text) => {
                let mut line = LogLine::new(LogLevel::Info, "", text);
                line.stream = LogStream::Stderr;
                return self.push(line);
            },
            Message::Progress(_) | Message::Activity(_) => return self.step(message),
            _ => {},
        }
        self.flush()?;
        self.write_steps()?;
        match message {
            Message::Method { plugin, method } => self.store.method(self.image, plugin, method),
            Message::Delivered(identity) => {
                let update = Update { identity: Some(identity.clone()), ..Update::default() };
                self.store.update(self.image, update).map(drop)
            },
            Message::Property { key, value } => {
                if key == "media_type" {
                    self.media_type = value.as_str().map(str::to_owned);
                }
                self.store.set_property(self.image, key, value.clone())
            },
            // The plugin may still be writing it; it is taken in when the plugin is done.
            Message::Artifact { name, path, media_type } => {
                self.artifacts.push((name.clone(), path.clone(), media_type.clone()));
                Ok(())
            },
            Message::Log(_)
            | Message::Output(_)
            | Message::Progress(_)
            | Message::Activity(_)
            | Message::Done(_)
            | Message::Exited(_) => Ok(()),
        }
    }

    fn push(&mut self, mut line: LogLine) -> Result<(), StoreError> {
        if self.log_bytes > MAX_LOG_BYTES {
            return Ok(());
        }
        if line.message.len() > MAX_LINE_BYTES {
            line.message.truncate(line.message.floor_char_boundary(MAX_LINE_BYTES));
            line.message.push_str(" …");
        }
        self.log_bytes += line.message.len() + LINE_OVERHEAD;
        self.lines.push(line);
        if self.log_bytes > MAX_LOG_BYTES {
            let end = format!("the log is cut here: it is longer than {} MiB", MAX_LOG_BYTES >> 20);
            self.lines.push(LogLine::new(LogLevel::Warn, "imageforge", &end));
            return self.flush();
        }
        if self.lines.len() >= FLUSH_LINES || self.flushed.elapsed() >= FLUSH_AFTER {
            return self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.flushed = Instant::now();
        if self.lines.is_empty() {
            return Ok(());
        }
        self.store.append_log(self.image, std::mem::take(&mut self.lines))
    }

    /// Steps are announced when they are written.
    fn announce(&self, message: &Message) {
        match message {
            Message::Log(record) => self.tell(What::Log(record)),
            Message::Output(line) => self.tell(What::Output(line)),
            _ => {},
        }
    }

    fn tell(&self, what: What<'_>) {
        self.observer.notice(&Notice { image: self.image, label: self.label, what });
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, Latest};

    #[test]
    fn of_a_flood_the_beginning_and_the_latest_are_kept() {
        let mut latest = Latest::default();
        let mut written = 0;
        for number in 0..100_000 {
            latest.waiting = Some(number);
            written += u32::from(latest.due().is_some());
        }
        assert!((BURST..10_000).contains(&written));
        assert!(latest.waiting.is_none_or(|number| number == 99_999));
    }
}
