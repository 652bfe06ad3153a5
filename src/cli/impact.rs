//! `wavetank impact`: what a better model would bring and cost.

use crate::cli::{Format, ImpactArguments, bad_input, print};
use crate::experiment::impact::estimate;
use crate::report::ImpactReport;
use crate::scenario::Project;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &ImpactArguments) -> u8 {
    let project = match Project::load(&arguments.file, &arguments.set) {
        Ok(project) => project,
        Err(error) => return bad_input(&arguments.file, &error, arguments.format),
    };
    let impact = estimate(&project.evidence, &project.reward, &project.cost);
    let report = ImpactReport { project: &project, impact: &impact };
    match arguments.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&(report.json() + "\n")),
    }
    0
}
