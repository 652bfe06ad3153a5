//! The Kafka protocol on a connection: frames with a four-byte length, headers with correlation ids, typed bodies.

use std::cell::Cell;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey, ApiVersionsRequest,
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse, FetchRequest, FetchResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, MetadataRequest, MetadataResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
    RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{
    Decodable, Encodable, StrBytes, decode_request_header_from_buffer, encode_request_header_into_buffer,
};

use crate::base::{HostId, MonoTime};
use crate::systems::broker::outline;
use crate::world::line::{Line, Link};
use crate::world::rpc::CallError;
use crate::world::{Address, Host};

/// The requests brokers understand, each with the oldest and newest version they speak. Fetches of version 13 on name topics by id
/// (KIP-516), those of version 15 on tell a follower's life (KIP-903).
pub const APIS: [(ApiKey, i16, i16); 12] = [
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 15),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 4, 12),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::ElectLeaders, 1, 2),
    (ApiKey::AlterPartitionReassignments, 0, 0),
    (ApiKey::ListPartitionReassignments, 0, 0),
];

/// Declares the requests and answers that are spoken here. (The crate's own enums know all of Kafka's, and cost minutes of compiling.)
macro_rules! messages {
    ($($api:ident($request:ident, $response:ident)),* $(,)?) => {
        /// A request.
        #[derive(Clone, Debug)]
        pub enum Request {
            $(#[doc = concat!("Kafka's `", stringify!($api), "`.")] $api($request),)*
        }

        /// An answer.
        #[derive(Clone, Debug)]
        pub enum Response {
            $(#[doc = concat!("To Kafka's `", stringify!($api), "`.")] $api($response),)*
        }

        impl Request {
            fn decode(key: ApiKey, body: &mut Bytes, version: i16) -> Option<Self> {
                match key {
                    $(ApiKey::$api => $request::decode(body, version).ok().map(Self::$api),)*
                    _ => None,
                }
            }

            fn encode(&self, out: &mut BytesMut, version: i16) -> Option<()> {
                match self {
                    $(Self::$api(request) => request.encode(out, version).ok(),)*
                }
            }

            fn size(&self, version: i16) -> Option<usize> {
                match self {
                    $(Self::$api(body) => body.compute_size(version).ok(),)*
                }
            }
        }

        impl Response {
            fn decode(key: ApiKey, body: &mut Bytes, version: i16) -> Option<Self> {
                match key {
                    $(ApiKey::$api => $response::decode(body, version).ok().map(Self::$api),)*
                    _ => None,
                }
            }

            fn encode(&self, out: &mut BytesMut, version: i16) -> Option<()> {
                match self {
                    $(Self::$api(response) => response.encode(out, version).ok(),)*
                }
            }

            fn size(&self, version: i16) -> Option<usize> {
                match self {
                    $(Self::$api(body) => body.compute_size(version).ok(),)*
                }
            }
        }
    };
}

messages!(
    Produce(ProduceRequest, ProduceResponse),
    Fetch(FetchRequest, FetchResponse),
    ListOffsets(ListOffsetsRequest, ListOffsetsResponse),
    Metadata(MetadataRequest, MetadataResponse),
    ApiVersions(ApiVersionsRequest, ApiVersionsResponse),
    CreateTopics(CreateTopicsRequest, CreateTopicsResponse),
    DeleteTopics(DeleteTopicsRequest, DeleteTopicsResponse),
    InitProducerId(InitProducerIdRequest, InitProducerIdResponse),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse),
    ElectLeaders(ElectLeadersRequest, ElectLeadersResponse),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse),
);

/// The newest version of a request that brokers and our clients speak.
pub fn version(key: ApiKey) -> i16 {
    APIS.iter().find(|(known, ..)| *known == key).map_or(0, |(.., newest)| *newest)
}

/// A text of the protocol.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// How the protocol names a simulated machine: an address literal, as `10.0.0.7` would be.
pub fn host_name(host: HostId) -> StrBytes {
    text(&host.to_string())
}

/// The machine that an address literal names.
pub fn parse_host(name: &str) -> Option<HostId> {
    name.strip_prefix('h')?.parse().ok().map(HostId::new)
}

/// The most that a header of ours takes, with the length before it.
const HEAD_MAX: usize = 64;

/// A frame around a body of `size` bytes.
fn framed(size: usize, write: impl FnOnce(&mut BytesMut) -> Option<()>) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(HEAD_MAX + size);
    out.put_i32(0);
    write(&mut out)?;
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Some(out.freeze())
}

fn unframed(mut frame: Bytes) -> Option<Bytes> {
    let length = i32::from_be_bytes(*frame.first_chunk()?);
    let body = frame.split_off(4);
    (usize::try_from(length) == Ok(body.len())).then_some(body)
}

/// A request as a broker reads it.
pub struct Incoming {
    /// Its type.
    pub key: ApiKey,
    /// The version its sender speaks.
    pub version: i16,
    /// The number that its answer must carry.
    pub correlation: i32,
    /// The request; `None` if it asks for the versions that are spoken here, in one that is not.
    pub body: Option<Request>,
}

/// The frame of a request, in the newest version that brokers speak.
fn encode_request(key: ApiKey, correlation: i32, client: &StrBytes, request: &Request) -> Bytes {
    let version = version(key);
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client.clone()));
    let frame = request.size(version).and_then(|size| {
        framed(size, |out| {
            encode_request_header_into_buffer(out, &header).ok()?;
            request.encode(out, version)
        })
    });
    frame.expect("our requests hold only what their version can carry")
}

/// Reads a request; `None` if it is malformed, or of a type or version that no broker knows.
pub fn decode_request(frame: Bytes) -> Option<Incoming> {
    let mut body = unframed(frame)?;
    if body.len() < 8 {
        return None;
    }
    let key = ApiKey::try_from(i16::from_be_bytes([body[0], body[1]])).ok()?;
    let version = i16::from_be_bytes([body[2], body[3]]);
    let (_, oldest, newest) = *APIS.iter().find(|(known, ..)| *known == key)?;
    if version < oldest || newest < version {
        if key != ApiKey::ApiVersions {
            return None;
        }
        let correlation = i32::from_be_bytes([body[4], body[5], body[6], body[7]]);
        return Some(Incoming { key, version, correlation, body: None });
    }
    let header = decode_request_header_from_buffer(&mut body).ok()?;
    if !outline::fits(key, version, &body) {
        return None;
    }
    let request = Request::decode(key, &mut body, version)?;
    Some(Incoming { key, version, correlation: header.correlation_id, body: Some(request) })
}

/// The frame of an answer.
pub fn encode_response(key: ApiKey, version: i16, correlation: i32, response: &Response) -> Bytes {
    let framed = response.size(version).and_then(|size| {
        framed(size, |out| {
            let header = ResponseHeader::default().with_correlation_id(correlation);
            header.encode(out, key.response_header_version(version)).ok()?;
            response.encode(out, version)
        })
    });
    framed.expect("our answers hold only what their version can carry")
}

/// The name of a request's type, for traces and faults on messages.
pub fn request_name(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "Produce",
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::CreateTopics => "CreateTopics",
        ApiKey::DeleteTopics => "DeleteTopics",
        ApiKey::InitProducerId => "InitProducerId",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        ApiKey::ElectLeaders => "ElectLeaders",
        ApiKey::AlterPartitionReassignments => "AlterPartitionReassignments",
        ApiKey::ListPartitionReassignments => "ListPartitionReassignments",
        _ => "Unknown",
    }
}

/// The name of an answer's type.
pub fn response_name(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "Produced",
        ApiKey::Fetch => "Fetched",
        _ => "Response",
    }
}

/// A connection to one broker, made anew when it breaks. Requests may overlap; the broker answers them in order.
pub struct Channel {
    host: Host,
    line: Line,
    client: StrBytes,
    correlation: Cell<i32>,
}

/// The number of the request that a frame answers.
fn answered(frame: &Bytes) -> Option<u64> {
    let correlation = frame.get(4..8)?.try_into().ok()?;
    Some(line_number(i32::from_be_bytes(correlation)))
}

fn line_number(correlation: i32) -> u64 {
    u64::from(correlation as u32)
}

impl Channel {
    /// A connection to the broker at `to`, for the client called `client`.
    pub fn new(host: &Host, to: Address, client: &str) -> Self {
        let line = Line::new(host, to, "kafka-responses", answered);
        Self { host: host.clone(), line, client: text(client), correlation: Cell::new(0) }
    }

    /// The broker's address.
    pub fn address(&self) -> Address {
        self.line.address()
    }

    /// Whether a connection stands, as far as is known here.
    pub fn is_connected(&self) -> bool {
        self.line.is_connected()
    }

    /// Sends a request and waits for its answer, `patience` in all.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        key: ApiKey,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, CallError> {
        let deadline = self.host.now() + patience;
        let link = self.link(patience).await?;
        let correlation = self.correlate();
        let reply = link.expect(line_number(correlation));
        self.submit(&link, key, request, correlation, deadline).await?;
        let answered = self.host.timeout(deadline.since(self.host.now()), reply).await;
        let Ok(Ok(frame)) = answered else {
            // What is late on a connection holds up all behind it: the next request takes a new one.
            self.line.cut();
            link.forget(line_number(correlation));
            return Err(CallError::Unknown);
        };
        let version = version(key);
        let mut body = unframed(frame).ok_or(CallError::Unknown)?;
        let header = ResponseHeader::decode(&mut body, key.response_header_version(version));
        header.map_err(|_| CallError::Unknown)?;
        Response::decode(key, &mut body, version).ok_or(CallError::Unknown)
    }

    /// Sends a request that has no answer (acks=0).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn send(&self, key: ApiKey, request: &Request, patience: Duration) -> Result<(), CallError> {
        let deadline = self.host.now() + patience;
        let link = self.link(patience).await?;
        self.submit(&link, key, request, self.correlate(), deadline).await
    }

    async fn link(&self, patience: Duration) -> Result<Link, CallError> {
        let connected = self.host.timeout(patience, self.line.link()).await;
        connected.ok().flatten().ok_or(CallError::NotSent)
    }

    fn correlate(&self) -> i32 {
        let correlation = self.correlation.get();
        self.correlation.set(correlation.wrapping_add(1));
        correlation
    }

    async fn submit(
        &self,
        link: &Link,
        key: ApiKey,
        request: &Request,
        correlation: i32,
        deadline: MonoTime,
    ) -> Result<(), CallError> {
        let frame = encode_request(key, correlation, &self.client, request);
        let left = deadline.since(self.host.now());
        match self.host.timeout(left, link.sender.send(request_name(key), frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CallError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::alter_partition_reassignments_request::{
        ReassignablePartition, ReassignableTopic,
    };
    use kafka_protocol::messages::create_topics_request::{
        CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
    };
    use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::offset_for_leader_epoch_request::{
        OffsetForLeaderPartition, OffsetForLeaderTopic,
    };
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use proptest::prelude::*;

    use super::*;
    use crate::base::damage::damaged;
    use crate::systems::broker::records::{Message, encode};

    fn examples() -> Vec<(ApiKey, Request)> {
        let topic = || TopicName(text("clicks"));
        let message = Message { key: None, value: Bytes::from_static(b"v"), timestamp: 7 };
        let data = PartitionProduceData::default().with_records(Some(encode(&[message], None)));
        let produce = TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]);
        let fetch = FetchTopic::default().with_partitions(vec![FetchPartition::default()]);
        let list = ListOffsetsTopic::default()
            .with_name(topic())
            .with_partitions(vec![ListOffsetsPartition::default()]);
        let created = CreatableTopic::default()
            .with_name(topic())
            .with_assignments(vec![CreatableReplicaAssignment::default().with_broker_ids(vec![1.into()])])
            .with_configs(vec![CreatableTopicConfig::default().with_name(text("retention.ms"))]);
        let epochs = OffsetForLeaderTopic::default()
            .with_topic(topic())
            .with_partitions(vec![OffsetForLeaderPartition::default()]);
        let elect = TopicPartitions::default().with_topic(topic()).with_partitions(vec![0, 1]);
        let moved = ReassignablePartition::default().with_replicas(Some(vec![1.into(), 2.into()]));
        let moved = ReassignableTopic::default().with_name(topic()).with_partitions(vec![moved]);
        let listed =
            ListPartitionReassignmentsTopics::default().with_name(topic()).with_partition_indexes(vec![3]);
        let named = MetadataRequestTopic::default().with_name(Some(topic()));
        vec![
            (ApiKey::Produce, Request::Produce(ProduceRequest::default().with_topic_data(vec![produce]))),
            (ApiKey::Fetch, Request::Fetch(FetchRequest::default().with_topics(vec![fetch]))),
            (
                ApiKey::ListOffsets,
                Request::ListOffsets(ListOffsetsRequest::default().with_topics(vec![list])),
            ),
            (ApiKey::Metadata, Request::Metadata(MetadataRequest::default().with_topics(Some(vec![named])))),
            (ApiKey::ApiVersions, Request::ApiVersions(ApiVersionsRequest::default())),
            (
                ApiKey::CreateTopics,
                Request::CreateTopics(CreateTopicsRequest::default().with_topics(vec![created])),
            ),
            (ApiKey::DeleteTopics, Request::DeleteTopics(DeleteTopicsRequest::default())),
            (ApiKey::InitProducerId, Request::InitProducerId(InitProducerIdRequest::default())),
            (
                ApiKey::OffsetForLeaderEpoch,
                Request::OffsetForLeaderEpoch(
                    OffsetForLeaderEpochRequest::default().with_topics(vec![epochs]),
                ),
            ),
            (
                ApiKey::ElectLeaders,
                Request::ElectLeaders(
                    ElectLeadersRequest::default().with_topic_partitions(Some(vec![elect])),
                ),
            ),
            (
                ApiKey::AlterPartitionReassignments,
                Request::AlterPartitionReassignments(
                    AlterPartitionReassignmentsRequest::default().with_topics(vec![moved]),
                ),
            ),
            (
                ApiKey::ListPartitionReassignments,
                Request::ListPartitionReassignments(
                    ListPartitionReassignmentsRequest::default().with_topics(Some(vec![listed])),
                ),
            ),
        ]
    }

    #[test]
    fn every_request_that_is_spoken_fits_its_outline_in_every_version() {
        let examples = examples();
        for (key, oldest, newest) in APIS {
            let (_, request) = examples.iter().find(|(known, _)| *known == key).expect("one of each");
            let mut versions = 0;
            for version in oldest..=newest {
                let mut body = BytesMut::new();
                // Older versions lack some fields.
                if request.encode(&mut body, version).is_some() {
                    versions += 1;
                    assert!(outline::fits(key, version, &body), "{key:?} {version}");
                    body.extend([0]);
                    assert!(!outline::fits(key, version, &body), "{key:?} {version}, and more");
                }
            }
            assert!(0 < versions, "{key:?}");
            let frame = encode_request(key, 9, &text("client"), request);
            assert!(decode_request(frame).is_some_and(|read| read.correlation == 9 && read.body.is_some()));
        }
    }

    fn frames() -> Vec<Vec<u8>> {
        let frame = |(key, request): &(ApiKey, Request)| encode_request(*key, 9, &text("client"), request);
        examples().iter().map(|example| frame(example).to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Lengths and counts in it may be anything.
        #[test]
        fn whatever_a_client_sends_is_read_or_refused(bytes in damaged(frames())) {
            // As it came, and as a client would send it that damages only what is within the frame.
            let mut framed = bytes.clone();
            if let Some(length) = framed.first_chunk_mut::<4>() {
                *length = (bytes.len() as i32 - 4).to_be_bytes();
            }
            for frame in [bytes, framed] {
                decode_request(frame.into());
            }
        }
    }
}
