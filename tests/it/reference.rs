//! Values that other libraries computed, which ours must reproduce: `tests/data/experiment-reference.json`.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// One value or more, and what they were computed from.
#[derive(Clone, Deserialize, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) category: String,
    /// What was computed, as its library calls it.
    pub(crate) function: String,
    pub(crate) inputs: Value,
    pub(crate) expected: Value,
    pub(crate) rel_tol: f64,
    pub(crate) abs_tol: f64,
}

/// The rows of a category, in the order of the file.
#[expect(clippy::disallowed_methods, reason = "the test reads its table")]
pub(crate) fn rows(category: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/experiment-reference.json");
    let text = std::fs::read_to_string(path).expect("it is part of the repository");
    // Python writes what is not a number as a word that is not JSON.
    let text = text.replace(": NaN", ": \"NaN\"");
    let mut file: Value = serde_json::from_str(&text).expect("it is JSON but for that");
    let all: Vec<Row> = serde_json::from_value(file["rows"].take()).expect("its rows are alike");
    let rows: Vec<Row> = all.into_iter().filter(|row| row.category == category).collect();
    assert!(!rows.is_empty(), "no row is of category {category}");
    rows
}

impl Row {
    /// An input that is a number.
    pub(crate) fn number(&self, key: &str) -> f64 {
        number(&self.inputs[key]).unwrap_or_else(|| panic!("{}: no number {key} in {}", self.id, self.inputs))
    }

    /// An input that is a list of numbers.
    pub(crate) fn numbers(&self, key: &str) -> Vec<f64> {
        let list = self.inputs[key].as_array();
        let list = list.unwrap_or_else(|| panic!("{}: no list {key} in {}", self.id, self.inputs));
        list.iter().map(|value| number(value).expect("a list of numbers")).collect()
    }

    /// Fails unless a value is the expected one, within the row's tolerance.
    pub(crate) fn check(&self, key: &str, found: f64) {
        self.check_value(&self.expected[key], key, found);
    }

    /// Fails unless values are the expected ones, within the row's tolerance.
    pub(crate) fn check_all(&self, key: &str, found: &[f64]) {
        let expected = self.expected[key].as_array();
        let expected = expected.unwrap_or_else(|| panic!("{}: no list {key} in {}", self.id, self.expected));
        assert_eq!(expected.len(), found.len(), "{}: {key}", self.id);
        for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
            self.check_value(expected, &format!("{key}[{index}]"), *found);
        }
    }

    fn check_value(&self, expected: &Value, key: &str, found: f64) {
        let what = || format!("{} ({}): {key}", self.id, self.function);
        let expected =
            number(expected).unwrap_or_else(|| panic!("{}: nothing expected: {}", what(), self.expected));
        let near = found == expected
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= self.abs_tol.max(self.rel_tol * expected.abs());
        assert!(near, "{}: {found} is not {expected}", what());
    }
}

fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("inf" | "Infinity") => Some(f64::INFINITY),
        Some("-inf" | "-Infinity") => Some(f64::NEG_INFINITY),
        Some("nan" | "NaN") => Some(f64::NAN),
        Some(_) => None,
        None => value.as_f64(),
    }
}
