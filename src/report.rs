//! What a run looks like: the terminal summary and JSON.
