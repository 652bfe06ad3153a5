//! The best arm so far, and at times any.

use crate::statistics::bandit::{Arm, Arms, Memory, Outcome, Policy};
use crate::statistics::dice::Dice;

/// With probability ε an arm at random, the best included; else that with the largest mean, 0 for those never pulled: Sutton and Barto,
/// "Reinforcement learning" (2018), 2.2.
#[derive(Clone, PartialEq, Debug)]
pub struct EpsilonGreedy {
    arms: Arms,
    epsilon: f64,
}

impl EpsilonGreedy {
    /// A policy over so many arms of which nothing is known.
    ///
    /// # Panics
    /// Unless ε lies within [0, 1].
    pub fn new(count: usize, epsilon: f64, memory: Memory) -> Self {
        assert!((0.0..=1.0).contains(&epsilon), "a probability of {epsilon}");
        Self { arms: Arms::new(count, memory), epsilon }
    }

    /// What it knows.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// The probability of each arm: (1 − ε) [it is the best] + ε / K.
    pub fn weights(&self) -> Vec<f64> {
        let (each, best) = (self.epsilon / self.arms.available() as f64, self.best());
        let weight = |(index, arm): (usize, &Arm)| {
            let greedy = if index == best { 1.0 - self.epsilon } else { 0.0 };
            if arm.removed { 0.0 } else { greedy + each }
        };
        self.arms.all().iter().enumerate().map(weight).collect()
    }

    fn best(&self) -> usize {
        self.arms.best_by(|_, arm| arm.mean())
    }
}

impl Policy for EpsilonGreedy {
    fn choose(&mut self, dice: &mut Dice) -> usize {
        if !dice.happens(self.epsilon) {
            return self.best();
        }
        let drawn = dice.below(self.arms.available());
        let mut available = self.arms.all().iter().enumerate().filter(|(_, arm)| !arm.removed);
        available.nth(drawn).expect("an arm to choose").0
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
