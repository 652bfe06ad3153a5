//! Off-policy estimates: what a policy would have earned, from the log of another.
//!
//! No number comes without its weights: w = π(a|x) / p, the target policy's probability of the logged arm over the logged one. Their mean
//! estimates 1; where it lies far from it, the log holds too little of what the target policy does, and the estimate is not to be believed.
//! Nor is it where few rounds carry the weights, or few of those that brought a reward: both are counted by Kish, "Survey sampling" (1965).

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::statistics::binomial;

/// Where the mean weight must lie for an estimate to be believed.
pub const MEAN_WEIGHT: RangeInclusive<f64> = 0.8..=1.25;

/// How many effective rounds an estimate needs to be believed. A standard error from n rounds is itself known to 1 in √(2n), here to 7 %; and
/// since the effective sample size is at most (Σw / max w)², none of the rounds then has more than a tenth of all weight.
pub const EFFECTIVE_ROUNDS_MIN: f64 = 100.0;

/// How many effective rewards an estimate needs: with fewer, the distribution of a share is far from the normal one, as everywhere.
pub const EFFECTIVE_REWARDS_MIN: f64 = 10.0;

/// A log is not uniform if so rare a number of its rounds, or a rarer one, matches a replay.
pub const NOT_UNIFORM: f64 = 0.001;

/// By what part the logged probabilities of a uniform log may differ: rounding, of those that were written with six digits.
const ALIKE: f64 = 1e-5;

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
    /// (Σ w|r|)² / Σ w²r²: on so many rewards of the same size would a mean rest as much. 0 where there is no reward.
    pub effective_rewards: f64,
}

/// What a replay looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Replayed {
    /// The least and the largest logged probability.
    logged: [f64; 2],
    /// How many rounds have matched, and how many there are.
    matches: [u64; 2],
    /// How many of the matching rounds brought something, in the sense of [`Weights::effective_rewards`].
    effective_rewards: f64,
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
    replayed: Replayed,
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
    /// Few rounds carry the weights.
    #[error("the log tells as much as {effective} rounds would, fewer than {EFFECTIVE_ROUNDS_MIN}")]
    FewRounds {
        /// The effective sample size, or the rounds that a replay matches.
        effective: f64,
    },
    /// Few rounds that brought a reward carry what their weights make of it.
    #[error("the estimate rests on as much as {effective} rewards, fewer than {EFFECTIVE_REWARDS_MIN}")]
    FewRewards {
        /// The effective number of rewards.
        effective: f64,
    },
    /// A replay of a log whose arms were not chosen with the same probability.
    #[error(
        "the log is not of the uniform policy: its probabilities reach from {low} to {high}, and {matches} of {rounds} rounds match"
    )]
    NotUniform {
        /// The least logged probability.
        low: f64,
        /// The largest.
        high: f64,
        /// How many rounds match.
        matches: u64,
        /// How many there are.
        rounds: u64,
    },
}

impl Estimate {
    /// The value, if it may be believed. Estimators that weigh rounds ask for a mean weight within [`MEAN_WEIGHT`], [`EFFECTIVE_ROUNDS_MIN`]
    /// and [`EFFECTIVE_REWARDS_MIN`]; a replay asks for as many matching rounds and rewards, and for a log of the uniform policy: probabilities
    /// that are all the same, and as many matches as that makes likely. The direct method is as good as its model, which the log does not tell.
    ///
    /// # Errors
    /// [`Refusal::MeanWeight`], [`Refusal::FewRounds`], [`Refusal::FewRewards`] and [`Refusal::NotUniform`].
    pub fn believed(&self) -> Result<f64, Refusal> {
        let Weights { mean, effective_sample_size, effective_rewards, .. } = self.weights;
        let (rounds, rewards) = match self.estimator {
            Estimator::DirectMethod => return Ok(self.value),
            Estimator::Replay => {
                let Replayed { logged: [low, high], matches: [matches, rounds], effective_rewards } =
                    self.replayed;
                let likely = high < 1.0 && NOT_UNIFORM <= binomial::exact(matches, rounds, high);
                if ALIKE * high < high - low || !likely {
                    return Err(Refusal::NotUniform { low, high, matches, rounds });
                }
                (matches as f64, effective_rewards)
            }
            _ if !MEAN_WEIGHT.contains(&mean) => {
                return Err(Refusal::MeanWeight { mean, effective_sample_size });
            }
            _ => (effective_sample_size, effective_rewards),
        };
        // What is no number is no reason to believe.
        if rounds.is_nan() || rounds < EFFECTIVE_ROUNDS_MIN {
            return Err(Refusal::FewRounds { effective: rounds });
        }
        if rewards.is_nan() || rewards < EFFECTIVE_REWARDS_MIN {
            return Err(Refusal::FewRewards { effective: rewards });
        }
        Ok(self.value)
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
        Estimator::Replay => matching(rounds).map(|round| round.reward).collect(),
    };
    let (value, standard_error) = mean_and_error(&terms).ok_or(Refusal::NoRounds)?;
    let logged = rounds.iter().map(|round| round.logged);
    let replayed = Replayed {
        logged: [logged.clone().fold(1.0, f64::min), logged.fold(0.0, f64::max)],
        matches: [matching(rounds).count() as u64, rounds.len() as u64],
        effective_rewards: effective(matching(rounds).map(|round| round.reward.abs())),
    };
    Ok(Estimate { value, standard_error, rounds: terms.len(), weights, estimator, replayed })
}

/// The rounds in which a deterministic target policy chooses as the log did.
fn matching(rounds: &[Round]) -> impl Iterator<Item = &Round> {
    rounds.iter().filter(|round| round.target == 1.0)
}

/// (Σx)² / Σx²; 0 if all are.
fn effective(terms: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = terms.fold((0.0, 0.0), |(sum, squares), term| (sum + term, squares + term * term));
    if 0.0 < squares { sum * sum / squares } else { 0.0 }
}

/// The weights of a log.
///
/// # Errors
/// [`Refusal::NoRounds`] and [`Refusal::BadRound`].
pub fn weights(rounds: &[Round]) -> Result<Weights, Refusal> {
    if rounds.is_empty() {
        return Err(Refusal::NoRounds);
    }
    for (index, round) in rounds.iter().enumerate() {
        let logged = 0.0 < round.logged && round.logged <= 1.0;
        let numbers = [round.reward, round.predicted, round.predicted_target, round.weight()];
        if !logged || !(0.0..=1.0).contains(&round.target) || !numbers.iter().all(|number| number.is_finite())
        {
            return Err(Refusal::BadRound(index));
        }
    }
    let weights = rounds.iter().map(Round::weight);
    Ok(Weights {
        effective_sample_size: effective(weights.clone()),
        mean: weights.clone().sum::<f64>() / rounds.len() as f64,
        max: weights.fold(0.0, f64::max),
        effective_rewards: effective(rounds.iter().map(|round| round.weight() * round.reward.abs())),
    })
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
    fn a_log_of_which_few_rounds_carry_the_weight_is_not_believed() {
        // Of so many rounds, `rare` together carry a fifth of all weight: the mean weight is 1.
        let rounds = |rare: usize, reward: f64| -> Vec<Round> {
            let count = 10_000;
            let heavy = 0.2 * count as f64 / rare as f64;
            let light = 0.8 * count as f64 / (count - rare) as f64;
            let round = |index: usize| match index < rare {
                true => Round::without_model(0.5 / heavy, 0.5, reward),
                false => Round::without_model(0.5, 0.5 * light, reward),
            };
            (0..count).map(round).collect()
        };
        let found = |rounds: &[Round]| estimate(rounds, Estimator::Snips).expect("rounds are good");
        let few = found(&rounds(1, 1.0));
        assert!((few.weights.mean - 1.0).abs() < 1e-9, "{few:?}");
        assert_eq!(few.believed(), Err(Refusal::FewRounds { effective: few.weights.effective_sample_size }));
        assert!(few.weights.effective_sample_size < 25.1, "{few:?}");
        assert!(found(&rounds(100, 1.0)).believed().is_ok());
        // Rewards are few, though rounds are not.
        let mut rare = rounds(100, 0.0);
        assert_eq!(found(&rare).believed(), Err(Refusal::FewRewards { effective: 0.0 }));
        rare[500..509].iter_mut().for_each(|round| round.reward = 1.0);
        let effective = |rounds: &[Round]| match found(rounds).believed() {
            Err(Refusal::FewRewards { effective }) => effective,
            other => panic!("{other:?}"),
        };
        assert!((effective(&rare) - 9.0).abs() < 1e-9, "{}", effective(&rare));
        rare[509].reward = 1.0;
        assert!(found(&rare).believed().is_ok());
        // One of them weighs as much as all others together.
        rare[0].reward = 1.0;
        assert!(effective(&rare) < 2.0, "{}", effective(&rare));
        assert!(estimate(&rare, Estimator::DirectMethod).expect("rounds are good").believed().is_ok());
    }

    #[test]
    fn a_replay_is_believed_of_a_uniform_log_alone() {
        let arms = |count: usize, logged: [f64; 3], stated: [f64; 3]| {
            let mut rounds = log(count, logged, [0.0, 0.0, 1.0], 5);
            let number = |probability: f64| logged.iter().position(|one| *one == probability).expect("it is");
            for round in &mut rounds {
                round.logged = stated[number(round.logged)];
            }
            estimate(&rounds, Estimator::Replay).expect("some match").believed()
        };
        let uniform = [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0];
        assert!((arms(3_000, uniform, uniform).expect("it is uniform") - 0.4).abs() < 0.05);
        assert!(matches!(arms(100, uniform, uniform), Err(Refusal::FewRounds { .. })));
        let other = [0.3, 0.32, 0.38];
        assert!(matches!(arms(3_000, other, other), Err(Refusal::NotUniform { .. })));
        // It says that it is uniform, and shows the arm too often.
        assert!(matches!(arms(3_000, other, uniform), Err(Refusal::NotUniform { .. })));
        let one = [Round::without_model(1.0, 1.0, 1.0)];
        let found = estimate(&one, Estimator::Replay).expect("it matches");
        assert!(found.believed().is_err(), "{found:?}");
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
