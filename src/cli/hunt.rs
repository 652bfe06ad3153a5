//! `wavetank hunt`: how many runs it takes to find each known bug. It tests the testers.

use std::path::PathBuf;

use crate::cli::sweep::{limits, swept};
use crate::cli::{HuntArguments, load, print, tell};
use crate::lab::Verdict;
use crate::lab::sweep::{Ended, Limits, Outcome, Plan};
use crate::scenario::{Scenario, advice};
use crate::systems::bugs::BUGS;

/// In place of keys: every bug of the systems that stand in the scenarios.
const ALL: &str = "all";

/// What a hunt for one bug brought.
struct Hunted {
    key: &'static str,
    /// How many runs there were up to the first that found it, or in all.
    runs: usize,
    /// What they took, in seconds of one core.
    seconds: f64,
    found: Option<Outcome>,
}

/// Carries the command out; returns its exit code: 0 if every bug was found, 1 if one was not.
pub(super) fn run(arguments: &HuntArguments) -> u8 {
    let keys = match keys(&arguments.bugs) {
        Ok(keys) => keys,
        Err(message) => {
            tell(&message);
            return Verdict::BAD_INPUT;
        }
    };
    let mut scenarios = Vec::new();
    for file in &arguments.runs.files {
        match load(file, &arguments.runs.set) {
            Ok(scenario) => scenarios.push(scenario),
            Err(code) => return code,
        }
    }
    let mut hunts = Vec::new();
    for key in keys {
        let files = fitting(key, &scenarios);
        if files.is_empty() {
            let system = system_of(key);
            tell(&format!("{key} cannot be hunted: no {system} stands in any of these scenarios\n"));
            if arguments.bugs != ALL {
                return Verdict::BAD_INPUT;
            }
            continue;
        }
        hunts.push((key, files));
    }
    if hunts.is_empty() {
        return Verdict::BAD_INPUT;
    }
    print("| Bug | Found after | Core seconds | At | By |\n|---|---|---|---|---|\n");
    let mut missed = 0;
    for (key, files) in hunts {
        match hunt(key, files, arguments) {
            Ok(hunted) => {
                missed += usize::from(hunted.found.is_none());
                print(&row(&hunted));
            }
            Err(code) => return code,
        }
    }
    u8::from(0 < missed)
}

/// The keys that a list names.
fn keys(list: &str) -> Result<Vec<&'static str>, String> {
    let known = || BUGS.iter().map(|(key, ..)| *key);
    if list == ALL {
        return Ok(known().collect());
    }
    let find = |asked: &str| {
        known().find(|key| *key == asked).ok_or_else(|| {
            let mend = advice(asked, known()).map(|advice| format!("; {advice}")).unwrap_or_default();
            format!(
                "no known bug is called `{asked}`{mend}\n  `wavetank bugs` lists them; `all` hunts them all\n"
            )
        })
    };
    list.split(',').map(|asked| find(asked.trim())).collect()
}

fn system_of(key: &str) -> &'static str {
    BUGS.iter().find(|(known, ..)| *known == key).map_or("", |(_, system, ..)| system)
}

/// The scenarios in which the system stands that has the bug.
fn fitting(key: &str, scenarios: &[Scenario]) -> Vec<PathBuf> {
    let system = system_of(key);
    let stands = |scenario: &&Scenario| scenario.systems.has(system);
    scenarios.iter().filter(stands).map(|scenario| scenario.path.clone()).collect()
}

fn hunt(key: &'static str, files: Vec<PathBuf>, arguments: &HuntArguments) -> Result<Hunted, u8> {
    let (first, end) = arguments.runs.seeds;
    let bug = format!("bugs=[\"{key}\"]");
    let plan = Plan {
        files,
        set: [arguments.runs.set.as_slice(), &[bug]].concat(),
        axes: Vec::new(),
        first,
        end,
        shard: (1, 1),
    };
    let limits = Limits { failures: Some(1), ..limits(&arguments.runs.bounds, arguments.runs.budget) };
    let folder = arguments.out.join(key);
    let (journal, _) = swept(&folder, folder.exists(), &plan, &limits)?;
    Ok(judge(key, &plan, journal.outcomes()))
}

/// Runs count in the order in which one job would have made them.
fn judge(key: &'static str, plan: &Plan, outcomes: &[Outcome]) -> Hunted {
    let mut hunted = Hunted { key, runs: 0, seconds: 0.0, found: None };
    for point in plan.points() {
        let Some(outcome) = outcomes.iter().find(|outcome| outcome.point == point) else { continue };
        hunted.runs += 1;
        hunted.seconds += outcome.wall_seconds;
        if outcome.trouble.is_some() && outcome.ended != Ended::BadInput {
            hunted.found = Some(outcome.clone());
            break;
        }
    }
    hunted
}

fn row(hunted: &Hunted) -> String {
    let Hunted { key, seconds, found, .. } = hunted;
    let runs = if hunted.runs == 1 { "1 run".to_owned() } else { format!("{} runs", hunted.runs) };
    match found.as_ref().and_then(|outcome| Some((&outcome.point, outcome.trouble.as_ref()?))) {
        Some((point, trouble)) => format!(
            "| {key} | {runs} | {seconds:.1} | {} seed {} | {}: {} |\n",
            point.file.display(),
            point.seed,
            trouble.ended.words(),
            trouble.what
        ),
        None => format!("| {key} | not in {runs} | {seconds:.1} | | |\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sweep::sample::outcome;

    #[test]
    fn runs_count_up_to_the_first_that_finds_the_bug() {
        let plan = Plan {
            files: vec!["scenarios/a.toml".into()],
            set: Vec::new(),
            axes: Vec::new(),
            first: 1,
            end: 6,
            shard: (1, 1),
        };
        let broken = Some((Ended::Violated, "p"));
        // Two jobs: seed 4 ended before 3 did.
        let outcomes = [outcome(1, None), outcome(2, None), outcome(4, broken), outcome(3, broken)];
        let hunted = judge("K01", &plan, &outcomes);
        assert_eq!(row(&hunted), "| K01 | 3 runs | 1.5 | scenarios/a.toml seed 3 | violated: p |\n");
        let hunted = judge("K01", &plan, &outcomes[..2]);
        assert_eq!(row(&hunted), "| K01 | not in 2 runs | 1.0 | | |\n");
    }

    #[test]
    fn a_key_that_does_not_exist_is_told_with_the_nearest() {
        assert_eq!(keys("K26, Z01"), Ok(vec!["K26", "Z01"]));
        assert_eq!(keys("all").map(|keys| keys.len()), Ok(BUGS.len()));
        let told = keys("K25,K2").expect_err("there is no K2");
        assert!(told.contains("`K2`; did you mean `K"), "{told}");
    }
}
