//! Sample ratio mismatch: whether the arms have as many users as they were given. If not, nothing else of the experiment is to be believed.
//!
//! At large counts a deviation that matters to nobody is significant: each check tells the size of the deviation beside its p-value. The
//! usual alarm is at p < 0.001.

use crate::statistics::linear::Cholesky;
use crate::statistics::sequential::log_dirichlet_multinomial;
use crate::statistics::{gamma, normal, stirling};

/// A time in which the traffic was split by the same weights, and how many users each arm got.
#[derive(Clone, PartialEq, Debug)]
pub struct Period {
    /// How much of the traffic each arm is to have; they need not sum to 1. An arm that is not to have any has 0.
    pub weights: Vec<f64>,
    /// How many users it had.
    pub counts: Vec<u64>,
}

/// What a check of sample ratios found.
#[derive(Clone, PartialEq, Debug)]
pub struct RatioCheck {
    /// The expected counts: over periods, the sum of weight × traffic.
    pub expected: Vec<f64>,
    /// Pearson's statistic; over periods of different weights (d = observed − expected) dᵀ V⁻¹ d.
    pub chi_squared: f64,
    /// Its p-value.
    pub p: f64,
    /// The likelihood ratio statistic 2 Σ O ln(O/E).
    pub g: f64,
    /// Its p-value; over periods of different weights too large, as G then varies less than is assumed.
    pub g_p: f64,
    /// The arms with a weight, less one for each group of arms that never shared a period with the others.
    pub degrees_of_freedom: usize,
    /// Users of an arm in a period in which it was to have none. No chance explains a single one, and they are left out of the rest.
    pub leaked: u64,
    /// The largest relative deviation |O − E| / E of an arm.
    pub deviation_max: f64,
    /// The size of the effect, √(χ²/N): 0.01 is as of 50.5 % instead of 50 %.
    pub effect: f64,
}

impl RatioCheck {
    /// Whether the ratios are wrong: somebody leaked, or the p-value is below the level. Wrongly so with the probability `alpha`.
    pub fn mismatch(&self, alpha: f64) -> bool {
        0 < self.leaked || self.p < alpha
    }
}

/// Checks counts against weights: [`check_over_time`] of a single period.
///
/// # Panics
/// Unless there are as many weights as counts, none of them negative.
pub fn check(counts: &[u64], weights: &[f64]) -> RatioCheck {
    check_over_time(&[Period { weights: weights.to_vec(), counts: counts.to_vec() }])
}

/// Checks counts against weights that changed, by the user or by an adaptive allocation. Given the traffic n of each period, the counts have
/// the mean Σ n w and the variance V = Σ n (diag w − w wᵀ); so an allocation that moves does not fire, if only its weights do not depend on
/// the traffic of the same period. The error is α at large counts (five expected in each arm).
///
/// With at most one arm that is to have users, or no users, there is nothing to check: p = 1.
///
/// # Panics
/// Unless each period has as many weights as counts and as the first, none of them negative.
pub fn check_over_time(periods: &[Period]) -> RatioCheck {
    let arms = periods.first().map_or(0, |period| period.weights.len());
    let mut expected = vec![0.0; arms];
    let mut observed = vec![0.0; arms];
    let mut variance = vec![vec![0.0; arms]; arms];
    let mut leaked = 0;
    for period in periods {
        assert_eq!(period.weights.len(), arms, "the same arms in each period");
        let (shares, counts, leak) = split(period);
        leaked += leak;
        let traffic: f64 = counts.iter().sum();
        for arm in 0..arms {
            expected[arm] += traffic * shares[arm];
            observed[arm] += counts[arm];
            for other in 0..arms {
                let own = if arm == other { shares[arm] } else { 0.0 };
                variance[arm][other] += traffic * (own - shares[arm] * shares[other]);
            }
        }
    }
    let there: Vec<usize> = (0..arms).filter(|arm| 0.0 < expected[*arm]).collect();
    let all: f64 = there.iter().map(|arm| observed[*arm]).sum();
    let difference: Vec<f64> = observed.iter().zip(&expected).map(|(seen, mean)| seen - mean).collect();
    let mut deviation_max = 0.0f64;
    let (mut pearson, mut g) = (0.0, 0.0);
    for arm in &there {
        deviation_max = deviation_max.max(difference[*arm].abs() / expected[*arm]);
        pearson += difference[*arm] * difference[*arm] / expected[*arm];
        g += 2.0 * stirling::deviance(observed[*arm], expected[*arm]);
    }
    let (chi_squared, degrees_of_freedom) = if periods.len() <= 1 {
        (pearson, there.len().saturating_sub(1))
    } else {
        quadratic_form(&there, &difference, &variance)
    };
    let tail = |x: f64| {
        if degrees_of_freedom == 0 { 1.0 } else { gamma::chi_squared_sf(x, degrees_of_freedom as f64) }
    };
    RatioCheck {
        chi_squared,
        p: tail(chi_squared),
        g,
        g_p: tail(g),
        degrees_of_freedom,
        leaked,
        deviation_max,
        effect: if 0.0 < all { (chi_squared / all).sqrt() } else { 0.0 },
        expected,
    }
}

/// The shares of a period, its counts without those of arms that have no share, and how many these were.
fn split(period: &Period) -> (Vec<f64>, Vec<f64>, u64) {
    assert_eq!(period.weights.len(), period.counts.len(), "a weight for each count");
    assert!(
        period.weights.iter().all(|weight| 0.0 <= *weight && weight.is_finite()),
        "a weight is not negative"
    );
    let whole: f64 = period.weights.iter().sum();
    let mut leaked = 0;
    let mut counts = Vec::with_capacity(period.counts.len());
    for (weight, count) in period.weights.iter().zip(&period.counts) {
        if 0.0 < *weight {
            counts.push(*count as f64);
        } else {
            counts.push(0.0);
            leaked += count;
        }
    }
    let share = |weight: &f64| if 0.0 < whole { weight / whole } else { 0.0 };
    (period.weights.iter().map(share).collect(), counts, leaked)
}

/// dᵀ V⁻ d and the rank of V: arms are taken one after the other, without those whose count follows from the others', such as the last of those
/// that were ever in the same period.
fn quadratic_form(arms: &[usize], difference: &[f64], variance: &[Vec<f64>]) -> (f64, usize) {
    let factor_of = |arms: &[usize]| {
        let row = |one: &usize| arms.iter().map(|other| variance[*one][*other]).collect();
        Cholesky::new(&arms.iter().map(row).collect::<Vec<Vec<f64>>>())
    };
    let (mut free, mut factor) = (Vec::new(), None);
    for arm in arms {
        free.push(*arm);
        match factor_of(&free) {
            Some(larger) => factor = Some(larger),
            None => _ = free.pop(),
        }
    }
    let of_free: Vec<f64> = free.iter().map(|arm| difference[*arm]).collect();
    let solution = factor.map(|factor| factor.solve(&of_free)).unwrap_or_default();
    (solution.iter().zip(&of_free).map(|(x, d)| x * d).sum(), free.len())
}

/// The two-sided p-value of one arm's count by the normal approximation without a correction; the square of its z is Pearson's statistic. 1
/// of nobody.
///
/// # Panics
/// If the arm has more users than there are, or unless its share lies between 0 and 1.
pub fn approximate(count: u64, all: u64, share: f64) -> f64 {
    assert!(count <= all, "{count} of {all}");
    assert!(0.0 < share && share < 1.0, "a share, not {share}");
    if all == 0 {
        return 1.0;
    }
    let mean = all as f64 * share;
    let z = (count as f64 - mean) / (mean * (1.0 - share)).sqrt();
    2.0 * normal::cdf(-z.abs())
}

/// Checks ratios after every batch, as often as one likes: Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022). The
/// alternative is a Dirichlet distribution around the weights, and every batch is predicted from those before it.
///
/// Weights may change between batches. What was learnt of an arm is how many more users it had than expected; the next batch is predicted
/// with weights that are as much larger. With constant weights this is the test of the paper. An alarm at p < α is false with probability α
/// at most, over all batches and at any counts, if weights depend on earlier batches alone.
#[derive(Clone, PartialEq, Debug)]
pub struct SequentialRatio {
    /// How many users the prior is worth: large to find small deviations, small to find large ones soon.
    concentration: f64,
    observed: Vec<f64>,
    expected: Vec<f64>,
    log_odds: f64,
    p_min: f64,
}

impl SequentialRatio {
    /// The concentration that the paper's software begins with.
    pub const CONCENTRATION: f64 = 100.0;

    /// Before the first batch of so many arms.
    ///
    /// # Panics
    /// Unless the concentration is positive.
    pub fn new(arms: usize, concentration: f64) -> Self {
        assert!(0.0 < concentration, "a prior of {concentration} users");
        let nothing = vec![0.0; arms];
        Self { concentration, observed: nothing.clone(), expected: nothing, log_odds: 0.0, p_min: 1.0 }
    }

    /// Takes a batch into account. A user in an arm without a weight makes the odds infinite for ever.
    ///
    /// # Panics
    /// Unless the batch has as many weights and counts as there are arms, none of the weights negative.
    pub fn add(&mut self, batch: &Period) {
        assert_eq!(batch.weights.len(), self.observed.len(), "the same arms in each batch");
        let (shares, counts, leaked) = split(batch);
        let before: f64 = self.observed.iter().sum();
        let lift = |arm: usize| {
            let prior = self.concentration * shares[arm];
            shares[arm] * (prior + self.observed[arm]) / (prior + self.expected[arm])
        };
        let lifts: Vec<f64> =
            (0..shares.len()).map(|arm| if 0.0 < shares[arm] { lift(arm) } else { 0.0 }).collect();
        let whole: f64 = lifts.iter().sum();
        if 0.0 < whole {
            let pseudo: Vec<f64> =
                lifts.iter().map(|lift| (self.concentration + before) * lift / whole).collect();
            self.log_odds += log_dirichlet_multinomial(&counts, &shares, &pseudo);
        }
        if 0 < leaked {
            self.log_odds = f64::INFINITY;
        }
        let traffic: f64 = counts.iter().sum();
        for arm in 0..shares.len() {
            self.observed[arm] += counts[arm];
            self.expected[arm] += traffic * shares[arm];
        }
        self.p_min = self.p_min.min(self.p_now());
    }

    /// The odds for a mismatch to none, after the last batch.
    pub fn odds(&self) -> f64 {
        libm::exp(self.log_odds)
    }

    /// 1 / odds, at most 1: valid by itself, but it may rise again.
    pub fn p_now(&self) -> f64 {
        libm::exp(-self.log_odds).min(1.0)
    }

    /// The smallest p-value so far, which is valid too.
    pub fn p(&self) -> f64 {
        self.p_min
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::{Seed, Stream};
    use crate::statistics::binomial::exact;
    use crate::statistics::tests::assert_near;

    /// So many users, each in an arm by its weight.
    fn split_users(users: u32, weights: &[f64], stream: &mut Stream) -> Vec<u64> {
        let mut counts = vec![0; weights.len()];
        let whole: f64 = weights.iter().sum();
        for _ in 0..users {
            let mut at = stream.random::<f64>() * whole;
            let mut arm = 0;
            while arm + 1 < weights.len() && weights[arm] <= at {
                at -= weights[arm];
                arm += 1;
            }
            counts[arm] += 1;
        }
        counts
    }

    fn period(weights: &[f64], counts: Vec<u64>) -> Period {
        Period { weights: weights.to_vec(), counts }
    }

    #[test]
    fn a_leak_is_no_degree_of_freedom() {
        let found = check(&[500, 500, 1], &[1.0, 1.0, 0.0]);
        assert_eq!((found.degrees_of_freedom, found.leaked, found.p), (1, 1, 1.0));
        assert!(found.mismatch(0.001));
        let without = check(&[530, 470, 0], &[1.0, 1.0, 0.0]);
        assert!(!without.mismatch(0.001), "{without:?}");
        assert_eq!(without.p, check(&[530, 470], &[1.0, 1.0]).p);
        assert_near("deviation", without.deviation_max, 0.06, 1e-12);
        assert_near("effect", without.effect, 0.06, 1e-12);
    }

    #[test]
    fn nothing_to_check_is_no_mismatch() {
        for (counts, weights) in [(vec![], vec![]), (vec![7], vec![1.0]), (vec![0, 0], vec![1.0, 1.0])] {
            let found = check(&counts, &weights);
            assert!(found.p == 1.0 && found.g_p == 1.0 && !found.mismatch(0.5), "{found:?}");
        }
        assert_eq!(check_over_time(&[]).p, 1.0);
        assert_eq!(check(&[3, 4], &[0.0, 0.0]).leaked, 7);
        assert_eq!((exact(0, 0, 0.5), approximate(0, 0, 0.5)), (1.0, 1.0));
    }

    #[test]
    fn the_exact_test_sums_what_is_no_more_likely() {
        let choose = |n: u64, k: u64| (1..=k).map(|i| (n - k + i) as f64 / i as f64).product::<f64>();
        for (all, share) in [(1u64, 0.5), (7, 0.5), (12, 0.3), (20, 0.9), (25, 1.0 / 3.0)] {
            let probability = |k: u64| {
                choose(all, k) * libm::pow(share, k as f64) * libm::pow(1.0 - share, (all - k) as f64)
            };
            for count in 0..=all {
                let most = probability(count) * (1.0 + 1e-7);
                let sum: f64 = (0..=all).map(probability).filter(|p| *p <= most).sum();
                assert_near(&format!("{count} of {all}"), exact(count, all, share), sum.min(1.0), 1e-9);
            }
        }
    }

    #[test]
    fn periods_of_the_same_weights_are_one() {
        let weights = [0.5, 0.3, 0.2];
        let parts = [vec![510, 290, 205], vec![980, 640, 400]];
        let sum: Vec<u64> = (0..3).map(|arm| parts[0][arm] + parts[1][arm]).collect();
        let apart = check_over_time(&parts.map(|counts| period(&weights, counts)));
        let together = check(&sum, &weights);
        assert_near("chi squared", apart.chi_squared, together.chi_squared, 1e-12);
        assert_near("g", apart.g, together.g, 1e-12);
        assert_near("p", apart.p, together.p, 1e-12);
    }

    #[test]
    fn arms_that_were_never_together_are_not_compared() {
        let apart = [
            period(&[1.0, 1.0, 0.0, 0.0], vec![520, 480, 0, 0]),
            period(&[0.0, 0.0, 3.0, 1.0], vec![0, 0, 740, 260]),
            period(&[0.0, 0.0, 3.0, 1.0], vec![0, 0, 745, 255]),
        ];
        let found = check_over_time(&apart);
        let parts =
            check(&[520, 480], &[1.0, 1.0]).chi_squared + check(&[1485, 515], &[3.0, 1.0]).chi_squared;
        assert_eq!(found.degrees_of_freedom, 2);
        assert_near("both parts", found.chi_squared, parts, 1e-12);
        let alone = [period(&[1.0, 0.0], vec![7, 0]), period(&[0.0, 1.0], vec![0, 9])];
        assert_eq!((check_over_time(&alone).degrees_of_freedom, check_over_time(&alone).p), (0, 1.0));
    }

    #[test]
    fn the_error_is_as_said_also_when_weights_adapt_to_what_was_seen() {
        // Three arms over ten periods; the weights of the next follow rewards that are noise. 1,000 experiments.
        let mut stream = Seed::new(21).stream("adaptive");
        let (mut alarms, mut naive_alarms, mut one_period, mut sequential) = (0, 0, 0, 0);
        for _ in 0..1000 {
            let (mut weights, mut periods) = (vec![1.0, 1.0, 1.0], Vec::new());
            let mut test = SequentialRatio::new(3, SequentialRatio::CONCENTRATION);
            for _ in 0..10 {
                let users = stream.random_range(50..150);
                let this = period(&weights, split_users(users, &weights, &mut stream));
                test.add(&this);
                periods.push(this);
                weights = (0..3).map(|_| 0.2 + stream.random::<f64>()).collect();
            }
            alarms += u32::from(check_over_time(&periods).mismatch(0.05));
            let sums: Vec<u64> = (0..3).map(|arm| periods.iter().map(|one| one.counts[arm]).sum()).collect();
            naive_alarms += u32::from(check(&sums, &[1.0; 3]).mismatch(0.05));
            one_period += u32::from(check(&periods[9].counts, &periods[9].weights).mismatch(0.05));
            sequential += u32::from(test.p() < 0.05);
        }
        // 50 of 1,000 are expected; 27 to 75 but for once in a thousand.
        assert!((27..=75).contains(&alarms), "{alarms} of 1000");
        assert!((27..=75).contains(&one_period), "{one_period} of 1000");
        assert!(300 < naive_alarms, "{naive_alarms}: with the first weights it fires");
        assert!(sequential <= 65, "{sequential} of 1000, of which 50 are allowed");
    }

    #[test]
    fn losing_a_tenth_of_an_arm_is_found_also_when_weights_change() {
        let mut stream = Seed::new(22).stream("loss");
        let (mut found, mut found_early) = (0, 0);
        for _ in 0..100 {
            let mut periods = Vec::new();
            let mut test = SequentialRatio::new(2, SequentialRatio::CONCENTRATION);
            for round in 0..20 {
                let weights = if round % 2 == 0 { [0.8, 0.2] } else { [0.4, 0.6] };
                let mut counts = split_users(1000, &weights, &mut stream);
                counts[1] -= counts[1] / 10;
                let this = period(&weights, counts);
                test.add(&this);
                periods.push(this);
            }
            found += u32::from(check_over_time(&periods).mismatch(0.001));
            found_early += u32::from(test.p() < 0.001);
        }
        assert!(95 <= found, "{found} of 100");
        assert!(90 <= found_early, "{found_early} of 100");
    }

    #[test]
    fn a_sequential_leak_is_certain_and_stays_so() {
        let mut test = SequentialRatio::new(2, 100.0);
        test.add(&period(&[1.0, 0.0], vec![10, 0]));
        assert!(test.p() == 1.0 && test.odds() == 1.0, "{test:?}");
        test.add(&period(&[1.0, 0.0], vec![10, 1]));
        assert!(test.p() == 0.0 && test.odds().is_infinite(), "{test:?}");
        test.add(&period(&[1.0, 1.0], vec![10, 10]));
        assert_eq!((test.p(), test.p_now()), (0.0, 0.0));
    }
}
