//! Commands about one run, ready for a shell.

use std::path::Path;

use crate::lab::sweep::Point;
use crate::report::Report;

impl Report<'_> {
    /// The command that replays the run: the same digest, with every event at hand.
    pub fn replay_command(&self) -> String {
        self.command("replay")
    }

    /// The command of this verb about the run.
    pub(super) fn command(&self, verb: &str) -> String {
        let run = self.run;
        command(verb, &run.scenario, run.seed.get(), &run.overrides, self.plan_file)
    }
}

/// The command of a verb about one run.
pub fn command(verb: &str, file: &Path, seed: u64, set: &[String], plan: Option<&Path>) -> String {
    let mut command = format!("wavetank {verb} {} --seed {seed}", quoted(&file.display().to_string()));
    command.push_str(&settings(set));
    if let Some(plan) = plan {
        command.push_str(&format!(" --plan {}", quoted(&plan.display().to_string())));
    }
    command
}

/// The command of a verb about a run of a sweep.
pub(super) fn command_at(verb: &str, point: &Point) -> String {
    command(verb, &point.file, point.seed, &point.set, None)
}

/// Overrides, as the end of a command.
pub(super) fn settings(set: &[String]) -> String {
    set.iter().map(|set| format!(" --set {}", quoted(set))).collect()
}

/// A file's name without its ending, as tables call it.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// A word as a POSIX shell takes it literally.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_quoted_word_literally() {
        for (word, expected) in [
            ("acts.stir=10s", "acts.stir=10s"),
            ("faults=[]", "'faults=[]'"),
            ("title=it's", r"'title=it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected, "{word}");
        }
    }
}
