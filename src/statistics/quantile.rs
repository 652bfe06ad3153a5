//! Quantiles of users' values, and between which values they lie, whatever the distribution.

use crate::statistics::{Interval, binomial, descriptive};

/// A quantile of a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quantile {
    /// The estimate, [`descriptive::quantile`].
    pub value: f64,
    /// Between which values it lies: infinite where the sample is too small to tell.
    pub bounds: Interval,
    /// How often the bounds hold, if no two users have the same value: at least the confidence that was asked for. With equal values it is more.
    pub coverage: f64,
    /// How many different values lie within the bounds, their ends included.
    pub values: usize,
}

/// The quantile of ascending values below which a share `p` lies, with exact bounds: as many values lie below it as there are successes in n
/// trials of probability `p`, and the bounds are the order statistics before and after which there are too few of them, each with half of what the
/// confidence leaves. Thompson, "On confidence ranges for the median and other expectation distributions" (1936).
///
/// None of no value.
///
/// # Panics
/// Unless the values ascend, and both `p` and the confidence lie between 0 and 1.
pub fn quantile(sorted: &[f64], p: f64, confidence: f64) -> Option<Quantile> {
    assert!(sorted.is_sorted(), "values that ascend");
    assert!(0.0 < confidence && confidence < 1.0, "a probability, not {confidence}");
    assert!(0.0 < p && p < 1.0, "a share, not {p}");
    if sorted.is_empty() {
        return None;
    }
    let (count, tail) = (sorted.len() as u64, 0.5 * (1.0 - confidence));
    // The ranks of both ends, from 1 on: 0 and n + 1 are those of no value.
    let low = binomial::rarely_below(tail, count, p);
    let high = count + 1 - binomial::rarely_below(tail, count, 1.0 - p);
    let below = |rank: u64| if rank == 0 { 0.0 } else { binomial::up_to(rank - 1, count, p) };
    let of_rank = |rank: u64| (0 < rank && rank <= count).then(|| sorted[rank as usize - 1]);
    let bounds = Interval {
        low: of_rank(low).unwrap_or(f64::NEG_INFINITY),
        high: of_rank(high).unwrap_or(f64::INFINITY),
    };
    let within = &sorted[(low.max(1) - 1) as usize..high.min(count) as usize];
    Some(Quantile {
        value: descriptive::quantile(sorted, p),
        bounds,
        coverage: below(high) - below(low),
        values: within.chunk_by(|one, other| one == other).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;
    use crate::statistics::tests::assert_near;

    fn numbers(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    #[test]
    fn the_ranks_of_the_bounds_are_those_of_the_tables() {
        // Conover, "Practical nonparametric statistics", table A3: the ends of the median's interval at 95 %.
        for (count, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (30, 10.0, 21.0)] {
            let found = quantile(&numbers(count), 0.5, 0.95).expect("there are values");
            assert_eq!(found.bounds, Interval { low, high }, "{count}");
            assert!(0.95 <= found.coverage, "{found:?}");
            assert_near("median", found.value, 0.5 * f64::from(count + 1), 1e-14);
        }
        // 1 − 2 (1 + 10)/1024.
        let found = quantile(&numbers(10), 0.5, 0.95).expect("there are values");
        assert_near("coverage", found.coverage, 1002.0 / 1024.0, 1e-12);
        assert_eq!(found.values, 8);
    }

    #[test]
    fn few_values_have_no_bounds_and_equal_ones_are_one() {
        assert_eq!(quantile(&[], 0.5, 0.95), None);
        let found = quantile(&numbers(5), 0.5, 0.95).expect("there are values");
        assert_eq!(found.bounds, Interval { low: f64::NEG_INFINITY, high: f64::INFINITY });
        assert_eq!((found.coverage, found.values), (1.0, 5));
        let found = quantile(&numbers(100), 0.99, 0.95).expect("there are values");
        assert_eq!(found.bounds, Interval { low: 97.0, high: f64::INFINITY });
        let found = quantile(&[7.0; 40], 0.9, 0.95).expect("there are values");
        assert_eq!((found.value, found.bounds, found.values), (7.0, Interval { low: 7.0, high: 7.0 }, 1));
    }

    #[test]
    fn bounds_hold_as_often_as_they_say_and_more_often_with_equal_values() {
        const RUNS: u32 = 2000;
        let mut dice = Dice::new(&mut Seed::new(11).stream("quantiles"));
        for (count, p) in [(25, 0.5), (200, 0.9), (600, 0.99), (80, 0.25)] {
            let (mut covered, mut tied, mut stated) = (0, 0, 0.0);
            for _ in 0..RUNS {
                // Of the exponential distribution, whose quantile is −ln(1 − p), and of its halves, rounded down.
                let mut values: Vec<f64> = (0..count).map(|_| -libm::log(dice.uniform_open())).collect();
                values.sort_by(f64::total_cmp);
                let truth = -libm::log1p(-p);
                let found = quantile(&values, p, 0.95).expect("there are values");
                covered += u32::from(found.bounds.contains(truth));
                stated = found.coverage;
                let halves = |value: f64| (2.0 * value).floor();
                values.iter_mut().for_each(|value| *value = halves(*value));
                let found = quantile(&values, p, 0.95).expect("there are values");
                tied += u32::from(found.bounds.contains(halves(truth)));
            }
            let (covered, tied) = (f64::from(covered) / f64::from(RUNS), f64::from(tied) / f64::from(RUNS));
            // Four errors of a share of 2,000.
            assert!(
                (covered - stated).abs() < 4.0 * (stated * (1.0 - stated) / f64::from(RUNS)).sqrt(),
                "{covered} {stated}"
            );
            assert!(covered <= tied && 0.95 <= stated, "{count} {p}: {covered} {tied}");
        }
    }
}
