//! What a comparison of strategies looks like: the terminal summary, and JSON.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::lab::strategies::{CONFIDENCE, Findings, Found, Mean, Rate};
use crate::report::command::quoted;
use crate::report::compare::write_rows;
use crate::report::text::{grouped, significant};
use crate::scenario::Study;
use crate::statistics::Interval;

/// The title of the table of losses.
const COSTS: &str = "what it costs";

/// A comparison of strategies, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct StrategiesReport<'study> {
    /// What was compared.
    pub study: &'study Study,
    /// What was found.
    pub findings: &'study Findings,
}

impl StrategiesReport<'_> {
    /// The command that makes the comparison again.
    pub(super) fn command(&self) -> String {
        let Study { path, seed, streams, overrides, .. } = self.study;
        let file = path.display().to_string();
        let mut command = format!("wavetank compare {} --streams {streams} --seed {seed}", quoted(&file));
        overrides.iter().for_each(|set| command.push_str(&format!(" --set {}", quoted(set))));
        command
    }

    /// Whether the control is as good as any arm, and no arm worse: every difference that is seen is chance.
    pub(super) fn is_a_a(&self) -> bool {
        let truth = &self.findings.truth;
        truth.iter().all(|rate| (rate - truth[0]).abs() < 1e-12)
    }

    /// How the comparison came out, as a sentence.
    pub(super) fn finding(&self) -> String {
        let found = &self.findings.strategies;
        if self.is_a_a() {
            let alarms = |found: &&Found| found.false_alarms.value();
            let most = found.iter().max_by(|one, other| alarms(one).total_cmp(&alarms(other)));
            let least = found.iter().min_by(|one, other| alarms(one).total_cmp(&alarms(other)));
            let (Some(most), Some(least)) = (most, least) else { return String::new() };
            return format!(
                "arms that are alike: false alarms in {} of streams under {}, in {} under {}",
                percent(alarms(&most)),
                most.name,
                percent(alarms(&least)),
                least.name
            );
        }
        let least =
            found.iter().min_by(|one, other| one.final_regret.value.total_cmp(&other.final_regret.value));
        let Some(least) = least else { return String::new() };
        format!(
            "{} loses least: {} successes, and the best arm in {} of streams",
            least.name,
            mean(&least.final_regret),
            rate(&least.right)
        )
    }

    /// What was run, on one line.
    pub(super) fn about(&self) -> String {
        let Study { path, users, streams, seed, overrides, .. } = self.study;
        let arms = self.findings.arms.iter().zip(&self.findings.truth);
        let arms: Vec<String> = arms.map(|(name, rate)| format!("{name} {}", percent(*rate))).collect();
        let mut about = format!(
            "{}, {} streams from seed {seed}, {} users a day for {} days; {}",
            path.display(),
            grouped(*streams),
            grouped(u64::from(users.per_day)),
            users.days,
            arms.join(", ")
        );
        overrides.iter().for_each(|set| about.push_str(&format!(", {set}")));
        about
    }

    /// The whole summary.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "COMPARED: {}", self.finding())?;
        writeln!(out, "{}\n{}", self.study.title, self.about())?;
        for table in self.tables() {
            writeln!(out, "\n{}", table.title)?;
            let heads = std::iter::once("strategy").chain(table.heads.iter().copied()).map(str::to_owned);
            let mut rows: Vec<Vec<String>> = vec![heads.collect()];
            rows.extend(table.rows);
            write_rows(out, &rows)?;
        }
        writeln!(out)?;
        self.notes().iter().try_for_each(|note| writeln!(out, "{note}"))?;
        writeln!(out, "\nrepeat   {}", self.command())
    }

    /// The numbers of all strategies, each with its interval.
    pub(super) fn tables(&self) -> Vec<Table> {
        let found = || self.findings.strategies.iter();
        let rows = |cells: fn(&Found) -> Vec<String>| -> Vec<Vec<String>> {
            found().map(|found| std::iter::once(found.name.clone()).chain(cells(found)).collect()).collect()
        };
        let mut tables = vec![
            Table {
                title: "how often it errs",
                heads: &["right", "false alarms", "coverage", "controls"],
                rows: rows(|found| {
                    let coverage = found.coverage.as_ref().map_or("none".to_owned(), rate);
                    vec![rate(&found.right), rate(&found.false_alarms), coverage, found.controls.clone()]
                }),
            },
            Table {
                title: COSTS,
                heads: &["regret", "against the first", "visits under a worse arm"],
                rows: rows(|found| {
                    let against = found.against_first.as_ref().map_or("-".to_owned(), mean);
                    vec![mean(&found.final_regret), against, mean(&found.worse)]
                }),
            },
            Table {
                title: "when it decides",
                heads: &["before the end", "days", "5%, 50%, 95%", "visits"],
                rows: rows(|found| {
                    let days = found.days.map(significant).join(", ");
                    vec![rate(&found.early), mean(&found.days_mean), days, mean(&found.visits_until)]
                }),
            },
        ];
        // Where arms are alike nothing is lost.
        tables.retain(|table| !(self.is_a_a() && table.title == COSTS));
        tables
    }

    /// What a reader must know to judge the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let percent = 100.0 * CONFIDENCE;
        let mut notes = vec![
            format!(
                "Intervals cover {percent:.0}% each, over {} streams: shares by Clopper and Pearson, means by Student. Every strategy met \
                 the same users, and `against the first` is of pairs.",
                grouped(self.findings.streams)
            ),
            "right: chose the best arm, or one of several. false alarms: said that arms differ, or left the control, without a reason in \
             the truth. coverage: how often all its intervals of effects held the truth."
                .to_owned(),
            "regret: successes lost against the best arm of each moment, until the end of the stream: after its decision everybody gets the \
             arm that it chose."
                .to_owned(),
        ];
        if 2 < self.findings.arms.len() {
            let note = "Each arm is tested against the first, at the probability of a false alarm over their number (Bonferroni).";
            notes.insert(2, note.to_owned());
        }
        notes
    }

    /// The comparison as a JSON document, indented. Stable as that of a run is.
    pub fn json(&self) -> String {
        let Findings { days, arms, truth, streams, visits, .. } = self.findings;
        let document = Document {
            format: 1,
            command: self.command(),
            file: &self.study.path,
            title: &self.study.title,
            streams: *streams,
            seed: self.study.seed.get(),
            set: &self.study.overrides,
            confidence: CONFIDENCE,
            arms,
            truth,
            visits: *visits,
            days,
            strategies: self.findings.strategies.iter().map(StrategyDocument::of).collect(),
        };
        serde_json::to_string_pretty(&document).expect("names are text, and what is not finite becomes null")
    }
}

/// One table of a report: a row for each strategy.
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) heads: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Document<'study> {
    format: u32,
    command: String,
    file: &'study std::path::Path,
    title: &'study str,
    streams: u64,
    seed: u64,
    set: &'study [String],
    confidence: f64,
    arms: &'study [String],
    truth: &'study [f64],
    visits: u64,
    days: &'study [f64],
    strategies: Vec<StrategyDocument<'study>>,
}

#[derive(Serialize)]
struct StrategyDocument<'study> {
    name: &'study str,
    controls: &'study str,
    right: RateDocument,
    false_alarms: RateDocument,
    coverage: Option<RateDocument>,
    early: RateDocument,
    regret: MeanDocument,
    against_first: Option<MeanDocument>,
    worse: MeanDocument,
    days: MeanDocument,
    /// The quantiles 5, 50 and 95 %.
    days_quantiles: [f64; 3],
    visits_until: MeanDocument,
    chosen: &'study [u64],
    regret_curve: Vec<MeanDocument>,
    regret_band: Vec<[f64; 2]>,
    allocation: &'study [Vec<f64>],
}

#[derive(Serialize)]
struct RateDocument {
    share: f64,
    interval: [f64; 2],
    happened: u64,
    of: u64,
}

#[derive(Serialize)]
struct MeanDocument {
    mean: f64,
    interval: [f64; 2],
}

impl<'study> StrategyDocument<'study> {
    fn of(found: &'study Found) -> Self {
        Self {
            name: &found.name,
            controls: &found.controls,
            right: RateDocument::of(&found.right),
            false_alarms: RateDocument::of(&found.false_alarms),
            coverage: found.coverage.as_ref().map(RateDocument::of),
            early: RateDocument::of(&found.early),
            regret: MeanDocument::of(&found.final_regret),
            against_first: found.against_first.as_ref().map(MeanDocument::of),
            worse: MeanDocument::of(&found.worse),
            days: MeanDocument::of(&found.days_mean),
            days_quantiles: found.days,
            visits_until: MeanDocument::of(&found.visits_until),
            chosen: &found.chosen,
            regret_curve: found.regret.iter().map(|spread| MeanDocument::of(&spread.mean)).collect(),
            regret_band: found.regret.iter().map(|spread| ends(spread.band)).collect(),
            allocation: &found.allocation,
        }
    }
}

impl RateDocument {
    fn of(rate: &Rate) -> Self {
        Self { share: rate.value(), interval: ends(rate.interval), happened: rate.happened, of: rate.of }
    }
}

impl MeanDocument {
    fn of(mean: &Mean) -> Self {
        Self { mean: mean.value, interval: ends(mean.interval) }
    }
}

fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// A share with its interval: `32.8% [31.4, 34.3]`.
pub(super) fn rate(rate: &Rate) -> String {
    let [low, high] = ends(rate.interval).map(|end| format!("{:.1}", 100.0 * end));
    format!("{:.1}% [{low}, {high}]", 100.0 * rate.value())
}

/// A mean with its interval.
pub(super) fn mean(mean: &Mean) -> String {
    let [low, high] = ends(mean.interval).map(significant);
    format!("{} [{low}, {high}]", significant(mean.value))
}

pub(super) fn percent(share: f64) -> String {
    format!("{}%", significant(100.0 * share))
}
