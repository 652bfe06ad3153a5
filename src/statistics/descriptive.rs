//! What a sample looks like.

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
        assert_eq!((mean(&[]), variance(&[3.0]), quantile(&[3.0], 0.99)), (0.0, 0.0, 3.0));
    }
}
