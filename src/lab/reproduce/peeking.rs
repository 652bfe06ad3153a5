//! What looking every day does to the error of a test: stopping rules compared on the same streams.

use crate::lab::reproduce::{Crew, Finding, Found, Published, Row, Scale, Table};
use crate::statistics::bayes::{Normal, Patience, Posterior, stop_by_value_remaining};
use crate::statistics::dice::Dice;
use crate::statistics::group_sequential::{Sides, crossing_probabilities, obrien_fleming, pocock};
use crate::statistics::normal;
use crate::statistics::proportion::{Share, pooled};
use crate::statistics::sequential::{ConfidenceSequence, Mixture};

/// How many streams the report has.
pub const STREAMS: usize = 10_000;

/// How many days there are at most, with a look at the end of each.
const DAYS: usize = 60;

/// Users of each arm a day.
const USERS: u64 = 1_000;

/// The share of the control that succeeds, and that of the treated where there is an effect.
const CONTROL: f64 = 0.05;
const TREATED: f64 = 0.055;

const ALPHA: f64 = 0.05;

/// How many streams the published table has.
const PUBLISHED_STREAMS: f64 = 4_000.0;

const PUBLISHED: &str = "independent program, 4,000 streams";

/// When to stop, and with which arm.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Rule {
    Fixed,
    /// |z| above a bound on each day.
    Constant(f64),
    /// |z| above a bound that falls with the square root of time.
    Falling(f64),
    Mixture(Mixture),
    Sequence(ConfidenceSequence),
    /// One arm is better with this probability.
    Best(f64),
    Loss(f64),
    ValueRemaining,
}

/// What the published table has of a rule: shares, and days where they are told.
struct Line {
    what: &'static str,
    controls: &'static str,
    rule: Rule,
    published: Option<[f64; 4]>,
}

/// Where a rule has ended: the day, and the winner if there is one.
type End = (usize, Option<usize>);

/// The table, from so many streams with no effect and so many with one.
pub fn reproduce(crew: &Crew<'_>, streams: usize) -> Finding {
    let lines = lines();
    let ends = |name: &str, treated: f64| -> Vec<Vec<End>> {
        crew.repeat(name, streams, |dice| {
            let days = days(dice, treated);
            lines.iter().map(|line| line.rule.end(&days)).collect()
        })
    };
    let (same, better) = (ends("peeking/same", CONTROL), ends("peeking/better", TREATED));
    let share = |ends: &[Vec<End>], at: usize, counts: fn(&End) -> bool| {
        let successes = ends.iter().filter(|stream| counts(&stream[at])).count();
        Found::share(successes, ends.len(), "streams")
    };
    let time = |ends: &[Vec<End>], at: usize| {
        let days: Vec<f64> = ends.iter().map(|stream| stream[at].0 as f64).collect();
        Found::mean(&days, "streams")
    };
    let table = |title: &str, scale, column: usize, found: &dyn Fn(usize) -> Found| {
        let row = |(at, line): (usize, &Line)| {
            let found = found(at);
            let published = line.published.map(|values| {
                published(scale, values[column], found.error * (streams as f64 / PUBLISHED_STREAMS).sqrt())
            });
            Row::new(line.what, found, published)
        };
        Table { title: title.to_owned(), scale, rows: lines.iter().enumerate().map(row).collect() }
    };
    let any = |(_, winner): &End| winner.is_some();
    let second = |(_, winner): &End| *winner == Some(1);
    Finding {
        title: "Peeking: stopping rules on the same streams",
        setting: setting(&lines),
        tables: vec![
            exact(),
            table("5 % against 5 %: streams that end with a winner", Scale::Percent, 0, &|at| {
                share(&same, at, any)
            }),
            table("5 % against 5 %: days until the end", Scale::Decimals(1), 1, &|at| time(&same, at)),
            table("5 % against 5.5 %: streams that end with the better arm", Scale::Percent, 2, &|at| {
                share(&better, at, second)
            }),
            table("5 % against 5.5 %: days until the end", Scale::Decimals(1), 3, &|at| time(&better, at)),
        ],
    }
}

/// The rules, with what the table in question says of them: the share that ends without an effect, its days, the share that finds an effect,
/// its days.
fn lines() -> Vec<Line> {
    let line =
        |what, controls, rule, published: [f64; 4]| Line { what, controls, rule, published: Some(published) };
    let mixture = |tau| Rule::Mixture(Mixture { tau, alpha: ALPHA });
    // GrowthBook's N* counts the users of both arms.
    let sequence = |tuned_to| Rule::Sequence(ConfidenceSequence { tuned_to, alpha: ALPHA });
    let single = -normal::quantile(0.5 * ALPHA);
    vec![
        line("fixed horizon, day 60", "false alarm", Rule::Fixed, [0.05, 60.0, 0.971, 60.0]),
        line("peek daily, \\|z\\| > 1.96", "nothing", Rule::Constant(single), [0.328, 45.0, 0.974, 14.6]),
        Line {
            what: "Pocock, 60 looks",
            controls: "false alarm",
            rule: Rule::Constant(pocock(DAYS, ALPHA)),
            published: None,
        },
        line(
            "O'Brien-Fleming, 60 looks",
            "false alarm",
            Rule::Falling(obrien_fleming(DAYS, ALPHA)),
            [0.048, 59.4, 0.964, 35.1],
        ),
        line("mSPRT, τ = .005", "false alarm at any time", mixture(0.005), [0.019, 59.0, 0.844, 34.0]),
        line("mSPRT, τ = .02", "false alarm at any time", mixture(0.02), [0.017, 59.0, 0.766, 37.0]),
        line(
            "asymptotic confidence sequence, N* = 5,000",
            "false alarm at any time",
            sequence(5_000.0),
            [0.018, 59.0, 0.774, 37.0],
        ),
        line(
            "asymptotic confidence sequence, N* = 60,000",
            "false alarm at any time",
            sequence(60_000.0),
            [0.019, 59.0, 0.843, 34.0],
        ),
        line("P(best) > 95 % daily", "nothing", Rule::Best(0.95), [0.535, 34.7, 0.966, 10.1]),
        line("expected loss < .0005", "regret", Rule::Loss(0.0005), [1.0, 5.0, 0.896, 3.8]),
        line("expected loss < .00025", "regret", Rule::Loss(0.00025), [0.98, 12.0, 0.949, 5.9]),
        line("expected loss < .0001", "regret", Rule::Loss(0.0001), [0.75, 28.0, 0.979, 9.2]),
        line("value remaining (95 %, 1 %)", "regret", Rule::ValueRemaining, [0.706, 27.8, 0.963, 8.5]),
    ]
}

fn setting(lines: &[Line]) -> String {
    let mut text = format!(
        "Two arms of {USERS} users a day each, one look at the end of each of at most {DAYS} days, all rules on the same streams. Bayesian \
         rules take the normal approximation without a prior, as the published table does. A stream that no rule has ended counts {DAYS} \
         days. What each rule bounds:\n\n| rule | bounds |\n|---|---|\n"
    );
    for line in lines {
        text += &format!("| {} | {} |\n", line.what, line.controls);
    }
    text + "\nRules that bound regret end without an effect too, by design: half of them with either arm. None of their ends is a discovery."
}

/// A published number with the error of its sample and of its rounding. Days spread there as they do here: `error` is that of as many streams.
fn published(scale: Scale, value: f64, error: f64) -> Published {
    if scale == Scale::Percent {
        let digits = if (100.0 * value).fract().abs() < 1e-9 && 0.2 < value { 0.01 } else { 0.001 };
        let sampled = Published::share(value, PUBLISHED_STREAMS, PUBLISHED);
        return Published { error: sampled.error + digits / 12.0_f64.sqrt(), ..sampled };
    }
    let rounding = if value.fract() == 0.0 { 1.0 } else { 0.1 };
    Published::new(value, error + rounding / 12.0_f64.sqrt(), PUBLISHED)
}

/// The error of looks at |z| > 1.96, without chance.
fn exact() -> Table {
    let single = -normal::quantile(0.5 * ALPHA);
    let error = |looks: usize, bound: f64| {
        let times: Vec<f64> = (1..=looks).map(|look| look as f64 / looks as f64).collect();
        crossing_probabilities(&times, &vec![bound; looks], Sides::Two, 0.0).iter().sum()
    };
    let armitage = "Armitage, McPherson and Rowe 1969";
    let row = |looks: usize, bound: f64, published: f64, source| {
        let what = format!("{looks} look{} at \\|z\\| > {bound:.3}", if looks == 1 { "" } else { "s" });
        let rounding = 0.001 / 12.0_f64.sqrt();
        Row::new(
            what,
            Found::exact(error(looks, bound), "recursive integration"),
            Some(Published::new(published, rounding, source)),
        )
    };
    let known = [(1, 0.050), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193), (20, 0.248)];
    let mut rows: Vec<Row> = known.map(|(looks, value)| row(looks, single, value, armitage)).into();
    rows.push(row(DAYS, single, 0.335, "SciPy recursion"));
    rows.push(Row::new(
        format!("{DAYS} looks at \\|z\\| > 1.645"),
        Found::exact(error(DAYS, -normal::quantile(0.05)), "recursive integration"),
        Some(Published::share(0.535, PUBLISHED_STREAMS, PUBLISHED)),
    ));
    Table {
        title: "What peeking costs, exactly: the error of k equally spaced looks".to_owned(),
        scale: Scale::Percent,
        rows,
    }
}

/// The successes of both arms until the end of each day.
fn days(dice: &mut Dice, treated: f64) -> Vec<[Share; 2]> {
    let mut successes = [0; 2];
    (1..=DAYS as u64)
        .map(|day| {
            for (sum, share) in successes.iter_mut().zip([CONTROL, treated]) {
                *sum += dice.binomial(USERS, share);
            }
            successes.map(|sum| Share::new(sum, day * USERS))
        })
        .collect()
}

impl Rule {
    fn end(&self, days: &[[Share; 2]]) -> End {
        let looks = days.iter().zip(1..);
        let ended = looks.map(|(arms, day)| (day, self.winner(arms, day)));
        ended.into_iter().find(|(_, winner)| winner.is_some()).unwrap_or((DAYS, None))
    }

    fn winner(&self, [control, treated]: &[Share; 2], day: usize) -> Option<usize> {
        let belief = |arm: &Share| Normal::new(arm.value(), (arm.variance() / arm.trials() as f64).sqrt());
        let (first, second) = (belief(control), belief(treated));
        let difference = first.difference(&second);
        let (estimate, error) = (difference.mean(), difference.deviation());
        let z = || pooled(*control, *treated).z.abs();
        let ends = match self {
            Self::Fixed => day == DAYS && -normal::quantile(0.5 * ALPHA) < z(),
            Self::Constant(bound) => *bound < z(),
            Self::Falling(bound) => bound * (DAYS as f64 / day as f64).sqrt() < z(),
            Self::Mixture(mixture) => !mixture.look(estimate, error * error).interval.contains(0.0),
            Self::Sequence(sequence) => {
                let users = (control.trials() + treated.trials()) as f64;
                !sequence.look(estimate, error, users).interval.contains(0.0)
            }
            Self::Best(probability) => *probability < normal::cdf(estimate.abs() / error),
            Self::Loss(threshold) => {
                difference.expected_excess(0.0).min(difference.expected_shortfall(0.0)) < *threshold
            }
            Self::ValueRemaining => return stop_by_value_remaining(&[first, second], Patience::default()),
        };
        ends.then_some(usize::from(0.0 < estimate))
    }
}
