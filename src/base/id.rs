//! Identities: one newtype per kind of thing, each printing short.

/// Declares a `Copy`, ordered newtype over an integer that prints as a prefix and the number: `id!(/// Doc. LeaderEpoch(i32), "e")`
/// makes `LeaderEpoch::new(7)` print `e7`. There is no `From<integer>`: a number becomes an identity only where one says so.
#[macro_export]
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Makes the identity with this number.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }
            /// The bare number, for wires and files.
            pub const fn get(self) -> $inner {
                self.0
            }
            /// The identity that follows this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(out, concat!($prefix, "{}"), self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, out)
            }
        }
    };
}

id!(
    /// A simulated machine, numbered in order of its creation.
    HostId(u32),
    "h"
);

/// A host's name without its number: `broker` of `broker-2`.
pub fn kind_of(host: &str) -> &str {
    host.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}
