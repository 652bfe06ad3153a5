//! Scenario files as no one means them: whatever stands in one, it is read or refused, and told where and why.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use wavetank::scenario::Scenario;

use crate::scenario_files::{GOOD, folder};

/// What one thoughtless edit puts into a file.
const SNIPPETS: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\0",
    "\u{feff}",
    "é",
    "-1",
    "0",
    "1e999",
    "nan",
    "inf",
    "18446744073709551616",
    "true",
    "\"0s..0s\"",
    "\"5s..1s\"",
    "\"1ns\"",
    "\"99999999h\"",
    "\"-5s\"",
    "\"*\"",
    "\"any\"",
    "[]",
    "{}",
    "[[faults]]\n",
    "[systems.broker]\n",
    "swarm = true\n",
    "include = [\"s.toml\"]\n",
    "seed = 0\n",
    "brokers = 0\n",
    "servers = 4000000000\n",
    "do = { crash = {} }\n",
    "every = \"1us\"\n",
    "[[plan.faults]]\nat = \"1s\"\n",
];

#[derive(Clone, Debug)]
enum Edit {
    Insert(&'static str),
    /// Another snippet in place of so many characters.
    Replace(usize, &'static str),
    /// A line stands twice.
    Double,
    /// A line is gone.
    Drop,
    /// Everything from there on is gone.
    Cut,
}

fn edited() -> impl Strategy<Value = String> {
    let snippet = || select(SNIPPETS);
    let edit = prop_oneof![
        3 => snippet().prop_map(Edit::Insert),
        3 => (1..20usize, snippet()).prop_map(|(count, with)| Edit::Replace(count, with)),
        1 => Just(Edit::Double),
        2 => Just(Edit::Drop),
        1 => Just(Edit::Cut),
    ];
    vec((any::<Index>(), edit), 1..5).prop_map(|edits| {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (place, edit) in edits {
            if !text.is_empty() {
                let at = place.index(text.len());
                change(&mut text, at, &edit);
            }
        }
        text.into_iter().collect()
    })
}

fn change(text: &mut Vec<char>, at: usize, edit: &Edit) {
    let begin = text[..at].iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
    let end = text[at..].iter().position(|c| *c == '\n').map_or(text.len(), |newline| at + newline + 1);
    match edit {
        Edit::Insert(with) => drop(text.splice(at..at, with.chars())),
        Edit::Replace(count, with) => drop(text.splice(at..text.len().min(at + count), with.chars())),
        Edit::Double => {
            let line = text[begin..end].to_vec();
            drop(text.splice(begin..begin, line));
        }
        Edit::Drop => drop(text.drain(begin..end)),
        Edit::Cut => text.truncate(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the tests write the files of a user")]
    fn whatever_stands_in_a_scenario_file_it_is_read_or_refused_with_a_reason(text in edited()) {
        let folder = folder("fuzz", &[]);
        let path = folder.join("s.toml");
        fs::write(&path, &text).expect("the folder was just made");
        if let Err(error) = Scenario::load(&path, &[]) {
            let told = error.render(false);
            prop_assert!(told.contains("s.toml"), "{told}");
            prop_assert!(told.contains("nothing was run"), "{told}");
        }
    }
}
