//! Bandits with a context: the reward of each arm is linear in it, up to noise.
//!
//! Each arm keeps the lower triangle L of LLᵀ = λI + Σxxᵀ (Cholesky), changed with each reward by Givens rotations in O(d²), in a fixed order
//! of operations: the same rewards give the same choices on every machine.

use crate::statistics::dice::Dice;
use crate::statistics::linear::{Cholesky, dot};

/// How contexts are explored.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Exploration {
    /// LinGreedy: an arm at random with probability ε.
    Greedy {
        /// ε.
        epsilon: f64,
    },
    /// LinUCB, x·θ + α √(xᵀA⁻¹x): Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation"
    /// (2010), with disjoint models.
    UpperBound {
        /// α.
        alpha: f64,
    },
    /// LinTS, x·θ′ with θ′ drawn from N(θ, α² A⁻¹): Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs" (2013).
    Thompson {
        /// α.
        alpha: f64,
    },
}

/// A policy whose arms each have a ridge regression of their own.
#[derive(Clone, PartialEq, Debug)]
pub struct LinearPolicy {
    exploration: Exploration,
    penalty: f64,
    dimension: usize,
    models: Vec<Option<Ridge>>,
}

impl LinearPolicy {
    /// A policy over so many arms, for contexts of so many numbers, of which one may be a constant 1, with a penalty λ on the squares of the
    /// coefficients.
    ///
    /// # Panics
    /// Unless the penalty is positive and finite.
    pub fn new(count: usize, dimension: usize, exploration: Exploration, penalty: f64) -> Self {
        let models = vec![Some(Ridge::new(dimension, penalty)); count];
        Self { exploration, penalty, dimension, models }
    }

    /// The score of each arm in a context, without chance: the expected reward, with its bonus for LinUCB. −∞ of a removed arm.
    ///
    /// # Panics
    /// If the context has another dimension.
    pub fn scores(&self, context: &[f64]) -> Vec<f64> {
        self.models.iter().map(|model| self.score(model.as_ref(), context)).collect()
    }

    fn score(&self, model: Option<&Ridge>, context: &[f64]) -> f64 {
        let Some(model) = model else { return f64::NEG_INFINITY };
        match self.exploration {
            Exploration::Greedy { .. } | Exploration::Thompson { .. } => model.predict(context),
            Exploration::UpperBound { alpha } => model.predict(context) + alpha * model.uncertainty(context),
        }
    }

    /// The arm for a context.
    ///
    /// # Panics
    /// If there is no arm, all were removed, or the context has another dimension.
    pub fn choose(&self, context: &[f64], dice: &mut Dice) -> usize {
        if let Exploration::Greedy { epsilon } = self.exploration
            && dice.happens(epsilon)
        {
            let available = self.models.iter().flatten().count();
            let drawn = dice.below(available);
            let mut arms = self.models.iter().enumerate().filter(|(_, model)| model.is_some());
            return arms.nth(drawn).expect("an arm to choose").0;
        }
        let (mut best, mut best_score) = (None, f64::NEG_INFINITY);
        for (arm, model) in self.models.iter().enumerate() {
            let Some(model) = model else { continue };
            let score = match self.exploration {
                Exploration::Thompson { alpha } => model.predict_drawn(context, alpha, dice),
                _ => self.score(Some(model), context),
            };
            if best.is_none() || best_score < score {
                (best, best_score) = (Some(arm), score);
            }
        }
        best.expect("an arm to choose")
    }

    /// Learns what an arm brought in a context. Of a removed arm it learns nothing.
    ///
    /// # Panics
    /// If the context has another dimension.
    pub fn observe(&mut self, arm: usize, context: &[f64], reward: f64) {
        if let Some(model) = &mut self.models[arm] {
            model.observe(context, reward);
        }
    }

    /// Adds an arm of which nothing is known, and returns its number.
    pub fn add_arm(&mut self) -> usize {
        self.models.push(Some(Ridge::new(self.dimension, self.penalty)));
        self.models.len() - 1
    }

    /// Removes an arm: it is not chosen again.
    pub fn remove_arm(&mut self, arm: usize) {
        self.models[arm] = None;
    }

    /// The model of an arm, unless it was removed.
    pub fn model(&self, arm: usize) -> Option<&Ridge> {
        self.models[arm].as_ref()
    }
}

/// A ridge regression that learns one observation at a time: θ = A⁻¹b with A = λI + Σxxᵀ and b = Σ r x.
#[derive(Clone, PartialEq, Debug)]
pub struct Ridge {
    factor: Cholesky,
    moments: Vec<f64>,
    coefficients: Vec<f64>,
}

impl Ridge {
    /// A regression that has seen nothing: all its coefficients are 0.
    ///
    /// # Panics
    /// Unless the penalty is positive and finite.
    pub fn new(dimension: usize, penalty: f64) -> Self {
        assert!(0.0 < penalty && penalty.is_finite(), "a penalty of {penalty}");
        let factor = Cholesky::of_identity(dimension, penalty);
        Self { factor, moments: vec![0.0; dimension], coefficients: vec![0.0; dimension] }
    }

    /// θ.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// x·θ.
    pub fn predict(&self, context: &[f64]) -> f64 {
        self.check(context);
        dot(context, &self.coefficients)
    }

    /// √(xᵀA⁻¹x), the length of L⁻¹x.
    pub fn uncertainty(&self, context: &[f64]) -> f64 {
        self.check(context);
        let mut solved = context.to_vec();
        self.factor.solve_lower(&mut solved);
        dot(&solved, &solved).sqrt()
    }

    /// x·θ′ with θ′ = θ + α L⁻ᵀz and z standard normal.
    pub fn predict_drawn(&self, context: &[f64], alpha: f64, dice: &mut Dice) -> f64 {
        self.check(context);
        let mut drawn: Vec<f64> = (0..context.len()).map(|_| dice.normal()).collect();
        self.factor.solve_upper(&mut drawn);
        dot(context, &self.coefficients) + alpha * dot(context, &drawn)
    }

    /// Takes in an observation.
    pub fn observe(&mut self, context: &[f64], reward: f64) {
        self.check(context);
        self.factor.update(context);
        for (moment, x) in self.moments.iter_mut().zip(context) {
            *moment += reward * x;
        }
        self.coefficients = self.factor.solve(&self.moments);
    }

    fn check(&self, context: &[f64]) {
        assert_eq!(context.len(), self.coefficients.len(), "a context of another dimension");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::tests::assert_near;

    /// The inverse of λI + Σxxᵀ of two contexts in two dimensions, by hand.
    #[test]
    fn a_regression_is_that_of_the_normal_equations() {
        let mut model = Ridge::new(2, 1.0);
        model.observe(&[1.0, 2.0], 3.0);
        model.observe(&[0.0, 1.0], -1.0);
        // A = [2 2; 2 6], b = [3, 5], A⁻¹ = [6 −2; −2 2] / 8.
        assert_near("θ₀", model.coefficients()[0], 1.0, 1e-12);
        assert_near("θ₁", model.coefficients()[1], 0.5, 1e-12);
        assert_near("√(xᵀA⁻¹x)", model.uncertainty(&[1.0, 1.0]), 0.5_f64.sqrt(), 1e-12);
    }

    #[test]
    fn drawn_predictions_vary_as_much_as_is_unknown() {
        let mut dice = Dice::new(&mut Seed::new(3).stream("linear"));
        let mut model = Ridge::new(3, 0.5);
        (0..20).for_each(|_| {
            let context = [dice.normal(), 2.0 * dice.normal(), 1.0];
            model.observe(&context, context[0] - context[1]);
        });
        let (context, count) = ([0.3, -1.0, 1.0], 40_000);
        let drawn: Vec<f64> = (0..count).map(|_| model.predict_drawn(&context, 2.0, &mut dice)).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(count);
        let squares: f64 = drawn.iter().map(|one| (one - mean) * (one - mean)).sum();
        let expected = 2.0 * model.uncertainty(&context);
        assert_near("deviation", (squares / f64::from(count)).sqrt(), expected, 0.02);
        assert!((mean - model.predict(&context)).abs() < 4.0 * expected / f64::from(count).sqrt());
    }

    #[test]
    fn all_explorations_find_the_arm_that_fits_the_context() {
        let mut dice = Dice::new(&mut Seed::new(4).stream("linear"));
        for exploration in [
            Exploration::Greedy { epsilon: 0.1 },
            Exploration::UpperBound { alpha: 0.5 },
            Exploration::Thompson { alpha: 0.5 },
        ] {
            let mut policy = LinearPolicy::new(2, 2, exploration, 1.0);
            policy.remove_arm(0);
            assert_eq!(policy.add_arm(), 2);
            let mut right = 0;
            for step in 0..2_000 {
                let context = [1.0, dice.normal()];
                let arm = policy.choose(&context, &mut dice);
                let mean = if arm == 1 { context[1] } else { -context[1] };
                policy.observe(arm, &context, mean + dice.normal());
                right += u32::from(1_000 <= step && (arm == 1) == (0.0 < context[1]));
            }
            assert!(900 < right, "{exploration:?}: {right}");
            assert_eq!((policy.model(0), policy.scores(&[1.0, 0.0])[0]), (None, f64::NEG_INFINITY));
        }
    }
}
