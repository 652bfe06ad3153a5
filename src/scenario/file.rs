//! The format of a scenario file: the parts' own configurations, composed. A knob is documented where it is obeyed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::{Seed, Span};
use crate::systems::{self, allocator, broker, coordination};
use crate::workloads::{clickstream, experiment, garbage, registers};
use crate::world::ClockConfig;
use crate::world::fault::{FaultPlan, FaultRule};
use crate::world::network::{LinkConfig, NetworkConfig};

/// A wavetank scenario: what stands in the tank, what clients do to it, what breaks, and what is expected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A wavetank scenario")]
pub(super) struct ScenarioFile {
    /// What the scenario claims, as one sentence: "Clicks survive the loss of any one zone".
    pub(super) title: String,
    /// Files whose contents come first, relative to this file. What comes later wins; lists of tables are appended.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "includes are resolved before the file is read as a whole; the schema names the key"
    )]
    include: Vec<String>,
    /// How long the run's acts last.
    #[serde(default)]
    pub(super) acts: Acts,
    /// The zones and the links within and between them.
    #[serde(default)]
    pub(super) zones: Zones,
    /// The calendar clocks of hosts.
    #[serde(default)]
    pub(super) clocks: ClockConfig,
    /// The systems under test.
    #[serde(default)]
    pub(super) systems: Systems,
    /// What clients do.
    #[serde(default)]
    pub(super) workloads: Workloads,
    /// What breaks.
    #[serde(default)]
    pub(super) faults: Vec<FaultRule>,
    /// Faults that are not drawn any more, besides those that the rules draw: what plan.toml of a run holds (default none).
    #[serde(default)]
    pub(super) plan: FaultPlan,
    /// The seed of a run that is given no other (default 1).
    #[serde(default = "ScenarioFile::seed_default")]
    pub(super) seed: Seed,
    /// Let the seed draw which rules of faults take part, how often they strike, and the systems' constants (default false).
    #[serde(default)]
    pub(super) swarm: bool,
    /// Known bugs to switch on, by key: `wavetank bugs` lists them (default none).
    #[serde(default)]
    pub(super) bugs: Vec<String>,
    /// Let faults hurt more copies at once than the systems survive: loss must then be reported, never silent (default false).
    #[serde(default)]
    pub(super) beyond_budget: bool,
    /// What a good run of this scenario visits.
    #[serde(default)]
    pub(super) expect: Expect,
}

impl ScenarioFile {
    fn seed_default() -> Seed {
        Seed::new(1)
    }
}

/// How long the acts of a run last, and how it settles.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acts {
    /// How long workloads drive traffic while things break (default 60s).
    pub stir: Span,
    /// How long systems and workloads may take to converge after the heal (default 60s). Servers must have been ready for five seconds
    /// before everything is read back.
    pub settle: Span,
    /// What heals before the settling: `all`, or a random sufficient `core` (default all).
    pub settle_form: SettleForm,
    /// Whether cooperative points in the systems may fire: short waits at the places where they hurt most (default true).
    pub cooperation: bool,
}

impl Acts {
    /// How long servers must have been ready before everything is read back: longer than it takes one that was cut off to notice
    /// that others have taken its place, because until then it answers for what it no longer leads.
    pub const STEADY: Duration = Duration::from_secs(5);
}

impl Default for Acts {
    fn default() -> Self {
        Self {
            stir: Span::secs(60),
            settle: Span::secs(60),
            settle_form: SettleForm::default(),
            cooperation: true,
        }
    }
}

/// What heals before a run settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettleForm {
    /// Everything.
    #[default]
    All,
    /// A random set of hosts that suffices for progress; the rest stays broken for ever.
    Core,
}

/// The zones, and the links within and between them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Zones {
    /// Their names; hosts of a kind stand in them by turns (default a, b, c).
    pub names: Vec<String>,
    /// Links between hosts of one zone (default latency 200us..600us).
    pub within: LinkConfig,
    /// Links between hosts of two zones (default latency 1ms..3ms).
    pub between: LinkConfig,
}

impl Default for Zones {
    fn default() -> Self {
        let NetworkConfig { within, between, .. } = NetworkConfig::default();
        Self { names: ["a", "b", "c"].map(str::to_owned).to_vec(), within, between }
    }
}

impl Zones {
    /// The network they describe.
    pub fn network(&self) -> NetworkConfig {
        NetworkConfig {
            within: self.within.clone(),
            between: self.between.clone(),
            ..NetworkConfig::default()
        }
    }
}

/// The systems under test. A system that is not named does not stand in the tank.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Systems {
    /// The coordination ensemble.
    pub coordination: Option<coordination::Config>,
    /// The brokers.
    pub broker: Option<broker::Config>,
    /// The allocators of experiments.
    pub allocator: Option<allocator::Config>,
}

impl Systems {
    /// The names of those that stand.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let standing = [self.coordination.is_some(), self.broker.is_some(), self.allocator.is_some()];
        systems::NAMES.into_iter().zip(standing).filter_map(|(name, stands)| stands.then_some(name))
    }

    /// Whether the system of this name stands.
    pub fn has(&self, system: &str) -> bool {
        self.names().any(|name| name == system)
    }
}

/// What clients do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workloads {
    /// Real logged impressions through a topic.
    pub clickstream: Vec<clickstream::Config>,
    /// Concurrent operations on coordination.
    pub registers: Vec<registers::Config>,
    /// Requests that no server may serve.
    pub garbage: Vec<garbage::Config>,
    /// Users who take part in experiments.
    pub experiment: Option<experiment::Config>,
}

/// What a good run visits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Names of events (`sometimes!` and `reached!` properties) that the scenario exists to visit (default none). A run that misses one
    /// says so and may hold all the same, because one seed need not come there; if no seed of many does, the scenario tests little.
    pub reaches: Vec<String>,
}
