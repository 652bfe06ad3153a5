//! EXP3: no assumption on the rewards but that they lie within [0, 1].

use crate::statistics::bandit::{Outcome, Policy};
use crate::statistics::dice::Dice;

/// Exponential weights of importance-weighted rewards: Auer, Cesa-Bianchi, Freund and Schapire, "The nonstochastic multiarmed bandit problem"
/// (2002), 3:
///
/// ```text
/// p_k = (1 − γ) w_k / Σw + γ / K        w_k ← w_k exp(γ r / (K p_k)) of the arm chosen
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Exp3 {
    gamma: f64,
    /// ln w, the largest of them 0; none of a removed arm.
    logs: Vec<Option<f64>>,
    probabilities: Vec<f64>,
}

impl Exp3 {
    /// A policy over so many arms, of which a share γ of choices is at random.
    ///
    /// # Panics
    /// Unless γ lies within (0, 1].
    pub fn new(count: usize, gamma: f64) -> Self {
        assert!(0.0 < gamma && gamma <= 1.0, "a share of {gamma}");
        let mut policy = Self { gamma, logs: vec![Some(0.0); count], probabilities: vec![0.0; count] };
        policy.refresh();
        policy
    }

    /// The γ that bounds the expected regret of `horizon` choices by 2.63 √(T K ln K) (same paper, corollary 3.2).
    pub fn gamma_for(count: usize, horizon: f64) -> f64 {
        let count = count as f64;
        (count * libm::log(count) / ((std::f64::consts::E - 1.0) * horizon)).sqrt().min(1.0)
    }

    /// The probability of each arm: 0 of a removed one.
    pub fn weights(&self) -> &[f64] {
        &self.probabilities
    }

    /// Learns from a reward whose arm was chosen with this probability, which may have changed since. Of a removed arm it learns nothing.
    ///
    /// # Panics
    /// Unless the probability is positive.
    pub fn observe_weighted(&mut self, outcome: Outcome, probability: f64) {
        assert!(0.0 < probability, "a choice of probability {probability}");
        let count = self.available();
        let Some(log) = &mut self.logs[outcome.arm] else { return };
        *log += self.gamma * outcome.reward / (count * probability);
        self.refresh();
    }

    fn available(&self) -> f64 {
        self.logs.iter().flatten().count() as f64
    }

    fn refresh(&mut self) {
        let largest = self.logs.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for (log, probability) in self.logs.iter_mut().zip(&mut self.probabilities) {
            *probability = match log {
                Some(log) => {
                    *log -= largest;
                    libm::exp(*log)
                }
                None => 0.0,
            };
            sum += *probability;
        }
        let (gamma, each) = (self.gamma, self.gamma / self.available());
        for (log, probability) in self.logs.iter().zip(&mut self.probabilities) {
            *probability = if log.is_some() { (1.0 - gamma) * *probability / sum + each } else { 0.0 };
        }
    }
}

impl Policy for Exp3 {
    fn choose(&mut self, dice: &mut Dice) -> usize {
        assert!(0.0 < self.available(), "an arm to choose");
        dice.weighted(&self.probabilities)
    }

    /// Takes the arm's probability for that of the time of choice; see [`Exp3::observe_weighted`] for rewards that come late.
    fn observe(&mut self, outcome: Outcome) {
        if self.logs[outcome.arm].is_some() {
            self.observe_weighted(outcome, self.probabilities[outcome.arm]);
        }
    }

    /// The new arm starts as good as the best.
    fn add_arm(&mut self) -> usize {
        self.logs.push(Some(0.0));
        self.probabilities.push(0.0);
        self.refresh();
        self.logs.len() - 1
    }

    fn remove_arm(&mut self, arm: usize) {
        self.logs[arm] = None;
        self.refresh();
    }
}
