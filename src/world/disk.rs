//! A host's disk: a page cache over a platter, directories, and what can go wrong with them.
//!
//! Injects: power loss that drops, keeps or tears what was not synced, sector by sector (512 bytes) and in any order; directory
//! entries lost without a directory sync (of each directory a random number of the latest changes); a full disk; EIO on read, write
//! or sync; slow episodes. After a failed sync the data it covered is not durable, even if a later sync succeeds, because the kernel
//! has marked the pages clean (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
//!
//! Never (until the faults of the next chapter): loses or changes what was synced, writes or reads another place than asked, tears a
//! sector, or fails to see its own writes.
//!
//! Cost: writes go to the cache at once; an uncached read and a sync wait for the device, which serves one request after the
//! other: a latency drawn from the spec plus the bytes over its bandwidth, times the factor of a slow episode.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::base::{ByteSize, Range, Rate, SimTime, Span};
use crate::world::chance::SplitMix;
use crate::world::host::Host;
use crate::world::trace::What;

/// The unit that persists or is lost as a whole.
const SECTOR_BYTES: usize = 512;

/// What a disk can do when nothing is wrong. The defaults are those of a data-centre SSD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskSpec {
    /// How much it holds (default 1 TiB).
    pub capacity: ByteSize,
    /// Latency of a read that the page cache cannot serve (default 80us..200us).
    pub read: Range<Span>,
    /// Latency of a sync (default 300us..2ms).
    pub sync: Range<Span>,
    /// Bytes a second, to and from the platter (default 500MiB/s).
    pub bandwidth: Rate,
}

impl Default for DiskSpec {
    fn default() -> Self {
        let micros = |min, max| {
            Range::new(Span::new(Duration::from_micros(min)), Span::new(Duration::from_micros(max)))
                .expect("min <= max")
        };
        Self {
            capacity: ByteSize::new(1 << 40),
            read: micros(80, 200),
            sync: micros(300, 2000),
            bandwidth: Rate::per_second(500.0 * 1024.0 * 1024.0),
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// It must exist.
    Existing,
    /// Create it if it does not exist.
    Create,
    /// It must not exist.
    CreateNew,
    /// Create it, or empty it.
    Truncate,
}

/// A kind of disk operation that can fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOperation {
    /// Reading a file.
    Read,
    /// Writing, truncating, creating, renaming or removing.
    Write,
    /// Making a file or directory durable.
    Fsync,
}

/// Why a disk operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    /// No such file or directory (ENOENT).
    #[error("no such file or directory")]
    NotFound,
    /// The file exists already (EEXIST).
    #[error("file exists")]
    AlreadyExists,
    /// The disk is full (ENOSPC).
    #[error("no space left on device")]
    NoSpace,
    /// The device failed (EIO).
    #[error("input/output error on {0:?}")]
    Io(DiskOperation),
}

type Inode = u64;

/// A sector that differs from the platter.
struct Dirty {
    /// What the platter holds; empty where it holds nothing.
    platter: Box<[u8]>,
    /// What a sync under way will have put on the platter, if the sector was written again since that sync began.
    at_sync: Option<Box<[u8]>>,
    /// A sync of it failed, and the kernel has marked it clean: no later sync covers it unless it is written again.
    abandoned: bool,
}

/// How a sync ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SyncEnd {
    Durable,
    Failed,
    /// The process died before it heard; nothing may be concluded.
    Unknown,
}

#[derive(Default)]
struct FileState {
    /// What the page cache shows.
    content: Vec<u8>,
    dirty: BTreeMap<u64, Dirty>,
    durable_len: u64,
    /// A sync is under way; the length it will make durable, and the sectors it covers.
    syncing: Option<(u64, BTreeSet<u64>)>,
    sync_waiters: Vec<Waker>,
    cached: bool,
}

impl FileState {
    /// Remembers what the platter holds of the sectors in `from..to`, before they change.
    fn touch(&mut self, from: u64, to: u64) {
        if from == to {
            return;
        }
        for sector in from / SECTOR_BYTES as u64..=(to - 1) / SECTOR_BYTES as u64 {
            let start = (sector as usize * SECTOR_BYTES).min(self.content.len());
            let end = (start + SECTOR_BYTES).min(self.content.len());
            let covered = self.syncing.as_ref().is_some_and(|(_, sectors)| sectors.contains(&sector));
            match self.dirty.get_mut(&sector) {
                Some(dirty) => {
                    dirty.abandoned = false;
                    if covered && dirty.at_sync.is_none() {
                        dirty.at_sync = Some(self.content[start..end].into());
                    }
                }
                None => {
                    let durable = (self.durable_len as usize).clamp(start, end);
                    let platter = self.content[start..durable].into();
                    self.dirty.insert(sector, Dirty { platter, at_sync: None, abandoned: false });
                }
            }
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        self.touch(offset.min(self.content.len() as u64), end);
        if (self.content.len() as u64) < end {
            self.content.resize(end as usize, 0);
        }
        self.content[offset as usize..end as usize].copy_from_slice(bytes);
    }

    fn set_len(&mut self, len: u64) {
        let old = self.content.len() as u64;
        self.touch(len.min(old), len.max(old));
        self.content.resize(len as usize, 0);
    }

    fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.durable_len != self.content.len() as u64
    }

    fn begin_sync(&mut self) -> u64 {
        let sectors: BTreeSet<u64> =
            self.dirty.iter().filter(|(_, dirty)| !dirty.abandoned).map(|(sector, _)| *sector).collect();
        let bytes = sectors.len() * SECTOR_BYTES;
        self.syncing = Some((self.content.len() as u64, sectors));
        bytes as u64
    }

    fn end_sync(&mut self, end: SyncEnd) {
        let Some((len, sectors)) = self.syncing.take() else { return };
        for sector in sectors {
            let Some(dirty) = self.dirty.get_mut(&sector) else { continue };
            let rewritten = dirty.at_sync.take();
            match (end, rewritten) {
                (SyncEnd::Durable, Some(platter)) => dirty.platter = platter,
                (SyncEnd::Durable, None) => {
                    self.dirty.remove(&sector);
                }
                (SyncEnd::Failed, rewritten) => dirty.abandoned = rewritten.is_none(),
                (SyncEnd::Unknown, _) => {}
            }
        }
        if end == SyncEnd::Durable {
            self.durable_len = len;
        }
        self.sync_waiters.drain(..).for_each(Waker::wake);
    }

    /// What remains after a power loss. Returns how many unsynced sectors survived and how many were lost.
    fn lose_power(&mut self, dice: &mut SplitMix) -> (u64, u64) {
        self.cached = false;
        self.syncing = None;
        self.sync_waiters.clear();
        let cached = std::mem::take(&mut self.content);
        let dirty = std::mem::take(&mut self.dirty);
        let (shorter, longer) =
            (self.durable_len.min(cached.len() as u64), self.durable_len.max(cached.len() as u64));
        // The length is metadata of its own: either value may have reached the platter, or, after appends, one in between.
        let len = match dice.below(3) {
            0 => self.durable_len,
            1 => cached.len() as u64,
            _ => shorter + dice.below(longer - shorter + 1),
        };
        let mut content = vec![0; len as usize];
        let copied = cached.len().min(content.len());
        content[..copied].copy_from_slice(&cached[..copied]);
        let (mut kept, mut lost) = (0, 0);
        for (sector, state) in dirty {
            let start = sector as usize * SECTOR_BYTES;
            if dice.happens(0.5) && start < cached.len() && !state.abandoned {
                kept += 1;
                continue;
            }
            lost += 1;
            let end = (start + SECTOR_BYTES).min(content.len());
            if start < end {
                content[start..end].fill(0);
                let old = state.platter.len().min(end - start);
                content[start..start + old].copy_from_slice(&state.platter[..old]);
            }
        }
        self.durable_len = len;
        self.content = content;
        (kept, lost)
    }
}

/// A change of a directory that its next sync makes durable.
enum DirectoryChange {
    Link(String, Inode),
    Unlink(String),
    Rename { from: String, to: String, inode: Inode },
    MakeDirectory(String),
}

/// A disk's faults of the moment.
#[derive(Default)]
pub(crate) struct DiskFaults {
    pub(crate) full: u32,
    pub(crate) failing: BTreeMap<DiskOperation, u32>,
    pub(crate) slow_factor: Option<f64>,
}

/// All that a host's disk holds.
pub(crate) struct DiskState {
    spec: DiskSpec,
    dice: SplitMix,
    files: BTreeMap<Inode, FileState>,
    inode_next: Inode,
    names: BTreeMap<String, Inode>,
    durable_names: BTreeMap<String, Inode>,
    directories: BTreeSet<String>,
    durable_directories: BTreeSet<String>,
    /// Changes not yet durable, per directory, oldest first.
    pending: BTreeMap<String, Vec<DirectoryChange>>,
    device_free: SimTime,
    used: u64,
    pub(crate) faults: DiskFaults,
}

impl DiskState {
    pub(crate) fn new(spec: DiskSpec, dice_key: u64) -> Self {
        Self {
            spec,
            dice: SplitMix::new(dice_key),
            files: BTreeMap::new(),
            inode_next: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            directories: BTreeSet::from(["/".to_owned()]),
            durable_directories: BTreeSet::from(["/".to_owned()]),
            pending: BTreeMap::new(),
            device_free: SimTime::ZERO,
            used: 0,
            faults: DiskFaults::default(),
        }
    }

    /// Whether anything would be at stake in a power loss now.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.pending.values().any(|changes| !changes.is_empty())
            || self.files.values().any(FileState::is_dirty)
    }

    /// Everything is gone: a new, empty disk.
    pub(crate) fn replace(&mut self) {
        let dice_key = self.dice.next();
        let faults = std::mem::take(&mut self.faults);
        *self = Self::new(self.spec.clone(), dice_key);
        self.faults = faults;
    }

    /// The page cache is gone. Returns what became of the unsynced, in words.
    pub(crate) fn lose_power(&mut self, now: SimTime) -> String {
        let mut changes_lost = 0;
        for changes in std::mem::take(&mut self.pending).into_values() {
            let survive = self.dice.below(changes.len() as u64 + 1) as usize;
            changes_lost += changes.len() - survive;
            for change in changes.into_iter().take(survive) {
                self.harden(change);
            }
        }
        // A directory whose own entry was lost takes everything beneath it along.
        let hardened = std::mem::take(&mut self.durable_directories);
        self.durable_directories = hardened
            .iter()
            .filter(|path| ancestors(path).all(|above| hardened.contains(above)))
            .cloned()
            .collect();
        let directories = &self.durable_directories;
        self.durable_names.retain(|path, _| directories.contains(parent(path)));
        self.names = self.durable_names.clone();
        self.directories = self.durable_directories.clone();
        self.device_free = now;
        let (mut kept, mut lost) = (0, 0);
        for file in self.files.values_mut() {
            let (file_kept, file_lost) = file.lose_power(&mut self.dice);
            kept += file_kept;
            lost += file_lost;
        }
        let names: BTreeSet<Inode> = self.names.values().copied().collect();
        self.files.retain(|inode, _| names.contains(inode));
        self.used = self.files.values().map(|file| file.content.len() as u64).sum();
        format!("{lost} unsynced sectors lost, {kept} kept, {changes_lost} directory changes lost")
    }

    fn harden(&mut self, change: DirectoryChange) {
        match change {
            DirectoryChange::Link(path, inode) => {
                self.durable_names.insert(path, inode);
            }
            DirectoryChange::Unlink(path) => {
                self.durable_names.remove(&path);
            }
            DirectoryChange::Rename { from, to, inode } => {
                self.durable_names.remove(&from);
                self.durable_names.insert(to, inode);
            }
            DirectoryChange::MakeDirectory(path) => {
                self.durable_directories.insert(path);
            }
        }
    }

    fn change(&mut self, path: &str, change: DirectoryChange) {
        self.pending.entry(parent(path).to_owned()).or_default().push(change);
    }

    /// Drops files that no name, volatile or durable, leads to any more.
    fn forget(&mut self, inode: Inode) {
        let named = self.names.values().chain(self.durable_names.values()).any(|other| *other == inode);
        let pending = self.pending.values().flatten().any(|change| match change {
            DirectoryChange::Link(_, other) | DirectoryChange::Rename { inode: other, .. } => *other == inode,
            DirectoryChange::Unlink(_) | DirectoryChange::MakeDirectory(_) => false,
        });
        if !named
            && !pending
            && let Some(file) = self.files.remove(&inode)
        {
            self.used -= file.content.len() as u64;
        }
    }

    fn fails(&self, operation: DiskOperation) -> Result<(), DiskError> {
        match self.faults.failing.get(&operation) {
            Some(count) if 0 < *count => Err(DiskError::Io(operation)),
            _ => Ok(()),
        }
    }

    fn room_for(&self, more: u64) -> Result<(), DiskError> {
        let fits = self.faults.full == 0 && self.used + more <= self.spec.capacity.get();
        if fits || more == 0 { Ok(()) } else { Err(DiskError::NoSpace) }
    }

    /// When the device has served a request of this latency and size.
    fn serve(&mut self, now: SimTime, latency: Range<Span>, bytes: u64) -> SimTime {
        let (min, max) = (latency.min().get().as_nanos() as u64, latency.max().get().as_nanos() as u64);
        let nanos =
            min + self.dice.below(max - min + 1) + (bytes as f64 / self.spec.bandwidth.get() * 1e9) as u64;
        let slowed = (nanos as f64 * self.faults.slow_factor.unwrap_or(1.0)) as u64;
        self.device_free = self.device_free.max(now) + Duration::from_nanos(slowed);
        self.device_free
    }
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// The directories above `path`, nearest first, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(parent(path)), |above| Some(parent(above))).take_while(|above| *above != "/")
}

/// A process's access to its machine's disk. Paths are absolute.
#[derive(Clone)]
pub struct Disk {
    host: Host,
}

impl Disk {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    fn with<T>(&self, then: impl FnOnce(&mut DiskState) -> T) -> T {
        let mut hosts = self.host.kernel().hosts.borrow_mut();
        then(&mut hosts[self.host.id().get() as usize].disk)
    }

    fn trace(&self, operation: &'static str, path_hash: u64, detail: u64, text: impl FnOnce() -> String) {
        let words = [crate::world::trace::name_hash(operation), path_hash, detail];
        self.host.kernel().trace.borrow_mut().event(
            self.host.now(),
            Some(self.host.id()),
            What::Disk,
            words,
            || format!("{operation} {}", text()),
        );
    }

    fn trace_path(&self, operation: &'static str, path: &str) {
        self.trace(operation, xxh3_64(path.as_bytes()), 0, || path.to_owned());
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` without the file (or its directory), `AlreadyExists` for `CreateNew`, `NoSpace` or `Io` where it must be created.
    pub async fn open(&self, path: &str, open: Open) -> Result<File, DiskError> {
        self.trace_path("open", path);
        let inode = self.with(|disk| {
            let existing = disk.names.get(path).copied();
            match (existing, open) {
                (Some(_), Open::CreateNew) => Err(DiskError::AlreadyExists),
                (Some(inode), Open::Truncate) => {
                    disk.fails(DiskOperation::Write)?;
                    let file = disk.files.get_mut(&inode).expect("a named file exists");
                    disk.used -= file.content.len() as u64;
                    file.set_len(0);
                    Ok(inode)
                }
                (Some(inode), Open::Existing | Open::Create) => Ok(inode),
                (None, Open::Existing) => Err(DiskError::NotFound),
                (None, Open::Create | Open::CreateNew | Open::Truncate) => {
                    disk.fails(DiskOperation::Write)?;
                    disk.room_for(1)?;
                    if !disk.directories.contains(parent(path)) {
                        return Err(DiskError::NotFound);
                    }
                    let inode = disk.inode_next;
                    disk.inode_next += 1;
                    disk.files.insert(inode, FileState { cached: true, ..FileState::default() });
                    disk.names.insert(path.to_owned(), inode);
                    disk.change(path, DirectoryChange::Link(path.to_owned(), inode));
                    Ok(inode)
                }
            }
        })?;
        Ok(File { disk: self.clone(), inode, path: path.into(), reads: Rc::default() })
    }

    /// Creates a directory and those above it, where they do not exist. Each is durable once its parent is synced.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub async fn create_dir_all(&self, path: &str) -> Result<(), DiskError> {
        self.trace_path("mkdir", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let mut missing: Vec<&str> = std::iter::once(path).chain(ancestors(path)).collect();
            missing.retain(|directory| !disk.directories.contains(*directory));
            for directory in missing.into_iter().rev() {
                disk.room_for(1)?;
                disk.directories.insert(directory.to_owned());
                disk.change(directory, DirectoryChange::MakeDirectory(directory.to_owned()));
            }
            Ok(())
        })
    }

    /// Makes durable which names the directory holds (not what the files hold).
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        self.trace_path("sync-dir", path);
        let (covered, done) = self.with(|disk| {
            if !disk.directories.contains(path) {
                return Err(DiskError::NotFound);
            }
            disk.fails(DiskOperation::Fsync)?;
            let covered = disk.pending.get(path).map_or(0, Vec::len);
            let latency = disk.spec.sync;
            Ok((covered, disk.serve(self.host.now(), latency, 4096)))
        })?;
        self.host.sleep_until(done).await;
        self.with(|disk| {
            disk.fails(DiskOperation::Fsync)?;
            let Some(changes) = disk.pending.get_mut(path) else { return Ok(()) };
            // Another sync of this directory may have hardened some of them meanwhile.
            let hardened: Vec<_> = changes.drain(..covered.min(changes.len())).collect();
            for change in hardened {
                let unlinked = match &change {
                    DirectoryChange::Unlink(path) | DirectoryChange::Rename { to: path, .. } => {
                        disk.durable_names.get(path).copied()
                    }
                    DirectoryChange::Link(..) | DirectoryChange::MakeDirectory(_) => None,
                };
                disk.harden(change);
                if let Some(inode) = unlinked {
                    disk.forget(inode);
                }
            }
            Ok(())
        })
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        self.trace_path("list", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Read)?;
            if !disk.directories.contains(path) {
                return Err(DiskError::NotFound);
            }
            let all = disk.names.keys().chain(disk.directories.iter());
            let mut names: Vec<String> = all
                .filter(|name| *name != "/" && parent(name) == path)
                .map(|name| name[name.rfind('/').map_or(0, |at| at + 1)..].to_owned())
                .collect();
            names.sort();
            Ok(names)
        })
    }

    /// Gives a file another name, replacing what had that name, in one step.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        assert_eq!(parent(from), parent(to), "a rename stays within its directory");
        self.trace("rename", xxh3_64(from.as_bytes()), xxh3_64(to.as_bytes()), || format!("{from} to {to}"));
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let inode = disk.names.remove(from).ok_or(DiskError::NotFound)?;
            let replaced = disk.names.insert(to.to_owned(), inode);
            disk.change(to, DirectoryChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
            if let Some(replaced) = replaced {
                disk.forget(replaced);
            }
            Ok(())
        })
    }

    /// Removes a file, or an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.trace_path("remove", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let Some(inode) = disk.names.remove(path) else {
                let holds = |name: &String| parent(name) == path;
                let empty = !disk.names.keys().any(holds) && !disk.directories.iter().any(holds);
                if !disk.directories.contains(path) || !empty {
                    return Err(DiskError::NotFound);
                }
                disk.directories.remove(path);
                disk.durable_directories.remove(path);
                return Ok(());
            };
            disk.change(path, DirectoryChange::Unlink(path.to_owned()));
            disk.forget(inode);
            Ok(())
        })
    }

    /// Whether a file or directory has this name.
    pub async fn exists(&self, path: &str) -> bool {
        self.with(|disk| disk.names.contains_key(path) || disk.directories.contains(path))
    }

    /// Bytes still free.
    pub fn free(&self) -> u64 {
        self.with(
            |disk| if 0 < disk.faults.full { 0 } else { disk.spec.capacity.get().saturating_sub(disk.used) },
        )
    }
}

/// An open file. It stays usable after its name is gone.
#[derive(Clone)]
pub struct File {
    disk: Disk,
    inode: Inode,
    path: Rc<str>,
    reads: Rc<Cell<u64>>,
}

impl File {
    fn with<T>(
        &self,
        then: impl FnOnce(&mut DiskState, Inode) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        self.disk.with(|disk| {
            if disk.files.contains_key(&self.inode) {
                then(disk, self.inode)
            } else {
                Err(DiskError::NotFound)
            }
        })
    }

    /// Its name when it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads up to `len` bytes at `offset`; fewer at the end of the file.
    ///
    /// # Errors
    /// `Io`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let (bytes, done) = self.with(|disk, inode| {
            disk.fails(DiskOperation::Read)?;
            let file = disk.files.get_mut(&inode).expect("checked by with");
            let start = (offset as usize).min(file.content.len());
            let end = start.saturating_add(len).min(file.content.len());
            let bytes = Bytes::copy_from_slice(&file.content[start..end]);
            let whole = file.content.len() as u64;
            if std::mem::replace(&mut file.cached, true) {
                return Ok((bytes, None));
            }
            let latency = disk.spec.read;
            Ok((bytes, Some(disk.serve(self.disk.host.now(), latency, whole))))
        })?;
        if let Some(done) = done {
            self.reads.set(self.reads.get() + 1);
            self.disk.trace("read", self.inode, offset, || format!("{} at {offset}", self.path));
            self.disk.host.sleep_until(done).await;
        }
        Ok(bytes)
    }

    /// Writes at `offset`; a gap before it reads as zeros. Durable after `sync`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`; nothing is written then.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.trace("write", self.inode ^ offset.rotate_left(32), xxh3_64(bytes), || {
            format!("{} at {offset} ({} B)", self.path, bytes.len())
        });
        self.with(|disk, inode| {
            disk.fails(DiskOperation::Write)?;
            let file = disk.files.get(&inode).expect("checked by with");
            let more = (offset + bytes.len() as u64).saturating_sub(file.content.len() as u64);
            disk.room_for(more)?;
            disk.used += more;
            disk.files.get_mut(&inode).expect("checked by with").write(offset, bytes);
            Ok(())
        })
    }

    /// Writes at the end of the file. Returns where the bytes begin.
    ///
    /// # Errors
    /// `NoSpace`, `Io`; nothing is written then.
    pub async fn append(&self, bytes: &[u8]) -> Result<u64, DiskError> {
        let offset = self.len();
        self.write_at(offset, bytes).await?;
        Ok(offset)
    }

    /// Cuts the file, or extends it with zeros. Durable after `sync`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub async fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.disk.trace("set-len", self.inode, len, || format!("{} to {len}", self.path));
        self.with(|disk, inode| {
            disk.fails(DiskOperation::Write)?;
            let old = disk.files.get(&inode).expect("checked by with").content.len() as u64;
            disk.room_for(len.saturating_sub(old))?;
            disk.used = disk.used + len - old;
            disk.files.get_mut(&inode).expect("checked by with").set_len(len);
            Ok(())
        })
    }

    /// Makes durable what the file holds now and its length (not its name: see [`Disk::sync_dir`]).
    ///
    /// # Errors
    /// `Io`: what was unsynced is not durable, and a later sync will not make it so.
    pub async fn sync(&self) -> Result<(), DiskError> {
        // One sync a file at a time; a second waits, then covers what came since.
        poll_fn(|context| {
            let busy = self.disk.with(|disk| match disk.files.get_mut(&self.inode) {
                Some(file) if file.syncing.is_some() => {
                    file.sync_waiters.push(context.waker().clone());
                    true
                }
                _ => false,
            });
            if busy { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let under_way = SyncUnderWay { file: self, over: Cell::new(false) };
        let done = self.with(|disk, inode| {
            let bytes = disk.files.get_mut(&inode).expect("checked by with").begin_sync();
            let latency = disk.spec.sync;
            Ok(disk.serve(self.disk.host.now(), latency, bytes))
        })?;
        self.disk.host.sleep_until(done).await;
        under_way.finish()
    }

    /// Its length as the page cache shows it.
    pub fn len(&self) -> u64 {
        self.disk.with(|disk| disk.files.get(&self.inode).map_or(0, |file| file.content.len() as u64))
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A sync between its request and its completion. If the process stops waiting, what it covered may be durable or not.
struct SyncUnderWay<'file> {
    file: &'file File,
    over: Cell<bool>,
}

impl SyncUnderWay<'_> {
    fn finish(&self) -> Result<(), DiskError> {
        self.over.set(true);
        let failed = self.file.disk.with(|disk| disk.fails(DiskOperation::Fsync));
        self.file
            .disk
            .trace("sync", self.file.inode, u64::from(failed.is_err()), || self.file.path.to_string());
        self.file.with(|disk, inode| {
            disk.files.get_mut(&inode).expect("checked by with").end_sync(if failed.is_ok() {
                SyncEnd::Durable
            } else {
                SyncEnd::Failed
            });
            failed
        })
    }
}

impl Drop for SyncUnderWay<'_> {
    fn drop(&mut self) {
        if !self.over.get() {
            self.file.disk.with(|disk| {
                if let Some(file) = disk.files.get_mut(&self.file.inode) {
                    file.end_sync(SyncEnd::Unknown);
                }
            });
        }
    }
}
