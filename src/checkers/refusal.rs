//! Refusal: what servers made of requests that no server may serve: malformed, oversized, cut short, of no known type.

use crate::base::SimTime;
use crate::base::id::kind_of;
use crate::checkers::Check;

/// What a server made of a senseless request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// It answered as if there were nothing wrong.
    Served,
    /// It answered with this error.
    Refused(i32),
    /// It ended the connection.
    Closed,
    /// Nothing came for a while.
    Silent,
}

/// A senseless request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// When it was made.
    pub at: SimTime,
    /// Of whom: a host's name.
    pub server: String,
    /// What was wrong with it.
    pub what: &'static str,
    /// The errors with which the protocol lets a server answer; none if it has to end the connection.
    pub errors: &'static [i32],
    /// What the server did.
    pub reaction: Reaction,
    /// Made when all was healed: whether another connection with the same server went on. `None` while things broke: silence, and the
    /// end of a connection, may have come from elsewhere then.
    pub other_went_on: Option<bool>,
}

/// What a client that makes senseless requests saw.
#[derive(Clone, Debug, Default)]
pub struct History {
    attempts: Vec<Attempt>,
    /// Places where something of them could have come to stand, and what was found there.
    looked: Vec<(String, Option<String>)>,
}

impl History {
    /// A request was made.
    pub fn attempted(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    /// A place was looked at in the end, where this was found.
    pub fn looked(&mut self, place: String, found: Option<String>) {
        self.looked.push((place, found));
    }

    /// How many requests were made, and how many of them were refused or ended the connection.
    pub fn counts(&self) -> (usize, usize) {
        let turned_down =
            |attempt: &&Attempt| matches!(attempt.reaction, Reaction::Refused(_) | Reaction::Closed);
        (self.attempts.len(), self.attempts.iter().filter(turned_down).count())
    }
}

fn told(attempt: &Attempt) -> String {
    let Attempt { server, what, reaction, errors, .. } = attempt;
    let reaction = match reaction {
        Reaction::Served => "served".to_owned(),
        Reaction::Refused(error) => format!("refused with {error}"),
        Reaction::Closed => "answered by the end of the connection".to_owned(),
        Reaction::Silent => "not answered".to_owned(),
    };
    let due = match errors {
        [] => "the end of the connection was due".to_owned(),
        errors => format!("due was one of {errors:?}"),
    };
    format!("{server}: {what} was {reaction}; {due}")
}

/// Whether all of it was refused in a way that the protocol allows, and left no trace.
pub fn check(history: &History) -> Vec<Check> {
    let mut served = Check::new("no senseless request is served");
    let mut answered =
        Check::new("with nothing broken, each senseless request is turned down as the protocol says");
    let mut alone = Check::new("a senseless request ends no other connection");
    let mut stored = Check::new("nothing of a senseless request is stored");
    for attempt in &history.attempts {
        let wrong = match attempt.reaction {
            Reaction::Served => true,
            Reaction::Refused(error) => !attempt.errors.contains(&error),
            Reaction::Closed | Reaction::Silent => false,
        };
        let server = kind_of(&attempt.server);
        served.look_at(attempt.at, wrong.then(|| (server, told(attempt))));
        let Some(other_went_on) = attempt.other_went_on else { continue };
        let right = match attempt.reaction {
            Reaction::Closed => attempt.errors.is_empty(),
            Reaction::Refused(_) => true,
            Reaction::Served | Reaction::Silent => false,
        };
        answered.look_at(attempt.at, (!right).then(|| (server, told(attempt))));
        let ended =
            || format!("{}: after {} another connection was at its end", attempt.server, attempt.what);
        alone.look_at(attempt.at, (!other_went_on).then(|| (server, ended())));
    }
    for (place, found) in &history.looked {
        stored.look(None, found.as_ref().map(|found| format!("{place}: {found}")));
    }
    vec![served, answered, alone, stored]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(reaction: Reaction, errors: &'static [i32], other_went_on: Option<bool>) -> Vec<&'static str> {
        let mut history = History::default();
        let (at, server) = (SimTime::ZERO, "broker-1".to_owned());
        history.attempted(Attempt { at, server, what: "nonsense", errors, reaction, other_went_on });
        check(&history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    /// Name, what the server did, the errors it may answer with, whether another connection went on, and the checks that must fail.
    type Case<'a> = (&'a str, Reaction, &'static [i32], Option<bool>, Vec<&'a str>);

    #[test]
    fn what_is_served_answered_wrongly_or_met_with_silence_is_found() {
        use Reaction::{Closed, Refused, Served, Silent};
        let names: Vec<&str> = check(&History::default()).iter().map(|check| check.name).collect();
        let [served, answered, alone, _] = names[..] else { panic!("four checks: {names:?}") };
        let cases: [Case<'_>; 10] = [
            ("closed as is due", Closed, &[], Some(true), vec![]),
            ("refused as is due", Refused(2), &[2, 6], Some(true), vec![]),
            ("served in a storm", Served, &[2], None, vec![served]),
            ("served", Served, &[], Some(true), vec![served, answered]),
            ("refused with another error", Refused(9), &[2, 6], Some(true), vec![served]),
            ("closed where an error was due", Closed, &[2], Some(true), vec![answered]),
            ("closed where an error was due, in a storm", Closed, &[2], None, vec![]),
            ("silence", Silent, &[], Some(true), vec![answered]),
            ("silence in a storm", Silent, &[], None, vec![]),
            ("another connection ended", Closed, &[], Some(false), vec![alone]),
        ];
        for (name, reaction, errors, other_went_on, expected) in cases {
            assert_eq!(broken(reaction, errors, other_went_on), expected, "{name}");
        }
    }

    #[test]
    fn what_was_stored_is_found() {
        let mut history = History::default();
        history.looked("garbage/0".to_owned(), None);
        history.looked("garbage/1".to_owned(), Some("3 records".to_owned()));
        let stored = check(&history).pop().expect("there are checks");
        assert_eq!((stored.looked_at, stored.violations), (2, 1));
        assert_eq!(stored.examples[0].text, "garbage/1: 3 records");
    }
}
