//! `wavetank shrink`: from a failing seed to a small scenario file that fails in the same way.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::run::create_parent;
use crate::cli::sweep::failed;
use crate::cli::variants::{in_workshop, not_varied};
use crate::cli::{Format, ShrinkArguments, bad_input, print, tell};
use crate::lab::Verdict;
use crate::lab::shrink::{Extent, ShrinkProgress, Shrunk, shrink};
use crate::lab::sweep::Trouble;
use crate::lab::variants::Original;
use crate::report::command;
use crate::scenario::Draft;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &ShrinkArguments) -> u8 {
    let subject = &arguments.subject;
    let (scenario, plan) = match subject.load() {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(subject, &error, Format::Text),
    };
    let seed = subject.seed(&scenario);
    let original = Original { file: subject.file.clone(), set: subject.set.clone(), seed, plan };
    let out = arguments.out.clone().unwrap_or_else(|| beside(&subject.file, seed.get()));
    if out.exists() {
        tell(&format!("{} exists already\n  --out chooses another file\n", out.display()));
        return Verdict::BAD_INPUT;
    }
    let made_by = command("shrink", &subject.file, seed.get(), &subject.set, subject.plan.as_deref());
    let result = in_workshop(&arguments.bounds, |workshop| {
        with_spinner(|show| {
            shrink(workshop, &original, &mut |progress, found| {
                show(progress);
                found.map_or(Ok(()), |(draft, trouble)| write(&out, draft, trouble, &made_by))
            })
        })
    });
    match result {
        Ok(shrunk) => {
            if let Err(error) = write(&out, &shrunk.draft, &shrunk.trouble, &made_by) {
                return failed(&format!("cannot write {}", out.display()), &error);
            }
            print(&told(&shrunk, &out));
            0
        }
        Err(error) => not_varied(subject, &error),
    }
}

/// Where a finding goes unless another file is named: into `regressions` beside the scenario.
fn beside(file: &Path, seed: u64) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let folder = file.parent().unwrap_or(Path::new(""));
    let folder = if folder.ends_with("regressions") { folder.to_owned() } else { folder.join("regressions") };
    folder.join(format!("{stem}-seed-{seed}.toml"))
}

/// Writes the smallest so far: all of it or nothing.
#[expect(clippy::disallowed_methods, reason = "a shrunk scenario belongs to the user, outside any run")]
fn write(out: &Path, draft: &Draft, trouble: &Trouble, made_by: &str) -> io::Result<()> {
    create_parent(out)?;
    let place = if trouble.place.is_empty() { String::new() } else { format!(" ({})", trouble.place) };
    let head = format!(
        "# {}: {}{place}, fingerprint {}\n#   {}\n# Made by: {made_by}\n\n",
        trouble.ended.words(),
        trouble.what,
        trouble.fingerprint(),
        trouble.example,
    );
    let partial = out.with_extension("toml.part");
    std::fs::write(&partial, head + &draft.text(out.parent().unwrap_or(Path::new(""))))?;
    std::fs::rename(&partial, out)
}

fn with_spinner<T>(shrink: impl FnOnce(&dyn Fn(ShrinkProgress)) -> T) -> T {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is well formed"));
    let result = shrink(&|progress| {
        let ShrinkProgress { runs, from, to } = progress;
        bar.set_message(format!("{runs} runs: {}", shrinking(from, to)));
        bar.tick();
    });
    bar.finish_and_clear();
    result
}

fn shrinking(from: Extent, to: Extent) -> String {
    let Extent { faults, hosts, stir } = from;
    format!("{faults} -> {} faults, {hosts} -> {} hosts, stir {stir} -> {}", to.faults, to.hosts, to.stir)
}

fn told(shrunk: &Shrunk, out: &Path) -> String {
    let trouble = &shrunk.trouble;
    let end = if shrunk.finished {
        "nothing more can be taken away"
    } else {
        "time was up: shrink the file again to go on"
    };
    format!(
        "SHRUNK: {}\n\n{}: {}\n  {}\n\nruns     {}; {end}\nfile     {}\n",
        shrinking(shrunk.from, shrunk.to),
        trouble.ended.words(),
        trouble.what,
        trouble.example,
        shrunk.runs,
        out.display(),
    )
}
