//! Sends records: batches them by topic partition, keeps several batches on the way, retries, and tells what became of each record.
//!
//! An idempotent producer (KIP-98) numbers its batches. A batch that must be sent again keeps its number and its records, and stands
//! before all that follow it, so that nothing is duplicated and nothing overtakes. Where a number is lost for good, its epoch rises
//! and the numbers begin anew (KIP-360): what of the old epoch is still on its way is fenced off by the first batch of the new one.
//!
//! A batch goes to whichever topic has its name: Fetch names topics by their ids (KIP-516), Produce does so from version 13 on, which
//! is not spoken here. What was meant for a topic that has since been deleted and created anew is appended to its successor, whose log
//! knows nothing of the producer and takes any number for its first (KIP-360). So it is in Kafka, up to that version.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, ProduceRequest, TopicName};
use tokio::sync::{Notify, oneshot};

use crate::base::MonoTime;
use crate::systems::broker::api::partitioner::partition_for;
use crate::systems::broker::api::view::View;
use crate::systems::broker::id::{Offset, TopicPartition};
use crate::systems::broker::records::{Message, Sequenced, encode, sequence_after};
use crate::systems::broker::wire::{Channel, Request, Response, text};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Address, Host, Task, select};

/// Batches of one partition on the way at once (`max.in.flight.requests.per.connection`).
const IN_FLIGHT_MAX: usize = 5;

/// A batch with room for no more than this many bytes is full.
const BATCH_SLACK: usize = 64;

/// How long the brokers may take for one request (`request.timeout.ms`), as the request tells them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait before a batch is sent again (`retry.backoff.ms`).
const BACK_OFF: Duration = Duration::from_millis(100);

/// How many replicas must have a record before the producer is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// None: there is no answer.
    None,
    /// The leader alone.
    Leader,
    /// Every replica in sync.
    All,
}

/// How a producer sends.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// How many replicas must have a record.
    pub acks: Acks,
    /// Number the batches, so that none is appended twice. Needs `Acks::All`.
    pub idempotent: bool,
    /// Send again what was refused or unanswered.
    pub retries: bool,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// A batch is full at this many bytes.
    pub batch_bytes: usize,
    /// How long to try (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
}

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// The part of the topic.
    pub partition: i32,
    /// Its offset; `None` with `Acks::None`.
    pub offset: Option<Offset>,
}

/// Why a record was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// It was not appended and never will be.
    #[error("not sent")]
    Failed,
    /// It may have been appended.
    #[error("outcome unknown")]
    Unknown,
}

/// Waits for what becomes of a record.
pub type Delivery = oneshot::Receiver<Result<Acknowledgement, SendError>>;

struct Batch {
    messages: Vec<(Message, oneshot::Sender<Result<Acknowledgement, SendError>>)>,
    bytes: usize,
    begun: MonoTime,
    /// The number of its first record, once it has been sent.
    sequence: Option<i32>,
    in_flight: bool,
    attempts: u32,
    not_before: MonoTime,
    /// Which batch this is, as answers come in any order.
    number: u64,
}

#[derive(Default)]
struct Lane {
    batches: VecDeque<Batch>,
    sequence_next: i32,
    /// The number that follows the last acknowledged one.
    acknowledged_to: i32,
    /// How often the numbers began anew. Brokers fence each partition on its own, so that one lane's trouble is not another's.
    epoch: i16,
}

struct State {
    host: Host,
    config: ProducerConfig,
    view: View,
    lanes: RefCell<BTreeMap<TopicPartition, Lane>>,
    channels: RefCell<BTreeMap<Address, Rc<Channel>>>,
    wake: Notify,
    /// The producer id that the brokers gave.
    identity: RefCell<Option<i64>>,
    number_next: RefCell<u64>,
}

/// A producer. Cheap to clone.
#[derive(Clone)]
pub struct Producer {
    state: Rc<State>,
    _sender: Rc<Sending>,
}

struct Sending(Task<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Producer {
    /// Begins to send through these brokers.
    pub fn begin(host: &Host, brokers: &[Address], config: ProducerConfig) -> Self {
        assert!(!config.idempotent || config.acks == Acks::All, "idempotence needs acks=all");
        let state = Rc::new(State {
            host: host.clone(),
            config,
            view: View::new(host, brokers, "broker/producer"),
            lanes: RefCell::default(),
            channels: RefCell::default(),
            wake: Notify::new(),
            identity: RefCell::default(),
            number_next: RefCell::default(),
        });
        let task = host.spawn("producer-sender", state.clone().run());
        Self { state, _sender: Rc::new(Sending(task)) }
    }

    /// Waits until the topic is known; returns how many parts it has.
    pub async fn wait_for_topic(&self, topic: &str) -> i32 {
        self.state.view.wait_for(topic).await
    }

    /// Takes a record over, for the part of the topic that its key belongs to. The topic must be known.
    ///
    /// # Panics
    /// If the topic is not known yet: see `wait_for_topic`.
    pub fn send(&self, topic: &str, message: Message) -> (i32, Delivery) {
        let parts = self.state.view.parts(topic).expect("the topic was waited for");
        let index = partition_for(message.key.as_deref().unwrap_or_default(), parts);
        let (told, delivery) = oneshot::channel();
        self.state.add(TopicPartition::new(topic, index), message, told);
        (index, delivery)
    }

    /// How many records wait for their end.
    pub fn pending(&self) -> usize {
        let lanes = self.state.lanes.borrow();
        lanes.values().flat_map(|lane| &lane.batches).map(|batch| batch.messages.len()).sum()
    }
}

/// A batch on its way: which of which lane, and what it carries.
type Outgoing = (TopicPartition, u64, Vec<Message>, Option<Sequenced>);

/// What became of one batch of a request.
enum Outcome {
    Acked(Offset),
    /// Append may have happened or not; or it cannot happen here now.
    Retry {
        refresh: bool,
    },
    /// It will not happen: the brokers refuse this batch.
    Refused,
    /// The brokers miss a batch before it.
    OutOfOrder,
    /// Nothing will be told (acks=0).
    Silent,
}

impl State {
    fn add(
        &self,
        id: TopicPartition,
        message: Message,
        told: oneshot::Sender<Result<Acknowledgement, SendError>>,
    ) {
        let now = self.host.now();
        let bytes = message.value.len() + message.key.as_ref().map_or(0, |key| key.len()) + 16;
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(id).or_default();
        let fits = |batch: &&mut Batch| {
            batch.sequence.is_none()
                && batch.attempts == 0
                && !batch.in_flight
                && batch.bytes + bytes <= self.config.batch_bytes
                && !self.host.buggify(&sites::BATCH)
        };
        match lane.batches.back_mut().filter(fits) {
            Some(batch) => {
                batch.bytes += bytes;
                batch.messages.push((message, told));
                if batch.bytes + BATCH_SLACK < self.config.batch_bytes {
                    // It goes when its time has come.
                    return;
                }
            }
            None => {
                let mut number = self.number_next.borrow_mut();
                *number += 1;
                lane.batches.push_back(Batch {
                    messages: vec![(message, told)],
                    bytes,
                    begun: now,
                    sequence: None,
                    in_flight: false,
                    attempts: 0,
                    not_before: now,
                    number: *number,
                });
            }
        }
        drop(lanes);
        self.wake.notify_one();
    }

    async fn run(self: Rc<Self>) {
        loop {
            if self.config.idempotent && self.identity.borrow().is_none() {
                self.identify().await;
                continue;
            }
            self.give_up_old();
            let wake_at = self.send_ready();
            let host = self.host.clone();
            select! {
                () = self.wake.notified() => {}
                () = host.sleep_until(wake_at) => {}
            }
        }
    }

    /// Asks any broker for a producer id.
    async fn identify(&self) {
        let channel = self.view.any_broker(&self.host);
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer =
            channel.call(ApiKey::InitProducerId, &Request::InitProducerId(request), REQUEST_TIMEOUT).await;
        match answer {
            Ok(Response::InitProducerId(response)) if response.error_code == 0 => {
                *self.identity.borrow_mut() = Some(response.producer_id.0);
            }
            _ => self.host.sleep(BACK_OFF).await,
        }
    }

    /// Ends batches that have been tried for too long.
    fn give_up_old(&self) {
        let now = self.host.now();
        for lane in self.lanes.borrow_mut().values_mut() {
            let mut lost_a_number = false;
            while let Some(front) = lane.batches.front()
                && !front.in_flight
                && front.begun + self.config.delivery_timeout <= now
            {
                let batch = lane.batches.pop_front().expect("its front was just seen");
                lost_a_number |= batch.sequence.is_some();
                let error = if batch.attempts == 0 { SendError::Failed } else { SendError::Unknown };
                batch.end(|_| Err(error));
            }
            if lost_a_number {
                lane.start_over();
            }
        }
    }

    /// Sends every batch whose turn it is; tells when to look again.
    fn send_ready(self: &Rc<Self>) -> MonoTime {
        let now = self.host.now();
        let mut look_again = now + Duration::from_secs(1);
        let mut by_leader: BTreeMap<Address, Vec<Outgoing>> = BTreeMap::new();
        let mut leaderless = None;
        for (id, lane) in self.lanes.borrow_mut().iter_mut() {
            let in_flight = lane.batches.iter().filter(|batch| batch.in_flight).count();
            // One request carries one batch of a partition.
            let Some(at) = lane.batches.iter().position(|batch| !batch.in_flight) else { continue };
            let more = at + 1 < lane.batches.len();
            let batch = &mut lane.batches[at];
            let full = more || self.config.batch_bytes <= batch.bytes + BATCH_SLACK;
            let due = batch.not_before.max(if full || 0 < batch.attempts {
                now
            } else {
                batch.begun + self.config.linger
            });
            // What is sent again goes first and alone, so that nothing overtakes it.
            let ordered = self.config.idempotent && 0 < batch.attempts && at != 0;
            if IN_FLIGHT_MAX <= in_flight || ordered {
                continue;
            }
            if now < due {
                look_again = look_again.min(due);
                continue;
            }
            let Some((leader, _)) = self.view.leader(id) else {
                leaderless = Some(id.topic.clone());
                continue;
            };
            if self.config.idempotent && batch.sequence.is_none() {
                batch.sequence = Some(lane.sequence_next);
                lane.sequence_next = sequence_after(lane.sequence_next, batch.messages.len() as i32);
            }
            let sequenced = match (*self.identity.borrow(), batch.sequence) {
                (Some(producer), Some(sequence)) => Some(Sequenced { producer, epoch: lane.epoch, sequence }),
                _ => None,
            };
            batch.in_flight = true;
            batch.attempts += 1;
            let messages = batch.messages.iter().map(|(message, _)| message.clone()).collect();
            by_leader.entry(leader).or_default().push((id.clone(), batch.number, messages, sequenced));
            if more {
                look_again = now;
            }
        }
        if let Some(topic) = leaderless {
            self.refresh_soon(&topic);
            look_again = look_again.min(now + BACK_OFF);
        }
        for (leader, batches) in by_leader {
            let this = self.clone();
            self.host.spawn("producer-request", async move { this.request(leader, batches).await });
        }
        look_again
    }

    fn refresh_soon(self: &Rc<Self>, topic: &str) {
        let (this, topic) = (self.clone(), topic.to_owned());
        self.host.spawn("producer-metadata", async move {
            this.view.refresh(&topic).await;
            this.wake.notify_one();
        });
    }

    async fn request(self: Rc<Self>, leader: Address, batches: Vec<Outgoing>) {
        let mut topics: BTreeMap<Rc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        for (id, _, messages, sequenced) in &batches {
            let data = PartitionProduceData::default()
                .with_index(id.index)
                .with_records(Some(encode(messages, *sequenced)));
            topics.entry(id.topic.clone()).or_default().push(data);
        }
        let topics = topics.into_iter().map(|(name, data)| {
            TopicProduceData::default().with_name(TopicName(text(&name))).with_partition_data(data)
        });
        let acks = match self.config.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(REQUEST_TIMEOUT.as_millis() as i32)
            .with_topic_data(topics.collect());
        let channel = {
            let mut channels = self.channels.borrow_mut();
            let make = || Rc::new(Channel::new(&self.host, leader, self.host.name()));
            channels.entry(leader).or_insert_with(make).clone()
        };
        let request = Request::Produce(request);
        // The brokers' time and some for the way.
        let patience = REQUEST_TIMEOUT + Duration::from_secs(1);
        if acks == 0 {
            // A leader that refuses can only end the connection.
            let was_ended = !channel.is_connected();
            let sent = channel.send(ApiKey::Produce, &request, patience).await;
            for (id, number, ..) in &batches {
                self.settle(id, *number, if sent.is_ok() { Outcome::Silent } else { Outcome::Refused });
                if was_ended {
                    self.refresh_soon(&id.topic);
                }
            }
            return;
        }
        let answer = channel.call(ApiKey::Produce, &request, patience).await;
        let mut outcomes: BTreeMap<TopicPartition, Outcome> = BTreeMap::new();
        if let Ok(Response::Produce(response)) = answer {
            for topic in response.responses {
                for partition in topic.partition_responses {
                    let id = TopicPartition::new(topic.name.as_str(), partition.index);
                    let outcome = judge(partition.error_code, Offset::new(partition.base_offset));
                    outcomes.insert(id, outcome);
                }
            }
        }
        let mut refresh = None;
        for (id, number, ..) in &batches {
            let outcome = outcomes.remove(id).unwrap_or(Outcome::Retry { refresh: true });
            if let Outcome::Retry { refresh: true } = outcome {
                refresh = Some(id.topic.clone());
            }
            self.settle(id, *number, outcome);
        }
        if let Some(topic) = refresh {
            self.view.refresh(&topic).await;
        }
        self.wake.notify_one();
    }

    fn settle(&self, id: &TopicPartition, number: u64, outcome: Outcome) {
        self.wake.notify_one();
        let mut lanes = self.lanes.borrow_mut();
        let Some(lane) = lanes.get_mut(id) else { return };
        // A batch that was given up meanwhile has had its end.
        let Some(at) = lane.batches.iter().position(|batch| batch.number == number) else { return };
        let batch = &mut lane.batches[at];
        batch.in_flight = false;
        let again = match outcome {
            Outcome::Retry { .. } => self.config.retries,
            // Others before it are on the way again: it has its turn after them.
            Outcome::OutOfOrder => 0 < at,
            _ => false,
        };
        if again {
            batch.not_before = self.host.now() + BACK_OFF + self.host.buggify_wait(&sites::RETRY);
            return;
        }
        // All before it are acknowledged, nothing after it was ever sent, and it is not what the leader expects: the leader knows the producer
        // no more, as in a topic that was created anew. It goes again in a new epoch (KIP-360). Another batch on the way may have been taken
        // before it, by a leader that never knew the producer; then it would come too late.
        let alone = batch.sequence == Some(lane.acknowledged_to) && lane.numbered() == 1;
        // The client of the known bugs takes it that one that has company is nowhere either.
        if matches!(outcome, Outcome::OutOfOrder) && (alone || bug("T14") || bug("T15")) {
            let batch = &mut lane.batches[at];
            batch.sequence = None;
            return lane.start_over();
        }
        let batch = lane.batches.remove(at).expect("its place was just found");
        let (partition, numbered) = (id.index, batch.sequence.is_some());
        match outcome {
            Outcome::Acked(base) => {
                if let Some(sequence) = batch.sequence {
                    let end = sequence_after(sequence, batch.messages.len() as i32);
                    lane.acknowledged_to = lane.acknowledged_to.max(end);
                }
                batch.end(|at| Ok(Acknowledgement { partition, offset: Some(base.plus(at as i64)) }));
                return;
            }
            Outcome::Silent => {
                batch.end(|_| Ok(Acknowledgement { partition, offset: None }));
                return;
            }
            Outcome::Refused if batch.attempts == 1 => batch.end(|_| Err(SendError::Failed)),
            Outcome::Refused | Outcome::Retry { .. } | Outcome::OutOfOrder => {
                batch.end(|_| Err(SendError::Unknown));
            }
        }
        if numbered {
            lane.start_over();
        }
    }
}

impl Lane {
    /// How many of its batches have numbers: those that were sent and have no end yet.
    fn numbered(&self) -> usize {
        self.batches.iter().filter(|batch| batch.sequence.is_some()).count()
    }

    /// Begins a new epoch: numbers begin at 0 again. Batches on the way end as unknown, as they cannot be sent again in it.
    fn start_over(&mut self) {
        crate::reached!("a producer began a new epoch");
        self.epoch = self.epoch.checked_add(1).expect("a lane starts over less than 32,767 times in a run");
        (self.sequence_next, self.acknowledged_to) = (0, 0);
        for batch in std::mem::take(&mut self.batches) {
            if batch.sequence.is_some() {
                batch.end(|_| Err(SendError::Unknown));
            } else {
                self.batches.push_back(batch);
            }
        }
    }
}

impl Batch {
    fn end(self, result: impl Fn(usize) -> Result<Acknowledgement, SendError>) {
        for (at, (_, told)) in self.messages.into_iter().enumerate() {
            let _ = told.send(result(at));
        }
    }
}

fn judge(code: i16, base: Offset) -> Outcome {
    match ResponseError::try_from_code(code) {
        None => Outcome::Acked(base),
        Some(ResponseError::OutOfOrderSequenceNumber) => Outcome::OutOfOrder,
        Some(error) if error.is_retriable() => Outcome::Retry {
            refresh: !matches!(
                error,
                ResponseError::NotEnoughReplicas
                    | ResponseError::NotEnoughReplicasAfterAppend
                    | ResponseError::RequestTimedOut
            ),
        },
        Some(_) => Outcome::Refused,
    }
}
