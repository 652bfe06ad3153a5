//! A cluster on a stage, a client who plays on it, and what both say in the Kafka protocol.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use wavetank::base::{HostId, Span};
use wavetank::checkers::replication;
pub use wavetank::systems::broker::api::PartitionDescription as Part;
use wavetank::systems::broker::api::{
    Acks, Admin, AdminError, BrokerId, Consumer, ConsumerConfig, Message, Offset, Offsets, Producer,
    ProducerConfig, Reset, SendError, TopicPartition,
};
use wavetank::systems::broker::records::{Sequenced, decode, encode};
use wavetank::systems::broker::{self, Config, TopicConfig};
use wavetank::systems::{Cluster, coordination};
use wavetank::world::tank::Outcome;
use wavetank::world::{Connection, Host, Tank};

use crate::world_time::{in_tank, spec};

/// The topic of all tests.
pub const T: &str = "t";

/// What the protocol answers.
pub type Kafka<T> = Result<T, ResponseError>;

/// Acks=all as the protocol writes it.
pub const ALL: i16 = -1;

/// A cluster in a tank, and a client's machine whose part the test itself plays.
pub struct Stage {
    pub tank: Tank,
    pub cluster: Cluster,
    pub host: Host,
}

/// Plays a test on a cluster that is ready, then asks the checker what it saw.
pub fn play<F>(seed: u64, config: Config, act: impl FnOnce(Rc<Stage>) -> F + Send + 'static) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    let (result, outcome) = in_tank(seed, |tank| async move {
        let quorum = coordination::boot(&tank, &coordination::Config::default(), Rc::default());
        let history: Rc<RefCell<replication::History>> = Rc::default();
        let cluster = broker::boot(&tank, &config, &quorum.servers, history.clone());
        let door: Rc<RefCell<Option<Host>>> = Rc::default();
        let opened = door.clone();
        tank.add_host(spec("client", "a"), move |host| {
            opened.replace(Some(host));
            std::future::pending()
        });
        let ready = || door.borrow().is_some() && cluster.hosts.iter().all(|host| tank.is_ready(*host));
        let up = tank.wait_until(Duration::from_secs(30), Duration::from_millis(50), ready).await;
        assert!(up, "the cluster comes up");
        let host = door.take().expect("it has booted");
        act(Rc::new(Stage { tank: tank.clone(), cluster: cluster.clone(), host })).await;
        let checks = replication::check(&history.borrow());
        let broken: Vec<_> = checks.into_iter().filter(|check| !check.held()).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    });
    assert_eq!(result, Ok(()), "{:?}", outcome.violation);
    outcome
}

/// So many brokers, whose leadership stays where faults put it.
pub fn brokers(brokers: u32) -> Config {
    Config { brokers, preferred_leader_every: Span::default(), ..Config::default() }
}

/// Plays a test on three brokers and a topic of one part on all of them, of which two must be in sync.
pub fn on_three<F>(seed: u64, act: impl FnOnce(Rc<Stage>, Part) -> F + Send + 'static) -> Outcome
where
    F: Future<Output = ()> + 'static,
{
    play(seed, brokers(3), |stage| async move {
        let part = stage.create(TopicConfig::new(T, 1, 3, 2)).await;
        act(stage, part).await;
    })
}

pub fn hits(outcome: &Outcome, property: &str) -> u64 {
    let tally = outcome.properties.iter().find(|tally| tally.name == property);
    tally.map_or(0, |tally| tally.hit)
}

pub fn upto(end: i64) -> Vec<i64> {
    (0..end).collect()
}

pub fn id(index: i32) -> TopicPartition {
    TopicPartition::new(T, index)
}

pub fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(T))
}

/// A record whose value is its timestamp.
pub fn message(value: i64) -> Message {
    Message { key: None, value: value.to_string().into(), timestamp: value }
}

pub fn batch(values: &[i64], sequenced: Option<Sequenced>) -> Bytes {
    let messages: Vec<Message> = values.iter().map(|value| message(*value)).collect();
    encode(&messages, sequenced)
}

pub fn error(code: i16) -> Kafka<()> {
    ResponseError::try_from_code(code).map_or(Ok(()), Err)
}

pub fn value(message: &Message) -> i64 {
    std::str::from_utf8(&message.value).expect("a text").parse().expect("a number")
}

/// A consumer's fetch of these parts, each from its offset, that takes what there is.
pub fn fetch(parts: &[(i32, i64)]) -> FetchRequest {
    let part = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default().with_topic(name()).with_partitions(parts.iter().map(part).collect());
    FetchRequest::default().with_replica_id((-1).into()).with_max_bytes(1 << 20).with_topics(vec![topic])
}

pub fn refused<T>(error: ResponseError) -> Result<T, AdminError> {
    Err(AdminError::Refused(format!("{error:?}")))
}

impl Stage {
    pub fn host_of(&self, broker: BrokerId) -> HostId {
        self.cluster.hosts[broker.get() as usize - 1]
    }

    pub fn crash(&self, broker: BrokerId) {
        self.tank.crash(self.host_of(broker));
    }

    pub fn start(&self, broker: BrokerId) {
        self.tank.start(self.host_of(broker));
    }

    pub async fn sleep(&self, millis: u64) {
        self.tank.sleep(Duration::from_millis(millis)).await;
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&self.host, &self.cluster.servers)
    }

    /// Creates the topic; how its first part stands once all replicas are in sync.
    pub async fn create(&self, topic: TopicConfig) -> Part {
        let replicas = topic.replicas as usize;
        assert_eq!(self.admin().create_topic(&topic).await, Ok(()));
        self.in_sync(replicas).await
    }

    /// Waits until the topic's first part stands as `fits` says, and the news has reached every broker.
    pub async fn until(&self, what: &str, fits: impl Fn(&Part) -> bool) -> Part {
        for _ in 0..300 {
            let parts = self.admin().describe_topic(T).await.unwrap_or_default();
            if let Some(part) = parts.into_iter().next().filter(&fits) {
                self.sleep(300).await;
                return part;
            }
            self.sleep(100).await;
        }
        panic!("waited in vain until {what}: {:?}", self.admin().describe_topic(T).await);
    }

    pub async fn in_sync(&self, replicas: usize) -> Part {
        self.until("they are in sync", |part| part.in_sync.len() == replicas).await
    }

    pub async fn led_by(&self, leader: Option<BrokerId>) -> Part {
        self.until("it leads, or nobody does", |part| part.leader == leader).await
    }

    pub async fn led_by_another(&self, than: BrokerId) -> Part {
        self.until("another leads", |part| part.leader.is_some_and(|leader| leader != than)).await
    }

    /// Crashes the leader and waits for the next.
    pub async fn fail_over(&self, part: &Part) -> Part {
        let old = part.leader.expect("it has a leader");
        self.crash(old);
        self.led_by_another(old).await
    }

    pub async fn producer(&self, acks: Acks) -> Producer {
        let config = ProducerConfig {
            acks,
            idempotent: acks == Acks::All,
            retries: true,
            linger: Duration::ZERO,
            batch_bytes: 16 << 10,
            delivery_timeout: Duration::from_secs(60),
        };
        let producer = Producer::begin(&self.host, &self.cluster.servers, config);
        producer.wait_for_topic(T).await;
        producer
    }

    /// Sends a record and waits for its end: its offset.
    pub async fn send(&self, producer: &Producer, value: i64) -> Result<Option<i64>, SendError> {
        let delivered = producer.send(T, message(value)).1.await.expect("it comes to an end");
        delivered.map(|at| at.offset.map(Offset::get))
    }

    /// Sends records one after the other, with acks=all, and waits for each.
    pub async fn fill(&self, values: impl IntoIterator<Item = i64>) {
        let producer = self.producer(Acks::All).await;
        for value in values {
            self.send(&producer, value).await.expect("it is acknowledged");
        }
    }

    /// The values that a consumer finds between the first and the last committed record of a part.
    pub async fn read(&self, index: i32) -> Vec<i64> {
        let (start, end) = self.bounds(index).await;
        let mut consumer = self.consumer(None, Reset::Earliest, index);
        let mut found = Vec::new();
        for offset in start..end {
            let consumed = consumer.next().await.expect("it reads on");
            assert_eq!(consumed.offset, Offset::new(offset));
            found.push(value(&consumed.message.expect("the record is sound")));
        }
        found
    }

    pub fn consumer(&self, from: Option<i64>, reset: Reset, index: i32) -> Consumer {
        let config = ConsumerConfig { reset, ..ConsumerConfig::default() };
        let from = BTreeMap::from([(id(index), from.map(Offset::new))]);
        Consumer::begin(&self.host, &self.cluster.servers, from, &config)
    }

    pub fn offsets(&self) -> Offsets {
        Offsets::new(&self.host, &self.cluster.servers)
    }

    pub async fn bounds(&self, index: i32) -> (i64, i64) {
        let bounds = self.offsets().bounds(&id(index)).await;
        (bounds.start.get(), bounds.end.get())
    }

    /// Speaks the Kafka protocol with a broker.
    pub async fn ask<R: Request>(&self, broker: Option<BrokerId>, request: R) -> R::Response {
        let version = match ApiKey::try_from(R::KEY).expect("a known request") {
            ApiKey::Produce => 9,
            ApiKey::Fetch => 12,
            ApiKey::ListOffsets => 6,
            _ => 4,
        };
        self.ask_in(version, broker, request).await
    }

    /// Speaks the Kafka protocol with a broker, in this version of the request.
    pub async fn ask_in<R: Request>(
        &self,
        version: i16,
        broker: Option<BrokerId>,
        request: R,
    ) -> R::Response {
        let to = self.cluster.servers[broker.expect("there is a leader").get() as usize - 1];
        let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        encode_request_header_into_buffer(&mut frame, &header).expect("a sound header");
        request.encode(&mut frame, version).expect("a sound request");
        let length = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let Connection { sender, mut receiver } = self.host.connect(to).await.expect("the broker listens");
        sender.send("Test", frame.freeze()).await.expect("the connection stands");
        let mut answer = receiver.recv().await.expect("the broker answers").split_off(4);
        ResponseHeader::decode(&mut answer, R::Response::header_version(version)).expect("a header");
        R::Response::decode(&mut answer, version).expect("an answer")
    }

    /// Produces a batch; the offset of its first record.
    pub async fn produce(&self, index: i32, to: Option<BrokerId>, acks: i16, batch: Bytes) -> Kafka<i64> {
        let data = PartitionProduceData::default().with_index(index).with_records(Some(batch));
        let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
        let request =
            ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic]);
        let response = &self.ask(to, request).await.responses[0].partition_responses[0];
        error(response.error_code).map(|()| response.base_offset)
    }

    /// The values that a fetch brings, part by part, and how long it took.
    pub async fn fetch(
        &self,
        from: Option<BrokerId>,
        request: FetchRequest,
    ) -> (Vec<Kafka<Vec<i64>>>, Duration) {
        let asked = self.tank.now();
        let parts = self.ask(from, request).await.responses.into_iter().flat_map(|topic| topic.partitions);
        let found = parts.map(|part| {
            let records = decode(part.records.unwrap_or_default()).into_iter();
            let values = records.map(|read| value(&read.expect("the record is sound").1)).collect();
            error(part.error_code).map(|()| values)
        });
        (found.collect(), self.tank.now() - asked)
    }

    /// Where an epoch ends: the largest up to it that the leader knows, and its end.
    pub async fn end_of_epoch(&self, to: Option<BrokerId>, known: i32, epoch: i32) -> Kafka<(i32, i64)> {
        let asked = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(known)
            .with_leader_epoch(epoch)
            .with_partition(0);
        let topic = OffsetForLeaderTopic::default().with_topic(name()).with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let answer = &self.ask(to, request).await.topics[0].partitions[0];
        error(answer.error_code).map(|()| (answer.leader_epoch, answer.end_offset))
    }
}
