//! Words every layer shares. Pure: nothing here reads a clock, draws a number of its own or touches the outside.

#[cfg(test)]
pub mod damage;
pub mod figure;
pub mod id;
pub mod problem;
pub mod seed;
pub mod time;
pub mod units;

pub use figure::{Better, Calibration, Figure};
pub use id::HostId;
pub use problem::Problem;
pub use seed::{Seed, Stream};
pub use time::{MonoTime, SimTime, Span, WallTime};
pub use units::{ByteSize, Change, Range, Rate, Share};
