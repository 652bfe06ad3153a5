//! Moves replicas to other brokers, as an operator asks (KIP-455).
//!
//! Pure. While a move is under way a part stands on the replicas it had and on those it shall have; when all of the latter are in sync
//! the former go. Each step begins another leader epoch, so that the leader counts its followers anew and those that go are fenced.
//! A step that would take away a copy of what is committed while fewer than `min_in_sync` others are in sync is refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::systems::broker::cluster::{Change, Image, PartitionState};
use crate::systems::broker::id::{BrokerId, TopicPartition};

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where the part stood before.
    pub from: Vec<BrokerId>,
    /// Where it shall stand.
    pub to: Vec<BrokerId>,
}

/// Why replicas are not moved so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MoveError {
    /// There is no such topic partition.
    UnknownTopicPartition,
    /// A replica would stand twice or on a broker that is not alive, there would be too few of them, or a copy of what is committed
    /// would go that is needed.
    InvalidAssignment,
    /// There is no move to cancel.
    NoneUnderWay,
}

impl Image {
    /// An operator wants a part to stand on these brokers, the first preferred as leader; `None` cancels the move that is under way.
    /// `None` if all is so already.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub fn reassign(
        &self,
        id: &TopicPartition,
        to: Option<&[BrokerId]>,
        stopping: &BTreeSet<BrokerId>,
    ) -> Result<Option<Change>, MoveError> {
        let (config, state) = self.state(id).ok_or(MoveError::UnknownTopicPartition)?;
        let from = state.under_way.as_ref().map_or(&state.replicas, |under_way| &under_way.from);
        let Some(to) = to else {
            if state.under_way.is_none() {
                return Err(MoveError::NoneUnderWay);
            }
            let back = self.standing_on(id, from.clone(), None, stopping)?;
            crate::reached!("a controller gave up a move of replicas");
            return Ok(Some(back));
        };
        let distinct: BTreeSet<&BrokerId> = to.iter().collect();
        let alive = to.iter().all(|broker| self.is_alive(*broker));
        if distinct.len() < to.len() || !alive || to.len() < config.min_in_sync as usize {
            return Err(MoveError::InvalidAssignment);
        }
        if state.under_way.is_none() && state.replicas == to {
            return Ok(None);
        }
        let leaving = from.iter().filter(|broker| !to.contains(broker));
        let replicas: Vec<BrokerId> = to.iter().chain(leaving).copied().collect();
        // Only the order changes: there is nothing to wait for.
        let under_way = (replicas.len() != from.len() || replicas.len() != to.len())
            .then(|| Move { from: from.clone(), to: to.to_vec() });
        let begun = self.standing_on(id, replicas, under_way, stopping)?;
        crate::reached!("a controller began to move replicas");
        Ok(Some(begun))
    }

    /// The moves all of whose new replicas are in sync come to their end.
    pub fn finish_moves(&self, stopping: &BTreeSet<BrokerId>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, _, state) in self.partitions() {
            let Some(under_way) = &state.under_way else { continue };
            if !under_way.to.iter().all(|broker| state.in_sync.contains(broker)) {
                continue;
            }
            if let Ok(change) = self.standing_on(&id, under_way.to.clone(), None, stopping) {
                crate::reached!("a controller ended a move of replicas");
                changes.push(change);
            }
        }
        changes
    }

    fn standing_on(
        &self,
        id: &TopicPartition,
        replicas: Vec<BrokerId>,
        under_way: Option<Move>,
        stopping: &BTreeSet<BrokerId>,
    ) -> Result<Change, MoveError> {
        let (config, state) = self.state(id).ok_or(MoveError::UnknownTopicPartition)?;
        let stay = |of: &BTreeSet<BrokerId>| -> BTreeSet<BrokerId> {
            of.iter().filter(|broker| replicas.contains(broker)).copied().collect()
        };
        let (in_sync, eligible) = (stay(&state.in_sync), stay(&state.eligible));
        let copy_goes = in_sync != state.in_sync || eligible != state.eligible;
        if copy_goes && in_sync.len() < config.min_in_sync as usize {
            return Err(MoveError::InvalidAssignment);
        }
        let leader = state.leader.filter(|leader| replicas.contains(leader));
        let state = PartitionState { replicas, under_way, in_sync, eligible, ..state.clone() };
        let state = match leader {
            Some(leader) => state.led_by(Some(leader)),
            None => self.elect(state, config, stopping),
        };
        assert!(state.leader.is_none_or(|leader| state.in_sync.contains(&leader)), "{id}: {state:?}");
        Ok((id.clone(), state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems::broker::cluster::tests::{b, image_of, live};

    const NONE: BTreeSet<BrokerId> = BTreeSet::new();

    fn part() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn of(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(b).collect()
    }

    fn state(image: &Image) -> PartitionState {
        image.state(&part()).expect("it is there").1.clone()
    }

    fn ask(image: &mut Image, to: Option<&[i32]>) -> Result<(), MoveError> {
        let to = to.map(of);
        let change = image.reassign(&part(), to.as_deref(), &NONE)?;
        change.into_iter().for_each(|change| image.apply(change));
        Ok(())
    }

    fn in_sync(image: &mut Image, numbers: &[i32]) {
        let state = PartitionState { in_sync: of(numbers).into_iter().collect(), ..state(image) };
        image.apply((part(), state));
        for change in image.finish_moves(&NONE) {
            image.apply(change);
        }
    }

    /// Five brokers; the part stands on 1, 2 and 3, the first leads, two must be in sync.
    fn image() -> Image {
        let mut image = image_of(5);
        let replicas = of(&[1, 2, 3]);
        let state = PartitionState {
            leader: Some(b(1)),
            in_sync: replicas.iter().copied().collect(),
            replicas,
            ..state(&image)
        };
        image.apply((part(), state));
        image
    }

    #[test]
    fn the_old_replicas_go_when_all_the_new_ones_are_in_sync_and_not_before() {
        let mut image = image();
        let epoch = state(&image).leader_epoch;
        assert_eq!(ask(&mut image, Some(&[4, 5, 1])), Ok(()));
        let begun = state(&image);
        assert_eq!((begun.replicas.clone(), begun.leader), (of(&[4, 5, 1, 2, 3]), Some(b(1))));
        assert!(epoch < begun.leader_epoch, "its leader must get to know its new followers");
        in_sync(&mut image, &[1, 2, 3, 4]);
        assert_eq!(state(&image).replicas.len(), 5, "b5 is not there yet");
        in_sync(&mut image, &[1, 4, 5]);
        let ended = state(&image);
        assert_eq!((ended.replicas.clone(), ended.under_way.clone()), (of(&[4, 5, 1]), None));
        assert_eq!((ended.leader, ended.in_sync.len()), (Some(b(1)), 3));
        assert!(begun.leader_epoch < ended.leader_epoch, "those that have gone are fenced");
    }

    #[test]
    fn a_leader_that_goes_is_replaced_by_one_that_stays() {
        let mut image = image();
        assert_eq!(ask(&mut image, Some(&[2, 3, 4])), Ok(()));
        in_sync(&mut image, &[1, 2, 3, 4]);
        assert_eq!(
            (state(&image).leader, state(&image).in_sync),
            (Some(b(2)), of(&[2, 3, 4]).into_iter().collect())
        );
    }

    #[test]
    fn another_order_of_the_same_replicas_is_taken_over_at_once() {
        let mut image = image();
        assert_eq!(ask(&mut image, Some(&[3, 1, 2])), Ok(()));
        assert_eq!((state(&image).replicas, state(&image).under_way), (of(&[3, 1, 2]), None));
        let epoch = state(&image).leader_epoch;
        assert_eq!(ask(&mut image, Some(&[3, 1, 2])), Ok(()));
        assert_eq!(state(&image).leader_epoch, epoch, "nothing is to be done");
    }

    #[test]
    fn a_move_is_cancelled_as_long_as_the_old_replicas_hold_what_is_committed() {
        let mut image = image();
        assert_eq!(ask(&mut image, None), Err(MoveError::NoneUnderWay));
        assert_eq!(ask(&mut image, Some(&[4, 5, 1])), Ok(()));
        in_sync(&mut image, &[1, 4]);
        assert_eq!(ask(&mut image, None), Err(MoveError::InvalidAssignment), "b1 alone would have it");
        assert_eq!(ask(&mut image, Some(&[2, 3, 5])), Err(MoveError::InvalidAssignment), "so it would here");
        in_sync(&mut image, &[1, 2, 4]);
        assert_eq!(ask(&mut image, None), Ok(()));
        let back = state(&image);
        assert_eq!((back.replicas, back.in_sync), (of(&[1, 2, 3]), of(&[1, 2]).into_iter().collect()));
    }

    #[test]
    fn a_move_takes_the_place_of_one_that_is_under_way() {
        let mut image = image();
        assert_eq!(ask(&mut image, Some(&[4, 2, 3])), Ok(()));
        assert_eq!(ask(&mut image, Some(&[5, 2, 3])), Ok(()));
        assert_eq!(state(&image).replicas, of(&[5, 2, 3, 1]), "b4 is not needed any more");
        assert_eq!(state(&image).under_way.map(|under_way| under_way.from), Some(of(&[1, 2, 3])));
    }

    #[test]
    fn what_could_not_hold_is_refused() {
        let mut image = image();
        image.brokers = [1, 2, 3, 4].map(|number| live(number, 1, true)).into();
        for to in [&[1, 1, 2][..], &[1, 2, 5], &[1]] {
            assert_eq!(ask(&mut image, Some(to)), Err(MoveError::InvalidAssignment), "{to:?}");
        }
        let other = TopicPartition::new("u", 0);
        assert_eq!(image.reassign(&other, None, &NONE), Err(MoveError::UnknownTopicPartition));
    }
}
