//! Regret: what was lost against a choice of the best arm.

use crate::statistics::bandit::kl_ucb::divergence;

/// The losses of a sequence of choices, of which the true means are known.
///
/// The pseudo-regret compares means, the regret the rewards that came, which vary more and may be negative. Where means change, both have two
/// forms: the *static* one against the one arm that would have been best for the whole time, which may be negative too, and the *dynamic* one
/// against the best arm of each moment, which never is.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Regret {
    steps: u64,
    /// Σ μ_k for each arm.
    totals: Vec<f64>,
    /// Σ max_k μ_k.
    best: f64,
    /// Σ μ of the arm chosen.
    expected: f64,
    /// Σ r.
    received: f64,
}

impl Regret {
    /// Takes in a choice: the true means of all arms at its time, the arm chosen, and the reward.
    ///
    /// # Panics
    /// If there is no such arm. Arms may come with time, with a mean of 0 before: see the dynamic form then.
    pub fn record(&mut self, means: &[f64], arm: usize, reward: f64) {
        if self.totals.len() < means.len() {
            self.totals.resize(means.len(), 0.0);
        }
        self.totals.iter_mut().zip(means).for_each(|(total, mean)| *total += mean);
        self.steps += 1;
        self.best += means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.expected += means[arm];
        self.received += reward;
    }

    /// How many choices were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// max_k Σ μ_k − Σ μ of the arms chosen; 0 before the first choice.
    pub fn pseudo(&self) -> f64 {
        self.best_arm() - self.expected
    }

    /// max_k Σ μ_k − Σ r; 0 before the first choice.
    pub fn realised(&self) -> f64 {
        self.best_arm() - self.received
    }

    /// Σ (max_k μ_k − μ of the arm chosen).
    pub fn dynamic(&self) -> f64 {
        self.best - self.expected
    }

    /// Σ (max_k μ_k − r).
    pub fn dynamic_realised(&self) -> f64 {
        self.best - self.received
    }

    fn best_arm(&self) -> f64 {
        if self.steps == 0 {
            return 0.0;
        }
        self.totals.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The constant c of the least regret c ln T of any policy that is good for all shares: Lai and Robbins, "Asymptotically efficient adaptive
/// allocation rules" (1985), Σ (p* − p) / KL(p, p*) over the arms that are not best. 0 where all are alike, or the best one never fails.
pub fn lai_robbins_constant(shares: &[f64]) -> f64 {
    let best = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let worse = shares.iter().filter(|share| **share < best);
    worse.map(|share| (best - share) / divergence(*share, best)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    #[test]
    fn regrets_tell_the_static_from_the_dynamic_baseline() {
        let mut regret = Regret::default();
        assert_eq!((regret.pseudo(), regret.dynamic()), (0.0, 0.0));
        // The first arm is good for two steps, then the second for three.
        for (step, arm) in [0, 1, 1, 1, 0].into_iter().enumerate() {
            let means = if step < 2 { [0.9, 0.1] } else { [0.2, 0.8] };
            regret.record(&means, arm, 1.0);
        }
        // Chosen: .9 + .1 + .8 + .8 + .2 = 2.8; always the second: 2.6; the best of each moment: 4.2.
        assert_near("static", regret.pseudo(), -0.2, 1e-12);
        assert_near("dynamic", regret.dynamic(), 1.4, 1e-12);
        assert_near("realised", regret.realised(), 2.6 - 5.0, 1e-12);
        assert_near("dynamic, realised", regret.dynamic_realised(), -0.8, 1e-12);
        assert_eq!(regret.steps(), 5);
    }

    #[test]
    fn nothing_need_be_lost_where_all_arms_are_alike_or_the_best_never_fails() {
        assert_eq!(lai_robbins_constant(&[0.3, 0.3]), 0.0);
        assert_eq!(lai_robbins_constant(&[0.3, 1.0]), 0.0);
        assert_eq!(lai_robbins_constant(&[]), 0.0);
    }
}
