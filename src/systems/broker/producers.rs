//! What a log remembers of idempotent producers: the last batches of each, to recognise what comes twice or out of order (KIP-98).
//!
//! Pure; rebuilt from the log after a restart or truncation.

use std::collections::{BTreeMap, VecDeque};

use crate::systems::broker::id::Offset;
use crate::systems::broker::records::{Batch, sequence_after};
use crate::world::property::bug;

/// Batches remembered of each producer: as many as it may have in flight.
const REMEMBERED: usize = 5;

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset of its last record.
    pub last: Offset,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<(i32, i32, Appended)>,
}

/// The producers of one log.
#[derive(Clone, Debug, Default)]
pub struct Producers(BTreeMap<i64, Producer>);

/// What becomes of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sequence {
    /// It follows: append it.
    Next,
    /// It was appended before, there.
    Duplicate(Appended),
    /// A batch before it is missing.
    OutOfOrder,
    /// Its producer has been replaced by one of a newer epoch.
    Fenced,
}

impl Producers {
    /// Judges a batch that is about to be appended at `end`. Of a producer that is not remembered any number may be the first, as what came
    /// before may have been removed; but not in a log that never held a record, where it has overtaken another batch (KAFKA-15591).
    pub fn judge(&self, batch: &Batch, end: Offset) -> Sequence {
        let Some(known) = self.0.get(&batch.producer) else {
            let overtook = end == Offset::new(0) && batch.sequence != 0;
            return if overtook { Sequence::OutOfOrder } else { Sequence::Next };
        };
        if batch.producer_epoch < known.epoch {
            return Sequence::Fenced;
        }
        if known.epoch < batch.producer_epoch {
            return if batch.sequence == 0 { Sequence::Next } else { Sequence::OutOfOrder };
        }
        let same = |(first, last, _): &&(i32, i32, Appended)| {
            *first == batch.sequence && *last == batch.sequence_last()
        };
        // The known bug T15 remembers one batch, where five may be on the way.
        let remembered = known.batches.iter().rev().take(if bug("T15") { 1 } else { REMEMBERED });
        if let Some((_, _, appended)) = remembered.into_iter().find(same) {
            // The known bug keeps no window of what was appended: a repetition looks like a batch out of order.
            return if bug("T14") { Sequence::OutOfOrder } else { Sequence::Duplicate(*appended) };
        }
        match known.batches.back() {
            Some((_, last, _)) if sequence_after(*last, 1) != batch.sequence => Sequence::OutOfOrder,
            _ => Sequence::Next,
        }
    }

    /// Notes an appended batch.
    pub fn note(&mut self, batch: &Batch) {
        if batch.producer < 0 {
            return;
        }
        let fresh = || Producer { epoch: batch.producer_epoch, batches: VecDeque::new() };
        let known = self.0.entry(batch.producer).or_insert_with(fresh);
        if known.epoch < batch.producer_epoch {
            *known = fresh();
        }
        let appended = Appended { base: batch.base, last: batch.last };
        known.batches.push_back((batch.sequence, batch.sequence_last(), appended));
        if REMEMBERED < known.batches.len() {
            known.batches.pop_front();
        }
    }

    /// Forgets everything, before a rebuild.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::broker::id::LeaderEpoch;

    fn batch(producer_epoch: i16, sequence: i32, count: i32, base: i64) -> Batch {
        let (base, last) = (Offset::new(base), Offset::new(base + i64::from(count) - 1));
        let epoch = LeaderEpoch::new(0);
        Batch {
            base,
            last,
            size: 0,
            epoch,
            crc: 0,
            timestamp_max: 0,
            producer: 9,
            producer_epoch,
            sequence,
            count,
        }
    }

    #[test]
    fn what_comes_twice_or_too_early_is_recognised() {
        let mut producers = Producers::default();
        let judge = |producers: &Producers, batch: &Batch| producers.judge(batch, batch.base);
        for (sequence, base) in [(0, 100), (3, 103), (6, 106)] {
            assert_eq!(judge(&producers, &batch(0, sequence, 3, base)), Sequence::Next);
            producers.note(&batch(0, sequence, 3, base));
        }
        let again = Appended { base: Offset::new(103), last: Offset::new(105) };
        assert_eq!(judge(&producers, &batch(0, 3, 3, 999)), Sequence::Duplicate(again));
        assert_eq!(judge(&producers, &batch(0, 12, 3, 109)), Sequence::OutOfOrder);
        assert_eq!(judge(&producers, &batch(0, 9, 1, 109)), Sequence::Next);
        assert_eq!(judge(&producers, &batch(1, 5, 1, 109)), Sequence::OutOfOrder, "a new epoch begins at 0");
        producers.note(&batch(1, 0, 1, 109));
        assert_eq!(judge(&producers, &batch(0, 9, 1, 110)), Sequence::Fenced);
    }

    #[test]
    fn the_first_batch_of_a_new_log_begins_at_0() {
        let producers = Producers::default();
        assert_eq!(producers.judge(&batch(0, 3, 3, 0), Offset::new(0)), Sequence::OutOfOrder);
        assert_eq!(producers.judge(&batch(0, 0, 3, 0), Offset::new(0)), Sequence::Next);
        assert_eq!(
            producers.judge(&batch(0, 3, 3, 7), Offset::new(7)),
            Sequence::Next,
            "it may be forgotten"
        );
    }
}
