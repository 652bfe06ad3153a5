//! What befell whom, and for how long: the lives of processes, the spans of faults, who led, when a promise was broken. Every picture
//! of a run is drawn from these.

use std::collections::BTreeSet;

use crate::base::SimTime;
use crate::checkers::Check;
use crate::lab::Run;
use crate::world::Record;
use crate::world::trace::What;

/// The events that tell who leads from then on.
const LEADERS: [&str; 2] = ["a controller was elected", "coordination established a leader"];

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    Down,
    NotReady,
    Up,
    Paused,
}

impl Life {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::NotReady => "up, not ready",
            Self::Up => "up",
            Self::Paused => "paused",
        }
    }
}

/// A stretch of virtual time, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Stretch {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Whether a record of the storm tells that a fault is over.
pub(super) fn is_end(text: &str) -> bool {
    text.ends_with(" ends") || text.contains(" healed")
}

pub(super) fn is_leader(record: &Record) -> bool {
    record.what == What::Property && LEADERS.contains(&record.text.as_str())
}

/// When promises were broken, in the order of time: the violation that ended the run, else the first that each check names.
pub(super) fn moments(run: &Run) -> Vec<f64> {
    match &run.violation {
        Some(violation) => vec![violation.at.as_secs_f64()],
        None => {
            let first = |check: &Check| check.examples.iter().find_map(|example| example.at);
            let moments: BTreeSet<SimTime> = run.checks.iter().filter_map(first).collect();
            moments.into_iter().map(|at| at.as_secs_f64()).collect()
        }
    }
}

/// What a host's process did, from its records, which tell only of changes.
pub(super) fn lives(records: &[&Record], end: f64) -> Vec<(Stretch, Life)> {
    let of_process = || records.iter().filter(|record| record.what == What::Process);
    // A process that never says that it is ready is so from its start.
    let tells = of_process().any(|record| record.text == "ready");
    let (mut runs, mut ready, mut paused) = (false, false, false);
    let mut lives: Vec<(Stretch, Life)> = Vec::new();
    let mut enter = |from: f64, life: Life| match lives.last_mut() {
        Some((_, last)) if *last == life => {}
        last => {
            if let Some((span, _)) = last {
                span.to = from;
            }
            lives.push((Stretch { from, to: end }, life));
        }
    };
    enter(0.0, Life::Down);
    for record in of_process() {
        match record.text.split([' ', ',', ':']).next().unwrap_or_default() {
            "started" => (runs, ready, paused) = (true, false, false),
            "ready" => ready = true,
            "not" => ready = false,
            "paused" => paused = true,
            "resumed" => paused = false,
            "crashed" | "stopped" | "exited" | "lost" => runs = false,
            _ => {}
        }
        let life = match (runs, paused, ready || !tells) {
            (false, ..) => Life::Down,
            (true, true, _) => Life::Paused,
            (true, false, true) => Life::Up,
            (true, false, false) => Life::NotReady,
        };
        enter(record.at.as_secs_f64(), life);
    }
    lives.retain(|(span, _)| span.from < span.to);
    lives
}

/// The faults without a host that come to an end: `partition a | b, 2s` until `partition ends`, the oldest first.
pub(super) fn spans(records: &[&Record], end: f64) -> Vec<(Stretch, String)> {
    let mut spans: Vec<(Stretch, String)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for record in records {
        let at = record.at.as_secs_f64();
        if let Some(kind) = record.text.strip_suffix(" ends") {
            let begins = |text: &str| match kind {
                "hold_back" => text.contains(" held back "),
                "refuse" => text.starts_with("connects "),
                _ => text.starts_with(kind),
            };
            let mine = open.iter().position(|index| begins(&spans[*index].1));
            if let Some(position) = mine {
                spans[open.remove(position)].0.to = at;
            }
        } else if !is_end(&record.text) {
            open.push(spans.len());
            spans.push((Stretch { from: at, to: end }, record.text.clone()));
        }
    }
    // What never says that it ends was a moment.
    let mut number = 0..;
    spans.retain(|_| number.next().is_some_and(|index| !open.contains(&index)));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::property;

    fn record(second: u64, what: What, text: &str) -> Record {
        let at = SimTime::from_nanos(second * 1_000_000_000);
        Record { at, host: None, what, text: text.to_owned(), position: 0, message: None }
    }

    fn check(told: &[(u64, &str)], expected: &[(u64, u64, Life)]) {
        let records: Vec<Record> = told.iter().map(|(at, text)| record(*at, What::Process, text)).collect();
        let records: Vec<&Record> = records.iter().collect();
        let stretch =
            |(from, to, life): &(u64, u64, Life)| (Stretch { from: *from as f64, to: *to as f64 }, *life);
        let expected: Vec<_> = expected.iter().map(stretch).collect();
        assert_eq!(lives(&records, 20.0), expected, "{told:?}");
    }

    #[test]
    fn a_process_is_up_from_its_readiness_until_something_befalls_it() {
        use Life::{Down, NotReady, Paused, Up};
        check(&[], &[(0, 20, Down)]);
        check(&[(0, "started, incarnation 1")], &[(0, 20, Up)]);
        check(
            &[
                (1, "started, incarnation 1"),
                (2, "ready"),
                (5, "paused"),
                (7, "resumed"),
                (9, "stopped"),
                (9, "lost power: 3"),
            ],
            &[(0, 1, Down), (1, 2, NotReady), (2, 5, Up), (5, 7, Paused), (7, 9, Up), (9, 20, Down)],
        );
        check(
            &[
                (0, "started, incarnation 1"),
                (1, "ready"),
                (3, "not ready"),
                (4, "exited: why"),
                (4, "crashed"),
                (6, "started, incarnation 2"),
            ],
            &[(0, 1, NotReady), (1, 3, Up), (3, 4, NotReady), (4, 6, Down), (6, 20, NotReady)],
        );
    }

    #[test]
    fn a_network_fault_lasts_until_it_says_so() {
        let records = [
            record(1, What::Fault, "partition a | b, 4s"),
            record(2, What::Fault, "slow a -> b, 1s"),
            record(3, What::Fault, "slow ends"),
            record(4, What::Fault, "disks are full"),
            record(5, What::Fault, "partition ends"),
            record(6, What::Fault, "Fetched held back a -> b by 1s, 1s"),
            record(7, What::Fault, "hold_back ends"),
            record(7, What::Fault, "connects a -> b refused, 1s"),
            record(8, What::Fault, "refuse ends"),
            record(9, What::Fault, "all is healed"),
        ];
        let records: Vec<&Record> = records.iter().collect();
        let told: Vec<_> =
            spans(&records, 10.0).into_iter().map(|(span, text)| (span.from, span.to, text)).collect();
        let expected = [
            (1.0, 5.0, "partition a | b, 4s"),
            (2.0, 3.0, "slow a -> b, 1s"),
            (6.0, 7.0, "Fetched held back a -> b by 1s, 1s"),
            (7.0, 8.0, "connects a -> b refused, 1s"),
        ];
        assert_eq!(told, expected.map(|(from, to, text)| (from, to, text.to_owned())));
    }

    #[test]
    fn the_events_that_make_leaders_are_declared_somewhere() {
        for name in LEADERS {
            assert!(property::EVENTS.contains(&name), "{name}");
        }
    }
}
