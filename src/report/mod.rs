//! What a run looks like: the terminal summary, JSON, an HTML page, tables (Arrow and Parquet), and a trace for Perfetto; and what is made of many.
//!
//! Each leads with the verdict and holds the command that repeats the run. Nothing here decides anything.

mod blame;
mod cells;
mod command;
mod compare;
mod divergence;
mod fidelities;
mod html;
mod impact;
mod json;
mod lives;
mod perfetto;
mod refused;
mod reproduction;
mod strategies;
mod sweep;
pub mod tables;
mod text;
mod timeline;
mod trust;

use std::path::Path;

use crate::lab::{Difference, Run};

pub use blame::BlameReport;
pub use command::command;
pub use compare::CompareReport;
pub use divergence::DivergenceReport;
pub use fidelities::FidelitiesReport;
pub use impact::ImpactReport;
pub use json::schema as run_schema;
pub use refused::bad_input;
pub use reproduction::markdown as reproductions;
pub use strategies::StrategiesReport;
pub use sweep::SweepReport;
pub use timeline::View;

/// A run, ready to be told.
#[derive(Clone, Copy, Debug)]
pub struct Report<'run> {
    /// The run.
    pub run: &'run Run,
    /// The plan of faults it was given, if it did not draw its own.
    pub plan_file: Option<&'run Path>,
    /// Where its second run parted from it, if it was run twice and did.
    pub difference: Option<&'run Difference>,
}
