//! What a comparison of strategies looks like: the terminal summary, and JSON.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::experiment::course::SAME;
use crate::experiment::strategy::Unit;
use crate::lab::strategies::{CONFIDENCE, Earned, Findings, Found, LogFacts, Mean, Rate};
use crate::report::command::{quoted, settings};
use crate::report::compare::write_rows;
use crate::report::text::{grouped, significant};
use crate::report::trust::{DetectorDocument, EstimatedDocument};
use crate::scenario::{Study, Visitors};
use crate::statistics::{Interval, student};

/// The title of the table of losses.
const COSTS: &str = "what it costs";

/// With fewer clicks in a pass through a log nothing is claimed of it, or it is said that these are few; with fewer streams, that its intervals
/// are rough.
const CLICKS_MIN: f64 = 10.0;
const CLICKS_FEW: f64 = 50.0;
const STREAMS_FEW: u64 = 300;

/// Of how many arms the tables tell, beyond which JSON does.
const ARMS_TOLD: usize = 3;

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
        let command = format!("wavetank compare {} --streams {streams} --seed {seed}", quoted(&file));
        command + &settings(overrides)
    }

    /// Whether the control is as good as any arm, and no arm worse: every difference that is seen is chance. Of a log nobody knows, and
    /// segments are there to differ.
    pub(super) fn is_a_a(&self) -> bool {
        if self.findings.log.is_some() || self.study.visitors.has_segments() {
            return false;
        }
        let truth = &self.findings.truth;
        truth.iter().all(|rate| (rate - truth[0]).abs() < SAME)
    }

    /// How the comparison came out, as a sentence.
    pub(super) fn finding(&self) -> String {
        if self.is_a_a() {
            return self.finding_of_alike();
        }
        if let Some(log) = &self.findings.log {
            return self.finding_of_log(log);
        }
        let sure = self.findings.least.as_ref().filter(|least| least.rivals.is_empty());
        let right = sure.and_then(|least| self.findings.strategies[least.best].right.as_ref()).map(rate);
        let right = right.map(|right| format!(", and the best arm in {right} of streams"));
        self.who_loses_least() + &right.unwrap_or_default()
    }

    /// Who loses least, and who may as well.
    pub(super) fn who_loses_least(&self) -> String {
        let Some(least) = &self.findings.least else { return String::new() };
        let found = |index: &usize| &self.findings.strategies[*index];
        let (best, lost) = (&found(&least.best).name, mean(&found(&least.best).final_regret));
        match &least.rivals[..] {
            [] => format!("{best} loses least: {lost} successes"),
            [rival] => {
                let (rival, other) = (&found(rival).name, mean(&found(rival).final_regret));
                format!(
                    "{best} and {rival} lose least, and cannot be told apart: {lost} and {other} successes"
                )
            }
            rivals => {
                let rivals = self.named(rivals);
                format!("{best} loses least, but {rivals} cannot be told apart from it: {lost} successes")
            }
        }
    }

    /// Strategies by their names, or how many there are.
    fn named(&self, numbers: &[usize]) -> String {
        let name = |number: &usize| &self.findings.strategies[*number].name;
        match numbers {
            [one] => name(one).clone(),
            [one, other] => format!("{} and {}", name(one), name(other)),
            more => format!("{} others", more.len()),
        }
    }

    /// How a replay came out: who earns most of those that surely earn more than the random policy, and who may be as good.
    fn finding_of_log(&self, log: &LogFacts) -> String {
        let found = &self.findings.strategies;
        let random = percent(log.random.value());
        let clicks = log.random.happened as f64 / log.arms.len() as f64;
        if clicks < CLICKS_MIN {
            let clicks = significant(clicks);
            return format!(
                "the log is too small to tell: {clicks} clicks in a pass, of which {CLICKS_MIN} are the least"
            );
        }
        // The best of several must be ahead by more: Bonferroni.
        let tail = 0.5 * (1.0 - CONFIDENCE);
        let quantile = |tail: f64| student::quantile(tail, self.findings.streams as f64 - 1.0);
        let wider = quantile(tail / found.len() as f64) / quantile(tail);
        let highest = |found: &mut dyn Iterator<Item = (usize, &Found)>| -> Option<(usize, String, Earned)> {
            let earned = found.filter_map(|(index, found)| Some((index, found.name.clone(), found.earned?)));
            earned.max_by(|one, other| one.2.rate.value.total_cmp(&other.2.rate.value))
        };
        let sure = |found: &Found| {
            let more = found.earned.map(|earned| earned.against_random);
            more.is_some_and(|more| wider * (more.value - more.interval.low) < more.value)
        };
        let all = || found.iter().enumerate();
        if let Some((index, name, earned)) = highest(&mut all().filter(|(_, found)| sure(found))) {
            let most = log.most.iter().flat_map(|most| std::iter::once(&most.best).chain(&most.rivals));
            let others: Vec<usize> = most.copied().filter(|other| *other != index).collect();
            let rival = match &others[..] {
                [] => String::new(),
                others => format!("; {} may be as good", self.named(others)),
            };
            return format!(
                "{name} earns {}% clicks where the random policy has {random}: {} points more{rival}",
                points(earned.rate),
                points(earned.against_random)
            );
        }
        let Some((_, name, earned)) = highest(&mut all()) else { return String::new() };
        format!(
            "no strategy is shown to earn more than the random policy's {random} clicks: the most has {name}, {}%",
            points(earned.rate)
        )
    }

    fn finding_of_alike(&self) -> String {
        let alarms = || {
            let all = self.findings.strategies.iter();
            all.filter_map(|found| Some((found.false_alarms?.value(), &found.name)))
        };
        let most = alarms().max_by(|one, other| one.0.total_cmp(&other.0));
        let least = alarms().min_by(|one, other| one.0.total_cmp(&other.0));
        let (Some((most, of_most)), Some((least, of_least))) = (most, least) else { return String::new() };
        let (most, least) = (percent(most), percent(least));
        format!(
            "arms that are alike: false alarms in {most} of streams under {of_most}, in {least} under {of_least}"
        )
    }

    /// What was run, on one line.
    pub(super) fn about(&self) -> String {
        let Study { path, visitors, streams, seed, overrides, .. } = self.study;
        let arms = self.findings.arms.iter().zip(&self.findings.truth);
        let arms: Vec<String> = arms.map(|(name, rate)| format!("{name} {}", percent(*rate))).collect();
        let streams = grouped(*streams);
        let who = match visitors {
            Visitors::Users(users) => {
                let per_day = grouped(u64::from(users.per_day));
                format!("{streams} streams from seed {seed}, {per_day} users a day for {} days", users.days)
            }
            Visitors::Log(log) => {
                let (count, days) = (grouped(log.whole().trials()), log.days());
                let about = &log.about;
                format!(
                    "{streams} orders from seed {seed} of {count} impressions of {about}, logged in {days} days"
                )
            }
        };
        let mut about = format!("{}, {who}; {}", path.display(), arms.join(", "));
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
            let heads = table.heads.iter().map(|head| (*head).to_owned());
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
        let costs = Table {
            title: COSTS.to_owned(),
            heads: vec!["strategy", "regret", "against the first", "visits under a worse arm"],
            rows: rows(|found| {
                let against = found.against_first.as_ref().map_or("-".to_owned(), mean);
                vec![mean(&found.final_regret), against, mean(&found.worse)]
            }),
        };
        let times = Table {
            title: "when it decides".to_owned(),
            heads: vec!["strategy", "before the end", "days", "5% by day", "50% by", "95% by", "visits"],
            rows: rows(|found| {
                let [early, half, late] = found.days.map(|day| mean(&day));
                vec![rate(&found.early), mean(&found.days_mean), early, half, late, mean(&found.visits_until)]
            }),
        };
        let ends = Table {
            title: "which arm it ends with".to_owned(),
            heads: vec!["strategy", "chosen", "shown at the end"],
            rows: found().map(|found| self.ended(found)).collect(),
        };
        if let Some(log) = &self.findings.log {
            let earned = Table {
                title: "what it earns".to_owned(),
                heads: vec![
                    "strategy",
                    "clicked, %",
                    "against random",
                    "against the first",
                    "impressions matched",
                ],
                rows: rows(|found| {
                    let Some(earned) = &found.earned else { return vec!["-".to_owned(); 4] };
                    let against = earned.against_first.map_or("-".to_owned(), points);
                    let (rate, random) = (points(earned.rate), points(earned.against_random));
                    vec![rate, random, against, mean(&earned.matched)]
                }),
            };
            let choices = Table {
                title: "what it chooses".to_owned(),
                heads: vec!["strategy", "the best logged arm", "controls"],
                rows: rows(|found| {
                    let right = found.right.as_ref().map_or("-".to_owned(), rate);
                    vec![right, found.controls.clone()]
                }),
            };
            return vec![self.logged(log), earned, choices, costs, times, ends];
        }
        let mut tables = vec![
            Table {
                title: "how often it errs".to_owned(),
                heads: vec!["strategy", "right", "false alarms", "coverage", "controls"],
                rows: rows(|found| {
                    let [right, alarms, coverage] = [&found.right, &found.false_alarms, &found.coverage]
                        .map(|share| share.as_ref().map_or("none".to_owned(), rate));
                    vec![right, alarms, coverage, found.controls.clone()]
                }),
            },
            costs,
            times,
            ends,
        ];
        tables.extend(self.tables_of_trust());
        // Where arms are alike nothing is lost.
        tables.retain(|table| !(self.is_a_a() && table.title == COSTS));
        tables
    }

    /// How often a strategy ended with each arm, and what it showed then: the arms that count most.
    fn ended(&self, found: &Found) -> Vec<String> {
        let shown = found.allocation.last().map_or(&[][..], Vec::as_slice);
        let chosen = found.chosen.iter().map(|chosen| (chosen.value(), rate(chosen)));
        let shown = shown.iter().map(|shown| (shown.value, format!("{}%", points(*shown))));
        vec![found.name.clone(), self.by_arm(chosen.collect()), self.by_arm(shown.collect())]
    }

    /// Shares of arms, the largest first.
    fn by_arm(&self, shares: Vec<(f64, String)>) -> String {
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|one, other| shares[*other].0.total_cmp(&shares[*one].0));
        let told = order
            .iter()
            .take(ARMS_TOLD)
            .map(|arm| format!("{} {}", self.findings.arms[*arm], shares[*arm].1));
        let mut told = told.collect::<Vec<_>>().join(", ");
        if order.is_empty() {
            told.push('-');
        }
        if ARMS_TOLD < order.len() {
            told.push_str(&format!(", and {} more", order.len() - ARMS_TOLD));
        }
        told
    }

    /// What the log says of its arms.
    fn logged(&self, log: &LogFacts) -> Table {
        let arms = self.findings.arms.iter().map(String::as_str).zip(&log.arms);
        let row = |(name, share): (&str, &Rate)| {
            let rate = Mean { value: share.value(), interval: share.interval };
            vec![name.to_owned(), grouped(share.of), grouped(share.happened), points(rate)]
        };
        Table {
            title: "what was logged".to_owned(),
            heads: vec!["arm", "impressions", "clicks", "clicked, %"],
            rows: arms.chain([("all, at random", &log.random)]).map(row).collect(),
        }
    }

    /// What a reader must know to judge the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        if let Some(log) = &self.findings.log {
            return self.notes_of_log(log);
        }
        let percent = 100.0 * CONFIDENCE;
        let mut notes = vec![
            format!(
                "Intervals cover {percent:.0}% each, over {} streams: shares by Clopper and Pearson, means by Student, the days until which \
                 so many have decided by order statistics. Every strategy met \
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
        notes.insert(2, self.note_of_unit());
        if self.study.visitors.has_segments() {
            notes[3].push_str(
                " It is the best arm for the segment of each user, which one arm for all cannot be. The rates of arms, and what is right, are \
                 averages over segments.",
            );
        }
        if 2 < self.findings.strategies.len() && !self.is_a_a() {
            notes[0].push_str(" The headline allows for the number of strategies (Bonferroni).");
        }
        if 2 < self.findings.arms.len() {
            let note = "Each arm is tested against the first, at the probability of a false alarm over their number (Bonferroni).";
            notes.insert(2, note.to_owned());
        }
        notes.extend(self.notes_of_trust());
        notes
    }

    /// What tests count.
    fn note_of_unit(&self) -> String {
        if !self.study.visitors.come_again() {
            return "Tests count users: each comes once.".to_owned();
        }
        let all = || self.findings.strategies.iter();
        let visits: Vec<&str> =
            all().filter(|found| found.unit == Unit::Visit).map(|found| found.name.as_str()).collect();
        let users = "Users come again and keep their arm, so tests count users: an arm's rate is the ratio of two means over them, with the \
                     variance of the delta method.";
        let each = "count visits: each gets an arm of its own, whoever comes.";
        match visits.len() {
            0 => users.to_owned(),
            all if all == self.findings.strategies.len() => format!("Tests {each}"),
            _ => format!("{users} Those of {} {each}", visits.join(", ")),
        }
    }

    fn notes_of_log(&self, log: &LogFacts) -> Vec<String> {
        let Findings { arms, streams, .. } = self.findings;
        let matched = log.random.of as f64 / arms.len() as f64;
        let clicks = matched * log.random.value();
        let mut notes = vec![
            format!(
                "Each stream is another order of the log. An impression counts for a strategy only if it would have shown the arm that was \
                 logged, and is passed over otherwise (replay: Li, Chu, Langford and Wang, 2011): of {} some {} count, with {} clicks.{}",
                grouped(log.random.of),
                grouped(matched.round() as u64),
                significant(clicks),
                if clicks < CLICKS_FEW { " These are few: only large differences can be seen." } else { "" }
            ),
            format!(
                "clicked, against random, against the first: intervals cover at least {:.0}% of other logs of the same size, by bootstrap; \
                 those of differences narrow with more streams.{} The headline allows for the number of strategies (Bonferroni). All \
                 other intervals are over orders of this one log.",
                100.0 * CONFIDENCE,
                if *streams < STREAMS_FEW { " With fewer than 300 streams they are rough." } else { "" }
            ),
            format!(
                "regret and the best arm go by the log's own rates. Whether these differ at all: p = {}, by Pearson's test. The highest \
                 of several is likely to be too high, and regret with it.",
                significant(log.alike)
            ),
            "False alarms and coverage are not told: they need a truth that is no estimate. Nor are seasons and drift: an order that is drawn \
             has none."
                .to_owned(),
        ];
        if 2 < arms.len() {
            let note = "Each arm is tested against the first, at the probability of a false alarm over their number (Bonferroni).";
            notes.push(note.to_owned());
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
            log: self.findings.log.as_ref().map(|log| LogDocument {
                arms: log.arms.iter().map(RateDocument::of).collect(),
                random: RateDocument::of(&log.random),
                alike_p: log.alike,
            }),
            strategies: self.findings.strategies.iter().map(StrategyDocument::of).collect(),
        };
        serde_json::to_string_pretty(&document).expect("names are text, and what is not finite becomes null")
    }
}

/// One table of a report: a row for each strategy, or for each arm.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) heads: Vec<&'static str>,
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
    /// Of a replay of a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogDocument>,
    strategies: Vec<StrategyDocument<'study>>,
}

#[derive(Serialize)]
struct LogDocument {
    arms: Vec<RateDocument>,
    random: RateDocument,
    alike_p: f64,
}

#[derive(Serialize)]
struct EarnedDocument {
    matched: MeanDocument,
    rate: MeanDocument,
    against_random: MeanDocument,
    against_first: Option<MeanDocument>,
}

#[derive(Serialize)]
struct StrategyDocument<'study> {
    name: &'study str,
    /// What its test counts.
    unit: Unit,
    controls: &'study str,
    right: Option<RateDocument>,
    false_alarms: Option<RateDocument>,
    coverage: Option<RateDocument>,
    /// By arm but the control: how far estimates of its effect are off. Not of a replay of a log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    estimates: Vec<Option<EstimatedDocument>>,
    /// How often detectors of invalid experiments alarm. Not of a replay of a log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detectors: Vec<DetectorDocument>,
    /// Of a replay of a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    earned: Option<EarnedDocument>,
    early: RateDocument,
    regret: MeanDocument,
    against_first: Option<MeanDocument>,
    worse: MeanDocument,
    days: MeanDocument,
    /// The quantiles 5, 50 and 95 %.
    days_quantiles: [f64; 3],
    days_quantiles_intervals: [[f64; 2]; 3],
    visits_until: MeanDocument,
    chosen: Vec<u64>,
    chosen_shares: Vec<RateDocument>,
    regret_curve: Vec<MeanDocument>,
    regret_band: Vec<[f64; 2]>,
    allocation: Vec<Vec<f64>>,
    allocation_intervals: Vec<Vec<[f64; 2]>>,
}

/// A share with its interval.
#[derive(Serialize)]
pub(super) struct RateDocument {
    share: f64,
    interval: [f64; 2],
    happened: u64,
    of: u64,
}

/// A mean with its interval.
#[derive(Serialize)]
pub(super) struct MeanDocument {
    mean: f64,
    interval: [f64; 2],
}

impl<'study> StrategyDocument<'study> {
    fn of(found: &'study Found) -> Self {
        Self {
            name: &found.name,
            unit: found.unit,
            controls: &found.controls,
            right: found.right.as_ref().map(RateDocument::of),
            false_alarms: found.false_alarms.as_ref().map(RateDocument::of),
            coverage: found.coverage.as_ref().map(RateDocument::of),
            estimates: EstimatedDocument::all(found),
            detectors: DetectorDocument::all(found),
            earned: found.earned.as_ref().map(|earned| EarnedDocument {
                matched: MeanDocument::of(&earned.matched),
                rate: MeanDocument::of(&earned.rate),
                against_random: MeanDocument::of(&earned.against_random),
                against_first: earned.against_first.as_ref().map(MeanDocument::of),
            }),
            early: RateDocument::of(&found.early),
            regret: MeanDocument::of(&found.final_regret),
            against_first: found.against_first.as_ref().map(MeanDocument::of),
            worse: MeanDocument::of(&found.worse),
            days: MeanDocument::of(&found.days_mean),
            days_quantiles: found.days.map(|day| day.value),
            days_quantiles_intervals: found.days.map(|day| ends(day.interval)),
            visits_until: MeanDocument::of(&found.visits_until),
            chosen: found.chosen.iter().map(|chosen| chosen.happened).collect(),
            chosen_shares: found.chosen.iter().map(RateDocument::of).collect(),
            regret_curve: found.regret.iter().map(|spread| MeanDocument::of(&spread.mean)).collect(),
            regret_band: found.regret.iter().map(|spread| ends(spread.band)).collect(),
            allocation: of_shares(found, |share| share.value),
            allocation_intervals: of_shares(found, |share| ends(share.interval)),
        }
    }
}

impl RateDocument {
    pub(super) fn of(rate: &Rate) -> Self {
        Self { share: rate.value(), interval: ends(rate.interval), happened: rate.happened, of: rate.of }
    }
}

impl MeanDocument {
    pub(super) fn of(mean: &Mean) -> Self {
        Self { mean: mean.value, interval: ends(mean.interval) }
    }
}

/// Of each share of visits that was shown, by checkpoint and arm.
fn of_shares<T>(found: &Found, of: fn(&Mean) -> T) -> Vec<Vec<T>> {
    found.allocation.iter().map(|shares| shares.iter().map(of).collect()).collect()
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

/// A share, or a difference of shares, in points of a hundred with its interval: `0.46 [0.35, 0.61]`.
pub(super) fn points(share: Mean) -> String {
    let interval = Interval { low: 100.0 * share.interval.low, high: 100.0 * share.interval.high };
    mean(&Mean { value: 100.0 * share.value, interval })
}

pub(super) fn percent(share: f64) -> String {
    format!("{}%", significant(100.0 * share))
}
