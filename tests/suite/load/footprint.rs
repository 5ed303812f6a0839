//! What a process takes of the machine.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::figures;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What a process takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    /// Resident memory, in KiB.
    pub(super) resident: u64,
    pub(super) threads: u64,
    pub(super) descriptors: usize,
    /// What inotify watches.
    pub(super) watches: usize,
}

impl Footprint {
    pub(super) fn of(process: u32) -> Self {
        let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap()
        };
        let descriptors: Vec<_> = fs_err::read_dir(format!("/proc/{process}/fd"))
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.file_name().into_string().unwrap()))
            .collect();
        // One that was closed meanwhile watches nothing.
        let told = |number: &String| {
            fs_err::read_to_string(format!("/proc/{process}/fdinfo/{number}")).unwrap_or_default()
        };
        let watches = descriptors.iter().map(told);
        Self {
            resident: field("VmRSS:"),
            threads: field("Threads:"),
            descriptors: descriptors.len(),
            watches: watches.map(|text| text.matches("inotify wd:").count()).sum(),
        }
    }

    pub(super) fn print(&self, name: &str) {
        let Self { resident, threads, descriptors, watches } = self;
        let rest = format!("{threads} threads, {descriptors} descriptors, {watches} watches");
        figures::print(name, format!("{resident} KiB, {rest}"));
    }
}

/// Resident memory over time: seconds since the beginning, and KiB.
#[derive(Debug, Default)]
pub(super) struct Memory(Vec<(f64, f64)>);

/// Looks at the memory of a process until it is asked, or dropped.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    end: mpsc::Sender<()>,
    thread: JoinHandle<Memory>,
}

impl MemoryWatch {
    pub(super) fn over(process: u32) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let start = Instant::now();
            let mut samples = Vec::new();
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let resident = u32::try_from(Footprint::of(process).resident).unwrap();
                samples.push((start.elapsed().as_secs_f64(), f64::from(resident)));
            }
            Memory(samples)
        });
        Self { end, thread }
    }

    pub(super) fn finish(self) -> Memory {
        drop(self.end);
        self.thread.join().unwrap()
    }
}

impl Memory {
    /// Prints the first, the last and the highest, in MiB, and by how much it grew in a minute over the second
    /// half.
    pub(super) fn print(&self, name: &str) {
        let mib = |kib: f64| kib / 1024.0;
        let of = |sample: Option<&(f64, f64)>| sample.map_or(f64::NAN, |(_, kib)| mib(*kib));
        let peak = self.0.iter().map(|(_, kib)| *kib).fold(0.0, f64::max);
        figures::print(&format!("{name}_first"), format!("{:.1}", of(self.0.first())));
        figures::print(&format!("{name}_last"), format!("{:.1}", of(self.0.last())));
        figures::print(&format!("{name}_peak"), format!("{:.1}", mib(peak)));
        let half = self.0.get(self.0.len() / 2..).unwrap_or_default();
        figures::print(&format!("{name}_slope"), format!("{:.2}", mib(slope(half) * 60.0)));
    }
}

/// Of the line that lies closest, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(points.len()).unwrap()).max(1.0);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}
