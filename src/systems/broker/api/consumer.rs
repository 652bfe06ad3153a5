//! Reads topic partitions that it is told to read, below the high watermark, from where it is told to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, FetchRequest};
use tokio::sync::mpsc;

use crate::systems::broker::api::offsets::{self, Which};
use crate::systems::broker::api::view::View;
use crate::systems::broker::id::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::systems::broker::records::{Message, decode};
use crate::systems::broker::wire::{Channel, Request, Response};
use crate::systems::sites;
use crate::world::{Address, Host, Task};

/// Where a consumer goes on when there is no record at its offset: retention has passed it by, or an unclean election has taken
/// records back (`auto.offset.reset`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// At the first record that is kept.
    Earliest,
    /// At the next record that is committed.
    Latest,
}

/// How a consumer fetches.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// How long a fetch waits for records (`fetch.max.wait.ms`).
    pub wait_max: Duration,
    /// How many bytes end that wait (`fetch.min.bytes`).
    pub bytes_min: i32,
    /// Bytes fetched of one partition at once (`max.partition.fetch.bytes`).
    pub bytes_max: i32,
    /// Where to go on when there is no record at its offset.
    pub reset: Reset,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(250),
            bytes_min: 4096,
            bytes_max: 1 << 20,
            reset: Reset::Earliest,
        }
    }
}

/// What a consumer was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumed {
    /// Where it stood.
    pub id: TopicPartition,
    /// In which of the topics that ever had this name.
    pub topic: TopicId,
    /// At which offset.
    pub offset: Offset,
    /// The epoch of the leader that gave it.
    pub leader_epoch: LeaderEpoch,
    /// The record; `None` if it cannot be read.
    pub message: Option<Message>,
}

/// A consumer. Its fetches end when it is dropped.
pub struct Consumer {
    consumed: mpsc::UnboundedReceiver<Consumed>,
    tasks: Vec<Task<()>>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(Task::abort);
    }
}

impl Consumer {
    /// Begins to read these partitions, each from its offset, or (`None`) from its first record. One whose offset is not in the log
    /// goes on where `config` says.
    pub fn begin(
        host: &Host,
        brokers: &[Address],
        from: BTreeMap<TopicPartition, Option<Offset>>,
        config: &ConsumerConfig,
    ) -> Self {
        let (sender, consumed) = mpsc::unbounded_channel();
        let view = View::new(host, brokers, "broker/consumer");
        let tasks = from
            .into_iter()
            .map(|(id, offset)| {
                let reader = Reader {
                    host: host.clone(),
                    view: view.clone(),
                    config: config.clone(),
                    id,
                    next: offset,
                    topic: None,
                    channel: None,
                    consumed: sender.clone(),
                };
                host.spawn("consumer-fetcher", reader.run())
            })
            .collect();
        Self { consumed, tasks }
    }

    /// The next record of any partition; in order within each.
    pub async fn next(&mut self) -> Option<Consumed> {
        self.consumed.recv().await
    }
}

impl From<Reset> for Which {
    fn from(reset: Reset) -> Self {
        match reset {
            Reset::Earliest => Self::Earliest,
            Reset::Latest => Self::Latest,
        }
    }
}

struct Reader {
    host: Host,
    view: View,
    config: ConsumerConfig,
    id: TopicPartition,
    next: Option<Offset>,
    /// The topic it read last.
    topic: Option<TopicId>,
    channel: Option<Channel>,
    consumed: mpsc::UnboundedSender<Consumed>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let fine = match self.next {
                None => self.go_to(Which::Earliest).await,
                Some(offset) => self.fetch(offset).await,
            };
            if fine.is_none() {
                self.view.refresh(&self.id.topic).await;
                self.host.sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn leader(&mut self) -> Option<(&Channel, LeaderEpoch)> {
        let (address, epoch) = self.view.leader(&self.id)?;
        if self.channel.as_ref().is_none_or(|channel| channel.address() != address) {
            self.channel = Some(Channel::new(&self.host, address, self.host.name()));
        }
        Some((self.channel.as_ref()?, epoch))
    }

    async fn go_to(&mut self, which: Which) -> Option<()> {
        let id = self.id.clone();
        let (channel, epoch) = self.leader()?;
        self.next = Some(offsets::ask(channel, &id, epoch, which).await??);
        Some(())
    }

    async fn fetch(&mut self, offset: Offset) -> Option<()> {
        let (topic_id, index) = (self.view.topic(&self.id.topic)?, self.id.index);
        if self.topic.replace(topic_id).is_some_and(|before| before != topic_id) {
            // Deleted and created anew: nothing of it has been read.
            self.next = None;
            return Some(());
        }
        let config = self.config.clone();
        let (channel, epoch) = self.leader()?;
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_current_leader_epoch(epoch.get())
            .with_fetch_offset(offset.get())
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(config.bytes_max);
        let topic = FetchTopic::default().with_topic_id(topic_id.to_uuid()).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(config.wait_max.as_millis() as i32)
            .with_min_bytes(config.bytes_min)
            .with_max_bytes(config.bytes_max)
            .with_topics(vec![topic]);
        let patience = config.wait_max + Duration::from_secs(2);
        let answer = channel.call(ApiKey::Fetch, &Request::Fetch(request), patience).await.ok()?;
        let Response::Fetch(response) = answer else { return None };
        let data = response.responses.into_iter().next()?.partitions.into_iter().next()?;
        match ResponseError::try_from_code(data.error_code) {
            None => {}
            Some(ResponseError::OffsetOutOfRange) => {
                crate::reached!("a consumer lost its place in the log");
                return self.go_to(config.reset.into()).await;
            }
            Some(_) => return None,
        }
        self.host.buggify_delay(&sites::CONSUMED).await;
        for read in decode(data.records.unwrap_or_default()) {
            let (at, message) = match read {
                Ok((at, message)) => (at, Some(message)),
                Err(at) => (at, None),
            };
            if offset <= at {
                self.next = Some(at.plus(1));
                let _ = self.consumed.send(Consumed {
                    id: self.id.clone(),
                    topic: topic_id,
                    offset: at,
                    leader_epoch: epoch,
                    message,
                });
            }
        }
        Some(())
    }
}
