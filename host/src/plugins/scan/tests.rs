use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use fs_err::os::unix::fs::symlink;
use proptest::prelude::*;
use rustix::fs::{FileType as Kind, mknodat};

use super::*;

const GOOD: &str = r#"{"type": "cloud", "targets": ["good"]}"#;

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    (folder, path)
}

fn scanned(directory: &Utf8Path) -> Vec<(String, Result<PluginInfo, String>)> {
    let found = scan(directory, Permissions::Secure).unwrap();
    let told = |problem: Problem| problem.reasons.join("; ");
    found
        .into_iter()
        .map(|found| (found.stem, found.content.map(|content| content.info).map_err(told)))
        .collect()
}

/// The problem of the one entry besides `good.info`, which must have survived it.
fn problem_beside_good(directory: &Utf8Path) -> String {
    fs_err::write(directory.join("good.info"), GOOD).unwrap();
    let mut found = scanned(directory);
    found.retain(|(stem, content)| stem != "good" || content.is_err());
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).1.unwrap_err()
}

#[test]
fn links_and_plain_files_are_read_in_name_order() {
    let (_guard, root) = folder();
    let directory = root.join("plugins.d");
    fs_err::create_dir_all(directory.join("sub.d")).unwrap();
    fs_err::write(root.join("real"), GOOD).unwrap();
    symlink("../real", directory.join("z.info")).unwrap();
    symlink("z.info", directory.join("b.info")).unwrap();
    fs_err::write(directory.join("a.info"), GOOD).unwrap();
    for ignored in ["sub.d/c.info", ".hidden.info", "a.info~", "README", "info"] {
        fs_err::write(directory.join(ignored), "not JSON").unwrap();
    }
    let found = scan(&directory, Permissions::Secure).unwrap();
    let seen: Vec<_> =
        found.iter().map(|f| (f.stem.as_str(), f.is_link, f.content.is_ok())).collect();
    assert_eq!(seen, [("a", false, true), ("b", true, true), ("z", true, true)]);
}

#[test]
fn what_is_wrong_with_one_entry_is_told_and_hides_no_other() {
    type Make = fn(&Utf8Path);
    let cases: &[(Make, &str)] = &[
        (|path| symlink("nowhere/x.info", path).unwrap(), "`nowhere/x.info` does not exist"),
        (|path| symlink(path, path).unwrap(), "leads back to itself"),
        (|path| fs_err::create_dir(path).unwrap(), "found a directory"),
        (|path| symlink("/", path).unwrap(), "found a directory"),
        (|path| symlink("/dev/zero", path).unwrap(), "found a device"),
        (|path| drop(UnixListener::bind(path).unwrap()), "found a socket"),
        (|path| fs_err::write(path, "{").unwrap(), "not valid JSON"),
        (|path| fs_err::write(path, "").unwrap(), "the file is empty"),
        (
            |path| fs_err::write(path, r#"{"type": "os", "targets": [[3]]}"#).unwrap(),
            "targets[0][0]: expected a string or null, found 3",
        ),
        (|path| fs_err::write(path, vec![b' '; MAX_INFO_BYTES + 1]).unwrap(), "more than 1048576"),
    ];
    for (make, expected) in cases {
        let (_guard, directory) = folder();
        make(&directory.join("bad.info"));
        let problem = problem_beside_good(&directory);
        assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
    }
}

#[test]
fn a_pipe_is_never_waited_for() {
    let (_guard, directory) = folder();
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, directory.join("pipe").as_std_path(), Kind::Fifo, mode, 0).unwrap();
    symlink("pipe", directory.join("link.info")).unwrap();
    assert!(problem_beside_good(&directory).contains("found a named pipe"));
    fs_err::remove_file(directory.join("link.info")).unwrap();
    fs_err::rename(directory.join("pipe"), directory.join("pipe.info")).unwrap();
    assert!(problem_beside_good(&directory).contains("found a named pipe"));
}

#[test]
fn a_name_that_is_no_plugin_name_is_a_problem() {
    use std::os::unix::ffi::OsStrExt;
    let (_guard, directory) = folder();
    let name = std::ffi::OsStr::from_bytes(b"b\xffd.info");
    fs_err::write(directory.as_std_path().join(name), GOOD).unwrap();
    assert!(problem_beside_good(&directory).contains("is no plugin name"));
    let (_guard, directory) = folder();
    fs_err::write(directory.join("-rf x.info"), GOOD).unwrap();
    assert!(problem_beside_good(&directory).contains("`-rf x` is no plugin name"));
}

#[test]
fn what_anybody_may_change_is_refused_unless_allowed() {
    let (_guard, root) = folder();
    let directory = root.join("plugins.d");
    fs_err::create_dir(&directory).unwrap();
    let file = directory.join("open.info");
    fs_err::write(&file, GOOD).unwrap();
    fs_err::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(problem_beside_good(&directory), "the file is writable by everybody");
    fs_err::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let error = scan(&directory, Permissions::Secure).unwrap_err();
    assert!(matches!(error, ScanError::Insecure { .. }));
    assert!(error.hint().contains("chmod o-w"));
    let found = scan(&directory, Permissions::Any).unwrap();
    assert!(found.iter().all(|found| found.content.is_ok()));
}

#[test]
fn a_missing_directory_is_an_error_with_a_hint() {
    let (_guard, root) = folder();
    let error = scan(&root.join("plugins.d"), Permissions::Secure).unwrap_err();
    assert!(matches!(error, ScanError::Missing { .. }));
    assert!(error.hint().contains("mkdir -p"));
    fs_err::write(root.join("file"), "").unwrap();
    let error = scan(&root.join("file"), Permissions::Secure).unwrap_err();
    assert!(matches!(error, ScanError::NotADirectory { .. }));
}

#[test]
fn many_files_are_read_completely_and_in_order() {
    let (_guard, directory) = folder();
    let count = 3 * FILES_PER_THREAD;
    for i in 0..count {
        fs_err::write(directory.join(format!("p{i:05}.info")), GOOD).unwrap();
    }
    let names: Vec<String> = scanned(&directory).into_iter().map(|(stem, _)| stem).collect();
    let expected: Vec<String> = (0..count).map(|i| format!("p{i:05}")).collect();
    assert_eq!(names, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_content_hides_another_plugin(contents in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..300), 1..8)) {
        let (_guard, directory) = folder();
        fs_err::write(directory.join("good.info"), GOOD).unwrap();
        for (i, content) in contents.iter().enumerate() {
            fs_err::write(directory.join(format!("bad{i}.info")), content).unwrap();
        }
        let found = scanned(&directory);
        prop_assert_eq!(found.len(), contents.len() + 1);
        prop_assert!(found.iter().any(|(stem, content)| stem == "good" && content.is_ok()));
    }
}
