//! What is going on when something is killed, and what may be killed then.

use fastrand::Rng;
use serde_json::Value;

use super::verdict::Ledger;
use crate::support::{Process, Running, Workshop};

/// Length of the disk that is imported and exported, in bytes.
pub(super) const DISK: usize = 3 << 20;
const CREDENTIALS: &str = r#"@{"username": "ada", "password": "hunter2-and-more"}"#;

/// Which plugin builds base images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builder {
    MockOs,
    Appliance,
}

impl Builder {
    pub(super) fn of_environment() -> Self {
        match std::env::var("IMAGEFORGE_BUILDER").as_deref() {
            Err(_) | Ok("mock-os") => Self::MockOs,
            Ok("appliance") => Self::Appliance,
            Ok(other) => panic!("`IMAGEFORGE_BUILDER={other}` is neither mock-os nor appliance"),
        }
    }

    pub(super) fn workshop(self) -> Workshop {
        let workshop = match self {
            Self::MockOs => Workshop::new(),
            Self::Appliance => Workshop::with_appliance(),
        };
        fs_err::create_dir(workshop.path("cloud")).unwrap();
        workshop.write("disk.raw", vec![7; DISK]);
        if self == Self::Appliance {
            workshop.run(&["build", "appliance.toml"]).done();
            workshop.keep_downloads();
        }
        workshop
    }

    fn template(self) -> &'static str {
        match self {
            Self::MockOs => "mock.tdl",
            Self::Appliance => "appliance.toml",
        }
    }

    fn targets(self) -> [&'static str; 2] {
        match self {
            Self::MockOs => ["mock", "ecmock"],
            Self::Appliance => ["qcow2", "raw"],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Build,
    BuildFromCache,
    BuildDetached,
    Deliver,
    TwoBuilds,
    Cancel,
    Delete,
    Import,
    Export,
    CheckPlugin,
}

/// What was started.
pub(super) struct Begun {
    pub(super) running: Vec<Running>,
    /// The images that are to be deleted.
    pub(super) deleting: Vec<String>,
}

impl Operation {
    pub(super) fn choose(rng: &mut Rng, builder: Builder) -> Self {
        let all = [
            Self::Build,
            Self::Build,
            Self::BuildFromCache,
            Self::BuildDetached,
            Self::Deliver,
            Self::TwoBuilds,
            Self::Cancel,
            Self::Delete,
            Self::Import,
            Self::Export,
            Self::CheckPlugin,
        ];
        match all[rng.usize(..all.len())] {
            // Its builds take no delay, so there is nothing to be cancelled.
            Self::Cancel if builder == Builder::Appliance => Self::Build,
            chosen => chosen,
        }
    }

    /// How long it takes, in microseconds, or a little less: a victim must still be there.
    pub(super) fn span(self, builder: Builder) -> u64 {
        let build = if builder == Builder::MockOs { 700_000 } else { 3_000_000 };
        match self {
            Self::Delete | Self::Export => 40_000,
            Self::Import => 80_000,
            Self::CheckPlugin => 100_000,
            _ => build,
        }
    }

    pub(super) fn victim(self, rng: &mut Rng) -> Victim {
        let of_builds = [
            Victim::FrontEnd,
            Victim::FrontEnd,
            Victim::Init,
            Victim::Worker,
            Victim::Worker,
            Victim::Wrapper,
            Victim::Program,
            Victim::Any,
        ];
        match self {
            Self::CheckPlugin if rng.bool() => Victim::Probe,
            Self::Delete if rng.bool() => Victim::Any,
            Self::Import | Self::Export | Self::Delete | Self::CheckPlugin => Victim::FrontEnd,
            _ => of_builds[rng.usize(..of_builds.len())],
        }
    }

    /// Starts it.
    pub(super) fn begin(
        self,
        workshop: &Workshop,
        builder: Builder,
        rng: &mut Rng,
        ledger: &Ledger,
    ) -> Begun {
        let mut deleting = Vec::new();
        let run = |arguments: &[String]| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            workshop.spawn(&arguments)
        };
        let finished = ledger.finished();
        let running = match self {
            Self::Build => vec![run(&build(builder, rng, &["--rebuild"]))],
            Self::BuildFromCache => vec![run(&build(builder, rng, &[]))],
            Self::BuildDetached => vec![run(&build(builder, rng, &["--rebuild", "--detach"]))],
            Self::Deliver => {
                let to = ["--provider", "cloud", "--credentials", CREDENTIALS];
                vec![run(&build_for(builder, rng, &["mock"], &to))]
            },
            Self::TwoBuilds => {
                let key = rng.u64(1 << 20..1 << 30);
                let size = format!("size_bytes={key}");
                let more: &[&str] = match builder {
                    Builder::MockOs => &["--parameter", &size],
                    Builder::Appliance => &[],
                };
                let one = build_for(builder, rng, &[], more);
                vec![run(&one), run(&one)]
            },
            Self::Cancel => {
                let build = workshop.spawn_endless(&["--name", "unwanted"]);
                let base = workshop
                    .images()
                    .into_iter()
                    .find(|image| image["name"] == "unwanted" && image["status"] == "BUILDING");
                let id = base.unwrap()["id"].as_str().unwrap().to_owned();
                vec![build, workshop.spawn(&["images", "cancel", &id])]
            },
            Self::Delete => match pick(&finished, rng) {
                Some(image) => {
                    let id = image["id"].as_str().unwrap();
                    deleting = ledger.with_dependents(id);
                    let delete = ["images", "delete", id, "--cascade", "--credentials"];
                    vec![workshop.spawn(&[&delete[..], &[CREDENTIALS]].concat())]
                },
                None => vec![run(&build(builder, rng, &[]))],
            },
            Self::Import => {
                let import = ["images", "import", "disk.raw", "--template", "mock.tdl"];
                vec![workshop.spawn(&[&import[..], &["--name", "imported"]].concat())]
            },
            Self::Export => {
                let with_body: Vec<_> =
                    finished.into_iter().filter(|image| !image["path"].is_null()).collect();
                match pick(&with_body, rng) {
                    Some(image) => {
                        let id = image["id"].as_str().unwrap();
                        vec![workshop.spawn(&["images", "export", id, "out.raw", "--force"])]
                    },
                    None => vec![run(&build(builder, rng, &[]))],
                }
            },
            Self::CheckPlugin => vec![workshop.spawn(&["plugins", "check", "mock-os"])],
        };
        Begun { running, deleting }
    }
}

fn pick<'i>(images: &[&'i Value], rng: &mut Rng) -> Option<&'i Value> {
    (!images.is_empty()).then(|| images[rng.usize(..images.len())])
}

/// A build for none, one or both of the targets.
fn build(builder: Builder, rng: &mut Rng, more: &[&str]) -> Vec<String> {
    let targets = builder.targets();
    let count = rng.usize(..=targets.len());
    build_for(builder, rng, &targets[..count], more)
}

fn build_for(builder: Builder, rng: &mut Rng, targets: &[&str], more: &[&str]) -> Vec<String> {
    let mut arguments = vec!["build".to_owned(), builder.template().to_owned()];
    for target in targets {
        arguments.extend(["--target".to_owned(), (*target).to_owned()]);
    }
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    if builder == Builder::MockOs {
        let mut parameter = |text: String| arguments.extend(["--parameter".to_owned(), text]);
        parameter(format!("delay_ms={}", rng.u64(0..300)));
        parameter(format!("log_lines={}", rng.u64(0..400)));
        parameter("run=sleep 0.1; sleep 0.1 & wait".to_owned());
    }
    arguments
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    FrontEnd,
    Init,
    Worker,
    Wrapper,
    Probe,
    Program,
    /// Whichever process the system shows last.
    Any,
}

impl Victim {
    /// One that is there now.
    pub(super) fn find(self, workshop: &Workshop, running: &mut [Running]) -> Option<u32> {
        if self == Self::FrontEnd {
            for running in running {
                if !running.is_over() {
                    return Some(running.id());
                }
            }
        }
        let is_it: fn(&Process) -> bool = match self {
            Self::FrontEnd => Process::is_detached,
            Self::Init => Process::is_init,
            Self::Worker => Process::is_worker,
            Self::Wrapper => Process::is_wrapper,
            Self::Probe => Process::is_probe,
            Self::Program => Process::is_program,
            Self::Any => |_| true,
        };
        workshop.processes().iter().rfind(|process| is_it(process)).map(|process| process.id)
    }
}
