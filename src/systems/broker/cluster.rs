//! What the controller decides: who leads, who is in sync, where replicas stand.
//!
//! Pure: the cluster as it is and what happened in, changed partition states out. Leadership after KIP-966: a replica that left the
//! in-sync set while it held all that was committed stays *eligible*; one that came back without what it had not synced is neither in
//! sync nor eligible any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::systems::broker::TopicConfig;
use crate::systems::broker::id::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, StateVersion, TopicId, TopicPartition,
};
use crate::systems::broker::reassign::Move;
use crate::world::Address;
use crate::world::property::bug;

/// What a broker says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Where clients reach it.
    pub address: Address,
    /// The zone it stands in.
    pub zone: String,
    /// Whether it has all that it had before: it stopped in good order, or its machine has had power since.
    pub intact: bool,
}

/// A broker that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveBroker {
    /// What it said.
    pub registration: Registration,
    /// The fencing number of this life.
    pub epoch: BrokerEpoch,
}

/// The state of a topic partition, as the controller writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// All replicas; the first is preferred as leader.
    pub replicas: Vec<BrokerId>,
    /// Who leads.
    pub leader: Option<BrokerId>,
    /// Its fencing number.
    pub leader_epoch: LeaderEpoch,
    /// Who is in sync.
    pub in_sync: BTreeSet<BrokerId>,
    /// Who is not, but holds all that was committed.
    pub eligible: BTreeSet<BrokerId>,
    /// Whether a leader was ever chosen that did not hold all that was committed.
    pub unclean: bool,
    /// The controller that wrote it.
    pub controller_epoch: ControllerEpoch,
    /// The version of its znode, once written.
    pub version: StateVersion,
    /// Whether its replicas are being moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<Move>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Which of those that ever had its name.
    pub id: TopicId,
    /// Its settings.
    pub config: TopicConfig,
    /// Its parts.
    pub partitions: Vec<PartitionState>,
}

/// The cluster as its controller sees it, and as it tells all brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Who controls it.
    pub controller: BrokerId,
    /// The controller's fencing number.
    pub controller_epoch: ControllerEpoch,
    /// How many images this controller has published, up to this one.
    pub number: u64,
    /// The brokers that are alive.
    pub brokers: BTreeMap<BrokerId, LiveBroker>,
    /// The topics.
    pub topics: BTreeMap<String, Topic>,
    /// The lives of brokers that the partitions' states take account of.
    pub known: BTreeMap<BrokerId, BrokerEpoch>,
    /// Whether the topics that exist from the start have been created.
    pub bootstrapped: bool,
}

/// Why a change of the in-sync set is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AlterError {
    /// The one asked is no controller.
    NotController,
    /// The one asking is not the leader (any more).
    Fenced,
    /// It builds on an old state.
    InvalidVersion,
    /// It names a broker that is not alive, or one that has restarted since.
    Ineligible,
    /// There is no such topic partition.
    UnknownTopicPartition,
}

/// Why the preferred replica is not made leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ElectError {
    /// There is no such topic partition.
    UnknownTopicPartition,
    /// It leads already.
    NotNeeded,
    /// It is not alive, or not in sync.
    NotAvailable,
}

/// A changed state, to be written.
pub type Change = (TopicPartition, PartitionState);

impl PartitionState {
    /// Another in-sync set. Those that leave it while it falls below `min_in_sync` stay eligible, because nothing is committed
    /// without them from then on.
    fn with_in_sync(&self, in_sync: BTreeSet<BrokerId>, min_in_sync: u32) -> Self {
        let eligible = if min_in_sync as usize <= in_sync.len() {
            BTreeSet::new()
        } else {
            self.in_sync.union(&self.eligible).filter(|broker| !in_sync.contains(broker)).copied().collect()
        };
        Self { in_sync, eligible, ..self.clone() }
    }

    pub(super) fn led_by(self, leader: Option<BrokerId>) -> Self {
        Self { leader, leader_epoch: self.leader_epoch.next(), ..self }
    }
}

impl Image {
    pub(super) fn is_alive(&self, broker: BrokerId) -> bool {
        self.brokers.contains_key(&broker)
    }

    /// Each topic partition with its topic.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Topic, &PartitionState)> {
        self.topics.iter().flat_map(|(name, topic)| {
            topic
                .partitions
                .iter()
                .enumerate()
                .map(move |(index, state)| (TopicPartition::new(name, index as i32), topic, state))
        })
    }

    /// The name of a topic.
    pub fn name_of(&self, id: TopicId) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// The state of a topic partition.
    pub fn state(&self, id: &TopicPartition) -> Option<(&TopicConfig, &PartitionState)> {
        let topic = self.topics.get(&*id.topic)?;
        Some((&topic.config, topic.partitions.get(usize::try_from(id.index).ok()?)?))
    }

    /// Takes a written change over.
    pub fn apply(&mut self, (id, state): Change) {
        let slot =
            self.topics.get_mut(&*id.topic).and_then(|topic| topic.partitions.get_mut(id.index as usize));
        if let Some(slot) = slot {
            *slot = state;
        }
    }

    /// What follows from the brokers that are alive now. `stopping`: do not let these lead.
    pub fn on_brokers(
        &mut self,
        brokers: BTreeMap<BrokerId, LiveBroker>,
        stopping: &BTreeSet<BrokerId>,
    ) -> Vec<Change> {
        let returned: BTreeSet<BrokerId> = brokers
            .iter()
            .filter(|(id, live)| self.known.get(id) != Some(&live.epoch))
            .map(|(id, _)| *id)
            .collect();
        self.known.extend(brokers.iter().map(|(id, live)| (*id, live.epoch)));
        self.brokers = brokers;
        let partitions: Vec<(TopicPartition, TopicConfig, PartitionState)> =
            self.partitions().map(|(id, topic, state)| (id, topic.config.clone(), state.clone())).collect();
        let mut changes = Vec::new();
        for (id, config, before) in partitions {
            let mut state = before.clone();
            for broker in state.replicas.clone() {
                let amnesiac = returned.contains(&broker) && !self.brokers[&broker].registration.intact;
                if amnesiac {
                    self.forget(broker, &mut state, config.min_in_sync);
                }
            }
            let lost = |broker: BrokerId| !self.is_alive(broker) || returned.contains(&broker);
            // A leader that was away has lost its place even if it is back already.
            if state.leader.is_none_or(lost)
                || state.leader.is_some_and(|leader| !state.in_sync.contains(&leader))
            {
                state = self.elect(state, &config, stopping);
            } else {
                let in_sync: BTreeSet<BrokerId> =
                    state.in_sync.iter().filter(|broker| !lost(**broker)).copied().collect();
                if in_sync != state.in_sync {
                    let leader = state.leader;
                    state = state.with_in_sync(in_sync, config.min_in_sync).led_by(leader);
                }
            }
            if state != before {
                changes.push((id, state));
            }
        }
        changes
    }

    /// A broker has come back without what it had not synced.
    fn forget(&self, broker: BrokerId, state: &mut PartitionState, min_in_sync: u32) {
        state.eligible.remove(&broker);
        if !state.in_sync.contains(&broker) {
            return;
        }
        if state.in_sync.len() == 1 && state.eligible.is_empty() {
            // The last that was known to lead is the best there is.
            crate::reached!("the last known leader was trusted after it had lost power");
            return;
        }
        let in_sync = state.in_sync.iter().filter(|other| **other != broker).copied().collect();
        *state = state.with_in_sync(in_sync, min_in_sync);
        state.eligible.remove(&broker);
    }

    /// Chooses a leader: of those in sync; else of those eligible; else, where the topic allows it, of any.
    pub(super) fn elect(
        &self,
        state: PartitionState,
        config: &TopicConfig,
        stopping: &BTreeSet<BrokerId>,
    ) -> PartitionState {
        let alive = |broker: &&BrokerId| self.is_alive(**broker);
        let best = |of: &BTreeSet<BrokerId>| {
            let fit = || state.replicas.iter().filter(|broker| of.contains(broker)).filter(alive);
            fit().find(|broker| !stopping.contains(broker)).or_else(|| fit().next()).copied()
        };
        let min = config.min_in_sync;
        if let Some(leader) = best(&state.in_sync) {
            let in_sync = state.in_sync.iter().filter(alive).copied().collect();
            return state.with_in_sync(in_sync, min).led_by(Some(leader));
        }
        if let Some(leader) = best(&state.eligible) {
            crate::reached!("an eligible replica outside the in-sync set was elected");
            return state.with_in_sync(BTreeSet::from([leader]), min).led_by(Some(leader));
        }
        if config.unclean_leader_election
            && let Some(leader) = state.replicas.iter().find(alive).copied()
        {
            crate::reached!("an unclean leader was elected");
            let state = PartitionState {
                in_sync: BTreeSet::from([leader]),
                eligible: BTreeSet::new(),
                unclean: true,
                ..state
            };
            return state.led_by(Some(leader));
        }
        if state.leader.is_none() { state } else { state.led_by(None) }
    }

    /// A leader asks for another in-sync set, of brokers in the lives in which it met them; `None` where it has met none yet.
    ///
    /// # Errors
    /// See [`AlterError`].
    pub fn alter_in_sync(
        &self,
        (id, topic): (&TopicPartition, TopicId),
        leader: (BrokerId, BrokerEpoch, LeaderEpoch),
        version: StateVersion,
        in_sync: &BTreeMap<BrokerId, Option<BrokerEpoch>>,
    ) -> Result<Change, AlterError> {
        let same = self.topics.get(&*id.topic).is_some_and(|known| known.id == topic);
        let (config, state) = self.state(id).filter(|_| same).ok_or(AlterError::UnknownTopicPartition)?;
        let (broker, broker_epoch, leader_epoch) = leader;
        let current = self.brokers.get(&broker).is_some_and(|live| live.epoch == broker_epoch);
        if !current || state.leader != Some(broker) || state.leader_epoch != leader_epoch {
            return Err(AlterError::Fenced);
        }
        if state.version != version {
            return Err(AlterError::InvalidVersion);
        }
        // One that has restarted since it caught up may have lost what it caught up with (KIP-903).
        let fit = |(other, met): (&BrokerId, &Option<BrokerEpoch>)| {
            let live = self.brokers.get(other).map(|live| live.epoch);
            let same = met.is_none() || *met == live || bug("K27");
            live.is_some() && same && state.replicas.contains(other)
        };
        if !in_sync.contains_key(&broker) || !in_sync.iter().all(fit) {
            return Err(AlterError::Ineligible);
        }
        Ok((id.clone(), state.with_in_sync(in_sync.keys().copied().collect(), config.min_in_sync)))
    }

    /// Moves leadership to the preferred replicas where they are in sync, and away from brokers that are stopping.
    pub fn rebalance(&self, stopping: &BTreeSet<BrokerId>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, _, state) in self.partitions() {
            let fit = |broker: &&BrokerId| {
                state.in_sync.contains(broker) && self.is_alive(**broker) && !stopping.contains(broker)
            };
            let wanted = state.replicas.iter().find(fit).copied();
            if wanted.is_some() && wanted != state.leader && state.leader.is_some() {
                crate::reached!("leadership moved to a preferred replica");
                changes.push((id, state.clone().led_by(wanted)));
            }
        }
        changes
    }

    /// An operator wants the preferred replica of a part to lead, which must be in sync (KIP-183, KIP-460).
    ///
    /// # Errors
    /// See [`ElectError`].
    pub fn elect_preferred(&self, id: &TopicPartition) -> Result<Change, ElectError> {
        let (_, state) = self.state(id).ok_or(ElectError::UnknownTopicPartition)?;
        let preferred = state.replicas.first().copied();
        if state.leader == preferred {
            return Err(ElectError::NotNeeded);
        }
        let fit = |broker: BrokerId| self.is_alive(broker) && state.in_sync.contains(&broker);
        let leader = preferred.filter(|broker| fit(*broker)).ok_or(ElectError::NotAvailable)?;
        crate::reached!("an operator had the preferred replica lead");
        Ok((id.clone(), state.clone().led_by(Some(leader))))
    }

    /// Where the replicas of a new topic stand: spread over the zones, and over the brokers within them (KIP-36). No two of a part
    /// share a zone unless every zone has one. `None` if there are too few brokers.
    pub fn place(&self, id: TopicId, config: &TopicConfig, first: usize) -> Option<Topic> {
        let mut zones: BTreeMap<&str, Vec<BrokerId>> = BTreeMap::new();
        for (broker, live) in &self.brokers {
            zones.entry(&live.registration.zone).or_default().push(*broker);
        }
        let zone_count = zones.len();
        // Brokers in an order that goes round the zones.
        let longest = zones.values().map(Vec::len).max()?;
        let order: Vec<(BrokerId, &str)> = (0..longest)
            .flat_map(|at| zones.iter().filter_map(move |(zone, brokers)| Some((*brokers.get(at)?, *zone))))
            .collect();
        let count = order.len();
        let replication = config.replicas as usize;
        if count < replication {
            return None;
        }
        let partition = |index: usize| {
            let start = first + index;
            // After each round the followers are shifted against the leader, so that a lost broker's load spreads.
            let shift = start / count * zone_count;
            let mut chosen = vec![order[start % count]];
            let mut step = 0;
            while chosen.len() < replication {
                let candidate = order[(start + 1 + (shift + step) % (count - 1)) % count];
                step += 1;
                let held: BTreeSet<&str> = chosen.iter().map(|(_, zone)| *zone).collect();
                let crowded = held.contains(candidate.1) && held.len() < zone_count;
                if !crowded && !chosen.contains(&candidate) {
                    chosen.push(candidate);
                }
            }
            let replicas: Vec<BrokerId> = chosen.into_iter().map(|(broker, _)| broker).collect();
            PartitionState {
                leader: replicas.first().copied(),
                in_sync: replicas.iter().copied().collect(),
                replicas,
                leader_epoch: LeaderEpoch::new(0),
                eligible: BTreeSet::new(),
                unclean: false,
                controller_epoch: self.controller_epoch,
                version: StateVersion::new(0),
                under_way: None,
            }
        };
        let partitions = (0..config.partitions as usize).map(partition).collect();
        Some(Topic { id, config: config.clone(), partitions })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::HostId;

    pub(crate) fn b(number: i32) -> BrokerId {
        BrokerId::new(number)
    }

    pub(crate) fn live(number: i32, epoch: i64, intact: bool) -> (BrokerId, LiveBroker) {
        let address = Address { host: HostId::new(number as u32), port: 9092 };
        let registration = Registration { address, zone: format!("z{}", number % 3), intact };
        (b(number), LiveBroker { registration, epoch: BrokerEpoch::new(epoch) })
    }

    fn image() -> Image {
        image_of(3)
    }

    /// So many brokers, and a topic `t` of one part on three of them, of which two must be in sync.
    pub(crate) fn image_of(count: i32) -> Image {
        let brokers = (1..=count).map(|number| live(number, 1, true)).collect();
        let known = (1..=count).map(|number| (b(number), BrokerEpoch::new(1))).collect();
        let mut image = Image {
            controller: b(1),
            controller_epoch: ControllerEpoch::new(1),
            number: 0,
            brokers,
            topics: BTreeMap::new(),
            known,
            bootstrapped: true,
        };
        let topic = image.place(TopicId::new(1), &TopicConfig::new("t", 1, 3, 2), 0).expect("three brokers");
        image.topics.insert("t".into(), topic);
        image
    }

    fn after(image: &mut Image, brokers: Vec<(BrokerId, LiveBroker)>) -> PartitionState {
        for change in image.on_brokers(brokers.into_iter().collect(), &BTreeSet::new()) {
            image.apply(change);
        }
        image.topics["t"].partitions[0].clone()
    }

    proptest! {
        #[test]
        fn replicas_stand_in_different_zones_and_brokers_bear_equal_shares(
            brokers in 1..=9_i32, replicas in 1..=4_u32, rounds in 1..=3_u32, first in 0..20_usize,
        ) {
            let mut image = image();
            image.brokers = (1..=brokers).map(|number| live(number, 1, true)).collect();
            let partitions = brokers as u32 * rounds;
            let config = TopicConfig::new("u", partitions, replicas, 1);
            let Some(topic) = image.place(TopicId::new(2), &config, first) else {
                prop_assert!(brokers < replicas as i32);
                return Ok(());
            };
            let mut led: BTreeMap<BrokerId, u32> = BTreeMap::new();
            for partition in &topic.partitions {
                let zones: BTreeSet<i32> = partition.replicas.iter().map(|broker| broker.get() % 3).collect();
                let distinct: BTreeSet<&BrokerId> = partition.replicas.iter().collect();
                prop_assert_eq!(distinct.len(), replicas as usize);
                prop_assert_eq!(zones.len(), (replicas as usize).min(3).min(brokers as usize));
                *led.entry(partition.replicas[0]).or_default() += 1;
            }
            prop_assert!(led.values().all(|count| *count == rounds), "{:?}", led);
        }
    }

    #[test]
    fn the_preferred_replica_leads_on_demand_if_it_is_in_sync() {
        let mut image = image();
        let id = TopicPartition::new("t", 0);
        let part = || TopicPartition::new("t", 0);
        let with = |image: &Image, leader: BrokerId, in_sync: &[BrokerId]| {
            let in_sync = in_sync.iter().copied().collect();
            PartitionState { leader: Some(leader), in_sync, ..image.topics["t"].partitions[0].clone() }
        };
        let replicas = image.topics["t"].partitions[0].replicas.clone();
        assert_eq!(image.elect_preferred(&id), Err(ElectError::NotNeeded));
        image.apply((part(), with(&image, replicas[1], &replicas[1..])));
        assert_eq!(image.elect_preferred(&id), Err(ElectError::NotAvailable), "it is not in sync");
        image.apply((part(), with(&image, replicas[1], &replicas)));
        let before = image.topics["t"].partitions[0].leader_epoch;
        let (_, moved) = image.elect_preferred(&id).expect("it is in sync");
        assert_eq!((moved.leader, moved.leader_epoch), (Some(replicas[0]), before.next()));
        image.brokers.remove(&replicas[0]);
        assert_eq!(image.elect_preferred(&id), Err(ElectError::NotAvailable), "it is not alive");
        let other = TopicPartition::new("u", 0);
        assert_eq!(image.elect_preferred(&other), Err(ElectError::UnknownTopicPartition));
    }

    #[test]
    fn a_follower_that_has_restarted_since_it_caught_up_is_not_counted_in() {
        let image = image();
        let id = TopicPartition::new("t", 0);
        let leader = image.topics["t"].partitions[0].leader.expect("it has one");
        let asking = (leader, BrokerEpoch::new(1), LeaderEpoch::new(0));
        let met = |epoch| {
            let others = (1..=3).map(|number| (b(number), Some(BrokerEpoch::new(1))));
            let mut set: BTreeMap<BrokerId, Option<BrokerEpoch>> = others.collect();
            set.insert(b(if leader == b(3) { 2 } else { 3 }), epoch);
            set
        };
        let topic = TopicId::new(1);
        let ask = |epoch| image.alter_in_sync((&id, topic), asking, StateVersion::new(0), &met(epoch));
        assert!(ask(Some(BrokerEpoch::new(1))).is_ok());
        assert!(ask(None).is_ok());
        assert_eq!(ask(Some(BrokerEpoch::new(0))).err(), Some(AlterError::Ineligible));
        // What a leader asked for the topic that had the name before must not count in a replica of this one.
        let late = image.alter_in_sync((&id, TopicId::new(7)), asking, StateVersion::new(0), &met(None));
        assert_eq!(late.err(), Some(AlterError::UnknownTopicPartition));
    }

    #[test]
    fn a_replica_that_fell_away_below_the_minimum_may_lead_and_one_that_forgot_may_not() {
        let mut image = image();
        let first = image.topics["t"].partitions[0].replicas[0];
        let others: Vec<BrokerId> = (1..=3).map(b).filter(|broker| *broker != first).collect();
        let of = |broker: BrokerId, epoch, intact| live(broker.get(), epoch, intact);
        // Both followers fall away: the leader is alone, they stay eligible.
        let alone = after(&mut image, vec![of(first, 1, true)]);
        assert_eq!((alone.leader, alone.in_sync.len(), alone.eligible.len()), (Some(first), 1, 2));
        // The leader loses power; one follower is back. It takes over, because it has all that was committed.
        let taken = after(&mut image, vec![of(others[0], 2, true)]);
        assert_eq!(taken.leader, Some(others[0]), "nothing was committed without it");
        let back = after(&mut image, vec![of(first, 3, false), of(others[0], 2, true)]);
        assert_eq!(back.leader, Some(others[0]));
        assert!(!back.eligible.contains(&first) && !back.in_sync.contains(&first));
        assert!(alone.leader_epoch < back.leader_epoch);
        assert!(!back.unclean);
    }
}
