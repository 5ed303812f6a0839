//! Scopes: what somebody who calls the daemon may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nearest::nearest;

/// One thing that somebody may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Scope {
    /// `images:read`: look at images, jobs, events and targets.
    ImagesRead,
    /// `images:write`: build, cancel and delete images, and look at them.
    ImagesWrite,
    /// `plugins:read`: look at plugins.
    PluginsRead,
    /// `plugins:write`: change plugins, and look at them.
    PluginsWrite,
    /// `plugins:NAME:write`: change the plugin `NAME`.
    PluginWrite(String),
    /// `admin`: everything.
    Admin,
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope `{text}`")]
pub struct UnknownScope {
    text: String,
}

/// The scopes without a name in them.
const NAMED: [(&str, Scope); 5] = [
    ("images:read", Scope::ImagesRead),
    ("images:write", Scope::ImagesWrite),
    ("plugins:read", Scope::PluginsRead),
    ("plugins:write", Scope::PluginsWrite),
    ("admin", Scope::Admin),
];

impl UnknownScope {
    /// What the reader can do about it.
    pub fn hint(&self) -> String {
        match nearest(&self.text, NAMED.iter().map(|(name, _)| *name)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "scopes: images:read, images:write, plugins:read, plugins:write, \
                     plugins:NAME:write, admin"
                .to_owned(),
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = NAMED.iter().find(|(name, _)| *name == text);
        let of_plugin = || {
            let name = text.strip_prefix("plugins:")?.strip_suffix(":write")?;
            let valid = !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace());
            valid.then(|| Self::PluginWrite(name.to_owned()))
        };
        named
            .map(|(_, scope)| scope.clone())
            .or_else(of_plugin)
            .ok_or_else(|| UnknownScope { text: text.to_owned() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImagesRead => f.write_str("images:read"),
            Self::ImagesWrite => f.write_str("images:write"),
            Self::PluginsRead => f.write_str("plugins:read"),
            Self::PluginsWrite => f.write_str("plugins:write"),
            Self::PluginWrite(name) => write!(f, "plugins:{name}:write"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;

    fn try_from(text: String) -> Result<Self, UnknownScope> {
        text.parse()
    }
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether they allow what needs `scope`: who may write may read, and who may change all plugins may
    /// change each.
    pub fn allow(&self, scope: &Scope) -> bool {
        let also = match scope {
            Scope::ImagesRead => Some(Scope::ImagesWrite),
            Scope::PluginsRead | Scope::PluginWrite(_) => Some(Scope::PluginsWrite),
            Scope::ImagesWrite | Scope::PluginsWrite | Scope::Admin => None,
        };
        [Some(scope.clone()), also, Some(Scope::Admin)]
            .iter()
            .flatten()
            .any(|scope| self.0.contains(scope))
    }

    /// Whether they allow nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        texts.iter().map(|text| text.parse::<Scope>().unwrap()).collect()
    }

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        for text in [
            "images:read",
            "images:write",
            "plugins:read",
            "plugins:write",
            "plugins:a:write",
            "admin",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for wrong in ["", "images", "images:delete", "plugins::write", "plugins:a b:write", "ADMIN"]
        {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_may_write_may_read_and_nobody_may_more_than_was_said() {
        let plugin = || Scope::PluginWrite("debian".to_owned());
        let writer = scopes(&["images:write"]);
        assert!(writer.allow(&Scope::ImagesRead) && writer.allow(&Scope::ImagesWrite));
        assert!(!writer.allow(&Scope::PluginsRead) && !writer.allow(&Scope::Admin));
        assert!(!scopes(&["images:read"]).allow(&Scope::ImagesWrite));
        assert!(scopes(&["plugins:write"]).allow(&plugin()));
        assert!(scopes(&["plugins:debian:write"]).allow(&plugin()));
        assert!(!scopes(&["plugins:raw:write"]).allow(&plugin()));
        assert!(!scopes(&["plugins:debian:write"]).allow(&Scope::PluginsWrite));
        assert!(scopes(&["admin"]).allow(&plugin()) && scopes(&["admin"]).allow(&Scope::Admin));
        assert!(!Scopes::default().allow(&Scope::ImagesRead));
    }
}
