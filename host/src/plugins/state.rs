//! What state a plugin is in, and why.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::library::LibraryError;
use super::probe::ProbeOutcome;
use super::scan::Problem;

/// The state of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PluginState {
    /// Serves all its targets.
    Ready,
    /// Serves targets, but loses at least one of its claims to another plugin.
    Conflict,
    /// The `.info` file or the library is wrong.
    Problem,
    /// Switched off by the operator.
    Disabled,
    /// The library was built for another plugin API.
    Incompatible,
    /// The library crashed, hung or ended the process when it was probed.
    Quarantined,
    /// A program, another plugin or a version of this host is missing.
    MissingRequirement,
}

impl PluginState {
    /// Whether the plugin may serve a build.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Conflict)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Conflict => "conflict",
            Self::Problem => "problem",
            Self::Disabled => "disabled",
            Self::Incompatible => "incompatible",
            Self::Quarantined => "quarantined",
            Self::MissingRequirement => "missing-requirement",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of a plugin with everything that led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PluginStatus)]
pub struct Status {
    /// The state.
    pub state: PluginState,
    /// Why, each a lowercase sentence; empty when it is ready.
    pub reasons: Vec<String>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
}

/// A claim of a plugin that another plugin wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Conflict {
    /// The claim.
    pub target: String,
    /// The plugin that serves it.
    pub winner: String,
}

impl Status {
    pub(super) fn ready() -> Self {
        Self { state: PluginState::Ready, reasons: Vec::new(), hints: Vec::new() }
    }

    pub(super) fn new(
        state: PluginState,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { state, reasons: vec![reason.into()], hints: vec![hint.into()] }
    }

    pub(super) fn of_conflicts(conflicts: &[Conflict]) -> Self {
        let told = |Conflict { target, winner }: &Conflict| {
            format!("plugin `{winner}` serves `{target}`, which this plugin claims as well")
        };
        Self {
            state: PluginState::Conflict,
            reasons: conflicts.iter().map(told).collect(),
            hints: vec!["set `priority` in the `.info` files, or remove one of the links".into()],
        }
    }

    /// All reasons in one line; empty when the plugin is ready.
    pub fn reason(&self) -> String {
        self.reasons.join("; ")
    }
}

impl From<&Problem> for Status {
    fn from(problem: &Problem) -> Self {
        Self {
            state: PluginState::Problem,
            reasons: problem.reasons.clone(),
            hints: problem.hints.clone(),
        }
    }
}

impl From<&LibraryError> for Status {
    fn from(error: &LibraryError) -> Self {
        Self::new(PluginState::Problem, error.to_string(), error.hint())
    }
}

impl From<&ProbeOutcome> for Status {
    fn from(outcome: &ProbeOutcome) -> Self {
        let state = match outcome {
            ProbeOutcome::Fits(_) => return Self::ready(),
            ProbeOutcome::Incompatible { .. } => PluginState::Incompatible,
            ProbeOutcome::Refused { .. } | ProbeOutcome::NotProbed { .. } => PluginState::Problem,
            ProbeOutcome::Crashed { .. }
            | ProbeOutcome::Exited { .. }
            | ProbeOutcome::Hung { .. }
            | ProbeOutcome::Multiplied { .. } => PluginState::Quarantined,
        };
        Self { state, reasons: vec![outcome.to_string()], hints: vec![outcome.hint().to_owned()] }
    }
}
