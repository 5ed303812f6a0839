//! A system that really boots: `plugins/appliance`.

use std::path::{Path, PathBuf};

use super::Workshop;

/// What the plugin downloads is kept here between tests and runs.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("appliance-cache")
}

const TEMPLATE: &str = r#"
name = "appliance"

[os]
name = "Appliance"
version = "1"
arch = "x86_64"
url = "mirror:debian"
"#;

impl Workshop {
    /// With the plugin `appliance`, those of the disk formats, and `appliance.toml`.
    pub(crate) fn with_appliance() -> Self {
        let workshop = Self::new();
        for plugin in ["appliance", "raw", "qcow2", "vmdk", "vhd"] {
            workshop.link(plugin);
        }
        workshop.write("appliance.toml", TEMPLATE);
        copy(&cache(), &workshop.data_dir().join("cache/appliance"));
        workshop
    }

    /// Keeps what the plugin downloaded for the tests to come.
    pub(crate) fn keep_downloads(&self) {
        if cache().exists() {
            return;
        }
        let partial = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        copy(&self.data_dir().join("cache/appliance"), &partial.path().join("new"));
        // Another test may have been faster.
        drop(fs_err::rename(partial.path().join("new"), cache()));
    }
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs_err::read_dir(from) else {
        return;
    };
    fs_err::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs_err::copy(path, to).unwrap();
        }
    }
}
