//! Experiments of which the truth is known: who comes, what each arm does to them, and how strategies decide.
//!
//! - [`users`] says who comes and what they would do under any arm.
//!
//! Pure: a user is a function of a seed and a number, so that a stream of users and a run of the whole platform meet the same ones.

pub mod users;
