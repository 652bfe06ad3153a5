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

use crate::base::{HostId, SimTime};
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
        deadline: SimTime,
    ) -> Result<(), CallError> {
        let version = version(key);
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(self.client.clone()));
        let frame = request.size(version).and_then(|size| {
            framed(size, |out| {
                encode_request_header_into_buffer(out, &header).ok()?;
                request.encode(out, version)
            })
        });
        let frame = frame.expect("our requests hold only what their version can carry");
        let left = deadline.since(self.host.now());
        match self.host.timeout(left, link.sender.send(request_name(key), frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CallError::Unknown),
        }
    }
}
