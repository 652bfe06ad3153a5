//! `wavetank run`: one run, or two that must be equal, told as text or JSON, with its files if asked for.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::{HumanCount, ProgressBar};

use crate::cli::{Format, RunArguments, bad_input, print, refuse, styled, tell};
use crate::lab::{self, Options, Progress, Verdict};
use crate::report::Report;
use crate::report::tables::{Table, Told};
use crate::scenario::Mistake;
use crate::world::Recording;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &RunArguments) -> u8 {
    let subject = &arguments.subject;
    let (scenario, plan) = match subject.load() {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(&subject.file, &error, arguments.format),
    };
    let folder = arguments.trace.as_deref().map(create_folder);
    let parent = arguments.html.as_deref();
    let parent =
        parent.map(|file| (format!("cannot create the folder of {}", file.display()), create_parent(file)));
    let parent = parent.map(|(cannot, created)| created.map_err(|error| format!("{cannot}: {error}")));
    for created in folder.into_iter().chain(parent) {
        if let Err(message) = created {
            tell(&format!("{message}\n"));
            return refuse(&subject.file, &[Mistake::new(message)], arguments.format);
        }
    }
    let recording = Recording { everything: arguments.trace.is_some(), ..Recording::default() };
    let options = Options { recording, plan, cut: None };
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
        if !write_trace(folder, &report) {
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

/// Writes the files of `--trace`; returns whether it could.
pub(super) fn write_trace(folder: &Path, report: &Report<'_>) -> bool {
    let written = write_files(folder, report);
    if let Err(error) = &written {
        tell(&format!("cannot write to {}: {error}\n", folder.display()));
    }
    written.is_ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the files of a run belong to the user, and are written after it"
)]
fn write_files(folder: &Path, report: &Report<'_>) -> io::Result<()> {
    let save = |name: String, write: &dyn Fn(&mut BufWriter<File>) -> io::Result<()>| {
        let mut file = BufWriter::new(File::create(folder.join(name))?);
        write(&mut file)?;
        file.flush()
    };
    for (told, name) in [(Told::Trace, "trace"), (Told::Series, "series")] {
        let table = Table::of(report.run, told);
        save(format!("{name}.arrow"), &|file| table.write_arrow(file).map_err(io::Error::other))?;
        save(format!("{name}.parquet"), &|file| table.write_parquet(file).map_err(io::Error::other))?;
    }
    save("trace.perfetto.json.gz".to_owned(), &|file| {
        let mut file = GzEncoder::new(file, Compression::fast());
        report.write_perfetto(&mut file)?;
        file.finish().map(drop)
    })?;
    std::fs::write(folder.join("run.json"), report.json() + "\n")?;
    std::fs::write(folder.join("plan.toml"), report.run.plan.to_toml())
}

/// Creates a folder, if it is not there; what is wrong if that fails.
pub(super) fn create_folder(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
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
