//! What clients do to the systems, and what they may expect.
