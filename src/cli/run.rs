//! `wavetank run`: one run, or two that must be equal, told as text or JSON, with its files if asked for.

use std::io;
use std::path::Path;

use indicatif::{HumanCount, ProgressBar};

use crate::cli::{Format, RunArguments, bad_input, print, refuse, styled, tell};
use crate::lab::{self, Options, Progress, Run, Verdict};
use crate::report::{Report, tables};
use crate::scenario::Mistake;
use crate::world::Recording;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &RunArguments) -> u8 {
    let subject = &arguments.subject;
    let (scenario, plan) = match subject.load() {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(subject, &error, arguments.format),
    };
    let folder = arguments.trace.as_deref();
    let folder =
        folder.map(|folder| (format!("cannot create {}", folder.display()), std::fs::create_dir_all(folder)));
    let parent = arguments.html.as_deref();
    let parent =
        parent.map(|file| (format!("cannot create the folder of {}", file.display()), create_parent(file)));
    for (cannot, created) in folder.into_iter().chain(parent) {
        if let Err(error) = created {
            let message = format!("{cannot}: {error}");
            tell(&format!("{message}\n"));
            return refuse(subject, &[Mistake::new(message)], arguments.format);
        }
    }
    let recording = Recording { everything: arguments.trace.is_some(), ..Recording::default() };
    let options = Options { recording, plan };
    let (run, difference) = with_progress(|progress| {
        if arguments.check_determinism {
            lab::check_determinism(&scenario, subject.seed(&scenario), &options, progress)
        } else {
            (lab::execute(&scenario, subject.seed(&scenario), &options, progress), None)
        }
    });
    let report = Report { run: &run, plan_file: subject.plan.as_deref(), difference: difference.as_ref() };
    match arguments.format {
        Format::Text => print(&report.text()),
        Format::Json => print(&(report.json() + "\n")),
    }
    if let (Format::Text, true, Verdict::Held) = (arguments.format, arguments.check_determinism, run.verdict)
    {
        print("twice    two runs gave the same events and the same digest\n");
    }
    if let Some(folder) = &arguments.trace {
        if let Err(error) = write_files(folder, &report) {
            tell(&format!("cannot write to {}: {error}\n", folder.display()));
            return Verdict::BAD_INPUT;
        }
        if arguments.format == Format::Text {
            print(&format!("files    {}\n", folder.display()));
        }
    }
    if let Some(file) = &arguments.html {
        if let Err(error) = write_page(file, &report.html()) {
            tell(&format!("cannot write {}: {error}\n", file.display()));
            return Verdict::BAD_INPUT;
        }
        if arguments.format == Format::Text {
            print(&format!("page     {}\n", file.display()));
        }
    }
    run.verdict.exit_code()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the files of a run belong to the user, and are written after it"
)]
fn write_files(folder: &Path, report: &Report<'_>) -> io::Result<()> {
    let run: &Run = report.run;
    let arrow = |table| tables::to_arrow_file(&table).map_err(io::Error::other);
    std::fs::write(folder.join("trace.arrow"), arrow(tables::trace(&run.records, &run.hosts))?)?;
    std::fs::write(folder.join("series.arrow"), arrow(tables::series(&run.samples, &run.hosts))?)?;
    std::fs::write(folder.join("run.json"), report.json() + "\n")?;
    std::fs::write(folder.join("plan.toml"), run.plan.to_toml())
}

/// Creates the folder of a file, if it is not there.
pub(super) fn create_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}

#[expect(clippy::disallowed_methods, reason = "a page belongs to the user, and is written after the run")]
pub(super) fn write_page(file: &Path, html: &str) -> io::Result<()> {
    std::fs::write(file, html)
}

/// Shows progress while something runs.
pub(super) fn with_progress<T>(run: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg}");
    let result = run(&mut |progress| {
        let seconds = bar.elapsed().as_secs_f64().max(1e-3);
        bar.set_message(format!(
            "{}: {:.0}s of virtual time in {seconds:.0}s, {} events ({}/s), {} faults",
            progress.act.name(),
            progress.virtual_time.as_secs_f64(),
            HumanCount(progress.events),
            HumanCount((progress.events as f64 / seconds) as u64),
            progress.faults,
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    result
}
