//! The random operators of PlanOut: Bakshy, Eckles and Bernstein, "Designing and deploying online field experiments" (2014); bit for bit those of
//! its Python package 0.6.0.
//!
//! Each operator hashes `salt.unit`, where the salt is that of the experiment, a `.`, and the name of the variable that is set; compound units
//! are joined by `.`. What Python would spell differently from others is refused (see [`Ambiguity`]); what it would fail on (text beyond ASCII)
//! is hashed as UTF-8.

use sha1::{Digest, Sha1};

use crate::statistics::assignment::{Ambiguity, Unit, check};

/// 2⁶⁰. The original divides by the float nearest to 2⁶⁰ − 1, which is this.
const SCALE: f64 = (1u64 << 60) as f64;

/// What is hashed before the unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Salt(String);

impl Salt {
    /// The salt of a variable of an experiment.
    pub fn new(experiment: &str, variable: &str) -> Self {
        Self(format!("{experiment}.{variable}."))
    }

    /// A salt in place of both: the same wherever it is used.
    pub fn full(salt: &str) -> Self {
        Self(format!("{salt}."))
    }

    /// The dice of a unit under this salt.
    ///
    /// # Errors
    /// If the unit is ambiguous.
    pub fn unit(&self, unit: &[Unit<'_>]) -> Result<UnitHash, Ambiguity> {
        check(unit)?;
        let mut hash = Sha1::new_with_prefix(&self.0);
        for (index, part) in unit.iter().enumerate() {
            if 0 < index {
                hash.update(b".");
            }
            match part {
                Unit::Number(number) => update_decimal(&mut hash, *number),
                Unit::Text(text) => hash.update(text),
            }
        }
        Ok(UnitHash(hash))
    }
}

/// All that is random about a unit under a salt, of which each operator takes what it needs. Two operators on the same one agree: a variable has
/// one operator.
#[derive(Clone, Debug)]
pub struct UnitHash(Sha1);

/// An operator was given what it has no answer for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperatorError {
    /// The least number is above the largest, or further from it than a number can tell.
    #[error("an empty range of numbers")]
    Range,
    /// A probability lies outside [0, 1].
    #[error("a probability outside [0, 1]")]
    Probability,
    /// Weights are negative, not finite, or not as many as choices.
    #[error("weights that are negative, not finite, or not one for each choice")]
    Weights,
    /// More draws than choices.
    #[error("more draws than choices")]
    Draws,
}

impl UnitHash {
    /// The first 60 bits of the hash.
    pub fn hash(&self) -> u64 {
        finish(self.0.clone())
    }

    /// The hash of the unit with one part more.
    fn hash_with(&self, part: Unit<'_>) -> u64 {
        let mut hash = self.0.clone();
        hash.update(b".");
        match part {
            Unit::Number(number) => update_decimal(&mut hash, number),
            Unit::Text(text) => hash.update(text),
        }
        finish(hash)
    }

    /// Uniform in [0, 1]; 1 for 128 hashes in 2⁶⁰, which round up to it.
    pub fn uniform(&self) -> f64 {
        self.hash() as f64 / SCALE
    }

    /// `randomFloat`: uniform from `low` to `high`.
    pub fn float(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// `randomInteger`: from `low` to `high`, both included, by the remainder (biased by less than one in 2⁶⁰ / n).
    ///
    /// # Errors
    /// [`OperatorError::Range`].
    pub fn integer(&self, low: i64, high: i64) -> Result<i64, OperatorError> {
        let count = high.checked_sub(low).and_then(|span| span.checked_add(1)).ok_or(OperatorError::Range)?;
        if count <= 0 {
            return Err(OperatorError::Range);
        }
        Ok(low + (self.hash() % count as u64) as i64)
    }

    /// `bernoulliTrial`: whether the uniform number is at most `probability`.
    ///
    /// # Errors
    /// [`OperatorError::Probability`].
    pub fn bernoulli(&self, probability: f64) -> Result<bool, OperatorError> {
        check_probability(probability)?;
        Ok(self.uniform() <= probability)
    }

    /// `bernoulliFilter`: whether each choice is kept, each by a hash of its own; choices are further parts of the unit.
    ///
    /// # Errors
    /// [`OperatorError::Probability`].
    pub fn filter(&self, choices: &[Unit<'_>], probability: f64) -> Result<Vec<bool>, OperatorError> {
        check_probability(probability)?;
        let keeps = |choice: &Unit<'_>| self.hash_with(*choice) as f64 / SCALE <= probability;
        Ok(choices.iter().map(keeps).collect())
    }

    /// `uniformChoice`: the index of one of so many choices; none of none.
    pub fn choice(&self, count: usize) -> Option<usize> {
        (0 < count).then(|| (self.hash() % count as u64) as usize)
    }

    /// `weightedChoice`: the index of the first choice up to which the weights make at least the uniform part of their sum. None of none. Sums are
    /// made one by one from the start, so that weights which are fractions give the same choices as in Python.
    ///
    /// # Errors
    /// [`OperatorError::Weights`].
    pub fn weighted_choice(&self, weights: &[f64]) -> Result<Option<usize>, OperatorError> {
        if !weights.iter().all(|weight| 0.0 <= *weight && weight.is_finite()) {
            return Err(OperatorError::Weights);
        }
        let stop = self.float(0.0, weights.iter().fold(0.0, |sum, weight| sum + weight));
        let mut sum = 0.0;
        Ok(weights.iter().position(|weight| {
            sum += weight;
            stop <= sum
        }))
    }

    /// `sample`: the indices of so many of the choices in their new order, by the shuffle of Fisher and Yates from the end on, with a fresh hash at
    /// each place.
    ///
    /// # Errors
    /// [`OperatorError::Draws`].
    pub fn sample(&self, count: usize, draws: usize) -> Result<Vec<usize>, OperatorError> {
        let mut order = self.shuffled(count, draws, 0)?;
        order.truncate(draws);
        Ok(order)
    }

    /// `fastSample`: the same shuffle, stopped as soon as the last places are drawn, which it returns. Other choices than [`UnitHash::sample`]'s.
    ///
    /// # Errors
    /// [`OperatorError::Draws`].
    pub fn fast_sample(&self, count: usize, draws: usize) -> Result<Vec<usize>, OperatorError> {
        let stop = count.saturating_sub(draws);
        let order = self.shuffled(count, draws, stop)?;
        // The original returns the tail from where it stopped; where it ran through, the start.
        let from = if 0 < stop && stop < count { stop } else { 0 };
        Ok(order[from..from + draws].to_vec())
    }

    fn shuffled(&self, count: usize, draws: usize, stop: usize) -> Result<Vec<usize>, OperatorError> {
        if count < draws {
            return Err(OperatorError::Draws);
        }
        let mut order: Vec<usize> = (0..count).collect();
        for index in (stop.max(1)..count).rev() {
            let other = self.hash_with(Unit::Number(index as i64)) % (index as u64 + 1);
            order.swap(index, other as usize);
        }
        Ok(order)
    }
}

fn check_probability(probability: f64) -> Result<(), OperatorError> {
    if (0.0..=1.0).contains(&probability) { Ok(()) } else { Err(OperatorError::Probability) }
}

fn finish(hash: Sha1) -> u64 {
    let digest: [u8; 20] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 4
}

/// Takes in a number as decimal, without a string of its own.
fn update_decimal(hash: &mut Sha1, number: i64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        digits[start] = b'-';
    }
    hash.update(&digits[start..]);
}

/// The segment of a unit in a namespace of so many, as PlanOut's `SimpleNamespace` draws it: `randomInteger` of the variable `segment` under the
/// namespace's name.
///
/// # Errors
/// If the unit is ambiguous.
pub fn segment(namespace: &str, unit: &[Unit<'_>], segments: u32) -> Result<u32, Ambiguity> {
    let drawn = Salt::new(namespace, "segment").unit(unit)?;
    Ok((drawn.hash() % u64::from(segments.max(1))) as u32)
}

/// The segments an experiment gets of the free ones of a namespace, as PlanOut's `SimpleNamespace` draws them: `sample` of the variable
/// `sampled_segments`, with the experiment's name as unit, from the free segments in rising order.
///
/// # Errors
/// [`OperatorError::Draws`] if fewer are free.
pub fn allocate(
    namespace: &str,
    experiment: &str,
    free: &[u32],
    draws: usize,
) -> Result<Vec<u32>, OperatorError> {
    let mut hash = Sha1::new_with_prefix(&Salt::new(namespace, "sampled_segments").0);
    hash.update(experiment);
    Ok(UnitHash(hash).sample(free.len(), draws)?.into_iter().map(|index| free[index]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(parts: &[Unit<'_>]) -> UnitHash {
        Salt::new("exp", "x").unit(parts).expect("it is not ambiguous")
    }

    #[test]
    fn units_that_could_be_taken_for_each_other_are_refused() {
        let salt = Salt::new("exp", "x");
        let refused = |parts: &[Unit<'_>]| salt.unit(parts).err();
        assert_eq!(refused(&[]), Some(Ambiguity::Nothing));
        assert_eq!(refused(&["".into()]), Some(Ambiguity::Empty));
        assert_eq!(refused(&["a.b".into(), "c".into()]), Some(Ambiguity::Separator("a.b".to_owned())));
        // Alone, a text is told from all others of its kind.
        assert_eq!(refused(&["a.b".into()]), None);
        assert_eq!(unit(&[1.into(), 2.into()]).hash(), unit(&["1".into(), "2".into()]).hash());
    }

    #[test]
    fn numbers_are_hashed_as_their_decimal() {
        for number in [0, -1, 10, i64::MIN, i64::MAX] {
            let text = number.to_string();
            assert_eq!(unit(&[number.into()]).hash(), unit(&[text.as_str().into()]).hash());
        }
    }

    #[test]
    fn samples_hold_each_choice_once() {
        let unit = unit(&[7.into()]);
        let mut all = unit.sample(10, 10).expect("as many as there are");
        assert_eq!(unit.sample(10, 4).expect("fewer than there are"), all[..4]);
        assert_eq!(unit.fast_sample(10, 4).expect("fewer than there are"), all[6..]);
        assert_eq!(unit.fast_sample(10, 10).expect("as many as there are"), all);
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(unit.sample(2, 3), Err(OperatorError::Draws));
        assert_eq!(unit.fast_sample(3, 0), Ok(vec![]));
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        let unit = unit(&[7.into()]);
        assert_eq!(unit.integer(1, 0), Err(OperatorError::Range));
        assert_eq!(unit.integer(i64::MIN, i64::MAX), Err(OperatorError::Range));
        assert_eq!(unit.bernoulli(1.5), Err(OperatorError::Probability));
        assert_eq!(unit.bernoulli(f64::NAN), Err(OperatorError::Probability));
        assert_eq!(unit.weighted_choice(&[1.0, -1.0]), Err(OperatorError::Weights));
        assert_eq!((unit.choice(0), unit.weighted_choice(&[])), (None, Ok(None)));
    }

    fn sorted(mut segments: Vec<u32>) -> Vec<u32> {
        segments.sort_unstable();
        segments
    }

    #[test]
    fn namespaces_give_each_experiment_segments_of_its_own() {
        let free: Vec<u32> = (0..100).collect();
        let first = allocate("ns", "a", &free, 40).expect("enough are free");
        let left: Vec<u32> = free.into_iter().filter(|segment| !first.contains(segment)).collect();
        let second = allocate("ns", "b", &left, 60).expect("enough are free");
        assert!(second.iter().all(|segment| !first.contains(segment)));
        assert_eq!(allocate("ns", "c", &[], 1), Err(OperatorError::Draws));
        // As PlanOut 0.6.0 has them.
        assert_eq!(sorted(first)[..8], [2, 5, 7, 8, 9, 11, 12, 13]);
        assert_eq!(
            sorted(allocate("ns", "b", &left, 30).expect("enough are free"))[..8],
            [1, 3, 4, 6, 10, 16, 26, 33]
        );
        let drawn = (0..5).map(|user| segment("ns", &[user.into()], 100).expect("it is not ambiguous"));
        assert_eq!(drawn.collect::<Vec<_>>(), [31, 52, 60, 31, 46]);
    }
}
