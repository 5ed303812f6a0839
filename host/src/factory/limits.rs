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

use super::cgroup::Group;
use super::protocol::{Message, Request, Work};
use crate::process::{Family, family};
use crate::settings::{Limit, LimitSettings, LimitValues};

/// Time between two looks at the processes of a build.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two looks at its files, which may be many.
const WALK: Duration = Duration::from_secs(1);
/// No build may leave less free space than this beyond its reservation, in bytes.
pub const MIN_FREE_BYTES: u64 = 256 << 20;
const MEBIBYTE: u64 = 1 << 20;

/// What a worker may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(LimitValues);

impl Default for Limits {
    fn default() -> Self {
        Self(Limit::ALL.map(|limit| (limit, default(limit))).into())
    }
}

fn default(limit: Limit) -> u64 {
    match limit {
        Limit::Check => 5 * 60,
        Limit::Base | Limit::Target | Limit::Provider => 6 * 60 * 60,
        Limit::Silence => 60 * 60,
        Limit::Memory => three_quarters_of_memory(),
        Limit::Processes | Limit::OpenFiles => 4096,
        Limit::Log | Limit::Reserve => 1024,
        Limit::Disk => 0,
    }
}

impl Limits {
    /// What the settings say of plugin `name`: its own, those of all, the defaults.
    pub(super) fn of(settings: &LimitSettings, name: &str) -> Self {
        let mut limits = Self::default();
        limits.0.extend(settings.of(name));
        limits
    }

    /// What a worker may take that does this work.
    pub(super) fn of_request(request: &Request) -> Self {
        let plugins = request.os.iter().chain(&request.cloud);
        Self::together(plugins.map(|plugin| &plugin.limits))
    }

    /// What a worker may take that calls several plugins: the larger of each.
    pub(super) fn together<'l>(limits: impl IntoIterator<Item = &'l Self>) -> Self {
        let limits = limits.into_iter().cloned();
        limits.reduce(|one, two| one.larger(&two)).unwrap_or_default()
    }

    fn larger(&self, other: &Self) -> Self {
        let larger = |limit| {
            let (one, two) = (self.get(limit), other.get(limit));
            // Of a reservation, zero is the smallest; of a limit, it is none.
            let is_none = limit != Limit::Reserve && (one == 0 || two == 0);
            (limit, if is_none { 0 } else { one.max(two) })
        };
        Self(Limit::ALL.map(larger).into())
    }

    /// What an image reserves, in bytes: never more than it may take.
    pub(super) fn reserved_bytes(&self) -> u64 {
        let (reserve, most) = (self.get(Limit::Reserve), self.get(Limit::Disk));
        let reserve = if most == 0 { reserve } else { reserve.min(most) };
        reserve.saturating_mul(MEBIBYTE)
    }

    /// Zero is none.
    pub(super) fn get(&self, limit: Limit) -> u64 {
        self.0.get(&limit).copied().unwrap_or_default()
    }

    /// Binds this process, and what it starts, to the limits that the kernel knows.
    pub(super) fn bind(&self) {
        lower(Resource::Data, self.get(Limit::Memory).saturating_mul(MEBIBYTE));
        lower(Resource::Nofile, self.get(Limit::OpenFiles));
    }

    /// What became of `error`, if one of the kernel's limits caused it: the hint names the limit.
    pub(super) fn explain(&self, plugin: &str, error: DelegateError) -> DelegateError {
        let said =
            std::iter::once(error.message()).chain(error.causes().iter().map(String::as_str));
        let (mut files, mut memory) = (false, false);
        for text in said {
            // The second is what the dynamic loader says, and programs written in C.
            files |= text.contains("(os error 24)") || text.contains("Too many open files");
            memory |= text.contains("(os error 12)")
                || text.contains("Cannot allocate memory")
                || text.contains("memory allocation of");
        }
        match (files, memory) {
            (true, _) => error.hint(self.raise(plugin, Limit::OpenFiles)),
            (_, true) => error.hint(self.raise(plugin, Limit::Memory)),
            _ => error,
        }
    }

    fn raise(&self, plugin: &str, limit: Limit) -> String {
        raise(plugin, limit, self.get(limit))
    }
}

fn wall_time(request: &Request) -> Limit {
    match (request.work, request.context.tier) {
        (Work::Check, _) => Limit::Check,
        (_, Tier::Base) => Limit::Base,
        (_, Tier::Target) => Limit::Target,
        _ => Limit::Provider,
    }
}

/// Whether what was made takes too long to be kept, from now on: longer than it may take to be made.
pub(super) fn keeping_time(request: &Request) -> impl Fn() -> bool + use<> {
    let limit = Limits::of_request(request).get(wall_time(request));
    let started = Instant::now();
    move || limit > 0 && started.elapsed() >= Duration::from_secs(limit)
}

/// The hint for work that passed its wall time.
pub(super) fn more_time(plugin: &str, request: &Request) -> String {
    Limits::of_request(request).raise(plugin, wall_time(request))
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

fn raise(plugin: &str, limit: Limit, value: u64) -> String {
    let key = limit.key();
    format!(
        "the limit is `{key} = {value}`: raise it below `[limits]` or `[limits.plugin.{plugin}]` in \
         the settings file"
    )
}

/// A limit that a build passed.
#[derive(Debug)]
pub(super) struct Passed {
    limit: (Limit, u64),
    what: String,
    /// Whether the plugin is to be asked to stop before it is ended.
    pub(super) may_be_asked: bool,
}

impl Passed {
    /// The error of a build that was ended for this, at `place`.
    pub(super) fn error(&self, plugin: &str, place: &str) -> DelegateError {
        let error = DelegateError::failed(format!("the worker was ended {place}: {}", self.what));
        match self.limit {
            (limit @ Limit::Reserve, value) => error
                .hint("free some space, or use another `--data-dir`")
                .hint(raise(plugin, limit, value)),
            (limit, value) => error.hint(raise(plugin, limit, value)),
        }
    }
}

/// Watches one worker.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    wall_time: Limit,
    folder: Utf8PathBuf,
    group: Option<Group>,
    started: Instant,
    heard: Instant,
    looked: Instant,
    walked: Instant,
    log_bytes: u64,
}

impl Watch {
    /// Begins to watch, and makes the worker a control group where that is possible.
    pub(super) fn new(request: &Request) -> Self {
        let now = Instant::now();
        let limits = Limits::of_request(request);
        Self {
            group: Group::new(&limits),
            limits,
            wall_time: wall_time(request),
            // The body lies beside the folder of the build.
            folder: request.context.image_path.parent().unwrap_or(Utf8Path::new("")).to_owned(),
            started: now,
            heard: now,
            looked: now,
            walked: now,
            log_bytes: 0,
        }
    }

    /// When it began.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The limits that it watches.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The control group of the worker.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
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

    /// Leaves out a pause in which nobody listened.
    pub(super) fn excuse(&mut self, pause: Duration) {
        self.started += pause;
        self.heard += pause;
    }

    /// The limit that the worker below process `id` has passed `now`: this process may be stopped, and
    /// that be excused, between any two looks at the clock.
    /// `outstanding` answers the bytes that other builds were promised and have not used.
    pub(super) fn passed(
        &mut self,
        id: u32,
        now: Instant,
        outstanding: &dyn Fn() -> u64,
    ) -> Option<Passed> {
        let in_time = self
            .over(self.wall_time, seconds(now - self.started), |limit| {
                format!("it took longer than {limit} s")
            })
            .or_else(|| {
                self.over(Limit::Silence, seconds(now - self.heard), |limit| {
                    format!("it gave no sign of life for {limit} s")
                })
            });
        if let Some(passed) = in_time {
            return Some(Passed { may_be_asked: true, ..passed });
        }
        let log = self.too_much_log();
        if log.is_some() {
            return log;
        }
        if now - self.looked > LOOK {
            self.looked = now;
            let passed = self.passed_in_kernel().or_else(|| self.too_many(family(id)));
            if passed.is_some() {
                return passed;
            }
        }
        if now - self.walked > WALK {
            self.walked = now;
            return self.too_large(outstanding);
        }
        None
    }

    /// The limit of the log, once it has been passed.
    pub(super) fn too_much_log(&self) -> Option<Passed> {
        self.over(Limit::Log, mebibytes(self.log_bytes), |limit| {
            format!("it wrote more than {limit} MiB of log")
        })
    }

    /// The limit that the kernel held the control group to: some of its processes may be dead of it.
    pub(super) fn passed_in_kernel(&self) -> Option<Passed> {
        let limit = self.group.as_ref()?.passed()?;
        let most = self.limits.get(limit);
        let what = match limit {
            Limit::Memory => format!("the kernel ended it at {most} MiB of memory"),
            _ => format!("it wanted many more than {most} processes"),
        };
        Some(Passed { limit: (limit, most), what, may_be_asked: false })
    }

    fn over(&self, limit: Limit, taken: u64, what: impl FnOnce(u64) -> String) -> Option<Passed> {
        let most = self.limits.get(limit);
        (most > 0 && taken > most).then(|| Passed {
            limit: (limit, most),
            what: what(most),
            may_be_asked: false,
        })
    }

    fn too_many(&self, family: Family) -> Option<Passed> {
        self.over(Limit::Memory, mebibytes(family.memory_bytes), |limit| {
            format!("its processes took more than {limit} MiB of memory")
        })
        .or_else(|| {
            self.over(Limit::Processes, family.processes, |limit| {
                format!("it had more than {limit} processes")
            })
        })
    }

    /// Within its reservation a build is never ended. Beyond it, what is promised to others and a rest
    /// must stay free.
    fn too_large(&self, outstanding: &dyn Fn() -> u64) -> Option<Passed> {
        let used = crate::process::disk_bytes(&self.folder);
        let large = self.over(Limit::Disk, mebibytes(used), |limit| {
            format!("its files took more than {limit} MiB")
        });
        if large.is_some() {
            return large;
        }
        let reserved = self.limits.reserved_bytes();
        if used <= reserved {
            return None;
        }
        let free = rustix::fs::statvfs(self.folder.as_std_path()).ok()?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        let outstanding = outstanding();
        if free >= outstanding.saturating_add(MIN_FREE_BYTES) {
            return None;
        }
        let what = format!(
            "its files took {} MiB, {} MiB were reserved for them, and of {} MiB that are left, {} MiB are \
             promised to other builds and {} MiB are to stay free",
            mebibytes(used),
            mebibytes(reserved),
            free / MEBIBYTE,
            mebibytes(outstanding),
            MIN_FREE_BYTES / MEBIBYTE
        );
        let limit = (Limit::Reserve, self.limits.get(Limit::Reserve));
        Some(Passed { limit, what, may_be_asked: false })
    }
}

/// Rounded up: one byte more than a limit is more than the limit.
fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(MEBIBYTE)
}

/// Rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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
        let of = |name| {
            let limits = Limits::of(&settings, name);
            [Limit::Processes, Limit::Log, Limit::OpenFiles].map(|limit| limits.get(limit))
        };
        assert_eq!(of("a"), [7, 9, default(Limit::OpenFiles)]);
        assert_eq!(of("b"), [7, 8, default(Limit::OpenFiles)]);
    }

    #[test]
    fn two_plugins_in_one_worker_have_the_larger_limit_and_none_is_largest() {
        let [few, many] = ["processes = 7\nlog_mib = 0", "processes = 9\nlog_mib = 5"]
            .map(|text| Limits::of(&settings(&format!("[limits]\n{text}")), "a"));
        let both = few.larger(&many);
        assert_eq!((both.get(Limit::Processes), both.get(Limit::Log)), (9, 0));
    }

    #[test]
    fn a_reservation_is_never_larger_than_what_may_be_taken() {
        let of = |text: &str| {
            Limits::of(&settings(&format!("[limits]\n{text}")), "a").reserved_bytes() / MEBIBYTE
        };
        assert_eq!(of(""), 1024);
        assert_eq!(of("reserve_mib = 9\ndisk_mib = 7"), 7);
        assert_eq!(of("reserve_mib = 9\ndisk_mib = 0"), 9);
        assert_eq!(of("reserve_mib = 0"), 0);
        let [none, some] = ["reserve_mib = 0", "reserve_mib = 5"]
            .map(|text| Limits::of(&settings(&format!("[limits]\n{text}")), "a"));
        assert_eq!(Limits::together([&none, &some]).get(Limit::Reserve), 5);
    }

    #[test]
    fn what_is_measured_is_rounded_up() {
        assert_eq!((mebibytes(MEBIBYTE), mebibytes(MEBIBYTE + 1)), (1, 2));
        assert_eq!((seconds(Duration::from_secs(1)), seconds(Duration::from_millis(1001))), (1, 2));
    }
}
