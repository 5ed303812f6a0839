//! How long builds took, as the store counted it.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::images::{BuildTotals, Store};

/// A histogram for each tier and plugin.
#[derive(Debug)]
pub(super) struct Durations(pub(super) Vec<BuildTotals>);

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sums = BTreeMap::<(&str, &str), (f64, Vec<u64>)>::new();
        for total in self.0.iter().filter(|total| total.status == "COMPLETE") {
            sums.insert((&total.tier, &total.plugin), (total.seconds, total.buckets.clone()));
        }
        let bounds = Store::DURATION_BUCKETS.map(f64::from).into_iter().chain([f64::INFINITY]);
        let bounds: Vec<f64> = bounds.collect();
        let mut metric = encoder.encode_descriptor(
            "build_duration",
            "Time that builds took that became COMPLETE, by tier and plugin.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for ((tier, plugin), (seconds, counts)) in sums {
            let labels = [("tier", tier), ("plugin", plugin)];
            let total = counts.iter().sum();
            let buckets: Vec<(f64, u64)> = bounds.iter().copied().zip(counts).collect();
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(seconds, total, &buckets, None)?;
        }
        Ok(())
    }
}
