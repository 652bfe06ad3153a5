//! The assignment of Optimizely's SDKs: a place of ten thousand, and ranges of them that traffic is allocated to.

use crate::statistics::assignment::{Ambiguity, Unit, check};

/// How many places there are.
pub const PLACES: u32 = 10_000;

/// The seed of all hashes.
const SEED: u32 = 1;

/// The place of a key, which is a unit directly followed by the id of an experiment or of a group of them: ⌊h / 2³² · 10000⌋ with h its
/// MurmurHash3.
pub fn place_of_key(key: &str) -> u32 {
    scaled(murmur3(key.as_bytes()))
}

/// The place of a unit in an experiment or a group. Ids of a project have one length there. Where they do not, none may be the
/// end of another, or a unit could run into another's id.
///
/// # Errors
/// If the unit is empty.
pub fn place(unit: Unit<'_>, id: &str) -> Result<u32, Ambiguity> {
    check(&[unit])?;
    Ok(match unit {
        Unit::Number(number) => place_of_key(&format!("{number}{id}")),
        Unit::Text(text) => place_of_key(&format!("{text}{id}")),
    })
}

/// The variation of a place, from the ends of their ranges, which follow each other from 0 on; none beyond the last.
pub fn choose(place: u32, ends: &[u32]) -> Option<usize> {
    ends.iter().position(|end| place < *end)
}

fn scaled(hash: u32) -> u32 {
    ((u64::from(hash) * u64::from(PLACES)) >> 32) as u32
}

/// MurmurHash3_x86_32 of Appleby, which is in the public domain.
fn murmur3(bytes: &[u8]) -> u32 {
    let mixed = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = SEED;
    for word in words {
        hash ^= mixed(u32::from_le_bytes(*word));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = rest.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
    hash ^= mixed(rest);
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_in_one_range() {
        let ends = [2_500, 2_500, 7_500];
        let found = [0, 2_499, 2_500, 7_499, 7_500].map(|place| choose(place, &ends));
        assert_eq!(found, [Some(0), Some(0), Some(2), Some(2), None]);
        assert_eq!(scaled(u32::MAX), PLACES - 1);
    }

    #[test]
    fn an_empty_unit_is_refused_and_others_are_hashed_before_the_id() {
        assert_eq!(place("".into(), "1886780721"), Err(Ambiguity::Empty));
        assert_eq!(place("ppid2".into(), "1886780721"), Ok(place_of_key("ppid21886780721")));
    }
}
