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
