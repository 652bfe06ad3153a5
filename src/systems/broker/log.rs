//! The log of one replica of one topic partition: segments, leader epochs, and what is known of producers.
//!
//! Promises: offsets increase; what `flush` covered survives a power loss; after a power loss the log is a prefix of what it was, cut at
//! the first damage, and everything derived (indexes, epochs, producers) fits it; what is damaged is never read as if it were sound.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::systems::broker::epochs::Epochs;
use crate::systems::broker::id::{LeaderEpoch, Offset};
use crate::systems::broker::producers::{Appended, Producers, Sequence};
use crate::systems::broker::records::{Batch, BatchError, batches, decode, holds, stamp};
use crate::systems::broker::segment::{Segment, paths};
use crate::systems::seal::{sealed, unsealed};
use crate::systems::sites;
use crate::world::{Disk, DiskError};

/// Why a log cannot do what it is asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error("disk: {0}")]
    Disk(#[from] DiskError),
    /// A segment is damaged that no loss of power can have torn.
    #[error("{0} is damaged")]
    Corrupt(String),
    /// What should be appended is no sound batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A batch of a producer does not follow the one before.
    #[error("out of order")]
    OutOfOrder,
    /// The producer was replaced by one of a newer epoch.
    #[error("the producer is fenced")]
    Fenced,
    /// There is no such offset in the log.
    #[error("{0} is out of range")]
    OutOfRange(Offset),
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings {
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// Bytes between two entries of an index.
    pub index_interval: u64,
}

/// How much of a log must be there when it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// All; it was closed in good order, so that what is derived from it stands beside it.
    Closed,
    /// All; what is derived from it is made anew.
    Written,
    /// Its end may have been lost with the power: it is cut at the first damage, and what is derived from it is made anew.
    Torn,
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// At most so many bytes.
    pub bytes_max: usize,
    /// But one batch in any case, so that readers get past a large one (KIP-74).
    pub at_least_one: bool,
}

/// A log, open.
pub struct Log {
    disk: Disk,
    directory: String,
    settings: LogSettings,
    segments: VecDeque<Segment>,
    /// May lie within the first segment.
    start: Offset,
    end: Offset,
    epochs: Epochs,
    producers: Producers,
    /// Batches beyond what was last taken as committed.
    recent: VecDeque<Batch>,
}

/// What became of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    /// Where the batch stands.
    pub appended: Appended,
    /// It had been appended before.
    pub duplicate: bool,
}

const EPOCHS_FILE: &str = "leader-epoch-checkpoint";

/// Removes the log in a directory. What an interrupted removal leaves is a log that ends earlier.
///
/// # Errors
/// If the disk fails.
pub async fn delete(disk: &Disk, directory: &str) -> Result<(), LogError> {
    for name in disk.list(directory).await?.iter().rev() {
        disk.remove(&format!("{directory}/{name}")).await?;
    }
    disk.remove(directory).await?;
    Ok(())
}

impl Log {
    /// Opens the log in a directory, creating what is missing.
    ///
    /// # Errors
    /// If the disk fails, or something lacks that is trusted to be there; nothing is changed then.
    pub async fn open(
        disk: &Disk,
        directory: &str,
        settings: LogSettings,
        trust: Trust,
    ) -> Result<Self, LogError> {
        disk.create_dir_all(directory).await?;
        let names = disk.list(directory).await?;
        let mut bases: Vec<Offset> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
            .map(Offset::new)
            .collect();
        bases.sort();
        let mut log = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            settings,
            segments: VecDeque::new(),
            start: bases.first().copied().unwrap_or_default(),
            end: Offset::new(0),
            epochs: Epochs::default(),
            producers: Producers::default(),
            recent: VecDeque::new(),
        };
        let written = log.read_epochs().await?;
        let mut torn = false;
        for (at, base) in bases.iter().enumerate() {
            if at != 0 && !torn && *base != log.end {
                if trust != Trust::Torn {
                    return Err(LogError::Corrupt(paths(directory, *base).0));
                }
                torn = true;
            }
            if torn {
                // After the damage nothing can be trusted to follow on what was kept.
                let (file, index) = paths(directory, *base);
                disk.remove(&file).await?;
                let _ = disk.remove(&index).await;
                continue;
            }
            let (segment, found, cut) =
                Segment::recover(disk, directory, *base, settings.index_interval, (trust, &written)).await?;
            torn = cut;
            log.end = found.last().map_or(*base, |last| last.last.plus(1));
            log.segments.push_back(segment);
            for batch in &found {
                log.epochs.note(batch.epoch, batch.base);
                log.note(batch);
            }
        }
        crate::sometimes!(torn, "a broker cut a torn tail in recovery");
        if log.segments.is_empty() {
            log.roll_at(Offset::new(0)).await?;
        }
        if trust != Trust::Closed || log.epochs != written {
            log.write_epochs().await?;
            disk.sync_dir(directory).await?;
        }
        Ok(log)
    }

    fn note(&mut self, batch: &Batch) {
        self.producers.note(batch);
        self.recent.push_back(*batch);
    }

    /// The offset of the first record that is kept.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The offset that the next record will have.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Bytes of batches.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Which epoch began where.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Appends a producer's batch as leader in `epoch`.
    ///
    /// # Errors
    /// See [`LogError`]; nothing is appended then.
    pub async fn append_as_leader(
        &mut self,
        bytes: &Bytes,
        epoch: LeaderEpoch,
    ) -> Result<AppendInfo, LogError> {
        let parsed: Result<Vec<(usize, Batch)>, BatchError> = batches(bytes, true).collect();
        let parsed = parsed?;
        // One batch for each partition and request, as clients since 0.11 send it.
        let [(_, sent)] = parsed[..] else { return Err(BatchError::Corrupt.into()) };
        if !holds(bytes, &sent) {
            return Err(BatchError::Corrupt.into());
        }
        if 0 <= sent.producer {
            match self.producers.judge(&sent, self.end) {
                Sequence::Next => {}
                Sequence::Duplicate(appended) => {
                    crate::reached!("a broker recognised a duplicate batch");
                    return Ok(AppendInfo { appended, duplicate: true });
                }
                Sequence::OutOfOrder => return Err(LogError::OutOfOrder),
                Sequence::Fenced => return Err(LogError::Fenced),
            }
        }
        let span = sent.last.get() - sent.base.get();
        let batch = Batch { base: self.end, last: self.end.plus(span), epoch, ..sent };
        let mut stamped = BytesMut::from(&bytes[..]);
        stamp(&mut stamped, self.end, epoch);
        self.append(&batch, &stamped).await?;
        let appended = Appended { base: batch.base, last: batch.last };
        Ok(AppendInfo { appended, duplicate: false })
    }

    /// Appends what a leader sent: whole batches with their offsets and epochs. An unfinished one at the end is left out.
    ///
    /// # Errors
    /// `Corrupt` if a checksum is wrong or the offsets do not follow on this log.
    pub async fn append_as_follower(&mut self, bytes: &Bytes) -> Result<(), LogError> {
        for parsed in batches(bytes, true) {
            let (at, batch) = match parsed {
                Err(BatchError::Truncated) => break,
                parsed => parsed?,
            };
            if batch.last < self.end {
                continue;
            }
            if batch.base != self.end {
                return Err(LogError::OutOfRange(batch.base));
            }
            self.append(&batch, &bytes[at..at + batch.size]).await?;
        }
        Ok(())
    }

    async fn append(&mut self, batch: &Batch, bytes: &[u8]) -> Result<(), LogError> {
        let active = self.segments.back().expect("a log has a segment");
        if 0 < active.size && self.settings.segment_bytes < active.size + bytes.len() as u64 {
            self.roll_at(batch.base).await?;
        }
        // Before the batch: one whose epoch is not written down counts as damaged at the next start.
        if self.epochs.note(batch.epoch, batch.base) {
            self.write_epochs().await?;
            self.disk.host().buggify_delay(&sites::EPOCH_WRITTEN).await;
        }
        self.segments.back_mut().expect("a log has a segment").append(batch, bytes).await?;
        self.end = batch.last.plus(1);
        self.note(batch);
        Ok(())
    }

    /// Closes the active segment, durably, and begins another.
    async fn roll_at(&mut self, base: Offset) -> Result<(), LogError> {
        if let Some(active) = self.segments.back() {
            active.flush().await?;
        }
        let segment =
            Segment::create(&self.disk, &self.directory, base, self.settings.index_interval).await?;
        self.disk.host().buggify_delay(&sites::SEGMENT_CREATED).await;
        self.disk.sync_dir(&self.directory).await?;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Whole batches from the one that holds `from`, up to `limit` and below `upto`.
    ///
    /// # Errors
    /// `OutOfRange` if `from` is not within the log.
    pub async fn read(&self, from: Offset, upto: Offset, limit: Limit) -> Result<Bytes, LogError> {
        if from < self.start() || self.end < from {
            return Err(LogError::OutOfRange(from));
        }
        if upto <= from {
            return Ok(Bytes::new());
        }
        let at = self.segments.partition_point(|segment| segment.base <= from) - 1;
        self.segments[at].read((from, upto), limit, &self.epochs).await
    }

    /// How many bytes stand from one offset up to another, give or take a few batches; `None` if they are not all in the active segment.
    pub fn bytes_between(&self, from: Offset, upto: Offset) -> Option<u64> {
        let active = self.segments.back().filter(|active| active.base <= from && from <= self.end)?;
        Some(if upto <= from { 0 } else { active.position(upto) - active.position(from) })
    }

    /// Whether the record at `offset` stands in a segment that is closed: a fetch there never grows by waiting.
    pub fn is_closed_at(&self, offset: Offset) -> bool {
        self.segments.back().is_some_and(|active| offset < active.base)
    }

    /// The first record made at a timestamp or later, and when it was made.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(Offset, i64)>, LogError> {
        let one_batch = Limit { bytes_max: 0, at_least_one: true };
        for segment in self.segments.iter().filter(|segment| timestamp <= segment.timestamp_max) {
            let batches = segment.scan(&self.epochs).await?.into_iter().map(|(_, batch)| batch);
            for batch in batches.filter(|batch| timestamp <= batch.timestamp_max) {
                let records =
                    decode(segment.read((batch.base, batch.last.next()), one_batch, &self.epochs).await?);
                let mut made = records.into_iter().flatten().map(|(at, record)| (at, record.timestamp));
                if let Some(found) = made.find(|(at, made)| self.start <= *at && timestamp <= *made) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Removes every batch that holds a record at or after `to`.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn truncate(&mut self, to: Offset) -> Result<(), LogError> {
        if self.end <= to {
            return Ok(());
        }
        self.disk.host().buggify_delay(&sites::CUT).await;
        if to < self.start() {
            return self.start_at(to).await;
        }
        while 1 < self.segments.len() && self.segments.back().is_some_and(|segment| to <= segment.base) {
            let segment = self.segments.pop_back().expect("more than one");
            self.remove(&segment).await?;
        }
        let active = self.segments.back_mut().expect("a log has a segment");
        active.truncate(to, &self.epochs).await?;
        let mut end = active.base;
        self.producers.clear();
        for segment in &self.segments {
            for (_, batch) in segment.scan(&self.epochs).await? {
                self.producers.note(&batch);
                end = batch.last.plus(1);
            }
        }
        self.end = end;
        self.recent.retain(|batch| batch.last < end);
        if self.epochs.truncate_end(end) {
            self.disk.host().buggify_delay(&sites::CUT_EPOCHS).await;
            self.write_epochs().await?;
        }
        Ok(())
    }

    /// Removes everything; the next record will have this offset.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn start_at(&mut self, offset: Offset) -> Result<(), LogError> {
        while let Some(segment) = self.segments.pop_back() {
            self.remove(&segment).await?;
        }
        (self.start, self.end) = (offset, offset);
        self.epochs.clear();
        self.producers.clear();
        self.recent.clear();
        self.roll_at(offset).await?;
        self.write_epochs().await
    }

    async fn remove(&self, segment: &Segment) -> Result<(), LogError> {
        let (file, index) = paths(&self.directory, segment.base);
        self.disk.remove(&file).await?;
        self.disk.remove(&index).await?;
        Ok(())
    }

    /// Removes old segments: those whose records are all older than `older_than`, and as many as leave at least `size_max`. Nothing at
    /// or after `committed`, and the active one only for its age, behind a new one. Returns how many.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn retain(
        &mut self,
        older_than: Option<i64>,
        size_max: Option<u64>,
        committed: Offset,
    ) -> Result<usize, LogError> {
        let mut removed = 0;
        let is_old = |segment: &Segment| older_than.is_some_and(|limit| segment.timestamp_max < limit);
        let all_are_old = self.segments.iter().all(is_old);
        if all_are_old && self.segments.back().is_some_and(|active| 0 < active.size) && self.end <= committed
        {
            self.roll_at(self.end).await?;
        }
        while 1 < self.segments.len() && self.segments[1].base <= committed {
            let large = size_max.is_some_and(|max| max <= self.size() - self.segments[0].size);
            if !is_old(&self.segments[0]) && !large {
                break;
            }
            self.remove_first().await?;
            removed += 1;
        }
        if 0 < removed {
            self.start = self.start.max(self.segments[0].base);
            self.forget_removed().await?;
        }
        Ok(removed)
    }

    /// The log begins no earlier than at `to`, or at its end: segments that lie wholly before are removed, and what else does is read no
    /// more. True if that changed where it begins.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn raise_start(&mut self, to: Offset) -> Result<bool, LogError> {
        let to = to.min(self.end);
        if to <= self.start {
            return Ok(false);
        }
        self.start = to;
        let before = self.segments.len();
        while 1 < self.segments.len() && self.segments[1].base <= to {
            self.remove_first().await?;
        }
        if self.segments.len() < before {
            self.forget_removed().await?;
        }
        Ok(true)
    }

    async fn remove_first(&mut self) -> Result<(), LogError> {
        let segment = self.segments.pop_front().expect("there is one to remove");
        self.remove(&segment).await
    }

    /// Epochs are kept as far back as there are batches, also of those that are read no more: at the next start each must fit its epoch.
    async fn forget_removed(&mut self) -> Result<(), LogError> {
        self.epochs.truncate_start(self.segments[0].base);
        self.write_epochs().await
    }

    /// Makes durable all that it holds.
    ///
    /// # Errors
    /// If the disk fails: nothing that was not durable before is now.
    pub async fn flush(&self) -> Result<(), LogError> {
        // A log that has been deleted has none.
        let Some(active) = self.segments.back() else { return Ok(()) };
        active.flush().await?;
        self.disk.sync_dir(&self.directory).await?;
        Ok(())
    }

    /// The batches that lie wholly below `committed` and were not taken before.
    pub fn take_committed(&mut self, committed: Offset) -> Vec<Batch> {
        let count = self.recent.partition_point(|batch| batch.last < committed);
        self.recent.drain(..count).collect()
    }

    /// The epochs as they were written down: none if they are damaged, so that no batch counts as sound.
    async fn read_epochs(&self) -> Result<Epochs, LogError> {
        let path = format!("{}/{EPOCHS_FILE}", self.directory);
        let bytes = self.disk.read(&path).await?.unwrap_or_default();
        Ok(unsealed(&bytes).and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default())
    }

    async fn write_epochs(&self) -> Result<(), LogError> {
        let bytes = serde_json::to_vec(&self.epochs).expect("plain numbers");
        Ok(self.disk.replace(&format!("{}/{EPOCHS_FILE}", self.directory), &sealed(&bytes)).await?)
    }

    /// Removes the log from the disk. Nothing may be appended after.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn delete(&mut self) -> Result<(), LogError> {
        self.segments.clear();
        delete(&self.disk, &self.directory).await
    }
}
