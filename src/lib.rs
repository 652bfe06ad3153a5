//! Wavetank: the real code of a large-scale ML platform in reproducible storms.
//!
//! Layers, bottom-up. A module names only modules declared above it; `tests/it/tidy.rs` holds us to it.
//!
//! - [`base`]: words all layers share: identities, units, seeds and their named streams. Pure.
//! - [`statistics`]: tests, intervals and sample sizes. Pure: data in, numbers out.
//! - [`experiment`]: users whose truth is known, and the strategies that are to find it. Pure.
//! - [`checkers`]: functions from a history to a verdict. They see neither the world nor any system.
//! - [`world`]: the seeded kernel: clock, chance, hosts, network, disk, faults, trace, properties. Only here is madsim named.
//! - [`systems`]: real code under test. It reaches the outside through its `Host` alone.
//! - [`workloads`]: what clients do to the systems, and what they may expect.
//! - [`scenario`]: one TOML file, composed of the parts' own configurations. Invents no knob.
//! - [`lab`]: runs, records and replays scenarios. The only place with threads.
//! - [`report`]: what a run looks like on a terminal and as JSON.
//! - [`testing`]: property tests of scenarios, for users' own `cargo test`.
//! - [`cli`]: the command line. Decides nothing.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(not(madsim))]
compile_error!(
    "wavetank needs `--cfg madsim`, or simulated code would read the real clock and real randomness. \
     `.cargo/config.toml` sets it; an environment variable RUSTFLAGS replaces that file: \
     unset RUSTFLAGS, or add `--cfg madsim` to it."
);

pub mod base;
pub mod statistics;
pub mod experiment;
pub mod checkers;
pub mod world;
pub mod systems;
pub mod workloads;
pub mod scenario;
pub mod lab;
pub mod report;
pub mod testing;
pub mod cli;
