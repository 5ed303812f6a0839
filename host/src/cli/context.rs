//! What every command needs: settings, registry, store, and whether somebody pressed Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::args::Global;
use super::error::{Exit, Failure};
use super::output::Output;
use crate::factory::cgroup;
use crate::images::{ImageRecord, Store, StoreError};
use crate::paths::Paths;
use crate::plugins::{Registry, RegistryOptions};
use crate::settings::Settings;

/// Flags, environment, settings file and defaults, put together.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) output: Output,
    pub(super) settings: Settings,
    pub(super) verbose: u8,
    plugins_d: Utf8PathBuf,
    library_path: Vec<Utf8PathBuf>,
    data_dir: Utf8PathBuf,
    settings_file: Utf8PathBuf,
    allow_insecure_permissions: bool,
}

impl Context {
    pub(super) fn new(global: &Global, output: Output) -> Result<Self, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        let defaults = Paths::defaults(is_root, |name| std::env::var(name).ok())
            .map_err(|error| Failure::from_error(Exit::Usage, &error).hint(error.hint()))?;
        let settings = match &global.config {
            Some(path) => Settings::read(path),
            None => Settings::read_optional(&defaults.settings_file),
        };
        let settings = settings
            .map_err(|error| Failure::from_error(Exit::InvalidInput, &error).hints(error.hint()))?;
        let either = |flag: &Option<Utf8PathBuf>, file: &Option<Utf8PathBuf>, default| {
            flag.clone().or_else(|| file.clone()).unwrap_or(default)
        };
        let library_path = match global.library_path.as_slice() {
            [] => settings.library_path.clone(),
            given => given.to_vec(),
        };
        Ok(Self {
            output,
            verbose: global.verbose,
            plugins_d: either(&global.plugins_d, &settings.plugins_d, defaults.plugins_d),
            data_dir: either(&global.data_dir, &settings.data_dir, defaults.data_dir),
            library_path,
            settings_file: global.config.clone().unwrap_or(defaults.settings_file),
            allow_insecure_permissions: global.allow_insecure_permissions
                || settings.allow_insecure_permissions,
            settings,
        })
    }

    /// The plugins that are linked.
    pub(super) fn registry(&self) -> Result<Registry, Failure> {
        Registry::open(&self.registry_options())
            .map_err(|error| Failure::from_error(Exit::NoPlugin, &error).hint(error.hint()))
    }

    pub(super) fn registry_options(&self) -> RegistryOptions {
        let mut options = RegistryOptions::new(&self.plugins_d);
        options.library_path.clone_from(&self.library_path);
        options.allow_insecure_permissions = self.allow_insecure_permissions;
        options.cache_file = Some(self.data_dir.join("probes.json"));
        options.reach.read_only.push(self.data_dir.clone());
        options.copies_dir = Some(self.data_dir.join("libraries"));
        options
    }

    /// The file that the settings are from, whether it is there or not.
    pub(super) fn settings_file(&self) -> &camino::Utf8Path {
        &self.settings_file
    }

    /// The folder of images and records.
    pub(super) fn data_dir(&self) -> &camino::Utf8Path {
        &self.data_dir
    }

    /// The images, after putting in order what dead processes left.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        let store = Store::open(&self.data_dir).map_err(|error| store_failure(&error))?;
        cgroup::recover();
        let recovery = store.recover().map_err(|error| store_failure(&error))?;
        for id in &recovery.interrupted {
            self.output.note(format!("image {} was interrupted and is FAILED now", id.short()));
        }
        for problem in &recovery.problems {
            self.output.note(store_failure(problem).to_text());
        }
        Ok(store)
    }
}

/// A failure of the store with its hints.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    error.into()
}

/// The image that a user means.
pub(super) fn find(store: &Store, reference: &str) -> Result<ImageRecord, Failure> {
    store.find(reference).map_err(|error| store_failure(&error))
}

/// Signals within this time are one request: `timeout` sends to a process and then to its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// Whether somebody asked this process to stop (Ctrl-C, `kill`, a closed terminal).
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. A hang-up that the caller ignores (`nohup`) stays ignored. The second
    /// request, but for hang-ups, ends this process at once, as if nobody listened.
    ///
    /// # Errors
    /// The system does not let it listen.
    pub(super) fn listen() -> Result<Self, Failure> {
        Self::listen_to(&[SIGINT, SIGTERM, SIGHUP])
    }

    /// The same for a detached build, which has no terminal that could close: hang-ups are ignored.
    ///
    /// # Errors
    /// The system does not let it listen.
    pub(super) fn listen_detached() -> Result<Self, Failure> {
        Self::listen_to(&[SIGINT, SIGTERM])
    }

    fn listen_to(requests: &'static [i32]) -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let internal = |error: std::io::Error| Failure::from_error(Exit::Internal, &error);
        let no_hangup = ignored_signals() & (1 << (SIGHUP - 1)) != 0;
        let heard = [SIGINT, SIGTERM, SIGHUP];
        let heard = heard.iter().filter(|signal| **signal != SIGHUP || !no_hangup);
        let signals = Signals::new(heard).map_err(internal)?;
        let interrupt = Self(Arc::clone(&flag));
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || interrupt.hear(signals, requests))
            .map_err(internal)?;
        Ok(Self(flag))
    }

    fn hear(&self, mut signals: Signals, requests: &[i32]) {
        let mut first: Option<Instant> = None;
        for signal in signals.forever().filter(|signal| requests.contains(signal)) {
            self.0.store(true, Ordering::Relaxed);
            let first = *first.get_or_insert_with(Instant::now);
            if signal != SIGHUP && first.elapsed() > ONE_REQUEST {
                // Workers die with this process; the next command records what became of the images.
                drop(emulate_default_handler(signal));
            }
        }
    }

    /// Whether it happened.
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The signals that this process ignores: the mask `SigIgn` of proc(5).
fn ignored_signals() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}
