//! Record batches as the Kafka protocol lays them out (message format v2): read, checked and stamped in place.
//!
//! The CRC-32C covers what the producer wrote; base offset and leader epoch stand before it, so that a leader can set them.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::systems::broker::id::{LeaderEpoch, Offset};
use crate::systems::broker::outline::Rest;

/// Bytes of a batch before its records.
pub const HEADER: usize = 61;
const LENGTH_END: usize = 12;
const CRC_AT: usize = 17;
const CRC_COVERS: usize = 21;

/// Why bytes are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// There are fewer bytes than its length says.
    #[error("a record batch ends early")]
    Truncated,
    /// Its checksum or a field cannot be.
    #[error("a record batch is damaged")]
    Corrupt,
}

/// The header of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset of its last record.
    pub last: Offset,
    /// Bytes in all.
    pub size: usize,
    /// The epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// Its checksum.
    pub crc: u32,
    /// The latest timestamp among its records, in milliseconds.
    pub timestamp_max: i64,
    /// The producer's number; -1 without idempotence.
    pub producer: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The sequence number of its first record.
    pub sequence: i32,
    /// How many records.
    pub count: i32,
}

impl Batch {
    /// The sequence number of its last record.
    pub fn sequence_last(&self) -> i32 {
        sequence_after(self.sequence, self.count - 1)
    }
}

/// The sequence number so many records after another: 0 follows on the largest.
pub fn sequence_after(sequence: i32, records: i32) -> i32 {
    if sequence < 0 { sequence } else { sequence.wrapping_add(records) & i32::MAX }
}

/// The batch at the front of `bytes`; `check` demands that its checksum is right.
///
/// # Errors
/// See [`BatchError`].
pub fn parse(bytes: &[u8], check: bool) -> Result<Batch, BatchError> {
    if bytes.len() < HEADER {
        return Err(BatchError::Truncated);
    }
    let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let i16_at = |at: usize| i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
    let length = usize::try_from(i32_at(8)).map_err(|_| BatchError::Corrupt)?;
    if length < HEADER - LENGTH_END || bytes[16] != 2 {
        return Err(BatchError::Corrupt);
    }
    let size = LENGTH_END + length;
    if bytes.len() < size {
        return Err(BatchError::Truncated);
    }
    let crc = i32_at(CRC_AT) as u32;
    let (base, last_delta, count) = (i64_at(0), i32_at(23), i32_at(57));
    // No log is so long that its offsets come near their end.
    if !(0..=i64::MAX / 2).contains(&base)
        || last_delta < 0
        || count <= 0
        || (check && crc32c::crc32c(&bytes[CRC_COVERS..size]) != crc)
    {
        return Err(BatchError::Corrupt);
    }
    Ok(Batch {
        base: Offset::new(base),
        last: Offset::new(base).plus(i64::from(last_delta)),
        size,
        epoch: LeaderEpoch::new(i32_at(12)),
        crc,
        timestamp_max: i64_at(35),
        producer: i64_at(43),
        producer_epoch: i16_at(51),
        sequence: i32_at(53),
        count,
    })
}

/// The batches in `bytes`, one after the other; the last item is an error if they end early or badly.
pub fn batches(bytes: &[u8], check: bool) -> impl Iterator<Item = Result<(usize, Batch), BatchError>> {
    let mut at = 0;
    let mut over = false;
    std::iter::from_fn(move || {
        if over || at == bytes.len() {
            return None;
        }
        let parsed = parse(&bytes[at..], check);
        over = parsed.is_err();
        Some(parsed.map(|batch| {
            let here = at;
            at += batch.size;
            (here, batch)
        }))
    })
}

/// Gives a batch its place in the log: base offset and leader epoch.
pub fn stamp(batch: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    batch[..8].copy_from_slice(&base.get().to_be_bytes());
    batch[12..16].copy_from_slice(&epoch.get().to_be_bytes());
}

/// A record as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// When it was made, in milliseconds since the Unix epoch.
    pub timestamp: i64,
}

/// Who produces a batch, for idempotence (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sequenced {
    /// The producer's number.
    pub producer: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The number of the first record.
    pub sequence: i32,
}

/// Encodes messages as one batch.
pub fn encode(messages: &[Message], sequenced: Option<Sequenced>) -> Bytes {
    let Sequenced { producer, epoch, sequence } =
        sequenced.unwrap_or(Sequenced { producer: -1, epoch: -1, sequence: -1 });
    let record = |(index, message): (usize, &Message)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer,
        producer_epoch: epoch,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        // Only the first stands in the batch; the encoder begins another batch where they do not follow one another.
        sequence: sequence.wrapping_add(index as i32),
        timestamp: message.timestamp,
        key: message.key.clone(),
        value: Some(message.value.clone()),
        headers: IndexMap::new(),
    };
    let records: Vec<Record> = messages.iter().enumerate().map(record).collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("plain records in one batch");
    out.freeze()
}

/// Whether a batch holds the records it says it has, one for each offset, each of the length it says.
pub fn holds(bytes: &[u8], batch: &Batch) -> bool {
    let compressed = bytes[22] & 7 != 0;
    let spans = i64::from(batch.count) == batch.last.get() - batch.base.get() + 1;
    spans && (compressed || walk(&bytes[HEADER..batch.size], batch.count).is_some())
}

/// Passes over so many records, to the last byte.
fn walk(bytes: &[u8], count: i32) -> Option<()> {
    let mut rest = Rest(bytes);
    for number in 0..count {
        let length = usize::try_from(rest.signed()?).ok()?;
        let mut record = Rest(rest.0.get(..length)?);
        rest.skip(length)?;
        record.skip(1)?;
        record.skip_long()?;
        if record.signed()? != number {
            return None;
        }
        record.skip_blob()?;
        record.skip_blob()?;
        for _ in 0..usize::try_from(record.signed()?).ok().filter(|headers| *headers <= record.0.len())? {
            record.skip_blob()?;
            record.skip_blob()?;
        }
        if !record.0.is_empty() {
            return None;
        }
    }
    rest.0.is_empty().then_some(())
}

/// The messages in one or more whole batches, with their offsets. Batches that cannot be read are told by their offset alone.
pub fn decode(mut bytes: Bytes) -> Vec<Result<(Offset, Message), Offset>> {
    let mut messages = Vec::new();
    while let Ok(batch) = parse(&bytes, false) {
        let mut body = bytes.split_to(batch.size);
        // The decoder believes what a batch says of itself.
        let sound = parse(&body, true).is_ok() && holds(&body, &batch);
        match sound.then(|| RecordBatchDecoder::decode(&mut body)) {
            Some(Ok(set)) => messages.extend(set.records.into_iter().map(|record| {
                let value = record.value.unwrap_or_default();
                let message = Message { key: record.key, value, timestamp: record.timestamp };
                Ok((Offset::new(record.offset), message))
            })),
            _ => {
                // How many it says it had may be damaged too; there were no more than it has bytes.
                let offsets = (batch.base.get()..=batch.last.get()).take(batch.size);
                messages.extend(offsets.map(|offset| Err(Offset::new(offset))));
            }
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::damage::damaged;

    fn message(value: &'static str) -> Message {
        Message {
            key: Some(Bytes::from_static(b"k")),
            value: Bytes::from_static(value.as_bytes()),
            timestamp: 7,
        }
    }

    #[test]
    fn records_without_a_producer_id_go_into_one_batch_too() {
        let encoded = encode(&[message("a"), message("b"), message("c")], None);
        let all: Vec<_> = batches(&encoded, true).collect();
        let [Ok((0, batch))] = all[..] else { panic!("one batch: {all:?}") };
        assert_eq!((batch.count, batch.producer, batch.sequence), (3, -1, -1));
    }

    #[test]
    fn a_stamped_batch_keeps_its_checksum_and_a_damaged_one_does_not() {
        let sequenced = Sequenced { producer: 5, epoch: 1, sequence: 40 };
        let encoded = encode(&[message("a"), message("b")], Some(sequenced));
        let mut bytes = BytesMut::from(&encoded[..]);
        stamp(&mut bytes, Offset::new(100), LeaderEpoch::new(3));
        let batch = parse(&bytes, true).expect("sound");
        assert_eq!(
            (batch.base, batch.last, batch.epoch),
            (Offset::new(100), Offset::new(101), LeaderEpoch::new(3))
        );
        assert_eq!((batch.producer, batch.sequence, batch.sequence_last()), (5, 40, 41));
        let read = decode(bytes.clone().freeze());
        assert_eq!(read, vec![Ok((Offset::new(100), message("a"))), Ok((Offset::new(101), message("b")))]);
        assert_eq!(parse(&bytes[..bytes.len() - 1], true), Err(BatchError::Truncated));
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        assert_eq!(parse(&bytes, true), Err(BatchError::Corrupt));
        assert_eq!(decode(bytes.freeze()), vec![Err(Offset::new(100)), Err(Offset::new(101))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What a client or a disk hands over may be anything: it is refused, or its batches lie one behind the other within it.
        #[test]
        fn damaged_batches_are_refused_or_read_and_never_cost_more_than_their_bytes(bytes in damaged(sound())) {
            for check in [true, false] {
                let mut at = 0;
                for parsed in batches(&bytes, check) {
                    let Ok((here, batch)) = parsed else { break };
                    prop_assert_eq!(here, at);
                    prop_assert!(batch.base <= batch.last);
                    at += batch.size;
                }
                prop_assert!(at <= bytes.len());
            }
            prop_assert!(decode(bytes.clone().into()).len() <= bytes.len());
        }
    }

    /// Two batches, one of them with checksums that fit whatever is damaged.
    fn sound() -> Vec<Vec<u8>> {
        let sequenced = Sequenced { producer: 5, epoch: 1, sequence: 40 };
        let one = encode(&[message("a"), message("b"), message("c")], Some(sequenced)).to_vec();
        let two = [one.clone(), encode(&[message("d")], None).to_vec()].concat();
        vec![one, two]
    }
}
