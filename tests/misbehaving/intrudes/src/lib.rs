//! Reaches beyond what is its own: other processes, the time after its call, the words and the files
//! of the host.

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use moments::Misbehaving;
use moments::faults::commit;
use plugin_api::{Builder, DelegateError};
use rustix::process::{Resource, Rlimit, Signal, getppid, kill_process, setrlimit};

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
        "deletes its work folder" => fs_err::remove_dir_all(builder.work_dir())?,
        "deletes the folder of its image" => {
            if let Some(folder) = builder.image_path().parent() {
                fs_err::remove_dir_all(folder)?;
            }
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
        _ => {
            let text = "\u{1b}[2J\u{1b}]0;title\u{7}gone\nerror: forged\n  hint: forged\r";
            builder.activity(text);
            tracing::warn!("{text}");
            return Err(DelegateError::failed(text).because(text).hint(text));
        },
    }
    Ok(())
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
