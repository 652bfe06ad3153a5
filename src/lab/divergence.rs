//! Where two runs part in what they mean, whatever their times and numbers.
//!
//! The course of a run is made of steps: on each host faults, what its process did, events that the code names, and telling log lines,
//! all without the numbers in their texts; and which types of messages one kind of host sends to another. What happened in one run, and
//! not so many times in the other, is a divergence. Neither order is compared, nor how often a thing happens that is usual in both, nor
//! how often a message is sent or which host of a kind it reaches: these differ between any two runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::kind_of;
use crate::base::{HostId, SimTime};
use crate::lab::Run;
use crate::world::Record;
use crate::world::trace::{Level, What};

/// From how many times on in both runs it tells nothing that one has a thing more often.
const USUAL: u64 = 10;

/// Which of two runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The first.
    This,
    /// The second.
    Other,
}

/// What happened in one of two runs, and not in the other, or not so often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// In which of them.
    pub side: Side,
    /// When.
    pub at: SimTime,
    /// Where it stands in that run's records.
    pub record: usize,
    /// How often it happened in the other run, all in all.
    pub elsewhere: u64,
}

/// What an event is compared by: its host (of a message, the kind of host), what it is, and its text without what differs between any
/// two runs.
pub type Step<'run> = (Option<&'run str>, &'static str, String);

/// A run whose events are compared.
#[derive(Clone, Debug)]
pub struct Course<'run> {
    /// The run.
    pub run: &'run Run,
    names: BTreeSet<&'run str>,
}

impl<'run> Course<'run> {
    /// The course of a run that was asked to keep everything.
    pub fn of(run: &'run Run) -> Self {
        Self { run, names: run.hosts.iter().map(String::as_str).collect() }
    }

    /// The name of the host that an event befell.
    pub fn host(&self, record: &Record) -> Option<&'run str> {
        self.name(record.host?)
    }

    fn name(&self, host: HostId) -> Option<&'run str> {
        self.run.hosts.get(host.get() as usize).map(String::as_str)
    }

    /// What an event is compared by; none if it is not compared: connections, disk operations, and details of the log.
    pub fn step(&self, record: &Record) -> Option<Step<'run>> {
        let mut host = self.host(record);
        let text = match (record.what, &record.message) {
            (What::Connection | What::Disk | What::Log(Level::Debug), _) => return None,
            (_, Some(message)) => {
                host = host.map(kind_of);
                format!("{} from {}", message.kind, self.name(message.from).map_or("?", kind_of))
            }
            (What::Property, _) => {
                // What was violated is the same, whatever the values.
                let broken = record.text.strip_prefix("VIOLATED: ");
                let name = broken.and_then(|rest| rest.split(": ").next());
                name.map_or_else(|| record.text.clone(), |name| format!("VIOLATED: {name}"))
            }
            _ => self.without_numbers(&record.text),
        };
        Some((host, record.what.name(), text))
    }

    /// The words of a text, with `#` for each that holds a number, unless it is the name of a host.
    fn without_numbers(&self, text: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            let tells = self.names.contains(bare) || !word.contains(|c: char| c.is_ascii_digit());
            if tells { word.to_owned() } else { "#".to_owned() }
        };
        text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Where each step stands in the records.
    fn steps(&self) -> BTreeMap<Step<'run>, Vec<usize>> {
        let mut steps: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, record) in self.run.records.iter().enumerate() {
            if let Some(step) = self.step(record) {
                steps.entry(step).or_default().push(index);
            }
        }
        steps
    }
}

/// What happened in only one of two runs, in the order of time, each thing once. Nothing is said of the time after the shorter has ended.
pub fn divergences(this: &Course<'_>, other: &Course<'_>) -> Vec<Divergence> {
    let end = this.run.virtual_time.min(other.run.virtual_time);
    let (mine, theirs) = (this.steps(), other.steps());
    let mut found = Vec::new();
    for (side, course, steps, others) in
        [(Side::This, this, &mine, &theirs), (Side::Other, other, &theirs, &mine)]
    {
        for (step, places) in steps {
            let elsewhere = others.get(step).map_or(0, Vec::len);
            let (_, what, _) = step;
            let usual = if *what == What::Delivered.name() { 1 } else { USUAL };
            if usual <= elsewhere as u64 {
                continue;
            }
            let Some(record) = places.get(elsewhere) else { continue };
            let at = course.run.records[*record].at;
            if at <= end {
                found.push(Divergence { side, at, record: *record, elsewhere: elsewhere as u64 });
            }
        }
    }
    found.sort_by_key(|divergence| (divergence.at, divergence.side, divergence.record));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample;
    use crate::world::trace::Message;

    fn run(events: &[(u64, What, &str)]) -> Run {
        let record = |(at, what, text): &(u64, What, &str)| {
            let message = Message {
                kind: "Fetch",
                from: HostId::new(1),
                sent: SimTime::ZERO,
                bytes: *at,
                connection: *at,
            };
            Record {
                at: SimTime::from_nanos(*at),
                host: Some(HostId::new(0)),
                what: *what,
                text: (*text).to_owned(),
                position: *at,
                message: Some(message).filter(|_| *what == What::Delivered),
            }
        };
        Run {
            records: events.iter().map(record).collect(),
            hosts: vec!["broker-1".to_owned(), "broker-2".to_owned()],
            virtual_time: SimTime::from_nanos(100),
            ..sample::violated()
        }
    }

    fn check(this: &[(u64, What, &str)], other: &[(u64, What, &str)], expected: &[(Side, u64)]) {
        let (this, other) = (run(this), run(other));
        let found = divergences(&Course::of(&this), &Course::of(&other));
        let found: Vec<(Side, u64)> =
            found.iter().map(|divergence| (divergence.side, divergence.at.as_nanos())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_happens_in_one_run_alone_is_a_divergence_and_times_numbers_and_order_are_none() {
        use What::{Delivered, Disk, Fault, Process, Property};
        check(
            &[(1, Fault, "crash of broker-2, down 2.3s"), (2, Property, "a"), (9, Process, "lost power: 3")],
            &[(3, Property, "a"), (4, Process, "lost power: 17"), (7, Fault, "crash of broker-2, down 4s")],
            &[],
        );
        check(
            &[(1, Fault, "crash of broker-1, down 1s"), (5, Property, "a")],
            &[(2, Fault, "crash of broker-2, down 1s")],
            &[(Side::This, 1), (Side::Other, 2), (Side::This, 5)],
        );
        // How often a message comes tells nothing; the second election does.
        check(
            &[(1, Delivered, ""), (2, Delivered, ""), (3, Property, "elected"), (4, Property, "elected")],
            &[(1, Delivered, ""), (2, Property, "elected"), (3, Disk, "sync")],
            &[(Side::This, 4)],
        );
        check(&[(1, Delivered, "")], &[], &[(Side::This, 1)]);
        check(
            &[(1, Property, "VIOLATED: a is b: 1 and 2")],
            &[(1, Property, "VIOLATED: a is b: 3 and 4"), (101, Property, "after the other has ended")],
            &[],
        );
        let often: Vec<_> = (1..=20).map(|at| (at, Property, "usual")).collect();
        check(&often, &often[..12], &[]);
        check(&often, &often[..3], &[(Side::This, 4)]);
    }
}
