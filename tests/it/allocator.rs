//! The allocators and their clients, end to end; and what is said of scenario files that name no experiment that could be.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use wavetank::base::{Seed, Share};
use wavetank::checkers::{ensemble, experiment, replication};
use wavetank::experiment::users::Population;
use wavetank::lab::{Options, Run, Verdict, execute};
use wavetank::scenario::Scenario;
use wavetank::systems::allocator::api::{
    Allocators, Arm, Ask, CatalogueVersion, Change, ChangeError, Curator, Decision, Draft, Identity,
    LayerDraft, Reason, Scheme, Visitor,
};
use wavetank::systems::allocator::{self, Neighbours};
use wavetank::systems::broker::{self, TopicConfig};
use wavetank::systems::coordination;
use wavetank::systems::coordination::api::Session;
use wavetank::world::{Host, Tank};

use crate::scenario_files::{GOOD, folder, load};
use crate::world_time::{in_tank, spec};

fn changes() -> [Change; 2] {
    let layer = LayerDraft { name: "home".to_owned(), unit: Identity::User, segments: 10 };
    let arms = ["old", "new"].map(|name| Arm { name: name.to_owned(), weight: 1.0 }).to_vec();
    let draft = Draft {
        name: "banner".to_owned(),
        layer: "home".to_owned(),
        segments: 10,
        arms,
        ramp: Share::new(1.0),
        scheme: Scheme::Planout,
        only: [].into(),
        sticky: false,
        adaptive: None,
    };
    [Change::LayOut { layers: vec![layer], holdout: Share::default() }, Change::Start(draft)]
}

fn ask(user: u32) -> Ask {
    let visitor = Visitor { user: Some(format!("u{user}")), ..Visitor::default() };
    Ask { experiment: "banner".to_owned(), visitor, remembered: None }
}

/// What an allocator says once it knows the experiment.
async fn drawn(host: &Host, allocators: &Allocators, user: u32) -> Decision {
    loop {
        match allocators.ask(&ask(user)).await {
            Some(decision) if decision.reason == Reason::Drawn => return decision,
            _ => host.sleep(Duration::from_millis(50)).await,
        }
    }
}

#[test]
fn every_allocator_gives_the_same_arm_and_a_change_to_a_catalogue_that_has_moved_on_is_refused() {
    let (done, _) = in_tank(1, |tank: Tank| async move {
        let ensemble = coordination::boot(
            &tank,
            &coordination::Config::default(),
            Rc::new(RefCell::new(ensemble::History::default())),
        )
        .servers;
        let topics = ["exposures", "outcomes"].map(|topic| TopicConfig::new(topic, 1, 1, 1)).to_vec();
        let config = broker::Config { brokers: 1, topics, ..broker::Config::default() };
        let history = Rc::new(RefCell::new(replication::History::default()));
        let brokers = broker::boot(&tank, &config, &ensemble, history).servers;
        let neighbours = Neighbours { ensemble: ensemble.clone(), brokers };
        let history = Rc::new(RefCell::new(experiment::History::default()));
        let servers = allocator::boot(&tank, &allocator::Config::default(), neighbours, history).servers;
        let done = Rc::new(RefCell::new(false));
        let told = done.clone();
        tank.add_host(spec("client", "a"), move |host| {
            let (ensemble, servers, told) = (ensemble.clone(), servers.clone(), told.clone());
            async move {
                let session = Session::begin(&host, &ensemble, Duration::from_secs(3));
                let curator = Curator::new(&session);
                curator.prepare().await.expect("nothing breaks here");
                for (version, change) in (0..).zip(changes()) {
                    let made = curator.change(CatalogueVersion::new(version), &change).await;
                    assert_eq!(made, Ok(()));
                }
                let late = curator.change(CatalogueVersion::new(1), &changes()[1]).await;
                assert_eq!(late, Err(ChangeError::Stale(CatalogueVersion::new(2))));
                let (version, catalogue) = curator.catalogue().await.expect("nothing breaks here");
                assert_eq!((version, catalogue.started), (CatalogueVersion::new(2), 1));
                let each: Vec<Allocators> =
                    servers.iter().map(|server| Allocators::new(&host, &[*server], 0)).collect();
                let mut arms = [0, 0];
                for user in 0..50 {
                    let first = drawn(&host, &each[0], user).await.choice.expect("all are exposed");
                    assert_eq!(first.propensity, 0.5);
                    arms[first.arm] += 1;
                    for other in &each[1..] {
                        assert_eq!(drawn(&host, other, user).await.choice, Some(first));
                    }
                }
                assert!(arms.iter().all(|count| 5 < *count), "{arms:?}");
                *told.borrow_mut() = true;
            }
        });
        tank.wait_until(Duration::from_secs(60), Duration::from_millis(50), || *done.borrow()).await
    });
    assert_eq!(done, Ok(true));
}

#[test]
fn a_file_with_an_experiment_that_cannot_be_is_refused_where_it_is_wrong() {
    let experiment = |steps: &str| {
        let topics = "{ name = \"exposures\" }, { name = \"outcomes\" }, { name = \"clicks\"";
        let system = "[systems.allocator]\n[workloads.experiment]\n";
        let users = "[workloads.experiment.users.banner]\nper_day = 20\ndays = 5\nbase = \"5%\"\narms = [{ name = \"a\" }, { name = \"b\" }]\n";
        format!("{}{system}steps = [{steps}]\n{users}", GOOD.replacen("{ name = \"clicks\"", topics, 1))
    };
    let layout = "{ do = { lay_out = { layers = [{ name = \"home\", segments = 4 }] } } }";
    let start = "{ do = { start = { name = \"banner\", layer = \"home\", segments = SIZE, arms = [{ name = \"a\" }, { name = \"b\" }] } } }";
    let learning = start.replace("segments", "adaptive = {}, segments");
    let more = "{ do = { add_arm = { experiment = \"banner\", arm = { name = \"c\" } } } }";
    for (name, text, told) in [
        (
            "alloc-free",
            experiment(&format!("{layout}, {}", start.replace("SIZE", "5"))),
            "from 1 to the 4 that are free",
        ),
        (
            "alloc-arms",
            experiment(&format!("{layout}, {}", start.replace("SIZE", "2").replace("\"b\"", "\"c\""))),
            "`banner` has the arms a, c; its users know a, b",
        ),
        (
            "alloc-fixed",
            experiment(&format!("{layout}, {}, {more}", start.replace("SIZE", "2"))),
            "`banner` has fixed shares, and units would change their arms: end it, and start another",
        ),
        (
            "alloc-more",
            experiment(&format!("{layout}, {}, {more}", learning.replace("SIZE", "2"))),
            "`banner` has the arms a, b, c; its users know a, b",
        ),
        ("alloc-users", experiment(layout), "no step starts `banner`"),
        (
            "alloc-days",
            experiment(&format!("{layout}, {}", start.replace("SIZE", "2"))).replace("days = 5", "days = 0"),
            "a stream lasts from 1 to 3650 days",
        ),
        (
            "alloc-segments",
            experiment(&format!("{layout}, {}", start.replace("SIZE", "2")))
                + "segments = [{ name = \"all\", share = \"100%\", lifts = [\"+0%\", \"+0%\"] }]\n",
            "apps of the platform do not tell segments apart",
        ),
        ("alloc-layer", experiment(&start.replace("SIZE", "2")), "there is no layer `home`"),
        ("alloc-topic", format!("{GOOD}[systems.allocator]\n"), "there is no topic `exposures`"),
        ("alloc-none", experiment("").replace("[systems.allocator]\n", ""), "experiments need allocators"),
    ] {
        let folder = folder(name, &[("s.toml", &text)]);
        let error = load(&folder, &[]).map(|scenario| scenario.title).expect_err(name);
        assert!(error.contains(told) && error.contains("s.toml:"), "{name}: {error}");
    }
}

fn stormy(set: &[&str]) -> Result<Scenario, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/experiment.toml");
    let overrides: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    Scenario::load(&path, &overrides).map_err(|error| error.render(false))
}

#[test]
fn experiments_keep_their_promises_in_a_storm_and_every_promise_is_looked_at() {
    let scenario = stormy(&["acts.stir=20s"]).expect("the scenario can be run");
    let mut looked_at = BTreeMap::new();
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
        "whoever has no name, or an empty one, is shown no arm",
        "nobody is shown an arm that was removed",
        "a segment has one holder",
        "a unit is drawn into one experiment of a layer",
        "the propensity told is that of the weights that were used",
        "as many units are exposed as ramp and segments say, but for one chance in 1e9",
        "each arm has as many units as its weight says, but for one chance in 1e9",
        "the logs hold as many units of each arm as its weight says, but for one chance in 1e9",
        "inverse propensities average to one, but for one chance in 1e9",
        "no arm carries over to a later experiment",
        "experiments of different layers draw independently, but for one chance in 1e9",
        "weights are how likely each arm is the best, above the floor, and make one",
        "what was learnt never goes back",
        "what is believed is the fold of unique rewards up to the stored offsets",
        "what came too late is counted as such, once",
        "every acknowledged event is read back",
        "what is read back was sent",
        "an event stands no more often than it was handed to a producer",
    ] {
        assert!(looked_at.get(name).is_some_and(|count| 0 < *count), "{name}: {looked_at:?}");
    }
}

/// A browser remembered an arm that had been added a moment before. An allocator that had not heard of it yet took it for none, and drew another,
/// which stayed.
#[test]
fn an_allocator_that_lags_behind_keeps_whoever_was_drawn_into_an_arm_it_does_not_know() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/experiment-arms.toml");
    let scenario = Scenario::load(&path, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let run = execute(&scenario, Seed::new(23), &Options::default(), &mut |_| {});
    assert_eq!(run.verdict, Verdict::Held, "{:?}", run.violation);
    let met = "an allocator was told of an arm that it did not know yet";
    assert!(run.properties.iter().any(|tally| tally.name == met && 0 < tally.hit), "{:?}", run.properties);
    let seen = |name: &str| run.checks.iter().any(|check| check.name == name && 0 < check.looked_at);
    assert!(seen("a unit keeps its arm for the life of an experiment"), "{:?}", run.checks);
}

#[test]
fn what_no_allocator_could_run_with_is_told() {
    let refused = |set: &str, why: &str| {
        let complaint = stormy(&[set]).expect_err("it is wrong");
        assert!(complaint.contains(why), "{set}: {complaint}");
    };
    refused("systems.allocator.servers=0", "0 is not from 1 to");
    refused("systems.allocator.attribution=\"1ms\"", "1ms is shorter than 10ms");
    refused("systems.allocator.exposures=\"exposure\"", "did you mean `exposures`?");
    refused("workloads.experiment.users.price.base=\"0%\"", "a rate lies between 0% and 100%");
    refused("workloads.experiment.speed_up=0", "0 is not from 0.001 to 1e9");
    refused("workloads.experiment.users.price.per_day=2000000", "more than the 1000000 that");
    refused("workloads.experiment.delivery_timeout=5ms", "5ms is no longer than a batch waits: 5ms");
    refused("workloads.experiment.apps=0", "0 is not from 1 to 100");
}

#[test]
fn users_who_come_after_the_stir_are_warned_of() {
    let told = |set: &str| {
        let scenario = stormy(&[set]).expect("the scenario can be run");
        scenario.warnings.iter().map(|warning| warning.render(false)).collect::<String>()
    };
    assert_eq!(told("acts.stir=30s"), "");
    let warned = told("acts.stir=29s");
    assert!(warned.contains(".days` lies beyond the stir"), "{warned}");
    assert!(warned.contains("users come for 30s, but the stir ends after 29s"), "{warned}");
    let slower = told("workloads.experiment.speed_up=43200");
    assert!(slower.contains("users come for 1m, but the stir ends after 30s"), "{slower}");
}

/// One A/A test, to which everybody comes as the seed says.
const ALIKE: &str = r#"
title = "The users of a seed"
[acts]
stir = "6s"
[systems.coordination]
servers = 1
[systems.broker]
brokers = 1
topics = [{ name = "exposures", replicas = 1, min_in_sync = 1 }, { name = "outcomes", replicas = 1, min_in_sync = 1 }]
[systems.allocator]
servers = 1
[workloads.experiment]
steps = [
    { do = { lay_out = { layers = [{ name = "home", unit = "cookie", segments = 4 }] } } },
    { do = { start = { name = "banner", layer = "home", segments = 4, arms = [{ name = "a" }, { name = "b" }] } } },
]
[workloads.experiment.users.banner]
per_day = 60
days = 5
base = "30%"
heterogeneity = 1.0
arms = [{ name = "a" }, { name = "b" }]
returning = { share = "30%", visits = 3, gap = "12h" }
bots = { share = "10%", rate = "80%" }
"#;

#[test]
fn a_platform_and_a_stream_without_one_meet_the_same_users_under_the_same_seed() {
    let scenario = Scenario::load(&folder("alike", &[("s.toml", ALIKE)]).join("s.toml"), &[]);
    let scenario = scenario.unwrap_or_else(|error| panic!("{}", error.render(false)));
    let model = &scenario.workloads.experiment.as_ref().expect("there is one").users["banner"];
    let population = Population::new(model);
    for seed in [1, 2].map(Seed::new) {
        let run = execute(&scenario, seed, &Options::default(), &mut |_| {});
        assert_eq!(run.verdict, Verdict::Held, "{:?}", run.violation);
        let users = population.users(seed);
        let (mut visits, mut converting) = (0, 0);
        for user in (0..population.count()).map(|number| users.user(number)) {
            let mut next = Some((0, user.first));
            while let Some((visit, at)) = next {
                visits += 1;
                converting += u64::from(users.response(&user, visit, at, 0).success);
                next = users.next_visit(&user, visit, at).map(|at| (visit + 1, at));
            }
        }
        let counted = |name: &str| {
            let counter = run.counters.iter().find(|(counter, _)| counter == name);
            counter.unwrap_or_else(|| panic!("no {name} in {:?}", run.counters)).1
        };
        assert!(300 < visits && 90 < converting, "{visits} visits, {converting} convert");
        assert_eq!(counted("experiment decided"), visits);
        assert_eq!(counted("experiment converting"), converting);
    }
}

fn figure(run: &Run, name: &str) -> f64 {
    let figure = run.figures.iter().find(|figure| figure.name == format!("experiment {name}"));
    let figure = figure.unwrap_or_else(|| panic!("no {name} in {:?}", run.figures));
    figure.value.unwrap_or_else(|| panic!("{name} has no value: {:?}", run.verdict))
}

#[test]
fn what_brokers_lose_or_copy_is_told_by_the_promise_of_the_producers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/decisions-high.toml");
    let run = |path: &Path, delivery: &str| {
        let set = [format!("workloads.experiment.delivery=\"{delivery}\"")];
        let scenario = Scenario::load(path, &set).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let run = execute(&scenario, Seed::new(1), &Options::default(), &mut |_| {});
        assert_eq!(run.verdict, Verdict::Held, "{delivery}: {:?}", run.violation);
        run
    };
    let [at_most, at_least, once] =
        ["at-most-once", "at-least-once", "idempotent"].map(|how| run(&path, how));
    let copies = "exposures in several copies";
    assert_eq!(figure(&at_most, copies), 0.0);
    assert!(10.0 < figure(&at_most, "exposures lost") && 0.5 < figure(&at_least, copies));
    assert!(figure(&once, copies) < 0.3 * figure(&at_least, copies), "{}", figure(&once, copies));
    assert_ne!(figure(&at_most, "A/B relative bias, by ids"), 0.0);
    let calm = run(&path.with_file_name("decisions-calm.toml"), "at-most-once");
    for (name, value) in [
        ("exposures lost", 0.0),
        (copies, 0.0),
        ("A/B relative bias, by records", 0.0),
        ("verdicts changed, by records", 0.0),
    ] {
        assert_eq!(figure(&calm, name), value, "{name}");
    }
}
