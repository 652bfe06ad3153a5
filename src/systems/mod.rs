//! Real code under test. The order of the declarations is who may call whom, and only through a neighbour's `api`.

pub mod coordination;
pub mod broker;
pub mod bugs;
pub mod messages;

use crate::base::HostId;
use crate::world::Address;
use crate::world::fault::Budget;

/// The names of the systems, as logs and lists show them.
pub const NAMES: [&str; 2] = ["coordination", "broker"];

/// A system as it stands in a tank.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Where clients reach its servers.
    pub servers: Vec<Address>,
    /// The hosts they run on.
    pub hosts: Vec<HostId>,
    /// What it survives.
    pub budget: Budget,
}
