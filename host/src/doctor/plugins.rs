//! Plugins and what they need, from what is known without running any of their code.

use std::collections::BTreeMap;

use super::{Check, State};
use crate::plugins::{Plugin, PluginState, Registry, RegistryOptions, has_program};

pub(super) fn checks(options: &RegistryOptions) -> Vec<Check> {
    match Registry::open(options) {
        Ok(registry) => vec![states(options, &registry), programs(&registry)],
        Err(error) => {
            vec![Check::new("plugins", State::Problem, error.to_string()).hint(error.hint())]
        },
    }
}

fn states(options: &RegistryOptions, registry: &Registry) -> Check {
    let mut counts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut usable = 0;
    let mut wrong = false;
    for plugin in registry.plugins() {
        let state = registry.status(plugin).state;
        usable += usize::from(state.is_usable());
        wrong |= state != PluginState::Ready && state != PluginState::Disabled;
        counts.entry(state.as_str()).or_default().push(plugin.name());
    }
    let told = counts.iter().map(|(state, names)| match *state {
        "ready" => format!("{} ready", names.len()),
        state => format!("{} {state} ({})", names.len(), names.join(", ")),
    });
    let folder = &options.plugins_dir;
    let told = told.collect::<Vec<_>>().join(", ");
    match (usable, wrong) {
        (0, _) => {
            let says = match told.as_str() {
                "" => format!("`{folder}` has no plugin"),
                told => format!("`{folder}` has no plugin that can be used: {told}"),
            };
            Check::new("plugins", State::Problem, says)
                .hint("link `.info` files there; `imageforge plugins list` tells what is wrong")
        },
        (_, true) => Check::new("plugins", State::Warning, format!("`{folder}`: {told}"))
            .hint("`imageforge plugins list` tells what is wrong"),
        _ => Check::new("plugins", State::Ok, format!("`{folder}`: {told}")),
    }
}

fn programs(registry: &Registry) -> Check {
    let infos = registry.plugins().iter().filter_map(Plugin::info);
    let mut wanted: Vec<&String> = infos.flat_map(|info| &info.requires.commands).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (there, missing): (Vec<&String>, Vec<&String>) =
        wanted.into_iter().partition(|program| has_program(program));
    let list = |names: &[&String]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match (there.is_empty(), missing.is_empty()) {
        (true, true) => Check::new("programs", State::Ok, "no plugin needs any"),
        (_, true) => Check::new("programs", State::Ok, format!("{} are there", list(&there))),
        _ => Check::new("programs", State::Warning, format!("{} are missing", list(&missing)))
            .hint("install the packages that have them"),
    }
}
