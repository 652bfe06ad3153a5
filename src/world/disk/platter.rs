//! One disk: names and directories, what of them is durable, free space, the device's queue, and its faults of the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use crate::base::{Range, SimTime, Span};
use crate::world::chance::SplitMix;
use crate::world::disk::cache::FileState;
use crate::world::disk::lies::Lie;
use crate::world::disk::{DiskError, DiskOperation, DiskSpec};

pub(super) type Inode = u64;

/// A change of a directory that its next sync makes durable.
pub(super) enum DirectoryChange {
    Link(String, Inode),
    Unlink(String),
    Rename { from: String, to: String, inode: Inode },
    MakeDirectory(String),
}

/// A disk's faults of the moment. Counts, because faults may overlap.
#[derive(Default)]
pub(crate) struct DiskFaults {
    pub(crate) full: u32,
    pub(crate) failing: BTreeMap<DiskOperation, u32>,
    pub(crate) slow_factor: Option<f64>,
    /// What the device is asked for does not come back.
    pub(crate) stalled: u32,
    pub(crate) lies: Vec<Lie>,
}

/// What seeds a disk's dice: of what a power loss takes and how long requests last, and of lies.
pub(crate) struct DiceKeys {
    pub(crate) wear: u64,
    pub(crate) lies: u64,
}

/// All that a host's disk holds.
pub(crate) struct DiskState {
    pub(super) spec: DiskSpec,
    pub(super) dice: SplitMix,
    pub(super) lies_dice: SplitMix,
    /// What waits for the end of a stall.
    pub(super) stall_waiters: Vec<Waker>,
    pub(super) files: BTreeMap<Inode, FileState>,
    pub(super) inode_next: Inode,
    pub(super) names: BTreeMap<String, Inode>,
    pub(super) durable_names: BTreeMap<String, Inode>,
    pub(super) directories: BTreeSet<String>,
    pub(super) durable_directories: BTreeSet<String>,
    /// Changes not yet durable, per directory, oldest first.
    pub(super) pending: BTreeMap<String, Vec<DirectoryChange>>,
    pub(super) device_free: SimTime,
    pub(super) used: u64,
    pub(crate) faults: DiskFaults,
    /// Whether it has ever brought, kept or lost what it should not have.
    pub(super) has_lied: bool,
}

impl DiskState {
    pub(crate) fn new(spec: DiskSpec, keys: DiceKeys) -> Self {
        Self {
            spec,
            dice: SplitMix::new(keys.wear),
            lies_dice: SplitMix::new(keys.lies),
            stall_waiters: Vec::new(),
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
            has_lied: false,
        }
    }

    /// Whether anything would be at stake in a power loss now.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.pending.values().any(|changes| !changes.is_empty())
            || self.files.values().any(FileState::is_dirty)
    }

    /// Everything is gone: a new, empty disk.
    pub(crate) fn replace(&mut self) {
        let keys = DiceKeys { wear: self.dice.next(), lies: self.lies_dice.next() };
        let faults = std::mem::take(&mut self.faults);
        *self = Self::new(self.spec.clone(), keys);
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

    pub(super) fn harden(&mut self, change: DirectoryChange) {
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

    pub(super) fn change(&mut self, path: &str, change: DirectoryChange) {
        self.pending.entry(parent(path).to_owned()).or_default().push(change);
    }

    /// Drops files that no name, volatile or durable, leads to any more.
    pub(super) fn forget(&mut self, inode: Inode) {
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

    pub(super) fn fails(&self, operation: DiskOperation) -> Result<(), DiskError> {
        match self.faults.failing.get(&operation) {
            Some(count) if 0 < *count => Err(DiskError::Io(operation)),
            _ => Ok(()),
        }
    }

    pub(super) fn room_for(&self, more: u64) -> Result<(), DiskError> {
        let fits = self.faults.full == 0 && self.used + more <= self.spec.capacity.get();
        if fits || more == 0 { Ok(()) } else { Err(DiskError::NoSpace) }
    }

    /// A stall ends; those that others began may go on.
    pub(crate) fn end_stall(&mut self) {
        self.faults.stalled -= 1;
        if self.faults.stalled == 0 {
            self.stall_waiters.drain(..).for_each(Waker::wake);
        }
    }

    /// When the device has served a request of this latency and size.
    pub(super) fn serve(&mut self, now: SimTime, latency: Range<Span>, bytes: u64) -> SimTime {
        let (min, max) = (latency.min().get().as_nanos() as u64, latency.max().get().as_nanos() as u64);
        let nanos =
            min + self.dice.below(max - min + 1) + (bytes as f64 / self.spec.bandwidth.get() * 1e9) as u64;
        let slowed = (nanos as f64 * self.faults.slow_factor.unwrap_or(1.0)) as u64;
        self.device_free = self.device_free.max(now) + Duration::from_nanos(slowed);
        self.device_free
    }
}

pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// The directories above `path`, nearest first, without the root.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(parent(path)), |above| Some(parent(above))).take_while(|above| *above != "/")
}
