//! The cases: what a plugin does, and what must come of it.

mod clouds;
mod delegates;
mod libraries;
mod loading;

use clouds::CLOUDS;
use delegates::{CRASHES, EXHAUSTS, HANGS, INTRUDES, LIES, PANICS, VANDALISES};
use libraries::LIBRARIES;
use loading::LOADING;

/// Cases that belong together, under one heading of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// The heading.
    pub(super) title: &'static str,
    /// Its cases.
    pub(super) cases: &'static [Case],
}

/// All families, in the order of the document.
pub(super) const FAMILIES: [Family; 10] =
    [PANICS, CRASHES, HANGS, EXHAUSTS, VANDALISES, INTRUDES, LIES, CLOUDS, LOADING, LIBRARIES];

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// Where the library comes from.
    pub(super) library: Library,
    /// The plugin's name.
    pub(super) plugin: &'static str,
    /// The delegate method, or another moment.
    pub(super) when: &'static str,
    /// What it does there.
    pub(super) how: &'static str,
    /// What somebody does meanwhile.
    pub(super) then: Then,
    /// The settings file.
    pub(super) settings: &'static str,
    /// Exit code of the command.
    pub(super) exit: i32,
    /// State of the image, or `no record`.
    pub(super) state: &'static str,
    /// State of the plugin in `plugins show`, where it is of interest.
    pub(super) probe: &'static str,
    /// What the user reads, in pieces.
    pub(super) words: &'static [&'static str],
    /// What the log of the image holds, in pieces.
    pub(super) log: &'static [&'static str],
}

/// Where a library comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Library {
    /// A folder of `tests/misbehaving`.
    Misbehaving,
    /// Bytes, and a delegate that the `.info` file names.
    Made(fn() -> Vec<u8>, Option<&'static str>),
    /// A plugin that is built against another plugin API: see `fixtures_abi`.
    Fixture(&'static str),
}

/// What somebody does while the plugin is at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The build is cancelled.
    Cancelled,
    /// Another file takes the place of the library.
    Replaced,
    /// The library is cut to nothing, in place.
    Truncated,
    /// The library is deleted.
    Deleted,
}

impl Case {
    /// A build that fails in a delegate method while its image is made.
    const fn fails(
        plugin: &'static str,
        when: &'static str,
        how: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self {
            library: Library::Misbehaving,
            plugin,
            when,
            how,
            then: Then::Nothing,
            settings: "",
            exit: 1,
            state: "FAILED",
            probe: "",
            words,
            log: &[],
        }
    }

    /// A build that is refused before there is a record.
    const fn refused(
        plugin: &'static str,
        when: &'static str,
        how: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { state: "no record", ..Self::fails(plugin, when, how, words) }
    }

    /// A build that completes all the same; its log says what happened.
    const fn completes(
        plugin: &'static str,
        when: &'static str,
        how: &'static str,
        log: &'static [&'static str],
    ) -> Self {
        Self { exit: 0, state: "COMPLETE", log, ..Self::fails(plugin, when, how, &[]) }
    }

    /// A library that no probe lets in.
    const fn kept_out(
        plugin: &'static str,
        when: &'static str,
        how: &'static str,
        probe: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { exit: 4, probe, ..Self::refused(plugin, when, how, words) }
    }

    /// The same, cancelled while the plugin is at it.
    const fn cancelled(self) -> Self {
        let state = match self.state.as_bytes() {
            b"FAILED" => "CANCELLED",
            _ => self.state,
        };
        Self { then: Then::Cancelled, exit: 8, state, ..self }
    }

    /// The same with settings that set limits.
    const fn limited(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }
}
