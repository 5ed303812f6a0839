//! Worker start to first delegate call, of the real executable:
//! `worker_start EXECUTABLE LIBRARY`, where the library is that of `mock-os`.
//!
//! The clock starts before the process is spawned and stops when the worker announces
//! `builder_should_create_image`; in between lie the fence (`setpriv`, `unshare`), two starts of the
//! executable, the request, and the loading of the plugin. The floor is the same fence around `echo`,
//! until its line arrives. Runs alternate; prints `NAME MEDIAN MINIMUM`, in milliseconds.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imageforge::factory::Limits;
use imageforge::factory::protocol::{PluginRef, Request, Work};
use imageforge::process::Isolation;
use plugin_api::host::BuildContext;
use plugin_api::{Template, Tier};
use serde_json::Map;

/// Runs of each kind.
const RUNS: usize = 31;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [executable, library] = arguments.as_slice() else {
        return Err("usage: worker_start EXECUTABLE LIBRARY".into());
    };
    let fence = Isolation::available();
    let (mut floors, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut echo = fence.command("echo");
        floors.push(time_until(echo.arg("started"), "", "started")?);

        let folder = tempfile::tempdir()?;
        let mut worker = fence.command(executable);
        worker.arg("worker");
        if fence.has_pid_namespace() {
            worker.arg("--init");
        }
        let request = request(folder.path().to_str().ok_or("not UTF-8")?, library)?;
        starts.push(time_until(&mut worker, &request, "\"builder_should_create_image\"")?);
    }
    let mut stdout = std::io::stdout().lock();
    for (name, mut times) in [("floor", floors), ("worker", starts)] {
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(stdout, "{name} {:.2} {:.2}", ms(times[RUNS / 2]), ms(times[0]))?;
    }
    Ok(())
}

/// What a supervisor writes to a worker that is to make a base image.
fn request(folder: &str, library: &str) -> Result<String, Box<dyn Error>> {
    fs_err::create_dir(format!("{folder}/build"))?;
    let context = BuildContext::new(
        "6b1f3d0e-6f0c-4c5e-9d0a-0f6d3f3a1c55",
        Tier::Base,
        Template::default(),
        format!("{folder}/build"),
        format!("{folder}/body"),
    );
    let plugin = PluginRef {
        name: "mock-os".to_owned(),
        library: library.into(),
        delegate: None,
        parameters: Map::new(),
        configuration: Map::new(),
        limits: Limits::default(),
    };
    let request = Request {
        work: Work::Base,
        context,
        os: Some(plugin),
        cloud: None,
        data_dir: folder.into(),
        private_files: Vec::new(),
        locks_dir: format!("{folder}/locks").into(),
        cache_dir: format!("{folder}/cache").into(),
        content: None,
        disk_artifacts: Vec::new(),
        secrets: Vec::new(),
        cgroup: None,
    };
    let request = serde_json::to_string(&request)?;
    Ok(format!("{request}\n"))
}

/// Time from spawning `command` to the line with `mark`; the command then ends by itself.
fn time_until(command: &mut Command, input: &str, mark: &str) -> Result<Duration, Box<dyn Error>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(input.as_bytes())?;
    let mut taken = None;
    let mut seen = String::new();
    for line in BufReader::new(child.stdout.take().ok_or("no standard output")?).lines() {
        let line = line?;
        if taken.is_none() && line.contains(mark) {
            taken = Some(start.elapsed());
        }
        seen.push_str(&line);
    }
    drop(stdin);
    child.wait()?;
    taken.ok_or_else(|| format!("`{mark}` was never said, but `{seen}`").into())
}
