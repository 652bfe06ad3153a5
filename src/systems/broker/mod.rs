//! Kafka-like brokers.
