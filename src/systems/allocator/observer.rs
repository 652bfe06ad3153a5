//! What is told to whoever watches the run. Nothing an allocator does depends on it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkers::experiment::{self, History, Topic};
use crate::systems::allocator::catalogue::{Catalogue, CatalogueVersion, Identity};
use crate::systems::allocator::event::Kind;
use crate::systems::allocator::experiment::Scheme;
use crate::systems::allocator::learner::{Beliefs, Learning, WeightsVersion};
use crate::world::Host;

/// A notebook that a process only writes into.
#[derive(Clone)]
pub struct Observer {
    host: Host,
    history: Rc<RefCell<History>>,
}

impl Observer {
    /// An observer of this process.
    pub fn new(host: &Host, history: Rc<RefCell<History>>) -> Self {
        Self { host: host.clone(), history }
    }

    /// It has read the catalogue.
    pub fn catalogue(&self, version: CatalogueVersion, catalogue: &Catalogue) {
        let layers = catalogue.layers.iter().map(|(name, layer)| {
            let unit = match layer.unit {
                Identity::Cookie => experiment::Identity::Cookie,
                Identity::Session => experiment::Identity::Session,
                Identity::User => experiment::Identity::User,
            };
            let mixed = layer.mixed.clone();
            (name.clone(), experiment::Layer { unit, segments: layer.segments, mixed })
        });
        let experiments = catalogue.experiments.values().map(|experiment| {
            let draft = &experiment.draft;
            let seen = experiment::Experiment {
                name: draft.name.clone(),
                layer: draft.layer.clone(),
                salt: experiment.salt.clone(),
                scheme: match draft.scheme {
                    Scheme::Planout => experiment::Scheme::Planout,
                    Scheme::Growthbook => experiment::Scheme::Growthbook,
                    Scheme::Optimizely => experiment::Scheme::Optimizely,
                },
                only: draft.only.clone(),
                overrides: experiment.overrides.clone(),
                segments: experiment.segments.clone(),
                ramp: draft.ramp.get(),
                shares: experiment.shares(),
                floor: draft.adaptive.map(|adaptive| adaptive.floor.get()),
                sticky: draft.sticky,
                running: experiment.running,
            };
            (experiment.id.get(), seen)
        });
        let seen = experiment::Catalogue {
            holdout: catalogue.holdout.get(),
            layers: layers.collect(),
            experiments: experiments.collect(),
        };
        self.history.borrow_mut().catalogue(self.host.true_time(), version.get(), seen);
    }

    /// It has read what is believed.
    pub fn beliefs(&self, version: WeightsVersion, beliefs: &Beliefs) {
        let seen = beliefs.0.iter().map(|(id, belief)| {
            let arms = belief.arms.iter().map(|tally| (tally.rewards, tally.conversions)).collect();
            (id.get(), experiment::Belief { arms, weights: belief.weights.clone() })
        });
        self.history.borrow_mut().beliefs(self.host.true_time(), version.get(), seen.collect());
    }

    /// It has read a record that bears this time.
    pub fn record(&self, kind: Kind, part: i32, offset: i64, at: i64) {
        self.history.borrow_mut().record(self.host.true_time(), (topic(kind), part, offset), at);
    }

    /// It has read, or written, all that was learnt.
    pub fn learning(&self, version: WeightsVersion, learning: &Learning) {
        self.beliefs(version, &learning.beliefs);
        let offsets =
            learning.progress.offsets.iter().flat_map(|(kind, parts)| {
                parts.iter().map(|(part, offset)| ((topic(*kind), *part), *offset))
            });
        let seen = experiment::Progress { offsets: offsets.collect(), late: learning.progress.late };
        self.history.borrow_mut().progress(self.host.true_time(), version.get(), seen);
    }
}

/// A topic, as checkers call it.
pub fn topic(kind: Kind) -> Topic {
    match kind {
        Kind::Exposures => Topic::Exposures,
        Kind::Outcomes => Topic::Outcomes,
    }
}
