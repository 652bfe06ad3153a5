//! Serves operators: preferred leaders (KIP-460), moves of replicas (KIP-455). The controller decides; any broker passes on.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId as ProtocolBrokerId,
    ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, TopicName,
};

use crate::systems::broker::cluster::ElectError;
use crate::systems::broker::id::{BrokerId, TopicPartition};
use crate::systems::broker::message::{Control, Controlled};
use crate::systems::broker::reassign::{Move, MoveError};
use crate::systems::broker::server::Broker;
use crate::systems::broker::wire::text;
use crate::world::rpc::CallError;

/// Kafka's number for an election of the preferred replica; the other, of any that is alive, is not held here.
const PREFERRED: i8 = 0;

/// What follows from an answer that is none.
fn unanswered(answer: &Result<Controlled, CallError>) -> ResponseError {
    match answer {
        Ok(Controlled::Unknown) | Err(CallError::Unknown) => ResponseError::RequestTimedOut,
        Ok(_) | Err(CallError::NotSent) => ResponseError::NotController,
    }
}

fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

impl Broker {
    /// Lets preferred replicas lead: those of the parts that are named, or of all.
    pub async fn elect_leaders(&self, request: ElectLeadersRequest) -> ElectLeadersResponse {
        if request.election_type != PREFERRED {
            return ElectLeadersResponse::default().with_error_code(ResponseError::InvalidRequest.code());
        }
        let named = request.topic_partitions.map(|topics| {
            let parts = topics.into_iter().map(|topic| (topic.topic.to_string(), topic.partitions));
            parts.collect::<Vec<_>>()
        });
        let all = || {
            let image = self.image.borrow();
            let topics = image.iter().flat_map(|image| &image.topics);
            topics.map(|(name, topic)| (name.clone(), (0..topic.partitions.len() as i32).collect())).collect()
        };
        let mut results = Vec::new();
        for (topic, parts) in named.unwrap_or_else(all) {
            let mut partitions = Vec::new();
            for index in parts {
                let id = TopicPartition::new(&topic, index);
                let answer = self.ask_controller(&Control::ElectPreferred(id)).await;
                let error = match answer {
                    Ok(Controlled::Elected(Ok(()))) => None,
                    Ok(Controlled::Elected(Err(error))) => Some(match error {
                        ElectError::UnknownTopicPartition => ResponseError::UnknownTopicOrPartition,
                        ElectError::NotNeeded => ResponseError::ElectionNotNeeded,
                        ElectError::NotAvailable => ResponseError::PreferredLeaderNotAvailable,
                    }),
                    other => Some(unanswered(&other)),
                };
                partitions
                    .push(PartitionResult::default().with_partition_id(index).with_error_code(code(error)));
            }
            let result = ReplicaElectionResult::default().with_topic(TopicName(text(&topic)));
            results.push(result.with_partition_result(partitions));
        }
        ElectLeadersResponse::default().with_replica_election_results(results)
    }

    /// Begins moves of replicas, or cancels them.
    pub async fn alter_reassignments(
        &self,
        request: AlterPartitionReassignmentsRequest,
    ) -> AlterPartitionReassignmentsResponse {
        let mut responses = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for asked in topic.partitions {
                let index = asked.partition_index;
                let id = TopicPartition::new(topic.name.as_str(), index);
                let to = asked.replicas.map(|to| to.iter().map(|broker| BrokerId::new(broker.0)).collect());
                let answer = self.ask_controller(&Control::Reassign(id, to)).await;
                let error = match answer {
                    Ok(Controlled::Reassigned(Ok(()))) => None,
                    Ok(Controlled::Reassigned(Err(error))) => Some(match error {
                        MoveError::UnknownTopicPartition => ResponseError::UnknownTopicOrPartition,
                        MoveError::InvalidAssignment => ResponseError::InvalidReplicaAssignment,
                        MoveError::NoneUnderWay => ResponseError::NoReassignmentInProgress,
                    }),
                    other => Some(unanswered(&other)),
                };
                let response = ReassignablePartitionResponse::default().with_partition_index(index);
                partitions.push(response.with_error_code(code(error)));
            }
            responses
                .push(ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions));
        }
        AlterPartitionReassignmentsResponse::default().with_responses(responses)
    }

    /// Tells which moves of replicas are under way, in the topics that are named.
    pub async fn list_reassignments(
        &self,
        request: ListPartitionReassignmentsRequest,
    ) -> ListPartitionReassignmentsResponse {
        let mut topics = Vec::new();
        let all = || {
            let image = self.image.borrow();
            let names = image.iter().flat_map(|image| image.topics.keys());
            names.map(|name| (TopicName(text(name)), None)).collect::<Vec<_>>()
        };
        let named = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, Some(topic.partition_indexes))).collect()
        });
        for (name, parts) in named.unwrap_or_else(all) {
            let moving = match self.ask_controller(&Control::Moves(name.to_string())).await {
                Ok(Controlled::Moving(moving)) => moving,
                other => {
                    let error = unanswered(&other).code();
                    return ListPartitionReassignmentsResponse::default().with_error_code(error);
                }
            };
            let asked = |index: &i32| parts.as_ref().is_none_or(|parts| parts.contains(index));
            let ongoing = moving.into_iter().filter(|(index, ..)| asked(index)).map(ongoing);
            let ongoing: Vec<_> = ongoing.collect();
            if !ongoing.is_empty() {
                topics.push(OngoingTopicReassignment::default().with_name(name).with_partitions(ongoing));
            }
        }
        ListPartitionReassignmentsResponse::default().with_topics(topics)
    }
}

fn ongoing((index, replicas, under_way): (i32, Vec<BrokerId>, Move)) -> OngoingPartitionReassignment {
    let named = |of: &[BrokerId], but: &[BrokerId]| -> Vec<ProtocolBrokerId> {
        let left = of.iter().filter(|broker| !but.contains(broker));
        left.map(|broker| broker.get().into()).collect()
    };
    OngoingPartitionReassignment::default()
        .with_partition_index(index)
        .with_replicas(named(&replicas, &[]))
        .with_adding_replicas(named(&under_way.to, &under_way.from))
        .with_removing_replicas(named(&under_way.from, &under_way.to))
}
