//! The machine: what it is, what fences a worker off, what boots an image.

use plugin_api::info::API_VERSION;
use rustix::process::{Resource, getrlimit};

use super::{Check, State};
use crate::boot;

use crate::factory::cgroup::{self, NoPlace};
use crate::plugins::has_program;
use crate::process::Isolation;

/// Open files that a worker may have by default.
const OPEN_FILES: u64 = 4096;
/// 2025-01-01, before any version of this program.
const EARLIEST: i64 = 1_735_689_600;

pub(super) fn identity() -> Vec<Check> {
    let system = rustix::system::uname();
    let says = format!(
        "imageforge {}, plugin API {API_VERSION}, Linux {} on {}",
        env!("CARGO_PKG_VERSION"),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy()
    );
    let id = rustix::process::geteuid();
    let who = if id.is_root() { "root".to_owned() } else { format!("user {}", id.as_raw()) };
    vec![Check::new("version", State::Ok, says), Check::new("user", State::Ok, who)]
}

pub(super) fn protection() -> Vec<Check> {
    vec![namespaces(), control_groups(), rlimits()]
}

fn namespaces() -> Check {
    let name = "namespaces";
    if !has_program("setpriv") {
        return Check::new(name, State::Problem, "program `setpriv` is not installed")
            .hint("install util-linux");
    }
    let fence = Isolation::available();
    let says = format!("workers run in {}", fence.describe());
    match fence {
        Isolation::Root | Isolation::User => Check::new(name, State::Ok, says),
        Isolation::SingleUser => Check::new(name, State::Warning, says)
            .hint("give this user ranges in /etc/subuid and /etc/subgid, and install uidmap"),
        Isolation::ProcessGroup => Check::new(name, State::Warning, says).hint(
            "what a build mounts or starts may outlive it: install util-linux, allow user namespaces \
             to ordinary users, or run as root",
        ),
    }
}

fn control_groups() -> Check {
    let name = "cgroup";
    match cgroup::look() {
        Ok(place) => {
            let (state, rest) = match &place.lacks {
                None => (State::Ok, "memory and processes are held by the kernel".to_owned()),
                Some(why) => {
                    let has = match (place.controllers.memory, place.controllers.pids) {
                        (true, _) => "memory is held by the kernel",
                        (_, true) => "processes are held by the kernel",
                        _ => "for ending everything at once",
                    };
                    (State::Warning, format!("{has}; {why}"))
                },
            };
            let says = format!("workers get groups below `{}`: {rest}", place.base);
            let check = Check::new(name, state, says);
            if state == State::Ok { check } else { check.hint(DELEGATE) }
        },
        Err(error @ NoPlace::NotMounted) => Check::new(
            name,
            State::Absent,
            format!("{error}: rlimits and supervision are in force"),
        ),
        Err(error) => Check::new(
            name,
            State::Absent,
            format!("{error}: rlimits and supervision are in force"),
        )
        .hint(DELEGATE),
    }
}

const DELEGATE: &str = "have systemd hand over a group with both controllers: `Delegate=memory pids` in \
                        the unit, or `systemd-run --user --scope -p Delegate=yes imageforge …`";

fn rlimits() -> Check {
    let name = "rlimits";
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let memory = getrlimit(Resource::As).maximum;
    if files < OPEN_FILES || memory.is_some() {
        let memory =
            memory.map_or_else(String::new, |bytes| format!(", {bytes} bytes of addresses"));
        return Check::new(name, State::Warning, format!("at most {files} open files{memory}"))
            .hint("raise them with `ulimit -Hn` and `ulimit -v`, or in the unit of the service");
    }
    Check::new(name, State::Ok, "nothing is lower than a build may want")
}

pub(super) fn booting() -> Vec<Check> {
    let opened = fs_err::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    let kvm = match opened {
        Ok(_) => Check::new("kvm", State::Ok, "/dev/kvm opens; only a guest shows that it works"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::new("kvm", State::Absent, "there is no /dev/kvm: guests are translated")
        },
        Err(error) => Check::new("kvm", State::Warning, format!("/dev/kvm does not open: {error}"))
            .hint("add this user to the group `kvm`"),
    };
    let tools = boot::tools(std::env::consts::ARCH);
    let boot = match tools {
        Some((program, _)) if !has_program(program) => {
            Check::new("boot", State::Absent, format!("program `{program}` is not installed"))
                .hint("`images boot` needs QEMU: apt-get install qemu-system")
        },
        Some((program, None)) => {
            Check::new("boot", State::Warning, format!("`{program}` without firmware for UEFI"))
                .hint("apt-get install ovmf")
        },
        Some((program, Some(firmware))) => {
            Check::new("boot", State::Ok, format!("`{program}` with `{firmware}`"))
        },
        None => Check::new("boot", State::Absent, "this architecture cannot be booted here"),
    };
    vec![kvm, boot]
}

pub(super) fn clock(source_date_epoch: Option<&str>) -> Check {
    let name = "clock";
    let now = jiff::Timestamp::now();
    match source_date_epoch {
        Some(text) if text.parse::<i64>().is_err() => Check::new(
            name,
            State::Problem,
            format!("`SOURCE_DATE_EPOCH` is `{text}`, not a number of seconds"),
        )
        .hint("correct it, or unset it"),
        Some(text) => Check::new(
            name,
            State::Ok,
            format!("images have the time {text} of `SOURCE_DATE_EPOCH`"),
        ),
        None if now.as_second() < EARLIEST => {
            Check::new(name, State::Warning, format!("it is said to be {now}"))
                .hint("set the clock: signatures and certificates will look invalid")
        },
        None => Check::new(name, State::Ok, now.strftime("%Y-%m-%d %H:%M UTC").to_string()),
    }
}
