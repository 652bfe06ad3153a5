//! The second arm of top-two sampling where drawing anew until another arm is the best would take for ever: the same law, from draws that are
//! tilted until the other arm wins about every second time.
//!
//! Let p be the density of all posteriors and T an increasing function. Of each other arm j, the first arm i is tilted down and j up:
//!
//! ```text
//! q_j(θ) = p(θ) exp(s T(θ_j) − s T(θ_i)) / M_j        M_j = E exp(s T(θ_j)) E exp(−s T(θ_i))        0 ≤ s
//! ```
//!
//! A j is drawn in proportion to M_j, θ from q_j, and both are kept with probability exp(s T(θ_i) − s T(θ_j)) if θ_j is the largest, where that
//! is at most 1. What is kept has the density Σ p(θ) [θ_j is the largest] over j, up to a factor: that of a draw whose best arm is another one.
//! How s is chosen changes only how many are kept: one in z √2π, if the first arm leads by z standard deviations.

use crate::statistics::dice::{BetaDraws, Dice};
use crate::statistics::stirling;

/// How many tilted draws are made at most; a lead of a hundred standard deviations takes 250.
const TRIES_MAX: u32 = 1_000_000;

/// With how many rewards more weights are kept: the s of before keep fewer draws.
const REWARDS_MAX: u32 = 16;

/// A posterior that can be drawn from and tilted: its density times exp(s T) is, up to a factor, one of the same family.
pub(super) trait Belief: Clone {
    /// A draw.
    fn draw(&self, dice: &mut Dice) -> f64;

    /// T(high) − T(low).
    fn apart(low: f64, high: f64) -> f64;

    /// At most that, and nearly that for near ones, without a logarithm.
    fn apart_least(low: f64, high: f64) -> f64;

    /// The s, never negative, that brings both means together, mostly.
    fn tilt(first: &Self, other: &Self) -> f64;

    /// The density times exp(s T), as a density.
    fn tilted(&self, s: f64) -> Self;

    /// A function of s whose growth from 0 is ln E exp(s T).
    fn potential(&self, s: f64) -> f64;

    /// By which factor E exp(s T) grows with one reward more, where that costs no logarithm.
    fn growth(&self, after: &Self, s: f64) -> Option<f64>;
}

/// With T(θ) = ln(θ / (1 − θ)), tilted it is Beta(a + s, b − s).
impl Belief for BetaDraws {
    #[inline]
    fn draw(&self, dice: &mut Dice) -> f64 {
        self.draw(dice)
    }

    fn apart(low: f64, high: f64) -> f64 {
        libm::log(high * (1.0 - low) / (low * (1.0 - high)))
    }

    fn apart_least(low: f64, high: f64) -> f64 {
        (high - low) / (high * (1.0 - low))
    }

    fn tilt(first: &Self, other: &Self) -> f64 {
        let (whole, of_other) = (first.a + first.b, other.a + other.b);
        let even = (first.a * of_other - other.a * whole) / (whole + of_other);
        // Where rounding would leave nothing of a shape.
        even.clamp(0.0, 0.999 * first.a.min(other.b))
    }

    fn tilted(&self, s: f64) -> Self {
        Self::new(self.a + s, self.b - s)
    }

    /// ln Γ(a + s) + ln Γ(b − s): their sum does not change.
    fn potential(&self, s: f64) -> f64 {
        stirling::log_gamma(self.a + s) + stirling::log_gamma(self.b - s)
    }

    /// As Γ(x + 1) = x Γ(x), for a success or a failure.
    #[inline]
    fn growth(&self, after: &Self, s: f64) -> Option<f64> {
        match (after.a - self.a, after.b - self.b) {
            (1.0, 0.0) => Some((self.a + s) / self.a),
            (0.0, 1.0) => Some((self.b - s) / self.b),
            _ => None,
        }
    }
}

/// A normal distribution, prepared for draws.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct NormalDraws {
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

/// With T(θ) = θ, tilted its mean is μ + s σ².
impl Belief for NormalDraws {
    #[inline]
    fn draw(&self, dice: &mut Dice) -> f64 {
        self.mean + self.deviation * dice.normal()
    }

    fn apart(low: f64, high: f64) -> f64 {
        high - low
    }

    fn apart_least(low: f64, high: f64) -> f64 {
        high - low
    }

    fn tilt(first: &Self, other: &Self) -> f64 {
        ((first.mean - other.mean) / (first.variance() + other.variance())).max(0.0)
    }

    fn tilted(&self, s: f64) -> Self {
        Self { mean: self.mean + s * self.variance(), deviation: self.deviation }
    }

    fn potential(&self, s: f64) -> f64 {
        s * (self.mean + 0.5 * s * self.variance())
    }

    #[inline]
    fn growth(&self, _after: &Self, _s: f64) -> Option<f64> {
        None
    }
}

impl NormalDraws {
    fn variance(&self) -> f64 {
        self.deviation * self.deviation
    }
}

/// Draws of second arms.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct OtherBest {
    /// The first arm for which what follows was computed.
    first: Option<usize>,
    /// The s of each arm.
    tilts: Vec<f64>,
    /// M of each arm, in parts of the largest when it was computed.
    weights: Vec<f64>,
    /// How many rewards were taken into account since.
    rewards: u32,
}

impl OtherBest {
    /// Nothing is known of so many arms.
    pub(super) fn new(count: usize) -> Self {
        Self { first: None, tilts: vec![0.0; count], weights: vec![0.0; count], rewards: 0 }
    }

    /// Adds an arm.
    pub(super) fn add(&mut self) {
        self.first = None;
        self.tilts.push(0.0);
        self.weights.push(0.0);
    }

    /// What is believed of an arm has changed. For the s of before, weights remain exact.
    #[inline]
    pub(super) fn changed<B: Belief>(&mut self, arm: usize, before: Option<&B>, after: Option<&B>) {
        let Some(first) = self.first else { return };
        if !self.grow(first, arm, before.zip(after)) {
            self.first = None;
        }
    }

    fn grow<B: Belief>(&mut self, first: usize, arm: usize, change: Option<(&B, &B)>) -> bool {
        let Some((before, after)) = change else { return false };
        self.rewards += 1;
        if REWARDS_MAX < self.rewards {
            return false;
        }
        if arm != first {
            let growth = before.growth(after, self.tilts[arm]);
            self.weights[arm] *= growth.unwrap_or(0.0);
            return growth.is_some();
        }
        self.weights.iter_mut().zip(&self.tilts).all(|(weight, s)| {
            let growth = before.growth(after, -s);
            *weight *= growth.unwrap_or(0.0);
            growth.is_some()
        })
    }

    /// The best arm of a draw, given that it is not the first one; none if there is no other.
    pub(super) fn draw<B: Belief>(
        &mut self,
        beliefs: &[Option<B>],
        first: usize,
        dice: &mut Dice,
    ) -> Option<usize> {
        let champion = beliefs[first].as_ref()?;
        if self.first != Some(first) {
            self.weigh(beliefs, first, champion)?;
        }
        for _ in 0..TRIES_MAX {
            let drawn = dice.weighted(&self.weights);
            let Some(other) = &beliefs[drawn] else { continue };
            let s = self.tilts[drawn];
            let (low, high) = (champion.tilted(-s).draw(dice), other.tilted(s).draw(dice));
            if high <= low || (0.0 < s && !kept::<B>(s, low, high, dice.uniform())) {
                continue;
            }
            let mut rest = beliefs.iter().enumerate().filter(|(arm, _)| *arm != first && *arm != drawn);
            if rest.all(|(_, belief)| belief.as_ref().is_none_or(|belief| belief.draw(dice) < high)) {
                return Some(drawn);
            }
        }
        Some(dice.weighted(&self.weights))
    }

    /// Weighs the other arms; none if there is no other.
    fn weigh<B: Belief>(&mut self, beliefs: &[Option<B>], first: usize, champion: &B) -> Option<()> {
        let (of_champion, mut largest) = (champion.potential(0.0), f64::NEG_INFINITY);
        for (arm, belief) in beliefs.iter().enumerate() {
            (self.tilts[arm], self.weights[arm]) = (0.0, f64::NEG_INFINITY);
            let Some(other) = belief.as_ref().filter(|_| arm != first) else { continue };
            let s = B::tilt(champion, other);
            let raised = || other.potential(s) - other.potential(0.0);
            let weight = if s == 0.0 { 0.0 } else { raised() + (champion.potential(-s) - of_champion) };
            (self.tilts[arm], self.weights[arm]) = (s, weight);
            largest = largest.max(weight);
        }
        if largest == f64::NEG_INFINITY {
            return None;
        }
        self.weights.iter_mut().for_each(|weight| *weight = libm::exp(*weight - largest));
        (self.first, self.rewards) = (Some(first), 0);
        Some(())
    }
}

/// Whether a uniform draw is below exp(−s (T(high) − T(low))): mostly not, which e⁻ˣ ≤ 1 / (1 + x + x²/2) often tells.
fn kept<B: Belief>(s: f64, low: f64, high: f64, uniform: f64) -> bool {
    let least = s * B::apart_least(low, high);
    uniform * (1.0 + least + 0.5 * least * least) < 1.0 && uniform < libm::exp(-s * B::apart(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::bayes::{Beta, Normal, probabilities_best};
    use crate::statistics::gamma;
    use crate::statistics::tests::assert_near;

    fn dice(name: &str) -> Dice {
        Dice::new(&mut Seed::new(3).stream(name))
    }

    /// How often each arm was drawn.
    fn counts(arms: usize, draws: u32, mut draw: impl FnMut() -> usize) -> Vec<f64> {
        let mut counts = vec![0.0; arms];
        (0..draws).for_each(|_| counts[draw()] += 1.0);
        counts
    }

    /// Pearson's chi-squared test of what is expected, of arms expected at least five times.
    fn assert_alike(what: &str, found: &[f64], expected: &[f64], variance: f64) {
        let terms = || found.iter().zip(expected).filter(|(_, expected)| 5.0 <= **expected);
        let sum: f64 =
            terms().map(|(found, expected)| (found - expected).powi(2) / (variance * expected)).sum();
        let p = gamma::chi_squared_sf(sum, terms().count() as f64 - 1.0);
        assert!(1e-3 < p, "{what}: {found:?} is not {expected:?}, p = {p}");
        let seldom = found.iter().zip(expected).filter(|(_, expected)| **expected < 5.0);
        assert!(seldom.into_iter().all(|(found, _)| *found < 25.0), "{what}: {found:?}, {expected:?}");
    }

    /// The probabilities of the arms but the first one.
    fn given_another(mut best: Vec<f64>, first: usize) -> Vec<f64> {
        best[first] = 0.0;
        let others: f64 = best.iter().sum();
        best.into_iter().map(|one| one / others).collect()
    }

    /// A name, the shapes of arms, and which of them was drawn first.
    type Case = (&'static str, &'static [(f64, f64)], usize);

    const CASES: [Case; 6] = [
        ("like arms", &[(3.0, 7.0), (4.0, 7.0), (2.0, 5.0), (1.0, 1.0)], 1),
        ("a leader", &[(90.0, 910.0), (30.0, 420.0), (40.0, 560.0), (9.0, 130.0), (1.0, 30.0)], 0),
        ("a clear leader", &[(400.0, 3600.0), (60.0, 900.0), (50.0, 700.0), (70.0, 1000.0)], 0),
        ("a winner", &[(9000.0, 91000.0), (2000.0, 24000.0), (900.0, 11000.0), (700.0, 9100.0)], 0),
        ("not the leader", &[(90.0, 910.0), (30.0, 420.0), (40.0, 560.0)], 1),
        ("shapes below one", &[(30.5, 2.5), (0.5, 0.5), (0.2, 1.5), (0.1, 0.3)], 0),
    ];

    #[test]
    fn tilted_draws_have_the_probabilities_of_quadrature() {
        for (name, shapes, first) in CASES {
            let beliefs: Vec<_> = shapes.iter().map(|(a, b)| Some(BetaDraws::new(*a, *b))).collect();
            let known: Vec<_> = shapes.iter().map(|(a, b)| Beta::new(*a, *b)).collect();
            let (mut dice, mut others) = (dice(name), OtherBest::new(shapes.len()));
            let draw = || others.draw(&beliefs, first, &mut dice).expect("another arm");
            let found = counts(shapes.len(), 40_000, draw);
            let expected = given_another(probabilities_best(&known), first);
            let expected: Vec<f64> = expected.iter().map(|share| 40_000.0 * share).collect();
            assert_alike(name, &found, &expected, 1.0);
        }
    }

    #[test]
    fn weights_kept_from_reward_to_reward_are_exact() {
        let (name, shapes, first) = CASES[1];
        let mut shapes = shapes.to_vec();
        let mut beliefs: Vec<_> = shapes.iter().map(|(a, b)| Some(BetaDraws::new(*a, *b))).collect();
        let (mut dice, mut others) = (dice("kept"), OtherBest::new(shapes.len()));
        others.draw(&beliefs, first, &mut dice);
        for (arm, success) in
            [(0, false), (1, true), (0, false), (3, true), (0, true), (1, true), (2, false), (4, true)]
        {
            shapes[arm] = if success {
                (shapes[arm].0 + 1.0, shapes[arm].1)
            } else {
                (shapes[arm].0, shapes[arm].1 + 1.0)
            };
            let after = Some(BetaDraws::new(shapes[arm].0, shapes[arm].1));
            others.changed(arm, beliefs[arm].as_ref(), after.as_ref());
            beliefs[arm] = after;
        }
        assert_eq!((others.first, others.rewards), (Some(first), 8));
        let kept = others.weights.clone();
        let draw = || others.draw(&beliefs, first, &mut dice).expect("another arm");
        let found = counts(shapes.len(), 40_000, draw);
        let known: Vec<_> = shapes.iter().map(|(a, b)| Beta::new(*a, *b)).collect();
        let expected = given_another(probabilities_best(&known), first);
        let expected: Vec<f64> = expected.iter().map(|share| 40_000.0 * share).collect();
        assert_alike(name, &found, &expected, 1.0);
        // M of the same s, up to a factor.
        let moment = |belief: &Option<BetaDraws>, s: f64| {
            belief.map_or(f64::NAN, |belief| belief.potential(s) - belief.potential(0.0))
        };
        let log = |arm: usize| {
            moment(&beliefs[first], -others.tilts[arm]) + moment(&beliefs[arm], others.tilts[arm])
        };
        for arm in 2..shapes.len() {
            assert_near("weight", kept[arm] / kept[1], libm::exp(log(arm) - log(1)), 1e-9);
        }
        others.changed(first, beliefs[first].as_ref(), None::<&BetaDraws>);
        assert_eq!(others.first, None, "the first arm was removed");
    }

    #[test]
    fn tilted_draws_of_normal_posteriors_have_the_probabilities_of_quadrature() {
        let arms = [(1.0, 0.1), (0.2, 0.3), (0.0, 0.4), (0.3, 0.25), (0.5, 0.2)];
        let beliefs = arms.map(|(mean, deviation)| Some(NormalDraws { mean, deviation }));
        let known = arms.map(|(mean, deviation)| Normal::new(mean, deviation));
        for first in [0, 4] {
            let (mut dice, mut others) = (dice("normal"), OtherBest::new(arms.len()));
            let draw = || others.draw(&beliefs, first, &mut dice).expect("another arm");
            let found = counts(arms.len(), 40_000, draw);
            let expected = given_another(probabilities_best(&known), first);
            let expected: Vec<f64> = expected.iter().map(|share| 40_000.0 * share).collect();
            assert_alike(&format!("after {first}"), &found, &expected, 1.0);
        }
    }

    #[test]
    fn tilted_draws_come_as_often_as_those_of_drawing_anew() {
        for (name, shapes, first) in CASES {
            let beliefs: Vec<_> = shapes.iter().map(|(a, b)| Some(BetaDraws::new(*a, *b))).collect();
            // Some hundred thousand draws a choice where the first one is a winner.
            if name.contains("winner") {
                continue;
            }
            let (mut dice, mut others) = (dice(name), OtherBest::new(shapes.len()));
            let draw = || others.draw(&beliefs, first, &mut dice).expect("another arm");
            let found = counts(shapes.len(), 3_000, draw);
            let anew = || loop {
                let drawn = beliefs.iter().flatten().map(|belief| belief.draw(&mut dice));
                let drawn: Vec<(f64, usize)> = drawn.zip(0..).collect();
                let best = drawn.iter().max_by(|left, right| left.0.total_cmp(&right.0));
                if let Some((_, best)) = best.filter(|(_, arm)| *arm != first) {
                    return *best;
                }
            };
            let of_old = counts(shapes.len(), 3_000, anew);
            // Of two samples of the same size, each differs from their mean by half the variance of one.
            let mean: Vec<f64> = found.iter().zip(&of_old).map(|(one, other)| 0.5 * (one + other)).collect();
            assert_alike(name, &found, &mean, 0.5);
        }
    }

    #[test]
    fn what_tilting_promises_holds() {
        let (first, other) = (BetaDraws::new(90.0, 910.0), BetaDraws::new(30.0, 420.0));
        let s = BetaDraws::tilt(&first, &other);
        let (lowered, raised) = (first.tilted(-s), other.tilted(s));
        assert_near(
            "both means",
            lowered.a / (lowered.a + lowered.b),
            raised.a / (raised.a + raised.b),
            1e-12,
        );
        assert_eq!(BetaDraws::tilt(&other, &first), 0.0);
        for (low, high) in [(0.01, 0.02), (0.3, 0.9), (0.5, 0.5)] {
            let apart = BetaDraws::apart(low, high);
            assert!(BetaDraws::apart_least(low, high) <= apart && 0.0 <= apart, "{low}, {high}");
        }
        // ln E θ / (1 − θ) = ln a / (b − 1).
        let moment = first.potential(1.0) - first.potential(0.0);
        assert_near("moment", moment, libm::log(90.0 / 909.0), 1e-10);
    }

    #[test]
    fn a_lonely_arm_has_no_other() {
        let mut dice = dice("alone");
        let alone = [None, Some(BetaDraws::new(1.0, 1.0)), None];
        assert_eq!(OtherBest::new(3).draw(&alone, 1, &mut dice), None);
        let hardly = [Some(BetaDraws::new(3.0, 1e-300)), Some(BetaDraws::new(1e-300, 1e-300))];
        assert_eq!(OtherBest::new(2).draw(&hardly, 0, &mut dice), Some(1));
    }
}
