//! How far the logs were read, and what of them is remembered: halves of rewards that wait for one another, and whose turn is over. Pure.
//!
//! An exposure and its outcome make one reward, in whichever order they are read, and however often each stands in its log, if their
//! times lie no further apart than the attribution window. The times are those that the records bear; the learner's clock decides
//! nothing, so that whatever is believed follows from the logs alone, whoever reads them, and in whichever order:
//!
//! 1. A record whose time lies more than the window before that of an earlier one of its part is too late: it is counted as such, and not
//!    otherwise.
//! 2. So a topic's horizon, the window before the latest time of the part that lags most, is passed by nothing that still counts: what
//!    lies more than the window before the other topic's horizon will not meet its other half, and what lies before both will not
//!    come again.
//!
//! What is forgotten by this would have changed nothing. An event must bear the same time whenever it is sent again: one that is stamped
//! anew after it was forgotten is another event. A part in which nothing is written holds the horizon, and all memory, back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::systems::allocator::event::{Event, EventId, Kind};
use crate::systems::allocator::experiment::ExperimentId;
use crate::world::property::bug;

/// How far the logs were read, and what was read of them that cannot be counted, or must not be counted again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// By topic and part: the offset of the first record that was not read.
    pub offsets: BTreeMap<Kind, BTreeMap<i32, i64>>,
    /// How many records came too late.
    pub late: u64,
    /// By topic and part: the latest time of any record that was read, in milliseconds since the Unix epoch as all times here.
    latest: BTreeMap<Kind, BTreeMap<i32, i64>>,
    /// Exposures without an outcome.
    exposures: BTreeMap<EventId, Shown>,
    /// Outcomes without an exposure.
    outcomes: BTreeMap<EventId, Came>,
    /// By the life of an app: events that were counted, or never will be, and may be met again.
    settled: BTreeMap<u64, Stretches>,
}

/// What an exposure leaves behind until its outcome is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    experiment: ExperimentId,
    arm: usize,
    at: i64,
}

/// What an outcome leaves behind until its exposure is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Came {
    converted: bool,
    at: i64,
}

/// What came of an arm that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    /// In which experiment.
    pub experiment: ExperimentId,
    /// The arm's number.
    pub arm: usize,
    /// Whether the unit converted.
    pub converted: bool,
}

/// Numbers in stretches without a gap: the first of each, its end, and the latest time of any of its events. Those of an app grow together
/// soon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Stretches(BTreeMap<u64, (u64, i64)>);

impl Stretches {
    fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, (end, _))| number < *end)
    }

    /// Notes a number; false if it had been noted.
    fn insert(&mut self, number: u64, at: i64) -> bool {
        if self.contains(number) {
            return false;
        }
        let (end, at) =
            self.0.remove(&(number + 1)).map_or((number + 1, at), |(end, then)| (end, then.max(at)));
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if before.0 == number => *before = (end, before.1.max(at)),
            _ => {
                self.0.insert(number, (end, at));
            }
        }
        true
    }
}

impl Progress {
    /// Says that there is such a part, whether or not anything is written there.
    pub fn expects(&mut self, kind: Kind, part: i32) {
        self.offsets.entry(kind).or_default().entry(part).or_default();
    }

    /// Where a part is to be read from; `None` if nothing of it was read.
    pub fn next(&self, kind: Kind, part: i32) -> Option<i64> {
        self.offsets.get(&kind)?.get(&part).copied().filter(|offset| 0 < *offset)
    }

    /// How many things it remembers.
    pub fn remembered(&self) -> usize {
        let settled: usize = self.settled.values().map(|stretches| stretches.0.len()).sum();
        self.exposures.len() + self.outcomes.len() + settled
    }

    /// How many exposures to an arm wait for their outcomes.
    pub fn waiting(&self, experiment: ExperimentId, arm: usize) -> u64 {
        let of = |shown: &&Shown| shown.experiment == experiment && shown.arm == arm;
        self.exposures.values().filter(of).count() as u64
    }

    /// Notes that a record is read; false if it was read before.
    pub fn reads(&mut self, kind: Kind, part: i32, offset: i64) -> bool {
        let next = self.offsets.entry(kind).or_default().entry(part).or_default();
        let fresh = *next <= offset;
        *next = (*next).max(offset + 1);
        fresh
    }

    /// Notes the time of a record; false, and counted, if it comes too late.
    pub fn comes_in_time(&mut self, kind: Kind, part: i32, at: i64, window: Duration) -> bool {
        let latest = self.latest.entry(kind).or_default().entry(part).or_insert(at);
        if at < before(*latest, window) {
            crate::reached!("a record came too late for a learner to count it");
            self.late += 1;
            return false;
        }
        *latest = (*latest).max(at);
        true
    }

    /// Takes in an event that came in time; returns the reward that it completes.
    pub fn meet(&mut self, event: &Event, at: i64, window: Duration) -> Option<Reward> {
        let id = event.id();
        let settled = self.settled.get(&id.life).is_some_and(|settled| settled.contains(id.number));
        // The known bug counts an event that was sent again as another one.
        if settled && !bug("E06") {
            crate::reached!("a learner met an event again that it had counted");
            return None;
        }
        match event {
            Event::Exposure(exposure) => {
                let shown = Shown { experiment: exposure.experiment, arm: exposure.arm, at };
                self.exposures.entry(id).or_insert(shown);
            }
            Event::Outcome(outcome) => {
                self.outcomes.entry(id).or_insert(Came { converted: outcome.converted, at });
            }
        }
        let (shown, came) = (*self.exposures.get(&id)?, *self.outcomes.get(&id)?);
        if event.kind() == Kind::Exposures {
            crate::reached!("a learner met an outcome before its exposure");
        }
        // By the known bug both halves stay, so that another copy of either is counted too.
        if !bug("E06") {
            self.settle(id, shown.at.max(came.at));
        }
        if came.at < before(shown.at, window) || shown.at < before(came.at, window) {
            crate::reached!("an outcome lay outside the attribution window of its exposure");
            return None;
        }
        Some(Reward { experiment: shown.experiment, arm: shown.arm, converted: came.converted })
    }

    /// Forgets what can make no difference any more.
    pub fn forget(&mut self, window: Duration) {
        let horizons = (self.horizon(Kind::Exposures, window), self.horizon(Kind::Outcomes, window));
        let (Some(exposures), Some(outcomes)) = horizons else { return };
        let unrequited = self.exposures.iter().map(|(id, shown)| (*id, shown.at, outcomes));
        let unfounded = self.outcomes.iter().map(|(id, came)| (*id, came.at, exposures));
        let alone = unrequited.chain(unfounded).filter(|(_, at, horizon)| *at < before(*horizon, window));
        for (id, at, _) in alone.collect::<Vec<_>>() {
            crate::reached!("a learner forgot an event whose other half can come no more");
            self.settle(id, at);
        }
        for stretches in self.settled.values_mut() {
            stretches.0.retain(|_, (_, latest)| exposures.min(outcomes) <= *latest);
        }
        self.settled.retain(|_, stretches| !stretches.0.is_empty());
    }

    /// No record of the topic that is still to be read, and comes in time, is older than this. Unknown while a part is empty.
    fn horizon(&self, kind: Kind, window: Duration) -> Option<i64> {
        let (parts, latest) = (self.offsets.get(&kind)?, self.latest.get(&kind)?);
        if latest.len() < parts.len() {
            return None;
        }
        latest.values().min().map(|latest| before(*latest, window))
    }

    fn settle(&mut self, id: EventId, at: i64) {
        self.exposures.remove(&id);
        self.outcomes.remove(&id);
        let fresh = self.settled.entry(id.life).or_default().insert(id.number, at);
        assert!(fresh || bug("E06"), "event {id} is settled twice");
    }
}

/// A span before a time.
fn before(at: i64, window: Duration) -> i64 {
    at.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stretches_hold_what_was_put_in(numbers in prop::collection::vec(0..40u64, 0..80)) {
            let (mut seen, mut model) = (Stretches::default(), std::collections::BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(seen.insert(number, 0), model.insert(number));
                (0..42).for_each(|other| assert_eq!(seen.contains(other), model.contains(&other)));
            }
            let gaps = model.iter().filter(|number| !model.contains(&(*number + 1))).count();
            prop_assert_eq!(seen.0.len(), gaps);
        }
    }
}
