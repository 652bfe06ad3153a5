//! `wavetank blame`: which faults of a run mattered.

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::variants::{in_workshop, not_varied};
use crate::cli::{BlameArguments, Format, bad_input, print};
use crate::lab::blame::blame;
use crate::lab::variants::Original;
use crate::report::BlameReport;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &BlameArguments) -> u8 {
    let subject = &arguments.subject;
    let (scenario, plan) = match subject.load() {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(subject, &error, arguments.format),
    };
    let seed = subject.seed(&scenario);
    let original = Original { file: subject.file.clone(), set: subject.set.clone(), seed, plan };
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len}").expect("the template is well formed"),
    );
    let result = in_workshop(&arguments.bounds, |workshop| {
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
