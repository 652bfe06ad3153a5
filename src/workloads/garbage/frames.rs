//! Senseless requests, byte by byte: for brokers as the Kafka protocol frames them, for coordination as ZooKeeper's does.

use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, RngCore};

use crate::base::Stream;
use crate::checkers::refusal::Reaction;
use crate::systems::broker::api::Message;
use crate::systems::broker::records::encode;

/// Produce, version 3.
const PRODUCE: (i16, i16) = (0, 3);
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;

/// What may be said of a batch that nobody must take: that it is damaged, or too large; or else, before anybody looks at it, that there is
/// no such part, another leads, or too few replicas are in sync.
const DAMAGED: &[i32] = &[2, 3, 6, 19];
const TOO_LARGE: &[i32] = &[10, 3, 6, 19];

/// How the znodes would be called that are never to be created.
pub const ZNODE: &str = "garbage";

/// How a server's answer is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Any is wrong.
    None,
    /// A number of two bytes here tells the error.
    Short(usize),
    /// A number of four bytes here tells the error.
    Long(usize),
}

/// A senseless request.
pub struct Garbage {
    /// What is wrong with it.
    pub what: &'static str,
    /// The errors with which it may be refused; none if the connection must end.
    pub errors: &'static [i32],
    /// Whether a session is begun on the connection first.
    pub greeted: bool,
    /// What is sent.
    pub bytes: Bytes,
    answer: Answer,
}

impl Garbage {
    fn closed(what: &'static str, bytes: Bytes) -> Self {
        Self { what, errors: &[], greeted: false, bytes, answer: Answer::None }
    }

    fn greeted(self) -> Self {
        Self { greeted: true, ..self }
    }

    /// What the server made of it, when it has answered.
    pub fn read(&self, answer: &Bytes) -> Reaction {
        let error = match self.answer {
            Answer::None => None,
            Answer::Short(at) => {
                answer.get(at..at + 2).map(|two| i32::from(i16::from_be_bytes([two[0], two[1]])))
            }
            Answer::Long(at) => {
                answer.get(at..at + 4).map(|four| i32::from_be_bytes([four[0], four[1], four[2], four[3]]))
            }
        };
        error.filter(|error| *error != 0).map_or(Reaction::Served, Reaction::Refused)
    }
}

fn framed(body: &[u8]) -> Bytes {
    framed_as(body.len() as i32, body)
}

fn framed_as(length: i32, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_i32(length);
    frame.put_slice(body);
    frame.freeze()
}

/// Bytes that no frame begins with: the length before them is not theirs.
fn noise(stream: &mut Stream) -> Bytes {
    let mut bytes = vec![0; stream.random_range(1..300)];
    stream.fill_bytes(&mut bytes);
    bytes[0] |= 0x40;
    bytes.into()
}

/// A frame that says it is longer or shorter than it is.
fn misframed(body: &[u8], stream: &mut Stream) -> Bytes {
    let wrong = stream.random_range(1..1000) * if stream.random_bool(0.5) { 1 } else { -1 };
    framed_as(body.len() as i32 + wrong, body)
}

fn cut(body: &[u8], stream: &mut Stream) -> Bytes {
    framed(&body[..stream.random_range(0..body.len())])
}

fn kafka(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(1);
    // No client id.
    out.put_i16(-1);
    out.put_slice(body);
    out
}

/// A request to store these records in part 0 of a topic, on all replicas in sync.
fn produce(topic: &str, records: &[u8]) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(-1);
    body.put_i32(1000);
    body.put_i32(1);
    body.put_i16(topic.len() as i16);
    body.put_slice(topic.as_bytes());
    body.put_i32(1);
    body.put_i32(0);
    body.put_i32(records.len() as i32);
    body.put_slice(records);
    kafka(PRODUCE.0, PRODUCE.1, &body)
}

fn batch(bytes: usize) -> BytesMut {
    let message = Message { key: None, value: vec![b'x'; bytes].into(), timestamp: 0 };
    BytesMut::from(&encode(&[message], None)[..])
}

/// What is sent to a broker: one of each kind. `topic` exists; `request_max` and `batch_max` are its limits.
pub fn for_broker(topic: &str, request_max: usize, batch_max: usize, stream: &mut Stream) -> Vec<Garbage> {
    let sound = batch(100);
    let request = produce(topic, &sound);
    // Behind the length, the correlation number, and the counts and names before the part's error.
    let error = Answer::Short(4 + 4 + 4 + 2 + topic.len() + 4 + 4);
    let refused = |what, errors, records: &[u8]| Garbage {
        what,
        errors,
        greeted: false,
        bytes: framed(&produce(topic, records)),
        answer: error,
    };
    let mut flipped = sound.clone();
    let at = stream.random_range(21..flipped.len());
    flipped[at] ^= 1 << stream.random_range(0..8);
    let unknown_key = stream.random_range(200..i16::MAX);
    let unknown_version = stream.random_range(50..i16::MAX);
    let mut all = vec![
        Garbage::closed("a sequence of random bytes", noise(stream)),
        Garbage::closed("a frame of another length than it says", misframed(&request, stream)),
        Garbage::closed("a request cut short", cut(&request, stream)),
        Garbage::closed("a request of an unknown type", framed(&kafka(unknown_key, 0, &[]))),
        Garbage::closed("a request of an unknown version", framed(&kafka(METADATA, unknown_version, &[]))),
        Garbage {
            // KIP-511: it is told which versions there are.
            errors: &[35],
            answer: Answer::Short(8),
            ..Garbage::closed(
                "a question for versions in an unknown version",
                framed(&kafka(API_VERSIONS, unknown_version, &[])),
            )
        },
        refused("a batch with a wrong checksum", DAMAGED, &flipped),
        refused("a batch cut short", DAMAGED, &sound[..stream.random_range(1..sound.len())]),
    ];
    if batch_max + 1000 < request_max {
        all.push(refused("an oversized batch", TOO_LARGE, &batch(batch_max + 1)));
    }
    if request_max <= OVERSIZE_MAX {
        all.push(Garbage::closed("an oversized request", framed(&produce(topic, &batch(request_max + 1)))));
    }
    all
}

/// No more than this is sent at once.
const OVERSIZE_MAX: usize = 8 << 20;

fn text(out: &mut BytesMut, text: &str) {
    out.put_i32(text.len() as i32);
    out.put_slice(text.as_bytes());
}

fn connect(session_timeout: i32) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i64(0);
    out.put_i32(session_timeout);
    out.put_i64(0);
    out.put_i32(16);
    out.put_slice(&[0; 16]);
    out.put_u8(0);
    out
}

/// The first words of a client, which begin a session.
pub fn greeting() -> Bytes {
    framed(&connect(1000))
}

/// A request to create a znode with so many bytes of data.
fn create(bytes: usize) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i32(1);
    out.put_i32(1);
    text(&mut out, &format!("/{ZNODE}"));
    out.put_i32(bytes as i32);
    out.put_slice(&vec![b'x'; bytes]);
    out.put_i32(1);
    out.put_i32(31);
    text(&mut out, "world");
    text(&mut out, "anyone");
    out.put_i32(0);
    out
}

/// What is sent to a coordination server: one of each kind. `request_max` is its limit.
pub fn for_coordination(request_max: usize, stream: &mut Stream) -> Vec<Garbage> {
    let (hello, request) = (connect(1000), create(100));
    let mut unknown = BytesMut::new();
    unknown.put_i32(1);
    unknown.put_i32(stream.random_range(200..i32::MAX));
    let mut all = vec![
        Garbage::closed("a sequence of random bytes as the first words", noise(stream)),
        Garbage::closed("first words cut short", cut(&hello, stream)),
        Garbage::closed("a sequence of random bytes", noise(stream)).greeted(),
        Garbage::closed("a frame of another length than it says", misframed(&request, stream)).greeted(),
        Garbage::closed("a request cut short", cut(&request, stream)).greeted(),
        Garbage {
            errors: &[-6],
            // Behind the length, the request's number, and the transaction.
            answer: Answer::Long(4 + 4 + 8),
            ..Garbage::closed("a request of an unknown type", framed(&unknown)).greeted()
        },
    ];
    if request_max <= OVERSIZE_MAX {
        let oversized = framed(&create(request_max + 1));
        all.push(Garbage::closed("oversized first words", oversized.clone()));
        all.push(Garbage::closed("an oversized request", oversized).greeted());
    }
    all
}

/// A question that a broker answers in any state: which versions there are.
pub fn broker_question() -> Bytes {
    framed(&kafka(API_VERSIONS, 0, &[]))
}

/// A ping, which a coordination server answers on the connection of a session.
pub fn coordination_question() -> Bytes {
    let mut ping = BytesMut::new();
    ping.put_i32(-2);
    ping.put_i32(11);
    framed(&ping)
}
