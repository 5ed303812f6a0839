//! Plugins and what they need, from what is known without running any of their code.

use std::collections::BTreeMap;

use super::{Check, State};
use plugin_api::info::printable;

use crate::factory::{configuration, unserved};
use crate::nearest::nearest;
use crate::plugins::{Plugin, PluginState, Registry, RegistryOptions, has_program};
use crate::settings::Settings;
use crate::template::TargetContent;

pub(super) fn checks(options: &RegistryOptions, settings: &Settings) -> Vec<Check> {
    match Registry::open(options) {
        Ok(registry) => {
            let mut checks = vec![states(options, &registry), programs(&registry)];
            checks.push(configuration(&registry, settings));
            checks.extend(target_content(&registry, settings));
            checks
        },
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

/// The tables `[plugin.NAME]` of the settings.
fn configuration(registry: &Registry, settings: &Settings) -> Check {
    const NAME: &str = "plugins-settings";
    let names: Vec<&str> = registry.plugins().iter().map(Plugin::name).collect();
    let mut wrong = Vec::new();
    let mut hint = None;
    for name in settings.plugin.keys() {
        let Some(plugin) = registry.plugin(name) else {
            wrong.push(format!("`[plugin.{}]` is of no plugin", printable(name)));
            let nearest = nearest(name, names.iter().copied());
            hint = hint.or(nearest.map(|nearest| format!("did you mean `[plugin.{nearest}]`?")));
            continue;
        };
        let problems = configuration::problems(name, plugin.info(), &settings.plugin(name));
        for problem in problems {
            wrong.push(problem.to_string());
            hint = hint.or(problem.hint());
        }
    }
    match (wrong.is_empty(), settings.plugin.len()) {
        (true, 0) => Check::new(NAME, State::Ok, "no plugin has settings"),
        (true, count) => Check::new(NAME, State::Ok, format!("those of {count} are in order")),
        _ => {
            let check = Check::new(NAME, State::Warning, wrong.join("; "));
            check.hint(hint.unwrap_or_else(|| "mend the settings file".to_owned()))
        },
    }
}

/// The file that takes the place of the content that plugins ask for.
fn target_content(registry: &Registry, settings: &Settings) -> Option<Check> {
    const NAME: &str = "target-content";
    let path = settings.target_content.as_deref()?;
    Some(match TargetContent::read(path) {
        Ok(content) => match unserved(&content, registry).as_slice() {
            [] => Check::new(NAME, State::Ok, format!("`{path}` can be used")),
            all @ [first, ..] => {
                let told: Vec<String> = all.iter().map(ToString::to_string).collect();
                Check::new(NAME, State::Warning, told.join("; "))
                    .hint(first.hints().into_iter().next().unwrap_or_default())
            },
        },
        Err(error) => Check::new(NAME, State::Problem, error.to_string())
            .hint(error.hints().first().cloned().unwrap_or_default()),
    })
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
