//! One segment of a log: a file of whole batches, and a sparse index from offsets to positions beside it.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::systems::broker::epochs::Epochs;
use crate::systems::broker::id::Offset;
use crate::systems::broker::log::{Limit, LogError, Trust};
use crate::systems::broker::records::{Batch, BatchError, batches};
use crate::world::{Disk, File, Open};

/// A segment, open.
pub struct Segment {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind its last record.
    end: Offset,
    /// Bytes of batches.
    pub size: u64,
    /// The latest timestamp among its records, in milliseconds.
    pub timestamp_max: i64,
    file: File,
    index_file: File,
    index: Vec<(u32, u32)>,
    index_interval: u64,
    since_index: u64,
    /// Where the latest batches stand, each by its first offset: most fetches begin there.
    latest: VecDeque<(Offset, u64)>,
}

/// How many of the latest batches are remembered by their place.
const LATEST_MAX: usize = 64;

/// The files of a segment, by name.
pub fn paths(directory: &str, base: Offset) -> (String, String) {
    (format!("{directory}/{:020}.log", base.get()), format!("{directory}/{:020}.index", base.get()))
}

impl Segment {
    /// Creates an empty segment. Its name is durable once the directory is synced.
    pub async fn create(
        disk: &Disk,
        directory: &str,
        base: Offset,
        index_interval: u64,
    ) -> Result<Self, LogError> {
        let (log, index) = paths(directory, base);
        Ok(Self {
            base,
            end: base,
            size: 0,
            timestamp_max: i64::MIN,
            file: disk.open(&log, Open::Truncate).await?,
            index_file: disk.open(&index, Open::Truncate).await?,
            index: Vec::new(),
            index_interval,
            since_index: 0,
            latest: VecDeque::new(),
        })
    }

    /// Opens a segment and reads all of it, as far as it is trusted: batches that follow on one another, of the epochs that were
    /// written down. After an unclean end the index is made anew. Returns the batches found, and whether anything was cut.
    pub async fn recover(
        disk: &Disk,
        directory: &str,
        base: Offset,
        index_interval: u64,
        (trust, written): (Trust, &Epochs),
    ) -> Result<(Self, Vec<Batch>, bool), LogError> {
        let (log, index) = paths(directory, base);
        let file = disk.open(&log, Open::Existing).await?;
        let index_file = disk.open(&index, Open::Create).await?;
        let bytes = file.read_at(0, file.len() as usize).await?;
        let mut segment = Self {
            base,
            end: base,
            size: 0,
            timestamp_max: i64::MIN,
            file,
            index_file,
            index: Vec::new(),
            index_interval,
            since_index: 0,
            latest: VecDeque::new(),
        };
        let mut found: Vec<Batch> = Vec::new();
        for parsed in verified(&bytes, base, written) {
            let Ok((_, batch)) = parsed else { break };
            segment.note(&batch);
            found.push(batch);
        }
        let torn = segment.size < bytes.len() as u64;
        if torn && trust != Trust::Torn {
            return Err(segment.damaged());
        }
        if torn {
            segment.file.set_len(segment.size).await?;
            segment.file.sync().await?;
        }
        if trust != Trust::Closed || !segment.index_is_sound().await? {
            segment.write_index().await?;
        }
        Ok((segment, found, torn))
    }

    fn damaged(&self) -> LogError {
        LogError::Corrupt(self.file.path().to_owned())
    }

    async fn index_is_sound(&self) -> Result<bool, LogError> {
        let mut bytes = self.index_file.read_at(0, self.index_file.len() as usize).await?;
        let mut entries = Vec::new();
        while 8 <= bytes.len() {
            entries.push((bytes.get_u32(), bytes.get_u32()));
        }
        Ok(entries == self.index)
    }

    async fn write_index(&self) -> Result<(), LogError> {
        let mut bytes = Vec::with_capacity(self.index.len() * 8);
        for (offset, position) in &self.index {
            bytes.extend(offset.to_be_bytes());
            bytes.extend(position.to_be_bytes());
        }
        self.index_file.set_len(0).await?;
        self.index_file.write_at(0, &bytes).await?;
        Ok(())
    }

    /// Counts a batch that stands at the end; true if the index has a new entry for it.
    fn note(&mut self, batch: &Batch) -> bool {
        let position = self.size;
        if self.latest.len() == LATEST_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back((batch.base, position));
        self.end = batch.last.next();
        self.size += batch.size as u64;
        self.timestamp_max = self.timestamp_max.max(batch.timestamp_max);
        self.since_index += batch.size as u64;
        let due = self.index_interval <= self.since_index;
        if due {
            self.since_index = 0;
            self.index.push(((batch.base.get() - self.base.get()) as u32, position as u32));
        }
        due
    }

    /// Appends a stamped batch.
    pub async fn append(&mut self, batch: &Batch, bytes: &[u8]) -> Result<(), LogError> {
        self.file.write_at(self.size, bytes).await?;
        if self.note(batch) {
            let (offset, position) = self.index[self.index.len() - 1];
            let mut entry = offset.to_be_bytes().to_vec();
            entry.extend(position.to_be_bytes());
            self.index_file.write_at((self.index.len() as u64 - 1) * 8, &entry).await?;
        }
        Ok(())
    }

    /// Where the batch with `offset` can be looked for; behind the last one, where the next will stand.
    pub fn position(&self, offset: Offset) -> u64 {
        self.place(offset).1
    }

    /// The same, with the offset of the batch that stands there.
    fn place(&self, offset: Offset) -> (Offset, u64) {
        if self.end <= offset {
            return (self.end, self.size);
        }
        let at_or_before = self.latest.partition_point(|(base, _)| *base <= offset);
        if let Some(at) = at_or_before.checked_sub(1) {
            return self.latest[at];
        }
        let relative = (offset.get() - self.base.get()).max(0) as u32;
        let after = self.index.partition_point(|(known, _)| *known <= relative);
        after.checked_sub(1).map_or((self.base, 0), |at| {
            let (relative, position) = self.index[at];
            (self.base.plus(i64::from(relative)), u64::from(position))
        })
    }

    /// Whole batches from the one that holds `from`, up to `limit` and below `upto`; each is verified.
    pub async fn read(
        &self,
        (from, upto): (Offset, Offset),
        limit: Limit,
        epochs: &Epochs,
    ) -> Result<Bytes, LogError> {
        let Limit { bytes_max, at_least_one } = limit;
        let (base, start) = self.place(from);
        let mut length = bytes_max.saturating_add(self.index_interval as usize * 2);
        loop {
            let bytes = self.file.read_at(start, length).await?;
            let reached_end = start + bytes.len() as u64 == self.size;
            let (mut first, mut end) = (None, 0);
            for parsed in verified(&bytes, base, epochs) {
                let (at, batch) = match parsed {
                    Ok(found) => found,
                    Err(BatchError::Truncated) if !reached_end => break,
                    Err(_) => return Err(self.damaged()),
                };
                if batch.last < from {
                    continue;
                }
                if upto <= batch.last {
                    break;
                }
                let begin = *first.get_or_insert(at);
                if (begin < end || !at_least_one) && bytes_max < at + batch.size - begin {
                    break;
                }
                end = at + batch.size;
            }
            match first {
                Some(first) if first < end => return Ok(bytes.slice(first..end)),
                // Its first batch is too large, and must not be.
                Some(_) if !at_least_one => return Ok(Bytes::new()),
                _ if reached_end => return Ok(Bytes::new()),
                // The one batch is larger than what was read.
                _ => length = length.saturating_mul(2),
            }
        }
    }

    /// All batches of the segment, verified.
    pub async fn scan(&self, epochs: &Epochs) -> Result<Vec<(u64, Batch)>, LogError> {
        let bytes = self.file.read_at(0, self.size as usize).await?;
        let all =
            verified(&bytes, self.base, epochs).map(|parsed| parsed.map(|(at, batch)| (at as u64, batch)));
        all.collect::<Result<_, _>>().map_err(|_| self.damaged())
    }

    /// Cuts everything from the batch that holds `to` on.
    pub async fn truncate(&mut self, to: Offset, epochs: &Epochs) -> Result<(), LogError> {
        let all = self.scan(epochs).await?;
        let keep = all.partition_point(|(_, batch)| batch.last < to);
        self.end = self.base;
        self.size = 0;
        self.index.clear();
        self.latest.clear();
        self.since_index = 0;
        self.timestamp_max = i64::MIN;
        for (_, batch) in &all[..keep] {
            self.note(batch);
        }
        self.file.set_len(self.size).await?;
        self.write_index().await
    }

    /// Makes durable what it holds.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.file.sync().await?;
        self.index_file.sync().await?;
        Ok(())
    }
}

/// The batches in `bytes`, each at the offset at which the one before ends, the first at `base`, and of the epoch that was written down:
/// a batch's checksum covers neither its base nor its epoch. Up to the first error.
fn verified(
    bytes: &[u8],
    base: Offset,
    epochs: &Epochs,
) -> impl Iterator<Item = Result<(usize, Batch), BatchError>> {
    let mut expected = base;
    batches(bytes, true).map(move |parsed| {
        let (at, batch) = parsed?;
        if batch.base != expected || epochs.at(expected) != Some(batch.epoch) {
            return Err(BatchError::Corrupt);
        }
        expected = batch.last.next();
        Ok((at, batch))
    })
}
