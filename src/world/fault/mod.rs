//! What breaks, when, where and for how long: rules, the plan drawn from them, and the injector that carries it out.

pub mod budget;
pub mod inject;
pub mod rule;

pub use budget::Budget;
pub use inject::{FaultCount, Injector};
pub use rule::{FaultKind, FaultRule};
