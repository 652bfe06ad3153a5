//! What the estimate of a project's impact looks like: text, and JSON.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::experiment::impact::{Counts, Estimated, Impact, Risk, Row, SAME};
use crate::report::command::{quoted, settings};
use crate::report::compare::write_rows;
use crate::report::text::{grouped, significant};
use crate::scenario::Project;

/// An estimate, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct ImpactReport<'project> {
    /// What was estimated.
    pub project: &'project Project,
    /// What it comes to.
    pub impact: &'project Impact,
}

impl ImpactReport<'_> {
    /// The estimate for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("text grows without end");
        out
    }

    /// The estimate for scripts.
    pub fn json(&self) -> String {
        let Project { title, cost, .. } = self.project;
        let document = Document { title, command: self.command(), unit: &cost.unit, impact: self.impact };
        serde_json::to_string_pretty(&document).expect("an estimate is JSON")
    }

    fn command(&self) -> String {
        let Project { path, overrides, .. } = self.project;
        format!("wavetank impact {}{}", quoted(&path.display().to_string()), settings(overrides))
    }

    /// The answer, as a sentence.
    fn finding(&self) -> String {
        let Impact { stop, rows, .. } = self.impact;
        let Some(row) = rows.iter().find(|row| (row.fraction - stop.value).abs() < SAME) else {
            return "NOT WORTH IT: no step towards a perfect model earns its cost".to_owned();
        };
        let (net, part) = (self.money(row.net), percent(stop.value));
        let sure = if 0.0 < row.net.interval.low { "WORTH IT" } else { "NOT SURE" };
        format!("{sure}: close {part} of the gap, for {net} after costs")
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let Impact { present, perfect, gap, worth, stop, rows, risks } = self.impact;
        writeln!(out, "{}\n{}\n", self.finding(), self.project.title)?;
        writeln!(out, "present  {}", counted(present))?;
        writeln!(out, "perfect  {}", counted(perfect))?;
        let points = [gap.value, gap.interval.low, gap.interval.high].map(|rate| significant(100.0 * rate));
        writeln!(
            out,
            "gap      {} points [{}, {}], worth {}\n",
            points[0],
            points[1],
            points[2],
            self.money(*worth)
        )?;
        let mut table = vec![
            ["of it", "brings", "costs", "is left", "last part returns", "days to show it"]
                .map(str::to_owned)
                .to_vec(),
        ];
        table.extend(rows.iter().map(|row| self.cells(row)));
        write_rows(out, &table)?;
        let [low, high] = [stop.interval.low, stop.interval.high].map(percent);
        writeln!(
            out,
            "\nstop     at {} [{low}, {high}]: beyond, the next bit costs more than it brings",
            percent(stop.value)
        )?;
        writeln!(
            out,
            "{}",
            if risks.is_empty() { "risks    none that these numbers show" } else { "risks" }
        )?;
        risks.iter().try_for_each(|risk| writeln!(out, "  {}", self.doubt(risk)))?;
        writeln!(out, "\nrepeat   {}", self.command())
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let none = || "-".to_owned();
        vec![
            percent(row.fraction),
            self.money(row.brings),
            significant(row.costs),
            self.money(row.net),
            row.last_part.map_or_else(none, |returns| format!("{} for 1", significant(returns))),
            row.days_to_show.map_or_else(none, significant),
        ]
    }

    /// A risk in words, with its numbers.
    fn doubt(&self, risk: &Risk) -> String {
        let money = |amount: f64| format!("{} {}", self.project.cost.unit, significant(amount));
        let gap = &self.impact.gap;
        let points = |rate: f64| significant(100.0 * rate);
        match *risk {
            Risk::NoGapShown => format!(
                "nobody has shown that there is a gap: its interval, from {} to {} points, holds zero",
                points(gap.interval.low),
                points(gap.interval.high)
            ),
            Risk::LuckyArm { arms, by_halves } => format!(
                "the best of {arms} arms may owe its lead to luck: {} points by the data that chose it, {} if one half chooses and the other judges",
                points(gap.value),
                points(by_halves)
            ),
            Risk::FewSuccesses { present, perfect } => {
                format!("the gap rests on {present} and {perfect} successes: intervals of so few are rough")
            }
            Risk::NothingPays { costs } => {
                format!("no step earns its cost: the whole gap would cost {}", money(costs))
            }
            Risk::LostIfSmaller { loses, stop } => format!(
                "if the gap is as small as its interval allows, this stop loses {}; the best is then at {}",
                money(loses),
                percent(stop)
            ),
            Risk::NoOverrun { left, stop } => format!(
                "it bears no overrun: if all costs half as much again, {} is left; the best stop is then at {}",
                money(left),
                percent(stop)
            ),
            Risk::PaidBackLate { days, of } => {
                format!("it is paid back late: after {} of {} days", significant(days), significant(of))
            }
            Risk::CannotBeShown { days, of } => format!(
                "nobody could show its effect: an A/B test needs {} days of all visits, and the model serves {}",
                significant(days),
                significant(of)
            ),
            Risk::FirstStepsLose { until } => {
                format!(
                    "the first steps lose: nothing is left before {} of the gap is closed",
                    percent(until)
                )
            }
            Risk::BeyondEstimates { last } => format!(
                "costs were estimated up to {} of the gap alone: beyond, they mostly grow faster than a line",
                percent(last)
            ),
        }
    }

    /// An amount with its interval: `EUR 1,200 [800, 1,700]`.
    fn money(&self, amount: Estimated) -> String {
        let [low, high] = [amount.interval.low, amount.interval.high].map(significant);
        format!("{} {} [{low}, {high}]", self.project.cost.unit, significant(amount.value))
    }
}

#[derive(Serialize)]
struct Document<'project> {
    title: &'project str,
    command: String,
    unit: &'project str,
    #[serde(flatten)]
    impact: &'project Impact,
}

fn counted(counts: &Counts) -> String {
    let Counts { rate, interval, successes, trials } = counts;
    let [low, high] = [interval.low, interval.high].map(percent);
    format!("{} [{low}, {high}]: {} of {}", percent(*rate), grouped(*successes), grouped(*trials))
}

fn percent(part: f64) -> String {
    format!("{}%", significant(100.0 * part))
}
