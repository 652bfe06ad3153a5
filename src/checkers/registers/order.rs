//! What all clients see together: one order of writes that agrees with real time, values that were written, nothing lost.

use std::collections::BTreeMap;

use crate::checkers::Check;
use crate::checkers::registers::{Answer, Ask, History, Op, OpKey, Outcome, Refusal, Seen, Shown, Token};

/// The values a register had, by the transaction that gave it each.
#[derive(Default)]
struct Register {
    values: BTreeMap<i64, Value>,
    /// The newest transaction at which a reading after the end of all load found it.
    read_back: Option<i64>,
}

struct Value {
    version: Option<i32>,
    token: Option<u64>,
    told_by: OpKey,
}

impl Register {
    /// Whether what a client was told agrees with what is known.
    fn learn(
        &mut self,
        mzxid: i64,
        version: Option<i32>,
        token: Option<u64>,
        told_by: OpKey,
    ) -> Result<(), OpKey> {
        let known = self.values.entry(mzxid).or_insert(Value { version, token, told_by });
        let agrees = |one: bool, other: bool, same: bool| same || one || other;
        let versions = agrees(known.version.is_none(), version.is_none(), known.version == version);
        let tokens = agrees(known.token.is_none(), token.is_none(), known.token == token);
        if !versions || !tokens {
            return Err(known.told_by);
        }
        known.version = known.version.or(version);
        known.token = known.token.or(token);
        Ok(())
    }

    /// The newest value at a transaction, as far as it is known.
    fn at(&self, zxid: i64) -> Option<(i64, &Value)> {
        self.values.range(..=zxid).next_back().map(|(mzxid, value)| (*mzxid, value))
    }
}

/// What an answer tells of registers: path, value's transaction, version, value.
fn told<'a>(op: &'a Op, answer: &'a Answer) -> Vec<(&'a str, Seen, Option<u64>)> {
    match (&op.ask, &answer.outcome) {
        (Ask::Get { path }, Outcome::Value(token, seen)) => vec![(path, *seen, Some(*token))],
        (Ask::Set { path, token, .. }, Outcome::Stands(seen)) => vec![(path, *seen, Some(*token))],
        (Ask::Multi { paths, token, .. }, Outcome::Parts(parts)) => {
            paths.iter().zip(parts).map(|(path, seen)| (path.as_str(), *seen, Some(*token))).collect()
        }
        _ => Vec::new(),
    }
}

pub(super) fn check(history: &History) -> Vec<Check> {
    let mut registers: BTreeMap<&str, Register> = BTreeMap::new();
    let mut one_history = Check::new("a register has one value and one transaction for each of its versions");
    for (key, op, _, answer) in history.answers() {
        for (path, seen, token) in told(op, answer) {
            let register = registers.entry(path).or_default();
            let other = register.learn(seen.mzxid, Some(seen.version), token, key).err();
            let fault = other.map(|other| format!("{}; but {}", history.show(key), history.show(other)));
            one_history.look(op.at, fault);
            if history.is_final(op) && !op.writes() {
                register.read_back = register.read_back.max(Some(answer.zxid));
            }
        }
    }
    for (path, register) in &registers {
        let mut before: Option<(i64, i32)> = None;
        for (mzxid, value) in &register.values {
            let Some(version) = value.version else { continue };
            if let Some((earlier, lower)) = before {
                one_history.expect(lower < version, history.at(value.told_by), || {
                    let (earlier, later) = (Shown(earlier), Shown(*mzxid));
                    format!("{path} had version {lower} at {earlier} and {version} at {later}")
                });
            }
            before = Some((*mzxid, version));
        }
    }
    vec![
        one_history,
        values_were_written(history),
        writes_follow_real_time(history),
        refusals_are_just(history, &registers),
        all_or_none(history, &registers),
        reads_are_whole(history, &registers),
        syncs_catch_up(history),
    ]
}

/// Every value read was written, before, once, by a write that was not refused.
fn values_were_written(history: &History) -> Check {
    let mut check = Check::new("a value that is read was written, and a write takes effect at most once");
    let mut writers: BTreeMap<(&str, u64), OpKey> = BTreeMap::new();
    for (at, op) in history.ops.iter().enumerate() {
        let (paths, token) = match &op.ask {
            Ask::Set { path, token, .. } => (std::slice::from_ref(path), *token),
            Ask::Multi { paths, token, .. } => (paths.as_slice(), *token),
            _ => continue,
        };
        for path in paths {
            let again = writers.insert((path, token), OpKey(at));
            assert!(again.is_none(), "no two writes have the same value");
        }
    }
    let mut effects: BTreeMap<(&str, u64), i64> = BTreeMap::new();
    for (key, op, ended, answer) in history.answers() {
        for (path, seen, token) in told(op, answer) {
            let Some(token) = token else { continue };
            let first = *effects.entry((path, token)).or_insert(seen.mzxid);
            let fault = match writers.get(&(path, token)) {
                _ if first != seen.mzxid => Some(("twice", format!("took effect at {} too", Shown(first)))),
                _ if token == 0 => None,
                None => Some(("from nowhere", "nobody wrote this".to_owned())),
                Some(writer) => {
                    let may_be_read = may_take_effect(history, *writer, ended);
                    (!may_be_read).then(|| {
                        ("refused, or before it was asked", format!("but {}", history.show(*writer)))
                    })
                }
            };
            let fault = fault.map(|(place, fault)| (place, format!("{}; {fault}", history.show(key))));
            check.look_at(op.at, fault);
        }
    }
    check
}

/// Whether a write can have taken effect before a read `ended`.
fn may_take_effect(history: &History, writer: OpKey, ended: u64) -> bool {
    let wrote = &history.ops[writer.0];
    let refused = match &wrote.ended {
        Some((_, super::End::NotDone)) => true,
        _ => wrote.answer().is_some_and(|(_, end)| matches!(end.outcome, Outcome::Refused(_))),
    };
    !refused && wrote.began <= ended
}

/// The order of transactions is an order in which the writes can have happened one after the other.
fn writes_follow_real_time(history: &History) -> Check {
    let mut check = Check::new("a write that began after another was answered comes after it");
    let mut writes: Vec<(OpKey, &Op, u64, i64)> = history
        .answers()
        .filter(|(_, op, ..)| op.writes())
        .map(|(key, op, ended, answer)| (key, op, ended, answer.zxid))
        .collect();
    let mut by_zxid = BTreeMap::new();
    writes.sort_by_key(|(_, _, ended, _)| *ended);
    let newest = running_max(&writes);
    for (key, op, _, zxid) in &writes {
        let twin = by_zxid.insert(*zxid, *key);
        let answered_before = newest.partition_point(|(ended, ..)| *ended < op.began);
        let earlier = answered_before.checked_sub(1).map(|at| newest[at]);
        let late = earlier.filter(|(_, earlier, _)| zxid <= earlier).map(|(.., other)| other);
        let both = |other, how| (how, format!("{}, {how} {}", history.show(*key), history.show(other)));
        let fault =
            twin.map(|other| both(other, "one transaction with")).or(late.map(|o| both(o, "asked after")));
        check.look_at(op.at, fault);
    }
    check
}

/// For each answer, the newest transaction answered so far, and whose it was.
fn running_max(writes: &[(OpKey, &Op, u64, i64)]) -> Vec<(u64, i64, OpKey)> {
    let mut newest: Option<(i64, OpKey)> = None;
    let mut running = Vec::with_capacity(writes.len());
    for (key, _, ended, zxid) in writes {
        newest = newest.max(Some((*zxid, *key)));
        running.extend(newest.map(|(zxid, key)| (*ended, zxid, key)));
    }
    running
}

/// A write that is refused had a reason, where what is known decides it; one that is carried out had the version it demanded.
fn refusals_are_just(history: &History, registers: &BTreeMap<&str, Register>) -> Check {
    let mut check =
        Check::new("a set or multi is carried out if and only if the versions are those demanded");
    for (key, op, _, answer) in history.answers() {
        let demanded = match &op.ask {
            Ask::Set { path, expected, .. } => expected.map(|version| (path.as_str(), version)),
            Ask::Multi { paths, expected, .. } => {
                expected.and_then(|version| Some((paths.last()?.as_str(), version)))
            }
            _ => continue,
        };
        let just = match (&answer.outcome, demanded) {
            (Outcome::Stands(seen), Some((_, version))) => seen.version == version + 1,
            (Outcome::Parts(parts), Some((_, version))) => {
                parts.last().is_some_and(|seen| seen.version == version + 1)
            }
            (Outcome::Refused(Refusal::BadVersion), Some((path, version))) => {
                !stood_at(registers.get(path), version, answer.zxid)
            }
            // Registers are always there.
            (Outcome::Refused(refusal), _) => *refusal == Refusal::Session,
            _ => true,
        };
        let refused = matches!(answer.outcome, Outcome::Refused(_));
        let place = if refused { "refused" } else { "carried out" };
        check.look_at(op.at, (!just).then(|| (place, history.show(key))));
    }
    check
}

/// Whether a register surely had this version at a transaction: it had it before, and what followed came after.
fn stood_at(register: Option<&Register>, version: i32, zxid: i64) -> bool {
    let Some(register) = register else { return false };
    let Some((_, found)) = register.at(zxid) else { return false };
    if found.version != Some(version) {
        return false;
    }
    match register.values.range(zxid + 1..).next() {
        Some((_, next)) => next.version == Some(version + 1),
        None => register.read_back.is_some_and(|read| zxid <= read),
    }
}

/// A `multi` shows in all its registers or in none.
fn all_or_none(history: &History, registers: &BTreeMap<&str, Register>) -> Check {
    let mut check = Check::new("a multi is seen whole or not at all");
    // Which transaction each value of a multi was seen at.
    let mut effects: BTreeMap<u64, i64> = BTreeMap::new();
    for register in registers.values() {
        for (mzxid, value) in &register.values {
            if let Some(token) = value.token {
                effects.insert(token, *mzxid);
            }
        }
    }
    let mut parts: BTreeMap<&str, BTreeMap<i64, u64>> = BTreeMap::new();
    for (at, op) in history.ops.iter().enumerate() {
        let Ask::Multi { paths, token, .. } = &op.ask else { continue };
        let Some(zxid) = effects.get(token) else { continue };
        let mut other = None;
        for path in paths {
            parts.entry(path).or_default().insert(*zxid, *token);
            let known = registers.get(path.as_str()).and_then(|register| register.values.get(zxid));
            other = other.or(known.filter(|value| value.token.is_some_and(|other| other != *token)));
        }
        let fault = other.map(|value| {
            format!("{}; but at {} {}", history.show(OpKey(at)), Shown(*zxid), history.show(value.told_by))
        });
        check.look(op.at, fault);
    }
    for (key, op, _, answer) in history.answers() {
        let (Ask::Get { path }, Outcome::Value(_, seen)) = (&op.ask, &answer.outcome) else { continue };
        let Some(writes) = parts.get(path.as_str()) else { continue };
        let Some((zxid, token)) = writes.range(..=answer.zxid).next_back() else { continue };
        check.expect(*zxid <= seen.mzxid, op.at, || {
            format!("{} lacks {} of {}", history.show(key), Token(*token), Shown(*zxid))
        });
    }
    check
}

/// A read shows everything up to the transaction it was answered at: no write that was answered is ever lost.
fn reads_are_whole(history: &History, registers: &BTreeMap<&str, Register>) -> Check {
    let mut check =
        Check::new("a read shows the newest write up to the transaction at which it was answered");
    for (key, op, _, answer) in history.answers() {
        for (path, seen, _) in told(op, answer) {
            let newest = registers[path].at(answer.zxid);
            let missed = newest.filter(|(mzxid, _)| seen.mzxid < *mzxid).map(|(_, value)| value.told_by);
            let fault = match missed {
                _ if answer.zxid < seen.mzxid => Some(("the future", "it shows the future".to_owned())),
                Some(missed) => Some(("the past", format!("but {}", history.show(missed)))),
                None => None,
            };
            let fault = fault.map(|(place, fault)| (place, format!("{}; {fault}", history.show(key))));
            check.look_at(op.at, fault);
        }
    }
    check
}

/// `sync` is not asked of a quorum: a leader that is replaced may still answer it. But no leader lacks what was answered in its own
/// epoch or in those whose end it has shown.
fn syncs_catch_up(history: &History) -> Check {
    let mut check = Check::new("a sync catches up with every write of its epoch that was answered before");
    let mut epochs: BTreeMap<i64, Vec<(OpKey, &Op, u64, i64)>> = BTreeMap::new();
    for (key, op, ended, answer) in history.answers().filter(|(_, op, ..)| op.writes()) {
        epochs.entry(answer.zxid >> 32).or_default().push((key, op, ended, answer.zxid));
    }
    let newest: BTreeMap<i64, Vec<(u64, i64, OpKey)>> = epochs
        .into_iter()
        .map(|(epoch, mut writes)| {
            writes.sort_by_key(|(_, _, ended, _)| *ended);
            (epoch, running_max(&writes))
        })
        .collect();
    for (key, op, _, answer) in history.answers() {
        if op.ask != Ask::Sync || answer.outcome != Outcome::Done {
            continue;
        }
        let Some(running) = newest.get(&(answer.zxid >> 32)) else { continue };
        let before = running.partition_point(|(ended, ..)| *ended < op.began);
        let Some((_, zxid, other)) = before.checked_sub(1).map(|at| running[at]) else { continue };
        check.expect(zxid <= answer.zxid, op.at, || {
            format!("{} lacks {}", history.show(key), history.show(other))
        });
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::registers::stories::{Story, get, seen, set};

    fn story() -> (Story, super::super::SessionKey, super::super::SessionKey) {
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        story.does(one, set("/r", 7, None), Outcome::Stands(seen(1, 2, 1)), 2);
        (story, one, two)
    }

    #[test]
    fn two_values_of_one_version_are_seen() {
        let (mut story, _, two) = story();
        story.does(two, set("/r", 8, None), Outcome::Stands(seen(1, 3, 1)), 3);
        assert_eq!(story.broken(), ["a register has one value and one transaction for each of its versions"]);
    }

    #[test]
    fn a_value_from_nowhere_and_one_that_was_refused_are_seen() {
        let promise = "a value that is read was written, and a write takes effect at most once";
        let (mut story, one, two) = story();
        story.does(two, get("/r"), Outcome::Value(99, seen(1, 3, 2)), 3);
        assert_eq!(story.broken(), [promise]);
        let (mut story, ..) = (self::story().0, one, two);
        story.does(one, set("/r", 8, Some(5)), Outcome::Refused(Refusal::BadVersion), 3);
        story.does(two, get("/r"), Outcome::Value(8, seen(1, 4, 2)), 4);
        assert_eq!(story.broken(), [promise]);
    }

    #[test]
    fn a_write_that_took_effect_twice_is_seen() {
        let (mut story, one, two) = story();
        story.asks(one, set("/r", 8, None));
        story.does(two, get("/r"), Outcome::Value(8, seen(1, 3, 2)), 3);
        story.does(two, get("/r"), Outcome::Value(8, seen(1, 4, 3)), 4);
        assert_eq!(
            story.broken(),
            ["a value that is read was written, and a write takes effect at most once"]
        );
    }

    #[test]
    fn an_order_against_real_time_is_seen() {
        let (mut story, _, two) = story();
        story.does(two, set("/q", 8, None), Outcome::Stands(seen(1, 1, 1)), 1);
        assert_eq!(story.broken(), ["a write that began after another was answered comes after it"]);
    }

    #[test]
    fn a_write_that_overlaps_may_come_first() {
        let (mut story, _, two) = story();
        let early = story.asks(two, set("/q", 8, None));
        let three = story.session(3);
        story.does(three, set("/q", 9, None), Outcome::Stands(seen(1, 5, 2)), 5);
        story.answer(early, Outcome::Stands(seen(1, 3, 1)), 3);
        assert_eq!(story.broken(), Vec::<&str>::new());
    }

    #[test]
    fn an_unjust_refusal_and_an_unjust_success_are_seen() {
        let promise = "a set or multi is carried out if and only if the versions are those demanded";
        let (mut story, one, two) = story();
        story.does(two, set("/r", 8, Some(1)), Outcome::Refused(Refusal::BadVersion), 3);
        assert_eq!(story.broken(), Vec::<&str>::new(), "an unknown write may have come and gone");
        story.history.settled();
        story.does(one, get("/r"), Outcome::Value(7, seen(1, 2, 1)), 3);
        assert_eq!(story.broken(), [promise]);
        let (mut story, ..) = self::story();
        story.does(two, set("/r", 8, Some(5)), Outcome::Stands(seen(1, 3, 2)), 3);
        assert_eq!(story.broken(), [promise]);
        for (refusal, broken) in [(Refusal::Session, vec![]), (Refusal::NoNode, vec![promise])] {
            let (mut story, ..) = self::story();
            let both = Ask::Multi { paths: vec!["/r".into(), "/q".into()], token: 9, expected: None };
            story.does(two, both, Outcome::Refused(refusal), 3);
            assert_eq!(story.broken(), broken, "a multi demands no version");
        }
    }

    #[test]
    fn half_a_multi_is_seen() {
        let (mut story, one, two) = story();
        story.asks(one, Ask::Multi { paths: vec!["/r".into(), "/q".into()], token: 9, expected: None });
        story.does(two, get("/r"), Outcome::Value(9, seen(1, 3, 2)), 3);
        story.does(two, get("/q"), Outcome::Value(0, seen(1, 1, 0)), 3);
        assert_eq!(story.broken(), ["a multi is seen whole or not at all"]);
    }

    #[test]
    fn a_lost_write_is_seen() {
        let (mut story, _, two) = story();
        story.does(two, get("/r"), Outcome::Value(0, seen(1, 1, 0)), 3);
        assert_eq!(
            story.broken(),
            ["a read shows the newest write up to the transaction at which it was answered"]
        );
    }

    #[test]
    fn a_sync_that_lags_is_seen_unless_another_epoch_has_begun() {
        let (mut story, _, two) = story();
        story.does(two, Ask::Sync, Outcome::Done, 1);
        assert_eq!(
            story.broken(),
            ["a sync catches up with every write of its epoch that was answered before"]
        );
        let mut story = Story::default();
        let (one, two) = (story.session(1), story.session(2));
        let newer = crate::checkers::registers::Seen { czxid: 1, mzxid: 2 << 32 | 1, version: 1 };
        story.does(one, set("/r", 7, None), Outcome::Stands(newer), (2 << 32 | 1) - (1 << 32));
        story.does(two, Ask::Sync, Outcome::Done, 1);
        assert_eq!(story.broken(), Vec::<&str>::new());
    }
}
