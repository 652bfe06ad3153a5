//! What a comparison looks like: the terminal summary, and JSON with every pair.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::base::Better;
use crate::lab::compare::{
    ALPHA, BOOTSTRAP, Compared, Comparison, Contrast, Estimate, Finding, LeftOut, POWER, Side,
};
use crate::lab::sweep::{Axis, Plan, Stop};
use crate::report::command::{quoted, settings};
use crate::report::sweep::why;
use crate::report::text::{grouped, significant, with_unit};
use crate::statistics::Interval;

/// How many runs without a value are named before the rest is only counted.
const LEFT_OUT_MAX: usize = 8;

/// How many metrics that differ are named before the rest is only counted.
const NAMED_MAX: usize = 3;

/// A comparison, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct CompareReport<'compare> {
    /// What was to be run.
    pub plan: &'compare Plan,
    /// What differs between the runs.
    pub axis: &'compare Axis,
    /// Which metrics were asked for; the figures, if none were.
    pub metrics: &'compare [String],
    /// What was found.
    pub comparison: &'compare Comparison,
    /// Why it ended.
    pub stop: Stop,
}

#[derive(Serialize)]
struct Document<'compare> {
    format: u32,
    command: String,
    file: &'compare std::path::Path,
    by: &'compare str,
    baseline: SideDocument<'compare>,
    seeds: [u64; 2],
    set: &'compare [String],
    confidence: f64,
    alpha: f64,
    power: f64,
    resamples: usize,
    questions: usize,
    contrasts: Vec<ContrastDocument<'compare>>,
}

#[derive(Serialize)]
struct SideDocument<'compare> {
    value: &'compare str,
    ended: std::collections::BTreeMap<&'static str, usize>,
    not_run: usize,
    held_share: Option<f64>,
    held_interval: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct ContrastDocument<'compare> {
    runs: SideDocument<'compare>,
    metrics: Vec<MetricDocument<'compare>>,
}

#[derive(Serialize)]
struct MetricDocument<'compare> {
    name: &'compare str,
    unit: &'compare str,
    better: Better,
    finding: &'static str,
    baseline: Option<f64>,
    other: Option<f64>,
    difference: Option<f64>,
    interval: Option<[f64; 2]>,
    change: Option<f64>,
    change_interval: Option<[f64; 2]>,
    p: Option<f64>,
    p_holm: Option<f64>,
    pairs_needed: Option<u64>,
    detectable: Option<f64>,
    /// Each: the seed, the baseline's value, the other's.
    pairs: Vec<(u64, f64, f64)>,
    left_out: Vec<LeftOutDocument<'compare>>,
}

#[derive(Serialize)]
struct LeftOutDocument<'compare> {
    seed: u64,
    under: &'compare str,
    why: &'compare str,
}

impl CompareReport<'_> {
    /// The command that makes the comparison again.
    pub(super) fn command(&self) -> String {
        let Plan { files, set, first, end, .. } = self.plan;
        let file = files.first().map(|file| file.display().to_string()).unwrap_or_default();
        let by = format!("{}={}", self.axis.path, self.axis.values.join(","));
        let mut command =
            format!("wavetank compare {} --by {} --seeds {first}..{end}", quoted(&file), quoted(&by));
        command.push_str(&settings(set));
        let baseline = &self.comparison.baseline.value;
        if *baseline != self.axis.values[0] {
            command.push_str(&format!(" --baseline {}", quoted(baseline)));
        }
        self.metrics.iter().for_each(|metric| command.push_str(&format!(" --metric {}", quoted(metric))));
        command
    }

    /// What was run, on one line.
    pub(super) fn about(&self) -> String {
        let Plan { files, set, first, end, .. } = self.plan;
        let files = files.iter().map(|file| file.display().to_string());
        let seeds = format!("seeds {first} to {}", end - 1);
        files.chain([seeds]).chain(set.iter().cloned()).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn why(&self) -> &'static str {
        why(self.stop)
    }

    /// How the comparison came out, as a sentence.
    pub(super) fn finding(&self) -> String {
        let Comparison { path, baseline, contrasts, questions, .. } = self.comparison;
        let others: Vec<&str> = contrasts.iter().map(|contrast| contrast.side.value.as_str()).collect();
        let subject = format!("{path}={} against {}", others.join(", "), baseline.value);
        let all = || contrasts.iter().flat_map(|contrast| &contrast.metrics);
        let count = |finding: Finding| all().filter(|metric| metric.finding == finding).count();
        match (count(Finding::Differs), *questions) {
            (_, 0) => format!("{subject}: nothing could be compared"),
            (0, _) if count(Finding::Equal) == *questions => format!("{subject}: every pair is equal"),
            (0, _) if 0 < count(Finding::TooFew) => format!("{subject}: too few pairs to tell anything"),
            (0, _) => format!("{subject}: none of {questions} metrics differs beyond chance"),
            (some, _) => {
                let verb = if some == 1 { "differs" } else { "differ" };
                let ways = [(Some(true), "better"), (Some(false), "worse"), (None, "otherwise")];
                let ways = ways
                    .iter()
                    .filter_map(|(way, word)| named(all(), *way).map(|names| format!("{word}: {names}")));
                let ways: Vec<String> = ways.collect();
                format!("{subject}: {some} of {questions} metrics {verb}; {}", ways.join("; "))
            }
        }
    }

    /// The whole summary.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let comparison = self.comparison;
        writeln!(out, "COMPARED: {}", self.finding())?;
        writeln!(out, "{}\n{}", self.about(), self.why())?;
        let sides = std::iter::once(&comparison.baseline);
        let sides = sides.chain(comparison.contrasts.iter().map(|contrast| &contrast.side));
        writeln!(out, "\nruns")?;
        let rows = sides.map(|side| vec![comparison.path.clone() + "=" + &side.value, runs(side)]);
        write_rows(out, &rows.collect::<Vec<_>>())?;
        for contrast in &comparison.contrasts {
            self.write_contrast(out, contrast)?;
        }
        writeln!(out)?;
        self.notes().iter().try_for_each(|note| writeln!(out, "{note}"))?;
        writeln!(out, "\nrepeat   {}", self.command())
    }

    fn write_contrast(&self, out: &mut String, contrast: &Contrast) -> fmt::Result {
        let Comparison { path, baseline, .. } = self.comparison;
        for (finding, title) in TITLES {
            let mut metrics = contrast.metrics.iter().filter(|metric| metric.finding == finding).peekable();
            if metrics.peek().is_none() {
                continue;
            }
            writeln!(out, "\n{path}={} against {}: {title}", contrast.side.value, baseline.value)?;
            if matches!(finding, Finding::Equal | Finding::Untold) {
                let names: Vec<String> = metrics.map(equal).collect();
                writeln!(out, "  {}", names.join(", "))?;
                continue;
            }
            let heads = [
                "metric",
                &baseline.value,
                &contrast.side.value,
                "difference",
                "change",
                "p",
                "p Holm",
                "pairs",
                "",
            ];
            let mut rows = vec![heads.map(str::to_owned).to_vec()];
            rows.extend(metrics.filter_map(|metric| Some(row(metric, metric.estimate.as_ref()?))));
            write_rows(out, &rows)?;
        }
        for (left_out, metrics) in left_out(contrast) {
            let named: Vec<String> = left_out.iter().take(LEFT_OUT_MAX).map(of_left_out).collect();
            let more = left_out.len().saturating_sub(LEFT_OUT_MAX);
            let more = if 0 < more { format!(", and {more} more") } else { String::new() };
            writeln!(out, "\nleft out of {}:\n  {}{more}", metrics.join(", "), named.join(", "))?;
        }
        Ok(())
    }

    /// What a reader must know to judge the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let questions = self.comparison.questions;
        let (percent, by_chance) = (100.0 * BOOTSTRAP.confidence, ALPHA * questions as f64);
        let mut notes = vec![
            format!(
                "{questions} metrics were tested. If nothing differed, {by_chance:.1} of them would still have p <= {ALPHA}; \
                 Holm's procedure keeps the risk of any false alarm among them all at {ALPHA}."
            ),
            format!(
                "Intervals cover {percent:.0}% each: BCa bootstrap with {} resamples; whether runs held: exact.",
                grouped(BOOTSTRAP.resamples as u64)
            ),
        ];
        let all = || self.comparison.contrasts.iter().flat_map(|contrast| &contrast.metrics);
        if all().any(|metric| matches!(metric.finding, Finding::Open | Finding::Suspected | Finding::TooFew))
        {
            notes.push(format!(
                "\"needs\": how many pairs show the difference seen with a power of {:.0}%, if it was the only question; \"these show\": \
                 the smallest one that they would.",
                100.0 * POWER
            ));
        }
        if all().any(|metric| !metric.left_out.is_empty()) {
            notes.push(
                "Pairs are left out where a run has no value. If runs fail because of what is compared, the rest misleads: look at `held`."
                    .to_owned(),
            );
        }
        notes
    }

    /// The comparison as a JSON document, indented. Stable as that of a run is.
    pub fn json(&self) -> String {
        let comparison = self.comparison;
        let contrasts = comparison.contrasts.iter().map(|contrast| ContrastDocument {
            runs: SideDocument::of(&contrast.side),
            metrics: contrast.metrics.iter().map(MetricDocument::of).collect(),
        });
        let document = Document {
            format: 1,
            command: self.command(),
            file: self.plan.files.first().map_or(std::path::Path::new(""), |file| file),
            by: &comparison.path,
            baseline: SideDocument::of(&comparison.baseline),
            seeds: [self.plan.first, self.plan.end],
            set: &self.plan.set,
            confidence: BOOTSTRAP.confidence,
            alpha: ALPHA,
            power: POWER,
            resamples: BOOTSTRAP.resamples,
            questions: comparison.questions,
            contrasts: contrasts.collect(),
        };
        serde_json::to_string_pretty(&document).expect("names are text, and what is not finite becomes null")
    }
}

impl<'compare> SideDocument<'compare> {
    fn of(side: &'compare Side) -> Self {
        Self {
            value: &side.value,
            ended: side.ended.iter().map(|(ended, count)| (ended.words(), *count)).collect(),
            not_run: side.not_run,
            held_share: side.held.map(|(share, _)| share),
            held_interval: side.held.map(|(_, interval)| ends(interval)),
        }
    }
}

impl<'compare> MetricDocument<'compare> {
    fn of(metric: &'compare Compared) -> Self {
        let estimate = metric.estimate.as_ref();
        let left_out =
            |run: &'compare LeftOut| LeftOutDocument { seed: run.seed, under: &run.under, why: &run.why };
        Self {
            name: &metric.name,
            unit: &metric.unit,
            better: metric.better,
            finding: word(metric.finding),
            baseline: estimate.map(|estimate| estimate.baseline),
            other: estimate.map(|estimate| estimate.other),
            difference: estimate.map(|estimate| estimate.difference),
            interval: estimate.map(|estimate| ends(estimate.interval)),
            change: estimate.and_then(|estimate| estimate.change).map(|(change, _)| change),
            change_interval: estimate
                .and_then(|estimate| estimate.change)
                .map(|(_, interval)| ends(interval)),
            p: estimate.map(|estimate| estimate.p),
            p_holm: estimate.map(|estimate| estimate.p_holm),
            pairs_needed: estimate.and_then(|estimate| estimate.pairs_needed),
            detectable: estimate.map(|estimate| estimate.detectable),
            pairs: metric.pairs.iter().map(|pair| (pair.seed, pair.baseline, pair.other)).collect(),
            left_out: metric.left_out.iter().map(left_out).collect(),
        }
    }
}

/// The findings in the order in which they are told, with a title for each.
pub(super) const TITLES: [(Finding, &str); 6] = [
    (Finding::Differs, "these differ, beyond chance among all that were compared"),
    (
        Finding::Suspected,
        "suspected: these would differ if each was the only question; among so many it may be chance",
    ),
    (Finding::Open, "open: chance may have done it; that they are the same does not follow"),
    (Finding::TooFew, "too few pairs: so few show no difference, however large"),
    (Finding::Equal, "equal in every pair"),
    (Finding::Untold, "fewer than two pairs have values"),
];

/// A finding as scripts read it.
fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Differs => "differs",
        Finding::Suspected => "suspected",
        Finding::Open => "open",
        Finding::TooFew => "too-few-pairs",
        Finding::Equal => "equal",
        Finding::Untold => "untold",
    }
}

fn ends(interval: Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// Whether the other value is better; none where there is no better, or no difference.
pub(super) fn is_better(metric: &Compared) -> Option<bool> {
    let difference = metric.estimate.as_ref()?.difference;
    match metric.better {
        _ if difference == 0.0 => None,
        Better::Less => Some(difference < 0.0),
        Better::More => Some(0.0 < difference),
        Better::Neither => None,
    }
}

/// The unit of a difference: of percentages it is points.
pub(super) fn unit_of_difference(unit: &str) -> &str {
    if unit == "%" { "points" } else { unit }
}

/// A difference and where it lies.
pub(super) fn difference(metric: &Compared, estimate: &Estimate) -> String {
    let Interval { low, high } = estimate.interval;
    let unit = unit_of_difference(&metric.unit);
    with_unit(estimate.difference, unit) + &format!(" [{}, {}]", significant(low), significant(high))
}

/// A relative change and where it lies.
pub(super) fn change(estimate: &Estimate) -> String {
    estimate.change.map_or_else(String::new, |(change, Interval { low, high })| {
        let [change, low, high] = [change, low, high].map(|share| significant(100.0 * share));
        format!("{change}% [{low}, {high}]")
    })
}

/// Whether a difference is for the better, or what it would take to know that there is one.
pub(super) fn remark(metric: &Compared, estimate: &Estimate) -> String {
    match (metric.finding, is_better(metric)) {
        (Finding::Differs, Some(true)) => "better".to_owned(),
        (Finding::Differs, Some(false)) => "worse".to_owned(),
        (Finding::Suspected | Finding::Open | Finding::TooFew, _) => {
            let needs = estimate.pairs_needed.map(|pairs| format!("needs {} pairs", grouped(pairs)));
            let shows = with_unit(estimate.detectable, unit_of_difference(&metric.unit));
            needs.into_iter().chain([format!("these show {shows}")]).collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

/// The first metrics that differ this way, each once.
fn named<'one>(metrics: impl Iterator<Item = &'one Compared>, way: Option<bool>) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for metric in metrics.filter(|metric| metric.finding == Finding::Differs && is_better(metric) == way) {
        if !names.contains(&metric.name.as_str()) {
            names.push(&metric.name);
        }
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if 0 < more { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| names.join(", ") + &more)
}

/// How the runs of a side ended.
pub(super) fn runs(side: &Side) -> String {
    let mut told: Vec<String> = side
        .ended
        .iter()
        .map(|(ended, count)| format!("{} {}", grouped(*count as u64), ended.words()))
        .collect();
    if 0 < side.not_run {
        told.push(format!("{} not run", grouped(side.not_run as u64)));
    }
    if let Some((share, Interval { low, high })) = side.held {
        let [share, low, high] = [share, low, high].map(|share| significant(100.0 * share));
        told.push(format!("held {share}% [{low}, {high}]"));
    }
    told.join(", ")
}

/// A p-value; none is told more precisely than it is known.
fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.4}") } else { format!("{p:.3}") }
}

/// What is told of a metric, between its name and the remark.
pub(super) fn numbers(metric: &Compared, estimate: &Estimate) -> [String; 7] {
    [
        with_unit(estimate.baseline, &metric.unit),
        with_unit(estimate.other, &metric.unit),
        difference(metric, estimate),
        change(estimate),
        p_value(estimate.p),
        p_value(estimate.p_holm),
        metric.pairs.len().to_string(),
    ]
}

fn row(metric: &Compared, estimate: &Estimate) -> Vec<String> {
    let mut row = vec![metric.name.clone()];
    row.extend(numbers(metric, estimate));
    row.push(remark(metric, estimate));
    row
}

/// What is equal in every pair: of shares that does not say that they are the same.
pub(super) fn equal(metric: &Compared) -> String {
    match &metric.estimate {
        Some(Estimate { interval: Interval { low, high }, .. }) if low < high => {
            let unit = unit_of_difference(&metric.unit);
            format!(
                "{} (it may lie within {} and {})",
                metric.name,
                significant(*low),
                with_unit(*high, unit)
            )
        }
        _ => metric.name.clone(),
    }
}

/// The runs without a value, with the metrics that lack it: most metrics lack the same.
pub(super) fn left_out(contrast: &Contrast) -> Vec<(&[LeftOut], Vec<&str>)> {
    let mut groups: Vec<(&[LeftOut], Vec<&str>)> = Vec::new();
    for metric in contrast.metrics.iter().filter(|metric| !metric.left_out.is_empty()) {
        match groups.iter_mut().find(|(left_out, _)| *left_out == metric.left_out) {
            Some((_, names)) => names.push(&metric.name),
            None => groups.push((&metric.left_out, vec![&metric.name])),
        }
    }
    groups
}

/// A run without a value, in words.
pub(super) fn of_left_out(run: &LeftOut) -> String {
    format!("seed {} under {} ({})", run.seed, run.under, run.why)
}

/// Rows with their columns under each other.
pub(super) fn write_rows(out: &mut String, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from("  ");
        row.iter().zip(&widths).try_for_each(|(cell, width)| write!(line, "{cell:<width$}  "))?;
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::Figure;
    use crate::lab::compare::tests::{asked, compared};
    use crate::lab::sweep::{Ended, Outcome};

    /// Something of every kind: what differs, what does not, and runs without a value.
    pub(crate) fn shaped(outcome: &mut Outcome, index: usize) {
        let seed = outcome.point.seed;
        let (storm, side) = (seed as f64, index as f64);
        let broken = seed == 3 && index == 1;
        if broken {
            outcome.ended = Ended::Violated;
        }
        let figure = |name: &str, unit: &str, better, value: f64| {
            Figure::new(name, unit, better, (!broken).then_some(value))
        };
        outcome.figures = vec![
            figure("clicks <latency> p99", "s", Better::Less, 0.1 * storm - 0.05 * side),
            figure(
                "unavailability",
                "%",
                Better::Less,
                storm + if seed.is_multiple_of(2) { side } else { -side },
            ),
            figure("messages", "", Better::Neither, 1000.0 * storm),
        ];
    }

    pub(crate) fn with_report<T>(seeds: u64, tell: impl FnOnce(CompareReport<'_>) -> T) -> T {
        let comparison = compared(seeds, &["3", "5"], shaped);
        let (plan, axis) = asked(seeds, &["3", "5"]);
        tell(CompareReport {
            plan: &plan,
            axis: &axis,
            metrics: &[],
            comparison: &comparison,
            stop: Stop::Complete,
        })
    }

    #[test]
    fn a_comparison_leads_with_what_differs_and_says_what_it_does_not_know() {
        insta::assert_snapshot!(with_report(13, |report| report.text()), @r#"
        COMPARED: systems.broker.brokers=5 against 3: 1 of 4 metrics differs; better: clicks <latency> p99
        scenarios/a.toml, seeds 1 to 13, acts.stir=20s
        every run has ended

        runs
          systems.broker.brokers=3  13 held, held 100% [75.3, 100]
          systems.broker.brokers=5  12 held, 1 violated, held 92.3% [64, 99.8]

        systems.broker.brokers=5 against 3: these differ, beyond chance among all that were compared
          metric                3        5        difference              change                 p       p Holm  pairs
          clicks <latency> p99  0.733 s  0.683 s  -0.05 s [-0.05, -0.05]  -6.82% [-9.68, -5.36]  0.0005  0.002   12     better

        systems.broker.brokers=5 against 3: open: chance may have done it; that they are the same does not follow
          metric          3      5      difference                  change            p      p Holm  pairs
          held            100%   92.3%  -7.69 points [-40.1, 28.5]                    1.000  1.000   13     needs 100 pairs; these show 21.6 points
          unavailability  7.33%  7.33%  0 points [-0.5, 0.5]        0% [-7.69, 8.45]  1.000  1.000   12     these show 0.845 points

        systems.broker.brokers=5 against 3: equal in every pair
          messages

        left out of clicks <latency> p99, unavailability, messages:
          seed 3 under 5 (violated)

        4 metrics were tested. If nothing differed, 0.2 of them would still have p <= 0.05; Holm's procedure keeps the risk of any false alarm among them all at 0.05.
        Intervals cover 95% each: BCa bootstrap with 4,000 resamples; whether runs held: exact.
        "needs": how many pairs show the difference seen with a power of 80%, if it was the only question; "these show": the smallest one that they would.
        Pairs are left out where a run has no value. If runs fail because of what is compared, the rest misleads: look at `held`.

        repeat   wavetank compare scenarios/a.toml --by systems.broker.brokers=3,5 --seeds 1..14 --set acts.stir=20s
        "#);
        insta::assert_snapshot!(with_report(4, |report| report.text()), @r#"
        COMPARED: systems.broker.brokers=5 against 3: too few pairs to tell anything
        scenarios/a.toml, seeds 1 to 4, acts.stir=20s
        every run has ended

        runs
          systems.broker.brokers=3  4 held, held 100% [39.8, 100]
          systems.broker.brokers=5  3 held, 1 violated, held 75% [19.4, 99.4]

        systems.broker.brokers=5 against 3: too few pairs: so few show no difference, however large
          metric                3        5        difference                change               p      p Holm  pairs
          held                  100%     75%      -25 points [-84.8, 66.2]                       1.000  1.000   4      needs 29 pairs; these show 70 points
          clicks <latency> p99  0.233 s  0.183 s  -0.05 s [-0.05, -0.05]    -21.4% [-50, -12.5]  0.250  1.000   3      needs 2 pairs; these show 0 s
          unavailability        2.33%    2.67%    0.333 points [-1, 1]      14.3% [-100, 37.5]   1.000  1.000   3      needs 97 pairs; these show 1.87 points

        systems.broker.brokers=5 against 3: equal in every pair
          messages

        left out of clicks <latency> p99, unavailability, messages:
          seed 3 under 5 (violated)

        4 metrics were tested. If nothing differed, 0.2 of them would still have p <= 0.05; Holm's procedure keeps the risk of any false alarm among them all at 0.05.
        Intervals cover 95% each: BCa bootstrap with 4,000 resamples; whether runs held: exact.
        "needs": how many pairs show the difference seen with a power of 80%, if it was the only question; "these show": the smallest one that they would.
        Pairs are left out where a run has no value. If runs fail because of what is compared, the rest misleads: look at `held`.

        repeat   wavetank compare scenarios/a.toml --by systems.broker.brokers=3,5 --seeds 1..5 --set acts.stir=20s
        "#);
    }

    #[test]
    fn scripts_find_every_pair_and_every_run_without_a_value() {
        let json = with_report(13, |report| report.json());
        let told: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let metric = &told["contrasts"][0]["metrics"][1];
        assert_eq!((&metric["finding"], &metric["better"]), (&"differs".into(), &"less".into()), "{json}");
        assert_eq!(metric["pairs"].as_array().map(Vec::len), Some(12));
        assert_eq!(metric["left_out"][0], serde_json::json!({ "seed": 3, "under": "5", "why": "violated" }));
        assert_eq!(
            (&told["questions"], &told["contrasts"][0]["runs"]["ended"]["violated"]),
            (&4.into(), &1.into())
        );
    }
}
