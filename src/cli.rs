//! The command line. It parses, calls the lab, and prints; it decides nothing.
