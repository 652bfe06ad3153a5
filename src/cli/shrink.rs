//! `wavetank shrink`: from a failing seed to a small scenario file that fails in the same way.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::cli::run::create_parent;
use crate::cli::sweep::failed;
use crate::cli::variants::{in_workshop, not_varied, original};
use crate::cli::{Format, ShrinkArguments, print, styled, tell};
use crate::lab::Verdict;
use crate::lab::shrink::{Extent, ShrinkProgress, Shrunk, shrink};
use crate::lab::sweep::Trouble;
use crate::report::command;
use crate::scenario::Draft;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &ShrinkArguments) -> u8 {
    let subject = &arguments.subject;
    let original = match original(subject, Format::Text) {
        Ok(original) => original,
        Err(code) => return code,
    };
    let seed = original.seed.get();
    let out = arguments.out.clone().unwrap_or_else(|| beside(&subject.file, seed));
    if out.exists() {
        tell(&format!("{} exists already\n  --out chooses another file\n", out.display()));
        return Verdict::BAD_INPUT;
    }
    let made_by = command("shrink", &subject.file, seed, &subject.set, subject.plan.as_deref());
    let result = in_workshop(&arguments.bounds, arguments.budget, |workshop| {
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
    let (print, example) = (trouble.fingerprint(), &trouble.example);
    let head = format!("# {trouble}, fingerprint {print}\n#   {example}\n# Made by: {made_by}\n\n");
    let partial = out.with_extension("toml.part");
    std::fs::write(&partial, head + &draft.text(out.parent().unwrap_or(Path::new(""))))?;
    std::fs::rename(&partial, out)
}

fn with_spinner<T>(shrink: impl FnOnce(&dyn Fn(ShrinkProgress)) -> T) -> T {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg}");
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
        "SHRUNK: {}\n\n{trouble}\n  {}\n\nruns     {}; {end}\nfile     {}\n",
        shrinking(shrunk.from, shrunk.to),
        trouble.example,
        shrunk.runs,
        out.display(),
    )
}
