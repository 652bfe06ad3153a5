//! The one integration binary: a module per topic.

mod tidy;
mod world_disk;
mod world_faults;
mod world_network;
mod world_time;
