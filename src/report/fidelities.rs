//! What a comparison of strategies without and with platforms looks like: the terminal summary, and JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::base::Better;
use crate::lab::fidelities::{Estimate, Findings, Found, METRICS, Metric, OF_REGRET, Row};
use crate::lab::strategies::CONFIDENCE;
use crate::lab::sweep::{Ended, Plan, Stop};
use crate::report::command::{quoted, settings, stem};
use crate::report::compare::write_rows;
use crate::report::text::{grouped, significant};
use crate::scenario::{Carried, Study};

/// Such a comparison, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct FidelitiesReport<'study> {
    /// What was compared.
    pub study: &'study Study,
    /// How platforms carried it out.
    pub carried: &'study [Carried],
    /// What was run: a file for each platform.
    pub plan: &'study Plan,
    /// What was set, in the strategies or on the platforms.
    pub set: &'study [String],
    /// What was found.
    pub findings: &'study Findings,
    /// Why the runs ended.
    pub stop: Stop,
}

impl FidelitiesReport<'_> {
    /// The command that makes the comparison again.
    pub(super) fn command(&self) -> String {
        let Plan { first, end, .. } = self.plan;
        let mut command = format!("wavetank compare {}", quoted(&self.study.path.display().to_string()));
        for carried in self.carried {
            command.push_str(&format!(" --platform {}", quoted(&carried.platform.display().to_string())));
        }
        command.push_str(&format!(" --seeds {first}..{end}"));
        command + &settings(self.set)
    }

    /// How it came out, as a sentence.
    pub(super) fn finding(&self) -> String {
        let Findings { questions, strategies, .. } = self.findings;
        let sure = strategies.iter().flat_map(|found| {
            let all = self.carried.iter().zip(&found.rows[OF_REGRET].platforms).zip(&found.sure);
            all.filter(|(_, sure)| **sure).map(move |((carried, on), _)| (found, carried, on.difference))
        });
        let told = sure.filter_map(|(found, carried, difference)| {
            let difference = difference?;
            let (on, way) = (name(carried), if difference.value < 0.0 { "less" } else { "more" });
            let interval =
                [difference.interval.low, difference.interval.high].map(|end| significant(end.abs()));
            let [least, most] =
                if difference.value < 0.0 { [interval[1].clone(), interval[0].clone()] } else { interval };
            let value = significant(difference.value.abs());
            Some(format!("{} loses {value} [{least}, {most}] points a visit {way} on {on}", found.name))
        });
        let told = told.collect::<Vec<_>>();
        if told.is_empty() {
            return format!(
                "no platform is shown to change what a strategy loses, among {questions} differences"
            );
        }
        told.join("; ")
    }

    /// The whole summary.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "COMPARED: {}\n{}\n{}", self.finding(), self.study.title, self.about())?;
        self.platforms().iter().try_for_each(|platform| writeln!(out, "  {platform}"))?;
        let heads = self.heads();
        for found in &self.findings.strategies {
            writeln!(out, "\n{}", found.name)?;
            let rows: Vec<Vec<String>> = [heads.clone()].into_iter().chain(cells(found)).collect();
            write_rows(out, &rows)?;
        }
        writeln!(out)?;
        self.notes().iter().try_for_each(|note| writeln!(out, "{note}"))?;
        writeln!(out, "\nrepeat   {}", self.command())
    }

    /// What was run, on one line.
    pub(super) fn about(&self) -> String {
        let Plan { first, end, .. } = self.plan;
        let (file, seeds) = (self.study.path.display(), grouped(end - first));
        let set: String = self.set.iter().map(|set| format!(", {set}")).collect();
        format!(
            "{file}, {seeds} seeds ({first}..{end}), each with the same users without a platform and on{set}"
        )
    }

    /// How each platform carried it out, and how its runs ended.
    pub(super) fn platforms(&self) -> Vec<String> {
        let all = self.carried.iter().zip(&self.plan.files).zip(&self.findings.platforms);
        let told = all.map(|((carried, file), runs)| {
            let Carried { stir, speed_up, learn_every, .. } = carried;
            let (platform, faster) = (name(carried), significant(*speed_up));
            let pace = learn_every.map_or(String::new(), |pace| format!(", allocators learn every {pace}"));
            let held = |held: &Estimate| format!("{}% of {} runs held", words(held), grouped(held.of));
            let held = runs.held.as_ref().map_or("none was run".to_owned(), held);
            let others = runs.ended.iter().filter(|(ended, _)| **ended != Ended::Held);
            let others: String = others.map(|(ended, count)| format!(", {count} {}", ended.words())).collect();
            let missing =
                if runs.not_run == 0 { String::new() } else { format!(", {} not run", runs.not_run) };
            let file = file.display();
            format!("{platform}: users' days in {stir} ({faster} times faster){pace}; {held}{others}{missing} ({file})")
        });
        told.collect()
    }

    /// The heads of a strategy's table.
    pub(super) fn heads(&self) -> Vec<String> {
        let columns = self.carried.iter().flat_map(|carried| [name(carried), "difference".to_owned()]);
        [String::new(), "no platform".to_owned()].into_iter().chain(columns).collect()
    }

    /// What a reader must know to judge the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            format!(
                "Intervals cover {:.0}% each, over seeds: shares of runs by Clopper and Pearson, means by Student; \
                 `difference` is the platform less none, of pairs. The headline allows for the number of differences in regret (Bonferroni).",
                100.0 * CONFIDENCE
            ),
            "A decision is the strategy's own rule on what is known at the end. by ids: an exposure without an outcome did not convert; by pairs: \
             it does not count, as without a platform. what was shown: the same run, had nothing been lost between apps and logs; what \
             differs from it is the pipeline's doing."
                .to_owned(),
            "A hash gives fixed shares to other users than without a platform: choices may differ by that chance alone. What was shown where no \
             allocator answered is the control, and counts."
                .to_owned(),
        ];
        if self.carried.iter().any(|carried| carried.learn_every.is_some()) {
            notes.push(
                "Without a platform a strategy learns after every batch what is clear by then; on one, allocators learn as often by the clock \
                 what has come to them through the logs."
                    .to_owned(),
            );
        }
        if self.stop != Stop::Complete {
            notes.push(
                "Not all runs were made: seeds without a run are in no number of a platform.".to_owned(),
            );
        }
        notes
    }

    /// The comparison as a JSON document, indented. Stable as that of a run is.
    pub fn json(&self) -> String {
        let platforms = self.carried.iter().zip(&self.plan.files).zip(&self.findings.platforms);
        let platforms = platforms.map(|((carried, file), runs)| PlatformDocument {
            platform: &carried.platform,
            scenario: file,
            stir_seconds: carried.stir.get().as_secs_f64(),
            speed_up: carried.speed_up,
            learn_every_seconds: carried.learn_every.map(|pace| pace.get().as_secs_f64()),
            held: runs.held,
            ended: &runs.ended,
            not_run: runs.not_run,
        });
        let document = Document {
            format: 1,
            command: self.command(),
            file: &self.study.path,
            title: &self.study.title,
            finding: self.finding(),
            seeds: [self.plan.first, self.plan.end],
            set: self.set,
            confidence: CONFIDENCE,
            platforms: platforms.collect(),
            strategies: (0..self.findings.strategies.len()).map(|strategy| self.strategy(strategy)).collect(),
        };
        serde_json::to_string_pretty(&document).expect("names are text, and what is not finite becomes null")
    }

    fn strategy(&self, strategy: usize) -> StrategyDocument<'_> {
        let found = &self.findings.strategies[strategy];
        let row = |(metric, row): (&'static Metric, &Row)| MetricDocument {
            metric: metric.name,
            unit: metric.unit,
            better: metric.better,
            without: row.without,
            platforms: row
                .platforms
                .iter()
                .map(|on| OnPlatformDocument { value: on.value, less_without: on.difference })
                .collect(),
        };
        StrategyDocument { name: &found.name, metrics: METRICS.iter().zip(&found.rows).map(row).collect() }
    }
}

/// What a platform is called: its file, without the ending.
pub(super) fn name(carried: &Carried) -> String {
    stem(&carried.platform)
}

/// The rows of a strategy's table.
pub(super) fn cells(found: &Found) -> impl Iterator<Item = Vec<String>> {
    METRICS.iter().zip(&found.rows).map(|(metric, row)| {
        let cell = |estimate: &Option<Estimate>| estimate.as_ref().map_or("-".to_owned(), words);
        let platforms = row.platforms.iter().flat_map(|on| [cell(&on.value), cell(&on.difference)]);
        let heading = format!("{}, {}", metric.name, metric.unit);
        [heading, cell(&row.without)].into_iter().chain(platforms).collect()
    })
}

/// A number with its interval.
pub(super) fn words(estimate: &Estimate) -> String {
    let [low, high] = [estimate.interval.low, estimate.interval.high].map(significant);
    format!("{} [{low}, {high}]", significant(estimate.value))
}

#[derive(Serialize)]
struct Document<'study> {
    format: u32,
    command: String,
    file: &'study Path,
    title: &'study str,
    finding: String,
    /// From the first to before the second.
    seeds: [u64; 2],
    set: &'study [String],
    confidence: f64,
    platforms: Vec<PlatformDocument<'study>>,
    strategies: Vec<StrategyDocument<'study>>,
}

#[derive(Serialize)]
struct PlatformDocument<'study> {
    platform: &'study Path,
    /// The file that was run.
    scenario: &'study Path,
    stir_seconds: f64,
    speed_up: f64,
    learn_every_seconds: Option<f64>,
    held: Option<Estimate>,
    ended: &'study BTreeMap<Ended, u64>,
    not_run: u64,
}

#[derive(Serialize)]
struct StrategyDocument<'study> {
    name: &'study str,
    metrics: Vec<MetricDocument>,
}

#[derive(Serialize)]
struct MetricDocument {
    metric: &'static str,
    unit: &'static str,
    better: Better,
    without: Option<Estimate>,
    /// In the order of the platforms.
    platforms: Vec<OnPlatformDocument>,
}

#[derive(Serialize)]
struct OnPlatformDocument {
    value: Option<Estimate>,
    less_without: Option<Estimate>,
}
