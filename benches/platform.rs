//! What a platform costs: virtual seconds and records per real second of the main scenario, calm and in its storm.
//!
//! `cargo bench --bench platform`. A virtual second of `clickstream` is one of its whole course: build, stir, settle, read back, judge.
#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wavetank::base::Seed;
use wavetank::lab::{Options, Run, execute};
use wavetank::scenario::Scenario;

fn load(overrides: &[&str]) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/clickstream.toml");
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Scenario::load(&path, &overrides).expect("the shipped scenario is sound")
}

fn run(scenario: &Scenario, seed: u64) -> Run {
    execute(scenario, Seed::new(seed), &Options::default(), &mut |_| {})
}

fn counter(run: &Run, name: &str) -> u64 {
    run.counters.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
}

fn platform(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("platform");
    group.sample_size(10);
    for (name, overrides) in [("calm", &["faults=[]"][..]), ("storm", &[][..])] {
        let scenario = load(overrides);
        // Criterion shows seconds of real time for a virtual second, and virtual seconds a second as its throughput.
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("virtual-second/{name}"), |bench| {
            bench.iter_custom(|seconds| {
                let began = Instant::now();
                let run = run(&scenario, 1);
                began.elapsed().mul_f64(seconds as f64 / run.virtual_time.as_secs_f64())
            });
        });
        group.bench_function(format!("record/{name}"), |bench| {
            bench.iter_custom(|records| {
                let began = Instant::now();
                let run = run(&scenario, 1);
                let acknowledged = counter(&run, "clickstream acknowledged");
                began.elapsed().mul_f64(records as f64 / acknowledged as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, platform);
criterion_main!(benches);
