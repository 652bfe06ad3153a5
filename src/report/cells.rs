//! The figures of a sweep as tables: a row for each scenario file and value of all axes but the last, a column for each value of that.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::base::Better;
use crate::lab::sweep::{Estimate, FigureTable, Plan, Spread, cells};
use crate::report::command::stem;
use crate::report::text::grouped;
use crate::statistics::Interval;
use crate::statistics::rank::Uniformity;

/// Rows, columns, and what stands in them.
pub(super) struct Grid {
    pub(super) rows: Vec<String>,
    pub(super) columns: Vec<String>,
}

/// A figure in one cell, as JSON has it.
#[derive(Serialize)]
pub(super) struct CellDocument<'sweep> {
    file: String,
    set: Vec<String>,
    figure: &'sweep str,
    unit: &'sweep str,
    better: Better,
    value: f64,
    interval: Option<[f64; 2]>,
    runs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    /// How evenly p-values are spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<SpreadDocument>,
}

/// How evenly p-values are spread, as JSON has it.
#[derive(Serialize)]
struct SpreadDocument {
    tests: usize,
    distance: f64,
    p: f64,
    promised: bool,
    refuted: bool,
}

impl From<Spread> for SpreadDocument {
    fn from(spread: Spread) -> Self {
        let (Spread { tests, found: Uniformity { distance, p }, promised }, refuted) =
            (spread, spread.is_refuted());
        Self { tests, distance, p, promised, refuted }
    }
}

impl Grid {
    /// The grid of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let last = plan.axes.last();
        let columns = last.map_or(vec!["all runs".to_owned()], |axis| axis.values.clone());
        let stems: BTreeSet<String> = plan.files.iter().map(|file| stem(file)).collect();
        let name = |file: &Path| {
            if stems.len() == plan.files.len() { stem(file) } else { file.display().to_string() }
        };
        let rows = cells(plan).into_iter().step_by(columns.len()).map(|cell| {
            let own = &cell.set[plan.set.len()..];
            // The last axis is told by the columns.
            let settings = own.iter().take(own.len().saturating_sub(1)).cloned();
            [name(&cell.file)].into_iter().chain(settings).collect::<Vec<_>>().join(" ")
        });
        Self { rows: rows.collect(), columns }
    }

    pub(super) fn write_text(&self, out: &mut String, figure: &FigureTable) -> fmt::Result {
        let told: Vec<String> = figure.cells.iter().map(|cell| words(cell.as_ref())).collect();
        self.write_table(out, &heading(figure), &told)?;
        let Some(heading) = heading_of_spread(figure) else { return Ok(()) };
        let told: Vec<String> = figure.cells.iter().map(|cell| words_of_spread(cell.as_ref())).collect();
        self.write_table(out, &heading, &told)
    }

    fn write_table(&self, out: &mut String, heading: &str, told: &[String]) -> fmt::Result {
        let label = self.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
        let width = told.iter().chain(&self.columns).map(|text| text.chars().count()).max().unwrap_or(0);
        writeln!(out, "\n{heading}")?;
        let line = |name: &str, texts: &[String]| {
            let texts = texts.iter().map(|text| format!("  {text:<width$}")).collect::<String>();
            format!("  {name:<label$}{}", texts.trim_end())
        };
        writeln!(out, "{}", line("", &self.columns))?;
        for (row, texts) in self.rows.iter().zip(told.chunks(self.columns.len())) {
            writeln!(out, "{}", line(row, texts))?;
        }
        Ok(())
    }
}

/// Every figure in every cell that has a value.
pub(super) fn documents<'sweep>(plan: &Plan, figures: &'sweep [FigureTable]) -> Vec<CellDocument<'sweep>> {
    let cells = cells(plan);
    let all =
        figures.iter().flat_map(|figure| figure.cells.iter().zip(&cells).map(move |cell| (figure, cell)));
    all.filter_map(|(figure, (estimate, cell))| {
        let Estimate { value, interval, runs, of, spread } = (*estimate)?;
        Some(CellDocument {
            file: cell.file.display().to_string(),
            set: cell.set.clone(),
            figure: &figure.name,
            unit: &figure.unit,
            better: figure.better,
            value,
            interval: interval.map(|Interval { low, high }| [low, high]),
            runs,
            of,
            spread: spread.map(SpreadDocument::from),
        })
    })
    .collect()
}

/// What a table of a figure is called.
pub(super) fn heading(figure: &FigureTable) -> String {
    let told = figure.cells.iter().flatten();
    let range = |count: fn(&Estimate) -> u64| {
        let counts = || told.clone().map(count);
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        if least == most { grouped(most) } else { format!("{} to {}", grouped(least), grouped(most)) }
    };
    let runs = format!("{} runs each", range(|cell| cell.runs as u64));
    let trials = told.clone().any(|cell| cell.of.is_some()).then(|| range(|cell| cell.of.unwrap_or(0)));
    let trials = trials.map_or(String::new(), |trials| format!(", {trials} trials"));
    let unit = if figure.unit.is_empty() { String::new() } else { format!(", {}", figure.unit) };
    format!("{}{unit} ({runs}{trials})", figure.name)
}

/// What a table of the p-values of a figure's trials is called, if it has any.
pub(super) fn heading_of_spread(figure: &FigureTable) -> Option<String> {
    let told: Vec<usize> =
        figure.cells.iter().flatten().filter_map(|cell| Some(cell.spread?.tests)).collect();
    let (least, most) = (told.iter().min()?, told.iter().max()?);
    let least = if least == most { String::new() } else { format!("{} to ", grouped(*least as u64)) };
    let tests = format!("{least}{} tests", grouped(*most as u64));
    Some(format!("{}: p-values, their distance D from an even spread ({tests})", figure.name))
}

/// What stands in a cell of it.
pub(super) fn words_of_spread(estimate: Option<&Estimate>) -> String {
    let Some(spread) = estimate.and_then(|estimate| estimate.spread) else { return "–".to_owned() };
    let mark = match (spread.is_refuted(), spread.promised) {
        (true, _) => ", REFUTED",
        (false, true) => "",
        (false, false) => ", not promised",
    };
    format!("{}{mark}", distance(&spread))
}

/// The distance of p-values from an even spread, and how likely one as large is.
pub(super) fn distance(Spread { found: Uniformity { distance, p }, .. }: &Spread) -> String {
    format!("D {distance:.3}, p {}", probability(*p))
}

/// A probability, however small.
pub(super) fn probability(p: f64) -> String {
    if p < 0.001 { format!("{p:.0e}") } else { format!("{p:.3}") }
}

/// What stands in a cell: an estimate and its interval, as exact as that makes sense.
pub(super) fn words(estimate: Option<&Estimate>) -> String {
    let Some(Estimate { value, interval, .. }) = estimate else { return "–".to_owned() };
    let span = interval.map_or(value.abs(), |Interval { low, high }| high - low);
    // Two digits of the interval's length.
    let digits = if 0.0 < span { (1.0 - libm::floor(libm::log10(span))).clamp(0.0, 6.0) as usize } else { 2 };
    let number = |value: f64| {
        let text = format!("{value:.digits$}");
        if text.trim_matches(['-', '0', '.']).is_empty() {
            text.trim_start_matches('-').to_owned()
        } else {
            text
        }
    };
    let interval = interval.map(|Interval { low, high }| format!(" [{}, {}]", number(low), number(high)));
    number(*value) + &interval.unwrap_or_default()
}
