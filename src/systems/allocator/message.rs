//! What visitors' apps and allocators say to one another. Serde and postcard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::systems::allocator::catalogue::{CatalogueVersion, Identity};
use crate::systems::allocator::experiment::ExperimentId;
use crate::systems::allocator::learner::WeightsVersion;

/// Where allocators hear apps.
pub const PORT: u16 = 7100;

/// Who visits, as far as the app knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The cookie of the browser.
    pub cookie: Option<String>,
    /// The visit.
    pub session: Option<String>,
    /// The user, if one is logged in.
    pub user: Option<String>,
    /// What else is known: `country`.
    pub attributes: BTreeMap<String, String>,
}

impl Visitor {
    /// What an experiment knows the visitor by.
    pub fn unit(&self, identity: Identity) -> Option<&str> {
        match identity {
            Identity::Cookie => self.cookie.as_deref(),
            Identity::Session => self.session.as_deref(),
            Identity::User => self.user.as_deref(),
        }
    }
}

/// An arm, and how it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Which start of the experiment.
    pub experiment: ExperimentId,
    /// The arm's number.
    pub arm: usize,
    /// With which probability a unit got this arm under the weights it was drawn by; 1 where an operator has chosen.
    pub propensity: f64,
    /// These weights.
    pub weights: WeightsVersion,
}

/// Why a visitor has an arm, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Its hash says so.
    Drawn,
    /// Its browser remembers the arm.
    Remembered,
    /// An operator has chosen its arm.
    Overridden,
    /// There is no such experiment, or not yet.
    UnknownExperiment,
    /// The experiment has ended.
    Ended,
    /// The visitor has not the attributes.
    NotTargeted,
    /// The unit takes part in nothing.
    HeldOut,
    /// The unit's segment belongs to another experiment, or to none.
    Elsewhere,
    /// The unit is not exposed yet.
    BeyondRamp,
    /// The visitor has no such identity.
    NoUnit,
    /// The identity could be taken for another one; why.
    Ambiguous(String),
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The version of the catalogue it was made by.
    pub catalogue: CatalogueVersion,
    /// The version of the weights it was made by, or would have been.
    pub weights: WeightsVersion,
    /// What the experiment knows the visitor by.
    pub unit: Option<String>,
    /// Why it is so.
    pub reason: Reason,
    /// The arm, if there is one. A browser shows it again where an experiment is sticky.
    pub choice: Option<Choice>,
}

/// A question to an allocator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The name of the experiment.
    pub experiment: String,
    /// Who visits.
    pub visitor: Visitor,
    /// What the visitor's browser remembers.
    pub remembered: Option<Choice>,
}

/// Its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// The decision.
    Decided(Decision),
    /// It has not read the catalogue yet.
    NotReady,
}
