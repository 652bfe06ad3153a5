//! Users with a known truth: when each comes, what kind of user it is, and what it would do under every arm.
//!
//! A user is a pure function of the seed and its number: what one strategy asks of it moves no dice of another. Under all arms a user acts on
//! the same draws (common random numbers), so that two strategies differ by their choices alone.
//!
//! Rates change on the hour: seasons, novelty and drift are constant within one.
//!
//! - `model` is what a file says of them.
//! - `population` is such a model with the rates of every hour, shared by all streams of its users.
//! - `draws` is one user of a seed, and what comes of its visits.

mod draws;
mod model;
mod population;
#[cfg(test)]
mod tests;

pub use draws::{Response, User, Users};
pub(super) use model::{ARMS_MAX, DAYS_MAX};
pub use model::{Arm, Bots, Delay, DelayShape, Novelty, Returning, Season, Segment, UserModel};
pub use population::Population;
pub(super) use population::{DAY, HOUR, evenly};
