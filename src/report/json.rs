//! A run as JSON: what scripts and continuous integration read. Stable: keys may be added, and none changes its meaning
//! while `format` is 1.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::{Figure, Seed};
use crate::checkers::Check;
use crate::lab::{Act, Verdict};
use crate::report::Report;
use crate::world::fault::{Fate, FaultCount, FaultPlan};
use crate::world::property::{Meeting, PropertyTally};
use crate::world::{Digest, Record, SiteTally};

/// What `run --format json` prints, and `--trace` writes to run.json. Keys may be added; none changes its meaning while `format` is 1.
#[derive(Serialize, JsonSchema)]
struct Document<'run> {
    /// The version of this format: 1.
    format: u32,
    /// The scenario file, as it was named.
    scenario: &'run Path,
    /// What the scenario claims.
    title: &'run str,
    /// The seed.
    seed: Seed,
    /// The overrides, each as `--set` takes it.
    overrides: &'run [String],
    /// `held`, `violated`, `not-converged`, `not-deterministic`, or `cut-short` for a replay that was.
    verdict: Verdict,
    /// The exit code that goes with the verdict: 0, 1, 3, 4 or 5.
    exit_code: u8,
    /// The command that repeats the run.
    replay: String,
    /// 32 hexadecimal digits, equal for equal runs.
    #[schemars(with = "String")]
    digest: Digest,
    /// How long the run lasted in virtual time.
    virtual_seconds: f64,
    /// The acts that the run came to, in order: `act` and the `virtual_seconds` at which it began.
    acts: Vec<Began>,
    /// How long it took. The only key that differs between two equal runs.
    wall_seconds: f64,
    /// Task polls and timed events.
    events: u64,
    /// Messages delivered.
    messages: u64,
    /// Disk operations.
    disk_operations: u64,
    /// By kind: how many faults were `injected`, `downgraded` to keep within the budget, and `skipped` because they had no effect.
    faults: &'run BTreeMap<&'static str, FaultCount>,
    /// What the seed drew in a swarm, by dotted path or rule.
    drawn: BTreeMap<&'run str, &'run str>,
    /// The faults as planned: what `plan.toml` holds, too.
    plan: &'run FaultPlan,
    /// What became of each planned fault, in the order of `plan`: how often it `struck`, and how often of these `in_vain`.
    fates: &'run [Fate],
    /// The faults as they came, in order: `virtual_seconds` and `text`.
    storm: Vec<Fault<'run>>,
    /// What ended the run early, or null.
    violation: Option<ViolationDocument<'run>>,
    /// One entry for each check: `name`, `looked_at`, `violations`, in which `place` or way it was first
    /// broken (empty where the name says it all), and a few `examples`.
    checks: &'run [Check],
    /// One entry for each property that was evaluated: `name`, `kind` (`always`, `sometimes`, `reached`), `evaluated`, `hit`.
    properties: &'run [PropertyTally],
    /// One entry for each event that happened while faults of a kind were in force, or within 5 s of their end: `fault`, `event`,
    /// `hits`.
    coverage: &'run [Meeting],
    /// One entry for each cooperative point that was reached: its `site`, how often it was `reached`, whether it was `live` in this run,
    /// how often it `fired`. `wavetank sites` explains them.
    sites: &'run [SiteTally],
    /// Events the scenario expects that did not happen.
    not_reached: &'run [String],
    /// What did not come to rest in time.
    unmet: &'run [String],
    /// What the workloads counted: `clickstream sent`.
    counters: BTreeMap<&'run str, u64>,
    /// The numbers that tell how the run went: `name`, `unit`, which way is `better`, and `value`. See [`crate::checkers::service`] for
    /// throughput, latency, unavailability and stalls; `time to converge` is the time from the heal until servers and clients have come to
    /// rest, before everything is read back.
    figures: &'run [Figure],
    /// The last value of each time series: `name`, `host` (null for the whole tank), `value`.
    metrics: Vec<Metric<'run>>,
    /// The last notable lines of a run that did not hold.
    excerpt: &'run [String],
    /// Where a second run parted from this one, or null.
    difference: Option<DifferenceDocument<'run>>,
}

#[derive(Serialize, JsonSchema)]
struct Began {
    act: Act,
    virtual_seconds: f64,
}

#[derive(Serialize, JsonSchema)]
struct ViolationDocument<'run> {
    virtual_seconds: f64,
    host: Option<&'run str>,
    property: &'run str,
    detail: &'run str,
}

#[derive(Serialize, JsonSchema)]
struct Fault<'run> {
    virtual_seconds: f64,
    text: &'run str,
}

impl<'run> Fault<'run> {
    fn of(record: &'run Record) -> Self {
        Self { virtual_seconds: record.at.as_secs_f64(), text: &record.text }
    }
}

#[derive(Serialize, JsonSchema)]
struct Metric<'run> {
    name: &'static str,
    host: Option<&'run str>,
    value: f64,
}

#[derive(Serialize, JsonSchema)]
struct DifferenceDocument<'run> {
    /// The first event that differs, from 1.
    position: u64,
    first: Option<&'run str>,
    second: Option<&'run str>,
}

/// The JSON Schema of the document, with the meaning of each key.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document<'static>).to_value()
}

impl Report<'_> {
    /// The run as a JSON document, indented.
    pub fn json(&self) -> String {
        let run = self.run;
        let document = Document {
            format: 1,
            scenario: &run.scenario,
            title: &run.title,
            seed: run.seed,
            overrides: &run.overrides,
            verdict: run.verdict,
            exit_code: run.verdict.exit_code(),
            replay: self.replay_command(),
            digest: run.digest,
            virtual_seconds: run.virtual_time.as_secs_f64(),
            acts: run
                .acts
                .iter()
                .map(|(act, at)| Began { act: *act, virtual_seconds: at.as_secs_f64() })
                .collect(),
            wall_seconds: run.wall_time.as_secs_f64(),
            events: run.events,
            messages: run.messages,
            disk_operations: run.disk_operations,
            faults: &run.faults,
            drawn: run.drawn.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            plan: &run.plan,
            fates: &run.fates,
            storm: run.storm().map(Fault::of).collect(),
            violation: run.violation.as_ref().map(|violation| ViolationDocument {
                virtual_seconds: violation.at.as_secs_f64(),
                host: violation.host.as_deref(),
                property: &violation.property,
                detail: &violation.detail,
            }),
            checks: &run.checks,
            properties: &run.properties,
            coverage: &run.meetings,
            sites: &run.sites,
            not_reached: &run.not_reached,
            unmet: &run.unmet,
            counters: run.counters.iter().map(|(name, value)| (name.as_str(), *value)).collect(),
            figures: &run.figures,
            metrics: self.metrics(),
            excerpt: &run.excerpt,
            difference: self.difference.map(|difference| DifferenceDocument {
                position: difference.position,
                first: difference.first.as_deref(),
                second: difference.second.as_deref(),
            }),
        };
        serde_json::to_string_pretty(&document).expect("names are text and numbers are finite")
    }

    fn metrics(&self) -> Vec<Metric<'_>> {
        let mut last = BTreeMap::new();
        for sample in &self.run.samples {
            last.insert((sample.name, sample.host), sample.value);
        }
        let host_name =
            |host: crate::base::HostId| self.run.hosts.get(host.get() as usize).map(String::as_str);
        let metric = |((name, host), value): ((_, Option<_>), _)| Metric {
            name,
            host: host.and_then(host_name),
            value,
        };
        last.into_iter().map(metric).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample;

    #[test]
    fn the_document_keeps_its_keys() {
        let run = sample::violated();
        let text = Report { run: &run, plan_file: Some(Path::new("plan.toml")), difference: None }.json();
        insta::assert_snapshot!(text, @r#"
        {
          "format": 1,
          "scenario": "scenarios/my clicks.toml",
          "title": "Clicks survive",
          "seed": 7,
          "overrides": [
            "faults=[]"
          ],
          "verdict": "violated",
          "exit_code": 1,
          "replay": "wavetank replay 'scenarios/my clicks.toml' --seed 7 --set 'faults=[]' --plan plan.toml",
          "digest": "00000000000000000000000000000abc",
          "virtual_seconds": 61.5,
          "acts": [
            {
              "act": "build",
              "virtual_seconds": 0.0
            },
            {
              "act": "stir",
              "virtual_seconds": 2.0
            },
            {
              "act": "settle",
              "virtual_seconds": 61.0
            }
          ],
          "wall_seconds": 1.234,
          "events": 1234567,
          "messages": 89000,
          "disk_operations": 12,
          "faults": {
            "crash": {
              "injected": 3,
              "downgraded": 1,
              "skipped": 0
            }
          },
          "drawn": {
            "systems.broker.topics.clicks.segment": "1KiB"
          },
          "plan": {
            "faults": []
          },
          "fates": [],
          "storm": [
            {
              "virtual_seconds": 12.4,
              "text": "crash of broker-2, down 2s"
            }
          ],
          "violation": {
            "virtual_seconds": 12.5,
            "host": "broker-2",
            "property": "the high watermark stays within the log",
            "detail": "1043 beyond 1042"
          },
          "checks": [
            {
              "name": "no acknowledged record is lost",
              "looked_at": 60000,
              "violations": 1,
              "place": "",
              "examples": [
                "12.300000s clicks/3@1042: event 7 was acknowledged; nothing was read there"
              ]
            },
            {
              "name": "no record stands twice",
              "looked_at": 0,
              "violations": 0,
              "place": "",
              "examples": []
            }
          ],
          "properties": [
            {
              "name": "the high watermark stays within the log",
              "kind": "always",
              "evaluated": 5000,
              "hit": 4999
            },
            {
              "name": "a follower left the in-sync set",
              "kind": "sometimes",
              "evaluated": 90,
              "hit": 4
            },
            {
              "name": "never seen",
              "kind": "reached",
              "evaluated": 0,
              "hit": 0
            }
          ],
          "coverage": [
            {
              "fault": "crash",
              "event": "a follower left the in-sync set",
              "hits": 3
            }
          ],
          "sites": [
            {
              "site": "broker: before a proposal",
              "reached": 9,
              "live": true,
              "fired": 2
            },
            {
              "site": "broker: a batch goes early",
              "reached": 800,
              "live": false,
              "fired": 0
            }
          ],
          "not_reached": [
            "a leader was fenced"
          ],
          "unmet": [],
          "counters": {
            "clickstream sent": 60000
          },
          "figures": [
            {
              "name": "clickstream latency p99",
              "unit": "s",
              "better": "less",
              "value": 0.25
            },
            {
              "name": "time to converge",
              "unit": "s",
              "better": "less",
              "value": null
            }
          ],
          "metrics": [
            {
              "name": "bytes",
              "host": "broker-1",
              "value": 2.0
            }
          ],
          "excerpt": [
            "12.400000s broker-2 fault crash"
          ],
          "difference": null
        }
        "#);
    }
}
