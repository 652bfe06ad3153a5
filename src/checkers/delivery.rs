//! Delivery: the events a workload sent through one topic, what its producers were told, and what its consumers read back.
//!
//! The promise decides what counts: at-most-once may lose, at-least-once may repeat and reorder, idempotent may do neither.
//! Every event is handed to a producer once; what the producer does to get it across is its own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::checkers::Check;

/// What producers promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// An event stands at most once; it may be missing.
    AtMostOnce,
    /// An acknowledged event stands at least once.
    AtLeastOnce,
    /// An acknowledged event stands exactly once, and a producer's events stand in the order in which they were sent.
    Idempotent,
}

/// What may get lost without fault of the brokers, by how they were configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Nothing that was acknowledged: `acks=all`, enough replicas, clean elections.
    Forbidden,
    /// What only a leader had: `acks` 0 or 1. What a consumer was given stays.
    OfAcknowledged,
    /// Even what consumers have read: unclean elections, or more disks lost than there are replicas to spare.
    OfRead,
}

/// An event as it is handed to its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its identity, unique in the history.
    pub event: u64,
    /// The life of a producer: one that restarts with a new producer id is another.
    pub producer: u64,
    /// The part of the topic it goes to.
    pub partition: i32,
    /// A hash of its payload.
    pub payload: u64,
}

/// What a producer was told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It stands in this part of the topic.
    Acked {
        /// The part.
        partition: i32,
        /// Where; `None` if the broker knows it to be a repetition but no longer where the first stands.
        offset: Option<i64>,
    },
    /// It did not happen and never will. A refusal after the record may have been appended is `Unknown`.
    Failed,
    /// Nobody knows (as always with `acks=0`).
    #[default]
    Unknown,
}

/// A record as a consumer was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The life of a consumer: one that starts from the beginning again is another.
    pub consumer: u64,
    /// The part of the topic.
    pub partition: i32,
    /// Where it stood.
    pub offset: i64,
    /// The event in it, or `None` if it could not be decoded.
    pub event: Option<u64>,
    /// A hash of its payload.
    pub payload: u64,
}

impl fmt::Display for Read {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Some(event) => write!(out, "event {event} at {}@{}", self.partition, self.offset),
            None => write!(out, "an undecodable record at {}@{}", self.partition, self.offset),
        }
    }
}

/// Everything producers and consumers saw, in the order in which they saw it.
#[derive(Clone, Debug)]
pub struct History {
    promise: Promise,
    loss: Loss,
    sent: Vec<Sent>,
    outcomes: BTreeMap<u64, Outcome>,
    reads: Vec<Read>,
    starts: BTreeMap<i32, i64>,
    unfinished: BTreeSet<i32>,
}

impl History {
    /// An empty history of producers that promise so much, over brokers that may lose so much.
    pub fn new(promise: Promise, loss: Loss) -> Self {
        Self {
            promise,
            loss,
            sent: Vec::new(),
            outcomes: BTreeMap::new(),
            reads: Vec::new(),
            starts: BTreeMap::new(),
            unfinished: BTreeSet::new(),
        }
    }

    /// A part could not be read to its end: what is missing there may still stand in it.
    pub fn unfinished(&mut self, partition: i32) {
        self.unfinished.insert(partition);
    }

    /// The log of a part starts here, not at 0.
    pub fn starts_at(&mut self, partition: i32, offset: i64) {
        self.starts.insert(partition, offset);
    }

    /// A producer is handed an event.
    pub fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
    }

    /// A producer was told how that went. Without this it counts as unknown.
    pub fn outcome(&mut self, event: u64, outcome: Outcome) {
        self.outcomes.insert(event, outcome);
    }

    /// A consumer was given a record.
    pub fn read(&mut self, read: Read) {
        self.reads.push(read);
    }

    /// How many events were sent, have an end, and how many records were read.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.sent.len(), self.outcomes.len(), self.reads.len())
    }
}

/// Whether the promise was kept. To be asked when every consumer has read to the end; where none could, see [`History::unfinished`].
pub fn check(history: &History) -> Vec<Check> {
    let view = View::new(history);
    let mut checks = Vec::new();
    if history.loss == Loss::Forbidden {
        checks.extend([view.nothing_is_lost(), view.acknowledgements_are_true()]);
    }
    // Where even what was read may vanish, a retry may rightly put an event at a second place.
    let lasting = history.loss < Loss::OfRead;
    if lasting && history.promise != Promise::AtLeastOnce {
        checks.push(view.nothing_stands_twice());
    }
    if lasting && history.promise == Promise::Idempotent {
        checks.push(view.producers_keep_their_order());
    }
    checks.extend([view.nothing_is_corrupted(), view.nothing_is_invented()]);
    if lasting {
        checks.extend([view.consumers_read_on(), view.consumers_agree()]);
    }
    checks
}

/// A history, indexed.
struct View<'a> {
    history: &'a History,
    /// Each event's sending and its place among all.
    sent: BTreeMap<u64, (usize, &'a Sent)>,
    /// What stands at each place, as first read.
    log: BTreeMap<(i32, i64), &'a Read>,
    /// Where each event stands.
    places: BTreeMap<u64, BTreeSet<(i32, i64)>>,
}

impl<'a> View<'a> {
    fn new(history: &'a History) -> Self {
        let mut sent = BTreeMap::new();
        for (place, one) in history.sent.iter().enumerate() {
            let again = sent.insert(one.event, (place, one));
            assert!(again.is_none(), "event {} was handed out once", one.event);
        }
        let (mut log, mut places) = (BTreeMap::new(), BTreeMap::<u64, BTreeSet<(i32, i64)>>::new());
        for read in &history.reads {
            log.entry((read.partition, read.offset)).or_insert(read);
            if let Some(event) = read.event {
                places.entry(event).or_default().insert((read.partition, read.offset));
            }
        }
        Self { history, sent, log, places }
    }

    fn acked(&self) -> impl Iterator<Item = (u64, i32, Option<i64>)> {
        self.history.outcomes.iter().filter_map(|(&event, outcome)| match *outcome {
            Outcome::Acked { partition, offset } => Some((event, partition, offset)),
            Outcome::Failed | Outcome::Unknown => None,
        })
    }

    fn nothing_is_lost(&self) -> Check {
        let mut check = Check::new("no acknowledged event is lost");
        for (event, partition, offset) in self.acked() {
            if self.history.unfinished.contains(&partition) {
                continue;
            }
            check.count();
            if !self.places.contains_key(&event) {
                let instead = offset.and_then(|offset| self.log.get(&(partition, offset)));
                check.fault(|| match (offset, instead) {
                    (Some(offset), Some(read)) => format!(
                        "event {event}, acknowledged at {partition}@{offset}, where now stands {read}"
                    ),
                    (Some(offset), None) => {
                        format!("event {event}, acknowledged at {partition}@{offset}, where nothing was read")
                    }
                    (None, _) => format!("event {event}, acknowledged in part {partition}"),
                });
            }
        }
        check
    }

    fn acknowledgements_are_true(&self) -> Check {
        let mut check = Check::new("an acknowledged event stands where its producer was told");
        for (event, partition, offset) in self.acked() {
            check.count();
            let Some(places) = self.places.get(&event) else { continue };
            let there = match offset {
                Some(offset) => places.contains(&(partition, offset)),
                None => places.iter().any(|(other, _)| *other == partition),
            };
            if !there {
                check.fault(|| {
                    let told = offset.map_or_else(|| "somewhere".to_owned(), |offset| offset.to_string());
                    format!("event {event}, acknowledged at {partition}@{told}, stands at {}", listed(places))
                });
            }
        }
        check
    }

    fn nothing_stands_twice(&self) -> Check {
        let mut check = Check::new("no event stands twice");
        for (event, places) in &self.places {
            check.count();
            if 1 < places.len() {
                check.fault(|| format!("event {event} stands at {}", listed(places)));
            }
        }
        check
    }

    fn producers_keep_their_order(&self) -> Check {
        let mut check = Check::new("a producer's events stand in the order in which it sent them");
        let mut latest: BTreeMap<(i32, u64), (usize, &Read)> = BTreeMap::new();
        for (&(partition, _), &read) in &self.log {
            let Some(&(place, sent)) = read.event.and_then(|event| self.sent.get(&event)) else { continue };
            check.count();
            let before = latest.entry((partition, sent.producer)).or_insert((place, read));
            if place < before.0 {
                let earlier = before.1;
                check.fault(|| format!("producer {}: {read}, sent before {earlier}", sent.producer));
            } else {
                *before = (place, read);
            }
        }
        check
    }

    fn nothing_is_corrupted(&self) -> Check {
        let mut check = Check::new("no event is corrupted");
        for read in &self.history.reads {
            check.count();
            match read.event.map(|event| self.sent.get(&event)) {
                None => check.fault(|| read.to_string()),
                Some(Some((_, sent))) if sent.payload != read.payload => {
                    check.fault(|| {
                        format!("{read}: payload {:#x}, sent as {:#x}", read.payload, sent.payload)
                    });
                }
                Some(_) => {}
            }
        }
        check
    }

    fn nothing_is_invented(&self) -> Check {
        let mut check = Check::new("no event is invented");
        for read in self.log.values() {
            let Some(event) = read.event else { continue };
            check.count();
            match (self.sent.get(&event), self.history.outcomes.get(&event)) {
                (None, _) => check.fault(|| format!("{read}, never sent")),
                (_, Some(Outcome::Failed)) => check.fault(|| format!("{read}, refused for good")),
                (Some((_, sent)), _) if sent.partition != read.partition => {
                    check.fault(|| format!("{read}, sent to part {}", sent.partition));
                }
                _ => {}
            }
        }
        check
    }

    fn consumers_read_on(&self) -> Check {
        let mut check = Check::new("a consumer reads from the start of a log without gap or step back");
        let mut next: BTreeMap<(u64, i32), i64> = BTreeMap::new();
        for read in &self.history.reads {
            check.count();
            let start = self.history.starts.get(&read.partition).copied().unwrap_or(0);
            let due = next.entry((read.consumer, read.partition)).or_insert(start);
            if read.offset != *due {
                check.fault(|| format!("consumer {}: {read}, due was @{due}", read.consumer));
            }
            *due = read.offset + 1;
        }
        check
    }

    fn consumers_agree(&self) -> Check {
        let mut check = Check::new("all readings of one offset agree");
        for read in &self.history.reads {
            check.count();
            let first = self.log[&(read.partition, read.offset)];
            if (first.event, first.payload) != (read.event, read.payload) {
                let (one, other) = (first.consumer, read.consumer);
                check.fault(|| format!("{first} for consumer {one}, {read} for consumer {other}"));
            }
        }
        check
    }
}

fn listed(places: &BTreeSet<(i32, i64)>) -> String {
    places.iter().map(|(partition, offset)| format!("{partition}@{offset}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: &str = "no acknowledged event is lost";
    const PLACE: &str = "an acknowledged event stands where its producer was told";
    const TWICE: &str = "no event stands twice";
    const ORDER: &str = "a producer's events stand in the order in which it sent them";
    const CORRUPT: &str = "no event is corrupted";
    const INVENTED: &str = "no event is invented";
    const GAP: &str = "a consumer reads from the start of a log without gap or step back";
    const AGREE: &str = "all readings of one offset agree";

    /// Events 0, 1, … go to part 0 from producer 7, each with its number as payload; `log` is what consumer 1 reads back.
    fn history(promise: Promise, loss: Loss, outcomes: &[Outcome], log: &[u64]) -> History {
        let mut history = History::new(promise, loss);
        for (event, outcome) in (0..).zip(outcomes) {
            history.sent(Sent { event, producer: 7, partition: 0, payload: event });
            history.outcome(event, *outcome);
        }
        for (offset, &event) in (0..).zip(log) {
            history.read(read(1, offset, event));
        }
        history
    }

    fn read(consumer: u64, offset: i64, event: u64) -> Read {
        Read { consumer, partition: 0, offset, event: Some(event), payload: event }
    }

    const fn acked(offset: i64) -> Outcome {
        Outcome::Acked { partition: 0, offset: Some(offset) }
    }

    fn broken(history: &History) -> Vec<&'static str> {
        check(history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    const BOTH: &[Outcome] = &[acked(0), acked(1)];

    /// Name, terms, what the producer was told, what was read back, and the checks that must fail.
    type Case = (&'static str, Promise, Loss, &'static [Outcome], &'static [u64], &'static [&'static str]);

    #[test]
    fn each_promise_is_judged_by_its_own_measure() {
        use Loss::{Forbidden, OfAcknowledged};
        use Outcome::{Failed, Unknown};
        use Promise::{AtLeastOnce, AtMostOnce, Idempotent};
        let cases: [Case; 16] = [
            ("all is well", Idempotent, Forbidden, BOTH, &[0, 1], &[]),
            (
                "an unknown one is there",
                Idempotent,
                Forbidden,
                const { &[acked(0), Unknown, acked(2)] },
                &[0, 1, 2],
                &[],
            ),
            (
                "an unknown one is missing",
                Idempotent,
                Forbidden,
                const { &[acked(0), Unknown, acked(1)] },
                &[0, 2],
                &[],
            ),
            ("a failed one is missing", Idempotent, Forbidden, const { &[acked(0), Failed] }, &[0], &[]),
            (
                "a failed one is there",
                Idempotent,
                Forbidden,
                const { &[acked(0), Failed] },
                &[0, 1],
                &[INVENTED],
            ),
            ("a lost one", Idempotent, Forbidden, BOTH, &[0], &[LOST]),
            ("a lost one, tolerated", AtLeastOnce, OfAcknowledged, BOTH, &[0], &[]),
            ("one elsewhere", Idempotent, Forbidden, const { &[acked(3)] }, &[0], &[PLACE]),
            (
                "an old repetition",
                Idempotent,
                Forbidden,
                &[Outcome::Acked { partition: 0, offset: None }],
                &[0],
                &[],
            ),
            ("a double", Idempotent, Forbidden, BOTH, &[0, 1, 1], &[TWICE]),
            (
                "a double of one that was not acknowledged",
                AtMostOnce,
                OfAcknowledged,
                &[Unknown],
                &[0, 0],
                &[TWICE],
            ),
            ("a legal double", AtLeastOnce, Forbidden, BOTH, &[0, 1, 0], &[]),
            ("a reorder", Idempotent, Forbidden, const { &[acked(1), acked(0)] }, &[1, 0], &[ORDER]),
            ("a legal reorder", AtLeastOnce, Forbidden, const { &[acked(1), acked(0)] }, &[1, 0], &[]),
            ("at most once", AtMostOnce, OfAcknowledged, &[Unknown, Unknown, Unknown], &[0, 2], &[]),
            ("from nowhere", AtMostOnce, OfAcknowledged, &[Unknown], &[0, 9], &[INVENTED]),
        ];
        for (name, promise, loss, outcomes, log, expected) in cases {
            assert_eq!(broken(&history(promise, loss, outcomes, log)), expected, "{name}");
        }
    }

    #[test]
    fn an_event_in_another_part_is_invented_and_not_where_it_was_told() {
        let mut history = history(Promise::Idempotent, Loss::Forbidden, &[acked(0)], &[]);
        history.read(Read { partition: 3, ..read(1, 0, 0) });
        assert_eq!(broken(&history), [PLACE, INVENTED]);
    }

    #[test]
    fn what_could_not_be_read_to_its_end_is_not_called_lost() {
        let mut history = history(Promise::Idempotent, Loss::Forbidden, BOTH, &[0]);
        history.unfinished(0);
        assert_eq!(broken(&history), [""; 0]);
    }

    #[test]
    fn corruption_is_found() {
        let mut spoilt = history(Promise::Idempotent, Loss::Forbidden, &[acked(0)], &[]);
        spoilt.read(Read { payload: 99, ..read(1, 0, 0) });
        assert_eq!(broken(&spoilt), [CORRUPT]);
        let mut undecodable = history(Promise::Idempotent, Loss::Forbidden, &[], &[]);
        undecodable.read(Read { event: None, ..read(1, 0, 0) });
        assert_eq!(broken(&undecodable), [CORRUPT]);
    }

    #[test]
    fn gaps_and_steps_back_are_found() {
        let outcomes = [acked(0), acked(1), acked(2)];
        for (name, offsets, expected) in [
            ("straight", vec![0, 1, 2], vec![]),
            ("a gap", vec![0, 2], vec![LOST, GAP]),
            ("a step back", vec![0, 1, 1, 2], vec![GAP]),
            ("a late start", vec![1, 2], vec![LOST, GAP]),
        ] {
            let mut history = history(Promise::Idempotent, Loss::Forbidden, &outcomes, &[]);
            for offset in offsets {
                history.read(read(1, offset, offset as u64));
            }
            assert_eq!(broken(&history), expected, "{name}");
        }
        let mut trimmed = history(Promise::AtLeastOnce, Loss::OfAcknowledged, &outcomes, &[]);
        trimmed.starts_at(0, 1);
        trimmed.read(read(1, 1, 1));
        assert_eq!(broken(&trimmed), [""; 0]);
    }

    #[test]
    fn consumers_that_disagree_are_found() {
        let mut history = history(Promise::AtLeastOnce, Loss::OfAcknowledged, &[acked(0), acked(0)], &[0]);
        history.read(read(2, 0, 0));
        history.read(read(3, 0, 1));
        assert_eq!(broken(&history), [AGREE]);
        history.loss = Loss::OfRead;
        assert_eq!(broken(&history), [""; 0]);
    }

    #[test]
    fn sixty_thousand_events_are_judged() {
        let outcomes: Vec<Outcome> = (0..60_000).map(acked).collect();
        let log: Vec<u64> = (0..60_000).collect();
        let checks = check(&history(Promise::Idempotent, Loss::Forbidden, &outcomes, &log));
        assert!(checks.iter().all(|check| check.held() && check.looked_at == 60_000), "{checks:#?}");
    }
}
