//! Libraries that are none, that fit another host, or that change while they are used.

use super::{Case, Family, Library, Then};
use crate::support::library_dir;

/// A library that is refused.
const fn refused(
    how: &'static str,
    bytes: fn() -> Vec<u8>,
    words: &'static [&'static str],
) -> Case {
    let library = Library::Made(bytes, None);
    Case { library, ..Case::kept_out("odd", "load", how, "problem", words) }
}

/// A sound library of which the `.info` file says something else.
const fn denied(
    how: &'static str,
    delegate: Option<&'static str>,
    words: &'static [&'static str],
) -> Case {
    let library = Library::Made(good, delegate);
    Case { library, ..Case::kept_out("odd", "load", how, "problem", words) }
}

/// A plugin that was built against another plugin API.
const fn foreign(how: &'static str, api: &'static str, words: &'static [&'static str]) -> Case {
    let library = Library::Fixture(api);
    Case { library, ..Case::kept_out("odd", "load", how, "incompatible", words) }
}

/// One that fits all the same.
const fn fits(how: &'static str, api: &'static str) -> Case {
    let library = Library::Fixture(api);
    Case { library, probe: "ready", ..Case::completes("odd", "load", how, &[">> odd: open"]) }
}

/// A library that somebody changes while a build uses it.
const fn changed(how: &'static str, then: Then) -> Case {
    let library = Library::Made(good, None);
    let log = &[">> odd: create_target_image"];
    Case { library, then, ..Case::completes("odd", "a build", how, log) }
}

pub(super) const LIBRARIES: Family = Family {
    title: "Its library is not what it should be",
    cases: &[
        refused("is text", || b"hello\n".to_vec(), &["not an ELF file"]),
        refused("is empty", Vec::new, &["is empty"]),
        refused("is a program", || fs_err::read("/bin/true").unwrap(), &["libodd.so"]),
        refused("is cut after 20 bytes", || first(20), &["libodd.so"]),
        refused("is cut after 100 bytes", || first(100), &["libodd.so"]),
        refused("is cut in the middle", || first(good().len() / 2), &["truncated"]),
        refused("is for another architecture", other_architecture, &["this machine is"]),
        refused("is of another class", other_class, &["libodd.so"]),
        refused("exports no entry symbol", no_entry, &["does not export `imageforge_plugin`"]),
        refused("has an undefined symbol", undefined_symbol, &["undefined symbol", "pthread_key_"]),
        denied("has no delegate that `.info` names", Some("other"), &["`other`", "`mock-os`"]),
        fits("is of an older minor API", "older"),
        fits("is of a newer minor API", "newer"),
        foreign("is of another major API", "major", &["0.2.0"]),
        foreign("has a changed layout", "changed", &["progress"]),
        fits("is built with `panic = \"abort\"`", "aborting"),
        Case {
            library: Library::Fixture("aborting"),
            ..Case::fails(
                "odd",
                "create_base_image",
                "panic, built with `panic = \"abort\"`",
                &["SIGABRT", "log: ", "out of luck"],
            )
        },
        changed("replaced", Then::Replaced),
        changed("truncated in place", Then::Truncated),
        changed("deleted", Then::Deleted),
    ],
};

fn good() -> Vec<u8> {
    fs_err::read(library_dir().join("libmock_os.so")).unwrap()
}

fn first(bytes: usize) -> Vec<u8> {
    let mut library = good();
    library.truncate(bytes);
    library
}

fn other_architecture() -> Vec<u8> {
    let mut library = good();
    // `e_machine` of the ELF header: 183 is AArch64, 62 x86-64.
    library[18] = if library[18] == 62 { 183 } else { 62 };
    library
}

fn other_class() -> Vec<u8> {
    let mut library = good();
    // `EI_CLASS`: 1 is 32 bits, 2 is 64.
    library[4] = 3 - library[4];
    library
}

fn no_entry() -> Vec<u8> {
    renamed(b"\0imageforge_plugin\0", b"\0imageforge_plugxx\0")
}

/// Every plugin has thread-locals with destructors, so it needs this one.
fn undefined_symbol() -> Vec<u8> {
    renamed(b"\0pthread_key_create\0", b"\0pthread_key_xreate\0")
}

/// The symbol is renamed wherever its name stands.
fn renamed(name: &[u8], other: &[u8]) -> Vec<u8> {
    let mut library = good();
    let mut found = false;
    for at in 0..library.len() - name.len() {
        if library[at..].starts_with(name) {
            library[at..at + name.len()].copy_from_slice(other);
            found = true;
        }
    }
    assert!(found, "the library has no such symbol");
    library
}
