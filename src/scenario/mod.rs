//! A scenario file: one TOML document composed of the parts' own configuration types.
