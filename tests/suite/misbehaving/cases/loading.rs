//! What a library does while it is loaded: in a constructor of its own, in its root module, and in
//! the expression that makes the delegate, which runs when a worker opens it.

use super::{Case, Family};

const CONSTRUCTOR: &str = "constructor";
const ROOT: &str = "root module";

/// Which a probe finds out.
const fn bad(when: &'static str, how: &'static str, words: &'static [&'static str]) -> Case {
    Case::kept_out("loading", when, how, "quarantined", words)
}

/// Which a probe does not see.
const fn later(when: &'static str, how: &'static str, words: &'static [&'static str]) -> Case {
    Case::refused("loading", when, how, words)
}

pub(super) const LOADING: Family = Family {
    title: "It does it while it is loaded",
    cases: &[
        bad(CONSTRUCTOR, "panic", &["SIGABRT", "last words"]),
        bad(CONSTRUCTOR, "segfault", &["SIGSEGV"]),
        bad(CONSTRUCTOR, "abort", &["SIGABRT"]),
        bad(CONSTRUCTOR, "overflow the stack", &["SIGABRT", "stack overflow"]),
        bad(CONSTRUCTOR, "exit 0", &["status 0"]),
        bad(CONSTRUCTOR, "exit 7", &["status 7"]),
        bad(CONSTRUCTOR, "kill itself", &["SIGKILL"]),
        bad(CONSTRUCTOR, "stop itself", &["within 10s"]),
        bad(CONSTRUCTOR, "loop", &["within 10s"]),
        bad(CONSTRUCTOR, "sleep", &["within 10s"]),
        Case::completes("loading", CONSTRUCTOR, "leave children", &[">> loading: open"]),
        Case::completes("loading", CONSTRUCTOR, "read what is secret", &[">> loading: open"]),
        bad(CONSTRUCTOR, "multiply", &["more than 64 processes"]),
        bad(CONSTRUCTOR, "take memory", &["SIGABRT", "memory allocation of"]),
        bad(ROOT, "panic", &["SIGABRT", "last words"]),
        bad(ROOT, "segfault", &["SIGSEGV"]),
        bad(ROOT, "abort", &["SIGABRT"]),
        bad(ROOT, "overflow the stack", &["SIGABRT", "stack overflow"]),
        bad(ROOT, "exit 0", &["status 0"]),
        bad(ROOT, "exit 7", &["status 7"]),
        bad(ROOT, "kill itself", &["SIGKILL"]),
        bad(ROOT, "loop", &["within 10s"]),
        bad(ROOT, "sleep", &["within 10s"]),
        bad(ROOT, "leave children", &["within 10s"]),
        later("later constructor", "segfault", &["SIGSEGV", "was loaded"]),
        later("later root module", "exit 0", &["exited with code 0", "was loaded"]),
        later("delegate", "panic", &["panicked at"]),
        later("delegate", "segfault", &["SIGSEGV", "was loaded"]),
        later("delegate", "exit 7", &["exited with code 7", "was loaded"]),
        later("delegate", "loop", &["longer than 2 s", "was loaded"])
            .limited("[limits]\ncheck_seconds = 2"),
    ],
};
