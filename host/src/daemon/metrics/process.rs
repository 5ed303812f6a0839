//! Figures of the process, under the names that Prometheus' own libraries use, without a prefix.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Writes the figures of `registry` and those of the process; what the kernel does not tell is missing.
pub(super) fn figures(output: &mut String, registry: &Registry) -> Result<(), fmt::Error> {
    let mut process = Registry::default();
    // The numbers behind the name of the program in proc_pid_stat(5), from the third on.
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    let numbers: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').map(|text| text.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |number: usize| numbers.get(number - 3).copied();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are millions of years")]
        let seconds = (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64;
        let help = "Processor time that the daemon itself took";
        process.register_with_unit("process_cpu", help, Unit::Seconds, ConstCounter::new(seconds));
    }
    if let (Some(threads), Some(virtual_bytes), Some(pages)) = (field(20), field(23), field(24)) {
        let resident = pages.saturating_mul(rustix::param::page_size() as u64);
        let bytes = |bytes| ConstGauge::new(bytes);
        let help = "Virtual memory of the daemon itself";
        process.register_with_unit(
            "process_virtual_memory",
            help,
            Unit::Bytes,
            bytes(virtual_bytes),
        );
        let help = "Memory of the daemon itself";
        process.register_with_unit("process_resident_memory", help, Unit::Bytes, bytes(resident));
        process.register("process_threads", "Threads of the daemon", ConstGauge::new(threads));
    }
    if let Ok(files) = fs_err::read_dir("/proc/self/fd") {
        let count = ConstGauge::new(files.count() as u64);
        process.register("process_open_fds", "Open files of the daemon", count);
    }
    text::encode_registry(output, &process)?;
    text::encode_registry(output, registry)?;
    text::encode_eof(output)
}
