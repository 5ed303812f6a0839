//! What a call into a plugin costs: a really loaded library beside a `dyn` call in this program.
//!
//! Prints one line per figure, `name value unit`, and the ratio that the README shows. Each figure
//! is the minimum of many runs, since everything else on the machine only adds to it.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "its output is what it is for, and without its fixture it has nothing to measure"
)]

#[path = "../../tests/suite/fixtures_abi.rs"]
mod fixtures_abi;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use plugin_api::abi::{OpenOptions, PluginLibrary};
use plugin_api::host::{BuildContext, BuilderHost, HostCall, LogLevel, LogRecord};
use plugin_api::{Builder, DelegateError, OsDelegate, Template, Tier};
use serde_json::Value;

const RUNS: usize = 200;

/// A host that does nothing.
struct Nothing;

impl BuilderHost for Nothing {
    fn progress(&self, _: u8) {}
    fn activity(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
    fn log_enabled(&self, _: LogLevel) -> bool {
        true
    }
    fn log(&self, _: LogRecord) {}
    fn call(&self, _: HostCall) -> Result<Value, DelegateError> {
        Ok(Value::Null)
    }
}

#[derive(Debug)]
struct Linked;

impl OsDelegate for Linked {
    fn create_base_image(&self, _: &Builder) -> Result<(), DelegateError> {
        Ok(())
    }
}

/// Nanoseconds of one `call`.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 20_000;
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(CALLS)
}

/// Microseconds of one `call` that cannot be repeated thousands of times.
fn microseconds(mut call: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        call();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e6
}

fn context(action: &str) -> BuildContext {
    let mut context = BuildContext::new("an-id", Tier::Base, Template::default(), "/w", "/b");
    context.parameters.insert("do".to_owned(), action.into());
    context
}

fn main() {
    let path: Utf8PathBuf = fixtures_abi::build_fixture("same").try_into().expect("UTF-8");
    let library = PluginLibrary::open(&path).expect("a plugin");
    let open = |action: &str| {
        library
            .open_session(Some("abi-same"), &context(action), Arc::new(Nothing))
            .expect("a session")
    };

    let builder = Builder::new(context(""), Arc::new(Nothing));
    let linked: Box<dyn OsDelegate> = black_box(Box::new(Linked));
    let direct = nanoseconds(|| {
        black_box(black_box(&linked).builder_will_create_image(black_box(&builder)).is_ok());
    });
    let session = open("");
    let guarded = nanoseconds(|| {
        black_box(black_box(&session).will_create_image().is_ok());
    });
    let decided = nanoseconds(|| {
        black_box(black_box(&session).should_create_image().is_ok());
    });
    println!("direct_dyn_call {direct:.2} ns");
    println!("guarded_call {guarded:.2} ns");
    println!("guarded_decision {decided:.2} ns");
    println!("guarded_to_direct {:.2} x", guarded / direct);

    let logging = open("log");
    let logged = microseconds(|| {
        logging.create_base_image().ok();
    });
    library.set_log_level(None);
    let silent = microseconds(|| {
        logging.create_base_image().ok();
    });
    println!("two_events_and_a_span {logged:.2} us");
    println!("two_events_switched_off {silent:.2} us");

    println!("open_session {:.2} us", microseconds(|| drop(open(""))));
    let checked = microseconds(|| drop(PluginLibrary::open(&path)));
    let options = OpenOptions { layout_checked: true };
    let unchecked = microseconds(|| drop(PluginLibrary::open_with(&path, options)));
    println!("open_again_with_layout_check {checked:.1} us");
    println!("open_again_without_layout_check {unchecked:.1} us");
}
