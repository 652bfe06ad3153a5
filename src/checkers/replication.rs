//! Replication of topic partitions: one value at each offset for ever, one leader an epoch, one controller at a time.
//!
//! Memory follows the number of batches, not of replicas: of each committed batch one checksum is kept, and who told it first.

use std::collections::BTreeMap;

use crate::checkers::Check;

/// A state of a topic partition as a controller wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The controller's fencing number.
    pub controller_epoch: i32,
    /// The leader.
    pub leader: Option<i32>,
    /// Its fencing number.
    pub leader_epoch: i32,
    /// The version of the state.
    pub version: i32,
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

/// What brokers said of themselves, by topic partition.
#[derive(Debug)]
pub struct History {
    /// Committed batches by their first offset: the last offset, the checksum, and who told it first.
    batches: BTreeMap<String, BTreeMap<i64, (i64, u32, i32)>>,
    leaders: BTreeMap<(String, i32), i32>,
    /// The states of each topic partition by their versions: what controllers learn late still stands in its place.
    states: BTreeMap<String, BTreeMap<i32, Written>>,
    unclean: BTreeMap<String, bool>,
    values: Check,
    leadership: Check,
    truncation: Check,
    control: Check,
}

impl Default for History {
    fn default() -> Self {
        Self {
            batches: BTreeMap::new(),
            leaders: BTreeMap::new(),
            states: BTreeMap::new(),
            unclean: BTreeMap::new(),
            values: Check::new("replicas agree on every committed batch"),
            leadership: Check::new("a leader epoch has one leader"),
            truncation: Check::new("no replica cuts what is committed"),
            control: Check::new("states are written by one controller at a time, each on the one before"),
        }
    }
}

impl History {
    /// A controller has written a state.
    pub fn written(&mut self, id: &str, state: Written) {
        self.control.count();
        let states = self.states.entry(id.to_owned()).or_default();
        if let Some(other) = states.insert(state.version, state) {
            self.control.fault(|| format!("{id}: {state:?} was written over {other:?}"));
            return;
        }
        let before = states.range(..state.version).next_back();
        let after = states.range(state.version + 1..).next();
        let pairs = [before.map(|(_, before)| (*before, state)), after.map(|(_, after)| (state, *after))];
        for (one, next) in pairs.into_iter().flatten() {
            if next.controller_epoch < one.controller_epoch || next.leader_epoch < one.leader_epoch {
                self.control.fault(|| format!("{id}: {next:?} was written after {one:?}"));
            }
        }
    }

    /// A broker begins to lead.
    pub fn leads(&mut self, id: &str, broker: i32, epoch: i32) {
        self.leadership.count();
        let first = *self.leaders.entry((id.to_owned(), epoch)).or_insert(broker);
        if first != broker {
            self.leadership.fault(|| format!("{id}: brokers {first} and {broker} both lead epoch {epoch}"));
        }
    }

    /// A batch has come to lie below a replica's high watermark.
    pub fn committed(&mut self, id: &str, broker: i32, (base, last): (i64, i64), crc: u32) {
        if self.unclean.get(id).copied().unwrap_or(false) {
            // What was committed before may be gone, and other records may stand in its place.
            return;
        }
        self.values.count();
        if !self.batches.contains_key(id) {
            self.batches.insert(id.to_owned(), BTreeMap::new());
        }
        let batches = self.batches.get_mut(id).expect("just inserted");
        let (known_last, known_crc, first) = *batches.entry(base).or_insert((last, crc, broker));
        if (known_last, known_crc) != (last, crc) {
            self.values.fault(|| {
                format!("{id}: at {base} broker {broker} has another batch than broker {first} had")
            });
        }
    }

    /// A replica cut its log.
    pub fn truncated(&mut self, id: &str, broker: i32, cut: Cut) {
        self.truncation.count();
        if cut.unclean {
            self.unclean.insert(id.to_owned(), true);
        } else if cut.to < cut.high_watermark {
            self.truncation.fault(|| {
                format!(
                    "{id}: broker {broker} cut its log at {}, committed up to {}",
                    cut.to, cut.high_watermark
                )
            });
        }
    }
}

/// What the history shows: one value an offset (S2, S3), leadership (S5), truncation (S6), control (S7).
pub fn check(history: &History) -> Vec<Check> {
    [&history.values, &history.leadership, &history.truncation, &history.control]
        .into_iter()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(tell: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = History::default();
        history.leads("t/0", 1, 1);
        history.committed("t/0", 1, (0, 4), 77);
        history.committed("t/0", 2, (0, 4), 77);
        let state = Written { controller_epoch: 2, leader: Some(1), leader_epoch: 1, version: 3 };
        history.written("t/0", state);
        history.truncated("t/0", 2, Cut { to: 5, high_watermark: 5, unclean: false });
        tell(&mut history);
        check(&history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    #[test]
    fn each_broken_promise_is_seen_and_a_good_history_passes() {
        let state = Written { controller_epoch: 2, leader: Some(2), leader_epoch: 2, version: 4 };
        assert_eq!(broken(|history| history.written("t/0", state)), Vec::<&str>::new());
        assert_eq!(
            broken(|h| h.committed("t/0", 3, (0, 4), 78)),
            ["replicas agree on every committed batch"]
        );
        assert_eq!(broken(|h| h.leads("t/0", 2, 1)), ["a leader epoch has one leader"]);
        let cut = Cut { to: 4, high_watermark: 5, unclean: false };
        assert_eq!(broken(|h| h.truncated("t/0", 2, cut)), ["no replica cuts what is committed"]);
        assert_eq!(broken(|h| h.truncated("t/0", 2, Cut { unclean: true, ..cut })), Vec::<&str>::new());
        let old = Written { controller_epoch: 1, ..state };
        let name = "states are written by one controller at a time, each on the one before";
        assert_eq!(broken(|h| h.written("t/0", old)), [name]);
        assert_eq!(broken(|h| h.written("t/0", Written { version: 3, ..state })), [name]);
    }
}
