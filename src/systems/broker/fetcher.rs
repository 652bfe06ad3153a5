//! Copies from one leader all that this broker follows there (the replica fetcher).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{ApiKey, FetchRequest};

use crate::systems::broker::id::{BrokerId, LeaderEpoch, Offset, TopicId};
use crate::systems::broker::log::LogError;
use crate::systems::broker::partition::{Fetched, Partition};
use crate::systems::broker::server::Broker;
use crate::systems::broker::wire::{Channel, Request, Response};
use crate::systems::sites;
use crate::world::property::bug;

/// Bytes fetched of one partition at once (`replica.fetch.max.bytes`).
const BYTES_MAX: i32 = 1 << 20;

/// How long to wait after a fetch that brought an error.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Fetches until nothing is followed there any more.
pub async fn run(broker: Rc<Broker>, leader: BrokerId) {
    let mut channel: Option<Channel> = None;
    loop {
        let address = {
            let image = broker.image.borrow();
            image.as_ref().and_then(|image| Some(image.brokers.get(&leader)?.registration.address))
        };
        let Some(address) = address else {
            broker.host.sleep(BACK_OFF).await;
            continue;
        };
        if channel.as_ref().is_none_or(|channel| channel.address() != address) {
            channel = Some(Channel::new(&broker.host, address, broker.host.name()));
        }
        let channel = channel.as_ref().expect("just made");
        let followed: Vec<Rc<Partition>> =
            broker.leaders().into_iter().filter(|(other, _)| *other == leader).map(|(_, p)| p).collect();
        let Some(own_epoch) = broker.epoch() else {
            broker.host.sleep(BACK_OFF).await;
            continue;
        };
        let mut asked: BTreeMap<(TopicId, i32), (LeaderEpoch, Rc<Partition>)> = BTreeMap::new();
        let mut topics: BTreeMap<TopicId, Vec<FetchPartition>> = BTreeMap::new();
        for partition in followed {
            let Some((epoch, end, last)) = partition.position(leader).await else { continue };
            let fetch = FetchPartition::default()
                .with_partition(partition.id.index)
                .with_current_leader_epoch(epoch.get())
                .with_fetch_offset(end.get())
                // The known bug does not tell which leader its last record came from.
                .with_last_fetched_epoch(last.filter(|_| !bug("K02")).map_or(-1, LeaderEpoch::get))
                .with_log_start_offset(partition.log_start().get())
                .with_partition_max_bytes(BYTES_MAX);
            topics.entry(partition.topic).or_default().push(fetch);
            asked.insert((partition.topic, partition.id.index), (epoch, partition));
        }
        if asked.is_empty() {
            broker.host.sleep(BACK_OFF).await;
            continue;
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            FetchTopic::default().with_topic_id(topic.to_uuid()).with_partitions(partitions)
        });
        let replica = ReplicaState::default()
            .with_replica_id(broker.me.get().into())
            .with_replica_epoch(own_epoch.get());
        let wait = broker.config.replica_fetch_wait.get();
        let request = FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(i32::MAX)
            .with_topics(topics.collect());
        let patience = wait + Duration::from_secs(1);
        broker.host.buggify_delay(&sites::FETCH_ASKED).await;
        match channel.call(ApiKey::Fetch, &Request::Fetch(request), patience).await {
            Ok(Response::Fetch(response)) => {
                broker.host.buggify_delay(&sites::FETCHED).await;
                let mut trouble = false;
                for topic in response.responses {
                    let Some(topic_id) = TopicId::from_uuid(topic.topic_id) else { continue };
                    for data in topic.partitions {
                        let Some((epoch, partition)) = asked.get(&(topic_id, data.partition_index)) else {
                            continue;
                        };
                        match take(partition, *epoch, data).await {
                            Ok(fine) => trouble |= !fine,
                            Err(error @ (LogError::Disk(_) | LogError::Corrupt(_))) => {
                                return broker.fail(error);
                            }
                            // What came damaged is asked for again.
                            Err(_) => trouble = true,
                        }
                    }
                }
                if trouble {
                    broker.host.sleep(BACK_OFF).await;
                }
            }
            _ => broker.host.sleep(BACK_OFF).await,
        }
    }
}

/// False if the leader could not serve.
async fn take(partition: &Partition, epoch: LeaderEpoch, data: PartitionData) -> Result<bool, LogError> {
    let error = ResponseError::try_from_code(data.error_code);
    match error {
        None => {
            let diverging = (0 <= data.diverging_epoch.end_offset).then(|| {
                let answer = &data.diverging_epoch;
                (LeaderEpoch::new(answer.epoch), Offset::new(answer.end_offset))
            });
            let fetched = Fetched {
                records: data.records.unwrap_or_default(),
                high_watermark: Offset::new(data.high_watermark),
                log_start: Offset::new(data.log_start_offset),
                diverging,
            };
            partition.copy(epoch, &fetched).await?;
            Ok(true)
        }
        Some(ResponseError::OffsetOutOfRange) => {
            partition.begin_at(epoch, Offset::new(data.log_start_offset)).await?;
            Ok(false)
        }
        Some(_) => Ok(false),
    }
}
