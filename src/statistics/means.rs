//! Means of two arms, and what is made of means: ratios, relative differences, and differences put together from strata.
//!
//! Everything starts from [`Moments`], which merge. Differences are treated less control.

use crate::statistics::proportion::Share;
use crate::statistics::{Interval, normal, quantile, student};

/// How many values were seen of `K` quantities of the same users, with their means and the sums of products of their deviations. Merging the
/// moments of parts gives those of the whole, without the cancellation of sums of squares: Welford, "Note on a method for calculating corrected
/// sums of squares and products" (1962), and Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
/// (1979).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moments<const K: usize> {
    count: u64,
    means: [f64; K],
    products: [[f64; K]; K],
}

impl<const K: usize> Default for Moments<K> {
    /// Of nobody.
    fn default() -> Self {
        Self { count: 0, means: [0.0; K], products: [[0.0; K]; K] }
    }
}

impl<const K: usize> Moments<K> {
    /// The moments of users.
    pub fn of(users: impl IntoIterator<Item = [f64; K]>) -> Self {
        let mut moments = Self::default();
        for user in users {
            moments.add(&user);
        }
        moments
    }

    /// The moments of so many users whose quantities are whole numbers: from the sum of each, and of the products of each two.
    pub fn of_sums(count: u64, sums: [u64; K], products: [[u64; K]; K]) -> Self {
        let mut moments = Self { count, ..Self::default() };
        if count == 0 {
            return moments;
        }
        for (row, sum) in sums.iter().enumerate() {
            moments.means[row] = *sum as f64 / count as f64;
            for (column, other) in sums.iter().enumerate() {
                // Subtracted before anything is rounded.
                let apart = i128::from(count) * i128::from(products[row][column])
                    - i128::from(*sum) * i128::from(*other);
                moments.products[row][column] = apart as f64 / count as f64;
            }
        }
        moments
    }

    /// One user more.
    pub fn add(&mut self, user: &[f64; K]) {
        self.merge(&Self { count: 1, means: *user, products: [[0.0; K]; K] });
    }

    /// The users of another part.
    pub fn merge(&mut self, part: &Self) {
        if part.count == 0 {
            return;
        }
        let (own, all) = (self.count as f64, (self.count + part.count) as f64);
        let weight = part.count as f64 / all;
        let mut apart = [0.0; K];
        for (index, apart) in apart.iter_mut().enumerate() {
            *apart = part.means[index] - self.means[index];
        }
        for row in 0..K {
            self.means[row] += apart[row] * weight;
            for column in 0..K {
                self.products[row][column] +=
                    part.products[row][column] + apart[row] * apart[column] * own * weight;
            }
        }
        self.count += part.count;
    }

    /// How many users.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean of a quantity; 0 of nobody.
    pub fn mean(&self, of: usize) -> f64 {
        self.means[of]
    }

    /// The sample variance of a quantity, with n − 1; 0 of fewer than two users.
    pub fn variance(&self, of: usize) -> f64 {
        self.covariance(of, of)
    }

    /// The sample covariance of two quantities, with n − 1; 0 of fewer than two users.
    pub fn covariance(&self, one: usize, other: usize) -> f64 {
        if self.count < 2 { 0.0 } else { self.products[one][other] / (self.count - 1) as f64 }
    }

    /// The covariance of two numbers made of means that change so with each quantity: gᵀ Σ h, of one user.
    pub(super) fn covariance_along(&self, one: &[f64; K], other: &[f64; K]) -> f64 {
        let mut sum = 0.0;
        for (row, g) in one.iter().enumerate() {
            for (column, h) in other.iter().enumerate() {
                sum += g * self.covariance(row, column) * h;
            }
        }
        sum
    }
}

/// How many different values must lie within the bounds of a quantile for it to behave like a mean: of a quantity that moves in steps as wide as
/// the quantile's own error, an arm may be a whole step off without any error to show for it.
pub const QUANTILE_VALUES_MIN: usize = 10;

/// The estimate of an arm that behaves like a mean over its users.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ArmMean {
    /// How many users.
    pub users: u64,
    /// The estimate.
    pub value: f64,
    /// The variance of what one user adds to it: of the estimate, times n.
    pub variance: f64,
}

impl ArmMean {
    /// The mean of a quantity.
    pub fn of<const K: usize>(moments: &Moments<K>, quantity: usize) -> Self {
        Self { users: moments.count, value: moments.mean(quantity), variance: moments.variance(quantity) }
    }

    /// A share with the variance p (1 − p), as the gbstats library has it, without n/(n − 1).
    pub fn of_share(share: Share) -> Self {
        Self { users: share.trials(), value: share.value(), variance: share.variance() }
    }

    /// The ratio of sums of the first quantity to the second, such as clicks per view, by the delta method: (Var x − 2 R Cov + R² Var y)/ȳ², as in
    /// Deng, Knoblich and Lu, "Applying the delta method in metric analytics" (2018). A value of 0 without variance where the second is 0.
    pub fn of_ratio(moments: &Moments<2>) -> Self {
        let (value, slope) = ratio(moments.mean(0), moments.mean(1));
        let variance = moments.covariance_along(&slope, &slope);
        Self { users: moments.count, value, variance }
    }

    /// A quantile of users, from their ascending values: the width of its bounds by order statistics tells its variance, at the confidence that they
    /// really have. Price and Bonett, "Estimating the variance of the sample median" (2001). None where the sample is too small for bounds, or
    /// where fewer than [`QUANTILE_VALUES_MIN`] different values lie within them.
    ///
    /// # Panics
    /// Unless the values ascend, and `p` lies between 0 and 1.
    pub fn of_quantile(sorted: &[f64], p: f64) -> Option<Self> {
        let found = quantile::quantile(sorted, p, 0.95)?;
        let enough = found.bounds.low.is_finite() && found.bounds.high.is_finite();
        (enough && QUANTILE_VALUES_MIN <= found.values)
            .then(|| Self::of_quantile_bounds(sorted.len() as u64, found.value, found.bounds, found.coverage))
    }

    /// A quantile of users, from an interval of it by order statistics at this confidence, as a database gives it: its standard error is the width
    /// over 2 z, and its variance (n − 1) times the square of that, as the gbstats library has it.
    pub fn of_quantile_bounds(users: u64, value: f64, bounds: Interval, confidence: f64) -> Self {
        let error = (bounds.high - bounds.low) / (-2.0 * normal::quantile(0.5 * (1.0 - confidence)));
        Self { users, value, variance: users.saturating_sub(1) as f64 * error * error }
    }

    /// The variance of the estimate; 0 of nobody.
    pub(super) fn error(&self) -> f64 {
        if self.users == 0 { 0.0 } else { self.variance / self.users as f64 }
    }
}

/// A ratio, and how it changes with its numerator and its denominator; all 0 where the denominator is.
pub(super) fn ratio(over: f64, under: f64) -> (f64, [f64; 2]) {
    if under == 0.0 {
        return (0.0, [0.0; 2]);
    }
    (over / under, [1.0 / under, -over / under / under])
}

/// How much more treated has than control, and how sure that is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Difference {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Of Student's distribution; infinite for the normal one.
    pub degrees_of_freedom: f64,
}

impl Difference {
    /// The estimate less `null`, in standard errors; 0 where it is 0, infinite where there is no error but a difference.
    pub fn t(&self, null: f64) -> f64 {
        normal::Statistic::new(self.estimate - null, self.standard_error).z
    }

    /// The two-sided p-value of a difference from 0. Without an error it is 0, or 1 if there is no difference either.
    pub fn p(&self) -> f64 {
        student::two_sided(self.t(0.0), self.degrees_of_freedom)
    }

    /// The one-sided p-value of more than `null`: with −m, that treated is not worse by a margin m.
    pub fn p_more(&self, null: f64) -> f64 {
        student::sf(self.t(null), self.degrees_of_freedom)
    }

    /// The one-sided p-value of less than `null`.
    pub fn p_less(&self, null: f64) -> f64 {
        student::cdf(self.t(null), self.degrees_of_freedom)
    }

    /// Where the difference lies; the estimate alone where there is no error.
    pub fn interval(&self, confidence: f64) -> Interval {
        let half = if self.standard_error == 0.0 {
            0.0
        } else {
            -student::quantile(0.5 * (1.0 - confidence), self.degrees_of_freedom) * self.standard_error
        };
        Interval { low: self.estimate - half, high: self.estimate + half }
    }

    /// Whether the difference lies between bounds, by two one-sided tests: Schuirmann, "A comparison of the two one-sided tests procedure and the
    /// power approach for assessing the equivalence of average bioavailability" (1987).
    pub fn equivalence(&self, bounds: Interval) -> Equivalence {
        let (p_low, p_high) = (self.p_more(bounds.low), self.p_less(bounds.high));
        Equivalence {
            t_low: self.t(bounds.low),
            p_low,
            t_high: self.t(bounds.high),
            p_high,
            p: p_low.max(p_high),
        }
    }
}

/// Two one-sided tests.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Equivalence {
    /// How far above the lower bound, in standard errors.
    pub t_low: f64,
    /// The p-value of that.
    pub p_low: f64,
    /// How far above the upper bound, in standard errors; negative where it is below.
    pub t_high: f64,
    /// The p-value of being below.
    pub p_high: f64,
    /// The larger of both p-values: that of equivalence.
    pub p: f64,
}

/// The difference of means whose variances may differ: Welch, "The generalization of 'Student's' problem when several different population
/// variances are involved" (1947).
pub fn welch(control: &ArmMean, treated: &ArmMean) -> Difference {
    Difference {
        estimate: treated.value - control.value,
        standard_error: (control.error() + treated.error()).sqrt(),
        degrees_of_freedom: welch_degrees(control, treated, [1.0; 2]),
    }
}

/// (e₁ + e₂)² / (e₁²/(n₁ − 1) + e₂²/(n₂ − 1)) with eᵢ the variance of an estimate times its scale: Satterthwaite, "An approximate distribution of
/// estimates of variance components" (1946). An arm of one user, which has no variance of its own, counts as without error; infinite where
/// neither has an error.
pub(super) fn welch_degrees(control: &ArmMean, treated: &ArmMean, scales: [f64; 2]) -> f64 {
    let errors = [(control, scales[0]), (treated, scales[1])].map(|(arm, scale)| (arm, arm.error() * scale));
    let sum: f64 = errors.iter().map(|(_, error)| error).sum();
    let squares: f64 = errors
        .iter()
        .filter(|(arm, error)| 1 < arm.users && 0.0 < *error)
        .map(|(arm, error)| error / sum * (error / sum) / (arm.users - 1) as f64)
        .sum();
    if squares == 0.0 { f64::INFINITY } else { 1.0 / squares }
}

/// The mean of differences of pairs: the paired t-test. One pair or none has no error.
pub fn paired(differences: &Moments<1>) -> Difference {
    let arm = ArmMean::of(differences, 0);
    Difference {
        estimate: arm.value,
        standard_error: arm.error().sqrt(),
        degrees_of_freedom: if arm.users < 2 { f64::INFINITY } else { (arm.users - 1) as f64 },
    }
}

/// The geometric mean of second to first over pairs, which must be positive; 1 of no pair.
pub fn geometric_ratio(pairs: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let logarithms = Moments::of(pairs.into_iter().map(|(first, second)| [libm::log(second / first)]));
    libm::exp(logarithms.mean(0))
}

/// The difference of means whose variances are the same, ((n₁ − 1) s₁² + (n₂ − 1) s₂²)/(n₁ + n₂ − 2): Student, "The probable error of a mean"
/// (1908). At arms of different size wrong where variances differ; without error where nobody has a second user.
pub fn student_pooled(control: &ArmMean, treated: &ArmMean) -> Difference {
    let free = |arm: &ArmMean| arm.users.saturating_sub(1) as f64;
    let degrees = free(control) + free(treated);
    let variance = if degrees == 0.0 {
        0.0
    } else {
        (free(control) * control.variance + free(treated) * treated.variance) / degrees
    };
    let inverse: f64 =
        [control, treated].iter().filter(|arm| 0 < arm.users).map(|arm| 1.0 / arm.users as f64).sum();
    Difference {
        estimate: treated.value - control.value,
        standard_error: (variance * inverse).sqrt(),
        degrees_of_freedom: if degrees == 0.0 { f64::INFINITY } else { degrees },
    }
}

/// The difference as a part of control, (m₂ − m₁)/m₁, with the variance e₂/m₁² + e₁ m₂²/m₁⁴ of the delta method, and the degrees of freedom of
/// [`welch`]. No difference and no error where control is 0. Of the magnitude of control where that is negative.
pub fn relative(control: &ArmMean, treated: &ArmMean) -> Difference {
    let (whole, slope) = ratio(treated.value, control.value);
    let variance = slope[0] * slope[0] * treated.error() + slope[1] * slope[1] * control.error();
    Difference {
        estimate: if control.value == 0.0 { 0.0 } else { (whole - 1.0) * control.value.signum() },
        standard_error: variance.sqrt(),
        degrees_of_freedom: welch_degrees(control, treated, [1.0; 2]),
    }
}

/// Between which the relative difference lies, by Student's distribution of the logarithm of the ratio, with the variance e₁/m₁² + e₂/m₂² and its own
/// degrees of freedom: it does not reach below −1 and is not symmetric. All from −1 on unless both means are positive.
pub fn relative_interval_of_logarithms(control: &ArmMean, treated: &ArmMean, confidence: f64) -> Interval {
    if control.value <= 0.0 || treated.value <= 0.0 {
        return Interval { low: -1.0, high: f64::INFINITY };
    }
    let scales = [control, treated].map(|arm| 1.0 / arm.value / arm.value);
    let logarithm = Difference {
        estimate: libm::log(treated.value / control.value),
        standard_error: (control.error() * scales[0] + treated.error() * scales[1]).sqrt(),
        degrees_of_freedom: welch_degrees(control, treated, scales),
    };
    let found = logarithm.interval(confidence);
    Interval { low: libm::expm1(found.low), high: libm::expm1(found.high) }
}

/// A difference put together from strata.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PostStratified {
    /// The difference of means.
    pub absolute: Difference,
    /// As a part of the mean of control.
    pub relative: Difference,
}

/// The differences `[control, treated]` of strata, each weighted by its part wₛ of all users: Miratrix, Sekhon and Yu, "Adjusting treatment effect
/// estimates by post-stratification in randomized experiments" (2013). The variance is Σ wₛ² (e₁ + e₂), and, since the parts are those of a sample
/// too, Σ wₛ (dₛ − d)²/N; the degrees of freedom are those of [`welch`] for the arms without strata. So has it the gbstats library. Strata in which
/// an arm is empty compare nothing and are left out.
pub fn post_stratified(strata: &[[ArmMean; 2]]) -> PostStratified {
    let strata: Vec<&[ArmMean; 2]> =
        strata.iter().filter(|[control, treated]| 0 < control.users && 0 < treated.users).collect();
    let all = strata.iter().map(|[control, treated]| control.users + treated.users).sum::<u64>();
    let weight = |[control, treated]: &[ArmMean; 2]| (control.users + treated.users) as f64 / all as f64;
    let mean = |arm: usize| strata.iter().map(|stratum| weight(stratum) * stratum[arm].value).sum::<f64>();
    let (control, treated) = (mean(0), mean(1));
    // Along a change of both means, the variance of (treated, control) · slope.
    let along = |slope: [f64; 2]| {
        let middle = slope[0] * treated + slope[1] * control;
        let terms = strata.iter().map(|stratum| {
            let [one, other] = stratum;
            let apart = slope[0] * other.value + slope[1] * one.value - middle;
            let error = slope[0] * slope[0] * other.error() + slope[1] * slope[1] * one.error();
            let share = weight(stratum);
            share * share * error + share * apart * apart / all as f64
        });
        terms.sum::<f64>().sqrt()
    };
    let arm = |arm: usize| together(strata.iter().map(|stratum| stratum[arm]));
    let degrees_of_freedom = welch_degrees(&arm(0), &arm(1), [1.0; 2]);
    let (whole, slope) = ratio(treated, control);
    let difference = |estimate: f64, slope: [f64; 2]| Difference {
        estimate,
        standard_error: along(slope),
        degrees_of_freedom,
    };
    let part = if control == 0.0 { 0.0 } else { (whole - 1.0) * control.signum() };
    PostStratified { absolute: difference(treated - control, [1.0, -1.0]), relative: difference(part, slope) }
}

/// An arm of parts, its variance Σ nₛ (vₛ + (mₛ − m)²)/(n − 1): of shares, p (1 − p) n/(n − 1).
fn together(parts: impl Iterator<Item = ArmMean> + Clone) -> ArmMean {
    let users: u64 = parts.clone().map(|part| part.users).sum();
    let mean = |of: &dyn Fn(ArmMean) -> f64| {
        quotient(parts.clone().map(|part| part.users as f64 * of(part)).sum(), users as f64)
    };
    let value = mean(&|part| part.value);
    let spread = mean(&|part| part.variance + (part.value - value) * (part.value - value));
    let variance = quotient(spread * users as f64, users as f64 - 1.0);
    ArmMean { users, value, variance }
}

/// 0 where the denominator is.
pub(super) fn quotient(over: f64, under: f64) -> f64 {
    if under == 0.0 { 0.0 } else { over / under }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::base::{Seed, Stream};
    use crate::statistics::cuped::cuped;
    use crate::statistics::descriptive;
    use crate::statistics::tests::assert_near;

    fn draw(stream: &mut Stream) -> f64 {
        normal::quantile(stream.random::<f64>())
    }

    fn arm(users: u64, value: f64, variance: f64) -> ArmMean {
        ArmMean { users, value, variance }
    }

    #[test]
    fn moments_of_parts_merge_to_those_of_the_whole_even_far_from_zero() {
        let mut stream = Seed::new(5).stream("moments");
        let users: Vec<[f64; 2]> = (0..1000)
            .map(|_| {
                let habit = draw(&mut stream);
                [1e9 + habit, 1e9 + 0.5 * habit + draw(&mut stream)]
            })
            .collect();
        let whole = Moments::of(users.iter().copied());
        for parts in [2, 3, 7, 400] {
            let mut merged = Moments::default();
            for part in users.chunks(users.len().div_ceil(parts)) {
                merged.merge(&Moments::of(part.iter().copied()));
            }
            merged.merge(&Moments::default());
            assert_eq!(merged.count(), whole.count());
            assert_near("mean", merged.mean(1), whole.mean(1), 1e-15);
            assert_near("variance", merged.variance(0), whole.variance(0), 1e-6);
            assert_near("covariance", merged.covariance(0, 1), whole.covariance(1, 0), 1e-6);
        }
        let first: Vec<f64> = users.iter().map(|user| user[0]).collect();
        assert_near("two passes", whole.variance(0), descriptive::variance(&first), 1e-6);
    }

    #[test]
    fn few_users_and_arms_without_variance_have_answers() {
        let nobody = Moments::<2>::default();
        assert_eq!((nobody.mean(0), nobody.variance(0)), (0.0, 0.0));
        let one = arm(1, 3.0, 0.0);
        for method in [welch, student_pooled, relative] {
            let alike = method(&one, &one);
            assert_eq!((alike.estimate, alike.p()), (0.0, 1.0));
            assert_eq!(alike.interval(0.95), Interval { low: 0.0, high: 0.0 });
            let apart = method(&one, &arm(1, 6.0, 0.0));
            assert_eq!(apart.p(), 0.0);
            assert_eq!((apart.p_more(0.0), apart.p_less(0.0)), (0.0, 1.0));
            // An arm of one adds nothing but its value.
            assert!(method(&one, &arm(10, 6.0, 2.0)).p() < 0.2);
        }
        let nothing = relative(&arm(5, 0.0, 1.0), &arm(5, 2.0, 1.0));
        assert_eq!((nothing.estimate, nothing.standard_error, nothing.p()), (0.0, 0.0, 1.0));
        assert_eq!(ArmMean::of_ratio(&nobody), arm(0, 0.0, 0.0));
        let all = relative_interval_of_logarithms(&arm(5, -1.0, 1.0), &one, 0.95);
        assert_eq!(all, Interval { low: -1.0, high: f64::INFINITY });
    }

    #[test]
    fn relative_gains_keep_their_sign_where_control_is_negative() {
        let found = relative(&arm(100, -2.0, 1.0), &arm(100, -1.0, 1.0));
        assert_near("a half more", found.estimate, 0.5, 1e-15);
    }

    #[test]
    fn a_ratio_to_ones_is_a_mean() {
        let mut stream = Seed::new(6).stream("ratio");
        let moments = Moments::of((0..50).map(|_| [draw(&mut stream), 1.0]));
        let (ratio, mean) = (ArmMean::of_ratio(&moments), ArmMean::of(&moments, 0));
        assert_near("value", ratio.value, mean.value, 1e-14);
        assert_near("variance", ratio.variance, mean.variance, 1e-14);
    }

    #[test]
    fn intervals_cover_as_often_as_they_say_and_adjusted_ones_are_shorter() {
        const RUNS: u32 = 1500;
        let mut stream = Seed::new(7).stream("coverage");
        let (mut covered, mut shorter) = ([0u32; 5], 0);
        for _ in 0..RUNS {
            let mut users = |count: u32, effect: f64| {
                Moments::of((0..count).map(|_| {
                    let (views, habit) = (2.0 + stream.random::<f64>(), draw(&mut stream));
                    let before = 10.0 + habit + 0.5 * draw(&mut stream);
                    let after = 10.0 + habit + effect + 0.5 * draw(&mut stream);
                    [after, before, views * after, views]
                }))
            };
            let (control, treated) = (users(40, 0.0), users(60, 1.0));
            let pair = |moments: &Moments<4>, one: usize, other: usize| Moments {
                count: moments.count,
                means: [moments.means[one], moments.means[other]],
                products: [
                    [moments.products[one][one], moments.products[one][other]],
                    [moments.products[other][one], moments.products[other][other]],
                ],
            };
            let (one, other) = (ArmMean::of(&control, 0), ArmMean::of(&treated, 0));
            let adjusted = cuped(&pair(&control, 0, 1), &pair(&treated, 0, 1));
            let ratios = [&control, &treated].map(|moments| ArmMean::of_ratio(&pair(moments, 2, 3)));
            let plain = welch(&one, &other).interval(0.95);
            let better = adjusted.absolute().interval(0.95);
            let holds = [
                plain.contains(1.0),
                relative(&one, &other).interval(0.95).contains(0.1),
                relative_interval_of_logarithms(&one, &other, 0.95).contains(0.1),
                better.contains(1.0),
                welch(&ratios[0], &ratios[1]).interval(0.95).contains(1.0),
            ];
            for (covered, holds) in covered.iter_mut().zip(holds) {
                *covered += u32::from(holds);
            }
            shorter += u32::from(better.high - better.low < plain.high - plain.low);
        }
        // 0.95 of 1,500, ± four deviations of 8.4.
        assert!(covered.iter().all(|covered| (1391..=1459).contains(covered)), "{covered:?}");
        assert!(RUNS - 15 < shorter, "{shorter}");
    }

    #[test]
    fn equivalence_asks_for_both_bounds() {
        let found = welch(&arm(100, 10.0, 4.0), &arm(100, 10.1, 4.0));
        let wide = found.equivalence(Interval { low: -1.0, high: 1.0 });
        assert!(wide.p < 0.01 && wide.p == wide.p_high);
        assert!(0.5 < found.equivalence(Interval { low: -1.0, high: 0.0 }).p);
        assert_near("symmetric", found.p_more(0.0) + found.p_less(0.0), 1.0, 1e-14);
        assert_near("two sides", found.p(), 2.0 * found.p_more(0.0), 1e-14);
    }

    #[test]
    fn strata_that_differ_are_no_noise() {
        // Two strata far apart, in both arms alike: only what varies within them is left.
        let strata = [[arm(50, 1.0, 1.0), arm(50, 1.5, 1.0)], [arm(50, 9.0, 1.0), arm(50, 9.5, 1.0)]];
        let found = post_stratified(&strata);
        assert_near("difference", found.absolute.estimate, 0.5, 1e-14);
        assert_near("error", found.absolute.standard_error, 0.02f64.sqrt(), 1e-14);
        assert_near("relative", found.relative.estimate, 0.1, 1e-14);
        let empty = [strata[0], [arm(0, 0.0, 0.0), arm(7, 3.0, 1.0)], strata[1]];
        assert_eq!(post_stratified(&empty), found);
        assert_eq!(post_stratified(&[]).absolute.p(), 1.0);
    }

    #[test]
    fn pairs_compare_within() {
        let found = paired(&Moments::of([[1.0], [2.0], [3.0]]));
        assert_near("t", found.t(0.0), 2.0 * 3f64.sqrt(), 1e-14);
        assert_eq!(found.degrees_of_freedom, 2.0);
        assert_eq!(paired(&Moments::default()).p(), 1.0);
        assert_near("ratio", geometric_ratio([(1.0, 2.0), (3.0, 1.5), (2.0, 8.0)]), libm::cbrt(4.0), 1e-14);
        assert_eq!(geometric_ratio([]), 1.0);
    }

    #[test]
    fn differences_of_quantiles_are_covered_also_of_rounded_values_and_steps_are_refused() {
        const RUNS: u32 = 1500;
        let mut stream = Seed::new(9).stream("quantiles");
        for (users, p) in [(300, 0.5), (800, 0.9)] {
            let (mut covered, mut rounded) = (0, 0);
            for _ in 0..RUNS {
                let mut arm = |effect: f64, step: f64| {
                    let value = |stream: &mut Stream| effect + libm::exp(0.5 * draw(stream));
                    let mut values: Vec<f64> =
                        (0..users).map(|_| (value(&mut stream) / step).round() * step).collect();
                    values.sort_by(f64::total_cmp);
                    ArmMean::of_quantile(&values, p).expect("there are enough values")
                };
                let holds = |one: ArmMean, other: ArmMean| {
                    u32::from(welch(&one, &other).interval(0.95).contains(0.2))
                };
                covered += holds(arm(0.0, 1e-9), arm(0.2, 1e-9));
                // The bounds of a quantile are some thirty of these steps apart.
                rounded += holds(arm(0.0, 0.005), arm(0.2, 0.005));
            }
            // 0.95 of 1,500, ± four deviations of 8.4; the bounds are a little wide.
            for covered in [covered, rounded] {
                assert!((1391..=1475).contains(&covered), "{users} {p}: {covered}");
            }
        }
        let steps: Vec<f64> = (0..1000).map(|user| f64::from(user / 100)).collect();
        assert_eq!(ArmMean::of_quantile(&steps, 0.5), None);
        assert_eq!(ArmMean::of_quantile(&[1.0, 2.0, 3.0], 0.5), None);
        assert_eq!(ArmMean::of_quantile(&[], 0.5), None);
    }
}
