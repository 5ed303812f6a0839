//! Sends this library's `tracing` events to the host.
//!
//! A library has its own copy of tracing's statics, so the host's subscriber never hears of its
//! events. This small subscriber keeps the open spans and hands each event to the session whose
//! call runs on the thread; a thread that the delegate started itself speaks for the session that
//! was opened last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::mem;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{self, Interest};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::abi::current_session;
use crate::host::{BuilderHost, LogLevel, LogRecord};

/// The most verbose level that the host wants, 0 to 5, as far as it has said.
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Trace as u8);

/// The open sessions of this library, oldest first.
static SESSIONS: Mutex<Vec<(u64, Weak<dyn BuilderHost>)>> = Mutex::new(Vec::new());

thread_local! {
    /// Spans that were entered on this thread, innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Makes the forwarder this library's subscriber. In a program that has one, that one stays.
pub(crate) fn install() {
    let _ = subscriber::set_global_default(Forwarder::default());
}

/// No more is asked for records above this level: 0 (nothing) to 5 (trace).
pub(crate) fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// From now on, calls of session `id` log to `host`.
pub(crate) fn session_opened(id: u64, host: &Arc<dyn BuilderHost>) {
    locked(&SESSIONS).push((id, Arc::downgrade(host)));
}

/// Session `id` is gone.
pub(crate) fn session_closed(id: u64) {
    locked(&SESSIONS).retain(|(open, _)| *open != id);
}

/// The host of the session that runs on this thread, else of the latest one.
fn host() -> Option<Arc<dyn BuilderHost>> {
    let sessions = locked(&SESSIONS);
    current_session()
        .and_then(|id| sessions.iter().find(|(open, _)| *open == id))
        .or(sessions.last())
        .and_then(|(_, host)| host.upgrade())
}

/// Nothing is left half-done under these locks, so poison says nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn level_of(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[derive(Default)]
struct Forwarder {
    spans: Mutex<HashMap<u64, Span>>,
    last_id: AtomicU64,
}

struct Span {
    name: &'static str,
    fields: Map<String, Value>,
    parent: Option<Id>,
    handles: usize,
}

impl Forwarder {
    /// Texts of span `id` and all around it, outermost first.
    fn path(&self, id: Option<&Id>) -> Vec<String> {
        let spans = locked(&self.spans);
        let mut path = Vec::new();
        let mut next = id;
        while let Some(span) = next.and_then(|id| spans.get(&id.into_u64())) {
            path.push(span.to_string());
            next = span.parent.as_ref();
        }
        path.reverse();
        path
    }
}

fn entered() -> Option<Id> {
    ENTERED.try_with(|entered| entered.borrow().last().copied()).ok().flatten().map(Id::from_u64)
}

impl Subscriber for Forwarder {
    /// Always asked anew: sessions of one library may want different levels.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_of(metadata);
        level as u8 <= LEVEL.load(Ordering::Relaxed)
            && host().is_some_and(|host| host.log_enabled(level))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent =
            if attributes.is_root() { None } else { attributes.parent().cloned().or_else(entered) };
        // The parent stays known while it has children, as it is named with their events.
        let parent = parent.map(|id| self.clone_span(&id));
        let span =
            Span { name: attributes.metadata().name(), fields: fields.values, parent, handles: 1 };
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        locked(&self.spans).insert(id, span);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = locked(&self.spans).get_mut(&id.into_u64()) {
            span.fields.extend(fields.values);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let message = mem::take(&mut fields.message);
        let mut record = LogRecord::new(level_of(metadata), metadata.target(), message);
        record.fields = fields.values;
        let span = if event.is_root() { None } else { event.parent().cloned().or_else(entered) };
        record.spans = self.path(span.as_ref());
        if let Some(host) = host() {
            host.log(record);
        }
    }

    fn enter(&self, id: &Id) {
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            if let Some(place) = entered.iter().rposition(|open| *open == id.into_u64()) {
                entered.remove(place);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(span) = locked(&self.spans).get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut spans = locked(&self.spans);
        let Some(span) = spans.get_mut(&id.into_u64()) else {
            return false;
        };
        span.handles = span.handles.saturating_sub(1);
        if span.handles > 0 {
            return false;
        }
        let parent = spans.remove(&id.into_u64()).and_then(|closed| closed.parent);
        drop(spans);
        if let Some(parent) = parent {
            self.try_close(parent);
        }
        true
    }
}

/// `name{field=value other=value}`
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.fields.is_empty() {
            return Ok(());
        }
        f.write_char('{')?;
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            match value {
                Value::String(text) => write!(f, "{space}{name}={text}")?,
                value => write!(f, "{space}{name}={value}")?,
            }
        }
        f.write_char('}')
    }
}

/// The fields of an event or a span, its message apart.
#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.values.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not finite.
        match serde_json::Number::from_f64(value) {
            Some(number) => self.add(field, Value::Number(number)),
            None => self.add(field, value.to_string()),
        }
    }
}
