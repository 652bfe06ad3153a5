//! A ZooKeeper-like ensemble.
