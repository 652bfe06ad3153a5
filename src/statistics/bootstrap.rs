//! The bootstrap: how a statistic varies, learnt from the sample alone.

use rand::Rng;

use crate::base::Stream;
use crate::statistics::descriptive::quantile;
use crate::statistics::{Interval, normal};

/// How a bootstrap is made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bootstrap {
    /// How often the sample is drawn anew.
    pub resamples: usize,
    /// How often the interval is to cover the truth.
    pub confidence: f64,
}

/// The bias-corrected and accelerated interval (BCa) of a statistic: Efron, "Better bootstrap confidence intervals" (1987), as in Efron and
/// Tibshirani, "An introduction to the bootstrap" (1993), 14.3. The sample (of pairs, if they belong together) is drawn anew with replacement;
/// the interval runs between the quantiles
///
/// ```text
/// Φ(z₀ + (z₀ ± z) / (1 − a (z₀ ± z)))   z₀ = Φ⁻¹(share of θ* below θ, ties by half)   a = Σ(θ̄ − θᵢ)³ / 6 (Σ(θ̄ − θᵢ)²)^1.5
/// ```
///
/// with θᵢ the statistic without the i-th value. It covers about as often as it says from some 20 values on, and a little less often of
/// fewer. None for fewer than two values, or where the statistic is not finite.
pub fn bca<T: Copy>(
    sample: &[T],
    statistic: impl Fn(&[T]) -> f64,
    bootstrap: Bootstrap,
    stream: &mut Stream,
) -> Option<Interval> {
    let (count, seen) = (sample.len(), statistic(sample));
    if count < 2 || !seen.is_finite() {
        return None;
    }
    let mut drawn = sample.to_vec();
    let mut replicates: Vec<f64> = Vec::with_capacity(bootstrap.resamples);
    for _ in 0..bootstrap.resamples {
        drawn.iter_mut().for_each(|value| *value = sample[stream.random_range(0..count)]);
        replicates.push(statistic(&drawn));
    }
    if !replicates.iter().all(|value| value.is_finite()) {
        return None;
    }
    replicates.sort_by(f64::total_cmp);
    let (below, up_to) = (
        replicates.partition_point(|value| *value < seen),
        replicates.partition_point(|value| *value <= seen),
    );
    // Never quite 0 or 1, where z₀ would be infinite.
    let share = (0.5 * (below + up_to) as f64).clamp(0.5, bootstrap.resamples as f64 - 0.5);
    let bias = normal::quantile(share / bootstrap.resamples as f64);
    let acceleration = acceleration(sample, statistic);
    let at = |tail: f64| {
        let shifted = bias + normal::quantile(tail);
        quantile(&replicates, normal::cdf(bias + shifted / (1.0 - acceleration * shifted)))
    };
    let tail = 0.5 * (1.0 - bootstrap.confidence);
    Some(Interval { low: at(tail), high: at(1.0 - tail) })
}

fn acceleration<T: Copy>(sample: &[T], statistic: impl Fn(&[T]) -> f64) -> f64 {
    let mut rest = sample[1..].to_vec();
    let mut without: Vec<f64> = Vec::with_capacity(sample.len());
    for left_out in 0..sample.len() {
        if 0 < left_out {
            rest[left_out - 1] = sample[left_out - 1];
        }
        without.push(statistic(&rest));
    }
    let mean = without.iter().sum::<f64>() / without.len() as f64;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for value in without {
        let apart = mean - value;
        squares += apart * apart;
        cubes += apart * apart * apart;
    }
    let scale = 6.0 * squares * squares.sqrt();
    if 0.0 < scale { cubes / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::binomial::clopper_pearson;
    use crate::statistics::descriptive::mean;
    use crate::statistics::tests::assert_near;

    const USUAL: Bootstrap = Bootstrap { resamples: 4000, confidence: 0.95 };

    fn interval(sample: &[f64]) -> Option<Interval> {
        bca(sample, mean, USUAL, &mut Seed::new(1).stream("test"))
    }

    #[test]
    fn the_interval_of_a_mean_is_near_that_of_students_t_and_leans_where_the_sample_leans() {
        // The paired latencies of 30 requests: t gives 1.104 ± 0.658.
        let live = [
            20.362, 34.602, 32.782, 16.377, 17.829, 16.266, 25.226, 19.64, 27.079, 9.593, 37.586, 19.326,
            26.368, 19.018, 17.259, 24.173, 27.933, 18.523, 18.895, 26.424, 14.18, 10.96, 23.523, 15.36,
            9.317, 14.503, 16.659, 12.462, 11.056, 20.382,
        ];
        let shadow = [
            23.415, 35.538, 31.993, 17.892, 20.137, 16.595, 28.004, 22.916, 27.884, 9.297, 40.911, 20.826,
            30.939, 17.583, 16.982, 23.369, 24.69, 19.72, 20.94, 25.8, 17.123, 12.509, 26.33, 16.809, 10.777,
            13.345, 18.622, 13.915, 9.74, 22.184,
        ];
        let differences: Vec<f64> = live.iter().zip(shadow).map(|(live, shadow)| shadow - live).collect();
        let found = interval(&differences).expect("there are thirty");
        let middle = mean(&differences);
        assert_near("half width", 0.5 * (found.high - found.low), 0.658, 0.1);
        assert!(found.low < middle && middle < found.high, "{found:?}");
        let skewed: Vec<f64> = (0..30).map(|number| libm::exp(f64::from(number) / 6.0)).collect();
        let found = interval(&skewed).expect("there are thirty");
        let middle = mean(&skewed);
        assert!(middle - found.low < found.high - middle, "{found:?}");
    }

    #[test]
    fn values_that_do_not_vary_have_an_interval_of_no_width_and_too_few_have_none() {
        assert_eq!(interval(&[2.5; 9]), Some(Interval { low: 2.5, high: 2.5 }));
        assert_eq!(interval(&[0.0; 2]), Some(Interval { low: 0.0, high: 0.0 }));
        assert_eq!(interval(&[1.0]), None);
        assert_eq!(interval(&[1.0, f64::NAN]), None);
        let twice = [interval(&[1.0, 2.0, 5.0]), interval(&[1.0, 2.0, 5.0])];
        assert_eq!(twice[0], twice[1], "the same stream, the same interval");
    }

    #[test]
    fn it_covers_the_truth_about_as_often_as_it_says() {
        let quick = Bootstrap { resamples: 400, confidence: 0.95 };
        let mut stream = Seed::new(7).stream("coverage");
        let normal = |stream: &mut Stream| normal::quantile(stream.random::<f64>());
        type Draw<'draw> = &'draw dyn Fn(&mut Stream) -> f64;
        let even: Draw<'_> = &|stream| normal(stream) - 0.4;
        let skewed: Draw<'_> = &|stream| libm::exp(0.5 * normal(stream));
        for (name, draw, truth) in [("normal", even, -0.4), ("log-normal", skewed, libm::exp(0.125))] {
            let mut covered = 0;
            for _ in 0..1000 {
                let sample: Vec<f64> = (0..25).map(|_| draw(&mut stream)).collect();
                let found = bca(&sample, mean, quick, &mut stream).expect("there are values");
                covered += u64::from(found.contains(truth));
            }
            // Between 91 % and 97 %, beyond what chance does to 1,000 samples.
            let share = clopper_pearson(covered, 1000, 0.99);
            assert!(0.91 < share.high && share.low < 0.97, "{name}: {covered} of 1000");
            assert!((910..=970).contains(&covered), "{name}: {covered} of 1000");
        }
    }
}
