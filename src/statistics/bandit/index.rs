//! Policies that choose the arm with the largest index: a bound that a mean hardly exceeds.

use crate::statistics::bandit::tangent::{Curve, Tangents, two_largest};
use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, Policy, ucb};
use crate::statistics::dice::Dice;

/// Indices of MOSS that differ by less, for means about 1, are computed anew: a rounding error of 10⁻¹⁴ in a logarithm is one of 10⁻⁷ in its root.
const NEAR: f64 = 1e-6;

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

/// Of what an index m + √(max(0, L − ln n) / n) is made, where the time decides about L.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Parts {
    mean: f64,
    log: f64,
    inverse: f64,
}

impl Parts {
    fn of(arm: &Arm) -> Self {
        if arm.removed {
            return Self { mean: f64::NEG_INFINITY, log: 0.0, inverse: 0.0 };
        }
        if arm.pulls <= 0.0 {
            return Self { mean: f64::INFINITY, log: 0.0, inverse: 0.0 };
        }
        Self { mean: arm.mean(), log: libm::log(arm.pulls), inverse: 1.0 / arm.pulls }
    }

    #[inline]
    fn index(&self, shared: f64) -> f64 {
        let width = shared - self.log;
        self.mean + ((if 0.0 < width { width } else { 0.0 }) * self.inverse).sqrt()
    }
}

/// Chooses each arm once, in the order of their numbers, as the index of one of which nothing is remembered is infinite, and then the one with
/// the largest index.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexPolicy {
    arms: Arms,
    index: Index,
    /// Of an index that is the root of an equation.
    tangents: Option<Tangents>,
    /// Of MOSS, if only that of the arm observed changes.
    parts: Option<Vec<Parts>>,
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
        let kept = matches!(index, Index::Moss { .. }) && memory == Memory::Full;
        let parts = kept.then(|| vec![Parts::of(&Arm::default()); count]);
        Self { arms: Arms::new(count, memory), index, tangents, parts, memory }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// By one logarithm for all arms, ln(T / K n) = ln(T / K) − ln n, and by the indices themselves where rounding may matter.
    fn largest_moss(&self, horizon: f64) -> usize {
        let count = self.arms.available() as f64;
        let Some(parts) = &self.parts else {
            return self.arms.best_by(|_, arm| ucb::moss(arm, horizon, count));
        };
        let shared = libm::log(horizon / count);
        let (first, largest, second) = two_largest(parts.iter().map(|parts| parts.index(shared)));
        let near = largest - NEAR * (1.0 + largest.abs());
        if second < near {
            return first;
        }
        self.arms.best_by(|index, arm| match parts[index].index(shared) < near {
            true => f64::NEG_INFINITY,
            false => ucb::moss(arm, horizon, count),
        })
    }
}

impl Policy for IndexPolicy {
    fn choose(&mut self, _dice: &mut Dice) -> usize {
        if let Some(tangents) = &mut self.tangents {
            return tangents.best(&self.arms);
        }
        let t = self.arms.pulls();
        if let Index::Moss { horizon } = self.index {
            return self.largest_moss(horizon.unwrap_or(t));
        }
        let log_t = libm::log(t.max(1.0));
        match self.index {
            Index::UcbAlpha { alpha } => {
                self.arms.best_by(|_, arm| ucb::with_width(arm, 0.5 * alpha * log_t))
            }
            Index::ChapelleLi => self.arms.best_by(|_, arm| ucb::chapelle_li(arm, 0.5 * log_t)),
            Index::Ucb1 | Index::Moss { .. } | Index::KlUcb | Index::BayesUcb => {
                self.arms.best_by(|_, arm| ucb::with_width(arm, 2.0 * log_t))
            }
        }
    }

    fn observe(&mut self, outcome: Outcome) {
        self.arms.observe(outcome);
        if let Some(tangents) = &mut self.tangents {
            tangents.observe(outcome, &self.arms, self.memory);
        }
        if let Some(parts) = &mut self.parts {
            parts[outcome.arm] = Parts::of(&self.arms.all()[outcome.arm]);
        }
    }

    fn add_arm(&mut self) -> usize {
        if let Some(tangents) = &mut self.tangents {
            tangents.add();
        }
        if let Some(parts) = &mut self.parts {
            parts.push(Parts::of(&Arm::default()));
        }
        self.arms.add()
    }

    fn remove_arm(&mut self, arm: usize) {
        self.arms.remove(arm);
        if let Some(tangents) = &mut self.tangents {
            tangents.remove(arm);
        }
        if let Some(parts) = &mut self.parts {
            parts[arm] = Parts::of(&self.arms.all()[arm]);
        }
    }
}
