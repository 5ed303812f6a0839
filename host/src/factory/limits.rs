//! How much one image may take, and what ends it when it takes more.
//!
//! Time, silence, log and disk are watched by the supervisor, which also adds up what every process
//! below the worker has: a limit of the whole build, also where no control group is to be had. Two
//! limits are the kernel's besides, set by the worker before it opens a library: `RLIMIT_DATA`, which
//! counts private memory and not mapped files, where `RLIMIT_AS` would forbid mapping a large disk;
//! and `RLIMIT_NOFILE`. `RLIMIT_NPROC` is not used: it counts a user's processes, not a build's, and
//! does not bind root.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::{DelegateError, Tier};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::protocol::{Message, Request, Work};
use crate::process::{Family, family};
use crate::settings::{LimitSettings, PluginLimits};

/// Time between two looks at the processes of a build.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two looks at its files, which may be many.
const WALK: Duration = Duration::from_secs(1);
/// No build may leave less free space than this, in bytes.
const MIN_FREE_BYTES: u64 = 256 << 20;
const MEBIBYTE: u64 = 1 << 20;

/// The limits of one plugin. Zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    check_seconds: u64,
    base_seconds: u64,
    target_seconds: u64,
    provider_seconds: u64,
    silence_seconds: u64,
    memory_mib: u64,
    processes: u64,
    open_files: u64,
    log_mib: u64,
    disk_mib: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            check_seconds: 5 * 60,
            base_seconds: 6 * 60 * 60,
            target_seconds: 6 * 60 * 60,
            provider_seconds: 6 * 60 * 60,
            silence_seconds: 60 * 60,
            memory_mib: three_quarters_of_memory(),
            processes: 4096,
            open_files: 4096,
            log_mib: 1024,
            disk_mib: 0,
        }
    }
}

impl Limits {
    /// What the settings say of plugin `name`: its own, those of all, the defaults.
    pub(super) fn of(settings: &LimitSettings, name: &str) -> Self {
        let own = settings.plugin.get(name).copied().unwrap_or_default();
        let all = settings.all();
        let default = Self::default();
        let pick = |of: fn(&PluginLimits) -> Option<u64>, default| {
            of(&own).or_else(|| of(&all)).unwrap_or(default)
        };
        Self {
            check_seconds: pick(|limits| limits.check_seconds, default.check_seconds),
            base_seconds: pick(|limits| limits.base_seconds, default.base_seconds),
            target_seconds: pick(|limits| limits.target_seconds, default.target_seconds),
            provider_seconds: pick(|limits| limits.provider_seconds, default.provider_seconds),
            silence_seconds: pick(|limits| limits.silence_seconds, default.silence_seconds),
            memory_mib: pick(|limits| limits.memory_mib, default.memory_mib),
            processes: pick(|limits| limits.processes, default.processes),
            open_files: pick(|limits| limits.open_files, default.open_files),
            log_mib: pick(|limits| limits.log_mib, default.log_mib),
            disk_mib: pick(|limits| limits.disk_mib, default.disk_mib),
        }
    }

    /// What a worker may take that calls several plugins: the larger of each.
    pub(super) fn of_request(request: &Request) -> Self {
        let limits = request.os.iter().chain(&request.cloud).map(|plugin| plugin.limits);
        limits.reduce(Self::larger).unwrap_or_default()
    }

    fn larger(self, other: Self) -> Self {
        let larger = |one: u64, two: u64| if one == 0 || two == 0 { 0 } else { one.max(two) };
        Self {
            check_seconds: larger(self.check_seconds, other.check_seconds),
            base_seconds: larger(self.base_seconds, other.base_seconds),
            target_seconds: larger(self.target_seconds, other.target_seconds),
            provider_seconds: larger(self.provider_seconds, other.provider_seconds),
            silence_seconds: larger(self.silence_seconds, other.silence_seconds),
            memory_mib: larger(self.memory_mib, other.memory_mib),
            processes: larger(self.processes, other.processes),
            open_files: larger(self.open_files, other.open_files),
            log_mib: larger(self.log_mib, other.log_mib),
            disk_mib: larger(self.disk_mib, other.disk_mib),
        }
    }

    /// Binds this process, and what it starts, to the limits that the kernel knows.
    pub(super) fn bind(&self) {
        lower(Resource::Data, self.memory_mib.saturating_mul(MEBIBYTE));
        lower(Resource::Nofile, self.open_files);
    }

    /// What became of `error`, if one of the kernel's limits caused it: the hint names the limit.
    pub(super) fn explain(&self, plugin: &str, error: DelegateError) -> DelegateError {
        let said =
            std::iter::once(error.message()).chain(error.causes().iter().map(String::as_str));
        let (mut files, mut memory) = (false, false);
        for text in said {
            files |= text.contains("(os error 24)");
            memory |= text.contains("(os error 12)") || text.contains("memory allocation of");
        }
        match (files, memory) {
            (true, _) => error.hint(raise(plugin, "open_files", self.open_files)),
            (_, true) => error.hint(raise(plugin, "memory_mib", self.memory_mib)),
            _ => error,
        }
    }

    fn wall_time(&self, request: &Request) -> (&'static str, u64) {
        match (request.work, request.context.tier) {
            (Work::Check, _) => ("check_seconds", self.check_seconds),
            (_, Tier::Base) => ("base_seconds", self.base_seconds),
            (_, Tier::Target) => ("target_seconds", self.target_seconds),
            _ => ("provider_seconds", self.provider_seconds),
        }
    }
}

/// Never raises: somebody may have had reasons.
fn lower(resource: Resource, wanted: u64) {
    if wanted == 0 {
        return;
    }
    let now = getrlimit(resource);
    let lower = |now: Option<u64>| Some(now.map_or(wanted, |now| now.min(wanted)));
    let limit = Rlimit { current: lower(now.maximum), maximum: lower(now.maximum) };
    if let Err(error) = setrlimit(resource, limit) {
        tracing::warn!(?resource, %error, "a limit cannot be set");
    }
}

fn three_quarters_of_memory() -> u64 {
    let system = rustix::system::sysinfo();
    let bytes = system.totalram.saturating_mul(u64::from(system.mem_unit.max(1)));
    (bytes / MEBIBYTE / 4 * 3).max(1024)
}

fn raise(plugin: &str, key: &str, limit: u64) -> String {
    format!(
        "the limit is `{key} = {limit}`: raise it below `[limits]` or `[limits.plugin.{plugin}]` in \
         the settings file"
    )
}

/// A limit that a build passed.
#[derive(Debug)]
pub(super) struct Passed {
    key: &'static str,
    limit: u64,
    what: String,
    /// Whether the plugin is to be asked to stop before it is ended.
    pub(super) may_be_asked: bool,
}

impl Passed {
    /// The error of a build that was ended for this, at `place`.
    pub(super) fn error(&self, plugin: &str, place: &str) -> DelegateError {
        let Self { key, limit, what, .. } = self;
        let error = DelegateError::failed(format!("the worker was ended {place}: {what}"));
        if key.is_empty() {
            return error.hint("free some space, or use another `--data-dir`");
        }
        error.hint(raise(plugin, key, *limit))
    }
}

/// Watches one worker.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    wall_time: (&'static str, u64),
    folder: Utf8PathBuf,
    started: Instant,
    heard: Instant,
    looked: Instant,
    walked: Instant,
    log_bytes: u64,
}

impl Watch {
    pub(super) fn new(request: &Request) -> Self {
        let limits = Limits::of_request(request);
        let now = Instant::now();
        Self {
            limits,
            wall_time: limits.wall_time(request),
            // The body lies beside the folder of the build.
            folder: request.context.image_path.parent().unwrap_or(Utf8Path::new("")).to_owned(),
            started: now,
            heard: now,
            looked: now,
            walked: now,
            log_bytes: 0,
        }
    }

    /// The limits that it watches.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// A sign of life.
    pub(super) fn hear(&mut self, message: &Message) {
        self.heard = Instant::now();
        self.log_bytes += match message {
            Message::Log(record) => record.message.len() as u64,
            Message::Output(line) => line.len() as u64,
            _ => 0,
        };
    }

    /// The limit that the worker below process `id` has passed.
    pub(super) fn passed(&mut self, id: u32) -> Option<Passed> {
        let now = Instant::now();
        let (key, limit) = self.wall_time;
        if limit > 0 && now - self.started > Duration::from_secs(limit) {
            return Some(passed(key, limit, format!("it took longer than {limit} s"), true));
        }
        let limit = self.limits.silence_seconds;
        if limit > 0 && now - self.heard > Duration::from_secs(limit) {
            let what = format!("it gave no sign of life for {limit} s");
            return Some(passed("silence_seconds", limit, what, true));
        }
        let limit = self.limits.log_mib;
        if limit > 0 && self.log_bytes / MEBIBYTE >= limit {
            let what = format!("it wrote more than {limit} MiB of log");
            return Some(passed("log_mib", limit, what, false));
        }
        if now - self.looked > LOOK {
            self.looked = now;
            if let Some(passed) = self.too_many(family(id)) {
                return Some(passed);
            }
        }
        if now - self.walked > WALK {
            self.walked = now;
            return self.too_large();
        }
        None
    }

    fn too_many(&self, family: Family) -> Option<Passed> {
        let limit = self.limits.memory_mib;
        if limit > 0 && family.memory_bytes / MEBIBYTE > limit {
            let what = format!("its processes took more than {limit} MiB of memory");
            return Some(passed("memory_mib", limit, what, false));
        }
        let limit = self.limits.processes;
        if limit > 0 && family.processes > limit {
            let what = format!("it had more than {limit} processes");
            return Some(passed("processes", limit, what, false));
        }
        None
    }

    fn too_large(&self) -> Option<Passed> {
        let limit = self.limits.disk_mib;
        if limit > 0 && crate::process::disk_bytes(&self.folder) / MEBIBYTE > limit {
            let what = format!("its files took more than {limit} MiB");
            return Some(passed("disk_mib", limit, what, false));
        }
        let free = rustix::fs::statvfs(self.folder.as_std_path()).ok()?;
        let free_bytes = free.f_bavail.saturating_mul(free.f_frsize);
        (free_bytes < MIN_FREE_BYTES).then(|| {
            let what = format!("less than {} MiB of disk are left", MIN_FREE_BYTES / MEBIBYTE);
            passed("", 0, what, false)
        })
    }
}

fn passed(key: &'static str, limit: u64, what: String, may_be_asked: bool) -> Passed {
    Passed { key, limit, what, may_be_asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> LimitSettings {
        crate::settings::Settings::parse(text, Utf8Path::new("x.toml")).unwrap().limits
    }

    #[test]
    fn a_plugins_own_limit_wins_over_that_of_all_and_over_the_default() {
        let settings =
            settings("[limits]\nprocesses = 7\nlog_mib = 8\n[limits.plugin.a]\nlog_mib = 9");
        let (own, other) = (Limits::of(&settings, "a"), Limits::of(&settings, "b"));
        assert_eq!((own.processes, own.log_mib), (7, 9));
        assert_eq!((other.processes, other.log_mib), (7, 8));
        assert_eq!(other.open_files, Limits::default().open_files);
    }

    #[test]
    fn two_plugins_in_one_worker_have_the_larger_limit_and_none_is_largest() {
        let [few, many] = ["processes = 7\nlog_mib = 0", "processes = 9\nlog_mib = 5"]
            .map(|text| Limits::of(&settings(&format!("[limits]\n{text}")), "a"));
        let both = few.larger(many);
        assert_eq!((both.processes, both.log_mib), (9, 0));
    }
}
