//! The command that repeats a run, ready for a shell.

use crate::report::Report;

impl Report<'_> {
    /// The command that replays the run: the same digest, with every event at hand.
    pub fn replay_command(&self) -> String {
        let run = self.run;
        let mut command = format!("wavetank replay {}", quoted(&run.scenario.display().to_string()));
        command.push_str(&format!(" --seed {}", run.seed));
        for set in &run.overrides {
            command.push_str(&format!(" --set {}", quoted(set)));
        }
        if let Some(plan) = self.plan_file {
            command.push_str(&format!(" --plan {}", quoted(&plan.display().to_string())));
        }
        command
    }
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
