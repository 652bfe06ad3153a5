//! Bytes as no sender means them: sound ones that were damaged on their way. For the tests of whatever reads bytes it did not write.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
enum Damage {
    /// Another byte stands there.
    Byte(u8),
    /// A number of four bytes stands there: of the kind that overflows something.
    Number(i32),
    /// The same with eight bytes.
    Long(i64),
    /// Everything from there on is missing.
    Cut,
    /// So many bytes are missing.
    Remove(usize),
    /// Bytes of another making.
    Insert(Vec<u8>),
}

/// One of `sound` after up to three things have happened to it, or bytes of pure chance.
pub fn damaged(sound: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(-1), Just(0), any::<i32>()];
    let long = prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(-1), any::<i64>()];
    let damage = prop_oneof![
        4 => any::<u8>().prop_map(Damage::Byte),
        4 => number.prop_map(Damage::Number),
        2 => long.prop_map(Damage::Long),
        1 => Just(Damage::Cut),
        1 => (1..9usize).prop_map(Damage::Remove),
        1 => vec(any::<u8>(), 1..9).prop_map(Damage::Insert),
    ];
    let damages = vec((any::<prop::sample::Index>(), damage), 0..4);
    let hurt = (select(sound), damages).prop_map(|(mut bytes, damages)| {
        for (place, damage) in damages {
            if !bytes.is_empty() {
                let at = place.index(bytes.len());
                hurt(&mut bytes, at, &damage);
            }
        }
        bytes
    });
    prop_oneof![9 => hurt, 1 => vec(any::<u8>(), 0..200)]
}

fn hurt(bytes: &mut Vec<u8>, at: usize, damage: &Damage) {
    let put = |bytes: &mut Vec<u8>, with: &[u8]| {
        bytes.iter_mut().skip(at).zip(with).for_each(|(byte, other)| *byte = *other);
    };
    match damage {
        Damage::Byte(byte) => put(bytes, &[*byte]),
        Damage::Number(number) => put(bytes, &number.to_be_bytes()),
        Damage::Long(long) => put(bytes, &long.to_be_bytes()),
        Damage::Cut => bytes.truncate(at),
        Damage::Remove(count) => drop(bytes.drain(at..bytes.len().min(at + count))),
        Damage::Insert(other) => drop(bytes.splice(at..at, other.iter().copied())),
    }
}
