//! `wavetank compare --platform`: strategies without a platform, and carried out by platforms under the same seeds.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::compare::hand_over;
use crate::cli::sweep::{failed, gone_through, limits, loads, opened};
use crate::cli::{CompareArguments, bad_input, tell, threads};
use crate::lab::Verdict;
use crate::lab::fidelities::compare;
use crate::lab::sweep::{Journal, Plan, Stop};
use crate::report::FidelitiesReport;
use crate::scenario::{Carried, Draft, Study, distinct};

/// What a file of strategies holds: settings of these keys are its own, all others those of the platforms.
const OF_STRATEGIES: [&str; 6] = ["title", "seed", "streams", "users", "log", "strategies"];

/// Carries the command out; returns its exit code.
pub(super) fn run(arguments: &CompareArguments) -> u8 {
    let (study, carried) = match read(arguments) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let (first, end) = arguments.seeds.unwrap_or((1, 31));
    if end < first + 2 {
        tell("differences vary from seed to seed: two seeds at least are needed, such as --seeds 1..31\n");
        return Verdict::BAD_INPUT;
    }
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("compare-out"));
    let files = places(&out, &carried);
    let plan = Plan { files, set: Vec::new(), axes: Vec::new(), first, end, shard: (1, 1) };
    let (journal, stop) = match runs(arguments, &plan, &out, &carried) {
        Ok(ran) => ran,
        Err(code) => return code,
    };
    let findings = compare(&study, &carried, &plan, journal.outcomes(), threads(arguments.bounds.jobs));
    let report = FidelitiesReport {
        study: &study,
        carried: &carried,
        plan: &plan,
        set: &arguments.set,
        findings: &findings,
        stop,
    };
    hand_over(arguments, &out, &report.text(), &(report.json() + "\n"), || report.html())
}

/// The strategies, and each platform with them; what is wrong has been told, and the exit code is returned.
fn read(arguments: &CompareArguments) -> Result<(Study, Vec<Carried>), u8> {
    if let Some((flag, mend)) = misplaced(arguments) {
        tell(&format!("{flag} does not go with --platform: {mend}\n"));
        return Err(Verdict::BAD_INPUT);
    }
    let of_strategies = |set: &&String| {
        let key = set.split(['.', '=']).next().unwrap_or_default();
        OF_STRATEGIES.contains(&key.trim())
    };
    let (own, others): (Vec<String>, Vec<String>) = {
        let (own, others): (Vec<&String>, Vec<&String>) = arguments.set.iter().partition(of_strategies);
        (own.into_iter().cloned().collect(), others.into_iter().cloned().collect())
    };
    let mut platforms = Vec::new();
    for file in &arguments.platform {
        let platform = Draft::load(file, &others);
        platforms.push(platform.map_err(|error| bad_input(file, &error, arguments.format))?);
    }
    let read = Study::load_onto(&arguments.file, &own, &platforms);
    read.map_err(|error| bad_input(&arguments.file, &error, arguments.format))
}

/// A flag that this comparison has not, and what serves instead.
fn misplaced(arguments: &CompareArguments) -> Option<(&'static str, &'static str)> {
    let flags = [
        (arguments.by.is_some(), "--by", "name several platforms, or change a value with --set"),
        (arguments.baseline.is_some(), "--baseline", "platforms are compared with none"),
        (!arguments.metric.is_empty(), "--metric", "leave it out"),
        (arguments.streams.is_some(), "--streams", "say --seeds A..B: each seed is a run and a stream"),
        (arguments.seed.is_some(), "--seed", "say --seeds A..B: each seed is a run and a stream"),
    ];
    flags.into_iter().find(|(given, ..)| *given).map(|(_, flag, mend)| (flag, mend))
}

/// Where the scenario of each platform is written, by the name of its file.
fn places(out: &Path, carried: &[Carried]) -> Vec<PathBuf> {
    let stem =
        |carried: &Carried| carried.platform.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    distinct(carried.iter().map(stem)).into_iter().map(|name| out.join(name + ".toml")).collect()
}

/// Writes the scenarios, and runs what has not been run.
fn runs(
    arguments: &CompareArguments,
    plan: &Plan,
    out: &Path,
    carried: &[Carried],
) -> Result<(Journal, Stop), u8> {
    let texts: Vec<String> = carried.iter().map(|carried| text(arguments, carried, out)).collect();
    if arguments.resume {
        // Runs of other strategies, or of another platform, must not be taken for those that are asked for.
        for (file, text) in plan.files.iter().zip(&texts) {
            if !holds(file, text) {
                let file = file.display();
                tell(&format!("{file} is not what would be run now: choose another folder with --out\n"));
                return Err(Verdict::BAD_INPUT);
            }
        }
    }
    let journal = opened(out, arguments.resume, plan)?;
    for (file, text) in plan.files.iter().zip(&texts) {
        write(file, text).map_err(|error| failed(&format!("cannot write {}", file.display()), &error))?;
    }
    loads(plan)?;
    gone_through(journal, plan, &limits(&arguments.bounds, arguments.budget))
}

/// The scenario of a platform, with what it was made of.
fn text(arguments: &CompareArguments, carried: &Carried, out: &Path) -> String {
    let (file, platform) = (arguments.file.display(), carried.platform.display());
    format!("# The strategies of {file} on {platform}.\n\n{}", carried.draft.text(out))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the scenarios of a comparison belong to the user, outside any run"
)]
fn holds(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|found| found == text)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the scenarios of a comparison belong to the user, outside any run"
)]
fn write(file: &Path, text: &str) -> io::Result<()> {
    std::fs::write(file, text)
}
