//! `wavetank compare`: what differs between values of a setting, seed by seed.

use std::path::{Path, PathBuf};

use crate::cli::run::{create_parent, write_page};
use crate::cli::sweep::{failed, known, limits, loads, possible, standing, swept};
use crate::cli::{CompareArguments, Format, bad_input, print, strategies, tell};
use crate::lab::compare::{Comparison, HELD, metrics};
use crate::lab::sweep::{Axis, Plan};
use crate::lab::{Verdict, figure_names};
use crate::report::CompareReport;
use crate::scenario::{Glance, Kind, Scenario};

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &CompareArguments) -> u8 {
    match Glance::at(&arguments.file).kind {
        Kind::Study => return strategies::run(arguments),
        // Which a project is not, and says so.
        Kind::Project => {
            if let Err(error) = Scenario::load(&arguments.file, &[]) {
                return bad_input(&arguments.file, &error, arguments.format);
            }
        }
        Kind::Scenario => {}
    }
    let (plan, axis, baseline) = match asked(arguments) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let limits = limits(&arguments.bounds, arguments.budget);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("compare-out"));
    let (journal, stop) = match swept(&out, arguments.resume, &plan, &limits) {
        Ok(swept) => swept,
        Err(code) => return code,
    };
    let met = metrics(journal.outcomes());
    if let Err(unmet) = known(&arguments.metric, &met, &met) {
        tell(&format!("no run has it: {unmet}\n  --resume compares the same runs again\n"));
        return Verdict::BAD_INPUT;
    }
    let comparison = Comparison::of(&plan, &axis, &baseline, &arguments.metric, journal.outcomes());
    let report =
        CompareReport { plan: &plan, axis: &axis, metrics: &arguments.metric, comparison: &comparison, stop };
    hand_over(arguments, &out, &report.text(), &(report.json() + "\n"), || report.html())
}

/// Tells a comparison as it was asked for, and writes it into its folder and as a page; returns the exit code.
#[expect(
    clippy::disallowed_methods,
    reason = "a comparison belongs to the user, and is written after its runs"
)]
pub(super) fn hand_over(
    arguments: &CompareArguments,
    out: &Path,
    text: &str,
    json: &str,
    html: impl FnOnce() -> String,
) -> u8 {
    print(if arguments.format == Format::Json { json } else { text });
    let mut written = std::fs::write(out.join("compare.json"), json);
    if let (Ok(()), Some(page)) = (&written, &arguments.html) {
        written = create_parent(page).and_then(|()| write_page(page, &html()));
    }
    match written {
        Ok(()) => 0,
        Err(error) => failed("cannot write the comparison", &error),
    }
}

/// What is to be run and compared; what is wrong with it has been told, and the exit code is returned.
fn asked(arguments: &CompareArguments) -> Result<(Plan, Axis, String), u8> {
    let refused = |message: String| {
        tell(&(message + "\n"));
        Verdict::BAD_INPUT
    };
    for (given, flag) in [
        (arguments.streams.is_some(), "--streams"),
        (arguments.seed.is_some(), "--seed"),
        (!arguments.platform.is_empty(), "--platform"),
    ] {
        if given {
            let file = arguments.file.display();
            let message = format!(
                "{flag} is for a file of strategies, with [users] or [log] and [[strategies]], which {file} is not; "
            );
            return Err(refused(message + "runs of a scenario have --seeds A..B"));
        }
    }
    let Some((path, values)) = arguments.by.clone() else {
        let file = arguments.file.display();
        return Err(refused(format!(
            "{file} is a scenario: say by which setting its runs differ, such as --by systems.broker.brokers=3,5"
        )));
    };
    let (first, end) = arguments.seeds.unwrap_or((1, 31));
    if values.len() < 2 {
        return Err(refused(format!("--by {path} has one value: two are compared, such as {path}=3,5")));
    }
    let baseline = arguments.baseline.clone().unwrap_or_else(|| values[0].clone());
    if !values.contains(&baseline) {
        let values = values.join(", ");
        return Err(refused(format!("the baseline `{baseline}` is no value of {path}; there are {values}")));
    }
    let axis = Axis { path, values };
    let plan = Plan {
        files: vec![arguments.file.clone()],
        set: arguments.set.clone(),
        axes: vec![axis.clone()],
        first,
        end,
        shard: (1, 1),
    };
    let scenarios = loads(&plan)?;
    let figures = [HELD.to_owned()].into_iter().chain(scenarios.iter().flat_map(figure_names));
    let figures: Vec<String> = figures.collect();
    let events = possible(&standing(&scenarios)).into_iter().map(str::to_owned);
    let all: Vec<String> = figures.iter().cloned().chain(events).collect();
    known(&arguments.metric, &all, &figures).map_err(refused)?;
    Ok((plan, axis, baseline))
}
