//! Jute, the record encoding of ZooKeeper's wire: big-endian integers, length-prefixed strings, buffers and vectors.
//!
//! Every frame on a connection is a record (or several) behind a four-byte length.

use bytes::{BufMut, Bytes, BytesMut};

/// A record could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed record")]
pub struct Malformed;

/// What can be written to and read from the wire.
pub trait Jute: Sized {
    /// Appends its encoding.
    fn write(&self, out: &mut BytesMut);
    /// Takes its encoding from the front of `from`.
    ///
    /// # Errors
    /// If there are too few bytes, or a length or text is impossible.
    fn read(from: &mut Bytes) -> Result<Self, Malformed>;
}

/// The records, one after the other, as one frame with its length in front.
pub fn frame(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_i32(0);
    write(&mut out);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// What a frame holds.
///
/// # Errors
/// If the length does not fit.
pub fn unframe(mut frame: Bytes) -> Result<Bytes, Malformed> {
    let length = i32::read(&mut frame)?;
    if usize::try_from(length) == Ok(frame.len()) { Ok(frame) } else { Err(Malformed) }
}

fn take(from: &mut Bytes, count: usize) -> Result<Bytes, Malformed> {
    if from.len() < count { Err(Malformed) } else { Ok(from.split_to(count)) }
}

macro_rules! integer {
    ($type:ty) => {
        impl Jute for $type {
            fn write(&self, out: &mut BytesMut) {
                out.put_slice(&self.to_be_bytes());
            }
            fn read(from: &mut Bytes) -> Result<Self, Malformed> {
                let bytes = take(from, size_of::<$type>())?;
                Ok(Self::from_be_bytes(bytes[..].try_into().map_err(|_| Malformed)?))
            }
        }
    };
}
integer!(i32);
integer!(i64);

impl Jute for bool {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
    fn read(from: &mut Bytes) -> Result<Self, Malformed> {
        Ok(take(from, 1)?[0] != 0)
    }
}

/// A buffer; the wire's null (-1) reads as empty, as a znode cannot tell them apart.
impl Jute for Bytes {
    fn write(&self, out: &mut BytesMut) {
        (self.len() as i32).write(out);
        out.put_slice(self);
    }
    fn read(from: &mut Bytes) -> Result<Self, Malformed> {
        match i32::read(from)? {
            -1 => Ok(Self::new()),
            length => take(from, usize::try_from(length).map_err(|_| Malformed)?),
        }
    }
}

impl Jute for String {
    fn write(&self, out: &mut BytesMut) {
        (self.len() as i32).write(out);
        out.put_slice(self.as_bytes());
    }
    fn read(from: &mut Bytes) -> Result<Self, Malformed> {
        let bytes = Bytes::read(from)?;
        Self::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
    }
}

impl<T: Jute> Jute for Vec<T> {
    fn write(&self, out: &mut BytesMut) {
        (self.len() as i32).write(out);
        self.iter().for_each(|item| item.write(out));
    }
    fn read(from: &mut Bytes) -> Result<Self, Malformed> {
        match i32::read(from)? {
            -1 => Ok(Self::new()),
            // Every element takes at least a byte: a longer count is malformed, and must not allocate.
            count if usize::try_from(count).is_ok_and(|count| count <= from.len()) => {
                (0..count).map(|_| T::read(from)).collect()
            }
            _ => Err(Malformed),
        }
    }
}

/// Declares a record: a struct whose fields are written in the order given.
#[macro_export]
macro_rules! jute_record {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
        impl $crate::systems::coordination::jute::Jute for $name {
            fn write(&self, out: &mut bytes::BytesMut) {
                $($crate::systems::coordination::jute::Jute::write(&self.$field, out);)*
            }
            fn read(from: &mut bytes::Bytes) -> Result<Self, $crate::systems::coordination::jute::Malformed> {
                Ok(Self { $($field: $crate::systems::coordination::jute::Jute::read(from)?,)* })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nonsense_is_refused() {
        let frame = frame(|out| {
            7i32.write(out);
            "clicks".to_owned().write(out);
            vec![Bytes::from_static(b"a"), Bytes::new()].write(out);
        });
        let mut body = unframe(frame.clone()).expect("the length was just written");
        assert_eq!(i32::read(&mut body), Ok(7));
        assert_eq!(String::read(&mut body), Ok("clicks".to_owned()));
        assert_eq!(Vec::<Bytes>::read(&mut body), Ok(vec![Bytes::from_static(b"a"), Bytes::new()]));
        assert!(body.is_empty());
        assert_eq!(unframe(frame.slice(..frame.len() - 1)), Err(Malformed));
        assert_eq!(Vec::<i32>::read(&mut Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff])), Err(Malformed));
        assert_eq!(Bytes::read(&mut Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe])), Err(Malformed));
    }
}
