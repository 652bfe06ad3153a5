//! Snapshots: the whole state as bytes with a checksum, written while the state goes on changing.
//!
//! A snapshot claims the transaction that was last when it began. It may show later ones in part (it is *fuzzy*); replaying the log
//! after its claim makes it whole, because transactions state results.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::systems::coordination::database::Database;
use crate::systems::coordination::tree::{Tree, Znode};
use crate::systems::coordination::zxid::{SessionId, Zxid};

#[derive(Serialize, Deserialize)]
struct Header {
    zxid: Zxid,
    sessions: BTreeMap<SessionId, i32>,
}

/// A snapshot being written, a few znodes at a time.
#[derive(Debug)]
pub struct SnapshotWriter {
    /// The transaction it claims.
    pub zxid: Zxid,
    written: Option<String>,
    bytes: BytesMut,
}

impl SnapshotWriter {
    /// Begins a snapshot of a state.
    pub fn begin(database: &Database) -> Self {
        let mut writer = Self { zxid: database.last(), written: None, bytes: BytesMut::new() };
        writer.put(&Header { zxid: database.last(), sessions: database.sessions.clone() });
        writer
    }

    /// Writes up to `count` more znodes as they are now; true when there are no more.
    pub fn step(&mut self, database: &Database, count: usize) -> bool {
        let mut more = 0;
        let mut last = None;
        let from = self.written.take();
        for (path, znode) in database.tree.after(from.as_deref(), count) {
            self.put(&(path, znode));
            last = Some(path.clone());
            more += 1;
        }
        self.written = last.or(from);
        more < count
    }

    /// The bytes of the snapshot, closed with their checksum.
    pub fn finish(mut self) -> Bytes {
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.put_u32(crc);
        self.bytes.freeze()
    }

    fn put(&mut self, value: &impl Serialize) {
        let body = postcard::to_stdvec(value).expect("a snapshot holds only what postcard can write");
        self.bytes.put_u32(body.len() as u32);
        self.bytes.put_slice(&body);
    }
}

/// The whole state at once.
pub fn write(database: &Database) -> Bytes {
    let mut writer = SnapshotWriter::begin(database);
    while !writer.step(database, usize::MAX) {}
    writer.finish()
}

/// Reads a snapshot; `None` if it is damaged or unfinished.
pub fn read(mut bytes: Bytes, committed_max: u32) -> Option<Database> {
    let content = bytes.split_to(bytes.len().checked_sub(4)?);
    if crc32c::crc32c(&content) != u32::from_be_bytes(bytes[..].try_into().ok()?) {
        return None;
    }
    let mut rest = content;
    let mut next = || {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let _ = rest.split_to(4);
        (length <= rest.len()).then(|| rest.split_to(length))
    };
    let header: Header = postcard::from_bytes(&next()?).ok()?;
    let mut tree = Tree::default();
    while let Some(body) = next() {
        let (path, znode): (String, Znode) = postcard::from_bytes(&body).ok()?;
        tree.restore(path, znode);
    }
    tree.mend();
    Some(Database::restored(tree, header.sessions, header.zxid, committed_max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::WallTime;
    use crate::systems::coordination::prepare::{Asked, Preparer, Proposal};
    use crate::systems::coordination::wire::{Acl, CreateRequest, DeleteRequest, Request, Write as Wish};
    use crate::systems::coordination::zxid::PeerEpoch;

    const SESSION: SessionId = SessionId::new(7);

    fn create(path: &str, flags: i32) -> Asked {
        let create = CreateRequest { path: path.into(), data: Bytes::new(), acl: Acl::open(), flags };
        Asked::Request(Request::Write(Wish::Create(create, false)))
    }

    /// A snapshot that begins after `before` and is written up to the `seen` first znodes before `after` happens.
    fn check(before: Vec<Asked>, seen: usize, after: Vec<Asked>) {
        let mut database = Database::new(10);
        let mut preparer = Preparer::new(&database);
        let mut counter = 0;
        let mut txn = |change| {
            counter += 1;
            let zxid = Zxid::new(PeerEpoch::new(1), counter);
            let proposal = Proposal { session: SESSION, cxid: 0, change };
            preparer.prepare(zxid, WallTime::from_millis(0), proposal)
        };
        for change in before {
            database.apply(&txn(change));
        }
        let mut writer = SnapshotWriter::begin(&database);
        writer.step(&database, seen);
        let later: Vec<_> = after.into_iter().map(txn).collect();
        for txn in &later {
            database.apply(txn);
        }
        while !writer.step(&database, 1) {}
        let mut restored = read(writer.finish(), 10).expect("it was just written");
        for txn in &later {
            restored.apply(txn);
        }
        assert_eq!(restored.digest(), database.digest());
        assert_eq!(restored.exists("/p"), database.exists("/p"));
    }

    #[test]
    fn replaying_an_end_over_a_snapshot_without_the_znode_still_tells_its_parent() {
        let begin = || vec![Asked::CreateSession { time_out: 1000 }, create("/p", 0), create("/p/e", 1)];
        for seen in 0..4 {
            check(begin(), seen, vec![Asked::CloseSession]);
            let delete = Wish::Delete(DeleteRequest { path: "/p/e".into(), version: -1 });
            check(begin(), seen, vec![Asked::Request(Request::Write(delete)), create("/p/f", 3)]);
        }
    }
}
