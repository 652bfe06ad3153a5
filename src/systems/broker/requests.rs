//! Serves clients: one connection's requests in order, as Kafka does.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset as Diverging, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, FetchRequest, FetchResponse, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, TopicName,
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::base::{ByteSize, MonoTime, Span};
use crate::systems::broker::TopicConfig;
use crate::systems::broker::controller::json;
use crate::systems::broker::id::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::systems::broker::log::{Limit, LogError};
use crate::systems::broker::message::{Control, Controlled};
use crate::systems::broker::partition::{FetchFrom, Fetched, Found, Partition, Refusal};
use crate::systems::broker::server::{Broker, CLIENT_PORT};
use crate::systems::broker::wire::{
    APIS, Request, Response, decode_request, encode_response, host_name, response_name, text,
};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::rpc::CallError;

/// Work for one request, and for each KiB it carries.
const REQUEST_COST: Duration = Duration::from_micros(20);
const KIB_COST: Duration = Duration::from_nanos(500);

/// How many producer ids a broker reserves at once.
const PRODUCER_IDS: i64 = 1000;

/// Accepts clients, for the life of the process.
pub async fn listen(broker: Rc<Broker>) {
    let mut listener = broker.host.listen(CLIENT_PORT).await.expect("one process listens for clients");
    let ids = Rc::new(tokio::sync::Mutex::new(0..0));
    loop {
        let mut connection = listener.accept().await;
        let (this, ids) = (broker.clone(), ids.clone());
        broker.host.spawn("broker-connection", async move {
            while let Ok(frame) = connection.receiver.recv().await {
                if this.config.request_max.get() < frame.len() as u64 {
                    crate::reached!("a broker was sent an oversized request");
                    return;
                }
                this.host.cpu(REQUEST_COST + KIB_COST * (frame.len() / 1024) as u32).await;
                // What cannot be read ends the connection: the next frame could not be trusted either.
                let Some(incoming) = decode_request(frame) else {
                    crate::reached!("a broker was sent what it could not read");
                    return;
                };
                let answer = match incoming.body {
                    None => Answer::Response(Response::ApiVersions(
                        ApiVersionsResponse::default()
                            .with_error_code(ResponseError::UnsupportedVersion.code())
                            .with_api_keys(versions()),
                    )),
                    Some(request) => this.answer(request, &ids).await,
                };
                let answer = match answer {
                    Answer::Response(response) => response,
                    Answer::None => continue,
                    Answer::End => return,
                };
                // KIP-511: whoever asks in too new a version is answered in the oldest.
                let version = if let Response::ApiVersions(versions) = &answer
                    && versions.error_code != 0
                {
                    0
                } else {
                    incoming.version
                };
                let frame = encode_response(incoming.key, version, incoming.correlation, &answer);
                if connection.sender.send(response_name(incoming.key), frame).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn versions() -> Vec<ApiVersion> {
    let version = |(key, oldest, newest): &(kafka_protocol::messages::ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(*key as i16).with_min_version(*oldest).with_max_version(*newest)
    };
    APIS.iter().map(version).collect()
}

/// What follows on a request.
enum Answer {
    Response(Response),
    /// None was asked for (acks=0).
    None,
    /// None was asked for, but the request was refused: only the end of the connection can tell the client to look for the leader.
    End,
}

fn is_refusal(response: &ProduceResponse) -> bool {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.any(|partition| partition.error_code != 0)
}

type ProducerIds = Rc<tokio::sync::Mutex<std::ops::Range<i64>>>;

fn code(refusal: &Refusal) -> i16 {
    match refusal {
        Refusal::UnknownTopicPartition => ResponseError::UnknownTopicOrPartition,
        Refusal::NotLeader => ResponseError::NotLeaderOrFollower,
        Refusal::FencedEpoch => ResponseError::FencedLeaderEpoch,
        Refusal::UnknownEpoch => ResponseError::UnknownLeaderEpoch,
        Refusal::NotEnoughReplicas => ResponseError::NotEnoughReplicas,
        Refusal::OffsetNotAvailable => ResponseError::OffsetNotAvailable,
        Refusal::UnknownTopicId => ResponseError::UnknownTopicId,
        Refusal::Log(LogError::Batch(_)) => ResponseError::CorruptMessage,
        Refusal::Log(LogError::OutOfOrder) => ResponseError::OutOfOrderSequenceNumber,
        Refusal::Log(LogError::Fenced) => ResponseError::InvalidProducerEpoch,
        Refusal::Log(LogError::OutOfRange(_)) => ResponseError::OffsetOutOfRange,
        Refusal::Log(LogError::Disk(_) | LogError::Corrupt(_)) => ResponseError::KafkaStorageError,
    }
    .code()
}

/// What a fetch can be answered now.
struct FetchedNow {
    response: FetchResponse,
    /// Bytes of records in it.
    bytes: usize,
    /// Waiting would bring no more.
    at_once: bool,
}

/// The follower that fetches, and its life. Versions before 15 tell no life: it counts as the earliest.
fn follower(request: &FetchRequest) -> Option<(BrokerId, BrokerEpoch)> {
    let named = request.replica_id.0.max(request.replica_state.replica_id.0);
    (0 <= named).then(|| (BrokerId::new(named), BrokerEpoch::new(request.replica_state.replica_epoch)))
}

/// Whether a waiting fetch is worth another look: enough bytes, as far as can be told without reading, or news of another kind.
fn seems_enough(request: &FetchRequest, partitions: &[Result<Rc<Partition>, Refusal>]) -> bool {
    let follower = follower(request);
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions);
    let bytes = partitions
        .iter()
        .zip(asked)
        .map(|(partition, asked)| partition.as_ref().ok()?.bytes_for(&asked_from(asked, follower)));
    // `None` of any of them is such news.
    let bytes: Option<u64> = bytes.sum();
    bytes.is_none_or(|bytes| u64::try_from(request.min_bytes).unwrap_or(0) <= bytes)
}

fn asked_from(asked: &FetchPartition, follower: Option<(BrokerId, BrokerEpoch)>) -> FetchFrom {
    let epoch = |number: i32| (0 <= number).then(|| LeaderEpoch::new(number));
    FetchFrom {
        follower,
        epoch: epoch(asked.current_leader_epoch),
        offset: Offset::new(asked.fetch_offset),
        last_epoch: epoch(asked.last_fetched_epoch),
    }
}

fn fetched(data: PartitionData, fetched: Fetched) -> PartitionData {
    let diverging = fetched.diverging.map_or((-1, -1), |(epoch, end)| (epoch.get(), end.get()));
    data.with_high_watermark(fetched.high_watermark.get())
        .with_last_stable_offset(fetched.high_watermark.get())
        .with_log_start_offset(fetched.log_start.get())
        .with_diverging_epoch(Diverging::default().with_epoch(diverging.0).with_end_offset(diverging.1))
        .with_records(Some(fetched.records))
}

impl Broker {
    async fn answer(self: &Rc<Self>, request: Request, ids: &ProducerIds) -> Answer {
        Answer::Response(match request {
            Request::ApiVersions(_) => {
                Response::ApiVersions(ApiVersionsResponse::default().with_api_keys(versions()))
            }
            Request::Metadata(request) => Response::Metadata(self.metadata(&request)),
            Request::Produce(request) => {
                let silent = request.acks == 0;
                let response = self.produce(request).await;
                if silent {
                    return if is_refusal(&response) { Answer::End } else { Answer::None };
                }
                Response::Produce(response)
            }
            Request::Fetch(request) => Response::Fetch(self.fetch(request).await),
            Request::ListOffsets(request) => Response::ListOffsets(self.list_offsets(request).await),
            Request::OffsetForLeaderEpoch(request) => {
                Response::OffsetForLeaderEpoch(self.offset_for_leader_epoch(request).await)
            }
            Request::InitProducerId(_) => Response::InitProducerId(self.init_producer_id(ids).await),
            Request::CreateTopics(request) => Response::CreateTopics(self.create_topics(request).await),
            Request::DeleteTopics(request) => Response::DeleteTopics(self.delete_topics(request).await),
            Request::ElectLeaders(request) => Response::ElectLeaders(self.elect_leaders(request).await),
            Request::AlterPartitionReassignments(request) => {
                Response::AlterPartitionReassignments(self.alter_reassignments(request).await)
            }
            Request::ListPartitionReassignments(request) => {
                Response::ListPartitionReassignments(self.list_reassignments(request).await)
            }
        })
    }

    fn lookup(&self, topic: &TopicName, index: i32) -> Result<Rc<Partition>, Refusal> {
        let id = TopicPartition::new(topic.as_str(), index);
        self.partition(&id).ok_or_else(|| {
            let image = self.image.borrow();
            let exists = image.as_ref().is_none_or(|image| image.state(&id).is_some());
            if exists { Refusal::NotLeader } else { Refusal::UnknownTopicPartition }
        })
    }

    /// A topic as fetches name it: by its id, or, in old versions, by its name.
    fn lookup_fetched(&self, topic: &FetchTopic, index: i32) -> Result<Rc<Partition>, Refusal> {
        if topic.topic_id.is_nil() {
            return self.lookup(&topic.topic, index);
        }
        let id = TopicId::from_uuid(topic.topic_id).ok_or(Refusal::UnknownTopicId)?;
        let name = {
            let image = self.image.borrow();
            let name = image.as_ref().and_then(|image| image.name_of(id));
            TopicName(text(name.ok_or(Refusal::UnknownTopicId)?))
        };
        self.lookup(&name, index)
    }

    /// A failed disk ends the process; everything else is the client's to know.
    fn notice(&self, refusal: &Refusal) -> i16 {
        if let Refusal::Log(error @ (LogError::Disk(_) | LogError::Corrupt(_))) = refusal {
            self.fail(error.clone());
        }
        code(refusal)
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let image = self.image.borrow();
        let Some(image) = image.as_ref() else {
            return MetadataResponse::default().with_controller_id((-1).into());
        };
        let broker = |(id, live): (&BrokerId, &crate::systems::broker::cluster::LiveBroker)| {
            MetadataResponseBroker::default()
                .with_node_id(id.get().into())
                .with_host(host_name(live.registration.address.host))
                .with_port(i32::from(live.registration.address.port))
                .with_rack(Some(text(&live.registration.zone)))
        };
        let ids =
            |set: &mut dyn Iterator<Item = &BrokerId>| set.map(|id| id.get().into()).collect::<Vec<_>>();
        let topic = |name: &str| {
            let answer = MetadataResponseTopic::default().with_name(Some(TopicName(text(name))));
            let Some(topic) = image.topics.get(name) else {
                return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
            };
            let partition = |(index, state): (usize, &crate::systems::broker::cluster::PartitionState)| {
                let error = if state.leader.is_none() { ResponseError::LeaderNotAvailable.code() } else { 0 };
                MetadataResponsePartition::default()
                    .with_error_code(error)
                    .with_partition_index(index as i32)
                    .with_leader_id(state.leader.map_or(-1, BrokerId::get).into())
                    .with_leader_epoch(state.leader_epoch.get())
                    .with_replica_nodes(ids(&mut state.replicas.iter()))
                    .with_isr_nodes(ids(&mut state.in_sync.iter()))
            };
            let answer = answer.with_topic_id(topic.id.to_uuid());
            answer.with_partitions(topic.partitions.iter().enumerate().map(partition).collect())
        };
        let topics = match &request.topics {
            None => image.topics.keys().map(|name| topic(name)).collect(),
            Some(asked) => asked
                .iter()
                .filter_map(|asked| asked.name.as_ref())
                .map(|name| topic(name.as_str()))
                .collect(),
        };
        MetadataResponse::default()
            .with_brokers(image.brokers.iter().map(broker).collect())
            .with_controller_id(image.controller.get().into())
            .with_topics(topics)
    }

    async fn produce(self: &Rc<Self>, request: ProduceRequest) -> ProduceResponse {
        let deadline =
            self.host.now() + Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let mut appended = Vec::new();
        for topic in request.topic_data {
            for data in topic.partition_data {
                let records = data.records.unwrap_or_default();
                let outcome = match request.acks {
                    -1..=1 => self.append(&topic.name, data.index, &records, request.acks).await,
                    _ => Err(ResponseError::InvalidRequiredAcks.code()),
                };
                appended.push((topic.name.clone(), data.index, outcome));
            }
        }
        let mut topics: Vec<TopicProduceResponse> = Vec::new();
        for (name, index, outcome) in appended {
            let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
            let response = match outcome {
                Err(error) => response.with_error_code(error).with_base_offset(-1),
                Ok(Appended { partition, base, last, epoch }) => {
                    let committed = match request.acks {
                        -1 => self.committed(&partition, last, epoch, deadline).await,
                        _ => Ok(()),
                    };
                    match committed {
                        Ok(()) => {
                            if !self.session.borrow().is_connected() {
                                crate::reached!(
                                    "a broker acknowledged a record while it had no coordination"
                                );
                            }
                            response
                                .with_base_offset(base.get())
                                .with_log_start_offset(partition.log_start().get())
                        }
                        Err(error) => response.with_error_code(error.code()).with_base_offset(-1),
                    }
                }
            };
            match topics.last_mut().filter(|topic| topic.name == name) {
                Some(topic) => topic.partition_responses.push(response),
                None => topics.push(
                    TopicProduceResponse::default().with_name(name).with_partition_responses(vec![response]),
                ),
            }
        }
        ProduceResponse::default().with_responses(topics)
    }

    async fn append(
        &self,
        topic: &TopicName,
        index: i32,
        records: &Bytes,
        acks: i16,
    ) -> Result<Appended, i16> {
        let partition = self.lookup(topic, index).map_err(|refusal| code(&refusal))?;
        if self.config.message_max.get() < records.len() as u64 {
            crate::reached!("a broker was sent an oversized batch");
            return Err(ResponseError::MessageTooLarge.code());
        }
        let result = partition.append(records, acks == -1).await;
        let (info, epoch) = result.map_err(|refusal| self.notice(&refusal))?;
        self.host.buggify_delay(&sites::APPENDED).await;
        self.host.count("broker.bytes-in", records.len() as u64);
        Ok(Appended { base: info.appended.base, last: info.appended.last, partition, epoch })
    }

    /// Waits until a record is committed: on every replica in sync, and those enough.
    async fn committed(
        &self,
        partition: &Partition,
        last: Offset,
        epoch: LeaderEpoch,
        deadline: MonoTime,
    ) -> Result<(), ResponseError> {
        let waiter = Rc::new(Notify::new());
        loop {
            partition.changes.tell(&waiter);
            let enough = {
                let replica = partition.replica.borrow();
                if replica.leadership().is_none() || replica.epoch() != epoch {
                    return Err(ResponseError::NotLeaderOrFollower);
                }
                (last < replica.high_watermark()).then(|| replica.has_enough_in_sync())
            };
            if let Some(enough) = enough {
                self.host.buggify_delay(&sites::COMMITTED).await;
                return if enough { Ok(()) } else { Err(ResponseError::NotEnoughReplicasAfterAppend) };
            }
            let left = deadline.since(self.host.now());
            if left.is_zero() || self.host.timeout(left, waiter.notified()).await.is_err() {
                return Err(ResponseError::RequestTimedOut);
            }
        }
    }

    async fn fetch(self: &Rc<Self>, request: FetchRequest) -> FetchResponse {
        let deadline =
            self.host.now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
        let partitions: Vec<Result<Rc<Partition>, Refusal>> = request
            .topics
            .iter()
            .flat_map(|topic| {
                topic.partitions.iter().map(|asked| self.lookup_fetched(topic, asked.partition))
            })
            .collect();
        let waiter = Rc::new(Notify::new());
        loop {
            partitions.iter().flatten().for_each(|partition| partition.changes.tell(&waiter));
            let FetchedNow { response, bytes, at_once } = self.fetch_now(&request, &partitions).await;
            let left = deadline.since(self.host.now());
            let enough = at_once || bytes_min <= bytes || left.is_zero();
            if enough || self.host.buggify(&sites::EARLY_FETCH) {
                self.host.count("broker.bytes-out", bytes as u64);
                return response;
            }
            // It looks once more when the time is up, or when it is told of changes that seem to make enough.
            while self.host.timeout(deadline.since(self.host.now()), waiter.notified()).await.is_ok() {
                partitions.iter().flatten().for_each(|partition| partition.changes.tell(&waiter));
                if seems_enough(&request, &partitions) {
                    break;
                }
            }
        }
    }

    async fn fetch_now(
        self: &Rc<Self>,
        request: &FetchRequest,
        partitions: &[Result<Rc<Partition>, Refusal>],
    ) -> FetchedNow {
        let mut partitions = partitions.iter();
        let follower = follower(request);
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
        if self.host.buggify(&sites::SMALL_FETCH) {
            left = 1;
        }
        let (mut bytes, mut at_once) = (0, false);
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut answers = Vec::new();
            for asked in &topic.partitions {
                let bytes_max = left.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
                let limit = Limit { bytes_max, at_least_one: bytes == 0 };
                let partition = partitions.next().expect("each was looked up");
                let found = match partition {
                    Ok(partition) => {
                        partition.fetch(asked_from(asked, follower), limit, self.host.now()).await
                    }
                    Err(refusal) => Err(refusal.clone()),
                };
                if let (Ok(Found { proposal: Some(proposal), .. }), Ok(partition)) = (&found, partition) {
                    self.propose(&partition.id, proposal.clone());
                }
                let data = PartitionData::default().with_partition_index(asked.partition);
                answers.push(match found {
                    Ok(found) => {
                        bytes += found.fetched.records.len();
                        left = left.saturating_sub(found.fetched.records.len());
                        at_once |= found.complete;
                        fetched(data, found.fetched)
                    }
                    Err(refusal) => {
                        at_once = true;
                        let log_start =
                            partition.as_ref().map_or(-1, |partition| partition.log_start().get());
                        data.with_error_code(self.notice(&refusal))
                            .with_high_watermark(-1)
                            .with_last_stable_offset(-1)
                            .with_log_start_offset(log_start)
                            .with_records(Some(Bytes::new()))
                    }
                });
            }
            let answer = FetchableTopicResponse::default().with_topic(topic.topic.clone());
            topics.push(answer.with_topic_id(topic.topic_id).with_partitions(answers));
        }
        FetchedNow { response: FetchResponse::default().with_responses(topics), bytes, at_once }
    }

    async fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        const LATEST: i64 = -1;
        const EARLIEST: i64 = -2;
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for asked in topic.partitions {
                let answer = ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_timestamp(-1)
                    .with_offset(-1);
                let known = known_epoch(asked.current_leader_epoch);
                let found = match self.lookup(&topic.name, asked.partition_index) {
                    Err(refusal) => Err(refusal),
                    Ok(partition) => match asked.timestamp {
                        // Only a leader knows.
                        LATEST | EARLIEST if let Err(refusal) = partition.leading(known) => Err(refusal),
                        // Before it has caught up with what older leaders committed, it must not tell an end that lies behind (KIP-207).
                        LATEST if partition.lags_committed() && !bug("K29") => {
                            Err(Refusal::OffsetNotAvailable)
                        }
                        LATEST => Ok(Some((partition.high_watermark(), -1))),
                        EARLIEST => Ok(Some((partition.log_start(), -1))),
                        timestamp => partition.offset_at(known, timestamp).await,
                    },
                };
                partitions.push(match found {
                    Ok(Some((offset, timestamp))) => {
                        answer.with_offset(offset.get()).with_timestamp(timestamp)
                    }
                    Ok(None) => answer,
                    Err(refusal) => answer.with_error_code(self.notice(&refusal)),
                });
            }
            topics
                .push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(topics)
    }

    async fn offset_for_leader_epoch(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for asked in topic.partitions {
                let answer = EpochEndOffset::default()
                    .with_partition(asked.partition)
                    .with_leader_epoch(-1)
                    .with_end_offset(-1);
                let known = known_epoch(asked.current_leader_epoch);
                let found = match self.lookup(&topic.topic, asked.partition) {
                    Ok(partition) => {
                        partition.end_of_epoch(known, LeaderEpoch::new(asked.leader_epoch)).await
                    }
                    Err(refusal) => Err(refusal),
                };
                partitions.push(match found {
                    Ok(Some((epoch, end))) => {
                        answer.with_leader_epoch(epoch.get()).with_end_offset(end.get())
                    }
                    Ok(None) => answer,
                    Err(refusal) => answer.with_error_code(self.notice(&refusal)),
                });
            }
            topics.push(
                OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions),
            );
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }

    /// Producer ids are unique in the cluster: each broker reserves blocks of them at coordination, by compare-and-set.
    async fn init_producer_id(&self, ids: &ProducerIds) -> InitProducerIdResponse {
        const PATH: &str = "/latest_producer_id_block";
        let answer = InitProducerIdResponse::default();
        let mut ids = ids.lock().await;
        if ids.is_empty() {
            let session = self.session.borrow().clone();
            let reserved = async {
                let (data, stat) = session.get(PATH).await.ok()?;
                let next: i64 = serde_json::from_slice(&data).ok()?;
                session.set(PATH, json(&(next + PRODUCER_IDS)), Some(stat.version)).await.ok()?;
                Some(next..next + PRODUCER_IDS)
            };
            match reserved.await {
                Some(block) => *ids = block,
                None => return answer.with_error_code(ResponseError::CoordinatorNotAvailable.code()),
            }
        }
        let id = ids.next().expect("just reserved");
        answer.with_producer_id(id.into()).with_producer_epoch(0)
    }

    async fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut results = Vec::new();
        for topic in request.topics {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            let mut config = TopicConfig::new(
                topic.name.as_str(),
                u32::try_from(topic.num_partitions).unwrap_or(1),
                u32::try_from(topic.replication_factor).unwrap_or(1),
                1,
            );
            let mut sound = true;
            for setting in &topic.configs {
                sound &= set(
                    &mut config,
                    setting.name.as_str(),
                    setting.value.as_ref().map_or("", |value| value.as_str()),
                );
            }
            let brokers = self.image.borrow().as_ref().map_or(0, |image| image.brokers.len() as u32);
            let error = if !sound {
                Some(ResponseError::InvalidConfig)
            } else if let Some(problem) = config.validate(brokers).first() {
                Some(match &*problem.path {
                    "name" => ResponseError::InvalidTopicException,
                    "partitions" => ResponseError::InvalidPartitions,
                    "replicas" => ResponseError::InvalidReplicationFactor,
                    _ => ResponseError::InvalidConfig,
                })
            } else if request.validate_only {
                None
            } else {
                outcome(
                    self.ask_controller(&Control::CreateTopic(json(&config))).await,
                    ResponseError::TopicAlreadyExists,
                )
            };
            results.push(result.with_error_code(error.map_or(0, |error| error.code())));
        }
        CreateTopicsResponse::default().with_topics(results)
    }

    async fn delete_topics(&self, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let mut results = Vec::new();
        // From version 6 on topics may be named by their ids (KIP-516).
        let named = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
        let named = named.chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)));
        for (name, id) in named.collect::<Vec<_>>() {
            let control = match (&name, TopicId::from_uuid(id)) {
                (Some(name), _) => Some(Control::DeleteTopic(name.to_string())),
                (None, id) => id.map(Control::DeleteTopicOf),
            };
            let unknown = match &name {
                Some(_) => ResponseError::UnknownTopicOrPartition,
                None => ResponseError::UnknownTopicId,
            };
            let error = match control {
                Some(control) => outcome(self.ask_controller(&control).await, unknown),
                None => Some(unknown),
            };
            let result = DeletableTopicResult::default().with_name(name).with_topic_id(id);
            results.push(result.with_error_code(error.map_or(0, |error| error.code())));
        }
        DeleteTopicsResponse::default().with_responses(results)
    }
}

/// An epoch as a request carries it; -1 is none.
fn known_epoch(number: i32) -> Option<LeaderEpoch> {
    (0 <= number).then(|| LeaderEpoch::new(number))
}

struct Appended {
    partition: Rc<Partition>,
    base: Offset,
    last: Offset,
    epoch: LeaderEpoch,
}

fn outcome(answer: Result<Controlled, CallError>, conflict: ResponseError) -> Option<ResponseError> {
    match answer {
        Ok(Controlled::Done) => None,
        Ok(Controlled::TopicConflict) => Some(conflict),
        Ok(Controlled::TooFewBrokers) => Some(ResponseError::InvalidReplicationFactor),
        Ok(Controlled::Malformed) => Some(ResponseError::InvalidRequest),
        Ok(Controlled::Unknown) | Err(CallError::Unknown) => Some(ResponseError::RequestTimedOut),
        Ok(_) | Err(CallError::NotSent) => Some(ResponseError::NotController),
    }
}

/// A topic's setting under Kafka's name for it; false if it is unknown or cannot be.
fn set(config: &mut TopicConfig, name: &str, value: &str) -> bool {
    let number = value.parse::<u64>().ok();
    match (name, number) {
        ("min.insync.replicas", Some(number)) => config.min_in_sync = number as u32,
        ("segment.bytes", Some(number)) => config.segment = ByteSize::new(number),
        ("retention.ms", Some(number)) => config.retention = Some(Span::millis(number)),
        ("retention.bytes", Some(number)) => config.retention_size = Some(ByteSize::new(number)),
        ("unclean.leader.election.enable", None) if value == "true" || value == "false" => {
            config.unclean_leader_election = value == "true";
        }
        _ => return false,
    }
    true
}
