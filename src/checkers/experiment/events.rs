//! Events on their way through the brokers: none is lost, none is made up. Exact.

use std::collections::BTreeSet;

use crate::checkers::Check;
use crate::checkers::experiment::{History, Id, Topic};

pub(super) fn kept(history: &History) -> Check {
    let mut check = Check::new("every acknowledged event is read back");
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
