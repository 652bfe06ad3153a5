//! Thompson sampling: an arm is chosen with the probability that it is the best, given what is known. Thompson, "On the likelihood that one
//! unknown probability exceeds another in view of the evidence of two samples" (1933).

use crate::statistics::bandit::top_two::{Belief, NormalDraws, OtherBest};
use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, Policy};
use crate::statistics::bayes::{Beta, Normal, probabilities_best};
use crate::statistics::dice::{BetaDraws, Dice};

/// How often a top-two policy draws anew for another arm than the best, at most, before it makes another one win by [`OtherBest`]: twice as often
/// as for the last choice if that went well, else half as often. The law of what it chooses is the same.
const REDRAWS_MAX: u32 = 16;

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
    reshaping: f64,
    memory: Memory,
    draws: Draws<BetaDraws>,
}

impl BetaThompson {
    /// A policy over so many arms of which nothing but the prior is known.
    pub fn new(count: usize, prior: BetaPrior, drawn: Drawn, memory: Memory) -> Self {
        let draws = Draws::new(count, BetaDraws::new(prior.successes, prior.failures), drawn);
        Self { arms: Arms::new(count, memory), prior, reshaping: 1.0, memory, draws }
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
        self.draws
            .spread(|known| probabilities_best(&known.map(|one| Beta::new(one.a, one.b)).collect::<Vec<_>>()))
    }

    #[inline]
    fn refresh(&mut self, index: usize) {
        let arm = &self.arms.all()[index];
        let (ones, zeros) = (arm.rewards.max(0.0), (arm.pulls - arm.rewards).max(0.0));
        let posterior = (!arm.removed).then(|| {
            BetaDraws::new(
                (self.prior.successes + ones) / self.reshaping,
                (self.prior.failures + zeros) / self.reshaping,
            )
        });
        self.draws.set(index, posterior);
    }

    fn refresh_all(&mut self) {
        (0..self.arms.all().len()).for_each(|index| self.refresh(index));
    }
}

impl Policy for BetaThompson {
    #[inline]
    fn choose(&mut self, dice: &mut Dice) -> usize {
        self.draws.choose(dice)
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
        self.draws.add();
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
    memory: Memory,
    draws: Draws<NormalDraws>,
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
        let draws = Draws::new(count, posterior(prior, reward_variance, &Arm::default()), drawn);
        Self { arms: Arms::new(count, memory), prior, reward_variance, memory, draws }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// The probability of each arm, by quadrature, for a choice of the best: 0 of a removed one.
    pub fn weights(&self) -> Vec<f64> {
        self.draws.spread(|known| {
            probabilities_best(&known.map(|one| Normal::new(one.mean, one.deviation)).collect::<Vec<_>>())
        })
    }

    #[inline]
    fn refresh(&mut self, index: usize) {
        let arm = &self.arms.all()[index];
        let posterior = (!arm.removed).then(|| posterior(self.prior, self.reward_variance, arm));
        self.draws.set(index, posterior);
    }
}

#[inline]
fn posterior(prior: NormalPrior, reward_variance: f64, arm: &Arm) -> NormalDraws {
    let variance = 1.0 / (1.0 / prior.variance + arm.pulls / reward_variance);
    let mean = variance * (prior.mean / prior.variance + arm.rewards / reward_variance);
    NormalDraws { mean, deviation: variance.sqrt() }
}

impl Policy for GaussianThompson {
    #[inline]
    fn choose(&mut self, dice: &mut Dice) -> usize {
        self.draws.choose(dice)
    }

    #[inline]
    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
        match self.memory {
            Memory::Full => self.refresh(outcome.arm),
            Memory::Discounted { .. } | Memory::Window { .. } => {
                (0..self.arms.all().len()).for_each(|index| self.refresh(index));
            }
        }
    }

    fn add_arm(&mut self) -> usize {
        self.draws.add();
        let added = self.arms.add();
        self.refresh(added);
        added
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
        self.refresh(arm);
    }
}

/// What is drawn of each arm.
#[derive(Clone, PartialEq, Debug)]
struct Draws<B> {
    drawn: Drawn,
    /// None of a removed arm.
    posteriors: Vec<Option<B>>,
    samples: Vec<f64>,
    others: OtherBest,
    redraws: u32,
}

impl<B: Belief> Draws<B> {
    fn new(count: usize, prior: B, drawn: Drawn) -> Self {
        let (samples, others) = (vec![0.0; count], OtherBest::new(count));
        Self { drawn, posteriors: vec![Some(prior); count], samples, others, redraws: REDRAWS_MAX }
    }

    /// Adds an arm that cannot be chosen yet.
    fn add(&mut self) {
        self.posteriors.push(None);
        self.samples.push(0.0);
        self.others.add();
    }

    #[inline]
    fn set(&mut self, arm: usize, posterior: Option<B>) {
        self.others.changed(arm, self.posteriors[arm].as_ref(), posterior.as_ref());
        self.posteriors[arm] = posterior;
    }

    #[inline]
    fn choose(&mut self, dice: &mut Dice) -> usize {
        let first = self.best_of_new_draws(dice).expect("an arm to choose");
        match self.drawn {
            Drawn::TopTwo { first: share } if !dice.happens(share) => self.other(first, dice),
            _ => first,
        }
    }

    /// The best arm of the first new draw whose best is not this one; this one if it is alone.
    fn other(&mut self, first: usize, dice: &mut Dice) -> usize {
        for _ in 0..self.redraws {
            match self.best_of_new_draws(dice) {
                Some(other) if other != first => {
                    self.redraws = (2 * self.redraws).min(REDRAWS_MAX);
                    return other;
                }
                _ => {}
            }
        }
        self.redraws = (self.redraws / 2).max(1);
        self.others.draw(&self.posteriors, first, dice).unwrap_or(first)
    }

    #[inline]
    fn best_of_new_draws(&mut self, dice: &mut Dice) -> Option<usize> {
        for (sample, posterior) in self.samples.iter_mut().zip(&self.posteriors) {
            *sample = posterior.as_ref().map_or(f64::NEG_INFINITY, |posterior| posterior.draw(dice));
        }
        let (mut best, mut largest) = (None, f64::NEG_INFINITY);
        for (arm, sample) in self.samples.iter().enumerate() {
            if largest < *sample {
                (best, largest) = (Some(arm), *sample);
            }
        }
        best
    }

    /// What is computed of all posteriors, at the places of their arms; 0 of the others.
    fn spread(&self, compute: impl FnOnce(&mut dyn Iterator<Item = &B>) -> Vec<f64>) -> Vec<f64> {
        let mut weights = compute(&mut self.posteriors.iter().flatten()).into_iter();
        self.posteriors.iter().map(|one| one.as_ref().and_then(|_| weights.next()).unwrap_or(0.0)).collect()
    }
}
