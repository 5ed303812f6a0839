//! Where this checkout and what was built from it are.

use std::path::{Path, PathBuf};

/// The top folder of the checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the workspace")
        .to_owned()
}

/// The folder of the plugins' libraries: `target/debug` when the suite is `target/debug/deps/suite-…`.
pub(crate) fn library_dir() -> PathBuf {
    let suite = std::env::current_exe().expect("the system tells where the suite is");
    suite.ancestors().nth(2).expect("the suite lies in `deps` of a target directory").to_owned()
}

/// The real program.
///
/// # Panics
/// When it was not built.
pub(crate) fn executable() -> PathBuf {
    built("imageforge")
}

/// The library of a plugin of this checkout.
///
/// # Panics
/// When it was not built.
pub(crate) fn library(plugin: &str) -> PathBuf {
    built(&format!("lib{}.so", plugin.replace('-', "_")))
}

fn built(name: &str) -> PathBuf {
    let path = library_dir().join(name);
    assert!(path.is_file(), "`{}` is missing: run `cargo build --workspace` first", path.display());
    path
}
