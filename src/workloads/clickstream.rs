//! Clickstream: real logged impressions, replayed at their own rhythm through producers to a topic, and read back by consumers.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{ByteSize, Problem, Span};

/// What producers promise about each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// acks=0, no retries: an event may be lost, never duplicated.
    AtMostOnce,
    /// acks=all (or `acks`), retries without sequence numbers: an acknowledged event is never lost, but may stand twice.
    AtLeastOnce,
    /// acks=all, retries with a producer id and sequence numbers: an acknowledged event stands exactly once, in order (KIP-98).
    #[default]
    Idempotent,
}

/// How many replicas must have a record before its producer is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// None: the producer does not wait.
    None,
    /// The leader alone.
    Leader,
    /// Every replica in sync.
    #[default]
    All,
}

/// A clickstream of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name of this workload and the first part of its hosts' names, unique in the scenario (default `clickstream`).
    #[serde(default = "Config::name_default")]
    pub name: String,
    /// A Parquet file of logged impressions with columns `timestamp`, `item_id`, `click`, `propensity` and
    /// `user_feature_0` to `user_feature_3`; relative to the scenario file.
    pub source: PathBuf,
    /// How many times faster than logged the events come (default 5000: a week in two minutes).
    #[serde(default = "Config::speed_up_default")]
    pub speed_up: f64,
    /// The topic (default `clicks`); it must stand under `systems.broker.topics`.
    #[serde(default = "Config::topic_default")]
    pub topic: String,
    /// How many producers share the events by key (default 3).
    #[serde(default = "Config::three")]
    pub producers: u32,
    /// How many consumers share the topic's parts (default 3).
    #[serde(default = "Config::three")]
    pub consumers: u32,
    /// What producers promise (default `idempotent`).
    #[serde(default)]
    pub delivery: Delivery,
    /// How many replicas must have a record, for `at-least-once` (default `all`).
    #[serde(default)]
    pub acks: Acks,
    /// How long a producer waits for a batch to fill (default 5ms).
    #[serde(default = "Config::linger_default")]
    pub linger: Span,
    /// A batch is sent when it has grown to this (default 16KiB).
    #[serde(default = "Config::batch_default")]
    pub batch: ByteSize,
}

impl Config {
    fn name_default() -> String {
        "clickstream".to_owned()
    }
    fn speed_up_default() -> f64 {
        5000.0
    }
    fn topic_default() -> String {
        "clicks".to_owned()
    }
    fn three() -> u32 {
        3
    }
    fn linger_default() -> Span {
        Span::millis(5)
    }
    fn batch_default() -> ByteSize {
        ByteSize::new(16 << 10)
    }

    /// What no run could make of these settings. (Whether the source can be read is found where it is read.)
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.001..=1e9).contains(&self.speed_up) {
            problems.push(Problem::new("speed_up", format!("{} is not from 0.001 to 1e9", self.speed_up)));
        }
        for (name, value) in [("producers", self.producers), ("consumers", self.consumers)] {
            if !(1..=100).contains(&value) {
                problems.push(Problem::new(name, format!("{value} is not from 1 to 100")));
            }
        }
        if self.delivery != Delivery::AtLeastOnce && self.acks != Acks::All {
            problems.push(
                Problem::new("acks", "only `delivery = \"at-least-once\"` lets one choose acks")
                    .help("remove `acks`, or choose that delivery"),
            );
        }
        problems
    }
}
