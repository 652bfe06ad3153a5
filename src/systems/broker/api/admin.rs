//! Creates and deletes topics.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, DeleteTopicsRequest, TopicName};

use crate::systems::broker::TopicConfig;
use crate::systems::broker::api::view::View;
use crate::systems::broker::wire::{Channel, Request, Response, text};
use crate::world::{Address, Host};

const PATIENCE: Duration = Duration::from_secs(5);

/// Why a topic was not created or deleted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AdminError {
    /// The cluster refused: it did not happen.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer: it may have happened.
    #[error("outcome unknown")]
    Unknown,
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
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(text(name))])
            .with_timeout_ms(PATIENCE.as_millis() as i32);
        match self.ask(name, ApiKey::DeleteTopics, Request::DeleteTopics(request)).await? {
            Response::DeleteTopics(response) => {
                answer(response.responses.first().map(|topic| topic.error_code))
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
            self.host.sleep(Duration::from_millis(100)).await;
        }
    }
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
