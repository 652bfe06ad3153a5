//! The seeded kernel.
