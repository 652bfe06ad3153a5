//! The processes of a clickstream: producers that replay their share of the log, consumers that read it back.
//!
//! Each start of a process is another life: a producer takes a new producer id and goes on with what is due then, a consumer begins
//! at the first record again. They write into the notebook and read nothing from it but the act they are in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::base::SimTime;
use crate::checkers::delivery::{History, Judgement, Outcome, Read, Sent, ToldEnd};
use crate::systems::broker::api::{
    self, Acknowledgement, Bounds, Consumer, ConsumerConfig, Delivery, Message, Offset, Offsets, Producer,
    ProducerConfig, SendError, TopicPartition, partition_for,
};
use crate::workloads::clickstream::impression::{Impression, decode};
use crate::workloads::clickstream::{Acks, Config};
use crate::world::{Address, Host, Level, select, watch};

/// How long a consumer waits before it asks again where its parts end.
const LOOK_AT_ENDS: Duration = Duration::from_millis(500);

/// What clients are told to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Order {
    /// Get ready.
    Prepare,
    /// Replay: the first event is due at this time.
    Drive(SimTime),
    /// Hand no more events out; finish what is on the way.
    Stop,
    /// Every producer has finished: read everything once more.
    ReadBack,
}

/// What the clients of one clickstream share: their orders, and a notebook into which they write.
pub struct Notebook {
    /// The orders of the laboratory.
    pub orders: watch::Sender<Order>,
    /// What clients saw.
    pub history: RefCell<History>,
    /// The clients that have prepared.
    pub prepared: watch::Sender<BTreeSet<String>>,
    /// The producers that have finished what they had begun.
    pub finished: RefCell<BTreeSet<u32>>,
    /// The parts that were read back to their end.
    pub read_back: RefCell<BTreeSet<i32>>,
    /// How many parts the topic has, once a client knows.
    pub parts: RefCell<i32>,
    /// How many events were acknowledged.
    pub acked: RefCell<u64>,
    /// What the checkers found, once they were asked.
    pub judgement: RefCell<Option<Judgement>>,
    lives: RefCell<u64>,
}

impl Notebook {
    /// An empty notebook.
    pub fn new(history: History) -> Self {
        Self {
            orders: watch::Sender::new(Order::Prepare),
            history: RefCell::new(history),
            prepared: watch::Sender::new(BTreeSet::new()),
            finished: RefCell::default(),
            read_back: RefCell::default(),
            parts: RefCell::default(),
            acked: RefCell::default(),
            judgement: RefCell::default(),
            lives: RefCell::default(),
        }
    }

    fn new_life(&self) -> u64 {
        let mut lives = self.lives.borrow_mut();
        *lives += 1;
        *lives
    }

    fn has_prepared(&self, host: &Host) {
        self.prepared.modify(|clients| {
            clients.insert(host.name().to_owned());
        });
    }
}

/// What every client of a clickstream knows.
#[derive(Clone)]
pub struct Client {
    /// Its settings.
    pub config: Rc<Config>,
    /// Where it finds the brokers.
    pub brokers: Rc<Vec<Address>>,
    /// The log.
    pub impressions: Arc<Vec<Impression>>,
    /// Where it writes what it sees.
    pub notebook: Rc<Notebook>,
}

/// Waits until the orders satisfy a condition. The laboratory outlives its clients, so that there is always somebody to give them.
async fn ordered(orders: &mut watch::Receiver<Order>, condition: impl FnMut(&Order) -> bool) -> Order {
    match orders.wait_for(condition).await {
        Ok(order) => order,
        Err(_) => std::future::pending().await,
    }
}

/// The part of the log that one life of a producer replays.
#[derive(Clone, Copy)]
struct Share {
    /// Which producer it is.
    index: u32,
    /// How many parts the topic has.
    parts: i32,
    /// When the first event of the log is due.
    start: SimTime,
    /// Which life.
    life: u64,
}

fn payload_hash(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

impl Client {
    /// The life of a producer: the `index`th of `producers`.
    pub async fn produce(self, host: Host, index: u32) {
        let mut orders = self.notebook.orders.subscribe();
        let producer = Producer::begin(&host, &self.brokers, self.producer_config());
        let parts = producer.wait_for_topic(&self.config.topic).await;
        *self.notebook.parts.borrow_mut() = parts;
        self.notebook.has_prepared(&host);
        host.report_ready(true);
        let order = ordered(&mut orders, |order| *order != Order::Prepare).await;
        let outcomes = Outcomes::new(&host, &self.notebook);
        if let Order::Drive(start) = order {
            let share = Share { index, parts, start, life: self.notebook.new_life() };
            select! {
                () = self.replay(&host, &producer, share, &outcomes) => {}
                _ = ordered(&mut orders, |order| Order::Stop <= *order) => {}
            }
        }
        ordered(&mut orders, |order| Order::Stop <= *order).await;
        while 0 < producer.pending() || 0 < *outcomes.open.borrow() {
            host.sleep(Duration::from_millis(20)).await;
        }
        self.notebook.finished.borrow_mut().insert(index);
        std::future::pending::<()>().await;
    }

    fn producer_config(&self) -> ProducerConfig {
        let promised = self.config.delivery.producer();
        let acks = match self.config.acks {
            Acks::None => api::Acks::None,
            Acks::Leader => api::Acks::Leader,
            Acks::All => promised.acks,
        };
        ProducerConfig {
            acks,
            linger: self.config.linger.get(),
            batch_bytes: self.config.batch.get() as usize,
            delivery_timeout: self.config.delivery_timeout.get(),
            ..promised
        }
    }

    /// Hands out this producer's events, each at its time. What was due while the process was down is gone.
    async fn replay(&self, host: &Host, producer: &Producer, share: Share, outcomes: &Outcomes) {
        let Share { index, parts, start, life } = share;
        let first = self.impressions[0].timestamp_ns;
        let began = host.true_time();
        for (event, impression) in (0..).zip(self.impressions.iter()) {
            let key = impression.group.as_bytes();
            // Another hash than the one that chooses the part, so that each producer meets every part.
            if xxh3_64(key) % u64::from(self.config.producers) != u64::from(index) {
                continue;
            }
            let after = (impression.timestamp_ns - first) as f64 / self.config.speed_up;
            let due = start + Duration::from_nanos(after as u64);
            if due < began {
                continue;
            }
            host.sleep(due.since(host.true_time())).await;
            let value = impression.encode(event);
            let payload = payload_hash(key, &value);
            let sent = Sent { event, producer: life, partition: partition_for(key, parts), payload };
            self.notebook.history.borrow_mut().sent(host.true_time(), sent);
            host.count("clickstream.sent", 1);
            host.log(Level::Debug, || format!("sends event {event} to part {}", sent.partition));
            let message = Message {
                key: Some(Bytes::copy_from_slice(key)),
                value,
                timestamp: host.wall_clock().millis(),
            };
            let (partition, delivery) = producer.send(&self.config.topic, message);
            outcomes.await_end(event, partition, delivery);
        }
    }

    /// The life of a consumer: it reads the parts that fall to the `index`th of `consumers`.
    pub async fn consume(self, host: Host, index: u32) {
        let offsets = Rc::new(Offsets::new(&host, &self.brokers));
        let parts = offsets.wait_for_topic(&self.config.topic).await;
        let own: Vec<i32> = (0..parts).filter(|part| *part as u32 % self.config.consumers == index).collect();
        let live = self.reader(&host, &own);
        self.notebook.has_prepared(&host);
        host.report_ready(true);
        let mut orders = self.notebook.orders.subscribe();
        let reading = host.spawn("clickstream-consumer", self.clone().read_on(host.clone(), live));
        let watch = self.clone().watch_ends(host.clone(), offsets.clone(), own.clone());
        let watching = host.spawn("clickstream-lag", watch);
        ordered(&mut orders, |order| *order == Order::ReadBack).await;
        reading.abort();
        watching.abort();
        self.read_back(&host, &offsets, own).await;
        std::future::pending::<()>().await;
    }

    fn reader(&self, host: &Host, parts: &[i32]) -> Consumer {
        let from = parts.iter().map(|part| (TopicPartition::new(&self.config.topic, *part), None)).collect();
        let bytes_max = i32::try_from(self.config.fetch.get()).unwrap_or(i32::MAX);
        let mut config = ConsumerConfig { bytes_max, ..ConsumerConfig::default() };
        // A fetch that could not bring what it waits for would always wait to its end.
        config.bytes_min = config.bytes_min.min(bytes_max / 4);
        Consumer::begin(host, &self.brokers, from, &config)
    }

    async fn read_on(self, host: Host, mut consumer: Consumer) {
        let life = self.notebook.new_life();
        while let Some(consumed) = consumer.next().await {
            self.note(&host, life, &consumed);
        }
    }

    fn note(&self, host: &Host, life: u64, consumed: &api::Consumed) {
        let message = consumed.message.as_ref();
        let read = Read {
            consumer: life,
            topic: consumed.topic.get(),
            partition: consumed.id.index,
            offset: consumed.offset.get(),
            leader_epoch: consumed.leader_epoch.get(),
            event: message.and_then(|message| decode(&message.value)),
            payload: message.map_or(0, |message| {
                payload_hash(message.key.as_deref().unwrap_or_default(), &message.value)
            }),
        };
        let (part, offset) = (read.partition, consumed.offset);
        match read.event {
            Some(event) => host.log(Level::Debug, || format!("reads event {event} at {part}{offset}")),
            None => host.log(Level::Debug, || format!("reads what is no event at {part}{offset}")),
        }
        self.notebook.history.borrow_mut().read(host.true_time(), read);
        host.count("clickstream.read", 1);
    }

    /// Asks again and again where its parts end, as whoever watches the lag of consumers does.
    async fn watch_ends(self, host: Host, offsets: Rc<Offsets>, parts: Vec<i32>) {
        loop {
            for part in &parts {
                let asked = host.true_time();
                let id = TopicPartition::new(&self.config.topic, *part);
                let Bounds { end, leader_epoch, .. } = offsets.bounds(&id).await;
                let told =
                    ToldEnd { partition: *part, asked, leader_epoch: leader_epoch.get(), end: end.get() };
                self.notebook.history.borrow_mut().told_end(told);
            }
            host.sleep(LOOK_AT_ENDS).await;
        }
    }

    /// Reads everything from the first record to where each part ends now.
    async fn read_back(&self, host: &Host, offsets: &Offsets, parts: Vec<i32>) {
        let mut ends: BTreeMap<i32, Offset> = BTreeMap::new();
        for part in parts {
            let Bounds { start, end, .. } = self.bounds(offsets, part).await;
            if start == end {
                self.notebook.read_back.borrow_mut().insert(part);
            } else {
                ends.insert(part, end);
            }
        }
        let life = self.notebook.new_life();
        let mut consumer = self.reader(host, &ends.keys().copied().collect::<Vec<_>>());
        while !ends.is_empty() {
            let Some(consumed) = consumer.next().await else { return };
            self.note(host, life, &consumed);
            let part = consumed.id.index;
            if ends.get(&part).is_some_and(|end| *end <= consumed.offset.next()) {
                ends.remove(&part);
                // What was removed while it was read is not lost either.
                self.bounds(offsets, part).await;
                self.notebook.read_back.borrow_mut().insert(part);
            }
        }
    }

    /// Where a part begins, which the notebook is told, and where it ends.
    async fn bounds(&self, offsets: &Offsets, part: i32) -> Bounds {
        let id = TopicPartition::new(&self.config.topic, part);
        let bounds = offsets.bounds(&id).await;
        self.notebook.history.borrow_mut().starts_at(part, bounds.start.get());
        bounds
    }
}

/// Waits for the ends of events and notes them: one task for each part, as a part's ends come in order.
struct Outcomes {
    host: Host,
    notebook: Rc<Notebook>,
    waiting: RefCell<BTreeMap<i32, mpsc::UnboundedSender<(u64, Delivery)>>>,
    /// How many ends are still awaited.
    open: Rc<RefCell<u64>>,
}

impl Outcomes {
    fn new(host: &Host, notebook: &Rc<Notebook>) -> Self {
        Self {
            host: host.clone(),
            notebook: notebook.clone(),
            waiting: RefCell::default(),
            open: Rc::default(),
        }
    }

    fn await_end(&self, event: u64, partition: i32, delivery: Delivery) {
        *self.open.borrow_mut() += 1;
        let mut waiting = self.waiting.borrow_mut();
        let queue = waiting.entry(partition).or_insert_with(|| {
            let (queue, ends) = mpsc::unbounded_channel();
            let noting = note_ends(self.host.clone(), self.notebook.clone(), self.open.clone(), ends);
            self.host.spawn("clickstream-outcomes", noting);
            queue
        });
        // The task lives as long as the process.
        let _ = queue.send((event, delivery));
    }
}

async fn note_ends(
    host: Host,
    notebook: Rc<Notebook>,
    open: Rc<RefCell<u64>>,
    mut ends: mpsc::UnboundedReceiver<(u64, Delivery)>,
) {
    while let Some((event, delivery)) = ends.recv().await {
        let outcome = match delivery.await {
            Ok(Ok(Acknowledgement { partition, offset: Some(offset) })) => {
                Outcome::Acked { partition, offset: Some(offset.get()) }
            }
            // With acks=0 nobody knows.
            Ok(Ok(Acknowledgement { offset: None, .. })) => Outcome::Unknown,
            Ok(Err(SendError::Failed)) => Outcome::Failed,
            Ok(Err(SendError::Unknown)) | Err(_) => Outcome::Unknown,
        };
        if let Outcome::Acked { .. } = outcome {
            *notebook.acked.borrow_mut() += 1;
            host.count("clickstream.acknowledged", 1);
        }
        host.log(Level::Debug, || format!("event {event} ends: {outcome:?}"));
        notebook.history.borrow_mut().outcome(host.true_time(), event, outcome);
        *open.borrow_mut() -= 1;
    }
}
