//! What a sample looks like.

use crate::statistics::{Interval, beta};

/// The arithmetic mean; 0 of nothing.
pub fn mean(sample: &[f64]) -> f64 {
    if sample.is_empty() { 0.0 } else { sample.iter().sum::<f64>() / sample.len() as f64 }
}

/// The sample variance, Σ(x − mean)² / (n − 1); 0 of fewer than two values.
pub fn variance(sample: &[f64]) -> f64 {
    if sample.len() < 2 {
        return 0.0;
    }
    let mean = mean(sample);
    sample.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (sample.len() - 1) as f64
}

/// The square root of [`variance`].
pub fn standard_deviation(sample: &[f64]) -> f64 {
    variance(sample).sqrt()
}

/// The `p`-quantile of a sample that is sorted and not empty, interpolated between its neighbours: definition 7 of Hyndman and Fan,
/// "Sample quantiles in statistical packages" (1996), the default of R and NumPy.
///
/// # Panics
/// If there are no values.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    assert!(!sorted.is_empty(), "a quantile is one of values");
    let place = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (low, high) = (sorted[below], sorted[above]);
    low + (high - low) * (place - place.floor())
}

/// Where the `p`-quantile of the distribution lies of which a sorted sample was drawn: between two of its values, without an assumption on the
/// distribution, as the number of values below the quantile is binomial. Each end misses with probability (1 − `confidence`)/2 at most;
/// infinite where the sample is too small to have such an end. David and Nagaraja, "Order statistics" (2003), 7.1.
pub fn quantile_interval(sorted: &[f64], p: f64, confidence: f64) -> Interval {
    let (count, tail) = (sorted.len(), 0.5 * (1.0 - confidence));
    let at_least = |below: usize| beta::cdf(p, below as f64, (count - below + 1) as f64);
    let ranks: Vec<usize> = (1..=count).collect();
    let low = ranks.partition_point(|rank| 1.0 - at_least(*rank) <= tail);
    let high = ranks.partition_point(|rank| tail < at_least(*rank));
    Interval {
        low: if low == 0 { f64::NEG_INFINITY } else { sorted[low - 1] },
        high: sorted.get(high).copied().unwrap_or(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn a_sample_is_described_as_r_describes_it() {
        let sample = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_near("mean", mean(&sample), 5.0, 1e-15);
        assert_near("var", variance(&sample), 32.0 / 7.0, 1e-15);
        // quantile(c(1, 2, 4, 8), c(0, .25, .5, .9, 1))
        for (p, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert_near("quantile", quantile(&[1.0, 2.0, 4.0, 8.0], p), expected, 1e-12);
        }
        // qbinom(c(.025, .975), 100, .5) is 40 and 60: the 40th and 61st value; of 20 the 5 % quantile has no lower end.
        let of = |count: u32, p: f64| {
            let sample: Vec<f64> = (1..=count).map(f64::from).collect();
            let Interval { low, high } = quantile_interval(&sample, p, 0.95);
            (low, high)
        };
        assert_eq!(of(100, 0.5), (40.0, 61.0));
        assert_eq!(of(20, 0.05), (f64::NEG_INFINITY, 4.0));
        assert_eq!(of(20, 0.95), (17.0, f64::INFINITY));
        assert_eq!((mean(&[]), variance(&[3.0]), quantile(&[3.0], 0.99)), (0.0, 0.0, 3.0));
    }
}
