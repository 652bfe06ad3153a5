//! `wavetank sweep` and `wavetank merge`: many seeds, and what they found.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use indicatif::ProgressBar;

use crate::base::{ByteSize, Span};
use crate::cli::run::{create_parent, write_page};
use crate::cli::{
    BoundsArguments, Format, MergeArguments, RunsArguments, SweepArguments, ToldArguments, load, print,
    styled, tell, threads,
};
use crate::lab::sweep::{
    Axis, Journal, JournalError, Limits, Outcome, Plan, Stop, Summary, SweepProgress, figures, p_values,
    sweep,
};
use crate::lab::{Verdict, figure_names};
use crate::report::SweepReport;
use crate::scenario::{Scenario, advice};
use crate::systems::{self, sites};
use crate::world::{Site, property};

/// How long a run may take, and how much it may hold, unless something else is said.
const TIME_OUT: Span = Span::secs(120);
const MEMORY: ByteSize = ByteSize::new(2 << 30);

/// Carries `sweep` out; returns its exit code.
pub(super) fn run(arguments: &SweepArguments) -> u8 {
    let plan = plan(arguments);
    let scenarios = match loads(&plan) {
        Ok(scenarios) => scenarios,
        Err(code) => return code,
    };
    if !arguments.told.figure.is_empty() {
        let names: Vec<String> = scenarios.iter().flat_map(figure_names).collect();
        if let Err(unknown) = known(&arguments.told.figure, &names, &names) {
            tell(&(unknown + "\n"));
            return Verdict::BAD_INPUT;
        }
    }
    let limits = Limits {
        failures: arguments.stop_after_failures,
        stable: arguments.until_stable,
        recheck: arguments.recheck,
        ..limits(&arguments.runs.bounds, arguments.runs.budget)
    };
    match swept(&arguments.out, arguments.resume, &plan, &limits) {
        Err(code) => code,
        Ok((journal, stop)) => told(&arguments.out, &plan, journal.outcomes(), stop, &arguments.told),
    }
}

/// Runs what the journal of a folder does not hold yet; what went wrong has been told, and the exit code is returned.
pub(super) fn swept(
    folder: &Path,
    resume: bool,
    plan: &Plan,
    limits: &Limits,
) -> Result<(Journal, Stop), u8> {
    gone_through(opened(folder, resume, plan)?, plan, limits)
}

/// The journal of a folder; what went wrong has been told, and the exit code is returned.
pub(super) fn opened(folder: &Path, resume: bool, plan: &Plan) -> Result<Journal, u8> {
    let opened = if resume { Journal::resume(folder, plan) } else { Journal::begin(folder, plan) };
    opened.map_err(|error| journal_refused(&error))
}

/// Runs what a journal does not hold yet.
pub(super) fn gone_through(
    mut journal: Journal,
    plan: &Plan,
    limits: &Limits,
) -> Result<(Journal, Stop), u8> {
    let folder = journal.folder().to_owned();
    let failed = |error| failed(&format!("cannot go on in {}", folder.display()), &error);
    let program = std::env::current_exe().map_err(failed)?;
    let stop = with_bar(|progress| sweep(&program, plan, limits, &mut journal, progress)).map_err(failed)?;
    Ok((journal, stop))
}

/// Whether each name asked for is part of a metric's; else what is wrong, with the nearest name, or all of the `main` ones.
pub(super) fn known(wanted: &[String], metrics: &[String], main: &[String]) -> Result<(), String> {
    let found = |wanted: &&String| metrics.iter().any(|name| name.contains(wanted.as_str()));
    let Some(wanted) = wanted.iter().find(|wanted| !found(wanted)) else { return Ok(()) };
    let of = |names: &[String]| advice(wanted, names.iter().map(String::as_str));
    let mend = of(metrics).or_else(|| of(main)).map(|advice| format!("; {advice}")).unwrap_or_default();
    Err(format!("no metric is called `{wanted}`{mend}"))
}

/// What bounds each run, and the whole in time.
pub(super) fn limits(bounds: &BoundsArguments, budget: Option<Span>) -> Limits {
    Limits {
        jobs: threads(bounds.jobs),
        time_out: bounds.time_out.unwrap_or(TIME_OUT).get(),
        memory: bounds.memory.unwrap_or(MEMORY).get(),
        failures: None,
        stable: None,
        budget: budget.map(Span::get),
        recheck: 0.0,
    }
}

/// Shows how far a sweep is.
fn with_bar<T>(sweep: impl FnOnce(&mut dyn FnMut(SweepProgress)) -> T) -> T {
    let bar = styled(ProgressBar::new(0), "{wide_bar} {pos}/{len} {msg} {elapsed}, {eta} to go");
    let result = sweep(&mut |progress| {
        bar.set_length(progress.points as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("{} findings in {} failed runs", progress.findings, progress.failed));
    });
    bar.finish_and_clear();
    result
}

/// Carries `merge` out; returns its exit code.
pub(super) fn merge(arguments: &MergeArguments) -> u8 {
    let mut merged: Option<(Plan, Vec<Outcome>)> = None;
    for folder in &arguments.folders {
        let (plan, outcomes) = match Journal::read(folder) {
            Ok(read) => read,
            Err(error) => return journal_refused(&error),
        };
        match &mut merged {
            None => merged = Some((plan, outcomes)),
            Some((first, all)) => {
                if *first != (Plan { shard: first.shard, ..plan }) {
                    return journal_refused(&JournalError::Other(folder.clone()));
                }
                all.extend(outcomes);
            }
        }
    }
    let Some((plan, mut outcomes)) = merged else { return Verdict::BAD_INPUT };
    outcomes.sort_by(|one, other| one.point.cmp(&other.point));
    outcomes.dedup_by(|one, other| one.point == other.point);
    let whole = Plan { shard: (1, 1), ..plan };
    let stop = if outcomes.len() == whole.points().len() { Stop::Complete } else { Stop::Budget };
    told(&arguments.folders[0], &whole, &outcomes, stop, &arguments.told)
}

fn plan(arguments: &SweepArguments) -> Plan {
    let RunsArguments { files, set, seeds: (first, end), .. } = &arguments.runs;
    let (first, end) = (*first, *end);
    let axes: Vec<Axis> = arguments
        .axis
        .iter()
        .map(|(path, values)| Axis { path: path.clone(), values: values.clone() })
        .collect();
    Plan { files: files.clone(), set: set.clone(), axes, first, end, shard: arguments.shard }
}

/// The scenarios of a plan, once for each point of its axes. What cannot be run is told before anything is, and not once for each seed.
pub(super) fn loads(plan: &Plan) -> Result<Vec<Scenario>, u8> {
    let one_seed = Plan { end: plan.first + 1, shard: (1, 1), ..plan.clone() };
    one_seed.points().iter().map(|point| load(&point.file, &point.set)).collect()
}

/// Writes sweep.json (and JUnit XML and a page, if asked for), prints the summary, and returns the exit code.
#[expect(
    clippy::disallowed_methods,
    reason = "the files of a sweep belong to the user, and are written after it"
)]
fn told(folder: &Path, plan: &Plan, outcomes: &[Outcome], stop: Stop, as_asked: &ToldArguments) -> u8 {
    let figures = &figures(plan, &[], outcomes);
    let summary = Summary { p_values: p_values(plan, figures), ..Summary::of(outcomes) };
    let scenarios: Vec<Scenario> =
        plan.files.iter().filter_map(|file| Scenario::load(file, &plan.set).ok()).collect();
    let standing = standing(&scenarios);
    let possible = possible(&standing);
    let sites: Vec<Site> = sites::ALL.iter().copied().filter(|site| standing.contains(site.system)).collect();
    let wanted = &as_asked.figure;
    let report =
        SweepReport { plan, summary: &summary, stop, possible: &possible, sites: &sites, figures, wanted };
    let json = report.json() + "\n";
    let mut written = std::fs::write(folder.join("sweep.json"), &json);
    if let (Ok(()), Some(xml)) = (&written, &as_asked.junit) {
        written = std::fs::write(xml, report.junit(outcomes));
    }
    if let (Ok(()), Some(page)) = (&written, &as_asked.html) {
        written = create_parent(page).and_then(|()| write_page(page, &report.html(outcomes)));
    }
    match as_asked.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&json),
    }
    match written {
        Ok(()) => summary.exit_code(),
        Err(error) => failed("cannot write the summary", &error),
    }
}

/// The systems that stand in these scenarios.
pub(super) fn standing(scenarios: &[Scenario]) -> BTreeSet<&'static str> {
    scenarios.iter().flat_map(|scenario| scenario.systems.names()).collect()
}

/// The events that can happen where these systems stand.
pub(super) fn possible(standing: &BTreeSet<&str>) -> Vec<&'static str> {
    let system =
        |file: &'static str| systems::NAMES.iter().find(|name| file.contains(&format!("systems/{name}/")));
    let stands = |file| system(file).is_none_or(|name| standing.contains(name));
    let declared = |name: &str| property::ALL.iter().any(|(other, file)| *other == name && stands(file));
    let mut possible: Vec<&'static str> =
        property::EVENTS.iter().copied().filter(|name| declared(name)).collect();
    possible.sort_unstable();
    possible.dedup();
    possible
}

fn journal_refused(error: &JournalError) -> u8 {
    let mend = match error {
        JournalError::Exists(_) => "\n  --resume goes on with it; --out chooses another folder",
        JournalError::Missing(_) => "\n  without --resume a new one begins there",
        JournalError::Other(_) => {
            "\n  give the same files, --seeds, --set, --axis and --shard as then, or choose another folder with --out"
        }
        JournalError::Io(..) | JournalError::Damaged(..) => "",
    };
    tell(&format!("{error}{mend}\n"));
    Verdict::BAD_INPUT
}

pub(super) fn failed(what: &str, error: &io::Error) -> u8 {
    tell(&format!("{what}: {error}\n"));
    Verdict::BAD_INPUT
}
