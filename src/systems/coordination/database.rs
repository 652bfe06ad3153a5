//! What one server holds in memory: the tree, the sessions, and the last committed transactions for followers that lag.
//!
//! Pure. Invariant: two servers at one `last` have equal digests.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::systems::coordination::tree::{Event, Stamp, Tree};
use crate::systems::coordination::txn::{Change, Txn};
use crate::systems::coordination::wire::{Code, Reply};
use crate::systems::coordination::zxid::{SessionId, Zxid};
use crate::world::property::bug;

/// A server's state.
#[derive(Clone, Debug)]
pub struct Database {
    /// The znodes.
    pub tree: Tree,
    /// The sessions with their time-outs in milliseconds.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The last transaction applied.
    last: Zxid,
    committed: VecDeque<Txn>,
    committed_max: usize,
    /// The transaction before the first of `committed`.
    committed_after: Zxid,
}

/// What applying a transaction brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer to whoever asked for it.
    pub reply: Reply,
    /// What watches should know, in order.
    pub events: Vec<Event>,
}

/// A transaction that is being applied part by part.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    parts: usize,
    replies: Vec<Reply>,
    events: Vec<Event>,
}

impl Database {
    /// An empty state that keeps this many committed transactions.
    pub fn new(committed_max: u32) -> Self {
        Self {
            tree: Tree::default(),
            sessions: BTreeMap::new(),
            last: Zxid::ZERO,
            committed: VecDeque::new(),
            committed_max: committed_max as usize,
            committed_after: Zxid::ZERO,
        }
    }

    /// A state restored from a snapshot.
    pub fn restored(tree: Tree, sessions: BTreeMap<SessionId, i32>, last: Zxid, committed_max: u32) -> Self {
        Self { tree, sessions, last, committed_after: last, ..Self::new(committed_max) }
    }

    /// The last transaction applied.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// A hash of the tree and the sessions.
    pub fn digest(&self) -> u64 {
        let sessions = self.sessions.keys().map(|session| xxh3_64(&session.get().to_le_bytes()));
        sessions.fold(self.tree.digest(), u64::wrapping_add)
    }

    /// Applies the next part of a transaction; `Some` once it is applied in whole. Time may pass between the parts of a `multi`: a
    /// snapshot being written then sees half of it, and must not claim it.
    pub fn apply_part(&mut self, txn: &Txn, progress: &mut Progress) -> Option<Applied> {
        let stamp = Stamp { zxid: txn.zxid, session: txn.session, time: txn.time };
        if let Some(op) = txn.ops().get(progress.parts) {
            let (reply, events) = self.tree.apply(op, stamp);
            progress.parts += 1;
            progress.replies.push(reply);
            progress.events.extend(events);
            if bug("Z16") {
                self.last = txn.zxid;
            }
        }
        if progress.parts < txn.ops().len() {
            return None;
        }
        let mut events = std::mem::take(&mut progress.events);
        let mut replies = std::mem::take(&mut progress.replies);
        let reply = match &txn.change {
            Change::CreateSession { time_out } => {
                self.sessions.insert(txn.session, *time_out);
                Reply::Done
            }
            Change::CloseSession { znodes } => {
                events.extend(self.tree.close(znodes, txn.zxid));
                self.sessions.remove(&txn.session);
                Reply::Done
            }
            Change::One(_) => replies.pop().expect("its one part was applied"),
            Change::Multi(_) => Reply::Multi(replies),
            Change::Refused(code) => Reply::Refused(*code),
            Change::MultiRefused(codes) => Reply::Multi(codes.iter().copied().map(Reply::Refused).collect()),
        };
        self.last = txn.zxid;
        Some(Applied { reply, events })
    }

    /// Applies a transaction in one go.
    pub fn apply(&mut self, txn: &Txn) -> Applied {
        let mut progress = Progress::default();
        loop {
            if let Some(applied) = self.apply_part(txn, &mut progress) {
                return applied;
            }
        }
    }

    /// Keeps a committed transaction for followers that lag.
    pub fn remember(&mut self, txn: Txn) {
        self.committed.push_back(txn);
        while self.committed_max < self.committed.len() {
            if let Some(oldest) = self.committed.pop_front() {
                self.committed_after = oldest.zxid;
            }
        }
    }

    /// This state with the committed transactions that an earlier state of the same server remembers.
    #[must_use]
    pub fn with_memory_of(mut self, earlier: Self) -> Self {
        let newer = std::mem::take(&mut self.committed).into_iter().filter(|txn| earlier.last < txn.zxid);
        let newer: Vec<Txn> = newer.collect();
        self.committed = earlier.committed;
        self.committed_after = earlier.committed_after;
        newer.into_iter().for_each(|txn| self.remember(txn));
        self
    }

    /// The committed transactions in memory, after `after()`.
    pub fn committed(&self) -> impl Iterator<Item = &Txn> {
        self.committed.iter()
    }

    /// The transaction before the first one in memory.
    pub fn committed_after(&self) -> Zxid {
        self.committed_after
    }

    /// Ephemeral znodes that no session holds: there must be none.
    pub fn orphans(&self) -> impl Iterator<Item = String> {
        let lost = |owner: &SessionId| !self.sessions.contains_key(owner);
        self.tree.all_ephemerals().filter(move |(owner, _)| lost(owner)).map(|(_, path)| path.to_owned())
    }

    /// What a client is told of a znode.
    pub fn exists(&self, path: &str) -> Reply {
        self.tree.get(path).map_or(Reply::Refused(Code::NoNode), |znode| Reply::Stat(znode.stat()))
    }
}
