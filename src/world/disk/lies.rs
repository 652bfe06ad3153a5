//! What a disk does behind the kernel's back: writes that never reach the platter or land elsewhere, reads of another place or of an
//! older content, and bits that flip. Each is drawn from dice of its own.

use bytes::{Bytes, BytesMut};

use crate::base::Share;
use crate::world::disk::cache::{FileState, SECTOR_BYTES, SyncEnd};
use crate::world::disk::platter::{DiskState, Inode};
use crate::world::fault::rule::matches;

/// How a disk lies about a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LieKind {
    /// A write is acknowledged and never reaches the platter.
    LostWrite,
    /// A write is acknowledged and lands at another place.
    MisdirectedWrite,
    /// A read brings another place.
    MisdirectedRead,
    /// A read brings what stood there before the last write.
    StaleRead,
}

/// A lie that is in force.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Lie {
    pub(crate) kind: LieKind,
    /// Of which files, by their paths.
    pub(crate) files: String,
    /// How likely each sector is hit.
    pub(crate) chance: Share,
}

impl LieKind {
    /// Whether it shows in reads alone.
    fn is_of_reads(self) -> bool {
        match self {
            Self::MisdirectedRead | Self::StaleRead => true,
            Self::LostWrite | Self::MisdirectedWrite => false,
        }
    }
}

/// A lie that was told just now.
pub(super) struct Told {
    pub(super) kind: LieKind,
    pub(super) sector: u64,
}

impl DiskState {
    /// A lie begins. While reads lie the page cache keeps nothing clean, so that they come to the device at all.
    pub(crate) fn begin_lie(&mut self, lie: Lie) {
        if lie.kind.is_of_reads() {
            self.drop_clean(&lie.files);
        }
        self.faults.lies.push(lie);
    }

    /// A lie ends. The page cache lets go of what it took for clean: what was lost or misdirected shows from now on.
    pub(crate) fn end_lie(&mut self, lie: &Lie) {
        if let Some(at) = self.faults.lies.iter().position(|other| other == lie) {
            self.faults.lies.remove(at);
        }
        if !lie.kind.is_of_reads() {
            self.files.values_mut().for_each(FileState::drop_clean);
        }
    }

    fn drop_clean(&mut self, files: &str) {
        for (path, inode) in &self.names {
            if matches(files, path)
                && let Some(file) = self.files.get_mut(inode)
            {
                file.drop_clean();
            }
        }
    }

    /// Whether reads of this file come to the device, because some of them lie.
    pub(super) fn lies_when_read(&self, path: &str) -> bool {
        self.faults.lies.iter().any(|lie| lie.kind.is_of_reads() && matches(&lie.files, path))
    }

    /// The first lie in force of those asked for that hits a sector of this file now.
    fn lie_now(&mut self, path: &str, of_reads: bool) -> Option<LieKind> {
        let lies = self.faults.lies.iter();
        let mut asked = lies.filter(|lie| lie.kind.is_of_reads() == of_reads && matches(&lie.files, path));
        let told = asked.find(|lie| self.lies_dice.happens(lie.chance.get())).map(|lie| lie.kind);
        self.has_lied |= told.is_some();
        told
    }

    /// Ends a sync that the device has acknowledged. Returns which of its sectors it lied about.
    pub(super) fn acknowledge_sync(&mut self, inode: Inode, path: &str) -> Vec<Told> {
        let lies = self.faults.lies.iter().any(|lie| !lie.kind.is_of_reads());
        let written =
            if lies { self.files.get(&inode).map(FileState::being_synced) } else { None }.unwrap_or_default();
        let mut told = Vec::new();
        let mut strays = Vec::new();
        for (sector, bytes) in written {
            if let Some(kind) = self.lie_now(path, false) {
                told.push(Told { kind, sector });
                if kind == LieKind::MisdirectedWrite {
                    strays.push((sector, bytes));
                }
            }
        }
        if let Some(file) = self.files.get_mut(&inode) {
            file.end_sync(SyncEnd::Durable { dropped: told.iter().map(|told| told.sector).collect() });
        }
        for (sector, bytes) in strays {
            if let Some((victim, at)) = self.elsewhere(inode, sector)
                && let Some(file) = self.files.get_mut(&victim)
            {
                file.scribble(at, bytes);
            }
        }
        told
    }

    /// What the device brings of a file from `start` on, in place of `bytes`. Returns which sectors it lied about.
    pub(super) fn misread(
        &mut self,
        inode: Inode,
        path: &str,
        start: usize,
        bytes: Bytes,
    ) -> (Bytes, Vec<Told>) {
        let mut told = Vec::new();
        let mut brought = BytesMut::from(&bytes[..]);
        let end = start + bytes.len();
        for sector in (start / SECTOR_BYTES) as u64..end.div_ceil(SECTOR_BYTES) as u64 {
            // A dirty page cannot be dropped: it is read from the cache.
            if self.files[&inode].dirty.contains_key(&sector) {
                continue;
            }
            let Some(kind) = self.lie_now(path, true) else { continue };
            let other = match kind {
                LieKind::StaleRead => self.files[&inode].older(sector).map(<[u8]>::to_vec),
                _ => self
                    .elsewhere(inode, sector)
                    .and_then(|(other, at)| Some(self.files.get(&other)?.sector(at).to_vec())),
            };
            let Some(mut other) = other else { continue };
            told.push(Told { kind, sector });
            other.resize(SECTOR_BYTES, 0);
            let begin = sector as usize * SECTOR_BYTES;
            let (from, to) = (begin.max(start), (begin + SECTOR_BYTES).min(end));
            brought[from - start..to - start].copy_from_slice(&other[from - begin..to - begin]);
        }
        (brought.freeze(), told)
    }

    /// Another place on the platter: in the same file as often as in another.
    fn elsewhere(&mut self, inode: Inode, sector: u64) -> Option<(Inode, u64)> {
        let holds = |(other, file): (&Inode, &FileState)| {
            let enough = if *other == inode { 1 } else { 0 };
            (enough < file.sectors()).then_some(*other)
        };
        let others: Vec<Inode> = self.files.iter().filter_map(holds).collect();
        let within = others.contains(&inode) && (others.len() == 1 || self.lies_dice.happens(0.5));
        let others: Vec<Inode> = others.into_iter().filter(|other| (*other == inode) == within).collect();
        let victim = *others.get(self.lies_dice.below(others.len() as u64) as usize)?;
        let count = self.files.get(&victim)?.sectors();
        if victim != inode {
            return Some((victim, self.lies_dice.below(count)));
        }
        let at = self.lies_dice.below(count - 1);
        Some((victim, if at < sector { at } else { at + 1 }))
    }

    /// A bit flips in one of the files that match, each as likely as the others. Returns where, in words.
    pub(crate) fn rot(&mut self, files: &str) -> Option<String> {
        let holds = |(path, inode): (&String, &Inode)| {
            let sectors = self.files.get(inode).map_or(0, FileState::sectors);
            (0 < sectors && matches(files, path)).then(|| (path.clone(), *inode, sectors))
        };
        let all: Vec<(String, Inode, u64)> = self.names.iter().filter_map(holds).collect();
        let (path, inode, sectors) = all.get(self.lies_dice.below(all.len() as u64) as usize)?;
        let (sector, bit) = (self.lies_dice.below(*sectors), self.lies_dice.below(8 * SECTOR_BYTES as u64));
        let file = self.files.get_mut(inode)?;
        file.flip(sector, bit);
        file.drop_clean();
        self.has_lied = true;
        Some(format!("{path}, sector {sector}"))
    }
}
