//! What the daemon says while it serves: lines on standard error.
//!
//! JSON for programs, text for a terminal, and for systemd's journal text whose lines begin with their
//! priority. Nobody who reads them is asked for: each line is written at once.

use std::fmt;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::error::{Exit, Failure};
use crate::settings::LogFormat;

/// Begins to write what is at least as important as `filter` says, or else `verbose`.
///
/// # Errors
/// The filter is none.
pub(super) fn begin(format: LogFormat, filter: Option<&str>, verbose: u8) -> Result<(), Failure> {
    let by_flags = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::builder().parse(filter.unwrap_or(by_flags)).map_err(|error| {
        Failure::from_error(Exit::InvalidInput, &error)
            .hint("a log filter is a level, or a list such as `info,imageforge::access=warn`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only the daemon comes here, and once.
    drop(match chosen(format) {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            builder.with_span_list(false).try_init()
        },
        LogFormat::Journal => builder.with_ansi(false).event_format(Priority::default()).try_init(),
        _ => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    });
    Ok(())
}

/// What fits, when nobody chose.
fn chosen(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if is_journal() => LogFormat::Journal,
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    }
}

/// Whether standard error is the journal: `JOURNAL_STREAM` holds its device and inode, see systemd.exec(5).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(std::io::stderr().as_fd())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Text without time, which the journal has, behind `<N>`: see sd-daemon(3).
#[derive(Debug)]
struct Priority(Format<tracing_subscriber::fmt::format::Full, ()>);

impl Default for Priority {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Priority
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let mut text = String::new();
        self.0.format_event(context, Writer::new(&mut text), event)?;
        // One line each: a second one would have another priority.
        writeln!(writer, "<{priority}>{}", text.trim_end().replace('\n', " ⏎ "))
    }
}
