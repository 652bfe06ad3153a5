//! Runs made by hand, for the tests of what is told about them.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::{Better, Figure, HostId, Seed, SimTime};
use crate::checkers::Check;
use crate::checkers::replication::{Copies, Course};
use crate::checkers::service::Second;
use crate::lab::{Act, Run, Verdict};
use crate::world::fault::{FaultCount, FaultPlan};
use crate::world::metrics::{Sample, SeriesKind};
use crate::world::property::{Meeting, PropertyKind, PropertyTally, Violation};
use crate::world::trace::What;
use crate::world::{Digest, Record, SiteTally};

/// A run in which a property and a check were broken.
pub(crate) fn violated() -> Run {
    let mut lost = Check::new("no acknowledged record is lost");
    (1..60_000).for_each(|_| lost.look(None, None));
    let at = SimTime::from_nanos(12_300_000_000);
    lost.look(at, Some("clicks/3@1042: event 7 was acknowledged; nothing was read there".to_owned()));
    let tally = |name, kind, evaluated, hit| PropertyTally { name, kind, evaluated, hit };
    Run {
        scenario: PathBuf::from("scenarios/my clicks.toml"),
        title: "Clicks survive".to_owned(),
        seed: Seed::new(7),
        overrides: vec!["faults=[]".to_owned()],
        verdict: Verdict::Violated,
        digest: Digest::new(0xabc),
        virtual_time: SimTime::from_nanos(61_500_000_000),
        acts: [(Act::Build, 0), (Act::Stir, 2_000), (Act::Settle, 61_000)]
            .map(|(act, millis)| (act, SimTime::ZERO + Duration::from_millis(millis)))
            .into(),
        wall_time: Duration::from_millis(1234),
        events: 1_234_567,
        messages: 89_000,
        disk_operations: 12,
        faults: [("crash", FaultCount { injected: 3, downgraded: 1, skipped: 0 })].into(),
        drawn: vec![("systems.broker.topics.clicks.segment".to_owned(), "1KiB".to_owned())],
        plan: FaultPlan::default(),
        fates: Vec::new(),
        checks: vec![lost, Check::new("no record stands twice")],
        meetings: vec![Meeting { fault: "crash", event: "a follower left the in-sync set", hits: 3 }],
        sites: [("before a proposal", 9, true, 2), ("a batch goes early", 800, false, 0)]
            .map(|(name, reached, live, fired)| SiteTally {
                site: format!("broker: {name}"),
                reached,
                live,
                fired,
            })
            .into(),
        properties: vec![
            tally("the high watermark stays within the log", PropertyKind::Always, 5000, 4999),
            tally("a follower left the in-sync set", PropertyKind::Sometimes, 90, 4),
            tally("never seen", PropertyKind::Reached, 0, 0),
        ],
        violation: Some(Violation {
            at: SimTime::from_nanos(12_500_000_000),
            host: Some("broker-2".to_owned()),
            property: "the high watermark stays within the log".to_owned(),
            detail: "1043 beyond 1042".to_owned(),
        }),
        excerpt: vec!["12.400000s broker-2 fault crash".to_owned()],
        unmet: Vec::new(),
        not_reached: vec!["a leader was fenced".to_owned()],
        counters: vec![("clickstream sent".to_owned(), 60_000)],
        figures: vec![
            Figure::new("clickstream latency p99", "s", Better::Less, 0.25),
            Figure::new("time to converge", "s", Better::Less, None),
        ],
        service: vec![(
            "clickstream".to_owned(),
            [(1.0, Some([0.01, 0.2, 0.25])), (2.0, None), (3.0, Some([0.02, 0.9, 1.5]))]
                .map(|(at, latency)| Second { at, served: 500, latency, unread: at as u64 })
                .into(),
        )],
        in_sync: vec![Course {
            id: "clicks/3".to_owned(),
            changes: [(2_000, 3, true), (12_400, 1, false), (12_900, 1, true), (14_900, 2, true)]
                .map(|(millis, in_sync, led)| {
                    let copies = Copies { in_sync, replicas: 3, min_in_sync: 2, led };
                    (SimTime::ZERO + Duration::from_millis(millis), copies)
                })
                .into(),
        }],
        records: Vec::new(),
        milestones: [
            (0, What::Process, "started, incarnation 1"),
            (2_000, What::Process, "ready"),
            (12_400, What::Fault, "crash of broker-2, down 2s"),
            (12_400, What::Process, "crashed"),
            (14_400, What::Process, "started, incarnation 2"),
        ]
        .map(|(millis, what, text)| Record {
            at: SimTime::ZERO + Duration::from_millis(millis),
            host: Some(HostId::new(0)),
            what,
            text: text.to_owned(),
            position: millis,
            message: None,
        })
        .into(),
        hashes: vec![1, 2, 3],
        samples: [1.0, 2.0]
            .map(|value| Sample {
                at: SimTime::ZERO,
                host: Some(HostId::new(0)),
                name: "bytes",
                kind: SeriesKind::Total,
                value,
            })
            .into(),
        hosts: vec!["broker-1".to_owned()],
    }
}
