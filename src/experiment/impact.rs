//! Whether a better model is worth building, before anybody builds it: what steps towards a perfect one bring and cost, where to stop, and
//! what speaks against it.
//!
//! A perfect model is here one that always chooses the best arm. What it would gain is estimated, so that everything that follows from it has
//! an interval; and each doubt that the numbers themselves raise is told as a [`Risk`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Problem, Share as Part};
use crate::experiment::log::{Log, LogModel};
use crate::statistics::Interval;
use crate::statistics::impact::{Gap, STEPS, Step, diminishing_returns, steps};
use crate::statistics::power::{Demand, Shares, users_for_shares};
use crate::statistics::proportion::{Share, newcombe};

/// The confidence of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// What an A/B test is to show a step with.
pub const DEMAND: Demand = Demand { alpha: 0.05, power: 0.8 };

/// With fewer successes an interval of a share is rough.
const SUCCESSES_FEW: u64 = 50;

/// How much more than planned a project is taken to cost, to see what becomes of it.
const OVERRUN: f64 = 1.5;

/// Fractions of the gap that differ by less are the same.
pub const SAME: f64 = 1e-6;

/// How finely it is looked for where the first step pays.
const GRID: u32 = 10_000;

/// What is known of the present model and of a perfect one.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GapModel {
    /// What the present model achieves: so many successes of so many visits.
    #[serde(default)]
    pub present: Option<Counted>,
    /// What a perfect one would, by other visits.
    #[serde(default)]
    pub perfect: Option<Counted>,
    /// In place of both: what a random policy logged. It is the present model, and a perfect one always shows the best arm.
    #[serde(default)]
    pub log: Option<LogModel>,
}

/// Successes among visits.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// The successes.
    pub successes: u64,
    /// The visits.
    pub visits: u64,
}

/// What successes are worth, and how many visits the model decides.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    /// What one success earns, in the unit of the costs.
    pub success: f64,
    /// How many visits a day the model decides.
    pub per_day: f64,
    /// For how many days it serves before it is replaced.
    pub days: f64,
}

/// What closing a part of the gap costs.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In what costs and rewards are counted: `EUR`.
    pub unit: String,
    /// What any step costs, however small (default 0).
    #[serde(default)]
    pub fixed: f64,
    /// Estimates, with rising shares. Between them costs rise evenly, and beyond the last as steeply as before it.
    pub points: Vec<CostPoint>,
}

/// One estimate of a cost.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostPoint {
    /// The share of the gap that is closed.
    pub share: Part,
    /// What that costs in all, besides what is fixed.
    pub costs: f64,
}

impl GapModel {
    /// What makes it no gap, but for the log itself.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match (&self.present, &self.perfect, &self.log) {
            (Some(present), Some(perfect), None) => {
                for (key, counted) in [("present", present), ("perfect", perfect)] {
                    if counted.visits == 0 || counted.visits < counted.successes {
                        let Counted { successes, visits } = counted;
                        let problem = Problem::new(key, format!("{successes} of {visits} is no share"));
                        problems.push(problem.help("write how many of how many visits succeeded"));
                    }
                }
            }
            (None, None, Some(_)) => {}
            _ => {
                let help = "write `present` and `perfect`, or `log` alone";
                let problem = Problem::new("", "the gap is between a present model and a perfect one");
                problems.push(problem.help(help));
            }
        }
        problems
    }
}

impl Reward {
    /// What could not be multiplied.
    pub fn validate(&self) -> Vec<Problem> {
        let all = [("success", self.success), ("per_day", self.per_day), ("days", self.days)];
        let bad = all.into_iter().filter(|(_, value)| !(0.0 < *value && *value <= 1e15));
        bad.map(|(key, value)| Problem::new(key, format!("{value} is no number above 0"))).collect()
    }

    /// What one success more in every visit would earn.
    fn whole(&self) -> f64 {
        self.success * self.per_day * self.days
    }
}

impl Cost {
    /// What makes it no curve.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(0.0..=1e15).contains(&self.fixed) {
            problems.push(Problem::new("fixed", format!("{} is no cost", self.fixed)));
        }
        if self.points.is_empty() {
            let problem = Problem::new("points", "nobody has estimated what anything costs");
            problems.push(problem.help("points = [{ share = \"10%\", costs = 5000 }]"));
        }
        let mut before = CostPoint { share: Part::new(0.0), costs: 0.0 };
        for (index, point) in self.points.iter().enumerate() {
            if point.share <= before.share {
                let message = format!("{} does not come after {}", point.share, before.share);
                problems.push(Problem::new(format!("points.{index}.share"), message));
            }
            if !(before.costs..=1e15).contains(&point.costs) {
                let message = format!("{} is less than what less costs: {}", point.costs, before.costs);
                problems.push(Problem::new(format!("points.{index}.costs"), message));
            }
            before = *point;
        }
        problems
    }

    /// What it costs to close this fraction of the gap.
    pub fn of(&self, fraction: f64) -> f64 {
        if fraction <= 0.0 {
            return 0.0;
        }
        let (mut low, mut high) = ((0.0, 0.0), (0.0, 0.0));
        for point in &self.points {
            (low, high) = (high, (point.share.get(), point.costs));
            if fraction <= high.0 {
                break;
            }
        }
        let slope = (high.1 - low.1) / (high.0 - low.0);
        self.fixed + low.1 + slope * (fraction - low.0)
    }
}

/// A number with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimated {
    /// The number.
    pub value: f64,
    /// The interval at [`CONFIDENCE`].
    pub interval: Interval,
}

impl Estimated {
    fn map(self, through: impl Fn(f64) -> f64) -> Self {
        let ends = [through(self.interval.low), through(self.interval.high)];
        let interval = Interval { low: ends[0].min(ends[1]), high: ends[0].max(ends[1]) };
        Self { value: through(self.value), interval }
    }
}

/// What closing one part of the gap means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The part.
    pub fraction: f64,
    /// What it brings, over all days.
    pub brings: Estimated,
    /// What it costs.
    pub costs: f64,
    /// What is left.
    pub net: Estimated,
    /// What the last part, from the row before, brings for each unit of its cost; none where that part is free.
    pub last_part: Option<f64>,
    /// How many days of visits an A/B test of two equal arms needs to show it; none where there is nothing to show.
    pub days_to_show: Option<f64>,
}

/// A doubt that the numbers raise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "risk", rename_all = "kebab-case")]
pub enum Risk {
    /// The interval of the gap holds 0.
    NoGapShown,
    /// The best of so many arms was chosen by the data it is judged by; chosen by one half and judged by the other, the gap is this.
    LuckyArm {
        /// How many arms there are.
        arms: usize,
        /// The gap by halves, a visit.
        by_halves: f64,
    },
    /// Intervals of so few successes are rough.
    FewSuccesses {
        /// Of the present model.
        present: u64,
        /// Of a perfect one.
        perfect: u64,
    },
    /// Even the whole gap does not earn what it costs.
    NothingPays {
        /// What it costs.
        costs: f64,
    },
    /// With a gap at the lower end of its interval, so much is lost at the stop.
    LostIfSmaller {
        /// How much.
        loses: f64,
        /// Where to stop then.
        stop: f64,
    },
    /// If all costs half as much again, most of what is left is gone.
    NoOverrun {
        /// What is left at the stop then.
        left: f64,
        /// Where to stop then.
        stop: f64,
    },
    /// The costs are earned in the second half of the model's life.
    PaidBackLate {
        /// After so many days.
        days: f64,
        /// Of so many.
        of: f64,
    },
    /// An A/B test of the stop takes longer than the model lives.
    CannotBeShown {
        /// So many days.
        days: f64,
        /// It lives so long.
        of: f64,
    },
    /// A project that ends early has lost.
    FirstStepsLose {
        /// The fraction of the gap from which on anything is left.
        until: f64,
    },
    /// The stop lies beyond the last estimate of costs.
    BeyondEstimates {
        /// The fraction of the gap up to which costs were estimated.
        last: f64,
    },
}

/// What a project comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Impact {
    /// The success rate of the present model.
    pub present: Counts,
    /// That of a perfect one.
    pub perfect: Counts,
    /// By how much a perfect one is better, a visit.
    pub gap: Estimated,
    /// What all of the gap is worth.
    pub worth: Estimated,
    /// The usual steps, and where to stop if that is none of them.
    pub rows: Vec<Row>,
    /// Where the next bit costs more than it brings; 0 if nothing is worth its cost. Its interval is that of the gap.
    pub stop: Estimated,
    /// What speaks against the project, or against believing in these numbers.
    pub risks: Vec<Risk>,
}

/// A share, and what it is one of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// The share.
    pub rate: f64,
    /// Its interval (Wilson's).
    pub interval: Interval,
    /// The successes.
    pub successes: u64,
    /// The trials.
    pub trials: u64,
}

impl From<Share> for Counts {
    fn from(share: Share) -> Self {
        Self {
            rate: share.value(),
            interval: share.wilson(CONFIDENCE),
            successes: share.successes(),
            trials: share.trials(),
        }
    }
}

/// What is known of the gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    present: Share,
    perfect: Share,
    gap: Estimated,
    /// Of a log: how many arms there are, and the gap if the best is chosen on one half and judged on the other.
    chosen: Option<(usize, f64)>,
}

impl Evidence {
    /// Two samples: the difference of their shares, with Newcombe's interval.
    pub fn counted(present: Counted, perfect: Counted) -> Self {
        let share = |counted: Counted| Share::new(counted.successes, counted.visits);
        let (present, perfect) = (share(present), share(perfect));
        let interval = newcombe(present, perfect, CONFIDENCE);
        let gap = Estimated { value: perfect.value() - present.value(), interval };
        Self { present, perfect, gap, chosen: None }
    }

    /// A log of a random policy. Its best arm is a part of it: how much that is better than the whole is how much it is better than the others,
    /// times the others' part.
    pub fn logged(log: &Log) -> Self {
        let (whole, shares) = (log.whole(), log.shares());
        let best = best_of(shares);
        let perfect = shares[best];
        let (successes, trials) = (whole.successes(), whole.trials());
        let others = Share::new(successes - perfect.successes(), trials - perfect.trials());
        let part = others.trials() as f64 / trials as f64;
        let against_others = Estimated {
            value: perfect.value() - others.value(),
            interval: newcombe(others, perfect, CONFIDENCE),
        };
        let gap = against_others.map(|difference| part * difference);
        Self { present: whole, perfect, gap, chosen: Some((shares.len(), gap_of_halves(log))) }
    }
}

fn best_of(shares: &[Share]) -> usize {
    let by_rate = |one: &usize, other: &usize| shares[*one].value().total_cmp(&shares[*other].value());
    // Of equals the first.
    (0..shares.len()).rev().max_by(by_rate).expect("a log has arms")
}

/// The gap if each half's best arm is judged by the other half: no arm is judged by what it was chosen for.
fn gap_of_halves(log: &Log) -> f64 {
    let arms = log.arms().len();
    let mut halves = [vec![(0u64, 0u64); arms], vec![(0, 0); arms]];
    for (number, impression) in log.impressions().iter().enumerate() {
        let (successes, trials) = &mut halves[number % 2][impression.arm];
        *trials += 1;
        *successes += u64::from(impression.clicked);
    }
    let shares = halves.map(|half| -> Vec<Share> {
        half.into_iter().map(|(successes, trials)| Share::new(successes, trials.max(1))).collect()
    });
    let judged = [shares[1][best_of(&shares[0])], shares[0][best_of(&shares[1])]];
    0.5 * judged.iter().map(Share::value).sum::<f64>() - log.whole().value()
}

/// What a project comes to.
pub fn estimate(evidence: &Evidence, reward: &Reward, cost: &Cost) -> Impact {
    let Evidence { present, perfect, gap, .. } = evidence;
    let gap_of = |rate: f64| Gap { present: 0.0, perfect: rate * reward.whole() };
    let stop = gap.map(|rate| diminishing_returns(gap_of(rate), |fraction| cost.of(fraction)));
    let mut fractions: Vec<f64> = STEPS.to_vec();
    if 0.0 < stop.value && fractions.iter().all(|step| SAME < (step - stop.value).abs()) {
        fractions.push(stop.value);
        fractions.sort_by(f64::total_cmp);
    }
    let row = |step: Step| {
        let brings = gap.map(|rate| gap_of(rate).benefit(step.fraction));
        let treated = present.value() + step.fraction * gap.value;
        let shares = Shares { control: present.value(), treated };
        let days = 2.0 * users_for_shares(shares, 1.0, DEMAND) / reward.per_day;
        Row {
            fraction: step.fraction,
            brings,
            costs: step.cost,
            net: brings.map(|brings| brings - step.cost),
            last_part: step.marginal_return.is_finite().then_some(step.marginal_return),
            days_to_show: (0.0 < gap.value && days.is_finite()).then_some(days),
        }
    };
    let rows: Vec<Row> =
        steps(gap_of(gap.value), |fraction| cost.of(fraction), &fractions).into_iter().map(row).collect();
    let project = Project { evidence, reward, cost, gap: gap_of(gap.value), rows: &rows, stop };
    Impact {
        present: (*present).into(),
        perfect: (*perfect).into(),
        gap: *gap,
        worth: gap.map(|rate| gap_of(rate).benefit(1.0)),
        risks: project.risks(),
        stop,
        rows,
    }
}

/// What risks are looked for in.
struct Project<'all> {
    evidence: &'all Evidence,
    reward: &'all Reward,
    cost: &'all Cost,
    /// What the whole gap is worth.
    gap: Gap,
    rows: &'all [Row],
    stop: Estimated,
}

impl Project<'_> {
    fn risks(&self) -> Vec<Risk> {
        let at_stop = self.rows.iter().find(|row| (row.fraction - self.stop.value).abs() < SAME);
        let mut risks = vec![self.no_gap_shown(), self.lucky_arm(), self.few_successes()];
        match at_stop {
            None => risks.push(Some(Risk::NothingPays { costs: self.cost.of(1.0) })),
            Some(row) => risks.extend([
                self.lost_if_smaller(row),
                self.no_overrun(row),
                self.paid_back_late(row),
                self.cannot_be_shown(row),
                self.first_steps_lose(),
                self.beyond_estimates(),
            ]),
        }
        risks.into_iter().flatten().collect()
    }

    fn no_gap_shown(&self) -> Option<Risk> {
        (self.evidence.gap.interval.low <= 0.0).then_some(Risk::NoGapShown)
    }

    fn lucky_arm(&self) -> Option<Risk> {
        let (arms, by_halves) = self.evidence.chosen?;
        (by_halves < self.evidence.gap.value).then_some(Risk::LuckyArm { arms, by_halves })
    }

    fn few_successes(&self) -> Option<Risk> {
        let Evidence { present, perfect, .. } = self.evidence;
        let (present, perfect) = (present.successes(), perfect.successes());
        (present.min(perfect) < SUCCESSES_FEW).then_some(Risk::FewSuccesses { present, perfect })
    }

    fn lost_if_smaller(&self, row: &Row) -> Option<Risk> {
        let (loses, stop) = (-row.net.interval.low, self.stop.interval.low);
        (0.0 < loses).then_some(Risk::LostIfSmaller { loses, stop })
    }

    fn no_overrun(&self, row: &Row) -> Option<Risk> {
        let left = row.brings.value - OVERRUN * row.costs;
        let stop = diminishing_returns(self.gap, |fraction| OVERRUN * self.cost.of(fraction));
        (left < 0.5 * row.net.value).then_some(Risk::NoOverrun { left, stop })
    }

    fn paid_back_late(&self, row: &Row) -> Option<Risk> {
        let (days, of) = (self.reward.days * row.costs / row.brings.value, self.reward.days);
        (0.5 * of < days).then_some(Risk::PaidBackLate { days, of })
    }

    fn cannot_be_shown(&self, row: &Row) -> Option<Risk> {
        let (days, of) = (row.days_to_show?, self.reward.days);
        (of < days).then_some(Risk::CannotBeShown { days, of })
    }

    fn first_steps_lose(&self) -> Option<Risk> {
        let mut parts = (1..=GRID).map(|part| f64::from(part) / f64::from(GRID));
        let until = parts.find(|part| self.cost.of(*part) < self.gap.benefit(*part))?;
        (STEPS[0] < until).then_some(Risk::FirstStepsLose { until })
    }

    fn beyond_estimates(&self) -> Option<Risk> {
        let last = self.cost.points.last()?.share.get();
        (last + SAME < self.stop.value).then_some(Risk::BeyondEstimates { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::tests::assert_near;

    fn reward() -> Reward {
        Reward { success: 2.0, per_day: 10_000.0, days: 100.0 }
    }

    fn cost(fixed: f64, points: &[(f64, f64)]) -> Cost {
        let point = |(share, costs): &(f64, f64)| CostPoint { share: Part::new(*share), costs: *costs };
        Cost { unit: "EUR".to_owned(), fixed, points: points.iter().map(point).collect() }
    }

    /// 5 % against 10 %: worth 100,000 in all.
    fn evidence(visits: u64) -> Evidence {
        let counted = |successes| Counted { successes, visits };
        Evidence::counted(counted(visits / 20), counted(visits / 10))
    }

    #[test]
    fn costs_rise_evenly_between_estimates_and_on_beyond_the_last() {
        let cost = cost(10.0, &[(0.1, 100.0), (0.2, 400.0)]);
        for (fraction, expected) in
            [(0.0, 0.0), (0.05, 60.0), (0.1, 110.0), (0.15, 260.0), (0.2, 410.0), (0.3, 710.0)]
        {
            assert_near("cost", cost.of(fraction), expected, 1e-12);
        }
    }

    #[test]
    fn steps_are_parts_of_what_the_whole_gap_is_worth_and_the_stop_is_where_costs_overtake_it() {
        // A tenth of the gap brings 10,000: up to there it costs half of that, beyond it four times.
        let found = estimate(&evidence(100_000), &reward(), &cost(0.0, &[(0.1, 5_000.0), (0.2, 45_000.0)]));
        assert_near("gap", found.gap.value, 0.05, 1e-12);
        assert_near("worth", found.worth.value, 100_000.0, 1e-9);
        let fractions: Vec<f64> = found.rows.iter().map(|row| row.fraction).collect();
        assert_eq!(fractions, STEPS);
        for row in &found.rows {
            assert_near("brings", row.brings.value, 100_000.0 * row.fraction, 1e-9);
            assert_near("costs", row.costs, 50_000.0 * row.fraction, 1e-9);
            assert_near("last part", row.last_part.expect("it costs something"), 2.0, 1e-9);
            let [low, high] =
                [found.gap.interval.low, found.gap.interval.high].map(|end| 2e6 * end * row.fraction);
            assert_near("low", row.brings.interval.low, low, 1e-9);
            assert_near("high", row.net.interval.high, high - row.costs, 1e-9);
        }
        assert_near("stop", found.stop.value, 0.1, 1e-6);
        // R: power.prop.test(p1 = .05, p2 = .055, power = .8) has n = 31234.
        assert_near(
            "days",
            found.rows[3].days_to_show.expect("there is a gap"),
            2.0 * 31_234.0 / 10_000.0,
            1e-4,
        );
        assert_eq!(found.risks, []);
    }

    #[test]
    fn every_doubt_is_raised_where_the_numbers_raise_it_and_nowhere_else() {
        let risks = |visits: u64, cost: &Cost| estimate(&evidence(visits), &reward(), cost).risks;
        let sound = cost(0.0, &[(0.5, 10_000.0), (1.0, 500_000.0)]);
        assert_eq!(risks(100_000, &sound), []);
        // 2 of 40 against 4 of 40.
        let few = risks(40, &sound);
        assert!(
            matches!(
                few[..],
                [
                    Risk::NoGapShown,
                    Risk::FewSuccesses { present: 2, perfect: 4 },
                    Risk::LostIfSmaller { stop: 0.0, .. }
                ]
            ),
            "{few:?}"
        );
        let dear = risks(100_000, &cost(0.0, &[(1.0, 100_001.0)]));
        assert_eq!(dear, [Risk::NothingPays { costs: 100_001.0 }]);
        let close = risks(100_000, &cost(0.0, &[(0.5, 45_000.0), (1.0, 500_000.0)]));
        assert!(
            matches!(close[..], [Risk::NoOverrun { stop: 0.0, .. }, Risk::PaidBackLate { of: 100.0, .. }]),
            "{close:?}"
        );
        let fixed = risks(100_000, &cost(5_000.0, &[(0.5, 1_000.0), (1.0, 500_000.0)]));
        let [Risk::FirstStepsLose { until }] = fixed[..] else { panic!("{fixed:?}") };
        assert_near("until", until, 5_000.0 / 98_000.0, 2e-3);
        let open = risks(100_000, &cost(0.0, &[(0.2, 1_000.0)]));
        assert_eq!(open, [Risk::BeyondEstimates { last: 0.2 }]);
        let short = Reward { days: 2.0, ..reward() };
        let small = cost(0.0, &[(0.01, 1.0), (0.02, 1e6)]);
        let unseen = estimate(&evidence(100_000), &short, &small).risks;
        assert!(matches!(unseen[..], [Risk::CannotBeShown { of: 2.0, .. }]), "{unseen:?}");
    }

    #[test]
    fn the_best_arm_of_a_log_is_judged_by_the_half_that_did_not_choose_it() {
        // Five arms that are alike: whichever is ahead is so by luck.
        let log = crate::experiment::log::tests::synthetic(&[0.1; 5], 1_000, crate::base::Seed::new(3));
        let evidence = Evidence::logged(&log);
        let (arms, by_halves) = evidence.chosen.expect("it was chosen");
        assert_eq!(arms, 5);
        assert!(0.0 < evidence.gap.value && by_halves < evidence.gap.value, "{evidence:?}");
        // How much the best is better than all is how much it is better than the others, times their part.
        let direct = evidence.perfect.value() - evidence.present.value();
        assert_near("gap", evidence.gap.value, direct, 1e-12);
        assert!(
            evidence.gap.interval.low < 0.0,
            "of arms that are alike none is shown to be better: {evidence:?}"
        );
    }
}
