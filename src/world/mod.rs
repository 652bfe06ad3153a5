//! The seeded kernel: everything a simulated process can touch, and everything that can go wrong with it.
//!
//! The only place that names madsim. `kernel` runs tasks and moves the clock; `lifecycle` gives machines power and processes;
//! `network` and `disk` open with the faults they inject and those they never do; `fault` decides what breaks when; `trace` is the
//! record, `property` the promises; [`Tank`] builds and steers it all; [`Host`] is what real code sees of it.

mod chance;
mod clock;
mod cooperation;
pub mod disk;
pub mod fault;
pub mod host;
mod kernel;
mod lifecycle;
pub mod line;
pub mod metrics;
pub mod network;
pub mod property;
pub mod rpc;
pub mod tank;
pub mod trace;
pub mod watch;

pub use clock::ClockConfig;
pub use cooperation::{Site, SiteTally};
pub use disk::{Disk, DiskError, DiskOperation, DiskSpec, File, Open};
pub use host::{Elapsed, Host, Sleep, Task};
pub use network::{
    Address, ConnectError, Connection, ConnectionError, LinkConfig, Listener, Receiver, Sender,
};
pub use property::bug;
pub use tank::{Cut, HostSpec, Tank, TankConfig};
pub use trace::{Digest, Level, Record, Recording};

/// Waits for the first of several futures, in the order written when several are ready: `tokio::select!`, always biased, because the
/// unbiased form differs under one seed.
#[macro_export]
macro_rules! world_select {
    ($($arms:tt)*) => { tokio::select! { biased; $($arms)* } };
}
pub use world_select as select;
