//! Delivery: the events a workload sent through one topic, what its producers were told, and what its consumers read back.
//!
//! The promise decides what counts: at-most-once may lose, at-least-once may repeat and reorder, idempotent may do neither.
//! Every event is handed to a producer once; what the producer does to get it across is its own affair.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::SimTime;
use crate::checkers::Check;
use crate::checkers::service::Request;

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
    /// Its identity, unique in the history. Events are numbered from 0, with few gaps.
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
    /// Which of the topics that ever had this name; a later one has a larger number.
    pub topic: u64,
    /// The part of the topic.
    pub partition: i32,
    /// Where it stood.
    pub offset: i64,
    /// The epoch of the leader that gave it.
    pub leader_epoch: i32,
    /// The event in it, or `None` if it could not be decoded.
    pub event: Option<u64>,
    /// A hash of its payload.
    pub payload: u64,
}

/// A client was told where a part of the topic ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldEnd {
    /// The part.
    pub partition: i32,
    /// When it asked.
    pub asked: SimTime,
    /// The epoch of the leader that said so.
    pub leader_epoch: i32,
    /// The offset that the next committed record will have.
    pub end: i64,
}

/// An event and what became of it.
#[derive(Clone, Copy, Debug)]
struct Event {
    sent: Sent,
    /// Its place among all.
    place: u32,
    outcome: Outcome,
    sent_at: SimTime,
    /// When its outcome was told, if it was.
    told_at: Option<SimTime>,
}

impl Event {
    /// When it ended, as far as is known, or else began.
    fn at(&self) -> SimTime {
        self.told_at.unwrap_or(self.sent_at)
    }
}

/// Everything producers and consumers saw, in the order in which they saw it.
#[derive(Clone, Debug)]
pub struct History {
    topic: String,
    promise: Promise,
    loss: Loss,
    /// By number.
    events: Vec<Option<Event>>,
    /// How many events were sent, and how many have an end.
    counts: (usize, usize),
    reads: Vec<(SimTime, Read)>,
    ends: Vec<ToldEnd>,
    starts: BTreeMap<i32, i64>,
    unfinished: BTreeSet<i32>,
    /// Since when the topic that there is now is the only one.
    recreated: SimTime,
}

impl History {
    /// An empty history of producers that promise so much, over brokers that may lose so much.
    pub fn new(topic: &str, promise: Promise, loss: Loss) -> Self {
        Self {
            topic: topic.to_owned(),
            promise,
            loss,
            events: Vec::new(),
            counts: (0, 0),
            reads: Vec::new(),
            ends: Vec::new(),
            starts: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            recreated: SimTime::ZERO,
        }
    }

    /// The topic was deleted and created anew: what was sent before every broker knew, at this time, may be gone.
    pub fn recreated(&mut self, at: SimTime) {
        self.recreated = at;
    }

    /// A part could not be read to its end: what is missing there may still stand in it.
    pub fn unfinished(&mut self, partition: i32) {
        self.unfinished.insert(partition);
    }

    /// The log of a part starts here by now: what stood before may be gone.
    pub fn starts_at(&mut self, partition: i32, offset: i64) {
        let start = self.starts.entry(partition).or_default();
        *start = offset.max(*start);
    }

    /// A producer is handed an event.
    pub fn sent(&mut self, at: SimTime, sent: Sent) {
        let number = usize::try_from(sent.event).expect("events are numbered from 0");
        if self.events.len() <= number {
            self.events.resize(number + 1, None);
        }
        let place = self.counts.0 as u32;
        let event = Event { sent, place, outcome: Outcome::Unknown, sent_at: at, told_at: None };
        let again = self.events[number].replace(event);
        assert!(again.is_none(), "event {number} was handed out once");
        self.counts.0 += 1;
    }

    /// A producer was told how that went. Without this it counts as unknown.
    pub fn outcome(&mut self, at: SimTime, event: u64, outcome: Outcome) {
        let event = self.events.get_mut(event as usize).and_then(Option::as_mut);
        let event = event.expect("an event is sent before it ends");
        (event.told_at, event.outcome) = (Some(at), outcome);
        self.counts.1 += 1;
    }

    /// A consumer was given a record.
    pub fn read(&mut self, at: SimTime, read: Read) {
        self.reads.push((at, read));
    }

    /// A client was told where a part ends.
    pub fn told_end(&mut self, told: ToldEnd) {
        self.ends.push(told);
    }

    /// How many events were sent, have an end, and how many records were read.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.counts.0, self.counts.1, self.reads.len())
    }

    /// What producers experienced: served is what was acknowledged.
    pub fn requests(&self) -> Vec<Request> {
        let served = |event: &Event| matches!(event.outcome, Outcome::Acked { .. });
        let request =
            |event: &Event| Request { asked: event.sent_at, ended: event.told_at, served: served(event) };
        self.events.iter().flatten().map(request).collect()
    }

    /// What consumers owe: each acknowledged event, until it is first read.
    pub fn unread(&self) -> Vec<Request> {
        let mut first: BTreeMap<u64, SimTime> = BTreeMap::new();
        for (at, read) in &self.reads {
            if let Some(event) = read.event {
                first.entry(event).or_insert(*at);
            }
        }
        let acked =
            self.events.iter().flatten().filter(|event| matches!(event.outcome, Outcome::Acked { .. }));
        let owed = |event: &Event| {
            let asked = event.at();
            // A reader may have been faster than the acknowledgement.
            let ended = first.get(&event.sent.event).map(|at| asked.max(*at));
            Request { asked, ended, served: ended.is_some() }
        };
        acked.map(owed).collect()
    }

    fn event(&self, number: u64) -> Option<&Event> {
        self.events.get(usize::try_from(number).ok()?)?.as_ref()
    }

    fn start(&self, partition: i32) -> i64 {
        self.starts.get(&partition).copied().unwrap_or(0)
    }

    /// A place, for people.
    fn show_place(&self, Place { partition, offset, .. }: Place) -> String {
        format!("{}/{partition}@{offset}", self.topic)
    }

    /// A record that was read, for people.
    fn show(&self, read: &Read) -> String {
        let place = self.show_place(place(read));
        match read.event {
            Some(event) => format!("{place}: event {event}"),
            None => format!("{place}: an undecodable record"),
        }
    }
}

/// What a history shows.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Whether the promise was kept.
    pub checks: Vec<Check>,
    /// How many acknowledged events are gone, whether they may or not.
    pub lost: u64,
    /// How many events stand more than once, whether they may or not.
    pub duplicated: u64,
    /// How many events that were sent stand nowhere, whatever their producers were told.
    pub missing: u64,
}

/// To be asked when every consumer has read to the end; where none could, see [`History::unfinished`].
pub fn judge(history: &History) -> Judgement {
    let view = View::new(history);
    let mut checks = Vec::new();
    let (nothing_is_lost, nothing_stands_twice) = (view.nothing_is_lost(), view.nothing_stands_twice());
    let (lost, duplicated) = (nothing_is_lost.violations, nothing_stands_twice.violations);
    if history.loss == Loss::Forbidden {
        checks.extend([nothing_is_lost, view.acknowledgements_are_true()]);
    }
    // Where even what was read may vanish, a retry may rightly put an event at a second place.
    let lasting = history.loss < Loss::OfRead;
    if lasting && history.promise != Promise::AtLeastOnce {
        checks.push(nothing_stands_twice);
    }
    if lasting && history.promise == Promise::Idempotent {
        checks.push(view.producers_keep_their_order());
    }
    checks.extend([view.nothing_is_corrupted(), view.nothing_is_invented()]);
    if lasting {
        checks.extend([view.consumers_read_on(), view.consumers_agree(), view.ends_cover_what_was_read()]);
    }
    let sent = history.events.iter().flatten();
    let missing = sent.filter(|event| view.places(event.sent.event).is_empty()).count() as u64;
    Judgement { checks, lost, duplicated, missing }
}

/// A part of the topic, and an offset in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    /// Which of the topics that ever had this name.
    topic: u64,
    partition: i32,
    offset: i64,
}

fn place(read: &Read) -> Place {
    Place { topic: read.topic, partition: read.partition, offset: read.offset }
}

/// A history, indexed by sorted lists: few are the questions, and many the records.
struct View<'a> {
    history: &'a History,
    /// All readings in order of their places, those of one place in the order in which they were made.
    readings: Vec<&'a (SimTime, Read)>,
    /// Where each event stands, in order of the events.
    places: Vec<(u64, Place)>,
    /// The latest of the topics that had this name.
    topic: u64,
}

impl<'a> View<'a> {
    fn new(history: &'a History) -> Self {
        let mut readings: Vec<&(SimTime, Read)> = history.reads.iter().collect();
        readings.sort_by_key(|(_, read)| place(read));
        let mut places: Vec<(u64, Place)> =
            readings.iter().filter_map(|(_, read)| Some((read.event?, place(read)))).collect();
        places.sort_unstable();
        places.dedup();
        let topic = history.reads.iter().map(|(_, read)| read.topic).max().unwrap_or_default();
        Self { history, readings, places, topic }
    }

    /// What stands at each place, as first read.
    fn log(&self) -> impl Iterator<Item = &'a (SimTime, Read)> {
        self.readings.chunk_by(|(_, one), (_, next)| place(one) == place(next)).map(|same| same[0])
    }

    /// What stands at a place, as first read.
    fn at(&self, wanted: Place) -> Option<&'a Read> {
        let first = self.readings.partition_point(|(_, read)| place(read) < wanted);
        self.readings.get(first).map(|(_, read)| read).filter(|read| place(read) == wanted)
    }

    /// Where an event stands.
    fn places(&self, event: u64) -> &[(u64, Place)] {
        let first = self.places.partition_point(|(other, _)| *other < event);
        let count = self.places[first..].partition_point(|(other, _)| *other == event);
        &self.places[first..first + count]
    }

    fn listed(&self, places: &[(u64, Place)]) -> String {
        places.iter().map(|(_, place)| self.history.show_place(*place)).collect::<Vec<_>>().join(", ")
    }

    /// Each acknowledged event of which nothing may be gone: in which part, and where.
    fn acked(&self) -> impl Iterator<Item = (&'a Event, i32, Option<i64>)> {
        let history = self.history;
        history.events.iter().flatten().filter_map(|event| match event.outcome {
            Outcome::Acked { partition, offset } => {
                let start = history.start(partition);
                // Of an unknown place one cannot tell whether it is before the start.
                let kept = start <= offset.unwrap_or(0) && history.recreated <= event.sent_at;
                kept.then_some((event, partition, offset))
            }
            Outcome::Failed | Outcome::Unknown => None,
        })
    }

    fn nothing_is_lost(&self) -> Check {
        let mut check = Check::new("no acknowledged event is lost");
        for (event, partition, offset) in self.acked() {
            if self.history.unfinished.contains(&partition) {
                continue;
            }
            let number = event.sent.event;
            check.expect(!self.places(number).is_empty(), event.at(), || {
                let Some(offset) = offset else {
                    return format!("event {number}, acknowledged in part {partition}, was not read there");
                };
                let told = Place { topic: self.topic, partition, offset };
                let found = self.at(told);
                let told = self.history.show_place(told);
                match found.map(|read| read.event) {
                    Some(Some(other)) => {
                        format!("{told}: event {number} was acknowledged; there is event {other}")
                    }
                    Some(None) => format!("{told}: event {number} was acknowledged; there is nonsense"),
                    None => format!("{told}: event {number} was acknowledged; nothing was read there"),
                }
            });
        }
        check
    }

    fn acknowledgements_are_true(&self) -> Check {
        let mut check = Check::new("an acknowledged event stands where its producer was told");
        for (event, partition, offset) in self.acked() {
            let number = event.sent.event;
            let places = self.places(number);
            if places.is_empty() {
                continue;
            }
            let there = |(_, at): &(u64, Place)| {
                let same = at.topic == self.topic && at.partition == partition;
                same && offset.is_none_or(|offset| at.offset == offset)
            };
            check.expect(places.iter().any(there), event.at(), || {
                let told = offset.map_or_else(
                    || format!("{}/{partition}", self.history.topic),
                    |offset| self.history.show_place(Place { topic: self.topic, partition, offset }),
                );
                format!("{told}: event {number} was acknowledged; it stands at {}", self.listed(places))
            });
        }
        check
    }

    fn nothing_stands_twice(&self) -> Check {
        let mut check = Check::new("no event stands twice");
        // In a topic that was created anew an event may be put that stood in its predecessor.
        let same = |(one, first): &(u64, Place), (next, second): &(u64, Place)| {
            one == next && first.topic == second.topic
        };
        for places in self.places.chunk_by(same) {
            let number = places[0].0;
            let at = self.history.event(number).map(Event::at);
            check.expect(places.len() == 1, at, || {
                format!("event {number} stands at {}", self.listed(places))
            });
        }
        check
    }

    fn producers_keep_their_order(&self) -> Check {
        let mut check = Check::new("a producer's events stand in the order in which it sent them");
        let mut latest: BTreeMap<(u64, i32, u64), (u32, &Read)> = BTreeMap::new();
        for (at, read) in self.log() {
            let Some(event) = read.event.and_then(|event| self.history.event(event)) else { continue };
            let producer = event.sent.producer;
            let before = latest.entry((read.topic, read.partition, producer)).or_insert((event.place, read));
            let earlier = before.1;
            check.expect(before.0 <= event.place, *at, || {
                let (read, earlier) = (self.history.show(read), self.history.show(earlier));
                format!("{read}, sent by producer {producer} before {earlier}")
            });
            if before.0 < event.place {
                *before = (event.place, read);
            }
        }
        check
    }

    fn nothing_is_corrupted(&self) -> Check {
        let mut check = Check::new("no event is corrupted");
        for (at, read) in &self.history.reads {
            let sent = read.event.map(|event| self.history.event(event).map(|event| event.sent.payload));
            let fault = match sent {
                None => Some(self.history.show(read)),
                Some(Some(sent)) if sent != read.payload => Some(format!(
                    "{}: payload {:#x}, sent as {sent:#x}",
                    self.history.show(read),
                    read.payload
                )),
                Some(_) => None,
            };
            check.look(*at, fault);
        }
        check
    }

    fn nothing_is_invented(&self) -> Check {
        let mut check = Check::new("no event is invented");
        for (at, read) in self.log() {
            let Some(event) = read.event else { continue };
            let fault = match self.history.event(event) {
                None => Some("never sent"),
                Some(event) if event.outcome == Outcome::Failed => Some("refused for good"),
                Some(event) if event.sent.partition != read.partition => Some("sent to another part"),
                Some(_) => None,
            };
            check.look_at(*at, fault.map(|fault| (fault, format!("{}, {fault}", self.history.show(read)))));
        }
        check
    }

    fn consumers_read_on(&self) -> Check {
        let mut check = Check::new("a consumer reads from the start of a log without gap or step back");
        let mut next: BTreeMap<(u64, u64, i32), i64> = BTreeMap::new();
        for (at, read) in &self.history.reads {
            let due = next.entry((read.consumer, read.topic, read.partition)).or_insert(0);
            // It may have been passed by: what it did not get was removed.
            let passed_by = *due < read.offset && read.offset <= self.history.start(read.partition);
            check.expect(read.offset == *due || passed_by, *at, || {
                format!("{} for consumer {}, due was @{due}", self.history.show(read), read.consumer)
            });
            *due = read.offset + 1;
        }
        check
    }

    /// What is committed stays so when the leader changes: nobody who was given a record by a leader is told by it, or by a later one,
    /// that the log ends before that (KIP-207). A leader that does not know yet that it was replaced may be behind.
    fn ends_cover_what_was_read(&self) -> Check {
        let mut check = Check::new("no leader tells an end before a record that was read");
        // Of each part what was told, and what was read since what was told before: up to where, from which leader.
        type Told<'a> = Vec<(&'a ToldEnd, BTreeMap<i32, i64>)>;
        let mut told: BTreeMap<i32, Told> = BTreeMap::new();
        // Offsets of a topic say nothing of its successor.
        for end in self.history.ends.iter().filter(|end| self.history.recreated < end.asked) {
            told.entry(end.partition).or_default().push((end, BTreeMap::new()));
        }
        for ends in told.values_mut() {
            ends.sort_by_key(|(end, _)| end.asked);
        }
        for (at, read) in self.history.reads.iter().filter(|(_, read)| read.topic == self.topic) {
            let Some(ends) = told.get_mut(&read.partition) else { continue };
            let next = ends.partition_point(|(end, _)| end.asked <= *at);
            if let Some((_, known)) = ends.get_mut(next) {
                let upto = known.entry(read.leader_epoch).or_default();
                *upto = (read.offset + 1).max(*upto);
            }
        }
        for (partition, ends) in told {
            let mut known: BTreeMap<i32, i64> = BTreeMap::new();
            for (end, fresh) in ends {
                for (epoch, upto) in fresh {
                    let before = known.entry(epoch).or_default();
                    *before = upto.max(*before);
                }
                let known = known.range(..=end.leader_epoch).map(|(_, upto)| *upto).max().unwrap_or(0);
                check.expect(known <= end.end, end.asked, || {
                    let last =
                        self.history.show_place(Place { topic: self.topic, partition, offset: known - 1 });
                    format!("epoch {}: ends at @{}, while {last} was read", end.leader_epoch, end.end)
                });
            }
        }
        check
    }

    fn consumers_agree(&self) -> Check {
        let mut check = Check::new("all readings of one offset agree");
        for same in self.readings.chunk_by(|(_, one), (_, next)| place(one) == place(next)) {
            let (_, first) = same[0];
            for (at, read) in same {
                check.expect((first.event, first.payload) == (read.event, read.payload), *at, || {
                    let (one, other) = (first.consumer, read.consumer);
                    let was = first.event.map_or("nonsense".to_owned(), |event| format!("event {event}"));
                    format!("{} for consumer {other}, {was} for consumer {one}", self.history.show(read))
                });
            }
        }
        check
    }
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
    const END: &str = "no leader tells an end before a record that was read";

    /// Events 0, 1, … go to part 0 from producer 7, each with its number as payload; `log` is what consumer 1 reads back.
    fn history(promise: Promise, loss: Loss, outcomes: &[Outcome], log: &[u64]) -> History {
        let mut history = History::new("t", promise, loss);
        for (event, outcome) in (0..).zip(outcomes) {
            history.sent(SimTime::ZERO, Sent { event, producer: 7, partition: 0, payload: event });
            history.outcome(SimTime::from_nanos(event), event, *outcome);
        }
        for (offset, &event) in (0..).zip(log) {
            history.read(SimTime::from_nanos(99_000_000), read(1, offset, event));
        }
        history
    }

    fn read(consumer: u64, offset: i64, event: u64) -> Read {
        Read { consumer, topic: 1, partition: 0, offset, leader_epoch: 4, event: Some(event), payload: event }
    }

    const fn acked(offset: i64) -> Outcome {
        Outcome::Acked { partition: 0, offset: Some(offset) }
    }

    fn broken(history: &History) -> Vec<&'static str> {
        let checks = judge(history).checks;
        assert!(checks.iter().all(|check| check.violations <= check.looked_at), "{checks:#?}");
        checks.into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    const BOTH: &[Outcome] = &[acked(0), acked(1)];

    #[test]
    fn an_end_before_what_was_read_is_seen() {
        let told = |loss, asked, leader_epoch, end| {
            let mut history = history(Promise::Idempotent, loss, BOTH, &[0, 1]);
            let asked = SimTime::from_nanos(asked);
            history.told_end(ToldEnd { partition: 0, asked, leader_epoch, end });
            broken(&history)
        };
        // Event 1 is read at 99 ms, from the leader of epoch 4.
        assert_eq!(told(Loss::Forbidden, 99_000_001, 4, 2), Vec::<&str>::new());
        assert_eq!(
            told(Loss::Forbidden, 99_000_000, 4, 1),
            Vec::<&str>::new(),
            "it may have been asked before"
        );
        assert_eq!(
            told(Loss::Forbidden, 99_000_001, 3, 1),
            Vec::<&str>::new(),
            "it was replaced, and does not know"
        );
        assert_eq!(told(Loss::Forbidden, 99_000_001, 4, 1), [END]);
        assert_eq!(told(Loss::OfAcknowledged, 99_000_001, 5, 1), [END]);
        assert_eq!(told(Loss::OfRead, 99_000_001, 5, 1), Vec::<&str>::new());
    }

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
        history.read(SimTime::ZERO, Read { partition: 3, ..read(1, 0, 0) });
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
        spoilt.read(SimTime::ZERO, Read { payload: 99, ..read(1, 0, 0) });
        assert_eq!(broken(&spoilt), [CORRUPT]);
        let mut undecodable = history(Promise::Idempotent, Loss::Forbidden, &[], &[]);
        undecodable.read(SimTime::ZERO, Read { event: None, ..read(1, 0, 0) });
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
                history.read(SimTime::ZERO, read(1, offset, offset as u64));
            }
            assert_eq!(broken(&history), expected, "{name}");
        }
    }

    #[test]
    fn what_stood_before_the_start_of_the_log_may_be_gone_and_nothing_else() {
        let outcomes = [acked(0), acked(1), Outcome::Acked { partition: 0, offset: None }, acked(3)];
        for (name, offsets, expected) in [
            ("from the start on", vec![2, 3], vec![]),
            ("from before the start on", vec![1, 2, 3], vec![]),
            ("passed by", vec![0, 2, 3], vec![]),
            ("beyond the start", vec![3], vec![GAP]),
            ("lost after the start", vec![2], vec![LOST]),
            ("a gap after the start", vec![1, 3], vec![GAP]),
        ] {
            let mut history = history(Promise::Idempotent, Loss::Forbidden, &outcomes, &[]);
            history.starts_at(0, 2);
            history.starts_at(0, 1);
            for offset in offsets {
                history.read(SimTime::ZERO, read(1, offset, offset as u64));
            }
            assert_eq!(broken(&history), expected, "{name}");
        }
    }

    #[test]
    fn what_was_sent_before_a_topic_was_created_anew_may_be_gone_and_nothing_later() {
        // Four events, each sent in its own second and told to stand at these offsets; the new topic is known everywhere at second 2.
        for (name, at, log, expected) in [
            ("all of the new topic is there", 2, vec![(1, 0, 0), (1, 1, 1), (2, 0, 2), (2, 1, 3)], vec![]),
            (
                "a repetition in the new topic",
                2,
                vec![(1, 0, 0), (1, 1, 1), (2, 0, 1), (2, 1, 2), (2, 2, 3)],
                vec![PLACE],
            ),
            ("one of the new topic is lost", 2, vec![(1, 0, 0), (2, 0, 2)], vec![LOST]),
            ("one of the new topic is elsewhere", 2, vec![(2, 0, 3), (2, 1, 2)], vec![PLACE, ORDER]),
            ("twice in the new topic", 2, vec![(2, 0, 2), (2, 1, 3), (2, 2, 3)], vec![TWICE]),
            ("a gap in the new topic", 2, vec![(1, 0, 0), (2, 0, 2), (2, 2, 3)], vec![PLACE, GAP]),
            ("it is not done yet", u64::MAX, vec![(1, 0, 0), (1, 1, 1)], vec![]),
            ("it was not created anew", 0, vec![(1, 0, 2), (1, 1, 3)], vec![LOST]),
        ] {
            let mut history = History::new("t", Promise::Idempotent, Loss::Forbidden);
            for (event, offset) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
                history.sent(
                    SimTime::from_nanos(event),
                    Sent { event, producer: 7, partition: 0, payload: event },
                );
                history.outcome(SimTime::from_nanos(event), event, acked(offset));
            }
            history.recreated(SimTime::from_nanos(at));
            for (topic, offset, event) in log {
                history.read(SimTime::from_nanos(9), Read { topic, ..read(1, offset, event) });
            }
            assert_eq!(broken(&history), expected, "{name}");
        }
    }

    #[test]
    fn an_example_tells_when_what_and_where() {
        let checks = judge(&history(Promise::Idempotent, Loss::Forbidden, BOTH, &[0])).checks;
        let lost = checks.iter().find(|check| check.name == LOST).expect("it was checked");
        assert_eq!(
            lost.examples[0].to_string(),
            "0.000000s t/0@1: event 1 was acknowledged; nothing was read there"
        );
    }

    #[test]
    fn consumers_that_disagree_are_found() {
        let mut history = history(Promise::AtLeastOnce, Loss::OfAcknowledged, &[acked(0), acked(0)], &[0]);
        history.read(SimTime::ZERO, read(2, 0, 0));
        history.read(SimTime::ZERO, read(3, 0, 1));
        assert_eq!(broken(&history), [AGREE]);
        history.loss = Loss::OfRead;
        assert_eq!(broken(&history), [""; 0]);
    }

    #[test]
    fn sixty_thousand_events_are_judged() {
        let outcomes: Vec<Outcome> = (0..60_000).map(acked).collect();
        let log: Vec<u64> = (0..60_000).collect();
        let mut history = history(Promise::Idempotent, Loss::Forbidden, &outcomes, &log);
        (1..=60_000).for_each(|asked| {
            let asked = SimTime::from_nanos(asked);
            history.told_end(ToldEnd { partition: 0, asked, leader_epoch: 4, end: 60_000 });
        });
        let checks = judge(&history).checks;
        assert!(checks.iter().all(|check| check.held() && check.looked_at == 60_000), "{checks:#?}");
    }
}
