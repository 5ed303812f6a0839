//! What a plugin needs of the machine and of the host.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plugin_api::info::{API_VERSION, Requires};
use semver::Version;

/// A requirement that is not met: what is so, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) reason: String,
    pub(super) hint: String,
}

/// Everything of `requires` that is not met, when programs are looked for in `search_path`.
pub(super) fn missing(requires: &Requires, search_path: &[PathBuf]) -> Vec<Missing> {
    let mut missing = Vec::new();
    if let Some(range) = &requires.api
        && Version::parse(API_VERSION).is_ok_and(|version| !range.matches(&version))
    {
        missing.push(Missing {
            reason: format!("it needs plugin API {range}, this host has {API_VERSION}"),
            hint: "install a version of the plugin for this host, or update the host".to_owned(),
        });
    }
    for command in &requires.commands {
        if !is_there(command, search_path) {
            missing.push(Missing {
                reason: format!("program `{command}` is not installed"),
                hint: format!("install the package that has `{command}`"),
            });
        }
    }
    missing
}

/// Where administrators' programs are, which `PATH` of an ordinary user often leaves out.
const SYSTEM_PROGRAMS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The directories of `PATH`, then those of administrators' programs.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(SYSTEM_PROGRAMS.map(PathBuf::from)).collect()
}

/// Whether a program is where builds look for it.
pub fn has_program(command: &str) -> bool {
    is_there(command, &search_path())
}

fn is_there(command: &str, search_path: &[PathBuf]) -> bool {
    if command.contains('/') {
        return is_executable(Path::new(command));
    }
    search_path.iter().any(|directory| is_executable(&directory.join(command)))
}

fn is_executable(path: &Path) -> bool {
    fs_err::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requires(text: &str) -> Requires {
        let text = format!(r#"{{"type": "os", "targets": [["x"]], "requires": {text}}}"#);
        plugin_api::info::PluginInfo::from_json(text.as_bytes()).unwrap().requires
    }

    #[test]
    fn only_an_executable_file_counts_as_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs_err::write(path.join("tool"), "").unwrap();
        fs_err::write(path.join("data"), "").unwrap();
        fs_err::create_dir(path.join("folder")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(path.join("tool"), mode).unwrap();
        let wanted = requires(r#"{"commands": ["tool", "data", "folder", "absent"]}"#);
        let reasons: Vec<_> = missing(&wanted, &[path.to_owned()])
            .into_iter()
            .map(|missing| missing.reason)
            .collect();
        assert_eq!(
            reasons,
            ["data", "folder", "absent"].map(|name| format!("program `{name}` is not installed"))
        );
        let absolute = format!(r#"{{"commands": [{:?}]}}"#, path.join("tool"));
        assert_eq!(missing(&requires(&absolute), &[]), []);
    }

    #[test]
    fn the_api_range_must_admit_this_host() {
        assert_eq!(missing(&requires(&format!(r#"{{"api": "^{API_VERSION}"}}"#)), &[]), []);
        let reasons = missing(&requires(r#"{"api": ">=99"}"#), &[]);
        assert!(reasons[0].reason.contains(">=99"), "{reasons:?}");
    }
}
