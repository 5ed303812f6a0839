//! Real libraries, built against this plugin API and against others, as a host opens them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not known as such to clippy")]

#[path = "../../tests/suite/fixtures_abi.rs"]
mod fixtures_abi;

use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use fixtures_abi::build_fixture;
use plugin_api::abi::{DelegateSession, LoadError, OpenOptions, PluginLibrary};
use plugin_api::host::{BuildContext, BuilderHost, HostCall, LogLevel, LogRecord};
use plugin_api::{Decision, DelegateError, DelegateErrorKind, DelegateKind, Template, Tier};
use serde_json::Value;

/// A host that writes down what it is asked, and panics when it is told to.
#[derive(Default)]
struct Host {
    heard: Mutex<Vec<String>>,
    logs: Mutex<Vec<LogRecord>>,
    broken: bool,
}

impl BuilderHost for Host {
    fn progress(&self, percent: u8) {
        self.heard.lock().unwrap().push(format!("{percent} %"));
    }
    fn activity(&self, text: &str) {
        self.heard.lock().unwrap().push(text.to_owned());
    }
    fn cancelled(&self) -> bool {
        assert!(!self.broken, "the host is broken");
        false
    }
    fn log_enabled(&self, level: LogLevel) -> bool {
        level <= LogLevel::Info
    }
    fn log(&self, record: LogRecord) {
        self.logs.lock().unwrap().push(record);
    }
    fn call(&self, call: HostCall) -> Result<Value, DelegateError> {
        match call {
            HostCall::SetProperty { key, value } => {
                assert!(!self.broken, "the host is broken");
                self.heard.lock().unwrap().push(format!("{key} = {value}"));
                Ok(Value::Null)
            },
            other => Err(DelegateError::unsupported(format!("{other:?}"))),
        }
    }
}

/// Held by tests that need all sessions of library `newer` for themselves.
static NEWER: Mutex<()> = Mutex::new(());

fn path(fixture: &str) -> Utf8PathBuf {
    build_fixture(fixture).try_into().unwrap()
}

fn library(fixture: &str) -> PluginLibrary {
    PluginLibrary::open(path(fixture)).unwrap()
}

fn context(action: &str) -> BuildContext {
    let mut context = BuildContext::new("an-id", Tier::Base, Template::default(), "/w", "/b");
    context.parameters.insert("do".to_owned(), action.into());
    context
}

fn open(
    library: &PluginLibrary,
    delegate: &str,
    action: &str,
    host: &Arc<Host>,
) -> DelegateSession {
    let host: Arc<dyn BuilderHost> = host.clone();
    library.open_session(Some(delegate), &context(action), host).unwrap()
}

fn create(action: &str) -> (Result<(), DelegateError>, Arc<Host>) {
    let host = Arc::new(Host::default());
    let session = open(&library("same"), "abi-same", action, &host);
    (session.create_base_image(), host)
}

#[test]
fn a_library_describes_its_delegates_in_order() {
    let library = library("same");
    let description = library.description();
    let delegates: Vec<_> = description
        .delegates
        .iter()
        .map(|delegate| (delegate.name.as_str(), delegate.kind))
        .collect();
    assert_eq!(
        delegates,
        [
            ("abi-same", DelegateKind::Os),
            ("cloud", DelegateKind::Cloud),
            ("clumsy", DelegateKind::Os),
            ("constructor", DelegateKind::Os),
            ("elsewhere", DelegateKind::Cloud),
        ]
    );
    assert!(description.rustc_version.starts_with("rustc "));
}

#[test]
fn each_plugin_answers_for_itself() {
    let (same, older) = (library("same"), library("older"));
    assert_eq!(same.description().delegates[0].name, "abi-same");
    assert_eq!(older.description().delegates[0].name, "abi-older");
}

#[test]
fn results_of_every_shape_cross_the_boundary() {
    let host = Arc::new(Host::default());
    let library = library("same");
    let session = open(&library, "abi-same", "skip", &host);
    assert_eq!(session.should_create_image(), Ok(Decision::Skip("asked to".to_owned())));
    assert_eq!(session.cache_key().as_deref(), Ok("key"));
    assert_eq!(session.will_create_image(), Ok(()));
    let session = open(&library, "abi-same", "two problems", &host);
    assert_eq!(session.should_create_image(), Ok(Decision::Proceed));
    assert_eq!(
        session.check(),
        [
            DelegateError::invalid_input("first").hint("one"),
            DelegateError::credentials("second").because("cause"),
        ]
    );
}

#[test]
fn an_error_crosses_with_kind_and_hint() {
    let error = create("fail").0.unwrap_err();
    assert_eq!(error, DelegateError::unavailable("gone").hint("wait"));
}

#[test]
fn calls_of_the_other_kind_are_unsupported() {
    let host = Arc::new(Host::default());
    let library = library("same");
    let os = open(&library, "abi-same", "", &host);
    let cloud = open(&library, "cloud", "", &host);
    for result in [
        os.check_provider(),
        os.push_image_to_provider().map(|_| ()),
        os.delete_from_provider(),
        cloud.create_base_image(),
        cloud.create_target_image(),
        cloud.cache_key().map(|_| ()),
    ] {
        assert_eq!(result.unwrap_err().kind(), DelegateErrorKind::Unsupported);
    }
}

#[test]
fn a_delegate_is_asked_for_by_name() {
    let library = library("same");
    let open = |name| {
        let host = Arc::new(Host::default());
        library.open_session(name, &context(""), host).unwrap_err()
    };
    assert_eq!(open(Some("nobody")).kind(), DelegateErrorKind::NotFound);
    let several = open(None);
    assert_eq!(several.kind(), DelegateErrorKind::InvalidInput);
    assert!(several.hints()[0].contains("`cloud`"), "{several:?}");
}

#[test]
fn the_builder_reaches_the_host() {
    let (result, host) = create("ask");
    assert_eq!(result, Ok(()));
    let heard = host.heard.lock().unwrap();
    assert_eq!(*heard, [r#"asked = "an-id""#, "asking", "50 %"]);
}

#[test]
fn a_refusal_of_the_host_reaches_the_plugin() {
    let error = create("lock").0.unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Unsupported);
}

#[test]
fn a_panic_is_an_error_with_message_and_place() {
    let error = create("panic").0.unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::BugInPlugin);
    assert!(error.message().contains("out of luck"), "{error}");
    assert!(error.message().contains("plugin/src/lib.rs:"), "{error}");
}

#[test]
fn a_panic_with_any_value_is_an_error() {
    for action in ["panic with a number", "panic with a bomb"] {
        let error = create(action).0.unwrap_err();
        assert_eq!(error.kind(), DelegateErrorKind::BugInPlugin);
        assert!(error.message().contains("lib.rs:"), "{error}");
    }
}

#[test]
fn a_panic_of_a_constructor_is_an_error() {
    let host = Arc::new(Host::default());
    let library = library("same");
    let error = library.open_session(Some("constructor"), &context(""), host).unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::BugInPlugin);
    assert!(error.message().contains("no delegate today"), "{error}");
}

#[test]
fn a_panic_of_a_drop_is_logged() {
    let host = Arc::new(Host::default());
    drop(open(&library("same"), "clumsy", "", &host));
    let logs = host.logs.lock().unwrap();
    assert!(logs[0].message.contains("dropped it"), "{logs:?}");
}

#[test]
fn a_panic_of_the_host_is_an_error_for_the_plugin() {
    let host = Arc::new(Host { broken: true, ..Host::default() });
    let session = open(&library("same"), "abi-same", "ask", &host);
    let error = session.create_base_image().unwrap_err();
    assert!(error.message().contains("the host is broken"), "{error}");
}

#[test]
fn events_arrive_with_fields_and_spans() {
    let (_, host) = create("log");
    let logs = host.logs.lock().unwrap();
    let [record] = logs.as_slice() else {
        panic!("one record is wanted: {logs:?}");
    };
    assert_eq!(record.message, "from the library");
    assert_eq!(record.level, LogLevel::Warn);
    assert_eq!(record.target, "abi_same");
    assert_eq!(record.fields["answer"], 42);
    assert_eq!(record.spans, ["outer{n=1}"]);
}

#[test]
fn a_thread_of_the_plugin_logs_to_the_open_session() {
    let _alone = NEWER.lock().unwrap();
    let host = Arc::new(Host::default());
    let session = open(&library("newer"), "abi-newer", "log from a thread", &host);
    session.create_base_image().unwrap();
    assert_eq!(host.logs.lock().unwrap()[0].message, "from a thread");
}

#[test]
fn a_level_that_is_switched_off_stays_silent() {
    let _alone = NEWER.lock().unwrap();
    let host = Arc::new(Host::default());
    let library = library("newer");
    library.set_log_level(Some(LogLevel::Error));
    let session = open(&library, "abi-newer", "log", &host);
    session.create_base_image().unwrap();
    library.set_log_level(Some(LogLevel::Trace));
    assert!(host.logs.lock().unwrap().is_empty());
}

#[test]
fn abort_is_called_from_another_thread() {
    let host = Arc::new(Host::default());
    let session = open(&library("same"), "abi-same", "", &host);
    let aborted = std::thread::scope(|scope| scope.spawn(|| session.abort()).join());
    assert_eq!(aborted.unwrap(), Ok(()));
}

#[test]
fn a_plugin_of_an_older_api_works_without_what_was_added() {
    let host = Arc::new(Host::default());
    let library = library("older");
    let session = open(&library, "abi-older", "ask", &host);
    assert_eq!(session.create_base_image(), Ok(()));
    // Neither does the older API have these; the first is skipped, the second has a default.
    library.set_log_level(Some(LogLevel::Warn));
    assert_eq!(session.abort(), Ok(()));
}

#[test]
fn a_plugin_of_a_newer_api_works_with_an_older_host() {
    let _alone = NEWER.lock().unwrap();
    let host = Arc::new(Host::default());
    let library = library("newer");
    assert_eq!(library.description().api_version.patch, 99);
    let session = open(&library, "abi-newer", "ask", &host);
    assert_eq!(session.create_base_image(), Ok(()));
    assert_eq!(host.heard.lock().unwrap().len(), 3);
}

#[test]
fn a_changed_layout_is_refused_in_one_line() {
    let error = PluginLibrary::open(path("changed")).unwrap_err();
    assert!(matches!(error, LoadError::IncompatibleLayout { .. }), "{error:?}");
    let line = error.to_string();
    assert_eq!(line.lines().count(), 1);
    assert!(line.len() < 400, "{line}");
    assert!(line.contains("libabi_changed.so"), "{line}");
    assert_eq!(line.matches(env!("CARGO_PKG_VERSION")).count(), 2, "{line}");
    assert!(line.contains("open_session.param_2.obj.vtable.progress.param_1"), "{line}");
}

#[test]
fn another_major_version_is_refused_with_both_versions() {
    let error = PluginLibrary::open(path("major")).unwrap_err();
    assert!(matches!(error, LoadError::ApiVersion { .. }), "{error:?}");
    let line = error.to_string();
    assert!(line.contains("0.2.0") && line.contains(env!("CARGO_PKG_VERSION")), "{line}");
}

#[test]
fn a_layout_that_was_checked_before_is_not_checked_again() {
    let options = OpenOptions { layout_checked: true };
    let library = PluginLibrary::open_with(path("same"), options).unwrap();
    assert_eq!(library.description().delegates.len(), 5);
}

#[test]
fn what_is_no_plugin_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let text = Utf8PathBuf::try_from(folder.path().join("text.so")).unwrap();
    fs_err::write(&text, "no library").unwrap();
    let error = PluginLibrary::open(&text).unwrap_err();
    assert!(matches!(error, LoadError::NotALibrary { .. }), "{error:?}");
    // Any other library of this machine.
    let error = PluginLibrary::open("libc.so.6").unwrap_err();
    assert!(matches!(error, LoadError::MissingSymbol { .. }), "{error:?}");
}
