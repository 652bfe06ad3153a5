//! The catalogue, as allocators have read it: the layers and the experiments at one version.

use std::collections::BTreeMap;

/// What a layer tells units apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The cookie of a browser.
    Cookie,
    /// One visit.
    Session,
    /// The user who is logged in.
    #[default]
    User,
}

/// How a unit's place is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// As PlanOut.
    #[default]
    Planout,
    /// As GrowthBook's version 2.
    Growthbook,
    /// As Optimizely.
    Optimizely,
}

/// A layer of segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// What units are told apart by.
    pub unit: Identity,
    /// How many segments there are.
    pub segments: u32,
    /// Each time an experiment ended: the segments that were free then, in rising order.
    pub mixed: Vec<Vec<u32>>,
}

/// An experiment in a catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Its layer.
    pub layer: String,
    /// What its hashes begin with.
    pub salt: String,
    /// How they are made.
    pub scheme: Scheme,
    /// Which values of which attributes a visitor must have.
    pub only: BTreeMap<String, Vec<String>>,
    /// Units that an operator has given an arm.
    pub overrides: BTreeMap<String, usize>,
    /// The segments it holds.
    pub segments: Vec<u32>,
    /// Which share of those in its segments is exposed.
    pub ramp: f64,
    /// Each arm's share by its draft.
    pub shares: Vec<f64>,
    /// The floor of an adaptive experiment.
    pub floor: Option<f64>,
    /// Whether browsers remember its arms.
    pub sticky: bool,
    /// Whether it runs.
    pub running: bool,
}

/// A version of the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// Which share of all units takes part in nothing.
    pub holdout: f64,
    /// The layers, by name.
    pub layers: BTreeMap<String, Layer>,
    /// The experiments, by the number of their start.
    pub experiments: BTreeMap<u32, Experiment>,
}

impl Catalogue {
    /// How many segments the layer of an experiment has.
    pub(super) fn segments(&self, experiment: &Experiment) -> u32 {
        self.layers.get(&experiment.layer).map_or(0, |layer| layer.segments)
    }
}
