//! Replication of topic partitions: one value at each offset for ever, one leader an epoch, one controller at a time.
//!
//! Memory follows the number of batches, not of replicas: of each committed batch one checksum is kept, and who told it first.

use std::collections::BTreeMap;

use crate::base::SimTime;
use crate::checkers::{Check, by_time};

/// A state of a topic partition as a controller wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The controller's fencing number.
    pub controller_epoch: i32,
    /// The leader.
    pub leader: Option<i32>,
    /// Its fencing number.
    pub leader_epoch: i32,
    /// The version of the state.
    pub version: i32,
    /// All replicas.
    pub replicas: Vec<i32>,
    /// How many must be in sync for a write to be taken.
    pub min_in_sync: u32,
    /// Who is in sync.
    pub in_sync: Vec<i32>,
    /// Who is not, but may lead.
    pub eligible: Vec<i32>,
    /// Whether the topic partition ever had a leader that did not hold all that was committed.
    pub unclean: bool,
}

/// How many copies of a topic partition could be counted on from some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copies {
    /// How many were in sync.
    pub in_sync: usize,
    /// Of how many.
    pub replicas: usize,
    /// How many must be, for a write to be taken.
    pub min_in_sync: usize,
    /// Whether one of them led.
    pub led: bool,
}

/// The in-sync set of a topic partition over time, as controllers wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Course {
    /// The topic partition: `clicks/3`.
    pub id: String,
    /// What it became and when, in the order of time.
    pub changes: Vec<(SimTime, Copies)>,
}

/// A committed batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Its first offset.
    pub base: i64,
    /// Its last offset.
    pub last: i64,
    /// The leader epoch in which it was appended, which its checksum does not cover.
    pub epoch: i32,
    /// Its checksum.
    pub crc: u32,
}

/// How a replica stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The first offset of its log.
    pub start: i64,
    /// The offset that its next record will have.
    pub end: i64,
    /// All below it is committed, as far as the replica knows.
    pub high_watermark: i64,
    /// The epoch in which it leads, and the version of the state that it goes by.
    pub leads: Option<(i32, i32)>,
}

/// A replica's log as it was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Where it ends now.
    pub to: i64,
    /// What the replica knew to be committed.
    pub high_watermark: i64,
    /// Whether the topic partition had a leader that did not hold all that was committed.
    pub unclean: bool,
}

/// A topic partition of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part(usize);

/// What is known of a replica.
#[derive(Clone, Debug)]
struct Replica {
    standing: Standing,
    /// Which leader epoch begins where in its log.
    epochs: Vec<(i32, i64)>,
    /// When it was opened last.
    since: SimTime,
    /// Whether it was then without something that it had had before.
    lost: bool,
}

impl Replica {
    fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.epochs.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.epochs[at].0)
    }

    /// Where the epoch of the record at `offset` ends in its log.
    fn epoch_end(&self, offset: i64) -> i64 {
        let after = self.epochs.partition_point(|(_, start)| *start <= offset);
        self.epochs.get(after).map_or(self.standing.end, |(_, start)| *start)
    }

    /// Up to where its log and another are the same: one epoch writes each offset once.
    fn agrees_with(&self, other: &Self) -> i64 {
        let end = self.standing.end.min(other.standing.end);
        let mut offset = self.standing.start.max(other.standing.start);
        while offset < end && self.epoch_at(offset) == other.epoch_at(offset) {
            offset = self.epoch_end(offset).min(other.epoch_end(offset));
        }
        offset.min(end)
    }
}

/// What is known of a topic partition.
#[derive(Debug, Default)]
struct Known {
    id: String,
    /// Committed batches in order of their offsets, each with who told it first.
    batches: Vec<(Batch, i32)>,
    leaders: BTreeMap<i32, i32>,
    /// Where the log ended when a leader began its epoch.
    ends: BTreeMap<i32, i64>,
    /// The highest watermark of each epoch's leader.
    watermarks: BTreeMap<i32, i64>,
    /// Where epochs begin, and who told it first.
    epochs: BTreeMap<i32, (i64, i32)>,
    /// The states by their versions: what controllers learn late still stands in its place.
    states: BTreeMap<i32, Written>,
    /// What became of the in-sync set, and when that was known.
    changes: Vec<(SimTime, Copies)>,
    replicas: BTreeMap<i32, Replica>,
    unclean: bool,
}

/// What brokers said of themselves, by topic partition.
#[derive(Debug)]
pub struct History {
    parts: Vec<Known>,
    by_name: BTreeMap<(String, u64), Part>,
    values: Check,
    epochs: Check,
    leadership: Check,
    joining: Check,
    advance: Check,
    coverage: Check,
    truncation: Check,
    starts: Check,
    control: Check,
}

impl Default for History {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            by_name: BTreeMap::new(),
            values: Check::new("replicas agree on every committed batch and its leader epoch"),
            epochs: Check::new("a leader epoch begins at one offset in all logs"),
            leadership: Check::new("a leader epoch has one leader"),
            joining: Check::new("a replica that joins the in-sync set holds all that is committed"),
            advance: Check::new("a high watermark never moves back within a leader epoch"),
            coverage: Check::new("every replica in sync holds what comes to lie below the high watermark"),
            truncation: Check::new("no replica cuts what is committed"),
            starts: Check::new("a follower's log begins no earlier than its leader's did at the last fetch"),
            control: Check::new("states are written by one controller at a time, each on the one before"),
        }
    }
}

fn host(broker: i32) -> String {
    format!("broker-{broker}")
}

impl Known {
    /// What is wrong with a state beside those that are known; it takes its place among them.
    fn take(&mut self, state: &Written) -> Option<(&'static str, String)> {
        let (id, version) = (&self.id, state.version);
        if let Some(other) = self.states.insert(version, state.clone()) {
            // A successor may have read it before its writer knew.
            let over =
                || ("over another", format!("{id}: {} was written over {}", told(state), told(&other)));
            return (other != *state).then(over);
        }
        if state.leader.is_some_and(|leader| !state.in_sync.contains(&leader)) {
            return Some((
                "a leader out of sync",
                format!("{id}: {}: the leader is not in sync", told(state)),
            ));
        }
        let before = self.states.range(..version).next_back();
        let after = self.states.range(version + 1..).next();
        let pairs = [before.map(|(_, before)| (before, state)), after.map(|(_, after)| (state, after))];
        pairs.into_iter().flatten().find_map(|(one, next)| {
            let back = next.controller_epoch < one.controller_epoch || next.leader_epoch < one.leader_epoch;
            let swapped = next.leader_epoch == one.leader_epoch && next.leader != one.leader;
            let both = || ("epochs out of order", format!("{id}: {} came after {}", told(next), told(one)));
            (back || swapped).then(both)
        })
    }

    /// The newest state that is known changes what can be counted on.
    fn follow(&mut self, now: SimTime) {
        let Some((_, Written { leader, replicas, min_in_sync, in_sync, .. })) = self.states.last_key_value()
        else {
            return;
        };
        let copies = Copies {
            in_sync: in_sync.len(),
            replicas: replicas.len(),
            min_in_sync: *min_in_sync as usize,
            led: leader.is_some(),
        };
        if self.changes.last().is_none_or(|(_, last)| *last != copies) {
            self.changes.push((now, copies));
        }
    }

    /// A broker leads an epoch, or is to.
    fn lead(&mut self, broker: i32, epoch: i32) -> Option<String> {
        let first = *self.leaders.entry(epoch).or_insert(broker);
        let both = || format!("{}: {} and {} both lead e{epoch}", self.id, host(first), host(broker));
        (first != broker).then(both)
    }

    /// What a replica lacks of what lies below `offset` in the log of the one that leads, as far as that is known.
    fn lacks(&self, leader: i32, replica: i32, offset: i64) -> Option<String> {
        let log = self.replicas.get(&leader)?;
        let held = self.replicas.get(&replica).map_or(0, |other| other.agrees_with(log));
        let short = || format!("{}: {} agrees with {} up to @{held}", self.id, host(replica), host(leader));
        (held < offset.min(log.standing.end)).then(short)
    }

    /// Up to where a replica's log holds what is committed, and no other records.
    fn committed_in(&self, replica: &Replica) -> i64 {
        let Standing { start, end, .. } = replica.standing;
        let first = self.batches.partition_point(|(batch, _)| batch.base < start);
        let held = |batch: &Batch| batch.last < end && replica.epoch_at(batch.base) == Some(batch.epoch);
        let same = self.batches[first..].iter().map(|(batch, _)| batch).take_while(|batch| held(batch));
        same.last().map_or(start, |batch| batch.last + 1)
    }
}

/// A state, for people.
fn told(state: &Written) -> String {
    let Written { controller_epoch, leader, leader_epoch, version, in_sync, .. } = state;
    let leader = leader.map_or("nobody".to_owned(), host);
    format!("v{version} (c{controller_epoch}: {leader} leads e{leader_epoch}, in sync {in_sync:?})")
}

impl History {
    /// The topic partition of this name, of the topic with this id: one that is created anew under an old name owes nothing to its
    /// predecessor.
    pub fn part(&mut self, id: &str, topic: u64) -> Part {
        *self.by_name.entry((id.to_owned(), topic)).or_insert_with(|| {
            self.parts.push(Known { id: id.to_owned(), ..Known::default() });
            Part(self.parts.len() - 1)
        })
    }

    /// The latest known state of each topic partition.
    pub fn latest(&self) -> impl Iterator<Item = &Written> {
        self.parts.iter().filter_map(|known| known.states.values().next_back())
    }

    /// The in-sync set of each topic partition over time. One that was created anew follows on its predecessor.
    pub fn courses(&self) -> Vec<Course> {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut courses: Vec<Course> = Vec::new();
        for Known { id, changes, .. } in &self.parts {
            let Some((began, _)) = changes.first() else { continue };
            let place = *places.entry(id).or_insert_with(|| {
                courses.push(Course { id: id.clone(), changes: Vec::new() });
                courses.len() - 1
            });
            let course = &mut courses[place].changes;
            course.retain(|(at, _)| at < began);
            course.extend(changes);
        }
        courses
    }

    /// A controller has written a state. It `began` to when it had decided so, and knows now that it is written.
    pub fn written(&mut self, (began, now): (SimTime, SimTime), part: Part, state: &Written) {
        let known = &mut self.parts[part.0];
        self.control.look_at(now, known.take(state));
        known.follow(now);
        known.unclean |= state.unclean;
        if let Some(leader) = state.leader {
            self.leadership.look(now, known.lead(leader, state.leader_epoch));
        }
        let newest = known.states.last_key_value().is_some_and(|(newest, _)| *newest == state.version);
        if newest && !known.unclean {
            self.joined(began, now, part, state);
        }
    }

    /// A controller has found this state written.
    pub fn found(&mut self, now: SimTime, part: Part, state: &Written) {
        let known = &mut self.parts[part.0];
        self.control.look_at(now, known.take(state));
        known.follow(now);
        known.unclean |= state.unclean;
    }

    /// Whoever was not in sync in the version before must hold what is committed, and all from before the leader's epoch.
    fn joined(&mut self, began: SimTime, now: SimTime, part: Part, state: &Written) {
        let known = &mut self.parts[part.0];
        let Some(before) = known.states.get(&(state.version - 1)) else { return };
        let Some(leader) = state.leader else { return };
        let Some(log) = known.replicas.get(&leader) else { return };
        if log.standing.leads.is_none_or(|(epoch, _)| epoch != state.leader_epoch) {
            return;
        }
        let epoch_start = known.ends.get(&state.leader_epoch).copied().unwrap_or(0);
        let due = log.standing.high_watermark.max(epoch_start);
        let joined = state.in_sync.iter().filter(|broker| !before.in_sync.contains(broker));
        let joined: Vec<i32> = joined.copied().collect();
        for broker in joined {
            // What it lost since then, the controller will hear of.
            if known.replicas.get(&broker).is_some_and(|replica| began < replica.since) {
                continue;
            }
            let fault = known.lacks(leader, broker, due);
            let version = state.version;
            self.joining.look(now, fault.map(|fault| format!("{fault}, joins in v{version}; due @{due}")));
            if let Some(replica) = known.replicas.get_mut(&broker) {
                replica.lost = false;
            }
        }
    }

    /// A broker begins to lead, with a log that ends there.
    pub fn leads(&mut self, now: SimTime, part: Part, broker: i32, epoch: i32, end: i64) {
        let known = &mut self.parts[part.0];
        self.leadership.look(now, known.lead(broker, epoch));
        known.ends.entry(epoch).or_insert(end);
    }

    /// A replica's log was opened by a new life of its broker.
    pub fn opened(&mut self, now: SimTime, part: Part, broker: i32, standing: Standing) {
        let replicas = &mut self.parts[part.0].replicas;
        let before = replicas.get(&broker);
        let lost = before.is_some_and(|before| before.lost || standing.end < before.standing.end);
        replicas.insert(broker, Replica { standing, epochs: Vec::new(), since: now, lost });
    }

    /// The leader epochs in a replica's log have changed to these: which begins where. The log starts at `log_start`.
    pub fn epochs(
        &mut self,
        now: SimTime,
        part: Part,
        broker: i32,
        (log_start, epochs): (i64, Vec<(i32, i64)>),
    ) {
        let known = &mut self.parts[part.0];
        let Some(replica) = known.replicas.get_mut(&broker) else { return };
        let before = std::mem::replace(&mut replica.epochs, epochs);
        // Of the first, the beginning may be gone.
        let whole = |(_, start): &&(i32, i64)| *start == 0 || log_start < *start;
        for (epoch, start) in replica.epochs.iter().filter(whole).filter(|entry| !before.contains(entry)) {
            let (first_start, first) = *known.epochs.entry(*epoch).or_insert((*start, broker));
            let (id, one, other) = (&known.id, host(first), host(broker));
            self.epochs.expect(first_start == *start, now, || {
                format!("{id}: e{epoch} begins at @{first_start} on {one}, at @{start} on {other}")
            });
        }
    }

    /// A replica stands so now.
    pub fn stands(&mut self, now: SimTime, part: Part, broker: i32, standing: Standing) {
        let known = &mut self.parts[part.0];
        let Some(replica) = known.replicas.get_mut(&broker) else { return };
        let before = std::mem::replace(&mut replica.standing, standing);
        let Some((epoch, version)) = standing.leads else { return };
        let watermark = standing.high_watermark;
        let highest = known.watermarks.entry(epoch).or_insert(watermark);
        let id = &known.id;
        self.advance.expect(*highest <= watermark, now, || {
            format!("{id}: {} in e{epoch} had @{highest}, has @{watermark}", host(broker))
        });
        *highest = watermark.max(*highest);
        if before.high_watermark < watermark && !known.unclean {
            self.covered(now, part, broker, (version, watermark));
        }
    }

    /// The high watermark has moved on: each replica that the leader takes for one in sync must have come so far in its epoch.
    fn covered(&mut self, now: SimTime, part: Part, leader: i32, (version, watermark): (i32, i64)) {
        let known = &self.parts[part.0];
        let Some(state) = known.states.get(&version) else { return };
        // One that has lost what it had told its leader is a fault of its disk, and the controller will hear of it.
        let lost = |broker: i32| known.replicas.get(&broker).is_some_and(|replica| replica.lost);
        let mut in_sync = state.in_sync.iter().filter(|broker| !lost(**broker));
        let fault = in_sync.find_map(|broker| known.lacks(leader, *broker, watermark));
        let fault = fault.map(|fault| format!("{fault}; in sync by v{version}, high watermark @{watermark}"));
        self.coverage.look(now, fault);
    }

    /// A batch has come to lie below a replica's high watermark.
    pub fn committed(&mut self, now: SimTime, part: Part, broker: i32, batch: Batch) {
        let known = &mut self.parts[part.0];
        if known.unclean {
            // What was committed before may be gone, and other records may stand in its place.
            return;
        }
        // Batches do not overlap, so that those which end before this one begins come first.
        let at = known.batches.partition_point(|(other, _)| other.last < batch.base);
        let found = known.batches.get(at).filter(|(other, _)| other.base <= batch.last).copied();
        let fault = found.filter(|(other, _)| *other != batch).map(|(other, first)| {
            let show = |Batch { base, last, epoch, crc }| format!("@{base}..={last} e{epoch} {crc:08x}");
            let place =
                if other.epoch == batch.epoch { "of one leader epoch" } else { "of two leader epochs" };
            let (one, other) = (show(other), show(batch));
            (place, format!("{}: {} has {other}, {} had {one}", known.id, host(broker), host(first)))
        });
        if found.is_none() {
            known.batches.insert(at, (batch, broker));
        }
        self.values.look_at(now, fault);
    }

    /// A follower has taken over what a fetch brought from its leader, whose log began there: what that has removed, it has removed too.
    pub fn followed(&mut self, now: SimTime, part: Part, broker: i32, leader_start: i64) {
        let known = &self.parts[part.0];
        let Some(replica) = known.replicas.get(&broker) else { return };
        let start = replica.standing.start;
        self.starts.expect(leader_start <= start, now, || {
            let (id, follower) = (&known.id, host(broker));
            format!("{id}: the log of {follower} begins at @{start}, its leader's at @{leader_start}")
        });
    }

    /// A replica is about to cut its log.
    pub fn truncated(&mut self, now: SimTime, part: Part, broker: i32, cut: Cut) {
        let known = &mut self.parts[part.0];
        known.unclean |= cut.unclean;
        let committed = known.replicas.get(&broker).map_or(0, |replica| known.committed_in(replica));
        let due = cut.high_watermark.max(committed);
        let (id, to) = (&known.id, cut.to);
        let place =
            if to < cut.high_watermark { "below its high watermark" } else { "above its high watermark" };
        let text = || format!("{id}: {} cut its log at @{to}, committed up to @{due}", host(broker));
        let broken = !known.unclean && to < due;
        self.truncation.look_at(now, broken.then(|| (place, text())));
    }
}

/// What the history shows: one value an offset (S2, S3), epochs (S3), high watermarks (S4), leadership and joining (S5), truncation
/// (S6), log starts, control (S7). Of what is seen at once, the cause comes before its effect.
pub fn check(history: &History) -> Vec<Check> {
    let History {
        values, epochs, leadership, joining, advance, coverage, truncation, starts, control, ..
    } = history;
    let checks = [control, values, epochs, leadership, joining, advance, coverage, truncation, starts];
    by_time(checks.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const VALUES: &str = "replicas agree on every committed batch and its leader epoch";
    const EPOCHS: &str = "a leader epoch begins at one offset in all logs";
    const LEADERSHIP: &str = "a leader epoch has one leader";
    const JOINING: &str = "a replica that joins the in-sync set holds all that is committed";
    const ADVANCE: &str = "a high watermark never moves back within a leader epoch";
    const COVERAGE: &str = "every replica in sync holds what comes to lie below the high watermark";
    const TRUNCATION: &str = "no replica cuts what is committed";
    const STARTS: &str = "a follower's log begins no earlier than its leader's did at the last fetch";
    const CONTROL: &str = "states are written by one controller at a time, each on the one before";

    fn at(second: u64) -> SimTime {
        SimTime::ZERO + Duration::from_secs(second)
    }

    fn state(version: i32, in_sync: &[i32]) -> Written {
        let in_sync = in_sync.to_vec();
        Written {
            controller_epoch: 2,
            leader: Some(1),
            leader_epoch: 1,
            version,
            replicas: vec![1, 2, 3],
            min_in_sync: 2,
            in_sync,
            eligible: Vec::new(),
            unclean: false,
        }
    }

    fn standing(end: i64, high_watermark: i64) -> Standing {
        Standing { start: 0, end, high_watermark, leads: None }
    }

    fn leading(end: i64, high_watermark: i64, version: i32) -> Standing {
        Standing { leads: Some((1, version)), ..standing(end, high_watermark) }
    }

    const BATCH: Batch = Batch { base: 0, last: 4, epoch: 1, crc: 77 };

    /// Broker 1 leads epoch 1 with brokers 1 and 2 in sync; both hold 10 records, of which 5 are committed, and broker 3 holds none.
    fn history() -> (History, Part) {
        let mut history = History::default();
        let part = history.part("t/0", 1);
        history.written((at(1), at(1)), part, &state(0, &[1, 2]));
        for broker in [1, 2, 3] {
            history.opened(at(1), part, broker, standing(0, 0));
        }
        history.leads(at(1), part, 1, 1, 0);
        for (broker, stands) in [(2, standing(10, 0)), (1, leading(10, 5, 0))] {
            history.epochs(at(2), part, broker, (0, vec![(1, 0)]));
            history.stands(at(2), part, broker, stands);
            history.committed(at(2), part, broker, BATCH);
        }
        (history, part)
    }

    fn broken(tell: impl FnOnce(&mut History, Part)) -> Vec<&'static str> {
        let (mut history, part) = history();
        tell(&mut history, part);
        let checks = check(&history);
        assert!(checks.iter().all(|check| check.violations <= check.looked_at));
        checks.into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_good_history_passes_and_everything_is_looked_at() {
        let (mut history, part) = history();
        history.epochs(at(3), part, 3, (0, vec![(1, 0)]));
        history.stands(at(3), part, 3, standing(10, 5));
        history.written((at(3), at(3)), part, &state(1, &[1, 2, 3]));
        history.stands(at(4), part, 1, leading(10, 10, 1));
        history.truncated(at(5), part, 2, Cut { to: 5, high_watermark: 5, unclean: false });
        history.followed(at(6), part, 3, 0);
        for check in check(&history) {
            assert!(check.held() && 0 < check.looked_at, "{check:?}");
        }
    }

    #[test]
    fn another_value_another_epoch_and_other_bounds_of_a_batch_are_seen() {
        assert_eq!(broken(|h, part| h.committed(at(3), part, 3, BATCH)), NONE);
        for other in [
            Batch { crc: 78, ..BATCH },
            Batch { epoch: 2, ..BATCH },
            Batch { last: 5, ..BATCH },
            Batch { base: 2, last: 6, ..BATCH },
        ] {
            assert_eq!(broken(|h, part| h.committed(at(3), part, 3, other)), [VALUES], "{other:?}");
        }
    }

    #[test]
    fn an_epoch_that_begins_elsewhere_is_seen_unless_its_beginning_is_gone() {
        let tell = |start, epochs: &[(i32, i64)]| {
            let epochs = epochs.to_vec();
            broken(|h, part| h.epochs(at(3), part, 3, (start, epochs)))
        };
        assert_eq!(tell(0, &[(1, 0), (2, 10)]), NONE);
        assert_eq!(tell(0, &[(0, 0), (1, 3)]), [EPOCHS]);
        assert_eq!(tell(3, &[(1, 3)]), NONE);
    }

    #[test]
    fn two_leaders_of_one_epoch_are_seen_wherever_they_are_named() {
        assert_eq!(broken(|h, part| h.leads(at(3), part, 2, 1, 10)), [LEADERSHIP]);
        let other = Written { leader: Some(2), ..state(1, &[1, 2]) };
        assert_eq!(broken(|h, part| h.written((at(3), at(3)), part, &other)), [CONTROL, LEADERSHIP]);
        let next = Written { leader_epoch: 2, ..other };
        assert_eq!(broken(|h, part| h.written((at(3), at(3)), part, &next)), NONE);
    }

    #[test]
    fn a_state_on_no_other_or_on_another_controllers_is_seen() {
        let write = |state: Written| broken(|h, part| h.written((at(3), at(3)), part, &state));
        assert_eq!(write(state(1, &[1])), NONE);
        assert_eq!(write(Written { controller_epoch: 1, ..state(1, &[1]) }), [CONTROL]);
        assert_eq!(write(state(0, &[1])), [CONTROL], "another of this version");
        assert_eq!(write(state(1, &[2])), [CONTROL], "its leader is not in sync");
        assert_eq!(write(state(0, &[1, 2])), NONE, "its writer heard late what a successor had found");
        assert_eq!(broken(|h, part| h.found(at(3), part, &state(0, &[1]))), [CONTROL]);
    }

    #[test]
    fn an_in_sync_set_is_followed_over_time_even_into_a_topic_created_anew() {
        let (mut history, part) = history();
        history.written((at(3), at(3)), part, &state(2, &[1]));
        history.found(at(4), part, &state(1, &[1, 2, 3]));
        history.written((at(5), at(5)), part, &Written { leader: None, ..state(3, &[1]) });
        let anew = history.part("t/0", 2);
        history.written((at(6), at(6)), anew, &state(0, &[1, 2, 3]));
        history.written((at(7), at(7)), part, &state(4, &[1, 2]));
        history.part("t/1", 1);
        let copies = |in_sync, led| Copies { in_sync, replicas: 3, min_in_sync: 2, led };
        let told = [
            (at(1), copies(2, true)),
            (at(3), copies(1, true)),
            (at(5), copies(1, false)),
            (at(6), copies(3, true)),
        ];
        assert_eq!(history.courses(), [Course { id: "t/0".to_owned(), changes: told.into() }]);
    }

    #[test]
    fn a_replica_that_joins_without_what_is_committed_is_seen() {
        let joins = |end: i64, epochs: &[(i32, i64)], opened: u64| {
            let epochs = epochs.to_vec();
            broken(|h, part| {
                h.opened(at(opened), part, 3, standing(0, 0));
                h.epochs(at(opened), part, 3, (0, epochs));
                h.stands(at(opened), part, 3, standing(end, 0));
                h.written((at(6), at(8)), part, &state(1, &[1, 2, 3]));
            })
        };
        assert_eq!(joins(5, &[(1, 0)], 3), NONE);
        assert_eq!(joins(4, &[(1, 0)], 3), [JOINING]);
        assert_eq!(joins(9, &[(0, 0)], 3), [JOINING], "what it holds is not the leader's");
        assert_eq!(joins(4, &[(1, 0)], 7), NONE, "it was well when that was decided");
        let early = broken(|h, part| {
            h.written((at(3), at(3)), part, &Written { leader_epoch: 2, ..state(1, &[1, 2]) });
            h.leads(at(3), part, 1, 2, 10);
            h.stands(at(3), part, 1, Standing { leads: Some((2, 1)), ..standing(10, 5) });
            h.epochs(at(3), part, 3, (0, vec![(1, 0)]));
            h.stands(at(3), part, 3, standing(7, 0));
            h.written((at(4), at(4)), part, &Written { leader_epoch: 2, ..state(2, &[1, 2, 3]) });
        });
        assert_eq!(early, [JOINING], "it has not reached the start of the epoch");
    }

    #[test]
    fn a_high_watermark_that_moves_back_or_beyond_a_replica_in_sync_is_seen() {
        assert_eq!(broken(|h, part| h.stands(at(3), part, 1, leading(10, 4, 0))), [ADVANCE]);
        assert_eq!(broken(|h, part| h.stands(at(3), part, 1, leading(12, 10, 0))), NONE);
        assert_eq!(broken(|h, part| h.stands(at(3), part, 1, leading(12, 11, 0))), [COVERAGE]);
        let diverged = broken(|h, part| {
            h.epochs(at(3), part, 2, (0, vec![(0, 0), (1, 8)]));
            h.stands(at(3), part, 1, leading(10, 10, 0));
        });
        assert_eq!(diverged, [EPOCHS, COVERAGE], "its log is another");
        let lost = broken(|h, part| {
            h.opened(at(3), part, 2, standing(6, 5));
            h.stands(at(3), part, 1, leading(10, 10, 0));
        });
        assert_eq!(lost, NONE, "it had held that, and its disk lost it");
    }

    #[test]
    fn a_follower_that_keeps_what_its_leader_has_removed_is_seen() {
        let follows = |start, leader_start| {
            broken(|h, part| {
                h.stands(at(3), part, 2, Standing { start, ..standing(10, 5) });
                h.followed(at(3), part, 2, leader_start);
            })
        };
        assert_eq!(follows(5, 5), NONE);
        assert_eq!(follows(7, 5), NONE, "its own retention was ahead");
        assert_eq!(follows(4, 5), [STARTS]);
    }

    #[test]
    fn a_cut_into_what_is_committed_anywhere_is_seen() {
        let cut = |to, high_watermark, unclean| {
            broken(|h, part| h.truncated(at(3), part, 2, Cut { to, high_watermark, unclean }))
        };
        assert_eq!(cut(5, 0, false), NONE);
        assert_eq!(cut(4, 0, false), [TRUNCATION], "its leader knew what it did not");
        assert_eq!(cut(6, 7, false), [TRUNCATION]);
        assert_eq!(cut(4, 5, true), NONE);
        let other = broken(|h, part| {
            h.epochs(at(3), part, 3, (0, vec![(0, 0)]));
            h.stands(at(3), part, 3, standing(8, 0));
            h.truncated(at(4), part, 3, Cut { to: 0, high_watermark: 0, unclean: false });
        });
        assert_eq!(other, [EPOCHS; 0], "what it held was never committed");
    }
}
