//! Boots an image in QEMU and watches its serial console for a text.
//!
//! The image is never changed: QEMU writes to a throw-away overlay in the work folder. The guest
//! has a network card on a network that leads nowhere.

mod console;
mod machine;
mod monitor;

use std::process::Child;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

pub use machine::{Accelerator, Disk, Firmware, Machine, has_boot_signature, tools};

pub(crate) use console::plain_text;

use console::Console;
use monitor::Monitor;

/// KVM may open and then hang the guest. A guest that says nothing for this long before its kernel
/// speaks is started again under TCG.
const KVM_TRIAL: Duration = Duration::from_secs(2);
/// Time between two looks at the console.
const POLL: Duration = Duration::from_millis(20);
/// Last lines of the console that a failure shows.
const SHOWN_LINES: usize = 15;

/// Why an image could not be started at all.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU is not installed.
    #[error("program `{program}` is not installed")]
    NoQemu {
        /// The program.
        program: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The firmware is not installed.
    #[error("firmware for {firmware} machines of architecture `{arch}` is not installed")]
    NoFirmware {
        /// UEFI or BIOS.
        firmware: Firmware,
        /// The architecture.
        arch: String,
    },
    /// There is no such machine.
    #[error("cannot boot images of architecture `{0}`")]
    UnknownArchitecture(String),
    /// The body is no disk.
    #[error("`{path}` is no disk that a virtual machine can use: media type `{media_type}`")]
    NotADisk {
        /// The body.
        path: Utf8PathBuf,
        /// Its media type.
        media_type: String,
    },
    /// A file could not be read or written.
    #[error("cannot prepare the virtual machine")]
    Io(#[from] std::io::Error),
}

impl BootError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoQemu { .. } => Some("install QEMU: apt-get install qemu-system-x86"),
            Self::NoFirmware { firmware: Firmware::Uefi, .. } => {
                Some("install it: apt-get install ovmf, or boot with `--firmware bios`")
            },
            Self::NotADisk { .. } => Some("boot its base image, or a target such as `qcow2`"),
            _ => None,
        }
    }
}

/// How a boot went.
#[derive(Clone, Debug)]
pub struct BootReport {
    /// Whether the text appeared.
    pub reached: bool,
    /// Time from start of the machine until then, or until it was given up.
    pub elapsed: Duration,
    /// What ran the guest.
    pub accelerator: Accelerator,
    /// Why it ended early, when the machine ended by itself.
    pub ended: Option<String>,
    /// Everything that the serial console said.
    pub console: Utf8PathBuf,
    /// The display at the end, as PNG.
    pub screenshot: Option<Utf8PathBuf>,
    /// The last lines of the console.
    pub last_lines: Vec<String>,
}

/// What to wait for, and who listens.
pub struct Watch<'a> {
    /// The text that means success.
    pub until: &'a str,
    /// Time to wait for it.
    pub timeout: Duration,
    /// Told everything that the console says, as it says it.
    pub on_console: &'a mut dyn FnMut(&str),
    /// Told why the machine is started again.
    pub on_restart: &'a mut dyn FnMut(&str),
    /// Asked whether to stop.
    pub cancelled: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Boots `machine` with its files in `work_dir`, and waits.
///
/// # Errors
/// When the machine cannot be started. A text that does not appear is a report, not an error.
pub fn boot(
    machine: &Machine,
    work_dir: &Utf8Path,
    watch: &mut Watch<'_>,
) -> Result<BootReport, BootError> {
    let candidates = machine.accelerators();
    let (last, trials) = candidates.split_last().unwrap_or((&Accelerator::Tcg, &[]));
    for accelerator in trials {
        let report =
            Attempt::start(machine, *accelerator, work_dir)?.run(watch, Some(KVM_TRIAL))?;
        if let Some(report) = report {
            return Ok(report);
        }
        (watch.on_restart)("KVM opens but does not run this guest; starting again without it");
    }
    let report = Attempt::start(machine, *last, work_dir)?.run(watch, None)?;
    report.ok_or_else(|| BootError::Io(std::io::Error::other("the last attempt gave up")))
}

/// One start of a machine.
struct Attempt {
    child: Child,
    monitor: Monitor,
    console: Console,
    accelerator: Accelerator,
    started: Instant,
}

impl Attempt {
    fn start(
        machine: &Machine,
        accelerator: Accelerator,
        work_dir: &Utf8Path,
    ) -> Result<Self, BootError> {
        let console = Console::create(work_dir.join("console.log"))?;
        let (child, monitor) = machine.start(accelerator, console.path(), work_dir)?;
        Ok(Self { child, monitor, console, accelerator, started: Instant::now() })
    }

    /// Waits for the text. `None` when a trial found that this accelerator does not run guests.
    fn run(
        mut self,
        watch: &mut Watch<'_>,
        trial: Option<Duration>,
    ) -> Result<Option<BootReport>, BootError> {
        loop {
            // Asked before the console is read, so that the last words are not missed.
            let ended = self.child.try_wait()?;
            let news = self.console.read_news()?;
            if !news.is_empty() {
                (watch.on_console)(&news);
            }
            if self.console.said(watch.until) {
                return self.finish(true, None).map(Some);
            }
            if trial.is_some_and(|patience| self.console.is_dead(patience, ended.is_some())) {
                self.stop()?;
                return Ok(None);
            }
            if let Some(status) = ended {
                let diagnosis = self.monitor.last_words();
                let why = if status.success() {
                    "the machine was switched off or restarted".to_owned()
                } else {
                    format!("QEMU ended with {status}: {diagnosis}")
                };
                return self.finish(false, Some(why)).map(Some);
            }
            if self.started.elapsed() >= watch.timeout || (watch.cancelled)() {
                return self.finish(false, None).map(Some);
            }
            std::thread::sleep(POLL);
        }
    }

    fn finish(&mut self, reached: bool, ended: Option<String>) -> Result<BootReport, BootError> {
        let elapsed = self.started.elapsed();
        let screenshot = self.console.path().with_file_name("screenshot.png");
        let screenshot = self.monitor.screenshot(&screenshot).then_some(screenshot);
        self.stop()?;
        Ok(BootReport {
            reached,
            elapsed,
            accelerator: self.accelerator,
            ended,
            console: self.console.path().to_owned(),
            screenshot,
            last_lines: self.console.last_lines(SHOWN_LINES),
        })
    }

    fn stop(&mut self) -> Result<(), BootError> {
        // It may have ended by itself.
        drop(self.child.kill());
        self.child.wait()?;
        Ok(())
    }
}

/// Whatever ends an attempt, no machine outlives it.
impl Drop for Attempt {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
