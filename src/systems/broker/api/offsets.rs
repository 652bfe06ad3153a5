//! Where a topic partition begins and ends, as its leader knows (ListOffsets).

use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, TopicName};

use crate::systems::broker::api::view::View;
use crate::systems::broker::id::{LeaderEpoch, Offset, TopicPartition};
use crate::systems::broker::wire::{Channel, Request, Response, text};
use crate::world::{Address, Host};

const PATIENCE: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_millis(100);

/// Which offset is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// That of the first record kept.
    Earliest,
    /// That which the next committed record will have.
    Latest,
    /// That of the first committed record made at this time or later, in milliseconds since the Unix epoch.
    At(i64),
}

/// Asks the leader at the end of `channel`; `None` if it did not tell, `Some(None)` if there is no such record.
pub(super) async fn ask(
    channel: &Channel,
    id: &TopicPartition,
    epoch: LeaderEpoch,
    which: Which,
) -> Option<Option<Offset>> {
    let timestamp = match which {
        Which::Earliest => -2,
        Which::Latest => -1,
        Which::At(timestamp) => timestamp,
    };
    let partition = ListOffsetsPartition::default()
        .with_partition_index(id.index)
        .with_current_leader_epoch(epoch.get())
        .with_timestamp(timestamp);
    let topic =
        ListOffsetsTopic::default().with_name(TopicName(text(&id.topic))).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let answer = channel.call(ApiKey::ListOffsets, &Request::ListOffsets(request), PATIENCE).await.ok()?;
    let Response::ListOffsets(response) = answer else { return None };
    let found = response.topics.into_iter().next()?.partitions.into_iter().next()?;
    (found.error_code == 0).then(|| (0 <= found.offset).then(|| Offset::new(found.offset)))
}

/// A connection to whoever leads, as a random broker knows it now.
async fn leader(host: &Host, view: &View, id: &TopicPartition) -> Option<(Channel, LeaderEpoch)> {
    view.refresh(&id.topic).await;
    let (leader, epoch) = view.leader(id)?;
    Some((Channel::new(host, leader, host.name()), epoch))
}

/// Where a topic partition begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The offset of the first record that is kept.
    pub start: Offset,
    /// That which the next committed record will have.
    pub end: Offset,
    /// The epoch of the leader that said so. One that others have replaced without its knowing may tell an end that has passed.
    pub leader_epoch: LeaderEpoch,
}

/// Where a topic partition begins and ends, asking as long as it takes.
pub async fn bounds(host: &Host, brokers: &[Address], id: &TopicPartition) -> Bounds {
    let view = View::new(host, brokers, "broker/offsets");
    loop {
        if let Some((channel, epoch)) = leader(host, &view, id).await {
            let start = ask(&channel, id, epoch, Which::Earliest).await.flatten();
            if let (Some(start), Some(end)) = (start, ask(&channel, id, epoch, Which::Latest).await.flatten())
            {
                return Bounds { start, end, leader_epoch: epoch };
            }
        }
        host.sleep(BACK_OFF).await;
    }
}

/// The offset of the first committed record that was made at this time or later, in milliseconds since the Unix epoch, asking as
/// long as it takes; `None` if there is no such record yet.
pub async fn offset_at(
    host: &Host,
    brokers: &[Address],
    id: &TopicPartition,
    timestamp: i64,
) -> Option<Offset> {
    let view = View::new(host, brokers, "broker/offsets");
    loop {
        if let Some((channel, epoch)) = leader(host, &view, id).await
            && let Some(answer) = ask(&channel, id, epoch, Which::At(timestamp)).await
        {
            return answer;
        }
        host.sleep(BACK_OFF).await;
    }
}

/// Waits until a topic is known; returns how many parts it has.
pub async fn wait_for_topic(host: &Host, brokers: &[Address], topic: &str) -> i32 {
    View::new(host, brokers, "broker/offsets").wait_for(topic).await
}
