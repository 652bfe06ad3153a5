//! One replica of one topic partition: who leads, who is in sync, and what is committed (the high watermark).
//!
//! Knows nothing of sockets or disks. Invariants: the high watermark never moves back within an epoch and never lies beyond the log
//! end; only a follower truncates. After KIP-101, KIP-497 (the in-sync set is changed by the controller, by compare-and-set) and
//! KIP-966 (nothing is committed while fewer than `min_in_sync` replicas are in sync).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::MonoTime;
use crate::systems::broker::id::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, StateVersion};
use crate::world::property::bug;

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug)]
struct FollowerState {
    /// The life in which it last fetched; `None` before its first fetch.
    epoch: Option<BrokerEpoch>,
    log_end: Offset,
    /// When it last had all that the leader had.
    caught_up_at: MonoTime,
    last_fetch_at: MonoTime,
    leader_end_at_last_fetch: Offset,
}

/// A leadership.
#[derive(Clone, Debug)]
pub struct Leadership {
    /// Its fencing number.
    pub epoch: LeaderEpoch,
    /// Where the log ended when it began.
    pub epoch_start: Offset,
    /// The in-sync set as the controller has it.
    pub in_sync: BTreeSet<BrokerId>,
    /// The version of that state.
    pub version: StateVersion,
    /// A change that the controller has not answered yet.
    proposed: Option<BTreeSet<BrokerId>>,
    followers: BTreeMap<BrokerId, FollowerState>,
}

/// What a replica is.
#[derive(Clone, Debug)]
pub enum Role {
    /// Not told yet.
    Idle,
    /// Copies the log of a leader; `None` while there is none.
    Follower {
        /// The leader.
        leader: Option<BrokerId>,
        /// Its epoch.
        epoch: LeaderEpoch,
    },
    /// Leads.
    Leader(Leadership),
}

/// A change of the in-sync set that the leader asks of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The version it builds on.
    pub version: StateVersion,
    /// The set as it should be, with the lives in which this leader met its members (KIP-903); `None` for itself, and where it has met
    /// none.
    pub in_sync: BTreeMap<BrokerId, Option<BrokerEpoch>>,
}

/// How far a follower is, as its fetch tells.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The follower.
    pub follower: BrokerId,
    /// Its life.
    pub epoch: BrokerEpoch,
    /// It has all before this.
    pub offset: Offset,
    /// But for its log differing there.
    pub diverged: bool,
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Which broker holds it.
    pub me: BrokerId,
    /// What it is.
    pub role: Role,
    min_in_sync: usize,
    high_watermark: Offset,
}

/// The state of a topic partition as far as a leader needs it.
#[derive(Clone, Debug)]
pub struct LeaderState {
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The version of the state.
    pub version: StateVersion,
    /// The in-sync set.
    pub in_sync: BTreeSet<BrokerId>,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
}

impl Replica {
    /// A replica that has not been told what it is. `high_watermark`: as far as it knew before.
    pub fn new(me: BrokerId, min_in_sync: u32, high_watermark: Offset) -> Self {
        Self { me, role: Role::Idle, min_in_sync: min_in_sync as usize, high_watermark }
    }

    /// All below it is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The epoch it was last told of.
    pub fn epoch(&self) -> LeaderEpoch {
        match &self.role {
            Role::Idle => LeaderEpoch::new(-1),
            Role::Follower { epoch, .. } => *epoch,
            Role::Leader(leadership) => leadership.epoch,
        }
    }

    /// The leadership, if it leads.
    pub fn leadership(&self) -> Option<&Leadership> {
        match &self.role {
            Role::Leader(leadership) => Some(leadership),
            _ => None,
        }
    }

    /// The controller says that this replica leads, or how the in-sync set stands. True if a new epoch begins.
    pub fn lead(&mut self, state: LeaderState, log_end: Offset, now: MonoTime) -> bool {
        if let Role::Leader(leadership) = &mut self.role
            && leadership.epoch == state.epoch
        {
            if leadership.version < state.version {
                leadership.in_sync = state.in_sync;
                leadership.version = state.version;
                leadership.proposed = None;
                self.advance(log_end);
            }
            return false;
        }
        let fresh = FollowerState {
            epoch: None,
            log_end: Offset::new(0),
            caught_up_at: now,
            last_fetch_at: now,
            leader_end_at_last_fetch: Offset::new(0),
        };
        let others = state.replicas.iter().filter(|broker| **broker != self.me);
        self.high_watermark = self.high_watermark.min(log_end);
        self.role = Role::Leader(Leadership {
            epoch: state.epoch,
            epoch_start: log_end,
            in_sync: state.in_sync,
            version: state.version,
            proposed: None,
            followers: others.map(|broker| (*broker, fresh)).collect(),
        });
        self.advance(log_end);
        true
    }

    /// The controller says whom to follow. True if a new epoch begins.
    pub fn follow(&mut self, leader: Option<BrokerId>, epoch: LeaderEpoch) -> bool {
        if let Role::Follower { leader: before, epoch: known } = self.role
            && before == leader
            && known == epoch
        {
            return false;
        }
        self.role = Role::Follower { leader, epoch };
        true
    }

    /// The leader's log has grown.
    pub fn on_append(&mut self, log_end: Offset) {
        self.advance(log_end);
    }

    /// A follower fetches.
    pub fn on_follower_fetch(
        &mut self,
        Progress { follower, epoch, offset, diverged }: Progress,
        log_end: Offset,
        now: MonoTime,
    ) -> Option<Proposal> {
        let high_watermark = self.high_watermark;
        let Role::Leader(leadership) = &mut self.role else { return None };
        if diverged && !bug("K10") {
            return None;
        }
        let known = leadership.followers.get_mut(&follower)?;
        if known.epoch.is_some_and(|met| epoch < met) {
            crate::reached!("a leader ignored the fetch of a follower's former life");
            return None;
        }
        known.epoch = Some(epoch);
        if log_end <= offset {
            known.caught_up_at = now;
        } else if known.leader_end_at_last_fetch <= offset {
            known.caught_up_at = known.caught_up_at.max(known.last_fetch_at);
        }
        known.log_end = offset.min(log_end);
        known.last_fetch_at = now;
        known.leader_end_at_last_fetch = log_end;
        // A new leader's high watermark may lag what older leaders committed, so that reaching it proves nothing before the start of
        // this epoch is reached too (KAFKA-7128).
        let caught_up = high_watermark <= offset && (leadership.epoch_start <= offset || bug("K04"));
        let joins = caught_up && !leadership.in_sync.contains(&follower) && leadership.proposed.is_none();
        let proposal = joins.then(|| {
            crate::reached!("a follower asked to rejoin the in-sync set");
            let mut in_sync = leadership.in_sync.clone();
            in_sync.insert(follower);
            leadership.propose(in_sync)
        });
        self.advance(log_end);
        proposal
    }

    /// Of a leader: whether its in-sync set lacks replicas, and how many records the last of its followers lacks.
    pub fn standing(&self, log_end: Offset) -> Option<(bool, u64)> {
        let leadership = self.leadership()?;
        let short = leadership.in_sync.len() <= leadership.followers.len();
        let behind = leadership.followers.values().map(|follower| log_end.get() - follower.log_end.get());
        Some((short, behind.max().unwrap_or(0).max(0) as u64))
    }

    /// Time has passed: followers that lag too long are proposed for removal.
    pub fn on_tick(&mut self, log_end: Offset, now: MonoTime, lag_max: Duration) -> Option<Proposal> {
        let me = self.me;
        let Role::Leader(leadership) = &mut self.role else { return None };
        if leadership.proposed.is_some() {
            return None;
        }
        let keeps = |broker: &&BrokerId| {
            **broker == me
                || leadership.followers.get(broker).is_some_and(|follower| {
                    log_end <= follower.log_end || now.since(follower.caught_up_at) <= lag_max
                })
        };
        let in_sync: BTreeSet<BrokerId> = leadership.in_sync.iter().filter(keeps).copied().collect();
        if in_sync == leadership.in_sync {
            return None;
        }
        crate::reached!("a follower left the in-sync set");
        Some(leadership.propose(in_sync))
    }

    /// The controller has refused the proposal on this version for good: another may be made. (One that was taken comes back as a
    /// new state, and so does whatever made its version old. Until then it may have been taken, and the larger set counts.)
    pub fn on_refused(&mut self, version: StateVersion) {
        if let Role::Leader(leadership) = &mut self.role
            && leadership.version == version
        {
            leadership.proposed = None;
        }
    }

    /// Whether a proposal on this version still waits for its answer.
    pub fn awaits(&self, version: StateVersion) -> bool {
        self.leadership()
            .is_some_and(|leadership| leadership.version == version && leadership.proposed.is_some())
    }

    /// A proposal that may have been taken cannot be carried out now. The in-sync set as it stands, proposed once more, gives the
    /// state a new version, on which the old proposal can never be taken.
    pub fn reaffirm(&self) -> Option<Proposal> {
        let leadership = self.leadership()?;
        Some(leadership.proposal(&leadership.in_sync))
    }

    /// A follower learns its leader's high watermark.
    pub fn on_leader_watermark(&mut self, leader: Offset, log_end: Offset) {
        if let Role::Follower { .. } = self.role {
            self.high_watermark = self.high_watermark.max(leader.min(log_end));
        }
    }

    /// A follower's log was cut. Only an unclean election lets it end below what was committed.
    pub fn on_truncated(&mut self, log_end: Offset) {
        crate::always!(self.leadership().is_none(), "a leader never truncates its log");
        self.high_watermark = self.high_watermark.min(log_end);
    }

    /// Whether enough replicas are in sync to accept acks=all.
    pub fn has_enough_in_sync(&self) -> bool {
        self.leadership().is_some_and(|leadership| self.min_in_sync <= leadership.in_sync.len())
    }

    /// Moves the high watermark to what all replicas in sync have, and those that are about to be (KIP-497: the larger set).
    fn advance(&mut self, log_end: Offset) {
        let Role::Leader(leadership) = &self.role else { return };
        // A replica that left the set last may lead again: what it lacks is not committed (KIP-966).
        if leadership.in_sync.len() < self.min_in_sync && !bug("K28") {
            return;
        }
        let proposed = leadership.proposed.iter().flatten();
        let ends = leadership.in_sync.iter().chain(proposed).map(|broker| {
            if *broker == self.me {
                log_end
            } else {
                leadership.followers.get(broker).map_or(Offset::new(0), |follower| follower.log_end)
            }
        });
        let committed = ends.min().unwrap_or_default();
        self.high_watermark = self.high_watermark.max(committed);
        crate::always!(
            self.high_watermark <= log_end,
            "the high watermark stays within the log",
            "{} beyond {log_end}",
            self.high_watermark
        );
    }
}

impl Leadership {
    fn propose(&mut self, in_sync: BTreeSet<BrokerId>) -> Proposal {
        let proposal = self.proposal(&in_sync);
        self.proposed = Some(in_sync);
        proposal
    }

    fn proposal(&self, in_sync: &BTreeSet<BrokerId>) -> Proposal {
        let met = |broker: &BrokerId| self.followers.get(broker).and_then(|follower| follower.epoch);
        let in_sync = in_sync.iter().map(|broker| (*broker, met(broker))).collect();
        Proposal { epoch: self.epoch, version: self.version, in_sync }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(2);

    fn b(number: i32) -> BrokerId {
        BrokerId::new(number)
    }
    fn at(offset: i64) -> Offset {
        Offset::new(offset)
    }
    fn second(seconds: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(seconds)
    }
    fn progress(follower: i32, offset: i64) -> Progress {
        Progress { follower: b(follower), epoch: BrokerEpoch::new(1), offset: at(offset), diverged: false }
    }
    fn state(epoch: i32, version: i32, in_sync: &[i32]) -> LeaderState {
        LeaderState {
            epoch: LeaderEpoch::new(epoch),
            version: StateVersion::new(version),
            in_sync: in_sync.iter().copied().map(b).collect(),
            replicas: vec![b(1), b(2), b(3)],
        }
    }

    #[test]
    fn what_all_in_sync_replicas_have_is_committed_and_no_more() {
        let mut replica = Replica::new(b(1), 2, at(0));
        assert!(replica.lead(state(1, 0, &[1, 2, 3]), at(10), second(0)));
        assert_eq!(replica.high_watermark(), at(0), "nobody has fetched yet");
        replica.on_follower_fetch(progress(2, 10), at(10), second(1));
        replica.on_follower_fetch(progress(3, 7), at(10), second(1));
        assert_eq!(replica.high_watermark(), at(7));
        assert_eq!(replica.on_tick(at(10), second(1), LAG), None);
        let proposal = replica.on_tick(at(10), second(3), LAG).expect("b3 has lagged for three seconds");
        let met = BTreeMap::from([(b(1), None), (b(2), Some(BrokerEpoch::new(1)))]);
        assert_eq!(proposal.in_sync, met);
        assert_eq!(replica.high_watermark(), at(7), "until the controller has agreed");
        assert!(!replica.lead(state(1, 1, &[1, 2]), at(10), second(3)));
        assert_eq!(replica.high_watermark(), at(10));
        assert!(!replica.lead(state(1, 2, &[1]), at(12), second(3)));
        assert_eq!(replica.high_watermark(), at(10), "one replica is fewer than two");
        assert!(!replica.has_enough_in_sync());
    }

    #[test]
    fn a_follower_that_may_have_joined_is_waited_for() {
        let mut replica = Replica::new(b(1), 2, at(0));
        replica.lead(state(1, 7, &[1, 2]), at(0), second(0));
        let joins = replica.on_follower_fetch(progress(3, 0), at(0), second(1)).expect("it has all");
        assert_eq!(joins.in_sync.len(), 3);
        replica.on_follower_fetch(progress(2, 5), at(5), second(2));
        assert_eq!(replica.high_watermark(), at(0), "the controller may count b3 in already");
        assert!(replica.awaits(joins.version));
        assert_eq!(replica.on_tick(at(5), second(9), LAG), None, "one proposal at a time");
        let again = replica.reaffirm().expect("it leads");
        assert_eq!((again.version, again.in_sync.len()), (joins.version, 2));
        replica.lead(state(1, 8, &[1, 2]), at(5), second(9));
        assert!(!replica.awaits(joins.version));
        assert_eq!(replica.high_watermark(), at(5), "b3 can join no more on the old version");
    }

    #[test]
    fn a_follower_joins_only_from_the_start_of_the_epoch_on() {
        let mut replica = Replica::new(b(1), 1, at(3));
        replica.lead(state(5, 0, &[1, 2]), at(10), second(0));
        assert_eq!(replica.high_watermark(), at(3), "it lags what older leaders committed");
        assert_eq!(replica.on_follower_fetch(progress(3, 4), at(10), second(1)), None);
        let diverged = Progress { diverged: true, ..progress(3, 10) };
        assert_eq!(replica.on_follower_fetch(diverged, at(10), second(1)), None, "its log differs");
        assert!(replica.on_follower_fetch(progress(3, 10), at(10), second(1)).is_some());
    }

    #[test]
    fn the_fetch_of_a_former_life_is_no_progress() {
        let mut replica = Replica::new(b(1), 1, at(0));
        replica.lead(state(1, 0, &[1]), at(0), second(0));
        replica.on_append(at(5));
        let reborn = Progress { epoch: BrokerEpoch::new(2), ..progress(2, 3) };
        assert_eq!(replica.on_follower_fetch(reborn, at(5), second(1)), None);
        assert_eq!(replica.on_follower_fetch(progress(2, 5), at(5), second(1)), None, "delayed on its way");
        let reborn = Progress { epoch: BrokerEpoch::new(2), ..progress(2, 5) };
        let joins = replica.on_follower_fetch(reborn, at(5), second(2)).expect("it has all now");
        assert_eq!(joins.in_sync[&b(2)], Some(BrokerEpoch::new(2)));
    }
}
