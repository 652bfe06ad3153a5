//! The tree of znodes.
//!
//! Knows nothing of sessions, logs or the network. Invariant: every znode but the root has its parent, whose children name it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::base::WallTime;
use crate::systems::coordination::txn::Op;
use crate::systems::coordination::wire::{Acl, Code, EventKind, Reply, Stat};
use crate::systems::coordination::zxid::{SessionId, Zxid};
use crate::world::bug;

/// A znode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Znode {
    /// Its data.
    pub data: Bytes,
    /// Its ACL.
    pub acl: Vec<Acl>,
    /// The session it ends with, if it is ephemeral.
    pub owner: Option<SessionId>,
    /// The names of its children.
    pub children: BTreeSet<String>,
    created: (Zxid, WallTime),
    modified: (Zxid, WallTime),
    children_changed: Zxid,
    version: i32,
    cversion: i32,
    aversion: i32,
}

impl Znode {
    /// What clients are told of it.
    pub fn stat(&self) -> Stat {
        Stat {
            czxid: self.created.0.get(),
            mzxid: self.modified.0.get(),
            ctime: self.created.1.millis(),
            mtime: self.modified.1.millis(),
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.owner.map_or(0, SessionId::get),
            data_length: self.data.len() as i32,
            num_children: self.children.len() as i32,
            pzxid: self.children_changed.get(),
        }
    }

    /// How often its data changed.
    pub fn version(&self) -> i32 {
        self.version
    }
    /// How often its children changed.
    pub fn cversion(&self) -> i32 {
        self.cversion
    }
    /// How often its ACL changed.
    pub fn aversion(&self) -> i32 {
        self.aversion
    }
    /// The transaction that last changed its data.
    pub fn modified(&self) -> Zxid {
        self.modified.0
    }
    /// The transaction that last changed its children.
    pub fn children_changed(&self) -> Zxid {
        self.children_changed
    }
}

/// What happened to which path, for watches.
pub type Event = (EventKind, String);

/// Who applies a change, and when.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The transaction.
    pub zxid: Zxid,
    /// Its session.
    pub session: SessionId,
    /// Its time.
    pub time: WallTime,
}

/// A tree of znodes.
#[derive(Clone, Debug)]
pub struct Tree {
    znodes: BTreeMap<String, Znode>,
    ephemerals: BTreeMap<SessionId, BTreeSet<String>>,
    digest: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let mut tree = Self { znodes: BTreeMap::new(), ephemerals: BTreeMap::new(), digest: 0 };
        let stamp = Stamp { zxid: Zxid::ZERO, session: SessionId::new(0), time: WallTime::from_millis(0) };
        tree.insert("/", Znode::new(Bytes::new(), Acl::open(), None, stamp));
        tree
    }
}

/// The path of a znode's parent; `None` for the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        _ if path == "/" => None,
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

/// Whether a path is one: absolute, no empty or dotted part, no control characters.
pub fn is_path(path: &str) -> bool {
    let sound =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control);
    path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(sound))
}

impl Znode {
    fn new(data: Bytes, acl: Vec<Acl>, owner: Option<SessionId>, stamp: Stamp) -> Self {
        Self {
            data,
            acl,
            owner,
            children: BTreeSet::new(),
            created: (stamp.zxid, stamp.time),
            modified: (stamp.zxid, stamp.time),
            children_changed: stamp.zxid,
            version: 0,
            cversion: 0,
            aversion: 0,
        }
    }

    fn hash(&self, path: &str) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(path.as_bytes());
        hash.update(&self.data);
        for acl in &self.acl {
            hash.update(&acl.perms.to_le_bytes());
            hash.update(acl.scheme.as_bytes());
            hash.update(acl.id.as_bytes());
        }
        for word in [
            self.created.0.get(),
            self.modified.0.get(),
            self.children_changed.get(),
            self.owner.map_or(0, SessionId::get),
            i64::from(self.version) << 32 | i64::from(self.cversion),
            i64::from(self.aversion),
        ] {
            hash.update(&word.to_le_bytes());
        }
        hash.digest()
    }
}

impl Tree {
    /// The znode at a path.
    pub fn get(&self, path: &str) -> Option<&Znode> {
        self.znodes.get(path)
    }

    /// The znodes that end with a session.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        self.ephemerals.get(&session).map(|paths| paths.iter().cloned().collect()).unwrap_or_default()
    }

    /// All ephemeral znodes, with their owners.
    pub fn all_ephemerals(&self) -> impl Iterator<Item = (SessionId, &str)> {
        self.ephemerals.iter().flat_map(|(owner, paths)| paths.iter().map(|path| (*owner, path.as_str())))
    }

    /// A hash of all znodes, independent of the order in which they came (AdHash, as ZooKeeper 3.6 keeps it).
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Up to `count` znodes after a path, in order of their paths.
    pub fn after(&self, path: Option<&str>, count: usize) -> impl Iterator<Item = (&String, &Znode)> {
        let from = path.map_or(Bound::Unbounded, Bound::Excluded);
        self.znodes.range::<str, _>((from, Bound::Unbounded)).take(count)
    }

    /// Puts a znode where a snapshot says.
    pub fn restore(&mut self, path: String, znode: Znode) {
        self.remove_hash(&path);
        self.digest = self.digest.wrapping_add(znode.hash(&path));
        if let Some(owner) = znode.owner {
            self.ephemerals.entry(owner).or_default().insert(path.clone());
        }
        self.znodes.insert(path, znode);
    }

    /// Makes whole what a fuzzy snapshot tore: children whose parent went before it was written are dropped (their deletion stands in
    /// the log that follows), and every parent names exactly the children there are.
    pub fn mend(&mut self) {
        let mut orphans: Vec<String> = Vec::new();
        for path in self.znodes.keys() {
            if parent(path).is_some_and(|parent| {
                !self.znodes.contains_key(parent) || orphans.iter().any(|o| o == parent)
            }) {
                orphans.push(path.clone());
            }
        }
        for orphan in orphans {
            self.remove_hash(&orphan);
            if let Some(Znode { owner: Some(owner), .. }) = self.znodes.remove(&orphan) {
                self.disown(owner, &orphan);
            }
        }
        let mut children: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for path in self.znodes.keys() {
            if let Some(parent) = parent(path) {
                children.entry(parent.to_owned()).or_default().insert(name(path).to_owned());
            }
        }
        for (path, znode) in &mut self.znodes {
            znode.children = children.remove(path).unwrap_or_default();
        }
    }

    /// Applies one change; tells its result and what watches should know. Applying it again changes nothing more.
    pub fn apply(&mut self, op: &Op, stamp: Stamp) -> (Reply, Vec<Event>) {
        match op {
            Op::Create { path, data, acl, ephemeral, parent_cversion, with_stat } => {
                let parent = parent(path).expect("the root is never created").to_owned();
                if !self.znodes.contains_key(&parent) {
                    return (Reply::Refused(Code::NoNode), Vec::new());
                }
                let fresh = !self.znodes.contains_key(path);
                if fresh {
                    let owner = ephemeral.then_some(stamp.session);
                    self.insert(path, Znode::new(data.clone(), acl.clone(), owner, stamp));
                }
                // The known bug counts by itself, and twice where a fuzzy snapshot shows the parent as it was after.
                let count = if bug("Z28") { self.znodes[&parent].cversion + 1 } else { *parent_cversion };
                self.children_changed(&parent, count, stamp.zxid, |children| {
                    children.insert(name(path).to_owned());
                });
                let stat = with_stat.then(|| self.znodes[path].stat());
                let events = vec![(EventKind::Created, path.clone()), (EventKind::ChildrenChanged, parent)];
                (Reply::Created(path.clone(), stat), events)
            }
            Op::Delete { path, parent_cversion } => {
                if self.remove(path, *parent_cversion, stamp.zxid) {
                    (Reply::Done, deleted(path))
                } else {
                    (Reply::Refused(Code::NoNode), Vec::new())
                }
            }
            Op::SetData { path, data, version } => {
                let changed = self.change(path, |znode| {
                    znode.data = data.clone();
                    znode.version = *version;
                    znode.modified = (stamp.zxid, stamp.time);
                });
                match changed {
                    Some(stat) => (Reply::Stat(stat), vec![(EventKind::DataChanged, path.clone())]),
                    None => (Reply::Refused(Code::NoNode), Vec::new()),
                }
            }
            Op::SetAcl { path, acl, version } => {
                let changed = self.change(path, |znode| {
                    znode.acl.clone_from(acl);
                    znode.aversion = *version;
                });
                (changed.map_or(Reply::Refused(Code::NoNode), Reply::Stat), Vec::new())
            }
            Op::Check => (Reply::Done, Vec::new()),
        }
    }

    /// Removes the znodes that ended with a session.
    pub fn close(&mut self, znodes: &[(String, i32)], zxid: Zxid) -> Vec<Event> {
        let mut events = Vec::new();
        for (path, parent_cversion) in znodes {
            if self.remove(path, *parent_cversion, zxid) {
                events.extend(deleted(path));
            }
        }
        events
    }

    fn insert(&mut self, path: &str, znode: Znode) {
        self.digest = self.digest.wrapping_add(znode.hash(path));
        if let Some(owner) = znode.owner {
            self.ephemerals.entry(owner).or_default().insert(path.to_owned());
        }
        self.znodes.insert(path.to_owned(), znode);
    }

    /// A fuzzy snapshot may lack the znode already and show the parent as it was before: the parent learns of the end all the same
    /// (ZOOKEEPER-3125; the known bug Z17 leaves it behind).
    fn remove(&mut self, path: &str, parent_cversion: i32, zxid: Zxid) -> bool {
        self.remove_hash(path);
        let removed = self.znodes.remove(path);
        if let Some(owner) = removed.as_ref().and_then(|znode| znode.owner) {
            self.disown(owner, path);
        }
        let Some(parent) = parent(path).filter(|_| removed.is_some() || !bug("Z17")) else { return false };
        self.children_changed(parent, parent_cversion, zxid, |children| {
            children.remove(name(path));
        });
        removed.is_some()
    }

    fn disown(&mut self, owner: SessionId, path: &str) {
        if let Some(paths) = self.ephemerals.get_mut(&owner) {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&owner);
            }
        }
    }

    fn remove_hash(&mut self, path: &str) {
        if let Some(znode) = self.znodes.get(path) {
            self.digest = self.digest.wrapping_sub(znode.hash(path));
        }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Znode)) -> Option<Stat> {
        self.remove_hash(path);
        let znode = self.znodes.get_mut(path)?;
        change(znode);
        self.digest = self.digest.wrapping_add(znode.hash(path));
        Some(znode.stat())
    }

    /// Replays meet parents that are ahead of them already: what they know never moves back.
    fn children_changed(
        &mut self,
        parent: &str,
        cversion: i32,
        zxid: Zxid,
        edit: impl FnOnce(&mut BTreeSet<String>),
    ) {
        self.change(parent, |parent| {
            edit(&mut parent.children);
            parent.cversion = parent.cversion.max(cversion);
            parent.children_changed = parent.children_changed.max(zxid);
        });
    }
}

fn deleted(path: &str) -> Vec<Event> {
    let mut events = vec![(EventKind::Deleted, path.to_owned())];
    events.extend(parent(path).map(|parent| (EventKind::ChildrenChanged, parent.to_owned())));
    events
}

fn name(path: &str) -> &str {
    &path[path.rfind('/').map_or(0, |at| at + 1)..]
}
