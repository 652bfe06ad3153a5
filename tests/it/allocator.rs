//! The allocators in the tank: what a scenario of experiments must name, and that promises are looked at and kept.

use std::path::Path;

use wavetank::base::Seed;
use wavetank::lab::{Options, Verdict, execute};
use wavetank::scenario::Scenario;

fn load(set: &[&str]) -> Result<Scenario, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/experiment.toml");
    let overrides: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    Scenario::load(&path, &overrides).map_err(|error| error.render(false))
}

#[test]
fn experiments_keep_their_promises_in_a_storm_and_every_promise_is_looked_at() {
    let scenario = load(&["acts.stir=20s"]).expect("the scenario can be run");
    let mut looked_at = std::collections::BTreeMap::new();
    for seed in 1..=8 {
        let run = execute(&scenario, Seed::new(seed), &Options::default(), &mut |_| {});
        assert_eq!(run.verdict, Verdict::Held, "seed {seed}: {:?}", run.violation);
        for check in &run.checks {
            *looked_at.entry(check.name).or_insert(0) += check.looked_at;
        }
    }
    for name in [
        "a version of the catalogue or of the weights is the same to all",
        "a decision follows from catalogue, weights, unit and what the browser remembers",
        "a unit keeps its arm for the life of an experiment",
        "a segment has one holder",
        "a unit is drawn into one experiment of a layer",
        "the propensity told is that of the weights that were used",
        "weights are how likely each arm is the best, above the floor, and make one",
        "what was learnt never goes back",
        "what is believed is the fold of unique rewards up to the stored offsets",
        "every acknowledged event is read back",
        "what is read back was sent",
    ] {
        assert!(looked_at.get(name).is_some_and(|count| 0 < *count), "{name}: {looked_at:?}");
    }
}

#[test]
fn what_no_allocator_could_run_with_is_told() {
    let refused = |set: &str, why: &str| {
        let complaint = load(&[set]).expect_err("it is wrong");
        assert!(complaint.contains(why), "{set}: {complaint}");
    };
    refused("systems.allocator.servers=0", "0 is not from 1 to");
    refused("systems.allocator.exposures=\"exposure\"", "did you mean `exposures`?");
    refused("workloads.experiment.converts.price=[\"10%\"]", "`price` has 3 arms, and 1 shares");
    refused("workloads.experiment.apps=0", "0 is not from 1 to 100");
}
