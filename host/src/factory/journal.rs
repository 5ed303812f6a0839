//! Writes down what a worker tells, then tells the observer.

use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use plugin_api::host::LogLevel;

use super::notice::{Notice, Observer, What};
use super::protocol::Message;
use crate::images::{ImageId, LogLine, LogStream, Store, StoreError};

/// Log lines are written at least this often, all in one transaction.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// And when so many are waiting.
const FLUSH_LINES: usize = 256;

/// The journal of one image.
pub(super) struct Journal<'a> {
    store: &'a Store,
    observer: &'a dyn Observer,
    image: ImageId,
    label: &'a str,
    lines: Vec<LogLine>,
    flushed: Instant,
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
            artifacts: Vec::new(),
            media_type: None,
            failure: None,
        }
    }

    /// Takes one message down; `None` means that there is a moment to write what is waiting.
    pub(super) fn take(&mut self, message: Option<&Message>) {
        let result = match message {
            None => self.flush(),
            Some(message) => self.write(message),
        };
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
        if let Some(message) = message {
            self.announce(message);
        }
    }

    /// Whether the store has failed: there is no point in building on.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The media type that the plugin gave, once everything is written.
    pub(super) fn finish(mut self) -> Result<Option<String>, StoreError> {
        let flushed = self.flush();
        if let Some(error) = self.failure {
            return Err(error);
        }
        flushed?;
        for (name, path, media_type) in &self.artifacts {
            self.store.add_artifact(self.image, name, path, media_type)?;
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
            _ => self.flush()?,
        }
        match message {
            Message::Method { plugin, method } => self.store.method(self.image, plugin, method),
            Message::Progress(percent) => self.store.progress(self.image, *percent),
            Message::Activity(text) => self.store.activity(self.image, text),
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
            Message::Log(_) | Message::Output(_) | Message::Done(_) | Message::Exited(_) => Ok(()),
        }
    }

    fn push(&mut self, line: LogLine) -> Result<(), StoreError> {
        self.lines.push(line);
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

    fn announce(&self, message: &Message) {
        let what = match message {
            Message::Progress(percent) => What::Progress(*percent),
            Message::Activity(text) => What::Activity(text),
            Message::Log(record) => What::Log(record),
            Message::Output(line) => What::Output(line),
            _ => return,
        };
        self.observer.notice(&Notice { image: self.image, label: self.label, what });
    }
}
