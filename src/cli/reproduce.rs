//! `wavetank reproduce`: known results, computed anew.

use std::path::Path;

use indicatif::ProgressBar;

use crate::cli::run::create_parent;
use crate::cli::sweep::failed;
use crate::cli::{ReproduceArguments, print, styled, tell, threads};
use crate::lab::Verdict;
use crate::lab::reproduce::{ALL, Crew, Reproduction};
use crate::report;
use crate::scenario::advice;

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &ReproduceArguments) -> u8 {
    if arguments.names.is_empty() {
        print(&list());
        return 0;
    }
    let wanted = match wanted(&arguments.names) {
        Ok(wanted) => wanted,
        Err(message) => {
            tell(&message);
            return Verdict::BAD_INPUT;
        }
    };
    let threads = threads(arguments.jobs);
    let mut found = Vec::new();
    for one in wanted {
        let bar = styled(ProgressBar::new(0), "{msg} {wide_bar} {pos}/{len}").with_message(one.name);
        let progress = |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let finding = one.reproduce(&Crew { threads, progress: &progress }, &arguments.data);
        bar.finish_and_clear();
        match finding {
            Ok(finding) => found.push((one.name, finding)),
            Err(error) => {
                tell(&format!("{error}\n"));
                return Verdict::BAD_INPUT;
            }
        }
    }
    let report = report::reproductions(&found);
    match &arguments.out {
        Some(file) => write(file, &report),
        None => {
            print(&report);
            0
        }
    }
}

fn list() -> String {
    let width = ALL.iter().map(|one| one.name.len()).max().unwrap_or(0);
    ALL.iter().map(|one| format!("{:width$}  {}\n", one.name, one.about)).collect()
}

fn wanted(names: &[String]) -> Result<Vec<&'static Reproduction>, String> {
    if names == ["all"] {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        ALL.iter().find(|one| one.name == name).ok_or_else(|| {
            let known = ALL.iter().map(|one| one.name).chain(["all"]);
            let advice = advice(name, known).unwrap_or_default();
            format!("there is no reproduction called `{name}`; {advice}\n")
        })
    };
    names.iter().map(find).collect()
}

#[expect(clippy::disallowed_methods, reason = "the report is a file of the user, outside any run")]
fn write(file: &Path, text: &str) -> u8 {
    match create_parent(file).and_then(|()| std::fs::write(file, text)) {
        Ok(()) => 0,
        Err(error) => failed(&format!("cannot write {}", file.display()), &error),
    }
}
