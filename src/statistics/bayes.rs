//! What is believed of arms after the data: beta posteriors of shares, normal posteriors of means.
//!
//! Everything is computed, nothing drawn, so that a rule stops at the same moment each time. Rules that stop by expected loss or by value
//! remaining bound what a wrong choice costs; they do not bound how often one errs, and of arms that are alike they always choose one.

use std::f64::consts::PI;

use crate::statistics::race::{self, Race};
use crate::statistics::{Interval, beta, normal};

/// A belief about one number: a density with a single peak, smooth in a coordinate in which it has no ends.
pub trait Posterior {
    /// What is expected.
    fn mean(&self) -> f64;

    /// Where the density of the coordinate peaks, and the standard deviation of the normal curve that fits there.
    fn peak(&self) -> (f64, f64);

    /// The logarithm of the coordinate's density, 0 at its peak.
    fn log_density(&self, coordinate: f64) -> f64;

    /// The number at a coordinate, and how fast it changes there.
    fn value(&self, coordinate: f64) -> (f64, f64);

    /// The coordinate of a number raised by a part of it (of its expected magnitude, where it may be negative); infinite where there is no
    /// such number.
    fn raised(&self, coordinate: f64, part: f64) -> f64;

    /// What is raised to a coordinate, that of another arm with the same coordinate.
    fn lowered(&self, coordinate: f64, part: f64) -> f64;

    /// How wide a panel may be that begins at a coordinate, so that the number itself is smooth in it.
    fn panel_max(&self, from: f64) -> f64;
}

/// The belief about a share: a beta distribution. Its coordinate is the log-odds, in which also Beta(½, ½) is smooth.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Beta {
    a: f64,
    b: f64,
    /// ln(a/b), where the log-odds peak.
    peak: f64,
}

impl Beta {
    /// What Bayes held of a share nothing is known of: all are alike.
    pub const UNIFORM: Self = Self { a: 1.0, b: 1.0, peak: 0.0 };

    /// Beta(a, b).
    ///
    /// # Panics
    /// Unless both are positive.
    pub fn new(a: f64, b: f64) -> Self {
        assert!(0.0 < a && 0.0 < b && (a + b).is_finite(), "Beta({a}, {b})");
        Self { a, b, peak: libm::log(a / b) }
    }

    /// The belief after so many successes: Beta(a + x, b + n − x).
    ///
    /// # Panics
    /// If there are more successes than trials, or fewer than none.
    pub fn after(self, successes: f64, trials: f64) -> Self {
        assert!(0.0 <= successes && successes <= trials, "{successes} of {trials}");
        Self::new(self.a + successes, self.b + trials - successes)
    }

    /// Between which the share lies with a probability, with as much below as above.
    pub fn interval(&self, probability: f64) -> Interval {
        let tail = 0.5 * (1.0 - probability);
        Interval {
            low: beta::quantile(tail, self.a, self.b),
            high: beta::quantile(1.0 - tail, self.a, self.b),
        }
    }
}

impl Posterior for Beta {
    fn mean(&self) -> f64 {
        self.a / (self.a + self.b)
    }

    fn peak(&self) -> (f64, f64) {
        (self.peak, (1.0 / self.a + 1.0 / self.b).sqrt())
    }

    /// With u from the peak, where the share is m: a u − (a + b) ln(1 + m (eᵘ − 1)).
    fn log_density(&self, coordinate: f64) -> f64 {
        let from_peak = coordinate - self.peak;
        if 0.0 < from_peak {
            // The same from the other end, so that no exponential overflows.
            let rest = self.b / (self.a + self.b);
            return -self.b * from_peak - (self.a + self.b) * libm::log1p(rest * libm::expm1(-from_peak));
        }
        self.a * from_peak - (self.a + self.b) * libm::log1p(self.mean() * libm::expm1(from_peak))
    }

    fn value(&self, coordinate: f64) -> (f64, f64) {
        let odds = libm::exp(-coordinate.abs());
        let less = odds / (1.0 + odds);
        let share = if coordinate < 0.0 { less } else { 1.0 / (1.0 + odds) };
        (share, less / (1.0 + odds))
    }

    fn raised(&self, coordinate: f64, part: f64) -> f64 {
        let (share, _) = self.value(coordinate);
        let (rest, _) = self.value(-coordinate);
        let rest = rest - share * part;
        if rest <= 0.0 { f64::INFINITY } else { log_share(coordinate) + libm::log1p(part) - libm::log(rest) }
    }

    fn lowered(&self, coordinate: f64, part: f64) -> f64 {
        let (rest, _) = self.value(-coordinate);
        if part == 0.0 { coordinate } else { log_share(coordinate) - libm::log(part + rest) }
    }

    fn panel_max(&self, from: f64) -> f64 {
        // Beyond odds of e⁴⁰ the share is 0 or 1.
        if 40.0 < from { f64::INFINITY } else { (-40.0 - from).max(2.0) }
    }
}

/// The logarithm of the share at log-odds, also where it is smaller than any number.
fn log_share(coordinate: f64) -> f64 {
    coordinate.min(0.0) - libm::log1p(libm::exp(-coordinate.abs()))
}

/// The belief about a mean: a normal distribution.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Normal {
    mean: f64,
    deviation: f64,
}

impl Normal {
    /// The normal distribution with this mean and standard deviation; also what is believed after an estimate with a standard error, if
    /// nothing was believed before.
    ///
    /// # Panics
    /// Unless the standard deviation is positive and both are finite.
    pub fn new(mean: f64, deviation: f64) -> Self {
        assert!(mean.is_finite() && 0.0 < deviation && deviation.is_finite(), "N({mean}, {deviation}²)");
        Self { mean, deviation }
    }

    /// The belief after an estimate: both means weighted by the inverses of their variances, which add up.
    ///
    /// # Panics
    /// Unless the standard error is positive.
    pub fn after(self, estimate: f64, standard_error: f64) -> Self {
        assert!(0.0 < standard_error, "a standard error of {standard_error}");
        let (before, now) =
            (1.0 / (self.deviation * self.deviation), 1.0 / (standard_error * standard_error));
        let precision = before + now;
        Self::new((before * self.mean + now * estimate) / precision, (1.0 / precision).sqrt())
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// Between which the mean lies with a probability, with as much below as above.
    pub fn interval(&self, probability: f64) -> Interval {
        let half = -normal::quantile(0.5 * (1.0 - probability)) * self.deviation;
        Interval { low: self.mean - half, high: self.mean + half }
    }

    /// The probability of more than `threshold`: the chance to win, if this is the belief about a difference and the threshold 0.
    pub fn above(&self, threshold: f64) -> f64 {
        normal::cdf((self.mean - threshold) / self.deviation)
    }

    /// The expected excess over `threshold`, E max(X − t, 0) = s φ(z) + (m − t) Φ(z) with z = (m − t)/s. If this is the belief about the
    /// difference of a new arm to the old one, it is what keeping the old one is expected to cost.
    pub fn expected_excess(&self, threshold: f64) -> f64 {
        self.deviation * excess((self.mean - threshold) / self.deviation)
    }

    /// The expected shortfall, E max(t − X, 0): what choosing the new arm is expected to cost.
    pub fn expected_shortfall(&self, threshold: f64) -> f64 {
        self.deviation * excess((threshold - self.mean) / self.deviation)
    }

    /// The belief about how much more `other` is than this, if they are independent.
    pub fn difference(&self, other: &Self) -> Self {
        Self::new(other.mean - self.mean, libm::hypot(self.deviation, other.deviation))
    }
}

/// φ(z) + z Φ(z), of which at z = −30 three digits are lost, and at −38 all is too small.
fn excess(z: f64) -> f64 {
    (libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt() + z * normal::cdf(z)).max(0.0)
}

impl Posterior for Normal {
    fn mean(&self) -> f64 {
        self.mean
    }

    fn peak(&self) -> (f64, f64) {
        (self.mean, self.deviation)
    }

    fn log_density(&self, coordinate: f64) -> f64 {
        let z = (coordinate - self.mean) / self.deviation;
        -0.5 * z * z
    }

    fn value(&self, coordinate: f64) -> (f64, f64) {
        (coordinate, 1.0)
    }

    fn raised(&self, coordinate: f64, part: f64) -> f64 {
        coordinate + part * self.mean.abs()
    }

    fn lowered(&self, coordinate: f64, part: f64) -> f64 {
        coordinate - part * self.mean.abs()
    }

    fn panel_max(&self, _from: f64) -> f64 {
        f64::INFINITY
    }
}

/// How two arms compare.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pairwise {
    /// The probability that the second is better.
    pub second_better: f64,
    /// By how much the second is expected to be better than the first, where it is: E max(θ₂ − θ₁, 0), the cost of choosing the first.
    pub loss_first: f64,
    /// The same of choosing the second.
    pub loss_second: f64,
}

/// Compares two arms: P(B > A) and expected losses (Stucchio, "Bayesian A/B testing at VWO", 2015), by quadrature of F_A (1 − F_B), which is
/// never negative and so loses no digits however small.
pub fn compare<P: Posterior>(first: &P, second: &P) -> Pairwise {
    let race = Race::new(&[first, second]);
    Pairwise {
        second_better: race.best(1),
        loss_first: race.expected_loss(0),
        loss_second: race.expected_loss(1),
    }
}

/// The probability of each arm to be the best. They sum to 1; what is below 10⁻³⁰ is not exact.
pub fn probabilities_best<P: Posterior>(arms: &[P]) -> Vec<f64> {
    if arms.is_empty() {
        return Vec::new();
    }
    Race::over(arms).all_best()
}

/// How sure one wants to be that little is left to gain.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Patience {
    /// Up to which part of the champion the value remaining is little.
    pub part: f64,
    /// With what probability it is to be less.
    pub confidence: f64,
}

impl Default for Patience {
    /// Less than 1 %, with a probability of 95 %.
    fn default() -> Self {
        Self { part: 0.01, confidence: 0.95 }
    }
}

/// What could still be gained by going on.
#[derive(Clone, PartialEq, Debug)]
pub struct ValueRemaining {
    /// The probability of each arm to be the best.
    pub best: Vec<f64>,
    /// The arm that is most likely the best; the first of those that are equally likely.
    pub champion: usize,
    /// The value remaining, (max θ − θ_c) / θ_c of the champion c, is less with the demanded confidence; of normal posteriors it is in parts of
    /// |E θ_c|, as θ_c may be 0. It is 0 if the champion is the best with that confidence, and may be infinite.
    pub quantile: f64,
    /// The probability that the value remaining is at most the demanded part.
    pub probability_little: f64,
    /// What choosing the champion is expected to cost, E max θ − E θ of the champion.
    pub expected_loss: f64,
    /// E max θ.
    pub expected_max: f64,
    /// Whether to stop: the quantile is below the demanded part.
    pub stop: bool,
}

/// The value remaining of Scott, "Multi-armed bandit experiments in the online service economy" (2015), without his random numbers: with the
/// champion c, P(V ≤ v) = ∫ f_c(x) Π F_j(x (1 + v)) dx, and the expected loss ∫ F_c (1 − Π F_j) dx, both over j ≠ c.
///
/// # Panics
/// If there is no arm, or unless the confidence lies between 0 and 1.
pub fn value_remaining<P: Posterior>(arms: &[P], patience: Patience) -> ValueRemaining {
    assert!(!arms.is_empty(), "a champion is one of the arms");
    assert!(0.0 < patience.confidence && patience.confidence < 1.0, "a probability below 1");
    let race = Race::over(arms);
    let best = race.all_best();
    let champion = race::first_largest(&best);
    let expected_loss = race.expected_loss(champion);
    let quantile = race.remaining_quantile(champion, patience.confidence);
    ValueRemaining {
        champion,
        quantile,
        probability_little: race.remaining_at_most(champion, patience.part),
        expected_loss,
        expected_max: arms[champion].mean() + expected_loss,
        stop: quantile < patience.part,
        best,
    }
}

/// The champion, if the value remaining is little with the demanded confidence: stop and choose it. The same decision as
/// [`ValueRemaining::stop`] at a tenth of the work, as no quantile is looked for. It bounds what a wrong choice costs and not how often one
/// errs: of arms that are alike it always ends with one.
///
/// # Panics
/// If there is no arm, or unless the confidence lies between 0 and 1.
pub fn stop_by_value_remaining<P: Posterior>(arms: &[P], patience: Patience) -> Option<usize> {
    assert!(!arms.is_empty(), "one chooses one of the arms");
    assert!(0.0 < patience.confidence && patience.confidence < 1.0, "a probability below 1");
    let race = Race::over(arms);
    let best = race.all_best();
    let champion = race::first_largest(&best);
    (patience.confidence < race.remaining_at_most(champion, patience.part)).then_some(champion)
}

/// The arm whose expected loss is smallest, if that is below a threshold of caring: stop and choose it. The loss is bounded by the threshold on
/// average over the prior; how often the choice is wrong is not.
///
/// # Panics
/// If there is no arm.
pub fn stop_by_expected_loss<P: Posterior>(arms: &[P], threshold: f64) -> Option<usize> {
    assert!(!arms.is_empty(), "one chooses one of the arms");
    let race = Race::over(arms);
    let losses: Vec<f64> = (0..arms.len()).map(|arm| -race.expected_loss(arm)).collect();
    let least = race::first_largest(&losses);
    (-losses[least] < threshold).then_some(least)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::{Seed, Stream};
    use crate::statistics::tests::assert_near;

    #[test]
    fn two_arms_compare_as_integrals_by_hand_say() {
        // ∫ 2x · x dx, ∫ x² (1 − x) dx, ∫ x (1 − x²) dx.
        let found = compare(&Beta::UNIFORM, &Beta::new(2.0, 1.0));
        assert_near("better", found.second_better, 2.0 / 3.0, 1e-13);
        assert_near("loss of the second", found.loss_second, 1.0 / 12.0, 1e-13);
        assert_near("loss of the first", found.loss_first, 0.25, 1e-13);
        // Half the mean difference of the arcsine distribution, which has no bounded density.
        let arcsine = Beta::new(0.5, 0.5);
        assert_near("arcsine", compare(&arcsine, &arcsine).loss_first, 2.0 / (PI * PI), 1e-13);
    }

    #[test]
    fn small_probabilities_and_losses_keep_their_digits() {
        let arms = [Beta::UNIFORM.after(2000.0, 50000.0), Beta::UNIFORM.after(2600.0, 50000.0)];
        let found = compare(&arms[0], &arms[1]);
        assert_near("loss", found.loss_second, 8.62414209990331e-24, 1e-7);
        assert_near("worse", compare(&arms[1], &arms[0]).second_better, 6.032394798228424e-20, 1e-7);
        // Against the closed form for normal posteriors, at a distance of ten deviations.
        let (low, high) = (Normal::new(0.0, 0.6), Normal::new(10.0, 0.8));
        let closed = low.difference(&high).expected_shortfall(0.0);
        assert_near("normal loss", compare(&low, &high).loss_second, closed, 1e-9);
    }

    #[test]
    fn arms_that_are_far_apart_or_of_very_different_width_are_no_trouble() {
        let sure = compare(&Beta::new(1.0, 1e9), &Beta::new(1e9, 1.0));
        assert_near("sure", sure.second_better, 1.0, 1e-13);
        assert!(0.0 <= sure.loss_second && sure.loss_second < 1e-30, "{sure:?}");
        assert_near("whole", sure.loss_first, 1.0, 1e-8);
        let needle = compare(&Normal::new(0.3, 1e-9), &Normal::new(0.0, 1.0));
        assert_near("needle", needle.second_better, normal::cdf(-0.3), 1e-9);
        let billions = compare(&Beta::new(5e8, 9.5e9), &Beta::new(5e8, 9.5e9));
        assert_near("billions", billions.second_better, 0.5, 1e-9);
    }

    #[test]
    fn beliefs_of_any_size_have_numbers() {
        let mut stream = Seed::new(14).stream("sizes");
        for _ in 0..300 {
            let count = stream.random_range(1..6);
            let size = |stream: &mut Stream| libm::exp(stream.random_range(-6.0..18.0));
            let arms: Vec<Beta> =
                (0..count).map(|_| Beta::new(size(&mut stream), size(&mut stream))).collect();
            let found = value_remaining(&arms, Patience::default());
            assert_near(&format!("{arms:?}"), found.best.iter().sum(), 1.0, 1e-9);
            assert!(0.0 <= found.expected_loss && found.expected_max <= 1.0 + 1e-12, "{arms:?}: {found:?}");
            assert!(0.0 <= found.quantile && 0.0 <= found.probability_little, "{arms:?}: {found:?}");
            let champion = found.best[found.champion];
            assert!(champion <= found.probability_little + 1e-9, "{arms:?}: {found:?}");
        }
    }

    #[test]
    fn the_probabilities_of_being_best_sum_to_one_and_equal_arms_share_them() {
        let arm = |successes| Beta::UNIFORM.after(successes, 1000.0);
        let best = probabilities_best(&[arm(50.0), arm(60.0), arm(50.0), arm(45.0), arm(60.0)]);
        assert_near("sum", best.iter().sum(), 1.0, 1e-12);
        assert_near("equal arms", best[0], best[2], 1e-12);
        assert_eq!(race::first_largest(&best), 1, "the first of two that are the same");
        assert_eq!(probabilities_best::<Beta>(&[]), Vec::<f64>::new());
        assert_near("alone", probabilities_best(&[arm(3.0)])[0], 1.0, 1e-12);
    }

    #[test]
    fn what_remains_of_a_lone_or_a_sure_champion_is_nothing() {
        let alone = value_remaining(&[Normal::new(-2.0, 1.0)], Patience::default());
        assert!(alone.stop && alone.quantile == 0.0 && alone.expected_loss == 0.0, "{alone:?}");
        assert_near("max", alone.expected_max, -2.0, 1e-15);
        let sure = value_remaining(&[Normal::new(-5.0, 0.1), Normal::new(-2.0, 0.1)], Patience::default());
        assert!(sure.stop && sure.champion == 1, "{sure:?}");
        // A champion near nothing: the quotient of two uniform numbers is large.
        let patience = Patience { part: 0.01, confidence: 0.99 };
        let open = value_remaining(&[Beta::UNIFORM, Beta::UNIFORM], patience);
        // P(y ≤ x (1 + v)) = 1 − 1/(2 (1 + v)) = 0.99.
        assert_near("open", open.quantile, 49.0, 1e-9);
    }

    #[test]
    fn both_ways_to_stop_by_value_remaining_agree() {
        let mut stream = Seed::new(12).stream("value");
        let mut stopped = 0;
        for _ in 0..200 {
            let arm = |stream: &mut Stream| {
                let trials = f64::from(stream.random_range(10..5000u32));
                Beta::UNIFORM.after((trials * 0.2 * stream.random::<f64>()).floor(), trials)
            };
            let arms = [arm(&mut stream), arm(&mut stream), arm(&mut stream)];
            let whole = value_remaining(&arms, Patience::default());
            let quick = stop_by_value_remaining(&arms, Patience::default());
            assert_eq!(quick, whole.stop.then_some(whole.champion), "{whole:?}");
            stopped += u32::from(whole.stop);
        }
        assert!((20..180).contains(&stopped), "{stopped} of 200");
    }

    #[test]
    fn of_arms_that_are_alike_stopping_by_value_remaining_chooses_one_all_the_same() {
        // 5 % against 5 %, 1,000 users a day in each, at most 30 days. Nothing is false here but the name of a winner.
        let mut stream = Seed::new(13).stream("alike");
        let mut stopped = 0;
        for _ in 0..100 {
            let mut sums = [0.0; 2];
            for day in 1..=30 {
                let users = 1000.0 * f64::from(day);
                let arms = [0, 1].map(|arm| {
                    sums[arm] += 0.05 * 1000.0 + (47.5f64).sqrt() * normal::quantile(stream.random::<f64>());
                    Normal::new(sums[arm] / users, (0.0475 / users).sqrt())
                });
                if stop_by_value_remaining(&arms, Patience::default()).is_some() {
                    stopped += 1;
                    break;
                }
            }
        }
        assert!((40..90).contains(&stopped), "{stopped} of 100");
    }

    #[test]
    fn a_prior_pulls_by_its_precision() {
        let belief = Normal::new(0.0, 0.3).after(0.3, 0.3);
        assert_near("mean", belief.mean(), 0.15, 1e-14);
        assert_near("deviation", belief.deviation(), 0.3 / 2f64.sqrt(), 1e-14);
        assert_near(
            "excess less shortfall",
            belief.expected_excess(0.1) - belief.expected_shortfall(0.1),
            0.05,
            1e-12,
        );
        assert_eq!(Normal::new(100.0, 1.0).expected_shortfall(0.0), 0.0);
    }

    #[test]
    fn stopping_by_expected_loss_loses_no_more_than_the_threshold_on_average() {
        // The truth is drawn from the prior: 300 experiments of two arms, 250 users a day in each, at most 40 days.
        let prior = Beta::new(5.0, 95.0);
        let mut stream = Seed::new(11).stream("loss");
        let (mut lost, mut stopped, mut wrong) = (0.0, 0u32, 0u32);
        for _ in 0..300 {
            let truth = [0, 1].map(|_| beta::quantile(stream.random::<f64>(), 5.0, 95.0));
            let mut arms = [prior; 2];
            for _ in 0..40 {
                for (arm, share) in arms.iter_mut().zip(truth) {
                    let successes = (0..250).filter(|_| stream.random::<f64>() < share).count();
                    *arm = arm.after(successes as f64, 250.0);
                }
                if let Some(chosen) = stop_by_expected_loss(&arms, 0.001) {
                    let loss = truth[0].max(truth[1]) - truth[chosen];
                    lost += loss;
                    wrong += u32::from(0.0 < loss);
                    stopped += 1;
                    break;
                }
            }
        }
        assert!(290 <= stopped, "{stopped} of 300");
        let mean = lost / f64::from(stopped);
        assert!(mean < 0.001, "{mean} lost on average");
        // The rule does not bound how often one errs.
        assert!(15 < wrong, "{wrong} of {stopped}");
    }
}
