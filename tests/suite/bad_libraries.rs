//! Libraries that are none: refused before any of their code runs, and only their own plugin suffers.

use serde_json::Value;

use crate::support::{Workshop, library_dir};

fn good_library() -> Vec<u8> {
    fs_err::read(library_dir().join("libmock_os.so")).unwrap()
}

/// A plugin `odd` with this library cannot be used, for this reason; another plugin can.
#[track_caller]
fn assert_refused(bytes: Option<&[u8]>, reason: &str) {
    let workshop = Workshop::new();
    workshop.info("odd", r#"{"type":"os","targets":[["Odd"]]}"#);
    workshop.template_for("odd.tdl", "Odd");
    if let Some(bytes) = bytes {
        workshop.library("odd", bytes);
    }
    let ran = workshop.run(&["build", "odd.tdl"]);
    ran.refused(4).says("plugin `odd`").says(reason);
    assert_eq!(workshop.images(), Vec::<Value>::new());

    let list = workshop.run(&["plugins", "list"]).done();
    list.prints(reason).prints("ready");
    workshop.build(&[]);
    workshop.assert_tidy();
}

#[test]
fn a_library_for_another_architecture_is_refused() {
    let mut library = good_library();
    // `e_machine` of the ELF header: 183 is AArch64, 62 x86-64.
    library[18] = if library[18] == 62 { 183 } else { 62 };
    assert_refused(Some(&library), "this machine is");
}

#[test]
fn a_truncated_library_is_refused() {
    let library = good_library();
    assert_refused(Some(&library[..library.len() / 2]), "truncated");
    assert_refused(Some(&library[..100]), "libodd.so");
    assert_refused(Some(&library[..20]), "libodd.so");
}

#[test]
fn an_empty_library_is_refused() {
    assert_refused(Some(b""), "is empty");
}

#[test]
fn a_text_file_as_library_is_refused() {
    assert_refused(Some(b"hello\n"), "not an ELF file");
}

#[test]
fn a_missing_library_is_refused_with_the_places_that_were_searched() {
    assert_refused(None, "libodd.so` is in none of");
}

#[test]
fn a_program_as_library_is_refused() {
    let program = fs_err::read("/bin/true").unwrap();
    assert_refused(Some(&program), "libodd.so");
}

#[test]
fn a_library_without_the_entry_symbol_is_refused() {
    let mut library = good_library();
    // The symbol is renamed wherever its name stands.
    let (name, other) = (b"imageforge_plugin\0", b"imageforge_plugxx\0");
    for at in 0..library.len() - name.len() {
        if library[at..].starts_with(name) {
            library[at..at + name.len()].copy_from_slice(other);
        }
    }
    assert_refused(Some(&library), "does not export `imageforge_plugin`");
}

#[test]
fn a_library_of_the_wrong_kind_of_delegate_is_refused() {
    let workshop = Workshop::new();
    workshop.info("odd", r#"{"type":"cloud","targets":["odd"],"library":"libmock_os.so"}"#);
    let ran = workshop.run(&["build", "mock.tdl", "--target", "odd"]);
    ran.refused(4).says("plugin `odd`");
    assert_eq!(workshop.images(), Vec::<Value>::new());
}

#[test]
fn a_delegate_that_the_library_does_not_export_is_refused() {
    let workshop = Workshop::new();
    workshop.template_for("odd.tdl", "Odd");
    workshop.info(
        "odd",
        r#"{"type":"os","targets":[["Odd"]],"library":"libmock_os.so","delegate":"other"}"#,
    );
    let ran = workshop.run(&["build", "odd.tdl"]);
    ran.refused(4).says("other").says("mock");
}

#[test]
fn what_a_plugin_requires_is_checked_before_a_build() {
    let workshop = Workshop::new();
    workshop.template_for("odd.tdl", "Odd");
    workshop.info(
        "odd",
        r#"{"type":"os","targets":[["Odd"]],"library":"libmock_os.so",
            "requires":{"commands":["no-such-command-anywhere"]}}"#,
    );
    let ran = workshop.run(&["build", "odd.tdl"]);
    ran.refused(4).says("no-such-command-anywhere");

    workshop.info(
        "odd",
        r#"{"type":"os","targets":[["Odd"]],"library":"libmock_os.so",
            "requires":{"api":"^7.0"}}"#,
    );
    let ran = workshop.run(&["build", "odd.tdl"]);
    ran.refused(4).says("7.0");
}
