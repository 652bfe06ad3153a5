//! `wavetank blame`: which faults of a run mattered.

use indicatif::ProgressBar;

use crate::cli::variants::{in_workshop, not_varied, original};
use crate::cli::{BlameArguments, Format, print, styled};
use crate::lab::blame::blame;
use crate::report::BlameReport;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &BlameArguments) -> u8 {
    let subject = &arguments.subject;
    let original = match original(subject, arguments.format) {
        Ok(original) => original,
        Err(code) => return code,
    };
    let bar = styled(ProgressBar::new(0), "{wide_bar} {pos}/{len}");
    let result = in_workshop(&arguments.bounds, None, |workshop| {
        blame(workshop, &original, &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        })
    });
    bar.finish_and_clear();
    let blame = match result {
        Ok(blame) => blame,
        Err(error) => return not_varied(subject, &error),
    };
    let report = BlameReport { original: &original, plan_file: subject.plan.as_deref(), blame: &blame };
    match arguments.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&(report.json() + "\n")),
    }
    0
}
