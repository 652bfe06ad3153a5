//! ε-greedy on the 10-armed testbed of Sutton and Barto, "Reinforcement learning" (2018), 2.3 and 2.7.

use crate::lab::reproduce::{Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::bandit::epsilon_greedy::EpsilonGreedy;
use crate::statistics::bandit::index::{Index, IndexPolicy};
use crate::statistics::bandit::{Memory, Outcome, Policy};
use crate::statistics::dice::Dice;

/// How many problems the report has; the book has 2,000.
pub const PROBLEMS: usize = 10_000;

const ARMS: usize = 10;
const STEPS: usize = 1_000;

/// The steps over whose end one averages.
const LAST: usize = 100;

/// How many problems the peers' table has.
const PEERS_PROBLEMS: f64 = 10_000.0;

const BOOK: &str = "Sutton and Barto 2018, 2.3";
const PEERS: &str = "independent program, 10,000 problems";

/// What a run on one problem brought.
struct Run {
    /// The mean reward of the last steps.
    reward: f64,
    /// The share of them that chose the best arm.
    best: f64,
    /// The mean of the best arm.
    possible: f64,
}

/// The table, from so many problems.
pub fn reproduce(crew: &Crew<'_>, problems: usize) -> Finding {
    let greedy = |epsilon| EpsilonGreedy::new(ARMS, epsilon, Memory::Full);
    let runs = [
        ("greedy", runs(crew, problems, "greedy", || greedy(0.0)), 0.352, 1.033),
        ("ε = .01", runs(crew, problems, "a hundredth", || greedy(0.01)), 0.601, 1.313),
        ("ε = .1", runs(crew, problems, "a tenth", || greedy(0.1)), 0.8, 1.364),
        // A bonus c √(ln t / n) with c = 2.
        (
            "UCB, c = 2",
            runs(crew, problems, "ucb", || {
                IndexPolicy::new(ARMS, Index::UcbAlpha { alpha: 8.0 }, Memory::Full)
            }),
            0.855,
            1.497,
        ),
    ];
    let of = |runs: &[Run], figure: fn(&Run) -> f64| {
        Found::mean(&runs.iter().map(figure).collect::<Vec<_>>(), "problems")
    };
    // The peers' problems spread as ours do.
    let peers = |value, found: &Found| {
        let error = found.error * (problems as f64 / PEERS_PROBLEMS).sqrt();
        Some(Published::new(value, error + 0.001 / 12.0_f64.sqrt(), PEERS))
    };
    let row = |name: &str, found: Found, value| {
        let published = peers(value, &found);
        Row::new(name, found, published)
    };
    let book = |name: &str, found, value, rounding: f64| {
        Row::new(name, found, Some(Published::new(value, rounding / 12.0_f64.sqrt(), BOOK)))
    };
    let [(_, greedy, ..), ..] = &runs;
    Finding {
        title: "ε-greedy on the 10-armed testbed",
        setting: format!(
            "{ARMS} arms whose means are drawn from N(0, 1) and whose rewards are N(mean, 1); {STEPS} choices a problem, averaged over the last \
             {LAST}. An arm never pulled has a mean of 0, and ties fall to the first. The book shows curves and tells few figures: the best \
             possible reward, that greedy has about 1, and that it finds the best arm in about a third of the problems."
        ),
        tables: vec![
            Table {
                title: "Choices of the best arm".to_owned(),
                scale: Scale::Percent,
                rows: runs
                    .iter()
                    .map(|(name, runs, best, _)| row(name, of(runs, |run| run.best), *best))
                    .collect(),
            },
            Table {
                title: "Mean reward".to_owned(),
                scale: Scale::Decimals(3),
                rows: runs
                    .iter()
                    .map(|(name, runs, _, reward)| row(name, of(runs, |run| run.reward), *reward))
                    .collect(),
            },
            Table {
                title: "What the book tells".to_owned(),
                scale: Scale::Decimals(3),
                rows: vec![
                    book("greedy, mean reward", of(greedy, |run| run.reward), 1.0, 0.1),
                    book("greedy, share of the best arm", of(greedy, |run| run.best), 1.0 / 3.0, 0.1),
                    book("best possible reward", of(greedy, |run| run.possible), 1.54, 0.01),
                ],
            },
        ],
    }
}

fn runs<P: Policy>(crew: &Crew<'_>, problems: usize, name: &str, policy: impl Fn() -> P + Sync) -> Vec<Run> {
    crew.repeat(&format!("ten-armed-testbed/{name}"), problems, |dice| run(&mut policy(), dice))
}

fn run(policy: &mut impl Policy, dice: &mut Dice) -> Run {
    let means: [f64; ARMS] = std::array::from_fn(|_| dice.normal());
    let possible = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut reward_sum, mut best) = (0.0, 0);
    for step in 0..STEPS {
        let arm = policy.choose(dice);
        let reward = means[arm] + dice.normal();
        policy.observe(Outcome { arm, reward });
        if STEPS - LAST <= step {
            reward_sum += reward;
            best += u32::from(means[arm] == possible);
        }
    }
    Run { reward: reward_sum / LAST as f64, best: f64::from(best) / LAST as f64, possible }
}
