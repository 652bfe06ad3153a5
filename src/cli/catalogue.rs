//! `wavetank list`, `schema`, `bugs` and `sites`: what there is.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::{Documented, print, tell};
use crate::lab::Verdict;
use crate::report;
use crate::report::tables::Told;
use crate::scenario::{Glance, Kind, Project, Scenario, ScenarioError, Study, Visitors};
use crate::systems::bugs::BUGS;
use crate::systems::sites;
use crate::world::Site;

/// Lists the scenarios of a folder; returns the exit code.
pub(super) fn list(folder: &Path) -> u8 {
    let mut files = Vec::new();
    if let Err(error) = collect(folder, &mut files) {
        tell(&format!("cannot list {}: {error}\n", folder.display()));
        return Verdict::BAD_INPUT;
    }
    let seen = files.into_iter().map(|file| (Glance::at(&file), file));
    let files: Vec<(Kind, PathBuf)> =
        seen.filter(|(glance, _)| glance.titled).map(|(glance, file)| (glance.kind, file)).collect();
    if files.is_empty() {
        tell(&format!("there is no scenario in {}\n", folder.display()));
    }
    for (kind, file) in files {
        let (told, verb) = match kind {
            Kind::Scenario => (Scenario::load(&file, &[]).map(|scenario| entry(&scenario)), "run"),
            Kind::Study => (Study::load(&file, &[]).map(|study| strategies(&study)), "compare"),
            Kind::Project => (Project::load(&file, &[]).map(|project| asks(&project)), "impact"),
        };
        print(&told.unwrap_or_else(|error| unreadable(&error, verb, &file)));
    }
    Verdict::Held.exit_code()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort_by_key(|path| (path.is_dir(), path.clone()));
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn unreadable(error: &ScenarioError, verb: &str, file: &Path) -> String {
    format!("{error}\n    `wavetank {verb} {}` tells more\n\n", file.display())
}

fn strategies(study: &Study) -> String {
    let names: Vec<&str> = study.strategies.iter().map(|strategy| strategy.name.as_str()).collect();
    let Study { path, title, visitors, streams, .. } = study;
    let who = match visitors {
        Visitors::Users(users) => format!("users   {} a day for {} days", users.per_day, users.days),
        Visitors::Log(log) => {
            format!("log     {} impressions of {} in {} days", log.whole().trials(), log.about, log.days())
        }
    };
    format!(
        "{}\n    {title}\n    compares {}\n    {who}, {} arms; {streams} streams\n\n",
        path.display(),
        names.join(", "),
        visitors.arms()
    )
}

fn asks(project: &Project) -> String {
    format!(
        "{}\n    {}\n    what it would bring and cost, before it is built\n\n",
        project.path.display(),
        project.title
    )
}

fn entry(scenario: &Scenario) -> String {
    let servers = [
        scenario.systems.coordination.as_ref().map(|config| format!("{} coordination", config.servers)),
        scenario.systems.broker.as_ref().map(|config| format!("{} broker", config.brokers)),
        scenario.systems.allocator.as_ref().map(|config| format!("{} allocator", config.servers)),
    ];
    let servers = servers.into_iter().flatten().collect::<Vec<_>>().join(" + ");
    let clicks = scenario.workloads.clickstream.iter().map(|config| config.name.as_str());
    let registers = scenario.workloads.registers.iter().map(|config| config.name.as_str());
    let garbage = scenario.workloads.garbage.iter().map(|config| config.name.as_str());
    let experiment = scenario.workloads.experiment.iter().map(|config| config.name.as_str());
    let workloads: Vec<&str> = clicks.chain(registers).chain(garbage).chain(experiment).collect();
    let kinds: BTreeSet<&str> = scenario.faults.iter().map(|rule| rule.kind.name()).collect();
    let mut risks = kinds.into_iter().collect::<Vec<_>>().join(", ");
    if risks.is_empty() {
        risks = "nothing breaks".to_owned();
    }
    for (holds, risk) in [
        (scenario.swarm, "drawn anew for each seed".to_owned()),
        (scenario.beyond_budget, "beyond what the systems survive".to_owned()),
        (!scenario.bugs.is_empty(), format!("with bugs {}", scenario.bugs.join(" "))),
    ] {
        if holds {
            risks.push_str(&format!("; {risk}"));
        }
    }
    format!(
        "{}\n    {}\n    stands  {servers} in zones {}; driven by {}\n    risks   {risks}; {} of it\n\n",
        scenario.path.display(),
        scenario.title,
        scenario.zones.names.join(" "),
        if workloads.is_empty() { "nobody".to_owned() } else { workloads.join(", ") },
        scenario.acts.stir,
    )
}

/// Prints the JSON Schema of scenario files, or of what a run writes; returns the exit code.
pub(super) fn schema(of: Documented) -> u8 {
    let schema = match of {
        Documented::Scenario => Scenario::schema().to_value(),
        Documented::Strategies => Study::schema().to_value(),
        Documented::Project => Project::schema().to_value(),
        Documented::Run => report::run_schema(),
        Documented::Trace => Told::Trace.document(),
        Documented::Series => Told::Series.document(),
    };
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    print(&(text + "\n"));
    Verdict::Held.exit_code()
}

/// Lists the known bugs; returns the exit code.
pub(super) fn bugs() -> u8 {
    for (key, system, what, switch) in BUGS {
        print(&format!("{key:<4} {system:<13} {what}\n{:19}switched on: {switch}\n", ""));
    }
    print(
        "\nSwitch one on in a scenario with bugs = [\"Z01\"], or for one run with --set 'bugs=[\"Z01\"]'.\n",
    );
    Verdict::Held.exit_code()
}

/// Lists the cooperative points; returns the exit code.
pub(super) fn sites() -> u8 {
    sites::ALL.iter().for_each(|site| print(&described(site)));
    print(
        "\nWhile chaos reigns, each is live in a quarter of the runs, and fires there once in 4, 16 or 64 times that it is reached.\n\
         Switch all off with --set acts.cooperation=false; see them in a replay with --log '*=debug'.\n",
    );
    Verdict::Held.exit_code()
}

fn described(site: &Site) -> String {
    let Site { system, name, what, wait_max, .. } = site;
    let wait = if wait_max.is_zero() { String::new() } else { format!(", up to {wait_max:?}") };
    format!("{system:<13} {name}{wait}\n{:14}{what}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_told_with_its_bound_and_what_it_is_for() {
        let told = described(&sites::PROPOSAL) + &described(&sites::EARLY_FETCH);
        insta::assert_snapshot!(told, @r#"
        broker        before a proposal, up to 500ms
                      the controller hears late who is in sync, of a leader that may be none any more
        broker        a fetch is answered early
                      less than was asked for, or nothing but a newer high watermark: followers learn of commits at other times
        "#);
    }
}
