//! The one integration binary: a module per topic.

mod allocator;
mod broker;
mod command_line;
mod compare;
mod coordination;
mod fuzz;
mod garbage;
mod known_bugs;
mod reference;
mod reference_bandits;
mod reference_frequentist;
mod reference_sequential;
mod replay;
mod reproductions;
mod scenario_files;
mod scenario_mistakes;
mod scenarios;
mod shrink;
mod strategies;
mod sweep;
mod testing;
mod tidy;
mod world_disk;
mod world_faults;
mod world_network;
mod world_time;
