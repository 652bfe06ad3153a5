//! Policies that choose the arm with the largest index: a bound that a mean hardly exceeds.

use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, Policy, bayes_ucb, kl_ucb, ucb};
use crate::statistics::dice::Dice;

/// Which bound is the index of an arm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Index {
    /// [`ucb::ucb1`].
    Ucb1,
    /// [`ucb::ucb_alpha`].
    UcbAlpha {
        /// How much is explored; UCB1 has 4.
        alpha: f64,
    },
    /// [`ucb::moss`].
    Moss {
        /// How many choices will be made, where known; else as many as were.
        horizon: Option<f64>,
    },
    /// [`ucb::chapelle_li`], with δ = √(1/t).
    ChapelleLi,
    /// [`kl_ucb::index`] with ln t.
    KlUcb,
    /// [`bayes_ucb::index`] under a flat prior.
    BayesUcb,
}

/// Chooses each arm once, in the order of their numbers, as the index of one of which nothing is remembered is infinite, and then the one with
/// the largest index.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexPolicy {
    arms: Arms,
    index: Index,
}

impl IndexPolicy {
    /// A policy over so many arms of which nothing is known.
    pub fn new(count: usize, index: Index, memory: Memory) -> Self {
        Self { arms: Arms::new(count, memory), index }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }
}

impl Policy for IndexPolicy {
    fn choose(&mut self, _dice: &mut Dice) -> usize {
        let t = self.arms.pulls();
        let log_t = libm::log(t.max(1.0));
        match self.index {
            Index::Ucb1 => self.arms.best_by(|_, arm| ucb::with_width(arm, 2.0 * log_t)),
            Index::UcbAlpha { alpha } => {
                self.arms.best_by(|_, arm| ucb::with_width(arm, 0.5 * alpha * log_t))
            }
            Index::Moss { horizon } => {
                let (horizon, count) = (horizon.unwrap_or(t), self.arms.available() as f64);
                self.arms.best_by(|_, arm| ucb::moss(arm, horizon, count))
            }
            Index::ChapelleLi => self.arms.best_by(|_, arm| ucb::chapelle_li(arm, 0.5 * log_t)),
            Index::KlUcb => best_above(&self.arms, |arm, leader| kl_ucb::index_above(arm, log_t, leader)),
            Index::BayesUcb => best_above(&self.arms, |arm, leader| bayes_ucb::index_above(arm, t, leader)),
        }
    }

    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
    }

    fn add_arm(&mut self) -> usize {
        self.arms.add()
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
    }
}

/// The arm with the largest index, of which one that does not exceed the largest so far need not be told.
fn best_above(arms: &Arms, index_above: impl Fn(&Arm, f64) -> f64) -> usize {
    let mut leader = f64::NEG_INFINITY;
    arms.best_by(|_, arm| {
        let score = index_above(arm, leader);
        leader = leader.max(score);
        score
    })
}
