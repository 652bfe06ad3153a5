//! The outline of a request: whether its lengths and counts can be true, told before anything is made of it.
//!
//! The protocol's decoder makes room for as many elements as a message says it has. Whoever says two thousand million ends the process,
//! so that, as Kafka's own parser does, a count is first held against the bytes that are there. Pure.

use kafka_protocol::messages::ApiKey;

/// What stands in a message, one field after the other.
#[derive(Clone, Copy)]
pub enum Field {
    /// So many bytes.
    Fixed(usize),
    /// Text, or nothing.
    Text,
    /// Bytes, or nothing.
    Blob,
    /// As many times as it says, what these fields say; in a flexible version with tagged fields after each.
    List(&'static [Part]),
    /// As many times as it says, one value without tagged fields.
    Values(&'static Field),
}

/// A field, and the versions that have it, from the first to the last.
pub type Part = (Field, i16, i16);

/// From this version on.
const fn since(version: i16, field: Field) -> Part {
    (field, version, i16::MAX)
}

/// In every version.
const fn always(field: Field) -> Part {
    since(0, field)
}

/// Up to this version.
const fn until(version: i16, field: Field) -> Part {
    (field, 0, version)
}

use Field::{Blob, Fixed, List, Text, Values};

/// The outline of a request's body, and the version from which it is flexible (KIP-482): short lengths, tagged fields.
/// `None` for requests that brokers do not speak. From the message definitions of Kafka.
fn outline(key: ApiKey) -> Option<(i16, &'static [Part])> {
    const PRODUCED: &[Part] = &[always(Fixed(4)), always(Blob)];
    const FETCHED: &[Part] = &[
        always(Fixed(4)),
        since(9, Fixed(4)),
        always(Fixed(8)),
        since(12, Fixed(4)),
        since(5, Fixed(8)),
        always(Fixed(4)),
    ];
    const LISTED: &[Part] = &[always(Fixed(4)), since(4, Fixed(4)), always(Fixed(8))];
    const ASSIGNED: &[Part] = &[always(Fixed(4)), always(Values(&Fixed(4)))];
    const CREATED: &[Part] = &[
        always(Text),
        always(Fixed(4)),
        always(Fixed(2)),
        always(List(ASSIGNED)),
        always(List(&[always(Text), always(Text)])),
    ];
    const EPOCHS: &[Part] = &[always(Fixed(12))];
    const NAMED: &[Part] = &[always(Text), always(Values(&Fixed(4)))];
    const REASSIGNED: &[Part] = &[always(Text), always(List(ASSIGNED))];
    Some(match key {
        ApiKey::Produce => {
            const BODY: &[Part] = &[
                always(Text),
                always(Fixed(2)),
                always(Fixed(4)),
                always(List(&[always(Text), always(List(PRODUCED))])),
            ];
            (9, BODY)
        }
        ApiKey::Fetch => {
            const BODY: &[Part] = &[
                until(14, Fixed(4)),
                always(Fixed(4)),
                always(Fixed(4)),
                always(Fixed(4)),
                always(Fixed(1)),
                since(7, Fixed(8)),
                always(List(&[until(12, Text), since(13, Fixed(16)), always(List(FETCHED))])),
                since(7, List(&[until(12, Text), since(13, Fixed(16)), always(Values(&Fixed(4)))])),
                since(11, Text),
            ];
            (12, BODY)
        }
        ApiKey::ListOffsets => {
            const BODY: &[Part] =
                &[always(Fixed(4)), since(2, Fixed(1)), always(List(&[always(Text), always(List(LISTED))]))];
            (6, BODY)
        }
        ApiKey::Metadata => {
            const BODY: &[Part] = &[
                always(List(&[since(10, Fixed(16)), always(Text)])),
                since(4, Fixed(1)),
                (Fixed(1), 8, 10),
                since(8, Fixed(1)),
            ];
            (9, BODY)
        }
        ApiKey::ApiVersions => (3, &[(Text, 3, i16::MAX), (Text, 3, i16::MAX)]),
        ApiKey::CreateTopics => {
            const BODY: &[Part] = &[always(List(CREATED)), always(Fixed(4)), always(Fixed(1))];
            (5, BODY)
        }
        ApiKey::DeleteTopics => {
            const BODY: &[Part] = &[
                until(5, Values(&Text)),
                since(6, List(&[always(Text), always(Fixed(16))])),
                always(Fixed(4)),
            ];
            (4, BODY)
        }
        ApiKey::InitProducerId => {
            const BODY: &[Part] = &[always(Text), always(Fixed(4)), since(3, Fixed(8)), since(3, Fixed(2))];
            (2, BODY)
        }
        ApiKey::OffsetForLeaderEpoch => {
            const BODY: &[Part] = &[since(3, Fixed(4)), always(List(&[always(Text), always(List(EPOCHS))]))];
            (4, BODY)
        }
        ApiKey::ElectLeaders => {
            const BODY: &[Part] = &[since(1, Fixed(1)), always(List(NAMED)), always(Fixed(4))];
            (2, BODY)
        }
        ApiKey::AlterPartitionReassignments => {
            const BODY: &[Part] = &[always(Fixed(4)), since(1, Fixed(1)), always(List(REASSIGNED))];
            (0, BODY)
        }
        ApiKey::ListPartitionReassignments => {
            const BODY: &[Part] = &[always(Fixed(4)), always(List(NAMED))];
            (0, BODY)
        }
        _ => return None,
    })
}

/// Whether the body of a request can be what it says, byte for byte.
pub fn fits(key: ApiKey, version: i16, body: &[u8]) -> bool {
    let Some((flexible_from, parts)) = outline(key) else { return false };
    let mut rest = Rest(body);
    let flexible = flexible_from <= version;
    rest.record(parts, version, flexible).is_some() && rest.0.is_empty()
}

/// What is left to be looked at.
pub struct Rest<'bytes>(pub &'bytes [u8]);

impl Rest<'_> {
    /// Passes over so many bytes, if they are there.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn fixed<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let bytes = *self.0.first_chunk()?;
        self.skip(COUNT)?;
        Some(bytes)
    }

    /// An unsigned number of up to five bytes, seven bits in each.
    fn unsigned(&mut self) -> Option<u32> {
        let mut number = 0;
        for at in 0..5 {
            let [byte] = self.fixed()?;
            number |= u32::from(byte & 0x7f).checked_shl(7 * at)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number with a sign, in as many bytes as it needs (zigzag).
    pub fn signed(&mut self) -> Option<i32> {
        let number = self.unsigned()?;
        Some((number >> 1) as i32 ^ -((number & 1) as i32))
    }

    /// The same with up to ten bytes, passed over.
    pub fn skip_long(&mut self) -> Option<()> {
        for _ in 0..10 {
            let [byte] = self.fixed()?;
            if byte & 0x80 == 0 {
                return Some(());
            }
        }
        None
    }

    /// Passes over bytes with their length before them, which is negative for none.
    pub fn skip_blob(&mut self) -> Option<()> {
        let length = self.signed()?;
        self.skip(usize::try_from(length.max(0)).ok()?)
    }

    /// How long or how many; nothing at all counts as none.
    fn length(&mut self, flexible: bool, wide: bool) -> Option<usize> {
        let length = match (flexible, wide) {
            (true, _) => self.unsigned()?.saturating_sub(1) as usize,
            (false, true) => usize::try_from(i32::from_be_bytes(self.fixed()?).max(0)).ok()?,
            (false, false) => usize::try_from(i16::from_be_bytes(self.fixed()?).max(0)).ok()?,
        };
        // Everything that is counted takes a byte at least.
        (length <= self.0.len()).then_some(length)
    }

    fn field(&mut self, field: &Field, version: i16, flexible: bool) -> Option<()> {
        match field {
            Fixed(count) => self.skip(*count),
            Text => {
                let length = self.length(flexible, false)?;
                self.skip(length)
            }
            Blob => {
                let length = self.length(flexible, true)?;
                self.skip(length)
            }
            List(parts) => {
                for _ in 0..self.length(flexible, true)? {
                    self.record(parts, version, flexible)?;
                }
                Some(())
            }
            Values(field) => {
                for _ in 0..self.length(flexible, true)? {
                    self.field(field, version, flexible)?;
                }
                Some(())
            }
        }
    }

    fn record(&mut self, parts: &[Part], version: i16, flexible: bool) -> Option<()> {
        for (field, from, to) in parts {
            if (*from..=*to).contains(&version) {
                self.field(field, version, flexible)?;
            }
        }
        if flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let length = self.unsigned()? as usize;
                self.skip(length)?;
            }
        }
        Some(())
    }
}
