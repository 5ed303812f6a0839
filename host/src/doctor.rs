//! Whether a machine can be trusted with builds, and which protection is active.
//!
//! [`examine`] looks and changes nothing: no plugin's code runs, no folder is made, no record is
//! mended. Every answer is a [`Check`] with a name that stays the same.

mod folders;
mod machine;
mod plugins;

use camino::Utf8PathBuf;
use serde::Serialize;
use utoipa::ToSchema;

use crate::failures::Exit;
use crate::plugins::RegistryOptions;
use crate::settings::Settings;

/// What is examined.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where plugins are.
    pub plugins: RegistryOptions,
    /// The settings.
    pub settings: Settings,
    /// The folder of images and records.
    pub data_dir: Utf8PathBuf,
    /// The time that replaces the clock in images, as the environment has it.
    pub source_date_epoch: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Builds work; something is weaker or may fail.
    Warning,
    /// Builds cannot work.
    Problem,
    /// Not on this machine, and nobody needs it to build.
    Absent,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What was looked at; stays the same from version to version.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub says: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { name, state, says: says.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The answers, in the order in which they matter.
    pub checks: Vec<Check>,
}

impl Report {
    /// `Done` when this machine can build, `NoPlugin` when only plugins keep it from that.
    pub fn exit(&self) -> Exit {
        let mut problems = self.checks.iter().filter(|check| check.state == State::Problem);
        let first = problems.next();
        let only_plugins = |check: &Check| check.name.starts_with("plugins");
        match first {
            None => Exit::Done,
            Some(check) if only_plugins(check) && problems.all(only_plugins) => Exit::NoPlugin,
            Some(_) => Exit::Internal,
        }
    }
}

/// Looks at everything.
pub fn examine(subject: &Subject) -> Report {
    let mut checks = machine::identity();
    checks.extend(plugins::checks(&subject.plugins, &subject.settings));
    checks.extend(folders::checks(subject));
    checks.extend(machine::protection());
    checks.extend(machine::booting());
    checks.push(machine::clock(subject.source_date_epoch.as_deref()));
    Report { checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_a_machine_from_building_is_a_failure() {
        let exit = |found: &[(&'static str, State)]| {
            let checks = found.iter().map(|(name, state)| Check::new(name, *state, "so"));
            Report { checks: checks.collect() }.exit()
        };
        assert_eq!(exit(&[("kvm", State::Absent), ("cgroup", State::Warning)]), Exit::Done);
        assert_eq!(exit(&[("plugins", State::Problem)]), Exit::NoPlugin);
        assert_eq!(exit(&[("plugins", State::Problem), ("store", State::Problem)]), Exit::Internal);
    }
}
