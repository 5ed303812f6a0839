//! Target content for targets that no plugin serves.
//!
//! Plugins come and go, so this is no error. It is told because nothing else would show that the name of a target is
//! misspelt: what is said of it goes into no image.

use std::fmt;

use camino::Utf8PathBuf;

use crate::plugins::{NoPlugin, Registry};
use crate::template::TargetContent;

/// A target that has entries and no plugin.
#[derive(Clone, Debug)]
pub struct Unserved {
    path: Utf8PathBuf,
    line: usize,
    missing: NoPlugin,
}

/// The targets of `content` that no plugin of `registry` claims. One whose plugin cannot be used now is none of them:
/// its name is right, and who builds for it is told why that is refused.
pub fn unserved(content: &TargetContent, registry: &Registry) -> Vec<Unserved> {
    let targets = content.targets().into_iter();
    let missing = targets.filter_map(|(target, line)| {
        let missing = registry.cloud_plugin(target).err()?;
        let path = content.path().to_owned();
        missing.unusable.is_empty().then_some(Unserved { path, line, missing })
    });
    missing.collect()
}

impl Unserved {
    /// What the reader can do about it.
    pub fn hints(&self) -> Vec<String> {
        self.missing.hints()
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, missing } = self;
        write!(f, "`{path}` line {line}: {missing}; entries for it are used nowhere")
    }
}
