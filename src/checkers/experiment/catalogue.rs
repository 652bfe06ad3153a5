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
    /// Each arm's share by its draft; 0 for one that was removed.
    pub shares: Vec<f64>,
    /// The floor of an adaptive experiment.
    pub floor: Option<f64>,
    /// Whether browsers remember its arms.
    pub sticky: bool,
    /// Whether it runs.
    pub running: bool,
}

impl Experiment {
    /// Whether there is an arm of this number that was not removed.
    pub(super) fn offers(&self, arm: usize) -> bool {
        self.shares.get(arm).is_some_and(|share| 0.0 < *share)
    }

    /// By which weights arms are drawn: those that were learnt, or the draft's. If others were learnt than there are, those that are there have
    /// the floor each, and of what is left their parts of what was learnt of them.
    pub(super) fn weights(&self, learnt: Option<&[f64]>) -> Vec<f64> {
        let learnt = learnt.unwrap_or_default();
        let known = |arm: usize| if self.offers(arm) { learnt.get(arm).copied().unwrap_or(0.0) } else { 0.0 };
        let kept: Vec<f64> = (0..self.shares.len()).map(known).collect();
        let sum: f64 = kept.iter().sum();
        if sum == 0.0 || kept == learnt {
            return if sum == 0.0 { self.shares.clone() } else { kept };
        }
        let floor = self.floor.unwrap_or_default();
        let offered = self.shares.iter().filter(|share| 0.0 < **share).count() as f64;
        let due = |arm: usize| floor + (1.0 - offered * floor) * (kept[arm] / sum);
        (0..kept.len()).map(|arm| if self.offers(arm) { due(arm) } else { 0.0 }).collect()
    }
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
