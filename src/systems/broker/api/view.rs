//! What a client knows of the cluster: who leads what, and where brokers are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use rand::Rng;

use crate::base::Stream;
use crate::systems::broker::id::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::systems::broker::wire::{Channel, Request, Response, parse_host, text};
use crate::systems::sites;
use crate::world::{Address, Host};

/// How long one broker may take to tell.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client's view of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct View(Rc<State>);

struct State {
    host: Host,
    bootstrap: Vec<Address>,
    known: RefCell<Known>,
    chance: RefCell<Stream>,
}

#[derive(Default)]
struct Known {
    brokers: BTreeMap<BrokerId, Address>,
    controller: Option<BrokerId>,
    leaders: BTreeMap<TopicPartition, (BrokerId, LeaderEpoch)>,
    /// Which topic has a name, and how many parts.
    topics: BTreeMap<String, (TopicId, i32)>,
}

impl View {
    /// A view that begins with these brokers.
    pub fn new(host: &Host, bootstrap: &[Address], stream: &str) -> Self {
        assert!(!bootstrap.is_empty(), "a cluster has a broker");
        let chance = RefCell::new(host.random(stream));
        Self(Rc::new(State {
            host: host.clone(),
            bootstrap: bootstrap.to_vec(),
            known: RefCell::default(),
            chance,
        }))
    }

    /// The leader of a topic partition: its address and fencing number.
    pub fn leader(&self, id: &TopicPartition) -> Option<(Address, LeaderEpoch)> {
        let known = self.0.known.borrow();
        let (broker, epoch) = known.leaders.get(id)?;
        Some((*known.brokers.get(broker)?, *epoch))
    }

    /// How many parts a topic has.
    pub fn parts(&self, topic: &str) -> Option<i32> {
        self.0.known.borrow().topics.get(topic).map(|(_, parts)| *parts)
    }

    /// Which of the topics that ever had this name.
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        self.0.known.borrow().topics.get(name).map(|(id, _)| *id)
    }

    /// The controller's address.
    pub fn controller(&self) -> Option<Address> {
        let known = self.0.known.borrow();
        known.brokers.get(&known.controller?).copied()
    }

    /// A connection to any broker.
    pub fn any_broker(&self, host: &Host) -> Channel {
        let known = self.0.known.borrow();
        let candidates: Vec<Address> =
            self.0.bootstrap.iter().chain(known.brokers.values()).copied().collect();
        let at = self.0.chance.borrow_mut().random_range(0..candidates.len());
        Channel::new(host, candidates[at], host.name())
    }

    /// Asks a random broker how things stand.
    pub async fn ask(&self, topic: &str) -> Option<MetadataResponse> {
        Self::ask_at(&self.any_broker(&self.0.host), topic).await
    }

    /// Asks the broker at the end of `channel` how things stand.
    pub async fn ask_at(channel: &Channel, topic: &str) -> Option<MetadataResponse> {
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        match channel.call(ApiKey::Metadata, &Request::Metadata(request), PATIENCE).await {
            Ok(Response::Metadata(metadata)) => Some(metadata),
            _ => None,
        }
    }

    /// Takes over what a random broker tells; false if it did not.
    pub async fn refresh(&self, topic: &str) -> bool {
        let Some(metadata) = self.ask(topic).await else { return false };
        self.0.host.buggify_delay(&sites::METADATA).await;
        let mut known = self.0.known.borrow_mut();
        for broker in &metadata.brokers {
            if let (Some(host), Ok(port)) = (parse_host(&broker.host), u16::try_from(broker.port)) {
                known.brokers.insert(BrokerId::new(broker.node_id.0), Address { host, port });
            }
        }
        known.controller = (0 <= metadata.controller_id.0).then(|| BrokerId::new(metadata.controller_id.0));
        let mut found = false;
        for answer in metadata.topics.iter().filter(|answer| answer.error_code == 0) {
            let Some(topic_id) = TopicId::from_uuid(answer.topic_id) else { continue };
            if known.topics.get(topic).is_some_and(|(newest, _)| topic_id < *newest) {
                crate::reached!("a client was told of a topic that is gone");
                continue;
            }
            found = true;
            let entry = (topic_id, answer.partitions.len() as i32);
            let before = known.topics.insert(topic.to_owned(), entry);
            if before.is_some_and(|(id, _)| id != topic_id) {
                crate::reached!("a client met a topic that was created anew");
                // Created anew: its leaders' epochs begin anew too.
                known.leaders.retain(|id, _| *id.topic != *topic);
            }
            for partition in &answer.partitions {
                let id = TopicPartition::new(topic, partition.partition_index);
                let epoch = LeaderEpoch::new(partition.leader_epoch);
                // A broker that lags must not send the client back to an older leader (KIP-320).
                let newer = known.leaders.get(&id).is_none_or(|(_, known)| *known <= epoch);
                if 0 <= partition.leader_id.0 && newer {
                    known.leaders.insert(id, (BrokerId::new(partition.leader_id.0), epoch));
                }
            }
        }
        found
    }

    /// Asks until the topic is known.
    pub async fn wait_for(&self, topic: &str) -> i32 {
        loop {
            if let Some(parts) = self.parts(topic) {
                return parts;
            }
            if !self.refresh(topic).await {
                self.0.host.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
