//! A delegate of an opened library, with the plugin's name.

use std::sync::Arc;

use plugin_api::abi::{DelegateSession, OpenOptions, PluginLibrary};
use plugin_api::host::{BuildContext, BuilderHost};
use plugin_api::{DelegateError, DelegateKind};

use super::channel::Channel;
use crate::factory::protocol::{Message, PluginRef};

/// One opened delegate; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Delegate {
    plugin: String,
    session: Arc<DelegateSession>,
}

impl Delegate {
    /// Opens the library of `plugin` and its delegate of this kind: the one that the `.info` names,
    /// the only one, or the one named like the plugin.
    pub(super) fn open(
        plugin: &PluginRef,
        kind: DelegateKind,
        context: &BuildContext,
        host: Arc<dyn BuilderHost>,
    ) -> Result<Self, DelegateError> {
        // Only libraries that a probe has opened and checked reach a worker.
        let options = OpenOptions { layout_checked: true };
        let library = PluginLibrary::open_with(&plugin.library, options).map_err(|error| {
            DelegateError::failed(format!("cannot load plugin `{}`", plugin.name))
                .hint(error.hint())
                .caused_by(error)
        })?;
        let delegate = choose(&library, plugin, kind)?;
        let mut context = context.clone();
        context.parameters.clone_from(&plugin.parameters);
        context.configuration.clone_from(&plugin.configuration);
        let session = library.open_session(Some(&delegate), &context, host)?;
        Ok(Self { plugin: plugin.name.clone(), session: Arc::new(session) })
    }

    /// Drops this delegate, after saying so: it may never come back.
    pub(super) fn close(self, channel: &Channel) {
        channel.send(Message::Method { plugin: self.plugin.clone(), method: "drop".to_owned() });
    }

    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    pub(super) fn session(&self) -> &DelegateSession {
        &self.session
    }
}

fn choose(
    library: &PluginLibrary,
    plugin: &PluginRef,
    kind: DelegateKind,
) -> Result<String, DelegateError> {
    let of_kind: Vec<&str> = library
        .description()
        .delegates
        .iter()
        .filter(|delegate| delegate.kind == kind)
        .map(|delegate| delegate.name.as_str())
        .collect();
    let wanted = plugin.delegate.as_deref().unwrap_or(&plugin.name);
    match of_kind.as_slice() {
        [only] if plugin.delegate.is_none() => Ok((*only).to_owned()),
        many if many.contains(&wanted) => Ok(wanted.to_owned()),
        _ => Err(DelegateError::bug_in_plugin(format!(
            "library `{}` has no {kind} delegate `{wanted}`",
            plugin.library
        ))
        .because(format!("its {kind} delegates: {}", of_kind.join(", ")))
        .hint("name one of them as `delegate` in the .info file, and check its `type`")),
    }
}
