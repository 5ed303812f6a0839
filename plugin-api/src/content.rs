//! Content that a cloud plugin adds to a target image.

use serde::{Deserialize, Serialize};

use crate::template::{Command, File, Package, Repository};

/// What the image for a cloud needs besides its template: told by the cloud delegate's
/// `target_content` (or an operator's file in its place) and `builder_will_create_image`, applied
/// by the OS delegate's `create_target_image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Content {
    /// Packages to install.
    pub packages: Vec<Package>,
    /// Repositories to add, before packages are installed.
    pub repositories: Vec<Repository>,
    /// Files to write.
    pub files: Vec<File>,
    /// Commands to run in the image, in order.
    pub commands: Vec<Command>,
}

impl Content {
    /// True when nothing is asked for.
    pub fn is_empty(&self) -> bool {
        let Self { packages, repositories, files, commands } = self;
        packages.is_empty() && repositories.is_empty() && files.is_empty() && commands.is_empty()
    }

    /// Adds everything of `other` after what is here.
    pub fn extend(&mut self, other: Self) {
        self.packages.extend(other.packages);
        self.repositories.extend(other.repositories);
        self.files.extend(other.files);
        self.commands.extend(other.commands);
    }
}
