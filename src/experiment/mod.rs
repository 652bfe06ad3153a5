//! Experiments of which the truth is known: who comes, what each arm does to them, and how strategies decide.
//!
//! - [`users`] says who comes and what they would do under any arm.
//! - [`strategy`] is what a file says of one strategy: [`allocation`] is how it splits traffic, [`stopping`] how it ends and with what.
//! - [`tally`] is what is known of an arm, by visit or by user.
//! - [`epochs`] is what is known by day and segment, and the effect of an arm by that; [`validity`] is whether it can be believed.
//! - [`course`] is what becomes of one stream under one strategy.
//! - [`closed`] takes one stream of users through one strategy, without any platform between them.
//! - [`log`] is what a policy that chose at random has logged, and [`replay`] takes one order of it through one strategy.
//! - [`impact`] is what a better model would be worth, before there is one.
//!
//! Pure: a user is a function of a seed and a number, so that a stream of users and a run of the whole platform meet the same ones.

pub mod users;
pub mod strategy;
pub mod allocation;
pub mod tally;
pub mod stopping;
pub mod epochs;
pub mod validity;
pub mod course;
pub mod closed;
pub mod log;
pub mod replay;
pub mod impact;
