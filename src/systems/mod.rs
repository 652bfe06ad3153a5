//! Real code under test. A system reaches the outside through its `Host` alone, and a neighbour only through the neighbour's `api`.
//!
//! The order is who may call whom: a system calls only those declared above it.

pub mod coordination;
pub mod broker;
