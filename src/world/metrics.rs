//! Time series of a run: counters that systems and workloads raise, and the kernel's own, sampled once a virtual second.
//!
//! Memory follows the number of names times the seconds, never the number of events. Metrics are for people: no digest, no
//! decision and no checker depends on them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::base::{HostId, SimTime};

/// The span between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the values of a series are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeriesKind {
    /// A running total: its slope is a rate.
    Total,
    /// The latest value.
    Gauge,
}

impl SeriesKind {
    /// The kind's name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Gauge => "gauge",
        }
    }
}

/// One point of one series.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sample {
    /// When it was taken.
    pub at: SimTime,
    /// The host it belongs to; `None` for the whole tank.
    pub host: Option<HostId>,
    /// The series: `broker.bytes-in`, `kernel.messages`.
    pub name: &'static str,
    /// Whether it is a running total or the latest value.
    pub kind: SeriesKind,
    /// Its value.
    pub value: f64,
}

/// The series of one run.
#[derive(Default)]
pub(crate) struct Metrics {
    current: BTreeMap<(&'static str, Option<HostId>), (SeriesKind, f64)>,
    samples: Vec<Sample>,
    due: SimTime,
}

impl Metrics {
    pub(crate) fn count(&mut self, host: HostId, name: &'static str, by: u64) {
        self.current.entry((name, Some(host))).or_insert((SeriesKind::Total, 0.0)).1 += by as f64;
    }

    pub(crate) fn gauge(&mut self, host: HostId, name: &'static str, value: f64) {
        self.current.insert((name, Some(host)), (SeriesKind::Gauge, value));
    }

    /// The process of a host has ended: what it said of itself holds no longer.
    pub(crate) fn ended(&mut self, host: HostId) {
        self.current.retain(|(_, of), (kind, _)| *of != Some(host) || *kind == SeriesKind::Total);
    }

    /// Whether a sample is due before the clock moves to `to`.
    pub(crate) fn is_due(&self, to: SimTime) -> bool {
        self.due <= to
    }

    /// Samples every series as it stands, with the kernel's own figures.
    pub(crate) fn sample(&mut self, to: SimTime, kernel: [(&'static str, SeriesKind, f64); 4]) {
        for (name, kind, value) in kernel {
            self.current.insert((name, None), (kind, value));
        }
        let at = self.due;
        self.samples.extend(self.current.iter().map(|((name, host), (kind, value))| Sample {
            at,
            host: *host,
            name,
            kind: *kind,
            value: *value,
        }));
        // A quiet stretch of several seconds is one sample: nothing changed in it.
        let seconds = to.since(at).as_secs() + 1;
        self.due = at + SAMPLE_EVERY * u32::try_from(seconds).unwrap_or(u32::MAX);
    }

    pub(crate) fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }
}
