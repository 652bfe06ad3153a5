//! `wavetank compare`: what differs between values of a setting, seed by seed.

use crate::cli::run::{create_parent, write_page};
use crate::cli::sweep::{failed, limits, loads, swept};
use crate::cli::{CompareArguments, Format, print, tell};
use crate::lab::Verdict;
use crate::lab::compare::{Comparison, metrics};
use crate::lab::sweep::{Axis, Plan};
use crate::report::CompareReport;
use crate::scenario::nearest;

/// Carries the command out; returns its exit code.
#[expect(
    clippy::disallowed_methods,
    reason = "a comparison belongs to the user, and is written after its runs"
)]
pub(super) fn run(arguments: &CompareArguments) -> u8 {
    let (plan, axis, baseline) = match asked(arguments) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let limits = limits(&arguments.bounds, arguments.budget);
    let (journal, stop) = match swept(&arguments.out, arguments.resume, &plan, &limits) {
        Ok(swept) => swept,
        Err(code) => return code,
    };
    if let Err(code) = known(&arguments.metric, &metrics(journal.outcomes())) {
        return code;
    }
    let comparison = Comparison::of(&plan, &axis, &baseline, &arguments.metric, journal.outcomes());
    let report =
        CompareReport { plan: &plan, axis: &axis, metrics: &arguments.metric, comparison: &comparison, stop };
    let json = report.json() + "\n";
    match arguments.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&json),
    }
    let mut written = std::fs::write(arguments.out.join("compare.json"), &json);
    if let (Ok(()), Some(page)) = (&written, &arguments.html) {
        written = create_parent(page).and_then(|()| write_page(page, &report.html()));
    }
    match written {
        Ok(()) => 0,
        Err(error) => failed("cannot write the comparison", &error),
    }
}

/// What is to be run and compared; what is wrong with it has been told, and the exit code is returned.
fn asked(arguments: &CompareArguments) -> Result<(Plan, Axis, String), u8> {
    let (path, values) = arguments.by.clone();
    let refused = |message: String| {
        tell(&(message + "\n"));
        Verdict::BAD_INPUT
    };
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
        first: arguments.seeds.0,
        end: arguments.seeds.1,
        shard: (1, 1),
    };
    loads(&plan)?;
    Ok((plan, axis, baseline))
}

/// Whether each name asked for is part of a metric's; what is not has been told, and the exit code is returned.
fn known(wanted: &[String], metrics: &[String]) -> Result<(), u8> {
    let names = || metrics.iter().map(String::as_str);
    let found = |wanted: &&String| names().any(|name| name.contains(wanted.as_str()));
    let Some(wanted) = wanted.iter().find(|wanted| !found(wanted)) else { return Ok(()) };
    let advice = nearest(wanted, names()).map_or_else(
        || format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    tell(&format!(
        "no metric of these runs is called `{wanted}`; {advice}\n  --resume compares the same runs again\n"
    ));
    Err(Verdict::BAD_INPUT)
}
