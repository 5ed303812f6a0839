//! The cases: what a plugin does, and what must come of it.

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// A folder of `tests/misbehaving`.
    pub(super) plugin: &'static str,
    /// The delegate method; empty for a constructor of the library.
    pub(super) when: &'static str,
    /// What it does there.
    pub(super) how: &'static str,
    /// What somebody does meanwhile.
    pub(super) then: Then,
    /// The settings file.
    pub(super) settings: &'static str,
    /// Exit code of the build.
    pub(super) exit: i32,
    /// State of the image, or `no record`.
    pub(super) state: &'static str,
    /// State of the plugin in `plugins show`, where it is of interest.
    pub(super) probe: &'static str,
    /// What the user reads, in pieces.
    pub(super) words: &'static [&'static str],
}

/// What somebody does while the plugin is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Cancelled,
}

/// A build that fails in a delegate method while its image is made.
const fn fails(
    plugin: &'static str,
    when: &'static str,
    how: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case {
        plugin,
        when,
        how,
        then: Then::Nothing,
        settings: "",
        exit: 1,
        state: "FAILED",
        probe: "",
        words,
    }
}

/// The same with settings that set limits.
const fn limited(settings: &'static str, case: Case) -> Case {
    Case { settings, ..case }
}

/// A build that is refused before there is a record.
const fn refused(
    plugin: &'static str,
    when: &'static str,
    how: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case { state: "no record", ..fails(plugin, when, how, words) }
}

/// A build that completes all the same.
const fn completes(plugin: &'static str, when: &'static str, how: &'static str) -> Case {
    Case { exit: 0, state: "COMPLETE", ..fails(plugin, when, how, &[]) }
}

/// A build that is cancelled.
const fn cancelled(
    plugin: &'static str,
    when: &'static str,
    how: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case { then: Then::Cancelled, exit: 8, state: "CANCELLED", ..fails(plugin, when, how, words) }
}

/// A library that no probe survives.
const fn kept_out(
    plugin: &'static str,
    probe: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case { exit: 4, state: "no record", probe, ..fails(plugin, "", "", words) }
}

pub(super) const CASES: &[Case] = &[
    refused("panics", "check", "text", &["`panics`", "`check`", "panicked on purpose"]),
    fails(
        "panics",
        "builder_should_create_image",
        "number",
        &["`builder_should_create_image`", "panicked", "no text"],
    ),
    fails("panics", "create_base_image", "text", &["`create_base_image`", "panicked on purpose"]),
    fails("panics", "create_base_image", "bomb", &["`create_base_image`", "no text"]),
    completes("panics", "drop", "text"),
    cancelled("panics", "abort", "text", &[]),
    refused("crashes", "check", "segfault", &["SIGSEGV", "`check`", "`crashes`"]),
    fails("crashes", "create_base_image", "segfault", &["SIGSEGV", "`create_base_image`"]),
    fails("crashes", "create_base_image", "abort", &["SIGABRT", "`create_base_image`"]),
    fails("crashes", "create_base_image", "overflow", &["SIGABRT", "`create_base_image`"]),
    fails("crashes", "create_base_image", "exit-0", &["exited with code 0", "`crashes`"]),
    fails("crashes", "builder_did_create_image", "exit-7", &["exited with code 7", "`crashes`"]),
    fails("crashes", "create_base_image", "kill", &["SIGKILL", "`create_base_image`"]),
    cancelled("crashes", "abort", "segfault", &["SIGSEGV", "`abort`", "`crashes`"]),
    cancelled("hangs", "create_base_image", "loop", &["`create_base_image`", "`hangs`"]),
    cancelled("hangs", "create_base_image", "sleep", &["`create_base_image`", "`hangs`"]),
    cancelled("hangs", "create_base_image", "children", &["`create_base_image`", "`hangs`"]),
    limited(
        "[limits]\nbase_seconds = 2",
        fails("hangs", "create_base_image", "loop", &["`create_base_image`", "longer than 2 s"]),
    ),
    limited(
        "[limits.plugin.hangs]\nsilence_seconds = 2",
        fails("hangs", "create_base_image", "sleep", &["no sign of life", "silence_seconds = 2"]),
    ),
    limited(
        "[limits]\ncheck_seconds = 2",
        refused("hangs", "check", "loop", &["`check`", "`hangs`", "check_seconds = 2"]),
    ),
    limited(
        "[limits]\nmemory_mib = 300",
        fails("exhausts", "create_base_image", "memory", &["`exhausts`", "memory_mib = 300"]),
    ),
    limited(
        "[limits]\ndisk_mib = 100",
        fails("exhausts", "create_base_image", "disk", &["more than 100 MiB", "disk_mib = 100"]),
    ),
    limited(
        "[limits]\nopen_files = 200",
        fails("exhausts", "create_base_image", "files", &["os error 24", "open_files = 200"]),
    ),
    limited(
        "[limits]\nprocesses = 20",
        fails("exhausts", "create_base_image", "processes", &["more than 20 processes"]),
    ),
    limited(
        "[limits]\nlog_mib = 4",
        fails("exhausts", "create_base_image", "log", &["more than 4 MiB of log", "log_mib = 4"]),
    ),
    completes("exhausts", "create_base_image", "progress"),
    completes("vandalises", "builder_should_create_image", "stdout"),
    completes("vandalises", "builder_should_create_image", "stderr"),
    completes("vandalises", "builder_should_create_image", "channel"),
    completes("vandalises", "builder_should_create_image", "folder"),
    completes("vandalises", "builder_should_create_image", "umask"),
    completes("vandalises", "builder_should_create_image", "environment"),
    completes("vandalises", "builder_should_create_image", "signals"),
    fails("vandalises", "create_base_image", "close", &["`create_base_image`", "`vandalises`"]),
    fails("lies", "create_base_image", "utf-8", &["`lies`"]),
    fails("lies", "create_base_image", "huge", &["`lies`"]),
    fails("lies", "create_base_image", "nothing", &["left nothing where the image must be"]),
    fails("lies", "create_base_image", "outside", &["left nothing where the image must be"]),
    fails("lies", "create_base_image", "symlink", &["something else than a regular file"]),
    fails("lies", "create_base_image", "folder", &["something else than a regular file"]),
    kept_out("constructor-aborts", "quarantined", &["SIGABRT"]),
    kept_out("constructor-segfaults", "quarantined", &["SIGSEGV"]),
    kept_out("constructor-exits", "quarantined", &["status 0"]),
    kept_out("constructor-hangs", "quarantined", &["within 10s"]),
];
