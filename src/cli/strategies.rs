//! `wavetank compare` on a file of strategies: which loses least, errs least, and decides soonest.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::base::Seed;
use crate::cli::run::{create_parent, write_page};
use crate::cli::sweep::failed;
use crate::cli::{CompareArguments, Format, bad_input, fidelities, print, styled, tell, threads};
use crate::lab::Verdict;
use crate::lab::strategies::{Findings, compare};
use crate::report::StrategiesReport;
use crate::scenario::Study;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &CompareArguments) -> u8 {
    if !arguments.platform.is_empty() {
        return fidelities::run(arguments);
    }
    if let Some((flag, mend)) = misplaced(arguments) {
        let file = arguments.file.display();
        tell(&format!(
            "{flag} is for scenarios, and {file} is a file of strategies, which are compared with the first: {mend}\n"
        ));
        return Verdict::BAD_INPUT;
    }
    let mut study = match Study::load(&arguments.file, &arguments.set) {
        Ok(study) => study,
        Err(error) => return bad_input(&arguments.file, &error, arguments.format),
    };
    study.streams = arguments.streams.unwrap_or(study.streams);
    study.seed = arguments.seed.map_or(study.seed, Seed::new);
    let findings = with_bar(&study, threads(arguments.bounds.jobs));
    let report = StrategiesReport { study: &study, findings: &findings };
    match arguments.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&(report.json() + "\n")),
    }
    let Some(page) = &arguments.html else { return 0 };
    match create_parent(page).and_then(|()| write_page(page, &report.html())) {
        Ok(()) => 0,
        Err(error) => failed("cannot write the comparison", &error),
    }
}

/// A flag that only scenarios have, and what serves instead.
fn misplaced(arguments: &CompareArguments) -> Option<(&'static str, &'static str)> {
    let flags = [
        (arguments.by.is_some(), "--by", "leave it out, or change a value with --set users.per_day=500"),
        (arguments.baseline.is_some(), "--baseline", "write the one that the others are compared with first"),
        (!arguments.metric.is_empty(), "--metric", "leave it out"),
        (
            arguments.seeds.is_some(),
            "--seeds",
            "say --streams N, and --seed for the first of them; or add a --platform",
        ),
        (arguments.budget.is_some(), "--budget", "choose fewer --streams"),
        (arguments.resume, "--resume", "leave it out"),
        (arguments.bounds.time_out.is_some(), "--time-out", "choose fewer --streams"),
        (arguments.bounds.memory.is_some(), "--memory", "leave it out: a stream needs little"),
        (
            arguments.out.is_some(),
            "--out",
            "the comparison goes to standard output, and with --html into a page",
        ),
    ];
    flags.into_iter().find(|(given, ..)| *given).map(|(_, flag, mend)| (flag, mend))
}

fn with_bar(study: &Study, jobs: usize) -> Findings {
    let all = study.streams * study.strategies.len() as u64;
    let bar = styled(ProgressBar::new(all), "{bar:30} {pos} of {len} streams, {eta} left");
    bar.enable_steady_tick(Duration::from_millis(200));
    let findings = compare(study, jobs, &|count| bar.inc(count));
    bar.finish_and_clear();
    findings
}
