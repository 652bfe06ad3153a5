//! Agreement among the servers of a coordination ensemble: one order of transactions, one state at each, one leader an epoch.
//!
//! Memory follows the number of transactions, not of servers: of each transaction one digest is kept, and who told it first.

use std::collections::BTreeMap;

use crate::checkers::Check;

/// What servers said of themselves. A zxid is an epoch in its upper and a counter in its lower 32 bits.
#[derive(Debug)]
pub struct History {
    /// The state's digest after each transaction, and the first server to tell it.
    digests: BTreeMap<i64, (u64, u8)>,
    /// The leader established in each epoch, and the last transaction of the history it began with.
    leaders: BTreeMap<u32, (u8, i64)>,
    /// The last transaction each server applied since it last began to serve.
    last: BTreeMap<u8, i64>,
    committed_max: i64,
    /// The last transaction that each server has said to be on its disk, and that nobody has had it remove.
    acknowledged: BTreeMap<u8, i64>,
    agreement: Check,
    order: Check,
    leadership: Check,
    durability: Check,
    disks: Check,
    orphans: Check,
}

impl Default for History {
    fn default() -> Self {
        Self {
            digests: BTreeMap::new(),
            leaders: BTreeMap::new(),
            last: BTreeMap::new(),
            committed_max: 0,
            acknowledged: BTreeMap::new(),
            agreement: Check::new("servers have equal states at equal transactions"),
            order: Check::new("each server applies transactions in order, without holes"),
            leadership: Check::new("an epoch has one established leader, and epochs increase"),
            durability: Check::new("a new leader holds every committed transaction"),
            disks: Check::new("a server that starts again holds all that it has acknowledged"),
            orphans: Check::new("every ephemeral znode has a living session"),
        }
    }
}

fn show(zxid: i64) -> String {
    format!("z{}.{}", zxid >> 32, zxid as u32)
}

impl History {
    /// A server has applied a committed transaction.
    pub fn committed(&mut self, server: u8, zxid: i64, digest: u64) {
        self.committed_max = self.committed_max.max(zxid);
        self.taken_over(server, zxid, digest);
    }

    /// A server has applied a transaction of its leader's history. It is not committed before a quorum holds all of that, which
    /// `established` tells: a leader that fails before may have had more than anybody else.
    pub fn taken_over(&mut self, server: u8, zxid: i64, digest: u64) {
        if let Some(last) = self.last.insert(server, zxid) {
            self.order.count();
            let first_of_epoch = last >> 32 < zxid >> 32 && zxid as u32 == 1;
            if zxid != last + 1 && !first_of_epoch {
                self.order
                    .fault(|| format!("server {server} applied {} right after {}", show(zxid), show(last)));
            }
        }
        self.compare(server, zxid, digest);
    }

    fn compare(&mut self, server: u8, zxid: i64, digest: u64) {
        self.agreement.count();
        let (known, first) = *self.digests.entry(zxid).or_insert((digest, server));
        if known != digest {
            self.agreement.fault(|| {
                format!("at {} server {server} has another state than server {first} had", show(zxid))
            });
        }
    }

    /// A quorum holds the history of a new leader, which ends with `zxid`.
    pub fn established(&mut self, server: u8, epoch: u32, zxid: i64) {
        self.leadership.count();
        self.durability.count();
        let newest = self.leaders.last_key_value().map(|(epoch, _)| *epoch);
        if let Some((other, _)) = self.leaders.insert(epoch, (server, zxid)) {
            self.leadership.fault(|| format!("servers {other} and {server} both lead epoch {epoch}"));
        }
        if newest.is_some_and(|newest| epoch <= newest) {
            self.leadership.fault(|| format!("epoch {epoch} of server {server} comes late"));
        }
        if zxid < self.committed_max {
            let max = self.committed_max;
            self.durability.fault(|| {
                format!(
                    "server {server} leads epoch {epoch} from {} on, but {} was committed",
                    show(zxid),
                    show(max)
                )
            });
        }
        self.committed_max = self.committed_max.max(zxid);
    }

    /// A server begins to serve at this state, recovered or copied.
    pub fn restored(&mut self, server: u8, zxid: i64, digest: u64) {
        self.last.insert(server, zxid);
        self.compare(server, zxid, digest);
    }

    /// A server says that all up to here is on its disk.
    pub fn acknowledged(&mut self, server: u8, zxid: i64) {
        let last = self.acknowledged.entry(server).or_default();
        *last = zxid.max(*last);
    }

    /// A leader has a server remove all after this from its disk.
    pub fn truncated(&mut self, server: u8, zxid: i64) {
        self.acknowledged.entry(server).and_modify(|last| *last = zxid.min(*last));
    }

    /// A server has found this much on its disk; `None`: it is a new one, with nothing on it.
    pub fn recovered(&mut self, server: u8, zxid: Option<i64>) {
        let Some(zxid) = zxid else {
            self.acknowledged.remove(&server);
            return;
        };
        self.disks.count();
        let acknowledged = self.acknowledged.get(&server).copied().unwrap_or(0);
        if zxid < acknowledged {
            self.disks.fault(|| {
                format!("server {server} has {}, and had acknowledged {}", show(zxid), show(acknowledged))
            });
        }
    }

    /// The ephemeral znodes without a session in a server's state.
    pub fn orphans(&mut self, server: u8, zxid: i64, orphans: Vec<String>) {
        self.orphans.count();
        for orphan in orphans {
            self.orphans.fault(|| format!("{orphan} on server {server} at {}", show(zxid)));
        }
    }
}

/// What the history shows: agreement (S9), order and contiguity (S10), one leader an epoch (S10), durability (S8), ephemerals (S6).
pub fn check(history: &History) -> Vec<Check> {
    let History { agreement, order, leadership, durability, disks, orphans, .. } = history;
    [agreement, order, leadership, durability, disks, orphans].into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(tell: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = History::default();
        history.established(1, 1, 0);
        history.restored(1, 0, 7);
        history.committed(1, 1 << 32 | 1, 11);
        history.committed(1, 1 << 32 | 2, 12);
        tell(&mut history);
        check(&history).into_iter().filter(|check| !check.held()).map(|check| check.name).collect()
    }

    #[test]
    fn each_broken_promise_is_seen_and_a_good_history_passes() {
        assert_eq!(
            broken(|history| {
                history.restored(2, 0, 7);
                history.committed(2, 1 << 32 | 1, 11);
                history.established(2, 2, 1 << 32 | 2);
                history.restored(2, 1 << 32 | 2, 12);
                history.committed(2, 2 << 32 | 1, 13);
                history.orphans(2, 2 << 32 | 1, vec![]);
            }),
            Vec::<&str>::new()
        );
        assert_eq!(
            broken(|h| {
                h.restored(2, 1 << 32 | 2, 12);
                h.taken_over(2, 1 << 32 | 3, 13);
                h.established(1, 2, 1 << 32 | 2);
            }),
            Vec::<&str>::new(),
            "what a leader without a quorum has handed on is not committed"
        );
        assert_eq!(
            broken(|h| h.restored(2, 1 << 32 | 2, 99)),
            ["servers have equal states at equal transactions"]
        );
        assert_eq!(
            broken(|h| h.committed(1, 1 << 32 | 4, 14)),
            ["each server applies transactions in order, without holes"]
        );
        assert_eq!(
            broken(|h| h.established(2, 1, 1 << 32 | 2)),
            ["an epoch has one established leader, and epochs increase"]
        );
        assert_eq!(
            broken(|h| h.established(2, 2, 1 << 32 | 1)),
            ["a new leader holds every committed transaction"]
        );
        assert_eq!(
            broken(|h| {
                h.acknowledged(2, 1 << 32 | 2);
                h.recovered(2, Some(1 << 32 | 1));
            }),
            ["a server that starts again holds all that it has acknowledged"]
        );
        assert_eq!(
            broken(|h| {
                h.acknowledged(2, 1 << 32 | 2);
                h.truncated(2, 1 << 32 | 1);
                h.recovered(2, Some(1 << 32 | 1));
                h.acknowledged(2, 1 << 32 | 2);
                h.recovered(2, None);
                h.recovered(2, Some(0));
            }),
            Vec::<&str>::new()
        );
        assert_eq!(
            broken(|h| h.orphans(1, 1, vec!["/a".into()])),
            ["every ephemeral znode has a living session"]
        );
    }
}
