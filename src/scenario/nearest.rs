//! "Did you mean …?": the known name nearest to one that is not known.

/// The name nearest to `wanted`, if any is near enough to be meant.
pub fn nearest<'name>(wanted: &str, known: impl IntoIterator<Item = &'name str>) -> Option<&'name str> {
    let wanted = wanted.to_lowercase();
    let near =
        known.into_iter().map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name));
    // A third of the letters may differ: beyond that, a guess misleads more often than it helps.
    near.filter(|(distance, name)| *distance <= wanted.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The advice for a name that is not known: the nearest one, or all of them while they are few.
pub fn advice<'name>(wanted: &str, known: impl IntoIterator<Item = &'name str> + Clone) -> Option<String> {
    if let Some(name) = nearest(wanted, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty() && names.len() <= 40).then(|| format!("known here: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_a_stranger_is_not() {
        let known = ["brokers", "topics", "replica_lag_max", "a"];
        for (wanted, expected) in [
            ("brokrs", Some("brokers")),
            ("Brokers", Some("brokers")),
            ("replica_lag", Some("replica_lag_max")),
            ("elephants", None),
            ("d", None),
        ] {
            assert_eq!(nearest(wanted, known), expected, "{wanted}");
        }
    }
}
