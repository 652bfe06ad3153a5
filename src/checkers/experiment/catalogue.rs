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

/// A layer of segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// What units are told apart by.
    pub unit: Identity,
    /// How many segments there are.
    pub segments: u32,
}

/// An experiment in a catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Its layer.
    pub layer: String,
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
