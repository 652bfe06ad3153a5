//! What apps record through the brokers: who was shown which arm, and what came of it. JSON, keyed by the unit.
//! The time of a record is when its event happened.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::systems::allocator::catalogue::CatalogueVersion;
use crate::systems::allocator::experiment::ExperimentId;
use crate::systems::allocator::learner::WeightsVersion;

/// An exposure, and the outcome that belongs to it: which life of an app it comes from, and its number there, from 0 on. An app that does
/// not know whether an event was recorded sends it again under the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventId {
    /// The life of an app, different from all others'.
    pub life: u64,
    /// The number of the exposure in that life.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.life, self.number)
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

/// A text that is no id of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no id of an event")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;
    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (life, number) = text.split_once('.').ok_or(NoEventId)?;
        let number_of = |text: &str| text.parse().map_err(|_| NoEventId);
        Ok(Self { life: number_of(life)?, number: number_of(number)? })
    }
}

impl TryFrom<String> for EventId {
    type Error = NoEventId;
    fn try_from(text: String) -> Result<Self, NoEventId> {
        text.parse()
    }
}

/// A unit was shown an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// Its id.
    pub id: EventId,
    /// Which start of which experiment.
    pub experiment: ExperimentId,
    /// The unit.
    pub unit: String,
    /// The arm's number.
    pub arm: usize,
    /// The probability it was drawn with.
    pub propensity: f64,
    /// The catalogue that was used.
    pub catalogue: CatalogueVersion,
    /// The weights that were used.
    pub weights: WeightsVersion,
}

/// What came of an exposure, once it was clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The id of the exposure.
    pub id: EventId,
    /// Whether the unit converted.
    pub converted: bool,
}

/// An event of either topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// From the topic of exposures.
    Exposure(Exposure),
    /// From the topic of outcomes.
    Outcome(Outcome),
}

/// Which of the two topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Exposures.
    Exposures,
    /// Outcomes.
    Outcomes,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Exposures, Self::Outcomes];
}

impl Event {
    /// Its topic.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exposure(_) => Kind::Exposures,
            Self::Outcome(_) => Kind::Outcomes,
        }
    }

    /// Its id.
    pub fn id(&self) -> EventId {
        match self {
            Self::Exposure(exposure) => exposure.id,
            Self::Outcome(outcome) => outcome.id,
        }
    }

    /// A record's value.
    pub fn encode(&self) -> Bytes {
        let bytes = match self {
            Self::Exposure(exposure) => serde_json::to_vec(exposure),
            Self::Outcome(outcome) => serde_json::to_vec(outcome),
        };
        bytes.expect("plain values").into()
    }

    /// What a record of a topic holds; `None` if it is no event.
    pub fn decode(kind: Kind, value: &[u8]) -> Option<Self> {
        match kind {
            Kind::Exposures => serde_json::from_slice(value).ok().map(Self::Exposure),
            Kind::Outcomes => serde_json::from_slice(value).ok().map(Self::Outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written_and_nothing_else_is() {
        let id = EventId { life: 3, number: 17 };
        let outcome = Event::Outcome(Outcome { id, converted: true });
        let exposure = Event::Exposure(Exposure {
            id,
            experiment: ExperimentId::new(1),
            unit: "u1".to_owned(),
            arm: 1,
            propensity: 0.1 + 0.2,
            catalogue: CatalogueVersion::new(4),
            weights: WeightsVersion::new(9),
        });
        for event in [outcome, exposure] {
            assert_eq!(Event::decode(event.kind(), &event.encode()), Some(event.clone()));
        }
        for damaged in ["{\"id\":\"3\",\"converted\":true}", "{\"id\":\"3.-1\",\"converted\":true}", "{"] {
            assert_eq!(Event::decode(Kind::Outcomes, damaged.as_bytes()), None, "{damaged}");
        }
    }
}
