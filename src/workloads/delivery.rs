//! What the clients of brokers promise about each event, and how a producer is set up for it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::systems::broker::api::{Acks, ProducerConfig};

/// What producers promise about each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// acks=0, no retries: an event may be lost, never duplicated.
    AtMostOnce,
    /// acks=all (or `acks`), retries without sequence numbers: an acknowledged event is never lost, but may stand twice.
    AtLeastOnce,
    /// acks=all, retries with a producer id and sequence numbers: an acknowledged event stands exactly once, in order (KIP-98).
    #[default]
    Idempotent,
}

impl Delivery {
    /// A producer that keeps the promise, and tries for 30 s to deliver an event.
    pub fn producer(self) -> ProducerConfig {
        ProducerConfig {
            acks: if self == Self::AtMostOnce { Acks::None } else { Acks::All },
            idempotent: self == Self::Idempotent,
            retries: self != Self::AtMostOnce,
            linger: Duration::from_millis(5),
            batch_bytes: 16 << 10,
            delivery_timeout: Duration::from_secs(30),
        }
    }
}
