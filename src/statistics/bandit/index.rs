//! Policies that choose the arm with the largest index: a bound that a mean hardly exceeds.

use crate::statistics::bandit::tangent::{Curve, Tangents};
use crate::statistics::bandit::{Arms, Memory, Outcome, Policy, ucb};
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
    /// [`kl_ucb::index`](crate::statistics::bandit::kl_ucb::index) with ln t.
    KlUcb,
    /// [`bayes_ucb::index`](crate::statistics::bandit::bayes_ucb::index) under a flat prior.
    BayesUcb,
}

/// Chooses each arm once, in the order of their numbers, as the index of one of which nothing is remembered is infinite, and then the one with
/// the largest index.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexPolicy {
    arms: Arms,
    index: Index,
    /// Of an index that is the root of an equation.
    tangents: Option<Tangents>,
    memory: Memory,
}

impl IndexPolicy {
    /// A policy over so many arms of which nothing is known.
    pub fn new(count: usize, index: Index, memory: Memory) -> Self {
        let curve = match index {
            Index::KlUcb => Some(Curve::Divergence),
            Index::BayesUcb => Some(Curve::Hazard),
            Index::Ucb1 | Index::UcbAlpha { .. } | Index::Moss { .. } | Index::ChapelleLi => None,
        };
        let tangents = curve.map(|curve| Tangents::new(curve, count));
        Self { arms: Arms::new(count, memory), index, tangents, memory }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }
}

impl Policy for IndexPolicy {
    fn choose(&mut self, _dice: &mut Dice) -> usize {
        if let Some(tangents) = &mut self.tangents {
            return tangents.best(&self.arms);
        }
        let t = self.arms.pulls();
        let log_t = libm::log(t.max(1.0));
        match self.index {
            Index::UcbAlpha { alpha } => {
                self.arms.best_by(|_, arm| ucb::with_width(arm, 0.5 * alpha * log_t))
            }
            Index::Moss { horizon } => {
                let (horizon, count) = (horizon.unwrap_or(t), self.arms.available() as f64);
                self.arms.best_by(|_, arm| ucb::moss(arm, horizon, count))
            }
            Index::ChapelleLi => self.arms.best_by(|_, arm| ucb::chapelle_li(arm, 0.5 * log_t)),
            Index::Ucb1 | Index::KlUcb | Index::BayesUcb => {
                self.arms.best_by(|_, arm| ucb::with_width(arm, 2.0 * log_t))
            }
        }
    }

    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
        if let Some(tangents) = &mut self.tangents {
            tangents.observe(outcome, &self.arms, self.memory);
        }
    }

    fn add_arm(&mut self) -> usize {
        if let Some(tangents) = &mut self.tangents {
            tangents.add();
        }
        self.arms.add()
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
        if let Some(tangents) = &mut self.tangents {
            tangents.remove(arm);
        }
    }
}
