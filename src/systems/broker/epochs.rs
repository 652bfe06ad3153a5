//! Which leader epoch began at which offset of a log (KIP-101, KIP-279): what followers compare before they truncate.
//!
//! Pure. Invariant: epochs and offsets both increase strictly.

use serde::{Deserialize, Serialize};

use crate::systems::broker::id::{LeaderEpoch, Offset};

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs(Vec<(LeaderEpoch, Offset)>);

impl Epochs {
    /// The newest epoch, if there is any record.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record at `offset`.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.0.partition_point(|(_, start)| *start <= offset);
        self.0.get(after.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// Each epoch and where it begins, in order.
    pub fn entries(&self) -> impl Iterator<Item = (LeaderEpoch, Offset)> {
        self.0.iter().copied()
    }

    /// A record of `epoch` stands at `offset`. True if that begins the epoch.
    pub fn note(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        if self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        // All records of the one before were removed from the start of the log: with none left, it begins where this one does. Kafka's
        // cache lets it go too.
        if self.0.last().is_some_and(|(_, start)| *start == offset) {
            self.0.pop();
        }
        crate::always!(
            self.0.last().is_none_or(|(_, start)| *start < offset),
            "leader epochs begin at increasing offsets",
            "{epoch} at {offset} after {:?}",
            self.0.last()
        );
        self.0.push((epoch, offset));
        true
    }

    /// The largest epoch up to the one asked for, and where it ends in a log that ends at `log_end`; `None` if all known epochs are
    /// newer.
    pub fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.0.partition_point(|(known, _)| *known <= epoch);
        let (found, _) = self.0.get(after.checked_sub(1)?)?;
        Some((*found, self.0.get(after).map_or(log_end, |(_, start)| *start)))
    }

    /// The log now ends at `end`. True if that changed anything.
    pub fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, start)| *start < end);
        self.0.len() != before
    }

    /// The log now starts at `start`.
    pub fn truncate_start(&mut self, start: Offset) {
        let after = self.0.partition_point(|(_, begin)| *begin <= start);
        if let Some(first) = after.checked_sub(1) {
            self.0.drain(..first);
            if let Some(oldest) = self.0.first_mut() {
                oldest.1 = oldest.1.max(start);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where a follower whose last epoch ended at `log_end` should cut, when its leader says that it knows `epoch` up to `end`: the end
/// of what both have in common, as far as one answer tells.
pub fn diverges_at(own: &Epochs, log_end: Offset, (epoch, end): (LeaderEpoch, Offset)) -> Offset {
    match own.end_of(epoch, log_end) {
        // The leader's answer is about an epoch this log has too: up to the shorter of the two they agree.
        Some((found, own_end)) if found == epoch => own_end.min(end),
        // It has only older ones: all of them agree, and the next question goes further back.
        Some((_, own_end)) => own_end.min(end),
        // All of this log is newer than anything the leader has of that time: nothing is known to be common.
        None => own.0.first().map_or(log_end, |(_, start)| *start).min(end),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epochs(pairs: &[(i32, i64)]) -> Epochs {
        Epochs(pairs.iter().map(|(epoch, start)| (LeaderEpoch::new(*epoch), Offset::new(*start))).collect())
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let log = epochs(&[(1, 0), (3, 10), (4, 15)]);
        let end =
            |epoch| log.end_of(LeaderEpoch::new(epoch), Offset::new(20)).map(|(e, o)| (e.get(), o.get()));
        assert_eq!(end(0), None);
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((1, 10)));
        assert_eq!(end(3), Some((3, 15)));
        assert_eq!(end(9), Some((4, 20)));
        let at = |offset| log.at(Offset::new(offset)).map(LeaderEpoch::get);
        assert_eq!([at(0), at(9), at(10), at(99)], [Some(1), Some(1), Some(3), Some(4)]);
        assert_eq!(Epochs::default().at(Offset::new(0)), None);
    }

    #[test]
    fn an_epoch_without_records_makes_way_for_the_next() {
        let mut log = epochs(&[(1, 0), (3, 10)]);
        log.truncate_start(Offset::new(20));
        assert_eq!(log, epochs(&[(3, 20)]), "an empty log still tells who led last");
        assert!(log.note(LeaderEpoch::new(4), Offset::new(20)));
        assert_eq!(log, epochs(&[(4, 20)]));
    }

    /// A log as the list of its records' epochs.
    fn of(records: &[i32]) -> Epochs {
        let mut epochs = Epochs::default();
        for (offset, epoch) in records.iter().enumerate() {
            epochs.note(LeaderEpoch::new(*epoch), Offset::new(offset as i64));
        }
        epochs
    }

    proptest! {
        /// Leader and follower share a prefix and go on with epochs of their own: asking again and again, the follower comes to a
        /// prefix of the leader's log, and never cuts into what they share.
        #[test]
        fn truncation_keeps_what_is_common_and_drops_what_differs(
            shared in prop::collection::vec(0..4i32, 0..8),
            leader in prop::collection::vec(0..3i32, 0..6),
            follower in prop::collection::vec(0..3i32, 0..6),
        ) {
            let mut shared = shared;
            shared.sort_unstable();
            let base = shared.last().copied().unwrap_or(0);
            // Epochs of the leader's tail are odd, those of the follower's even: no epoch has two leaders.
            let tail = |own: Vec<i32>, parity: i32| {
                let mut own: Vec<i32> = own.into_iter().map(|epoch| base + 2 + 2 * epoch + parity).collect();
                own.sort_unstable();
                own
            };
            let leader: Vec<i32> = shared.iter().copied().chain(tail(leader, 1)).collect();
            let mut follower: Vec<i32> = shared.iter().copied().chain(tail(follower, 0)).collect();
            for _ in 0..20 {
                let (own, theirs) = (of(&follower), of(&leader));
                let Some(last) = own.latest() else { break };
                let end = Offset::new(follower.len() as i64);
                let answer = theirs.end_of(last, Offset::new(leader.len() as i64));
                let (epoch, epoch_end) = answer.unwrap_or((last, Offset::new(0)));
                if epoch == last && end <= epoch_end {
                    break;
                }
                let cut = diverges_at(&own, end, (epoch, epoch_end)).get() as usize;
                prop_assert!(shared.len().min(follower.len()) <= cut, "{cut} cuts into the shared {}", shared.len());
                prop_assert!(cut < follower.len());
                follower.truncate(cut);
            }
            prop_assert!(leader.starts_with(&follower));
        }
    }
}
