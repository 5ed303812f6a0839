//! Content that a cloud plugin adds to a target image.

use serde::{Deserialize, Serialize};

use crate::template::{Command, File, Package};

/// What a cloud plugin wants in the image for its cloud: given by the cloud delegate's
/// `builder_will_create_image`, applied by the OS delegate's `create_target_image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Content {
    /// Packages to install.
    pub packages: Vec<Package>,
    /// Files to write.
    pub files: Vec<File>,
    /// Commands to run in the image, in order.
    pub commands: Vec<Command>,
}

impl Content {
    /// True when nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty() && self.commands.is_empty()
    }

    /// Adds everything of `other` after what is here.
    pub fn extend(&mut self, other: Self) {
        self.packages.extend(other.packages);
        self.files.extend(other.files);
        self.commands.extend(other.commands);
    }
}
