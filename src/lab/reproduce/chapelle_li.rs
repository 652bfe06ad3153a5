//! Regret under delayed rewards, where items come and go: table 1 of Chapelle and Li (2011).

use crate::lab::reproduce::{Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::bandit::delay::{Delay, Feedback};
use crate::statistics::bandit::index::{Index, IndexPolicy};
use crate::statistics::bandit::thompson::{BetaPrior, BetaThompson, Drawn};
use crate::statistics::bandit::{Memory, Outcome, Policy};
use crate::statistics::dice::{BetaDraws, Dice};

/// How many runs a cell of the table has, and of how many choices each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// The runs of Thompson sampling with each delay.
    pub runs: usize,
    /// The choices of a run; the regret of fewer is scaled up to that of a million.
    pub steps: usize,
}

/// What the report has.
pub const SAMPLE: Sample = Sample { runs: 10, steps: STEPS };

const STEPS: usize = 1_000_000;

/// How many items there are at a time, and how likely one of them is to retire at each step.
const ITEMS: usize = 10;
const RETIREMENT: f64 = 1e-3;

const DELAYS: [usize; 7] = [1, 3, 10, 32, 100, 316, 1_000];

const PAPER: &str = "Chapelle and Li 2011, table 1";
const PAPER_RUNS: f64 = 100.0;
const PAPER_THOMPSON: [f64; 7] = [9_105.0, 9_199.0, 9_049.0, 9_451.0, 11_550.0, 21_594.0, 59_256.0];
const PAPER_UCB: [f64; 7] = [24_145.0, 24_695.0, 25_662.0, 28_148.0, 37_141.0, 77_687.0, 226_220.0];

const PEERS: &str = "C program, 100 runs (lag: 5 to 8)";
const PEERS_BATCH: [(f64, f64); 7] = [
    (9_477.0, 50.0),
    (9_607.0, 46.0),
    (9_607.0, 51.0),
    (9_812.0, 54.0),
    (11_142.0, 51.0),
    (16_652.0, 60.0),
    (34_644.0, 144.0),
];
const PEERS_LAG: [Option<(f64, f64)>; 7] = [
    None,
    None,
    Some((9_702.0, 167.0)),
    Some((10_084.0, 138.0)),
    Some((13_182.0, 262.0)),
    Some((24_851.0, 401.0)),
    Some((59_530.0, 969.0)),
];

const UNKNOWN_DELAY: &str =
    "the paper does not say whether its delay is a batch or a lag; at δ > 100 its values lie near the lag";
const UNKNOWN_TIME: &str = "the paper does not say what t counts while items come and go";

/// The table, from such a sample.
pub fn reproduce(crew: &Crew<'_>, sample: Sample) -> Finding {
    let thompson = || BetaThompson::new(ITEMS, BetaPrior::FLAT, Drawn::Best, Memory::Full);
    let ucb = || IndexPolicy::new(ITEMS, Index::ChapelleLi, Memory::Full);
    // All cells at once, the slow ones first, so that no thread waits for the last.
    let batch = DELAYS.map(|delay| regrets(crew, sample, "thompson", Delay::Batch(delay), thompson));
    let lag = DELAYS.map(|delay| regrets(crew, sample, "thompson", Delay::Lag(delay), thompson));
    let ucb = DELAYS.map(|delay| regrets(crew, sample, "ucb", Delay::Batch(delay), ucb));
    let ratios = DELAYS.iter().zip(ucb.iter().zip(&batch)).map(|(delay, (ucb, thompson))| {
        let value = ucb.value / thompson.value;
        let error = value * libm::hypot(ucb.error / ucb.value, thompson.error / thompson.value);
        Row::new(format!("δ = {delay}"), Found::normal(value, error, &ucb.sample), None)
    });
    let paper = |value: f64, found: &Found| {
        // Its runs spread as ours do.
        Published::new(value, found.error * (sample.runs as f64 / PAPER_RUNS).sqrt(), PAPER)
    };
    let peers = |(value, error)| Published::new(value, error, PEERS);
    let table = |title: &str, found: &[Found; 7], published: &dyn Fn(usize) -> Option<Published>, why| {
        let row = |(at, delay): (usize, usize)| {
            Row::new(format!("δ = {delay}"), found[at].clone(), published(at)).because(why)
        };
        Table {
            title: title.to_owned(),
            scale: Scale::Decimals(0),
            rows: DELAYS.into_iter().enumerate().map(row).collect(),
        }
    };
    Finding {
        title: "Thompson sampling and UCB under delay",
        setting: setting(sample),
        tables: vec![
            table(
                "Thompson sampling, rewards in batches of δ, beside the paper",
                &batch,
                &|at| Some(paper(PAPER_THOMPSON[at], &batch[at]).within(0.1)),
                UNKNOWN_DELAY,
            ),
            table(
                "Thompson sampling, each reward δ steps late, beside the paper",
                &lag,
                &|at| Some(paper(PAPER_THOMPSON[at], &lag[at]).within(0.1)),
                UNKNOWN_DELAY,
            ),
            table(
                "Thompson sampling, rewards in batches of δ, beside another program",
                &batch,
                &|at| Some(peers(PEERS_BATCH[at])),
                "",
            ),
            table(
                "Thompson sampling, each reward δ steps late, beside another program",
                &lag,
                &|at| PEERS_LAG[at].map(peers),
                "",
            ),
            table(
                "UCB (equation 1, δ_t = √(1/t), t the choices among the items that are there), in batches, beside the paper",
                &ucb,
                &|at| Some(paper(PAPER_UCB[at], &ucb[at])),
                UNKNOWN_TIME,
            ),
            Table {
                title: "UCB over Thompson sampling, in batches".to_owned(),
                scale: Scale::Decimals(2),
                rows: ratios.collect(),
            },
        ],
    }
}

fn setting(sample: Sample) -> String {
    format!(
        "{ITEMS} items whose shares of clicks are Beta(4, 4); at each step one of them retires with a probability of {RETIREMENT}, and a new \
         one takes its place. The regret, against the best item of each moment, of 1,000,000 choices{}. The prior is flat. A delay of δ is \
         two things: a batch every δ steps, or a lag of δ steps for each reward; at δ = 1,000 they differ by more than half. In the paper UCB loses 2.7 to 3.8 times as much as Thompson sampling.",
        if sample.steps == STEPS { String::new() } else { format!(", scaled up from {}", sample.steps) }
    )
}

fn regrets<P: Policy>(
    crew: &Crew<'_>,
    sample: Sample,
    name: &str,
    delay: Delay,
    policy: impl Fn() -> P + Sync,
) -> Found {
    let name = format!("chapelle-li/{name}/{delay:?}");
    let scale = STEPS as f64 / sample.steps as f64;
    let runs =
        crew.repeat(&name, sample.runs, |dice| scale * regret(&mut policy(), sample.steps, delay, dice));
    Found::mean(&runs, "runs")
}

/// What a run loses against the best item of each moment.
fn regret(policy: &mut impl Policy, steps: usize, delay: Delay, dice: &mut Dice) -> f64 {
    let shares = BetaDraws::new(4.0, 4.0);
    let mut items: Vec<(usize, f64)> = (0..ITEMS).map(|arm| (arm, shares.draw(dice))).collect();
    let mut feedback = Feedback::new(delay);
    let mut regret = 0.0;
    for _ in 0..steps {
        let arm = policy.choose(dice);
        let best = items.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let (_, share) =
            *items.iter().find(|(item, _)| *item == arm).expect("what has retired is not chosen");
        regret += best - share;
        feedback.send(Outcome { arm, reward: f64::from(u8::from(dice.happens(share))) }, policy);
        if dice.happens(RETIREMENT) {
            let item = &mut items[dice.below(ITEMS)];
            policy.remove_arm(item.0);
            *item = (policy.add_arm(), shares.draw(dice));
        }
    }
    regret
}
