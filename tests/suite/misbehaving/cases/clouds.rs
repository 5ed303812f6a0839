//! What a cloud's plugin does.

use super::{Case, Family};

const PUSH: &str = "push_image_to_provider";
const DELETE: &str = "delete_from_provider";
const FINISH: &str = "finish_target_image";

/// The image stays, and can be deleted once more.
const fn keeps(how: &'static str, words: &'static [&'static str]) -> Case {
    Case { state: "DELETEFAILED", ..Case::fails("clouds", DELETE, how, words) }
}

pub(super) const CLOUDS: Family = Family {
    title: "A cloud's plugin does it",
    cases: &[
        Case::refused("clouds", "check_provider", "panic", &["panicked at"]),
        Case::refused("clouds", "check_provider", "segfault", &["SIGSEGV"]),
        Case::refused("clouds", "check_provider", "exit 0", &["exited with code 0"]),
        Case::refused("clouds", "check_provider", "loop", &["did not stop"]).cancelled(),
        Case::fails("clouds", "target builder_should_create_image", "segfault", &["SIGSEGV"]),
        Case::fails("clouds", "target builder_will_create_image", "panic", &["panicked at"]),
        Case::fails("clouds", "target builder_did_create_image", "exit 7", &["with code 7"]),
        Case::fails("clouds", FINISH, "panic", &["panicked at"]),
        Case::fails("clouds", FINISH, "segfault", &["SIGSEGV", "log: this is finish_target_image"]),
        Case::fails("clouds", FINISH, "exit 0", &["exited with code 0"]),
        Case::fails("clouds", FINISH, "sleep", &["did not stop"]).cancelled(),
        Case::fails("clouds", "provider builder_should_create_image", "panic", &["panicked at"]),
        Case::fails("clouds", "provider builder_did_create_image", "segfault", &["SIGSEGV"]),
        Case::fails("clouds", PUSH, "panic", &["panicked at"]),
        Case::fails(
            "clouds",
            PUSH,
            "segfault",
            &["SIGSEGV", "log: this is push_image_to_provider"],
        ),
        Case::fails("clouds", PUSH, "exit 0", &["exited with code 0"]),
        Case::fails("clouds", PUSH, "loop", &["did not stop"]).cancelled(),
        Case::fails("clouds", "snapshot_image_on_provider", "panic", &["panicked at"]),
        Case::fails("clouds", "snapshot_image_on_provider", "kill itself", &["SIGKILL"]),
        keeps("panic", &["panicked at"]),
        keeps("segfault", &["SIGSEGV"]),
        keeps("exit 0", &["exited with code 0"]),
        keeps("loop", &["did not stop"]).cancelled(),
    ],
};
