//! Where a topic partition begins and ends, as its leader knows (ListOffsets).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
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

/// Asks leaders for offsets. For its life it keeps what it knows of the cluster, and a connection to each leader; it looks for another
/// leader when the one it knows does not tell.
pub struct Offsets {
    host: Host,
    view: View,
    channels: RefCell<BTreeMap<Address, Rc<Channel>>>,
}

impl Offsets {
    /// A client that finds the cluster through these brokers.
    pub fn new(host: &Host, brokers: &[Address]) -> Self {
        let view = View::new(host, brokers, "broker/offsets");
        Self { host: host.clone(), view, channels: RefCell::default() }
    }

    /// Waits until a topic is known; returns how many parts it has.
    pub async fn wait_for_topic(&self, topic: &str) -> i32 {
        self.view.wait_for(topic).await
    }

    /// Where a topic partition begins and ends, asking as long as it takes.
    pub async fn bounds(&self, id: &TopicPartition) -> Bounds {
        loop {
            if let Some((channel, epoch)) = self.leader(id).await
                && let Some(start) = ask(&channel, id, epoch, Which::Earliest).await.flatten()
                && let Some(end) = ask(&channel, id, epoch, Which::Latest).await.flatten()
            {
                return Bounds { start, end, leader_epoch: epoch };
            }
            self.look_again(id).await;
        }
    }

    /// The offset of the first committed record that was made at this time or later, in milliseconds since the Unix epoch, asking as
    /// long as it takes; `None` if there is no such record yet.
    pub async fn at(&self, id: &TopicPartition, timestamp: i64) -> Option<Offset> {
        loop {
            if let Some((channel, epoch)) = self.leader(id).await
                && let Some(answer) = ask(&channel, id, epoch, Which::At(timestamp)).await
            {
                return answer;
            }
            self.look_again(id).await;
        }
    }

    /// The connection to whoever leads, as far as is known, and its epoch.
    async fn leader(&self, id: &TopicPartition) -> Option<(Rc<Channel>, LeaderEpoch)> {
        self.view.wait_for(&id.topic).await;
        let (address, epoch) = self.view.leader(id)?;
        let mut channels = self.channels.borrow_mut();
        let made = || Rc::new(Channel::new(&self.host, address, self.host.name()));
        Some((channels.entry(address).or_insert_with(made).clone(), epoch))
    }

    /// There is no leader, or it did not tell: another may lead by now.
    async fn look_again(&self, id: &TopicPartition) {
        self.view.refresh(&id.topic).await;
        self.host.sleep(BACK_OFF).await;
    }
}
