//! How much sooner a bandit ends that stops when little value remains: the examples of Google Analytics, after Scott, "Multi-armed bandit
//! experiments in the online service economy" (2015).

use crate::lab::reproduce::{Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::bayes::{Beta, Patience, probabilities_best, stop_by_value_remaining};
use crate::statistics::dice::Dice;
use crate::statistics::power::{Demand, Shares, users_for_shares};

/// How often each experiment is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// That of two arms.
    pub two_arms: usize,
    /// That of six.
    pub six_arms: usize,
}

/// What the report has.
pub const SAMPLE: Sample = Sample { two_arms: 1_000, six_arms: 100 };

const TWO: [f64; 2] = [0.04, 0.05];
const SIX: [f64; 6] = [0.04, 0.02, 0.03, 0.035, 0.045, 0.05];

/// Sessions a day, and how many days there are at least.
const SESSIONS: usize = 100;
const DAYS_MIN: usize = 14;

const PEERS: &str = "independent program";
const PEERS_RUNS: f64 = 500.0;
const PEERS_RUNS_SIX: f64 = 100.0;
const GOOGLE: &str = "Google Analytics help, from memory";
const GOOGLE_RUNS: f64 = 500.0;

/// How an experiment ended.
struct End {
    days: usize,
    arm: usize,
    /// The conversions that the best arm would have brought besides, until the end.
    lost: f64,
}

/// When to end.
#[derive(Clone, Copy)]
enum Rule {
    ValueRemaining,
    Best(f64),
}

/// The examples, made so often.
pub fn reproduce(crew: &Crew<'_>, sample: Sample) -> Finding {
    let demand = Demand { alpha: 0.05, power: 0.95 };
    let users = 2.0 * users_for_shares(Shares { control: TWO[0], treated: TWO[1] }, 1.0, demand);
    let days = users / SESSIONS as f64;
    // Half of the users of the classical test get the worse arm.
    let lost = 0.5 * users * (TWO[1] - TWO[0]);
    let two = |name, rule| crew.repeat(name, sample.two_arms, |dice| end(&TWO, rule, dice));
    let value = two("value-remaining/two", Rule::ValueRemaining);
    let best = two("value-remaining/best", Rule::Best(0.95));
    let six =
        crew.repeat("value-remaining/six", sample.six_arms, |dice| end(&SIX, Rule::ValueRemaining, dice));
    let mean = |ends: &[End], figure: &dyn Fn(&End) -> f64| {
        Found::mean(&ends.iter().map(figure).collect::<Vec<_>>(), "experiments")
    };
    // Others' experiments spread as ours do.
    let beside = |what: &str, found: Found, ours: usize, value: f64, theirs: f64, rounding: f64, source| {
        let error = found.error * (ours as f64 / theirs).sqrt() + rounding / 12.0_f64.sqrt();
        Row::new(what, found, Some(Published::new(value, error, source)))
    };
    let peers = |what, found, value, rounding| {
        beside(what, found, sample.two_arms, value, PEERS_RUNS, rounding, PEERS)
    };
    let google = |what, found, value, rounding| {
        beside(what, found, sample.two_arms, value, GOOGLE_RUNS, rounding, GOOGLE)
    };
    let of_six = |what, found, value, rounding| {
        beside(what, found, sample.six_arms, value, PEERS_RUNS_SIX, rounding, PEERS)
    };
    let right = |ends: &[End], arm: usize| {
        Found::share(ends.iter().filter(|end| end.arm == arm).count(), ends.len(), "experiments")
    };
    let saved = |end: &End| lost - end.lost;
    Finding {
        title: "A bandit that stops when little value remains, against the classical test",
        setting: format!(
            "{SESSIONS} sessions a day, split anew each day by how likely each arm is the best, for at least {DAYS_MIN} days and until the value \
             remaining is below 1 % with a probability of 95 %; all by quadrature over beta posteriors with flat priors. The classical test has a \
             power of 95 %, which takes {days:.1} days and costs {lost:.1} conversions. Conversions saved are those until the end of the experiment; what \
             a wrong choice costs later is not in them."
        ),
        tables: vec![
            Table {
                title: "4 % against 5 %: days and conversions".to_owned(),
                scale: Scale::Decimals(1),
                rows: vec![
                    Row::new(
                        "users of the classical test",
                        Found::exact(users, "formula"),
                        Some(Published::new(22_332.0, 1.0, "statsmodels")),
                    ),
                    peers("days", mean(&value, &|end| end.days as f64), 46.3, 0.1),
                    google("days sooner", mean(&value, &|end| days - end.days as f64), 175.0, 1.0),
                    peers("conversions saved", mean(&value, &saved), 98.2, 0.1),
                    google("conversions saved", mean(&value, &saved), 97.5, 0.1),
                    peers("days, if P(best) > 95 % ends it", mean(&best, &|end| end.days as f64), 51.2, 0.1),
                    peers("conversions saved, if P(best) > 95 % ends it", mean(&best, &saved), 97.7, 0.1),
                ],
            },
            Table {
                title: "4 % against 5 %: the better arm is found".to_owned(),
                scale: Scale::Percent,
                rows: vec![
                    peers("value remaining", right(&value, 1), 0.954, 0.001),
                    google("value remaining", right(&value, 1), 0.964, 0.001),
                    peers("P(best) > 95 %", right(&best, 1), 0.98, 0.001),
                ],
            },
            Table {
                title: "Six arms: 4, 2, 3, 3.5, 4.5 and 5 %".to_owned(),
                scale: Scale::Decimals(1),
                rows: vec![
                    of_six("days", mean(&six, &|end| end.days as f64), 315.0, 1.0),
                    of_six("conversions lost", mean(&six, &|end| end.lost), 99.5, 0.1),
                ],
            },
            Table {
                title: "Six arms: the best is found".to_owned(),
                scale: Scale::Percent,
                rows: vec![of_six("value remaining", right(&six, 5), 0.99, 0.01)],
            },
        ],
    }
}

/// An experiment whose traffic is split anew each day by how likely each arm is the best.
fn end(shares: &[f64], rule: Rule, dice: &mut Dice) -> End {
    let best = shares.iter().copied().fold(0.0, f64::max);
    let mut arms = vec![Beta::UNIFORM; shares.len()];
    let mut weights = probabilities_best(&arms);
    let mut lost = 0.0;
    for days in 1.. {
        let mut sessions = vec![0; shares.len()];
        (0..SESSIONS).for_each(|_| sessions[dice.weighted(&weights)] += 1);
        for ((arm, share), sessions) in arms.iter_mut().zip(shares).zip(sessions) {
            *arm = arm.after(dice.binomial(sessions, *share) as f64, sessions as f64);
            lost += sessions as f64 * (best - share);
        }
        weights = probabilities_best(&arms);
        if days < DAYS_MIN {
            continue;
        }
        let winner = match rule {
            Rule::ValueRemaining => stop_by_value_remaining(&arms, Patience::default()),
            Rule::Best(probability) => weights.iter().position(|weight| probability < *weight),
        };
        if let Some(arm) = winner {
            return End { days, arm, lost };
        }
    }
    unreachable!("days do not end")
}
