//! Runs, records and replays scenarios. The only place with threads.
