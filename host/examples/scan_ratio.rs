//! Scanning `.info` files against just reading the same files:
//! `cargo run --release -p imageforge --example scan_ratio`.
//!
//! "Reading" is `read_dir` and `read` of every name that ends in `.info`, on one thread. Each figure
//! is the smallest of many alternating runs over symbolic links, with warm caches.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use imageforge::plugins::scan::{Permissions, scan};
use imageforge::plugins::{Registry, RegistryOptions};
use serde_json::json;

/// Runs of each kind.
const RUNS: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let mut stdout = std::io::stdout().lock();
    writeln!(
        stdout,
        "{:>6} {:>10} {:>16} {:>16}",
        "files", "read ms", "scan ms (ratio)", "open ms (ratio)"
    )?;
    for count in [1_000, 10_000] {
        let folder = tempfile::tempdir()?;
        let root = Utf8PathBuf::try_from(folder.path().to_owned())?;
        let directory = links_to_info_files(&root, count)?;
        let options = RegistryOptions::new(&directory);
        let [mut read, mut scanned, mut opened] = [Duration::MAX; 3];
        for _ in 0..RUNS {
            read = read.min(timed(|| just_read(&directory))?);
            scanned = scanned.min(timed(|| scan(&directory, Permissions::Secure))?);
            // Opened and asked once: with the index of all claims.
            opened = opened.min(timed(|| {
                Registry::open(&options).map(|registry| registry.cloud_plugin("gce").is_ok())
            })?);
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let ratio = |time: Duration| time.as_secs_f64() / read.as_secs_f64();
        writeln!(
            stdout,
            "{count:>6} {:>10.2} {:>9.2} ({:.2}) {:>9.2} ({:.2})",
            ms(read),
            ms(scanned),
            ratio(scanned),
            ms(opened),
            ratio(opened)
        )?;
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    black_box(work()?);
    Ok(start.elapsed())
}

fn just_read(directory: &Utf8Path) -> std::io::Result<usize> {
    let mut bytes = 0;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().ends_with(b".info") {
            bytes += fs_err::read(entry.path())?.len();
        }
    }
    Ok(bytes)
}

/// `plugins.d` with `count` links to files as they are shipped: some 400 bytes each.
fn links_to_info_files(root: &Utf8Path, count: usize) -> Result<Utf8PathBuf, Box<dyn Error>> {
    let directory = root.join("plugins.d");
    fs_err::create_dir(&directory)?;
    for i in 0..count {
        let name = format!("os-{i:05}");
        let plugin = root.join("plugins").join(&name);
        fs_err::create_dir_all(&plugin)?;
        let info = json!({
            "type": "os",
            "targets": [[format!("System-{i}"), null, null], [format!("System-{i}"), "2", "x86_64"]],
            "description": "Builds one of many operating systems for the measurement",
            "maintainer": {"name": "Ada", "email": "ada@example.org", "url": "https://example.org"},
            "version": "1.0.0",
            "license": "Apache-2.0",
            "requires": {"commands": ["qemu-img"], "api": "^0.1"},
        });
        let file = format!("{name}.info");
        fs_err::write(plugin.join(&file), serde_json::to_string_pretty(&info)?)?;
        let target = format!("../plugins/{name}/{file}");
        fs_err::os::unix::fs::symlink(target, directory.join(&file))?;
    }
    Ok(directory)
}
