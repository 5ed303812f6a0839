//! Nobody serves a target, or nobody can now.

use std::fmt;

use super::state::Status;

/// Why no plugin serves a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlugin {
    /// The target as text: `Debian 12 x86_64` or `qcow2`.
    pub target: String,
    /// Targets that are served and look alike, best first.
    pub nearest: Vec<String>,
    /// Plugins that claim it and cannot serve it, best first.
    pub unusable: Vec<Unusable>,
    /// Plugins of this type that claim anything at all.
    pub claimants: usize,
}

/// A plugin that would serve a target if it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Its name.
    pub plugin: String,
    /// Why it cannot.
    pub status: Status,
}

impl NoPlugin {
    /// What the reader can do about it.
    pub fn hints(&self) -> Vec<String> {
        if !self.unusable.is_empty() {
            let hints = self.unusable.iter().flat_map(|plugin| plugin.status.hints.clone());
            return hints.collect();
        }
        if self.claimants == 0 {
            return vec![
                "link the `.info` file of a plugin into `plugins.d`; `imageforge plugins list` \
                 shows what is there"
                    .to_owned(),
            ];
        }
        let mut hints = Vec::new();
        if let [first, rest @ ..] = self.nearest.as_slice() {
            let others = rest.iter().map(|target| format!(", `{target}`"));
            hints.push(format!("did you mean `{first}`{}?", others.collect::<String>()));
        }
        hints.push("`imageforge targets` shows what can be built".to_owned());
        hints
    }
}

impl fmt::Display for NoPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, unusable, .. } = self;
        let Some((first, rest)) = unusable.split_first() else {
            return write!(f, "no plugin serves `{target}`");
        };
        write!(f, "no usable plugin serves `{target}`: ")?;
        write!(f, "{first}")?;
        rest.iter().try_for_each(|plugin| write!(f, "; {plugin}"))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, status } = self;
        write!(f, "plugin `{plugin}` is in state {} ({})", status.state, status.reason())
    }
}

impl std::error::Error for NoPlugin {}

impl std::error::Error for Unusable {}
