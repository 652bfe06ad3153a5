//! Creates, describes and deletes topics, has preferred replicas lead, and moves replicas.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, ApiKey, BrokerId as MetadataBrokerId, CreateTopicsRequest,
    DeleteTopicsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest, MetadataResponse, TopicName,
};

use crate::systems::broker::TopicConfig;
use crate::systems::broker::api::view::View;
use crate::systems::broker::id::{BrokerId, LeaderEpoch, TopicId};
use crate::systems::broker::wire::{Channel, Request, Response, text};
use crate::world::{Address, Host};

const PATIENCE: Duration = Duration::from_secs(5);
const BACK_OFF: Duration = Duration::from_millis(100);

/// A topic partition as a broker knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDescription {
    /// Who leads; `None` while nobody can.
    pub leader: Option<BrokerId>,
    /// The fencing number of the latest leadership.
    pub leader_epoch: LeaderEpoch,
    /// All replicas; the first is preferred as leader.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub in_sync: BTreeSet<BrokerId>,
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminError {
    /// The cluster refused: it did not happen.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer: it may have happened.
    #[error("outcome unknown")]
    Unknown,
}

impl AdminError {
    /// Whether the cluster refused for this reason.
    pub fn is(&self, error: ResponseError) -> bool {
        *self == Self::Refused(format!("{error:?}"))
    }
}

/// An administrator's client.
pub struct Admin {
    host: Host,
    view: View,
}

impl Admin {
    /// A client that finds the cluster through these brokers.
    pub fn new(host: &Host, brokers: &[Address]) -> Self {
        Self { host: host.clone(), view: View::new(host, brokers, "broker/admin") }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn create_topic(&self, topic: &TopicConfig) -> Result<(), AdminError> {
        let setting = |name: &str, value: Option<String>| {
            let value = value?;
            Some(CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(&value))))
        };
        let configs = [
            setting("min.insync.replicas", Some(topic.min_in_sync.to_string())),
            setting("segment.bytes", Some(topic.segment.get().to_string())),
            setting("unclean.leader.election.enable", Some(topic.unclean_leader_election.to_string())),
            setting("retention.ms", topic.retention.map(|span| span.get().as_millis().to_string())),
            setting("retention.bytes", topic.retention_size.map(|size| size.get().to_string())),
        ];
        let creatable = CreatableTopic::default()
            .with_name(TopicName(text(&topic.name)))
            .with_num_partitions(topic.partitions as i32)
            .with_replication_factor(topic.replicas as i16)
            .with_configs(configs.into_iter().flatten().collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(PATIENCE.as_millis() as i32);
        match self.ask(&topic.name, ApiKey::CreateTopics, Request::CreateTopics(request)).await? {
            Response::CreateTopics(response) => answer(response.topics.first().map(|topic| topic.error_code)),
            _ => Err(AdminError::Unknown),
        }
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        self.delete(name, DeleteTopicState::default().with_name(Some(TopicName(text(name))))).await
    }

    /// Deletes the topic with this id, called `name`, and no other that has come to bear that name (KIP-516).
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn delete_topic_of(&self, name: &str, id: TopicId) -> Result<(), AdminError> {
        self.delete(name, DeleteTopicState::default().with_name(None).with_topic_id(id.to_uuid())).await
    }

    async fn delete(&self, name: &str, topic: DeleteTopicState) -> Result<(), AdminError> {
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(PATIENCE.as_millis() as i32);
        match self.ask(name, ApiKey::DeleteTopics, Request::DeleteTopics(request)).await? {
            Response::DeleteTopics(response) => {
                answer(response.responses.first().map(|topic| topic.error_code))
            }
            _ => Err(AdminError::Unknown),
        }
    }

    /// Which of the topics that ever had this name has it now, as some broker knows; `None` if none has.
    ///
    /// # Errors
    /// `Unknown` if it does not tell.
    pub async fn topic_id(&self, name: &str) -> Result<Option<TopicId>, AdminError> {
        let metadata = self.view.ask(name).await;
        Self::id_in(metadata)
    }

    /// The same, as the broker at this address knows.
    ///
    /// # Errors
    /// `Unknown` if it does not tell.
    pub async fn topic_id_at(&self, broker: Address, name: &str) -> Result<Option<TopicId>, AdminError> {
        Self::id_in(View::ask_at(&Channel::new(&self.host, broker, self.host.name()), name).await)
    }

    fn id_in(metadata: Option<MetadataResponse>) -> Result<Option<TopicId>, AdminError> {
        // A broker that has no news of the cluster yet knows of no broker either.
        let metadata = metadata.filter(|metadata| !metadata.brokers.is_empty()).ok_or(AdminError::Unknown)?;
        let topic = metadata.topics.first().ok_or(AdminError::Unknown)?;
        Ok(TopicId::from_uuid(topic.topic_id).filter(|_| topic.error_code == 0))
    }

    /// How the parts of a topic stand, as some broker knows: news from the controller reaches them one after the other.
    ///
    /// # Errors
    /// `Refused` if that broker knows no such topic.
    pub async fn describe_topic(&self, name: &str) -> Result<Vec<PartitionDescription>, AdminError> {
        let deadline = self.host.now() + PATIENCE;
        loop {
            let metadata = self.view.ask(name).await;
            if let Some(topic) = metadata.and_then(|metadata| metadata.topics.into_iter().next()) {
                answer(Some(topic.error_code))?;
                return Ok(topic.partitions.iter().map(PartitionDescription::read).collect());
            }
            if deadline <= self.host.now() {
                return Err(AdminError::Unknown);
            }
            self.host.sleep(BACK_OFF).await;
        }
    }

    /// The brokers that are alive, as some broker knows.
    ///
    /// # Errors
    /// `Unknown` if it does not tell.
    pub async fn brokers(&self, topic: &str) -> Result<Vec<BrokerId>, AdminError> {
        let metadata = self.view.ask(topic).await.ok_or(AdminError::Unknown)?;
        Ok(metadata.brokers.iter().map(|broker| BrokerId::new(broker.node_id.0)).collect())
    }

    /// Has the preferred replica of each of these parts lead: what the cluster says of each (KIP-460).
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn elect_preferred_leaders(&self, topic: &str, parts: &[i32]) -> Result<Answers, AdminError> {
        let named = TopicPartitions::default().with_topic(TopicName(text(topic)));
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![named.with_partitions(parts.to_vec())]))
            .with_timeout_ms(PATIENCE.as_millis() as i32);
        match self.ask(topic, ApiKey::ElectLeaders, Request::ElectLeaders(request)).await? {
            Response::ElectLeaders(response) => {
                answer(Some(response.error_code))?;
                let topics = response.replica_election_results.into_iter();
                let parts = topics.flat_map(|topic| topic.partition_result);
                Ok(parts.map(|part| (part.partition_id, error(part.error_code))).collect())
            }
            _ => Err(AdminError::Unknown),
        }
    }

    /// Has parts moved to these replicas, or (`None`) such moves cancelled: what the cluster says of each (KIP-455).
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn reassign(
        &self,
        topic: &str,
        wanted: &[(i32, Option<Vec<BrokerId>>)],
    ) -> Result<Answers, AdminError> {
        let part = |(index, to): &(i32, Option<Vec<BrokerId>>)| {
            let to = to.as_ref().map(|to| to.iter().map(|broker| broker.get().into()).collect());
            ReassignablePartition::default().with_partition_index(*index).with_replicas(to)
        };
        let named = ReassignableTopic::default().with_name(TopicName(text(topic)));
        let request = AlterPartitionReassignmentsRequest::default()
            .with_topics(vec![named.with_partitions(wanted.iter().map(part).collect())])
            .with_timeout_ms(PATIENCE.as_millis() as i32);
        let request = Request::AlterPartitionReassignments(request);
        match self.ask(topic, ApiKey::AlterPartitionReassignments, request).await? {
            Response::AlterPartitionReassignments(response) => {
                answer(Some(response.error_code))?;
                let parts = response.responses.into_iter().flat_map(|topic| topic.partitions);
                Ok(parts.map(|part| (part.partition_index, error(part.error_code))).collect())
            }
            _ => Err(AdminError::Unknown),
        }
    }

    /// The parts of a topic whose replicas are being moved.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn moving(&self, topic: &str) -> Result<Vec<i32>, AdminError> {
        let request =
            ListPartitionReassignmentsRequest::default().with_timeout_ms(PATIENCE.as_millis() as i32);
        let request = Request::ListPartitionReassignments(request);
        match self.ask(topic, ApiKey::ListPartitionReassignments, request).await? {
            Response::ListPartitionReassignments(response) => {
                answer(Some(response.error_code))?;
                let named = response.topics.into_iter().filter(|found| found.name.as_str() == topic);
                let parts = named.flat_map(|topic| topic.partitions);
                Ok(parts.map(|part| part.partition_index).collect())
            }
            _ => Err(AdminError::Unknown),
        }
    }

    async fn ask(&self, topic: &str, key: ApiKey, request: Request) -> Result<Response, AdminError> {
        let deadline = self.host.now() + PATIENCE;
        loop {
            self.view.refresh(topic).await;
            if let Some(controller) = self.view.controller() {
                let channel = Channel::new(&self.host, controller, self.host.name());
                return channel.call(key, &request, PATIENCE).await.map_err(|_| AdminError::Unknown);
            }
            if deadline <= self.host.now() {
                return Err(AdminError::Refused("no controller is known".to_owned()));
            }
            self.host.sleep(BACK_OFF).await;
        }
    }
}

impl PartitionDescription {
    fn read(metadata: &MetadataResponsePartition) -> Self {
        let broker = |id: &MetadataBrokerId| BrokerId::new(id.0);
        Self {
            leader: (0 <= metadata.leader_id.0).then(|| broker(&metadata.leader_id)),
            leader_epoch: LeaderEpoch::new(metadata.leader_epoch),
            replicas: metadata.replica_nodes.iter().map(broker).collect(),
            in_sync: metadata.isr_nodes.iter().map(broker).collect(),
        }
    }
}

/// What the cluster says of each part.
pub type Answers = Vec<(i32, Option<ResponseError>)>;

fn error(code: i16) -> Option<ResponseError> {
    (code != 0).then(|| ResponseError::try_from_code(code).unwrap_or(ResponseError::UnknownServerError))
}

fn answer(code: Option<i16>) -> Result<(), AdminError> {
    match code {
        Some(0) => Ok(()),
        None => Err(AdminError::Unknown),
        Some(code) => match ResponseError::try_from_code(code) {
            Some(ResponseError::RequestTimedOut) | None => Err(AdminError::Unknown),
            Some(error) => Err(AdminError::Refused(format!("{error:?}"))),
        },
    }
}
