//! Bandit policies: which arm the next user gets, learnt from the rewards of earlier ones.
//!
//! - [`Arms`] is what is known of each arm, in full, discounted or over a sliding window: every policy that reads it has all three forms.
//! - A [`Policy`] chooses and learns. Rewards are learnt one at a time or in batches, late or at once ([`delay`]).
//! - [`weights`] gives the probabilities with which Thompson sampling would choose, by quadrature, and a floor under them, so that a service
//!   can compute them once a batch.
//!
//! Ties fall to the arm with the lowest number. Arms are numbered as they were added, and a removed one keeps its number for ever.

pub mod bayes_ucb;
pub mod delay;
pub mod epsilon_greedy;
pub mod exp3;
pub mod index;
pub mod kl_ucb;
pub mod linear;
mod tangent;
pub mod thompson;
mod top_two;
pub mod ucb;
pub mod weights;

use std::collections::VecDeque;

use crate::statistics::dice::Dice;

/// The reward that one choice brought.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcome {
    /// The arm that was chosen.
    pub arm: usize,
    /// What it brought; within [0, 1] for all policies but the Gaussian and the linear ones.
    pub reward: f64,
}

/// A way to choose among arms.
pub trait Policy {
    /// The arm of the next user.
    ///
    /// # Panics
    /// If there is no arm, or all were removed.
    fn choose(&mut self, dice: &mut Dice) -> usize;

    /// Learns from a reward. That of an arm removed meanwhile counts as time that passed, and for nothing else.
    fn observe(&mut self, outcome: Outcome);

    /// Learns from rewards that come together, in their order.
    fn observe_batch(&mut self, outcomes: &[Outcome]) {
        outcomes.iter().for_each(|outcome| self.observe(*outcome));
    }

    /// Adds an arm of which nothing is known, and returns its number.
    fn add_arm(&mut self) -> usize;

    /// Removes an arm: it is not chosen again.
    fn remove_arm(&mut self, arm: usize);
}

/// What is remembered of the rewards of an arm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Memory {
    /// All of them alike: the world does not change.
    Full,
    /// Each reward counts γ times as much with every later one, whatever its arm: Garivier and Moulines, "On upper-confidence bound
    /// policies for switching bandit problems" (2011).
    Discounted {
        /// γ, above 0 and at most 1; rewards count for some 1 / (1 − γ) steps.
        factor: f64,
    },
    /// The latest rewards, whatever their arm (same paper).
    Window {
        /// How many of them, at least one.
        length: usize,
    },
}

/// What is known of one arm: sums that a discount may have made fractional.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Arm {
    /// How many rewards.
    pub pulls: f64,
    /// Their sum.
    pub rewards: f64,
    /// Whether it was removed.
    pub removed: bool,
}

impl Arm {
    /// An arm with so many successes among so many pulls.
    pub fn of_successes(successes: f64, pulls: f64) -> Self {
        Self { pulls, rewards: successes, removed: false }
    }

    /// The mean reward; 0 of an arm never pulled.
    #[inline]
    pub fn mean(&self) -> f64 {
        if 0.0 < self.pulls { self.rewards / self.pulls } else { 0.0 }
    }
}

/// What is known of all arms.
#[derive(Clone, PartialEq, Debug)]
pub struct Arms {
    arms: Vec<Arm>,
    memory: Memory,
    recent: VecDeque<Outcome>,
    /// The remembered pulls of all arms.
    pulls: f64,
}

/// What a discount has made smaller than this was forgotten: an arm with no more counts as never pulled.
const FORGOTTEN: f64 = 1e-12;

impl Arms {
    /// So many arms of which nothing is known.
    ///
    /// # Panics
    /// If the window is empty, or the discount not within (0, 1].
    pub fn new(count: usize, memory: Memory) -> Self {
        match memory {
            Memory::Full => {}
            Memory::Discounted { factor } => assert!(0.0 < factor && factor <= 1.0, "a discount of {factor}"),
            Memory::Window { length } => assert!(0 < length, "a window of nothing"),
        }
        Self { arms: vec![Arm::default(); count], memory, recent: VecDeque::new(), pulls: 0.0 }
    }

    /// The arms, by their numbers, removed ones included.
    #[inline]
    pub fn all(&self) -> &[Arm] {
        &self.arms
    }

    /// How many can be chosen.
    pub fn available(&self) -> usize {
        self.arms.iter().filter(|arm| !arm.removed).count()
    }

    /// The remembered pulls of all arms: t, for policies that explore less with time.
    #[inline]
    pub fn pulls(&self) -> f64 {
        self.pulls
    }

    /// The available arm with the largest score; a score that is no number never wins.
    ///
    /// # Panics
    /// If no arm is available.
    #[inline]
    pub fn best_by(&self, mut score: impl FnMut(usize, &Arm) -> f64) -> usize {
        let (mut best, mut best_score) = (usize::MAX, f64::NEG_INFINITY);
        for (index, arm) in self.arms.iter().enumerate() {
            if arm.removed {
                continue;
            }
            let score = score(index, arm);
            if best_score < score || best == usize::MAX {
                (best, best_score) = (index, score.max(f64::NEG_INFINITY));
            }
        }
        assert!(best < self.arms.len(), "there is no arm to choose");
        best
    }

    /// Takes in a reward; forgets what the memory does not keep.
    #[inline]
    pub fn observe(&mut self, outcome: Outcome) {
        match self.memory {
            Memory::Full => {}
            Memory::Discounted { factor } => self.discount(factor),
            Memory::Window { length } => self.slide(outcome, length),
        }
        let arm = &mut self.arms[outcome.arm];
        if arm.removed {
            return;
        }
        arm.pulls += 1.0;
        arm.rewards += outcome.reward;
        self.pulls += 1.0;
    }

    fn discount(&mut self, factor: f64) {
        self.pulls = 0.0;
        for arm in self.arms.iter_mut().filter(|arm| !arm.removed) {
            let pulls = arm.pulls * factor;
            *arm = if pulls < FORGOTTEN {
                Arm::default()
            } else {
                Arm { pulls, rewards: arm.rewards * factor, removed: false }
            };
            self.pulls += pulls;
        }
    }

    fn slide(&mut self, outcome: Outcome, length: usize) {
        self.recent.push_back(outcome);
        if self.recent.len() <= length {
            return;
        }
        let Some(old) = self.recent.pop_front() else { return };
        let arm = &mut self.arms[old.arm];
        if arm.removed {
            return;
        }
        arm.pulls -= 1.0;
        self.pulls -= 1.0;
        // Sums of rewards that are not whole would keep a rounding error of what they lost.
        if arm.pulls == 0.0 {
            *arm = Arm::default();
        } else {
            arm.rewards -= old.reward;
        }
    }

    /// Adds an arm and returns its number.
    pub fn add(&mut self) -> usize {
        self.arms.push(Arm::default());
        self.arms.len() - 1
    }

    /// Removes an arm, with what is known of it.
    pub fn remove(&mut self, arm: usize) {
        self.pulls -= self.arms[arm].pulls;
        self.arms[arm] = Arm { removed: true, ..Arm::default() };
    }
}

#[cfg(test)]
mod tests;
