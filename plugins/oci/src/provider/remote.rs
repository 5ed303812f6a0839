//! What a request from the network may name: no file of this machine but where the settings allow it.

use camino::{Utf8Component, Utf8Path};
use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::Options;

use super::Provider;

impl Provider {
    /// Whether `builder`'s request may go there.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn check_remote(&self, builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Registry(address) => {
                Options::check_authorities(builder, address.authorities.as_deref())
            },
            Self::Layout { path, .. } | Self::Saved { path } => check_path(builder, path),
        }
    }
}

fn check_path(builder: &Builder, path: &Utf8Path) -> Result<(), DelegateError> {
    let folders = builder.configuration().strings("folders")?;
    if !builder.is_remote() || is_allowed(path, &folders) {
        return Ok(());
    }
    Err(DelegateError::invalid_input(format!(
        "a request from the network may not deliver to `{path}`, a place of this machine"
    ))
    .hint("deliver to a registry, or have the folder allowed: `folders` of `[plugin.oci]` in the settings"))
}

/// Whether `path` is below one of `folders`, wherever links lead.
fn is_allowed(path: &Utf8Path, folders: &[String]) -> bool {
    // What is there of it, as it really is, with the rest behind it.
    let real = path.ancestors().find_map(|there| {
        let rest = path.strip_prefix(there).ok()?;
        Some(there.canonicalize_utf8().ok()?.join(rest))
    });
    let Some(real) =
        real.filter(|_| path.components().all(|part| part != Utf8Component::ParentDir))
    else {
        return false;
    };
    let folders =
        folders.iter().filter_map(|folder| Utf8Path::new(folder).canonicalize_utf8().ok());
    folders.into_iter().any(|folder| real != folder && real.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_really_below_an_allowed_folder_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs_err::create_dir_all(root.join("allowed/sub")).unwrap();
        fs_err::create_dir(root.join("other")).unwrap();
        fs_err::os::unix::fs::symlink(root.join("other"), root.join("allowed/way-out")).unwrap();
        let allowed = [root.join("allowed").into_string()];
        for (path, expected) in [
            ("allowed/layout", true),
            ("allowed/sub/new/layout", true),
            ("allowed", false),
            ("allowed/../other/x", false),
            ("allowed/way-out/x", false),
            ("allowed-too/x", false),
            ("other/x", false),
        ] {
            assert_eq!(is_allowed(&root.join(path), &allowed), expected, "{path}");
        }
        assert!(!is_allowed(&root.join("allowed/layout"), &[]));
    }
}
