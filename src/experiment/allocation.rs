//! Which arm the next visit gets: fixed shares, or a policy that learns.

use crate::experiment::strategy::{Allocate, Remember, Strategy};
use crate::statistics::bandit::epsilon_greedy::EpsilonGreedy;
use crate::statistics::bandit::exp3::Exp3;
use crate::statistics::bandit::index::{Index, IndexPolicy};
use crate::statistics::bandit::linear::{Exploration, LinearPolicy};
use crate::statistics::bandit::thompson::{BetaPrior, BetaThompson, Drawn, GaussianThompson, NormalPrior};
use crate::statistics::bandit::{Memory, Outcome, Policy};
use crate::statistics::dice::Dice;

/// λ, by which the squares of the coefficients of a linear model are penalised: as if each had been seen once, at 0.
const PENALTY: f64 = 1.0;

/// How the traffic of one stream is split.
pub struct Allocator {
    policy: Split,
    arms: usize,
    /// Which share of choices is at random, so that no arm has less than the floor.
    random: f64,
    dice: Dice,
}

enum Split {
    /// The cumulated shares of the arms.
    Shares(Vec<f64>),
    Beta(BetaThompson),
    Index(IndexPolicy),
    Other(Box<dyn Policy>),
    Exp3(Exp3),
    /// With the context of each segment: a constant 1, and a 1 at its own place.
    Linear(LinearPolicy, Vec<Vec<f64>>),
}

/// Who it is that comes, as far as anyone but the user knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Visitor {
    /// The number of the user.
    pub user: u64,
    /// The number of its segment.
    pub segment: usize,
}

/// What a policy learns of a visit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lesson {
    /// What it brought.
    pub outcome: Outcome,
    /// The segment of the user.
    pub segment: usize,
    /// With which probability its arm was chosen.
    pub probability: f64,
}

impl Allocator {
    /// The allocation of a valid strategy among so many arms, for users of so many segments.
    pub fn new(strategy: &Strategy, arms: usize, segments: usize, dice: Dice) -> Self {
        let memory = match strategy.memory {
            Remember::All => Memory::Full,
            Remember::Discount(factor) => Memory::Discounted { factor },
            Remember::Window(length) => Memory::Window { length },
        };
        let index = |index| Split::Index(IndexPolicy::new(arms, index, memory));
        let beta = |drawn| Split::Beta(BetaThompson::new(arms, BetaPrior::FLAT, drawn, memory));
        let context = |segment: usize| {
            let mut context = vec![0.0; segments + 1];
            (context[0], context[segment + 1]) = (1.0, 1.0);
            context
        };
        let linear = |exploration| {
            let policy = LinearPolicy::new(arms, segments + 1, exploration, PENALTY);
            Split::Linear(policy, (0..segments).map(context).collect())
        };
        let policy = match &strategy.allocate {
            Allocate::Equal => Split::Shares((1..=arms).map(|arm| arm as f64 / arms as f64).collect()),
            Allocate::Shares(shares) => Split::Shares(cumulated(shares.iter().map(|share| share.get()))),
            Allocate::EpsilonGreedy { epsilon } => {
                Split::Other(Box::new(EpsilonGreedy::new(arms, epsilon.get(), memory)))
            }
            Allocate::Ucb1 => index(Index::Ucb1),
            Allocate::KlUcb => index(Index::KlUcb),
            Allocate::BayesUcb => index(Index::BayesUcb),
            Allocate::Moss => index(Index::Moss { horizon: None }),
            Allocate::ChapelleLi => index(Index::ChapelleLi),
            Allocate::Thompson => beta(Drawn::Best),
            Allocate::TopTwo { first } => beta(Drawn::TopTwo { first: first.get() }),
            Allocate::GaussianThompson { mean, deviation } => {
                let prior = NormalPrior { mean: mean.get(), variance: deviation.get() * deviation.get() };
                let variance = mean.get() * (1.0 - mean.get());
                Split::Other(Box::new(GaussianThompson::new(arms, prior, variance, Drawn::Best, memory)))
            }
            Allocate::LinUcb { alpha } => linear(Exploration::UpperBound { alpha: *alpha }),
            Allocate::LinTs { v } => linear(Exploration::Thompson { alpha: *v }),
            Allocate::Exp3 { gamma } => Split::Exp3(Exp3::new(arms, gamma.get())),
        };
        Self { policy, arms, random: strategy.floor.get() * arms as f64, dice }
    }

    /// The arm of a visit of a user of this segment, and with which probability it was chosen, where the policy will ask for that. Fixed
    /// shares go by `assignment`, a uniform number that is the visitor's own.
    #[inline]
    pub fn choose(&mut self, segment: usize, assignment: impl FnOnce() -> f64) -> (usize, f64) {
        if 0.0 < self.random && self.dice.happens(self.random) {
            let arm = self.dice.below(self.arms);
            return (arm, self.probability(arm));
        }
        let arm = match &mut self.policy {
            Split::Shares(cumulated) => {
                let place = assignment();
                cumulated.iter().position(|upto| place < *upto).unwrap_or(self.arms - 1)
            }
            Split::Beta(policy) => policy.choose(&mut self.dice),
            Split::Index(policy) => policy.choose(&mut self.dice),
            Split::Other(policy) => policy.choose(&mut self.dice),
            Split::Exp3(policy) => policy.choose(&mut self.dice),
            Split::Linear(policy, contexts) => policy.choose(&contexts[segment], &mut self.dice),
        };
        (arm, self.probability(arm))
    }

    #[inline]
    fn probability(&self, arm: usize) -> f64 {
        match &self.policy {
            Split::Exp3(policy) => {
                self.random / self.arms as f64 + (1.0 - self.random) * policy.weights()[arm]
            }
            _ => 1.0,
        }
    }

    /// Learns what came of a visit.
    #[inline]
    pub fn observe(&mut self, lesson: &Lesson) {
        let Lesson { outcome, segment, probability } = *lesson;
        match &mut self.policy {
            Split::Shares(_) => {}
            Split::Beta(policy) => policy.observe(outcome),
            Split::Index(policy) => policy.observe(outcome),
            Split::Other(policy) => policy.observe(outcome),
            Split::Exp3(policy) => policy.observe_weighted(outcome, probability),
            Split::Linear(policy, contexts) => {
                policy.observe(outcome.arm, &contexts[segment], outcome.reward)
            }
        }
    }
}

fn cumulated(shares: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |share: f64| {
        sum += share;
        sum
    };
    shares.map(add).collect()
}
