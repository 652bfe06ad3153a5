//! Tests of policies on simulated users.

use super::delay::{Delay, Feedback};
use super::epsilon_greedy::EpsilonGreedy;
use super::exp3::Exp3;
use super::index::{Index, IndexPolicy};
use super::thompson::{BetaPrior, BetaThompson, Drawn, GaussianThompson, NormalPrior};
use super::*;
use crate::base::Seed;
use crate::statistics::regret::Regret;
use crate::statistics::tests::assert_near;

fn dice(seed: u64) -> Dice {
    Dice::new(&mut Seed::new(seed).stream("bandit"))
}

/// The pseudo-regret of a policy on arms that bring 1 with these probabilities.
fn regret(policy: &mut impl Policy, shares: &[f64], steps: usize, delay: Delay, dice: &mut Dice) -> f64 {
    let (mut regret, mut feedback) = (Regret::default(), Feedback::new(delay));
    for _ in 0..steps {
        let arm = policy.choose(dice);
        let reward = f64::from(u8::from(dice.happens(shares[arm])));
        regret.record(shares, arm, reward);
        feedback.send(Outcome { arm, reward }, policy);
    }
    regret.pseudo()
}

/// The mean of some runs and its standard error.
fn mean(runs: usize, mut run: impl FnMut() -> f64) -> (f64, f64) {
    let values: Vec<f64> = (0..runs).map(|_| run()).collect();
    let mean = values.iter().sum::<f64>() / runs as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, (squares / (runs - 1) as f64 / runs as f64).sqrt())
}

fn assert_within(what: &str, found: (f64, f64), expected: f64, error: f64) {
    let width = 3.5 * (found.1 * found.1 + error * error).sqrt();
    assert!((found.0 - expected).abs() < width, "{what}: {found:?} is not {expected} ± {error}");
}

/// Makes a policy of which nothing was asked yet.
type New<'a> = &'a dyn Fn() -> Box<dyn Policy>;

const NO_DELAY: Delay = Delay::Lag(0);

#[test]
fn regrets_in_the_low_reward_scenario_of_garivier_and_cappe() {
    // The figures are those of 1,000 runs of another program, with their standard errors.
    let shares = [0.1, 0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01];
    let mut dice = dice(1);
    let mut of = |index| {
        let mut run = || {
            let mut policy = IndexPolicy::new(10, index, Memory::Full);
            regret(&mut policy, &shares, 10_000, NO_DELAY, &mut dice)
        };
        mean(20, &mut run)
    };
    assert_within("UCB1", of(Index::Ucb1), 500.9, 0.5);
    assert_within("KL-UCB", of(Index::KlUcb), 112.2, 0.5);
    let thompson = mean(40, || {
        let mut policy = BetaThompson::new(10, BetaPrior::FLAT, Drawn::Best, Memory::Full);
        regret(&mut policy, &shares, 10_000, NO_DELAY, &mut dice)
    });
    assert_within("Thompson", thompson, 80.0, 0.5);
    // Ties fall to the first arm: the best one stands at each place in turn.
    let mut order = shares;
    let greedy = mean(100, || {
        order.rotate_right(1);
        let mut policy = EpsilonGreedy::new(10, 0.1, Memory::Full);
        regret(&mut policy, &order, 10_000, NO_DELAY, &mut dice)
    });
    assert_within("ε-greedy", greedy, 138.8, 3.4);
}

#[test]
fn the_ten_armed_testbed_of_sutton_and_barto() {
    // Steps 900 to 1000: the share of best choices and the mean reward over 10,000 runs.
    let mut dice = dice(2);
    let mut testbed = |policy: New<'_>| {
        let (mut best, mut rewards) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            let means: Vec<f64> = (0..10).map(|_| dice.normal()).collect();
            let top = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut policy, mut hits, mut sum) = (policy(), 0.0, 0.0);
            for step in 0..1_000 {
                let arm = policy.choose(&mut dice);
                let reward = means[arm] + dice.normal();
                policy.observe(Outcome { arm, reward });
                if 900 <= step {
                    hits += f64::from(u8::from(means[arm] == top)) / 100.0;
                    sum += reward / 100.0;
                }
            }
            best.push(hits);
            rewards.push(sum);
        }
        let mean_of = |values: Vec<f64>| {
            let mut values = values.into_iter();
            mean(values.len(), || values.next().unwrap_or(f64::NAN))
        };
        (mean_of(best), mean_of(rewards))
    };
    let cases: [(&str, New<'_>, f64, f64); 4] = [
        ("greedy", &|| Box::new(EpsilonGreedy::new(10, 0.0, Memory::Full)), 0.352, 1.033),
        ("ε = .01", &|| Box::new(EpsilonGreedy::new(10, 0.01, Memory::Full)), 0.601, 1.313),
        ("ε = .1", &|| Box::new(EpsilonGreedy::new(10, 0.1, Memory::Full)), 0.8, 1.364),
        // A bonus c √(ln t / n) with c = 2.
        (
            "UCB",
            &|| Box::new(IndexPolicy::new(10, Index::UcbAlpha { alpha: 8.0 }, Memory::Full)),
            0.855,
            1.497,
        ),
    ];
    for (name, policy, share, reward) in cases {
        let found = testbed(policy);
        assert_within(&format!("{name}, best choices"), found.0, share, 0.4 * found.0.1);
        assert_within(&format!("{name}, reward"), found.1, reward, 0.4 * found.1.1);
    }
}

/// The setting of Chapelle and Li (2011), table 1: ten items whose shares are Beta(4, 4), one of which retires with probability 1/1000 a step.
/// The dynamic regret in `steps`.
fn retiring(policy: &mut impl Policy, steps: usize, delay: Delay, dice: &mut Dice) -> f64 {
    let shares_of = crate::statistics::dice::BetaDraws::new(4.0, 4.0);
    let mut shares: Vec<(usize, f64)> = (0..10).map(|arm| (arm, shares_of.draw(dice))).collect();
    let (mut feedback, mut regret) = (Feedback::new(delay), 0.0);
    for _ in 0..steps {
        let arm = policy.choose(dice);
        let top = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let (_, share) = *shares.iter().find(|(item, _)| *item == arm).expect("it is not retired");
        regret += top - share;
        let reward = f64::from(u8::from(dice.happens(share)));
        feedback.send(Outcome { arm, reward }, policy);
        if dice.happens(0.001) {
            let item = &mut shares[dice.below(10)];
            policy.remove_arm(item.0);
            *item = (policy.add_arm(), shares_of.draw(dice));
        }
    }
    regret
}

#[test]
fn a_lag_costs_more_than_a_batch_of_the_same_length() {
    // Of a million steps (batch) 9,477 without delay and 34,644 at a thousand; lag 59,530 there.
    let mut dice = dice(3);
    let mut of = |delay| {
        mean(10, || {
            let mut policy = BetaThompson::new(10, BetaPrior::FLAT, Drawn::Best, Memory::Full);
            retiring(&mut policy, 25_000, delay, &mut dice) * 40.0
        })
    };
    let none = of(Delay::Batch(1));
    let (batch, lag) = (of(Delay::Batch(1_000)), of(Delay::Lag(1_000)));
    assert!(2.5 * none.0 < batch.0, "{none:?}, {batch:?}");
    assert!(1.3 * batch.0 < lag.0, "{batch:?}, {lag:?}");
    assert_within("no delay", none, 9_477.0, 0.1 * 9_477.0 / 3.5);
}

#[test]
fn a_lag_and_a_batch_bring_the_same_rewards_at_other_times() {
    /// Remembers when it learnt of each.
    struct Learner(Vec<usize>);
    impl Policy for Learner {
        fn choose(&mut self, _: &mut Dice) -> usize {
            0
        }
        fn observe(&mut self, outcome: Outcome) {
            self.0.push(outcome.arm);
        }
        fn add_arm(&mut self) -> usize {
            0
        }
        fn remove_arm(&mut self, _: usize) {}
    }
    for (delay, known) in [
        (Delay::Lag(0), [1, 2, 3, 4, 5]),
        (Delay::Batch(1), [1, 2, 3, 4, 5]),
        (Delay::Lag(2), [0, 0, 1, 2, 3]),
        (Delay::Batch(2), [0, 2, 2, 4, 4]),
    ] {
        let (mut learner, mut feedback) = (Learner(vec![]), Feedback::new(delay));
        for (arm, known) in known.into_iter().enumerate() {
            feedback.send(Outcome { arm, reward: 1.0 }, &mut learner);
            assert_eq!((learner.0.len(), feedback.waiting()), (known, arm + 1 - known), "{delay:?}");
        }
        feedback.flush(&mut learner);
        assert_eq!(learner.0, [0, 1, 2, 3, 4], "{delay:?}");
    }
}

#[test]
fn a_window_holds_the_latest_rewards_and_a_discount_all_of_them_less_and_less() {
    let outcomes =
        [(0, 1.0), (1, 0.5), (0, 0.0), (1, 1.0), (1, 0.1)].map(|(arm, reward)| Outcome { arm, reward });
    let after = |memory| {
        let mut arms = Arms::new(2, memory);
        outcomes.iter().for_each(|outcome| arms.observe(*outcome));
        arms
    };
    let window = after(Memory::Window { length: 3 });
    assert_eq!((window.all()[0].pulls, window.all()[0].rewards), (1.0, 0.0));
    assert_eq!((window.all()[1].pulls, window.pulls()), (2.0, 3.0));
    assert_near("window", window.all()[1].rewards, 1.1, 1e-12);
    let discounted = after(Memory::Discounted { factor: 0.5 });
    assert_near("pulls", discounted.all()[0].pulls, 0.25 + 0.0625, 1e-12);
    assert_near("rewards", discounted.all()[1].rewards, 0.1 + 0.5 + 0.125 * 0.5, 1e-12);
    assert_near("all", discounted.pulls(), 1.0 + 0.5 + 0.25 + 0.125 + 0.0625, 1e-12);
    assert_eq!(after(Memory::Discounted { factor: 1.0 }).all(), after(Memory::Full).all());
}

#[test]
fn policies_that_forget_follow_a_best_arm_that_changes() {
    let mut dice = dice(4);
    let mut lost = |policy: &mut dyn Policy| {
        let mut regret = Regret::default();
        for step in 0..12_000 {
            let means = if step < 6_000 { [0.3, 0.5, 0.3] } else { [0.3, 0.5, 0.8] };
            let arm = policy.choose(&mut dice);
            let reward = f64::from(u8::from(dice.happens(means[arm])));
            regret.record(&means, arm, reward);
            policy.observe(Outcome { arm, reward });
        }
        regret.dynamic()
    };
    let thompson = |memory| BetaThompson::new(3, BetaPrior::FLAT, Drawn::Best, memory);
    let ucb = |memory| IndexPolicy::new(3, Index::UcbAlpha { alpha: 1.0 }, memory);
    let (discounted, window) = (Memory::Discounted { factor: 0.995 }, Memory::Window { length: 400 });
    let full = lost(&mut thompson(Memory::Full));
    for (name, found) in [
        ("Thompson, discounted", lost(&mut thompson(discounted))),
        ("Thompson, window", lost(&mut thompson(window))),
        ("UCB, discounted", lost(&mut ucb(discounted))),
        ("UCB, window", lost(&mut ucb(window))),
    ] {
        // A memory of some 200 to 400 rewards explores all the time: a quarter of the regret of never leaving the old arm, 1,800.
        assert!(found < 800.0, "{name}: {found}, {full} with full memory");
    }
}

#[test]
fn added_arms_are_tried_and_removed_ones_never_again() {
    let mut dice = dice(5);
    let normal = NormalPrior { mean: 0.0, variance: 1.0 };
    let policies: [(&str, Box<dyn Policy>); 10] = [
        ("ε-greedy", Box::new(EpsilonGreedy::new(2, 0.2, Memory::Full))),
        ("UCB1", Box::new(IndexPolicy::new(2, Index::Ucb1, Memory::Full))),
        ("MOSS", Box::new(IndexPolicy::new(2, Index::Moss { horizon: None }, Memory::Full))),
        ("Chapelle and Li", Box::new(IndexPolicy::new(2, Index::ChapelleLi, Memory::Window { length: 50 }))),
        ("KL-UCB", Box::new(IndexPolicy::new(2, Index::KlUcb, Memory::Discounted { factor: 0.9 }))),
        ("Bayes-UCB", Box::new(IndexPolicy::new(2, Index::BayesUcb, Memory::Full))),
        ("Thompson", Box::new(BetaThompson::new(2, BetaPrior::FLAT, Drawn::Best, Memory::Full))),
        (
            "top-two",
            Box::new(BetaThompson::new(2, BetaPrior::FLAT, Drawn::TopTwo { first: 0.5 }, Memory::Full)),
        ),
        ("Gaussian", Box::new(GaussianThompson::new(2, normal, 0.25, Drawn::Best, Memory::Full))),
        ("EXP3", Box::new(Exp3::new(2, 0.1))),
    ];
    for (name, mut policy) in policies {
        let mut counts = [0; 3];
        let mut play = |policy: &mut dyn Policy, counts: &mut [i32; 3]| {
            for _ in 0..400 {
                let arm = policy.choose(&mut dice);
                counts[arm] += 1;
                policy.observe(Outcome { arm, reward: [0.2, 0.2, 1.0][arm] });
            }
        };
        play(policy.as_mut(), &mut counts);
        policy.remove_arm(0);
        assert_eq!(policy.add_arm(), 2, "{name}");
        // A late reward of the removed arm.
        policy.observe(Outcome { arm: 0, reward: 1.0 });
        let before = counts;
        play(policy.as_mut(), &mut counts);
        assert_eq!(counts[0], before[0], "{name}");
        // Top-two sampling takes the second of two half of the time.
        assert!(150 < counts[2], "{name}: {counts:?}");
    }
}

#[test]
fn exp3_loses_little_even_against_rewards_that_turn() {
    let mut dice = dice(6);
    let (found, _) = mean(20, || {
        let mut policy = Exp3::new(4, Exp3::gamma_for(4, 20_000.0));
        let mut regret = Regret::default();
        for step in 0..20_000 {
            // The third arm is best in all, but not at first.
            let means = if step < 5_000 { [0.9, 0.1, 0.2, 0.1] } else { [0.1, 0.1, 0.9, 0.1] };
            let arm = policy.choose(&mut dice);
            let reward = f64::from(u8::from(dice.happens(means[arm])));
            regret.record(&means, arm, reward);
            policy.observe(Outcome { arm, reward });
        }
        regret.pseudo()
    });
    let bound = 2.63 * (20_000.0 * 4.0 * libm::log(4.0)).sqrt();
    assert!(found < bound, "{found} exceeds {bound}");
}

#[test]
fn exp3_weighs_a_late_reward_by_the_probability_of_its_choice() {
    let mut policy = Exp3::new(2, 0.5);
    policy.observe_weighted(Outcome { arm: 1, reward: 1.0 }, 0.25);
    // w = (1, e^(.5 / (2 · .25))) = (1, e).
    let e = std::f64::consts::E;
    assert_near("p", policy.weights()[1], 0.5 * e / (1.0 + e) + 0.25, 1e-12);
}

#[test]
fn top_two_sampling_looks_at_the_second_best_as_often_as_it_is_told() {
    let mut dice = dice(7);
    let shares = [0.5, 0.4, 0.1];
    let mut policy = BetaThompson::new(3, BetaPrior::FLAT, Drawn::TopTwo { first: 0.5 }, Memory::Full);
    regret(&mut policy, &shares, 20_000, NO_DELAY, &mut dice);
    let pulls: Vec<f64> = policy.arms().all().iter().map(|arm| arm.pulls / 20_000.0).collect();
    assert!((pulls[0] - 0.5).abs() < 0.05 && 0.35 < pulls[1], "{pulls:?}");
    let weights = policy.weights();
    assert_near("weights add up", weights.iter().sum(), 1.0, 1e-12);
    assert!(0.99 < weights[0], "{weights:?}");
}

#[test]
fn one_seed_gives_one_sequence_of_choices() {
    let choices = |seed| {
        let mut dice = dice(seed);
        let mut policy = BetaThompson::new(5, BetaPrior::FLAT, Drawn::Best, Memory::Full);
        let mut chosen = Vec::new();
        for _ in 0..200 {
            let arm = policy.choose(&mut dice);
            policy.observe(Outcome { arm, reward: f64::from(u8::from(dice.happens(0.3))) });
            chosen.push(arm);
        }
        chosen
    };
    assert_eq!(choices(1), choices(1));
    assert_ne!(choices(1), choices(2));
}

/// The arm with the largest index, all of them computed.
fn largest(index: Index, arms: &Arms) -> usize {
    let (t, count) = (arms.pulls(), arms.available() as f64);
    arms.best_by(|_, arm| match index {
        Index::KlUcb => super::kl_ucb::index(arm, t),
        Index::BayesUcb if 0.0 < arm.pulls => super::bayes_ucb::index(arm, BetaPrior::FLAT, t),
        Index::Moss { horizon } => super::ucb::moss(arm, horizon.unwrap_or(t), count),
        _ => f64::INFINITY,
    })
}

const SHORTENED: [Index; 4] =
    [Index::KlUcb, Index::BayesUcb, Index::Moss { horizon: None }, Index::Moss { horizon: Some(2_000.0) }];

#[test]
fn policies_choose_as_if_all_indices_were_computed() {
    let memories = [Memory::Full, Memory::Discounted { factor: 0.99 }, Memory::Window { length: 300 }];
    for (case, memory) in memories.into_iter().enumerate() {
        for index in SHORTENED {
            let mut dice = dice(20 + case as u64);
            let mut shares = vec![0.02, 0.03, 0.03, 0.5, 0.9, 1.0, 0.0];
            shares.truncate(3 + dice.below(5));
            let mut policy = IndexPolicy::new(shares.len(), index, memory);
            for step in 0..2_000 {
                let arms = policy.arms().clone();
                let arm = policy.choose(&mut dice);
                assert_eq!(arm, largest(index, &arms), "{index:?} {memory:?}, step {step}: {arms:?}");
                policy.observe(Outcome { arm, reward: f64::from(u8::from(dice.happens(shares[arm]))) });
                if step % 300 == 299 {
                    policy.remove_arm(arm);
                    policy.add_arm();
                    shares.push(dice.uniform());
                }
            }
        }
    }
}

#[test]
fn they_do_so_after_many_rewards_of_arms_that_are_hardly_apart() {
    let shares: [f64; 10] = std::array::from_fn(|arm| 0.05 + 0.0025 * arm as f64);
    for (before, delay, whole) in
        [(0, 0, true), (400, 0, true), (30_000, 0, true), (1_000, 7, true), (200, 0, false), (0, 3, false)]
    {
        for index in SHORTENED {
            let (mut dice, mut policy) = (dice(before), IndexPolicy::new(10, index, Memory::Full));
            let mut feedback = Feedback::new(Delay::Lag(delay));
            let reward = |arm: usize, dice: &mut Dice| {
                let one = f64::from(u8::from(dice.happens(shares[arm])));
                if whole { one } else { one * dice.uniform() }
            };
            for arm in 0..10 {
                for _ in 0..before {
                    policy.observe(Outcome { arm, reward: reward(arm, &mut dice) });
                }
            }
            for step in 0..1_500 {
                let arms = policy.arms().clone();
                let arm = policy.choose(&mut dice);
                assert_eq!(arm, largest(index, &arms), "{index:?} after {before}, step {step}: {arms:?}");
                feedback.send(Outcome { arm, reward: reward(arm, &mut dice) }, &mut policy);
            }
        }
    }
}

#[test]
fn they_do_so_where_a_late_reward_replaces_an_equal_one() {
    for (count, lag) in [(3, 1), (3, 3), (5, 1), (5, 3)] {
        for index in SHORTENED {
            let (mut dice, memory) = (dice(1), Memory::Window { length: 30 });
            let mut policy = IndexPolicy::new(count, index, memory);
            let mut feedback = Feedback::new(Delay::Lag(lag));
            for step in 0..3_000 {
                let arms = policy.arms().clone();
                let arm = policy.choose(&mut dice);
                assert_eq!(arm, largest(index, &arms), "{index:?}, {count}, {lag}, step {step}: {arms:?}");
                let share = 0.8 + 0.2 * arm as f64 / count as f64;
                let reward = f64::from(u8::from(dice.happens(share)));
                feedback.send(Outcome { arm, reward }, &mut policy);
            }
        }
    }
}
