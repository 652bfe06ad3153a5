//! What the statistics cost: decisions of bandit policies, assignments, stopping rules, tests. One core.
//!
//! `cargo bench --bench statistics -- --quick`. A decision is a choice among ten arms whose shares are 5 to 7.25 %, the draw of its reward and
//! what the policy learns from it, averaged over the first 100,000 of a policy that knows nothing.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wavetank::base::Seed;
use wavetank::experiment::course::Prepared;
use wavetank::experiment::strategy::Strategy;
use wavetank::experiment::users::{Population, UserModel};
use wavetank::statistics::assignment::growthbook::{self, Version};
use wavetank::statistics::assignment::optimizely;
use wavetank::statistics::assignment::planout::Salt;
use wavetank::statistics::bandit::epsilon_greedy::EpsilonGreedy;
use wavetank::statistics::bandit::exp3::Exp3;
use wavetank::statistics::bandit::index::{Index, IndexPolicy};
use wavetank::statistics::bandit::linear::{Exploration, LinearPolicy};
use wavetank::statistics::bandit::thompson::{BetaPrior, BetaThompson, Drawn, GaussianThompson, NormalPrior};
use wavetank::statistics::bandit::{Memory, Outcome, Policy};
use wavetank::statistics::bayes::{
    Beta, Patience, probabilities_best, stop_by_expected_loss, stop_by_value_remaining, value_remaining,
};
use wavetank::statistics::dice::Dice;
use wavetank::statistics::proportion::{Share, pooled};

const ARMS: usize = 10;
const DECISIONS: u64 = 100_000;

fn dice(name: &str) -> Dice {
    Dice::new(&mut Seed::new(1).stream(name))
}

fn decide<P: Policy>(criterion: &mut Criterion, name: &str, policy: impl Fn() -> P) {
    let shares: [f64; ARMS] = std::array::from_fn(|arm| 0.05 + 0.0025 * arm as f64);
    let mut group = criterion.benchmark_group("decisions");
    group.throughput(Throughput::Elements(DECISIONS)).sample_size(10);
    group.bench_function(name, |bench| {
        bench.iter(|| {
            let (mut policy, mut dice) = (policy(), dice(name));
            for _ in 0..DECISIONS {
                let arm = policy.choose(&mut dice);
                let reward = f64::from(u8::from(dice.happens(shares[arm])));
                policy.observe(Outcome { arm, reward });
            }
            black_box(policy.choose(&mut dice))
        });
    });
    group.finish();
}

fn decisions(criterion: &mut Criterion) {
    let index = |index| move || IndexPolicy::new(ARMS, index, Memory::Full);
    decide(criterion, "thompson-beta", || {
        BetaThompson::new(ARMS, BetaPrior::FLAT, Drawn::Best, Memory::Full)
    });
    decide(criterion, "top-two-beta", || {
        BetaThompson::new(ARMS, BetaPrior::FLAT, Drawn::TopTwo { first: 0.5 }, Memory::Full)
    });
    let prior = NormalPrior { mean: 0.05, variance: 0.01 };
    decide(criterion, "thompson-gaussian", || {
        GaussianThompson::new(ARMS, prior, 0.05, Drawn::Best, Memory::Full)
    });
    decide(criterion, "epsilon-greedy", || EpsilonGreedy::new(ARMS, 0.1, Memory::Full));
    decide(criterion, "ucb1", index(Index::Ucb1));
    decide(criterion, "moss", index(Index::Moss { horizon: Some(DECISIONS as f64) }));
    decide(criterion, "kl-ucb", index(Index::KlUcb));
    decide(criterion, "bayes-ucb", index(Index::BayesUcb));
    decide(criterion, "chapelle-li", index(Index::ChapelleLi));
    decide(criterion, "exp3", || Exp3::new(ARMS, 0.1));
    let forgetting = |memory| move || BetaThompson::new(ARMS, BetaPrior::FLAT, Drawn::Best, memory);
    decide(criterion, "thompson-beta-discounted", forgetting(Memory::Discounted { factor: 0.999 }));
    decide(criterion, "thompson-beta-window", forgetting(Memory::Window { length: 1_000 }));
}

/// Contextual policies: five numbers that describe a visit, one of which is 1; an arm does better where one of them is large.
fn contextual(criterion: &mut Criterion) {
    const FEATURES: usize = 5;
    const VISITS: u64 = 10_000;
    let mut group = criterion.benchmark_group("contextual");
    group.throughput(Throughput::Elements(VISITS)).sample_size(10);
    for (name, exploration) in [
        ("lin-ucb", Exploration::UpperBound { alpha: 0.5 }),
        ("lin-ts", Exploration::Thompson { alpha: 0.5 }),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut policy = LinearPolicy::new(ARMS, FEATURES, exploration, 1.0);
                let mut dice = dice(name);
                for _ in 0..VISITS {
                    let mut context: [f64; FEATURES] = std::array::from_fn(|_| dice.uniform());
                    context[0] = 1.0;
                    let arm = policy.choose(&context, &mut dice);
                    let reward = f64::from(u8::from(dice.happens(0.1 * context[1 + arm % (FEATURES - 1)])));
                    policy.observe(arm, &context, reward);
                }
                black_box(policy)
            });
        });
    }
    group.finish();
}

/// Whole streams of users through a strategy: arrivals, outcomes, decisions, and what is told of them.
fn closed(criterion: &mut Criterion) {
    let arms =
        (0..ARMS).map(|arm| format!("{{ name = \"{arm}\", rate = \"{}%\" }}", 5.0 + 0.25 * arm as f64));
    let arms = arms.collect::<Vec<_>>().join(", ");
    let model = format!("per_day = 2000\ndays = 50\nbase = \"5%\"\narms = [{arms}]");
    let model: UserModel = toml::from_str(&model).expect("a model");
    let population = Population::new(&model);
    let mut group = criterion.benchmark_group("closed");
    group.throughput(Throughput::Elements(population.count())).sample_size(10);
    for allocate in ["equal", "thompson", "ucb1"] {
        let strategy = format!("name = \"{allocate}\"\nallocate = \"{allocate}\"");
        let strategy: Strategy = toml::from_str(&strategy).expect("a strategy");
        let prepared = Prepared::new(&strategy, ARMS, model.days);
        let mut seed = 0;
        group.bench_function(allocate, |bench| {
            bench.iter(|| {
                seed += 1;
                prepared.course(&population, Seed::new(seed))
            });
        });
    }
    group.finish();
}

fn assignments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assignments");
    group.throughput(Throughput::Elements(1));
    let (salt, mut user) = (Salt::new("checkout", "button"), 0);
    group.bench_function("planout-uniform-choice", |bench| {
        bench.iter(|| {
            user += 1;
            salt.unit(&[user.into()]).map(|unit| unit.choice(2))
        });
    });
    let ranges = growthbook::ranges(2, 1.0, &[0.5, 0.5]);
    group.bench_function("growthbook-2", |bench| {
        bench.iter(|| {
            user += 1;
            growthbook::place("button", user.into(), Version::Two)
                .map(|place| growthbook::choose(place, &ranges))
        });
    });
    group.bench_function("optimizely", |bench| {
        bench.iter(|| {
            user += 1;
            optimizely::place(user.into(), "button").map(|place| optimizely::choose(place, &[5_000, 10_000]))
        });
    });
    group.finish();
}

fn stopping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stopping");
    for count in [2, ARMS] {
        let arm = |arm| Beta::UNIFORM.after(50.0 + 5.0 * arm as f64, 1_000.0 + 20.0 * arm as f64);
        let arms: Vec<Beta> = (0..count).map(arm).collect();
        let patience = Patience::default();
        group.bench_function(format!("probabilities-best/{count}"), |bench| {
            bench.iter(|| probabilities_best(black_box(&arms)));
        });
        group.bench_function(format!("value-remaining/{count}"), |bench| {
            bench.iter(|| value_remaining(black_box(&arms), patience));
        });
        group.bench_function(format!("stop-by-value-remaining/{count}"), |bench| {
            bench.iter(|| stop_by_value_remaining(black_box(&arms), patience));
        });
        group.bench_function(format!("stop-by-expected-loss/{count}"), |bench| {
            bench.iter(|| stop_by_expected_loss(black_box(&arms), 1e-4));
        });
    }
    group.finish();
}

fn tests(criterion: &mut Criterion) {
    let mut dice = dice("tests");
    let mut share = || Share::new(dice.binomial(10_000, 0.05), 10_000);
    let pairs: Vec<(Share, Share)> = (0..10_000).map(|_| (share(), share())).collect();
    criterion.bench_function("tests/10,000-two-proportion-a-a", |bench| {
        bench.iter(|| black_box(&pairs).iter().filter(|(a, b)| pooled(*a, *b).p() < 0.05).count());
    });
}

criterion_group!(benches, decisions, contextual, assignments, closed, stopping, tests);
criterion_main!(benches);
