//! Turns requests into transactions: the leader judges each against the state that will hold once all it has proposed is applied.
//!
//! ZooKeeper's PrepRequestProcessor keeps a list of outstanding changes; here the state to come is a tree of its own, which costs
//! memory and saves the rules for reading two things at once. Pure.

use std::collections::BTreeMap;

use crate::base::WallTime;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::tree::{Stamp, Znode, is_path, parent};
use crate::systems::coordination::txn::{Change, Op, Txn};
use crate::systems::coordination::wire::{Code, CreateRequest, Request, Write};
use crate::systems::coordination::zxid::{SessionId, Zxid};
use crate::world::property::bug;

/// The longest data a znode holds (`jute.maxbuffer`).
const DATA_MAX: usize = 1 << 20;

/// A request about to become a transaction.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Who asks.
    pub session: SessionId,
    /// The number it gave the request.
    pub cxid: i32,
    /// What it asks.
    pub change: Asked,
}

/// What is asked of the leader.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A new session.
    CreateSession {
        /// Its negotiated time-out, in milliseconds.
        time_out: i32,
    },
    /// The end of a session.
    CloseSession,
    /// A client's write.
    Request(Request),
    /// Whatever it was, it is refused for this reason.
    Refuse(Code),
}

/// The state that will hold once all that is proposed is applied.
#[derive(Debug)]
pub struct Preparer {
    ahead: Database,
}

impl Preparer {
    /// Begins where nothing is proposed.
    pub fn new(database: &Database) -> Self {
        Self { ahead: database.clone() }
    }

    /// Whether a session will still be there.
    pub fn has_session(&self, session: SessionId) -> bool {
        self.ahead.sessions.contains_key(&session)
    }

    /// Makes the transaction `zxid` of a request. A refusal is a transaction too.
    pub fn prepare(&mut self, zxid: Zxid, time: WallTime, proposal: Proposal) -> Txn {
        assert!(self.ahead.last() < zxid, "{zxid} comes after {}", self.ahead.last());
        let stamp = Stamp { zxid, session: proposal.session, time };
        let change = match proposal.change {
            Asked::CreateSession { time_out } => Change::CreateSession { time_out },
            Asked::CloseSession => Change::CloseSession { znodes: self.ends(proposal.session) },
            Asked::Refuse(code) => Change::Refused(code),
            Asked::Request(Request::Write(write)) => match self.op(&write) {
                Ok(op) => Change::One(op),
                Err(code) => Change::Refused(code),
            },
            Asked::Request(Request::Multi(writes)) => self.multi(&writes, stamp),
            Asked::Request(_) => Change::Refused(Code::BadArguments),
        };
        let txn = Txn { zxid, session: proposal.session, cxid: proposal.cxid, time, change };
        self.ahead.apply(&txn);
        txn
    }

    /// The ephemeral znodes of a session, each with the count of its parent's changes once it and those before it are gone.
    fn ends(&self, session: SessionId) -> Vec<(String, i32)> {
        let mut counts: BTreeMap<String, i32> = BTreeMap::new();
        let end = |path: String| {
            let parent = parent(&path)?;
            let count = counts
                .entry(parent.to_owned())
                .or_insert_with(|| self.ahead.tree.get(parent).map_or(0, Znode::cversion));
            *count += 1;
            let count = *count;
            Some((path, count))
        };
        self.ahead.tree.ephemerals(session).into_iter().filter_map(end).collect()
    }

    /// All parts or none: each is judged with those before it applied.
    fn multi(&mut self, writes: &[Write], stamp: Stamp) -> Change {
        let mut trial = Self { ahead: self.ahead.clone() };
        let mut ops = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            match trial.op(write) {
                Ok(op) => {
                    trial.ahead.tree.apply(&op, stamp);
                    ops.push(op);
                }
                Err(code) => {
                    // The known bug does not take back what the parts before would have done.
                    if bug("Z27") {
                        self.ahead = trial.ahead;
                    }
                    let mut codes = vec![Code::RuntimeInconsistency; writes.len()];
                    codes[at] = code;
                    return Change::MultiRefused(codes);
                }
            }
        }
        Change::Multi(ops)
    }

    fn op(&self, write: &Write) -> Result<Op, Code> {
        if !is_path(write.path()) && !matches!(write, Write::Create(..)) {
            return Err(Code::BadArguments);
        }
        let expect = |wanted: i32, version: i32| {
            if wanted == -1 || wanted == version { Ok(()) } else { Err(Code::BadVersion) }
        };
        let find = |path: &str| self.ahead.tree.get(path).ok_or(Code::NoNode);
        match write {
            Write::Create(create, with_stat) => self.create(create, *with_stat),
            Write::Delete(delete) => {
                let znode = find(&delete.path)?;
                expect(delete.version, znode.version())?;
                if !znode.children.is_empty() {
                    return Err(Code::NotEmpty);
                }
                let parent = parent(&delete.path).ok_or(Code::BadArguments)?;
                let parent_cversion = find(parent)?.cversion() + 1;
                Ok(Op::Delete { path: delete.path.clone(), parent_cversion })
            }
            Write::SetData(set) => {
                let version = find(&set.path)?.version();
                expect(set.version, version)?;
                if DATA_MAX < set.data.len() {
                    return Err(Code::BadArguments);
                }
                Ok(Op::SetData { path: set.path.clone(), data: set.data.clone(), version: version + 1 })
            }
            Write::SetAcl(set) => {
                let version = find(&set.path)?.aversion();
                expect(set.version, version)?;
                Ok(Op::SetAcl { path: set.path.clone(), acl: set.acl.clone(), version: version + 1 })
            }
            Write::Check(check) => {
                expect(check.version, find(&check.path)?.version())?;
                Ok(Op::Check)
            }
        }
    }

    fn create(&self, create: &CreateRequest, with_stat: bool) -> Result<Op, Code> {
        if !(0..=3).contains(&create.flags) || DATA_MAX < create.data.len() {
            return Err(Code::BadArguments);
        }
        let (ephemeral, sequential) = (create.flags & 1 != 0, create.flags & 2 != 0);
        // A sequential name may end in a slash: the number is the whole name then.
        let sound = if sequential { is_path(&format!("{}0", create.path)) } else { is_path(&create.path) };
        let parent = parent(&create.path).filter(|_| sound).ok_or(Code::BadArguments)?;
        let above = self.ahead.tree.get(parent).ok_or(Code::NoNode)?;
        let path =
            if sequential { format!("{}{:010}", create.path, above.cversion()) } else { create.path.clone() };
        if self.ahead.tree.get(&path).is_some() {
            return Err(Code::NodeExists);
        }
        if above.owner.is_some() {
            return Err(Code::NoChildrenForEphemerals);
        }
        Ok(Op::Create {
            path,
            data: create.data.clone(),
            acl: create.acl.clone(),
            ephemeral,
            parent_cversion: above.cversion() + 1,
            with_stat,
        })
    }
}
