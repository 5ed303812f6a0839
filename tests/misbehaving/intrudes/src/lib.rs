//! Reaches beyond what is its own: other processes, the time after its call, the words and the files
//! of the host.

use std::cell::RefCell;
use std::io::Write;
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use moments::Misbehaving;
use moments::faults::{commit, secrets};
use plugin_api::{Builder, Command, DelegateError};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, kill_current_process_group, kill_process, setrlimit,
};

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, builder: Option<&Builder>) -> Result<(), DelegateError> {
    let Some(builder) = builder else {
        return Ok(());
    };
    match how {
        "kills its parent" => {
            if let Some(parent) = getppid() {
                kill_process(parent, Signal::KILL).map_err(std::io::Error::from)?;
            }
        },
        "panics in a thread" => drop(thread::spawn(|| commit("panic")).join()),
        "goes on in a thread" => drop(thread::spawn(|| {
            loop {
                tracing::info!("still here");
                thread::sleep(Duration::from_millis(1));
            }
        })),
        "crashes when the process ends" => LAST.set(Some(Last("segfault"))),
        "hangs when the process ends" => LAST.set(Some(Last("sleep"))),
        "takes itself every right" => {
            let none = Rlimit { current: Some(0), maximum: Some(0) };
            setrlimit(Resource::Nofile, none).map_err(std::io::Error::from)?;
            setrlimit(Resource::Fsize, none).map_err(std::io::Error::from)?;
        },
        // Outside of a namespace this would be everything indeed.
        "kills everything" if getppid().is_some_and(Pid::is_init) => run(builder, "kill -9 -1")?,
        "ends its process group" => {
            kill_current_process_group(Signal::KILL).map_err(std::io::Error::from)?;
        },
        "speaks for another plugin" => {
            forge(r#"{"method":{"plugin":"patient","method":"innocent"}}"#);
            thread::sleep(Duration::from_millis(50));
            commit("segfault");
        },
        "waits for its own lock" => {
            let first = builder.lock("own")?;
            let second = builder.lock("own");
            drop(first);
            drop(second?);
        },
        "sets a property with a NUL" => builder.set_property("a\0b", true)?,
        "sets properties without end" => {
            for number in 0..1_000_000 {
                builder.set_property(format!("property-{number}"), number)?;
            }
        },
        "sets a property of 10 MiB" => builder.set_property("huge", "very ".repeat(2 << 20))?,
        "keeps an artifact outside" => {
            builder.add_artifact("../../outside", builder.image_path(), "text/plain")?;
        },
        "locks outside" => drop(builder.lock("../../outside")?),
        _ => return act_on_files(how, builder),
    }
    Ok(())
}

/// What is done to files of others, and said in words of others.
fn act_on_files(how: &str, builder: &Builder) -> Result<(), DelegateError> {
    match how {
        "reads what is secret" => {
            let own = builder.image_path().parent().unwrap_or(builder.work_dir());
            let found = secrets(data(builder).as_ref(), own.as_ref());
            if !found.is_empty() {
                return Err(DelegateError::failed(format!("found {found:?}")));
            }
            tracing::info!("found nothing");
        },
        _ if how.starts_with("lists ") => {
            for entry in fs_err::read_dir(how.trim_start_matches("lists "))? {
                tracing::info!("there is {}", entry?.path().display());
            }
        },
        "writes to the database" => refused(&fs_err::write(data(builder).join("store.db"), "x")),
        "writes to other images" => {
            let bodies = fs_err::read_dir(data(builder).join("work"))?;
            for folder in bodies.filter_map(Result::ok).map(|entry| entry.path()) {
                if Some(folder.as_path()) != builder.image_path().parent().map(AsRef::as_ref) {
                    refused(&fs_err::write(folder.join("body"), "x"));
                }
            }
            refused(&fs_err::write(data(builder).join("images/x"), "x"));
        },
        "deletes the data directory" => {
            run(builder, &format!("rm -rf {} || true", data(builder)))?;
        },
        "mounts over the data directory" => {
            run(builder, &format!("mount -t tmpfs none {}", data(builder)))?;
        },
        "keeps a file of the user" => {
            let file = Utf8PathBuf::try_from(std::env::current_dir()?).unwrap_or_default();
            builder.add_artifact("theirs", file.join("patient.tdl"), "text/plain")?;
        },
        "forges such an artifact" => {
            let file = Utf8PathBuf::try_from(std::env::current_dir()?).unwrap_or_default();
            let path = file.join("patient.tdl");
            forge(&format!(
                r#"{{"artifact":{{"name":"theirs","path":"{path}","media_type":"text/plain"}}}}"#
            ));
        },
        "keeps its image as an artifact" => {
            builder.add_artifact("twice", builder.image_path(), "text/plain")?;
        },
        "leaves a file of holes" => {
            fs_err::OpenOptions::new().write(true).open(builder.image_path())?.set_len(1 << 40)?;
        },
        "deletes its work folder" => fs_err::remove_dir_all(builder.work_dir())?,
        "deletes the folder of its image" => {
            if let Some(folder) = builder.image_path().parent() {
                fs_err::remove_dir_all(folder)?;
            }
        },
        _ => {
            let text = "\u{1b}[2J\u{1b}]0;title\u{7}gone\nerror: forged\n  hint: forged\r";
            builder.activity(text);
            tracing::warn!("{text}");
            return Err(DelegateError::failed(text).because(text).hint(text));
        },
    }
    Ok(())
}

/// The data directory of the host.
fn data(builder: &Builder) -> &Utf8Path {
    builder.work_dir().ancestors().nth(3).unwrap_or(builder.work_dir())
}

fn run(builder: &Builder, script: &str) -> Result<(), DelegateError> {
    builder.run(Command::new("sh").args(["-c", script])).map(drop)
}

fn refused(result: &std::io::Result<()>) {
    tracing::info!("{result:?}");
}

/// Writes a line of the host to the event channel, wherever that is.
fn forge(line: &str) {
    for number in 3..200 {
        let written = fs_err::OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{number}"))
            .and_then(|mut channel| channel.write_all(format!("\n{line}\n").as_bytes()));
        // Most of them are none.
        drop(written);
    }
}

thread_local! {
    /// Dropped when the process ends.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

struct Last(&'static str);

impl Drop for Last {
    fn drop(&mut self) {
        commit(self.0);
    }
}
