//! Where the library of a plugin is: beside its real `.info` file, in the directories of
//! `--library-path`, beside the executable, in `../lib/imageforge/plugins` from the executable.
//!
//! Only the first place honours a path in `library`; elsewhere its file name counts.

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::info::PluginInfo;
use rustix::fs::{FileType, stat};

use super::identity::{self, FileIdentity};
use super::scan::Permissions;

/// Where an installed host keeps libraries, from the directory of its executable.
const INSTALLED: &str = "../lib/imageforge/plugins";

/// The places that are the same for all plugins.
#[derive(Clone, Debug)]
pub struct LibrarySearch {
    directories: Vec<Utf8PathBuf>,
    permissions: Permissions,
}

/// A library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLibrary {
    /// Its path.
    pub path: Utf8PathBuf,
    /// Which file that is.
    pub identity: FileIdentity,
}

/// Why a plugin has no library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// It is in none of the places.
    #[error("library `{file}` is in none of {} places: {}", looked_in.len(), listed(looked_in))]
    NotFound {
        /// File name, or path relative to the `.info` file.
        file: Utf8PathBuf,
        /// The paths that were tried, in order.
        looked_in: Vec<Utf8PathBuf>,
    },
    /// There is something else under that name.
    #[error("`{path}` is {found}, not a library")]
    NotAFile {
        /// The path.
        path: Utf8PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Anybody may change it.
    #[error("library `{path}` is writable by everybody")]
    Insecure {
        /// The path.
        path: Utf8PathBuf,
    },
}

impl LibraryError {
    /// What the reader can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => {
                "build the plugin, or name the directory of its library with `--library-path`"
                    .to_owned()
            },
            Self::NotAFile { .. } => "correct `library` in the `.info` file".to_owned(),
            Self::Insecure { path } => format!(
                "take the right away (`chmod o-w {path}`), or accept it with \
                 `--allow-insecure-permissions`"
            ),
        }
    }
}

impl LibrarySearch {
    /// A search in `library_path`, then around the executable, which is in `executable_dir`.
    pub fn new(
        library_path: &[Utf8PathBuf],
        executable_dir: Option<&Utf8Path>,
        permissions: Permissions,
    ) -> Self {
        // A worker opens the library, perhaps from another directory than this process.
        let mut directories: Vec<Utf8PathBuf> = library_path
            .iter()
            .map(|path| camino::absolute_utf8(path).unwrap_or_else(|_| path.clone()))
            .collect();
        if let Some(executable_dir) = executable_dir {
            directories.push(executable_dir.to_owned());
            let prefix = executable_dir.parent().unwrap_or(executable_dir);
            directories.push(prefix.join(INSTALLED.trim_start_matches("../")));
        }
        Self { directories, permissions }
    }

    /// The library of the plugin whose real `.info` file is `info_path`.
    ///
    /// # Errors
    /// [`LibraryError`].
    pub fn find(
        &self,
        info_path: &Utf8Path,
        info: &PluginInfo,
    ) -> Result<FoundLibrary, LibraryError> {
        let file = info.library.clone().unwrap_or_else(|| default_file(info_path));
        let beside = info_path.parent().unwrap_or(Utf8Path::new("")).join(&file);
        let name = file.file_name().unwrap_or_default();
        let elsewhere = self.directories.iter().map(|directory| directory.join(name));
        let mut looked_in = Vec::new();
        for path in std::iter::once(beside).chain(elsewhere) {
            match stat(path.as_std_path()) {
                Ok(stat) => {
                    let kind = identity::file_type(&stat);
                    if kind != FileType::RegularFile {
                        let found = identity::described(kind);
                        return Err(LibraryError::NotAFile { path, found });
                    }
                    let secure = self.permissions == Permissions::Secure;
                    if secure && identity::is_world_writable(&stat) {
                        return Err(LibraryError::Insecure { path });
                    }
                    return Ok(FoundLibrary { path, identity: FileIdentity::of(&stat) });
                },
                Err(_) if looked_in.contains(&path) => {},
                Err(_) => looked_in.push(path),
            }
        }
        Err(LibraryError::NotFound { file, looked_in })
    }
}

/// `mock-os.info` belongs to `libmock_os.so`, as cargo names it.
fn default_file(info_path: &Utf8Path) -> Utf8PathBuf {
    let stem = info_path.file_stem().unwrap_or_default().replace('-', "_");
    format!("lib{stem}{}", std::env::consts::DLL_SUFFIX).into()
}

fn listed(paths: &[Utf8PathBuf]) -> String {
    let quoted: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(library: Option<&str>) -> PluginInfo {
        let library = serde_json::to_string(&library).unwrap();
        let text = format!(r#"{{"type": "os", "targets": [["x"]], "library": {library}}}"#);
        PluginInfo::from_json(text.as_bytes()).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for name in ["plugin", "extra", "bin", "lib/imageforge/plugins"] {
            fs_err::create_dir_all(path.join(name)).unwrap();
        }
        (folder, path)
    }

    fn search(root: &Utf8Path) -> LibrarySearch {
        LibrarySearch::new(&[root.join("extra")], Some(&root.join("bin")), Permissions::Secure)
    }

    #[test]
    fn the_places_are_searched_in_their_order() {
        let (_guard, root) = folder();
        let search = search(&root);
        let link = root.join("plugin/my-os.info");
        for place in ["lib/imageforge/plugins", "bin", "extra", "plugin"] {
            let path = root.join(place).join("libmy_os.so");
            fs_err::write(&path, "x").unwrap();
            assert_eq!(search.find(&link, &info(None)).unwrap().path, path);
        }
    }

    #[test]
    fn all_places_are_named_when_there_is_none() {
        let (_guard, root) = folder();
        let error =
            search(&root).find(&root.join("plugin/a.info"), &info(Some("sub/b.so"))).unwrap_err();
        let LibraryError::NotFound { looked_in, .. } = error else { panic!("{error}") };
        let places = ["plugin/sub", "extra", "bin", "lib/imageforge/plugins"];
        assert_eq!(looked_in, places.map(|place| root.join(place).join("b.so")));
    }

    #[test]
    fn a_library_that_anybody_may_change_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_guard, root) = folder();
        let path = root.join("plugin/liba.so");
        fs_err::write(&path, "x").unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let found = search(&root).find(&root.join("plugin/a.info"), &info(None));
        assert_eq!(found, Err(LibraryError::Insecure { path }));
    }

    #[test]
    fn a_directory_is_no_library() {
        let (_guard, root) = folder();
        let found = search(&root).find(&root.join("plugin/a.info"), &info(Some("../extra")));
        assert!(matches!(found, Err(LibraryError::NotAFile { .. })), "{found:?}");
    }
}
