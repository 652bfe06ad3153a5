//! What breaks, when, where and for how long: rules, the plan drawn from them, and the injector that carries it out.

pub mod budget;
pub mod conduct;
pub mod inject;
pub mod operator;
pub mod plan;
pub mod rule;
mod weaken;

pub use budget::{Budget, Hurt};
pub use conduct::conduct;
pub use inject::{Fate, FaultCount, Injector, RollingRestart};
pub use operator::{Action, Operator, Order};
pub use plan::{FaultPlan, Place, PlannedFault, PlannedKind, PlannedTarget};
pub use rule::{FaultKind, FaultRule};
