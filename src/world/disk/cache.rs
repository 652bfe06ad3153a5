//! One file: what the page cache shows, what the platter holds, and which of its sectors differ. Knows nothing of names.
//!
//! A sector is *dirty* if the kernel knows that it differs from the platter, and *belied* if it differs though a sync has said otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use crate::world::chance::SplitMix;
use crate::world::disk::content::Content;

/// The unit that persists or is lost as a whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// How many sectors of a file are remembered as they were before they were last overwritten.
const OLDER_MAX: usize = 64;

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
#[derive(PartialEq, Eq)]
pub(super) enum SyncEnd {
    /// On the platter, except for those sectors of which the disk only said so.
    Durable {
        dropped: BTreeSet<u64>,
    },
    Failed,
    /// The process died before it heard; nothing may be concluded.
    Unknown,
}

#[derive(Default)]
pub(super) struct FileState {
    /// What the page cache shows.
    pub(super) content: Content,
    pub(super) dirty: BTreeMap<u64, Dirty>,
    /// What the platter really holds of sectors that count as clean.
    pub(super) belied: BTreeMap<u64, Box<[u8]>>,
    /// What the platter held of the last sectors before they were overwritten.
    pub(super) older: BTreeMap<u64, Box<[u8]>>,
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
                    let belied = self.belied.remove(&sector);
                    let platter = belied.unwrap_or_else(|| self.content.slice(start, durable).into());
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
            match (&end, rewritten) {
                (SyncEnd::Durable { dropped }, rewritten) => {
                    let written = !dropped.contains(&sector);
                    let older = match rewritten {
                        Some(platter) if written => Some(std::mem::replace(&mut dirty.platter, platter)),
                        Some(_) => None,
                        None => self.dirty.remove(&sector).map(|dirty| dirty.platter),
                    };
                    match older {
                        Some(older) if written => self.remember(sector, older),
                        Some(still) => {
                            self.belied.insert(sector, still);
                        }
                        None => {}
                    }
                }
                (SyncEnd::Failed, rewritten) => dirty.abandoned = rewritten.is_none(),
                (SyncEnd::Unknown, _) => {}
            }
        }
        if let SyncEnd::Durable { .. } = end {
            self.durable_len = len;
        }
        self.sync_waiters.drain(..).for_each(Waker::wake);
    }

    fn remember(&mut self, sector: u64, older: Box<[u8]>) {
        if older.is_empty() {
            return;
        }
        self.older.insert(sector, older);
        if OLDER_MAX < self.older.len() {
            self.older.pop_first();
        }
    }

    /// The sectors that a sync under way covers, each with what it will have put on the platter.
    pub(super) fn being_synced(&self) -> Vec<(u64, Box<[u8]>)> {
        let covered = self.syncing.iter().flat_map(|(_, sectors)| sectors.iter());
        let written = covered.filter_map(|sector| {
            let dirty = self.dirty.get(sector)?;
            Some((*sector, dirty.at_sync.clone().unwrap_or_else(|| self.sector(*sector).into())))
        });
        written.collect()
    }

    /// How many sectors the platter holds of it.
    pub(super) fn sectors(&self) -> u64 {
        self.durable_len.div_ceil(SECTOR_BYTES as u64)
    }

    /// What the page cache shows of a sector.
    pub(super) fn sector(&self, sector: u64) -> &[u8] {
        let start = (sector as usize * SECTOR_BYTES).min(self.content.len());
        self.content.slice(start, (start + SECTOR_BYTES).min(self.content.len()))
    }

    /// What the platter held of a sector before it was last overwritten, if that is not long ago.
    pub(super) fn older(&self, sector: u64) -> Option<&[u8]> {
        self.older.get(&sector).map(|older| &older[..])
    }

    /// The platter gets something of which the kernel knows nothing.
    pub(super) fn scribble(&mut self, sector: u64, bytes: Box<[u8]>) {
        match self.dirty.get_mut(&sector) {
            Some(dirty) => dirty.platter = bytes,
            None => {
                self.belied.insert(sector, bytes);
            }
        }
    }

    /// One bit of a sector on the platter flips.
    pub(super) fn flip(&mut self, sector: u64, bit: u64) {
        let mut bytes: Box<[u8]> = match (self.dirty.get(&sector), self.belied.get(&sector)) {
            (Some(dirty), _) => dirty.platter.clone(),
            (None, Some(belied)) => belied.clone(),
            (None, None) => self.sector(sector).into(),
        };
        let bits = bytes.len() as u64 * 8;
        if bits == 0 {
            return;
        }
        bytes[(bit % bits / 8) as usize] ^= 1 << (bit % 8);
        self.scribble(sector, bytes);
    }

    /// The kernel lets go of all pages that it takes for clean: from now on the cache shows what the platter holds.
    pub(super) fn drop_clean(&mut self) {
        self.cached = false;
        for (sector, bytes) in std::mem::take(&mut self.belied) {
            self.show(sector, &bytes);
        }
    }

    /// Puts what the platter holds of a sector, and zeros behind it, into the part of the sector that lies within the file.
    fn show(&mut self, sector: u64, platter: &[u8]) {
        let start = sector as usize * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.content.len());
        if start < end {
            let mut sector = [0; SECTOR_BYTES];
            let held = platter.len().min(end - start);
            sector[..held].copy_from_slice(&platter[..held]);
            self.content.write(start, &sector[..end - start]);
        }
    }

    /// What remains after a power loss. Returns how many unsynced sectors survived and how many were lost.
    pub(super) fn lose_power(&mut self, dice: &mut SplitMix) -> (u64, u64) {
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
            self.show(sector, &state.platter);
        }
        self.durable_len = len;
        self.drop_clean();
        (kept, lost)
    }
}
