//! Off-policy estimates: what a policy would have earned, from the log of another.
//!
//! No number comes without its weights: w = π(a|x) / p, the target policy's probability of the logged arm over the logged one. Their mean
//! estimates 1; where it lies far from it, the log holds too little of what the target policy does, and the estimate is not to be believed.

use std::ops::RangeInclusive;

use thiserror::Error;

/// Where the mean weight must lie for an estimate to be believed.
pub const MEAN_WEIGHT: RangeInclusive<f64> = 0.8..=1.25;

/// One logged choice.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Round {
    /// p: the probability with which the arm was chosen, as it was logged.
    pub logged: f64,
    /// π(a|x): the probability with which the target policy would have chosen it.
    pub target: f64,
    /// r: what it brought.
    pub reward: f64,
    /// q(x, a): what a model predicts for the logged arm. Estimators without a model do not look at it.
    pub predicted: f64,
    /// Σ π(k|x) q(x, k): what the model predicts for the target policy.
    pub predicted_target: f64,
}

impl Round {
    /// A choice for which there is no model.
    pub fn without_model(logged: f64, target: f64, reward: f64) -> Self {
        Self { logged, target, reward, predicted: 0.0, predicted_target: 0.0 }
    }

    fn weight(&self) -> f64 {
        self.target / self.logged
    }
}

/// A way to estimate. With v for Σ π q, ē for a mean over all rounds, and the names of Saito, Aihara, Matsutani and Narita, "Open Bandit
/// Dataset and Pipeline" (2021):
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Estimator {
    /// ē(w r): Horvitz and Thompson (1952). Unbiased.
    Ips,
    /// ē(min(w, λ) r): less variance for a bias downwards, of rewards that are not negative.
    ClippedIps {
        /// λ.
        weight_max: f64,
    },
    /// ē(w r) / ē(w): Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning" (2015).
    Snips,
    /// ē(v): as good as the model.
    DirectMethod,
    /// ē(v + w (r − q)): Dudík, Langford and Li, "Doubly robust policy evaluation and learning" (2011).
    DoublyRobust,
    /// ē(v) + ē(w (r − q)) / ē(w).
    SelfNormalisedDoublyRobust,
    /// ē(v + w (r − q) [w ≤ τ]): Wang, Agarwal and Dudík, "Optimal and adaptive off-policy evaluation in contextual bandits" (2017).
    SwitchDoublyRobust {
        /// τ.
        weight_max: f64,
    },
    /// ē(v + λ w / (w² + λ) (r − q)): doubly robust with optimistic shrinkage, Su, Dimakopoulou, Krishnamurthy and Dudík (2020).
    ShrunkDoublyRobust {
        /// λ.
        lambda: f64,
    },
    /// The mean reward of the rounds in which a deterministic target policy would have chosen just so: Li, Chu, Langford and Wang, "Unbiased
    /// offline evaluation of contextual-bandit-based news article recommendation algorithms" (2011). For logs of the uniform policy.
    Replay,
}

/// What the weights of a log say of all estimates from it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weights {
    /// (Σw)² / Σw²: so many rounds of the target policy itself would tell as much. 0 if all weights are.
    pub effective_sample_size: f64,
    /// ē(w), which should be near 1.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// An estimate with all that tells whether to believe it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// What the target policy would have earned in a round.
    pub value: f64,
    /// The standard error of the value, by the linear terms of the estimator; 0 for fewer than two rounds. It knows nothing of rare rounds with
    /// large weights that the log happens not to hold.
    pub standard_error: f64,
    /// How many rounds the estimator looked at: all, or those of a replay that match.
    pub rounds: usize,
    /// The weights of the log.
    pub weights: Weights,
    /// By which estimator.
    pub estimator: Estimator,
}

/// Why there is no estimate, or none to believe.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum Refusal {
    /// There is nothing to estimate from: no round, none that a replay could use, or no weight at all.
    #[error("no round of the log tells of the target policy")]
    NoRounds,
    /// A probability is none, or the logged one is 0.
    #[error("round {0} has a probability outside (0, 1], or a reward or prediction that is not finite")]
    BadRound(usize),
    /// The weights say that the log lacks much of what the target policy does.
    #[error("the mean weight is {mean} where 1 is expected, with {effective_sample_size} effective rounds")]
    MeanWeight {
        /// The mean weight.
        mean: f64,
        /// The effective sample size.
        effective_sample_size: f64,
    },
}

impl Estimate {
    /// The value, if it may be believed: unless the estimator weighs rounds and their mean weight lies outside [`MEAN_WEIGHT`].
    ///
    /// # Errors
    /// [`Refusal::MeanWeight`].
    pub fn believed(&self) -> Result<f64, Refusal> {
        let Weights { mean, effective_sample_size, .. } = self.weights;
        match self.estimator {
            Estimator::DirectMethod | Estimator::Replay => Ok(self.value),
            _ if MEAN_WEIGHT.contains(&mean) => Ok(self.value),
            _ => Err(Refusal::MeanWeight { mean, effective_sample_size }),
        }
    }
}

/// Estimates what the target policy would have earned in a round. The value is there even if it is not to be believed: ask
/// [`Estimate::believed`].
///
/// # Errors
/// [`Refusal::NoRounds`] and [`Refusal::BadRound`].
pub fn estimate(rounds: &[Round], estimator: Estimator) -> Result<Estimate, Refusal> {
    let weights = weights(rounds)?;
    // What each round adds, and the share of the value that its weight normalises.
    let per_round = |term: &dyn Fn(&Round) -> f64| rounds.iter().map(term).collect::<Vec<f64>>();
    let terms = match estimator {
        Estimator::Ips => per_round(&|round| round.weight() * round.reward),
        Estimator::ClippedIps { weight_max } => {
            per_round(&|round| round.weight().min(weight_max) * round.reward)
        }
        Estimator::DirectMethod => per_round(&|round| round.predicted_target),
        Estimator::DoublyRobust => per_round(&|round| corrected(round, round.weight())),
        Estimator::SwitchDoublyRobust { weight_max } => per_round(&|round| {
            let weight = round.weight();
            corrected(round, if weight <= weight_max { weight } else { 0.0 })
        }),
        Estimator::ShrunkDoublyRobust { lambda } => per_round(&|round| {
            let weight = round.weight();
            // 0 for λ = 0, in the limit also where w is 0.
            let shrunk = if weight == 0.0 { 0.0 } else { lambda * weight / (weight * weight + lambda) };
            corrected(round, shrunk)
        }),
        Estimator::Snips => {
            let value = normalised(rounds, weights.mean, |round| round.reward)?;
            per_round(&|round| value + round.weight() / weights.mean * (round.reward - value))
        }
        Estimator::SelfNormalisedDoublyRobust => {
            let correction = normalised(rounds, weights.mean, |round| round.reward - round.predicted)?;
            per_round(&|round| {
                let apart = round.reward - round.predicted - correction;
                round.predicted_target + correction + round.weight() / weights.mean * apart
            })
        }
        Estimator::Replay => {
            rounds.iter().filter(|round| round.target == 1.0).map(|round| round.reward).collect()
        }
    };
    let (value, standard_error) = mean_and_error(&terms).ok_or(Refusal::NoRounds)?;
    Ok(Estimate { value, standard_error, rounds: terms.len(), weights, estimator })
}

/// The weights of a log.
///
/// # Errors
/// [`Refusal::NoRounds`] and [`Refusal::BadRound`].
pub fn weights(rounds: &[Round]) -> Result<Weights, Refusal> {
    if rounds.is_empty() {
        return Err(Refusal::NoRounds);
    }
    let (mut sum, mut squares, mut max) = (0.0, 0.0, 0.0_f64);
    for (index, round) in rounds.iter().enumerate() {
        let logged = 0.0 < round.logged && round.logged <= 1.0;
        let numbers = [round.reward, round.predicted, round.predicted_target, round.weight()];
        if !logged || !(0.0..=1.0).contains(&round.target) || !numbers.iter().all(|number| number.is_finite())
        {
            return Err(Refusal::BadRound(index));
        }
        let weight = round.weight();
        sum += weight;
        squares += weight * weight;
        max = max.max(weight);
    }
    let effective_sample_size = if 0.0 < squares { sum * sum / squares } else { 0.0 };
    Ok(Weights { effective_sample_size, mean: sum / rounds.len() as f64, max })
}

/// v + w (r − q).
fn corrected(round: &Round, weight: f64) -> f64 {
    round.predicted_target + weight * (round.reward - round.predicted)
}

/// ē(w x) / ē(w).
fn normalised(rounds: &[Round], mean_weight: f64, of: impl Fn(&Round) -> f64) -> Result<f64, Refusal> {
    if mean_weight <= 0.0 {
        return Err(Refusal::NoRounds);
    }
    let sum: f64 = rounds.iter().map(|round| round.weight() * of(round)).sum();
    Ok(sum / rounds.len() as f64 / mean_weight)
}

fn mean_and_error(terms: &[f64]) -> Option<(f64, f64)> {
    if terms.is_empty() {
        return None;
    }
    let count = terms.len() as f64;
    let mean = terms.iter().sum::<f64>() / count;
    let squares: f64 = terms.iter().map(|term| (term - mean) * (term - mean)).sum();
    let error = if terms.len() < 2 { 0.0 } else { (squares / (count - 1.0) / count).sqrt() };
    Some((mean, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;

    /// A log of three arms of shares .1, .2 and .4, chosen with these probabilities, for a target policy of others, and a model that is wrong.
    fn log(count: usize, logged: [f64; 3], target: [f64; 3], seed: u64) -> Vec<Round> {
        let mut dice = Dice::new(&mut Seed::new(seed).stream("log"));
        let (shares, model) = ([0.1, 0.2, 0.4], [0.3, 0.3, 0.3]);
        let predicted_target = target.iter().zip(model).map(|(share, predicted)| share * predicted).sum();
        let mut round = || {
            let arm = dice.weighted(&logged);
            let reward = f64::from(u8::from(dice.happens(shares[arm])));
            Round {
                logged: logged[arm],
                target: target[arm],
                reward,
                predicted: model[arm],
                predicted_target,
            }
        };
        (0..count).map(|_| round()).collect()
    }

    #[test]
    fn estimates_lie_within_their_errors_of_the_truth() {
        let truth = 0.2 * 0.1 + 0.2 * 0.2 + 0.6 * 0.4;
        for estimator in
            [Estimator::Ips, Estimator::Snips, Estimator::DoublyRobust, Estimator::SelfNormalisedDoublyRobust]
        {
            let mut squares = 0.0;
            for seed in 0..200 {
                let rounds = log(1_000, [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], seed);
                let found = estimate(&rounds, estimator).expect("rounds are good");
                assert_eq!(found.believed(), Ok(found.value));
                let z = (found.value - truth) / found.standard_error;
                squares += z * z;
            }
            // χ² of 200 degrees of freedom over 200: 1 ± .3 at three deviations.
            assert!((squares / 200.0 - 1.0).abs() < 0.3, "{estimator:?}: {squares}");
        }
    }

    #[test]
    fn a_log_that_never_shows_what_the_target_does_is_not_believed() {
        let rounds = log(1_000, [0.7, 0.29999, 0.00001], [0.1, 0.1, 0.8], 1);
        let found = estimate(&rounds, Estimator::Ips).expect("rounds are good");
        assert!(matches!(found.believed(), Err(Refusal::MeanWeight { .. })), "{found:?}");
        // The model needs no weights, and says so.
        assert!(estimate(&rounds, Estimator::DirectMethod).expect("rounds are good").believed().is_ok());
    }

    #[test]
    fn what_cannot_be_estimated_is_refused_and_never_no_number() {
        assert_eq!(estimate(&[], Estimator::Ips), Err(Refusal::NoRounds));
        let never = [Round::without_model(0.5, 0.0, 1.0)];
        assert_eq!(estimate(&never, Estimator::Snips), Err(Refusal::NoRounds));
        assert_eq!(estimate(&never, Estimator::Replay), Err(Refusal::NoRounds));
        assert_eq!(estimate(&never, Estimator::Ips).map(|found| found.value), Ok(0.0));
        for bad in
            [(0.0, 0.5, 1.0), (1.5, 0.5, 1.0), (0.5, -0.1, 1.0), (0.5, 0.5, f64::NAN), (f64::NAN, 0.5, 1.0)]
        {
            let round = Round::without_model(bad.0, bad.1, bad.2);
            assert_eq!(estimate(&[round], Estimator::Ips), Err(Refusal::BadRound(0)), "{bad:?}");
        }
    }
}
