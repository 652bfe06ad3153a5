//! Events on their way through the brokers: none is lost, none is made up. Exact.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::Check;
use crate::checkers::experiment::{History, Id, Topic};

pub(super) fn kept(history: &History) -> Check {
    let mut check = Check::new("every acknowledged event is read back");
    if !history.whole {
        return check;
    }
    let read: BTreeSet<(Topic, Id)> =
        history.read.iter().filter_map(|read| Some((read.topic, read.event.as_ref()?.0))).collect();
    for event in &history.acknowledged {
        check.expect(read.contains(event), None, || format!("{event:?} is gone"));
    }
    check
}

pub(super) fn made_up(history: &History) -> Check {
    let mut check = Check::new("what is read back was sent");
    for read in &history.read {
        let sent = read.event.as_ref().and_then(|(id, _)| history.sent.get(&(read.topic, *id)));
        let same = read.event.as_ref().map(|(_, said)| said) == sent && sent.is_some();
        check.expect(same, None, || {
            format!(
                "{:?}/{}@{} holds {:?}, sent was {sent:?}",
                read.topic, read.part, read.offset, read.event
            )
        });
    }
    check
}

/// Of producers that write nothing twice: each copy is one that an app has asked for.
pub(super) fn copied(history: &History) -> Check {
    let mut check = Check::new("an event stands no more often than it was handed to a producer");
    let mut copies: BTreeMap<(Topic, Id), BTreeSet<(i32, i64)>> = BTreeMap::new();
    for read in history.read.iter().filter(|_| history.once) {
        if let Some((id, _)) = &read.event {
            copies.entry((read.topic, *id)).or_default().insert((read.part, read.offset));
        }
    }
    for (event, places) in copies {
        let handed = history.handed.get(&event).copied().unwrap_or(0);
        check.expect(places.len() as u64 <= handed, None, || {
            format!("{event:?} was handed over {handed} times, and stands at {places:?}")
        });
    }
    check
}
