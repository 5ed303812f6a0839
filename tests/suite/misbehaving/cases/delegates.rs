//! What an operating system's plugin does in its delegate methods.

use super::{Case, Family};

const BASE: &str = "create_base_image";
const SHOULD: &str = "builder_should_create_image";

pub(super) const PANICS: Family = Family {
    title: "It panics",
    cases: &[
        Case::refused("panics", "check", "panic", &["panicked at", "on purpose"]),
        Case::refused("panics", "check", "panic with a number", &["panicked at", "no text"]),
        Case::fails("panics", SHOULD, "panic with a number", &["panicked at", "no text"]),
        Case::fails("panics", "builder_will_create_image", "panic", &["panicked at"]),
        Case::fails("panics", BASE, "panic", &["panicked at", "faults.rs", "on purpose"]),
        Case::fails("panics", BASE, "panic with a bomb", &["panicked at", "no text"]),
        Case::fails("panics", "builder_did_create_image", "panic", &["panicked at"]),
        Case::completes(
            "panics",
            "drop",
            "panic",
            &["panicked while it was dropped", "on purpose"],
        ),
        Case::completes("panics", "drop", "panic with a bomb", &["panicked while it was dropped"]),
        Case::fails("panics", "abort", "panic", &["cancelled"]).cancelled(),
    ],
};

pub(super) const CRASHES: Family = Family {
    title: "It ends its process",
    cases: &[
        Case::refused("crashes", "check", "segfault", &["SIGSEGV", "log: this is check"]),
        Case::refused("crashes", "check", "exit 0", &["exited with code 0"]),
        Case::fails("crashes", SHOULD, "segfault", &["SIGSEGV"]),
        Case::fails("crashes", BASE, "segfault", &["SIGSEGV", "log: this is create_base_image"]),
        Case::fails("crashes", BASE, "abort", &["SIGABRT"]),
        Case::fails("crashes", BASE, "overflow the stack", &["SIGABRT", "log: ", "overflow"]),
        Case::fails("crashes", BASE, "exit 0", &["exited with code 0"]),
        Case::fails("crashes", "builder_did_create_image", "exit 7", &["exited with code 7"]),
        Case::fails("crashes", BASE, "kill itself", &["SIGKILL"]),
        Case::fails("crashes", "abort", "segfault", &["SIGSEGV", "`abort`"]).cancelled(),
        Case::completes("crashes", "drop", "segfault", &["work was done", "SIGSEGV", "`drop`"]),
        Case::completes("crashes", "drop", "exit 7", &["work was done", "code 7", "`drop`"]),
    ],
};

pub(super) const HANGS: Family = Family {
    title: "It never comes back",
    cases: &[
        Case::fails("hangs", BASE, "loop", &["did not stop"]).cancelled(),
        Case::fails("hangs", BASE, "sleep", &["did not stop"]).cancelled(),
        Case::fails("hangs", BASE, "stop itself", &["did not stop"]).cancelled(),
        Case::fails("hangs", BASE, "leave children", &["did not stop"]).cancelled(),
        Case::fails("hangs", "abort", "loop", &["cancelled"]).cancelled(),
        Case::refused("hangs", "check", "loop", &["did not stop"]).cancelled(),
        Case::fails(
            "hangs",
            BASE,
            "loop",
            &["longer than 2 s", "base_seconds = 2", "log: this is"],
        )
        .limited("[limits]\nbase_seconds = 2"),
        Case::fails("hangs", BASE, "sleep", &["no sign of life", "silence_seconds = 2"])
            .limited("[limits.plugin.hangs]\nsilence_seconds = 2"),
        Case::refused("hangs", "check", "loop", &["longer than 2 s", "check_seconds = 2"])
            .limited("[limits]\ncheck_seconds = 2"),
        Case::completes("hangs", "drop", "loop", &["work was done", "did not end", "`drop`"]),
    ],
};

pub(super) const EXHAUSTS: Family = Family {
    title: "It takes without end",
    cases: &[
        Case::fails("exhausts", BASE, "memory", &["memory_mib = 300"])
            .limited("[limits]\nmemory_mib = 300"),
        Case::fails("exhausts", BASE, "disk", &["more than 100 MiB", "disk_mib = 100"])
            .limited("[limits]\ndisk_mib = 100"),
        Case::fails("exhausts", BASE, "files", &["os error 24", "open_files = 200"])
            .limited("[limits]\nopen_files = 200"),
        Case::fails("exhausts", BASE, "processes", &["more than 20 processes", "processes = 20"])
            .limited("[limits]\nprocesses = 20"),
        Case::fails("exhausts", BASE, "log", &["more than 4 MiB of log", "log_mib = 4"])
            .limited("[limits]\nlog_mib = 4"),
        Case::completes("exhausts", BASE, "output", &["the log is cut here"])
            .limited("[limits]\nlog_mib = 2000"),
        Case::completes("exhausts", BASE, "progress", &["event 999999"]),
    ],
};

pub(super) const VANDALISES: Family = Family {
    title: "It breaks its own process",
    cases: &[
        Case::completes("vandalises", SHOULD, "stdout", &["scribbled"]),
        Case::completes("vandalises", SHOULD, "stderr", &["scribbled"]),
        Case::completes("vandalises", SHOULD, "channel", &["scribbled"]),
        Case::completes("vandalises", SHOULD, "folder", &[">> vandalises: create_base_image"]),
        Case::completes("vandalises", SHOULD, "umask", &[">> vandalises: create_base_image"]),
        Case::completes("vandalises", SHOULD, "environment", &[">> vandalises: create_base_image"]),
        Case::completes("vandalises", SHOULD, "signals", &[">> vandalises: create_base_image"]),
        Case::fails("vandalises", BASE, "signals for ever", &["did not stop"]).cancelled(),
        Case::fails("vandalises", BASE, "input for ever", &["did not stop"]).cancelled(),
        Case::fails("vandalises", BASE, "close", &["the worker", "log: this is"]),
    ],
};

pub(super) const INTRUDES: Family = Family {
    title: "It reaches beyond what is its own",
    cases: &[
        Case::completes("intrudes", BASE, "kills its parent", &["this is create_base_image"]),
        Case::fails("intrudes", BASE, "kills everything", &["SIGKILL"]),
        Case::fails("intrudes", BASE, "ends its process group", &["the plugin or somebody ended"]),
        Case::completes("intrudes", BASE, "reads what is secret", &["found nothing"])
            .limited("[limits]\nmemory_mib = 4000"),
        Case::completes("intrudes", BASE, "writes to the database", &["Read-only file system"]),
        Case::completes("intrudes", BASE, "writes to other images", &["Read-only file system"]),
        Case::fails("intrudes", BASE, "deletes the data directory", &["left nothing"]),
        Case::fails("intrudes", BASE, "mounts over the data directory", &["left nothing"]),
        Case::completes("intrudes", BASE, "panics in a thread", &["panicked on purpose"]),
        Case::completes("intrudes", BASE, "goes on in a thread", &["this is"]),
        Case::completes("intrudes", BASE, "crashes when the process ends", &["SIGSEGV"]),
        Case::completes("intrudes", BASE, "hangs when the process ends", &["it was ended"]),
        Case::completes("intrudes", BASE, "takes itself every right", &["this is"]),
        Case::completes("intrudes", BASE, "deletes its work folder", &["this is"]),
        Case::fails("intrudes", BASE, "deletes the folder of its image", &["os error 30"]),
        Case::fails("intrudes", BASE, "sets a property with a NUL", &["control characters"]),
        Case::fails("intrudes", BASE, "sets properties without end", &["1000 properties already"]),
        Case::fails("intrudes", BASE, "sets a property of 10 MiB", &["longer than 256 KiB"]),
        Case::fails("intrudes", BASE, "keeps an artifact outside", &["cannot name an artifact"]),
        Case::fails("intrudes", BASE, "keeps a file of the user", &["not a file of this build"]),
        Case::fails(
            "intrudes",
            BASE,
            "forges such an artifact",
            &["not in the folder of its build"],
        ),
        Case::fails("intrudes", BASE, "keeps its image as an artifact", &["besides its image"]),
        Case::fails("intrudes", BASE, "speaks for another plugin", &["SIGSEGV", "`intrudes`"]),
        Case::fails("intrudes", BASE, "waits for its own lock", &["silence_seconds = 2"])
            .limited("[limits.plugin.intrudes]\nsilence_seconds = 2"),
        Case::fails(
            "intrudes",
            BASE,
            "leaves a file of holes",
            &["takes too long", "base_seconds = 3"],
        )
        .limited("[limits]\nbase_seconds = 3"),
        Case::fails("intrudes", BASE, "locks outside", &["cannot name a lock"]),
        Case::fails("intrudes", BASE, "forges lines of the host", &["    error: forged"]),
    ],
};

pub(super) const LIES: Family = Family {
    title: "It says or leaves what cannot be",
    cases: &[
        Case::fails("lies", BASE, "utf-8", &["ends in"]),
        Case::fails("lies", BASE, "huge", &["very very", "(cut, it had 10485760 bytes)"]),
        Case::fails("lies", BASE, "nothing", &["left nothing where the image must be"]),
        Case::fails("lies", BASE, "outside", &["left nothing where the image must be"]),
        Case::fails("lies", BASE, "symlink", &["something else than a regular file"]),
        Case::fails("lies", BASE, "folder", &["something else than a regular file"]),
    ],
};
