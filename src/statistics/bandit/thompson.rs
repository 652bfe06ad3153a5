//! Thompson sampling: an arm is chosen with the probability that it is the best, given what is known. Thompson, "On the likelihood that one
//! unknown probability exceeds another in view of the evidence of two samples" (1933).

use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, Policy};
use crate::statistics::bayes::{Beta, Normal, probabilities_best};
use crate::statistics::dice::{BetaDraws, Dice};

/// How often a top-two policy draws anew for another arm than the best, before it takes the second of the last draw.
const REDRAWS_MAX: u32 = 100;

/// What is drawn from the posteriors.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Drawn {
    /// The best arm of one draw.
    Best,
    /// That one with probability β, else the first other arm that is the best of a new draw: Russo, "Simple Bayesian algorithms for best arm
    /// identification" (2016). It looks for the best arm rather than for reward.
    TopTwo {
        /// β, mostly ½.
        first: f64,
    },
}

/// What is believed of an arm's share before anything is known, as successes and failures.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BetaPrior {
    /// α.
    pub successes: f64,
    /// β.
    pub failures: f64,
}

impl BetaPrior {
    /// All shares are equally likely.
    pub const FLAT: Self = Self { successes: 1.0, failures: 1.0 };
}

/// Thompson sampling for rewards within [0, 1], each of which counts as so much of a success and the rest of a failure.
#[derive(Clone, PartialEq, Debug)]
pub struct BetaThompson {
    arms: Arms,
    prior: BetaPrior,
    drawn: Drawn,
    reshaping: f64,
    memory: Memory,
    posteriors: Vec<Option<BetaDraws>>,
    samples: Vec<f64>,
}

impl BetaThompson {
    /// A policy over so many arms of which nothing but the prior is known.
    pub fn new(count: usize, prior: BetaPrior, drawn: Drawn, memory: Memory) -> Self {
        let arms = Arms::new(count, memory);
        let posteriors = vec![Some(BetaDraws::new(prior.successes, prior.failures)); count];
        Self { arms, prior, drawn, reshaping: 1.0, memory, posteriors, samples: vec![0.0; count] }
    }

    /// The same with posteriors Beta(a/α, b/α): Chapelle and Li, "An empirical evaluation of Thompson sampling" (2011), 3. Below 1 it explores
    /// less, for a lower mean regret of a far higher variance.
    ///
    /// # Panics
    /// Unless α is positive and finite.
    pub fn reshaped(mut self, alpha: f64) -> Self {
        self.reshaping = alpha;
        self.refresh_all();
        self
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// The probability of each arm, by quadrature, for a choice of the best: 0 of a removed one.
    pub fn weights(&self) -> Vec<f64> {
        let known = self.posteriors.iter().flatten().map(|draws| Beta::new(draws.a, draws.b));
        let mut weights = probabilities_best(&known.collect::<Vec<_>>()).into_iter();
        self.posteriors.iter().map(|one| one.and_then(|_| weights.next()).unwrap_or(0.0)).collect()
    }

    #[inline]
    fn refresh(&mut self, index: usize) {
        let arm = &self.arms.all()[index];
        let (ones, zeros) = (arm.rewards.max(0.0), (arm.pulls - arm.rewards).max(0.0));
        self.posteriors[index] = (!arm.removed).then(|| {
            BetaDraws::new(
                (self.prior.successes + ones) / self.reshaping,
                (self.prior.failures + zeros) / self.reshaping,
            )
        });
    }

    fn refresh_all(&mut self) {
        (0..self.posteriors.len()).for_each(|index| self.refresh(index));
    }
}

impl Policy for BetaThompson {
    #[inline]
    fn choose(&mut self, dice: &mut Dice) -> usize {
        let Self { posteriors, samples, .. } = self;
        choose(samples, self.drawn, dice, |index, dice| match &posteriors[index] {
            Some(posterior) => posterior.draw(dice),
            None => f64::NEG_INFINITY,
        })
    }

    #[inline]
    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
        match self.memory {
            Memory::Full => self.refresh(outcome.arm),
            Memory::Discounted { .. } | Memory::Window { .. } => self.refresh_all(),
        }
    }

    fn add_arm(&mut self) -> usize {
        self.posteriors.push(None);
        self.samples.push(0.0);
        let added = self.arms.add();
        self.refresh(added);
        added
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
        self.refresh(arm);
    }
}

/// What is believed of an arm's mean before anything is known.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormalPrior {
    /// The mean.
    pub mean: f64,
    /// The variance.
    pub variance: f64,
}

/// Thompson sampling for rewards of any size, with normal posteriors of the means for a known variance of the rewards:
///
/// ```text
/// precision = 1/v₀ + n/σ²    mean = (m₀/v₀ + Σr/σ²) / precision
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct GaussianThompson {
    arms: Arms,
    prior: NormalPrior,
    reward_variance: f64,
    drawn: Drawn,
    samples: Vec<f64>,
}

impl GaussianThompson {
    /// A policy over so many arms of which nothing but the prior is known.
    ///
    /// # Panics
    /// Unless both variances are positive and finite.
    pub fn new(count: usize, prior: NormalPrior, reward_variance: f64, drawn: Drawn, memory: Memory) -> Self {
        for variance in [prior.variance, reward_variance] {
            assert!(0.0 < variance && variance.is_finite(), "a variance of {variance}");
        }
        Self { arms: Arms::new(count, memory), prior, reward_variance, drawn, samples: vec![0.0; count] }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// The probability of each arm, by quadrature, for a choice of the best: 0 of a removed one.
    pub fn weights(&self) -> Vec<f64> {
        let available = || self.arms.all().iter().filter(|arm| !arm.removed);
        let known = available().map(|arm| {
            let (mean, deviation) = posterior(self.prior, self.reward_variance, arm);
            Normal::new(mean, deviation)
        });
        let mut weights = probabilities_best(&known.collect::<Vec<_>>()).into_iter();
        let mut weight = |arm: &Arm| if arm.removed { None } else { weights.next() };
        self.arms.all().iter().map(|arm| weight(arm).unwrap_or(0.0)).collect()
    }
}

/// The mean and the standard deviation.
#[inline]
fn posterior(prior: NormalPrior, reward_variance: f64, arm: &Arm) -> (f64, f64) {
    let variance = 1.0 / (1.0 / prior.variance + arm.pulls / reward_variance);
    let mean = variance * (prior.mean / prior.variance + arm.rewards / reward_variance);
    (mean, variance.sqrt())
}

impl Policy for GaussianThompson {
    fn choose(&mut self, dice: &mut Dice) -> usize {
        let Self { arms, prior, reward_variance, samples, .. } = self;
        choose(samples, self.drawn, dice, |index, dice| {
            let arm = &arms.all()[index];
            if arm.removed {
                return f64::NEG_INFINITY;
            }
            let (mean, deviation) = posterior(*prior, *reward_variance, arm);
            mean + deviation * dice.normal()
        })
    }

    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
    }

    fn add_arm(&mut self) -> usize {
        self.samples.push(0.0);
        self.arms.add()
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
    }
}

/// Chooses by draws, which are −∞ of arms that cannot be chosen.
#[inline]
fn choose(
    samples: &mut [f64],
    drawn: Drawn,
    dice: &mut Dice,
    draw: impl Fn(usize, &mut Dice) -> f64,
) -> usize {
    let first = best_of_new_draws(samples, dice, &draw).expect("an arm to choose");
    let Drawn::TopTwo { first: share } = drawn else { return first };
    if dice.happens(share) {
        return first;
    }
    for _ in 0..REDRAWS_MAX {
        match best_of_new_draws(samples, dice, &draw) {
            Some(other) if other != first => return other,
            _ => {}
        }
    }
    samples[first] = f64::NEG_INFINITY;
    best(samples).unwrap_or(first)
}

#[inline]
fn best_of_new_draws(
    samples: &mut [f64],
    dice: &mut Dice,
    draw: impl Fn(usize, &mut Dice) -> f64,
) -> Option<usize> {
    for (index, sample) in samples.iter_mut().enumerate() {
        *sample = draw(index, dice);
    }
    best(samples)
}

#[inline]
fn best(samples: &[f64]) -> Option<usize> {
    let (mut best, mut largest) = (None, f64::NEG_INFINITY);
    for (index, sample) in samples.iter().enumerate() {
        if largest < *sample {
            (best, largest) = (Some(index), *sample);
        }
    }
    best
}
