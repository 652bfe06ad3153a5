//! One file: what the page cache shows, what the platter holds, and which of its sectors differ. Knows nothing of names.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::world::chance::SplitMix;
use crate::world::disk::content::Content;

/// The unit that persists or is lost as a whole.
const SECTOR_BYTES: usize = 512;

/// A sector that differs from the platter.
pub(super) struct Dirty {
    /// What the platter holds; empty where it holds nothing.
    platter: Box<[u8]>,
    /// What a sync under way will have put on the platter, if the sector was written again since that sync began.
    at_sync: Option<Box<[u8]>>,
    /// A sync of it failed, and the kernel has marked it clean: no later sync covers it unless it is written again.
    abandoned: bool,
}

/// How a sync ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncEnd {
    Durable,
    Failed,
    /// The process died before it heard; nothing may be concluded.
    Unknown,
}

#[derive(Default)]
pub(super) struct FileState {
    /// What the page cache shows.
    pub(super) content: Content,
    pub(super) dirty: BTreeMap<u64, Dirty>,
    pub(super) durable_len: u64,
    /// A sync is under way; the length it will make durable, and the sectors it covers.
    pub(super) syncing: Option<(u64, BTreeSet<u64>)>,
    pub(super) sync_waiters: Vec<Waker>,
    pub(super) cached: bool,
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
                        dirty.at_sync = Some(self.content.slice(start, end).into());
                    }
                }
                None => {
                    let durable = (self.durable_len as usize).clamp(start, end);
                    let platter = self.content.slice(start, durable).into();
                    self.dirty.insert(sector, Dirty { platter, at_sync: None, abandoned: false });
                }
            }
        }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        self.touch(offset.min(self.content.len() as u64), end);
        self.content.write(offset as usize, bytes);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let old = self.content.len() as u64;
        self.touch(len.min(old), len.max(old));
        self.content.resize(len as usize);
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.durable_len != self.content.len() as u64
    }

    pub(super) fn begin_sync(&mut self) -> u64 {
        let sectors: BTreeSet<u64> =
            self.dirty.iter().filter(|(_, dirty)| !dirty.abandoned).map(|(sector, _)| *sector).collect();
        let bytes = sectors.len() * SECTOR_BYTES;
        self.syncing = Some((self.content.len() as u64, sectors));
        bytes as u64
    }

    pub(super) fn end_sync(&mut self, end: SyncEnd) {
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
    pub(super) fn lose_power(&mut self, dice: &mut SplitMix) -> (u64, u64) {
        self.cached = false;
        self.syncing = None;
        self.sync_waiters.clear();
        let cached = self.content.len();
        let dirty = std::mem::take(&mut self.dirty);
        let (shorter, longer) = (self.durable_len.min(cached as u64), self.durable_len.max(cached as u64));
        // The length is metadata of its own: either value may have reached the platter, or, after appends, one in between.
        let len = match dice.below(3) {
            0 => self.durable_len,
            1 => cached as u64,
            _ => shorter + dice.below(longer - shorter + 1),
        };
        self.content.resize(len as usize);
        let (mut kept, mut lost) = (0, 0);
        for (sector, state) in dirty {
            let start = sector as usize * SECTOR_BYTES;
            if dice.happens(0.5) && start < cached && !state.abandoned {
                kept += 1;
                continue;
            }
            lost += 1;
            let end = (start + SECTOR_BYTES).min(len as usize);
            if start < end {
                let mut sector = [0; SECTOR_BYTES];
                let old = state.platter.len().min(end - start);
                sector[..old].copy_from_slice(&state.platter[..old]);
                self.content.write(start, &sector[..end - start]);
            }
        }
        self.durable_len = len;
        (kept, lost)
    }
}
