//! The transaction log on disk: files of checksummed records, in order of their zxids.
//!
//! A record is its length, its CRC-32C, the zxid that it follows, and the transaction. What was synced is never lost; of what was not,
//! recovery keeps the longest whole prefix. Only the last file can have a torn tail, because a file is synced before the next one
//! begins. What a record follows tells a hole from a new epoch: the first transaction of one may come after any of the one before.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::systems::coordination::storage::StorageError;
use crate::systems::coordination::txn::Txn;
use crate::systems::coordination::zxid::Zxid;
use crate::world::property::bug;
use crate::world::{Disk, File, Open};

const HEADER: usize = 8;

/// What the end of the last file may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// All that was ever written: the machine has had power since.
    Whole,
    /// Torn by a loss of power.
    MayBeTorn,
}

/// The log of one server, open for appending.
#[derive(Clone)]
pub struct Journal {
    disk: Disk,
    directory: String,
    /// The first zxid of each file, in order.
    files: Vec<Zxid>,
    open: Option<(File, u64)>,
    last: Zxid,
}

/// A transaction as it stands in the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The transaction before it; zero if there was none.
    pub after: Zxid,
    /// What changes.
    pub txn: Txn,
}

/// The records of a file as far as they are whole.
struct Scan {
    /// Each with its place.
    records: Vec<(u64, Record)>,
    whole: u64,
    torn: bool,
}

fn scan(mut bytes: Bytes) -> Scan {
    let all = bytes.len() as u64;
    let mut records = Vec::new();
    let mut at = 0;
    loop {
        let record = (HEADER <= bytes.len())
            .then(|| {
                let (length, crc) = (bytes.get_u32() as usize, bytes.get_u32());
                // A hole of zeros reads as an empty record: the log ends there.
                (0 < length && length <= bytes.len())
                    .then(|| bytes.split_to(length))
                    .filter(|body| crc32c::crc32c(body) == crc)
            })
            .flatten()
            .and_then(|body| Some((HEADER + body.len(), postcard::from_bytes::<(Zxid, Txn)>(&body).ok()?)));
        let Some((length, (after, txn))) = record else {
            return Scan { records, whole: at, torn: at != all };
        };
        records.push((at, Record { after, txn }));
        at += length as u64;
    }
}

fn encoded(after: Zxid, txn: &Txn) -> BytesMut {
    let body = postcard::to_stdvec(&(after, txn)).expect("a transaction holds only what postcard can write");
    let mut bytes = BytesMut::with_capacity(HEADER + body.len());
    bytes.put_u32(body.len() as u32);
    bytes.put_u32(crc32c::crc32c(&body));
    bytes.put_slice(&body);
    bytes
}

impl Journal {
    /// Reads the log in a directory: all whole records, and the log, open behind the last of them.
    ///
    /// The last file is written anew: a page whose sync has failed reads well from the cache, counts as clean, and is gone after a
    /// power loss (Rebello et al., USENIX ATC 2020), so that only a new file can be trusted.
    ///
    /// # Errors
    /// If the disk fails, or a record is damaged that no loss of power can have torn.
    pub async fn recover(
        disk: Disk,
        directory: &str,
        tail: Tail,
    ) -> Result<(Self, Vec<Record>), StorageError> {
        let names = disk.list(directory).await?;
        let mut files: Vec<Zxid> = names.iter().filter_map(|name| parse(name)).collect();
        files.sort();
        let mut journal = Self {
            disk,
            directory: directory.to_owned(),
            files: files.clone(),
            open: None,
            last: Zxid::ZERO,
        };
        let mut records: Vec<Record> = Vec::new();
        for (at, first) in files.iter().enumerate() {
            let file = journal.disk.open(&journal.path(*first), Open::Existing).await?;
            let bytes = file.read_at(0, file.len() as usize).await?;
            let found = scan(bytes.clone());
            let is_last = at + 1 == files.len();
            if found.torn {
                // The known bugs take any damage for a torn end, and go on as if they had never acknowledged what they cut off.
                if !is_last || tail == Tail::Whole && !bug("Z24") && !bug("Z10") {
                    return Err(StorageError::Corrupt(journal.path(*first)));
                }
                crate::reached!("coordination cut a torn transaction log");
            }
            if is_last {
                journal.rewrite(*first, &bytes[..found.whole as usize]).await?;
            }
            records.extend(found.records.into_iter().map(|(_, record)| record));
        }
        journal.last = records.last().map_or(Zxid::ZERO, |record| record.txn.zxid);
        Ok((journal, records))
    }

    /// What is appended next follows a snapshot that reaches up to `zxid`, if that is further than the log does.
    pub fn continue_after(&mut self, zxid: Zxid) {
        self.last = self.last.max(zxid);
    }

    async fn rewrite(&mut self, first: Zxid, content: &[u8]) -> Result<(), StorageError> {
        let path = self.path(first);
        let fresh = format!("{path}.tmp");
        let file = self.disk.open(&fresh, Open::Truncate).await?;
        file.write_at(0, content).await?;
        file.sync().await?;
        self.disk.rename(&fresh, &path).await?;
        self.disk.sync_dir(&self.directory).await?;
        self.open = Some((file, content.len() as u64));
        Ok(())
    }

    fn path(&self, first: Zxid) -> String {
        format!("{}/log.{:016x}", self.directory, first.get())
    }

    /// The last transaction in it, or in the snapshot that it continues.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// Adds a transaction; durable after `sync`.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn append(&mut self, txn: &Txn) -> Result<(), StorageError> {
        assert!(self.last < txn.zxid, "{} is logged after {}", txn.zxid, self.last);
        if self.open.is_none() {
            let file = self.disk.open(&self.path(txn.zxid), Open::Truncate).await?;
            self.disk.sync_dir(&self.directory).await?;
            self.files.push(txn.zxid);
            self.open = Some((file, 0));
        }
        let (file, end) = self.open.as_mut().expect("just opened");
        let record = encoded(self.last, txn);
        file.write_at(*end, &record).await?;
        *end += record.len() as u64;
        self.last = txn.zxid;
        Ok(())
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// If the disk fails: nothing that was not durable before is now, or will be.
    pub async fn sync(&self) -> Result<(), StorageError> {
        if let Some((file, _)) = &self.open {
            file.sync().await?;
        }
        Ok(())
    }

    /// Closes the present file; the next transaction begins another.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn roll(&mut self) -> Result<(), StorageError> {
        self.sync().await?;
        self.open = None;
        Ok(())
    }

    /// Removes every transaction after `to`.
    ///
    /// # Errors
    /// If the disk fails, or what is to be kept is damaged.
    pub async fn truncate(&mut self, to: Zxid) -> Result<(), StorageError> {
        while let Some(first) = self.files.last().copied().filter(|first| to < *first) {
            self.disk.remove(&self.path(first)).await?;
            self.disk.sync_dir(&self.directory).await?;
            self.files.pop();
            self.open = None;
        }
        let Some(first) = self.files.last().copied() else {
            self.last = Zxid::ZERO;
            return Ok(());
        };
        let file = self.disk.open(&self.path(first), Open::Existing).await?;
        let found = scan(file.read_at(0, file.len() as usize).await?);
        if found.torn {
            return Err(StorageError::Corrupt(self.path(first)));
        }
        let zxids = || found.records.iter().map(|(at, record)| (*at, record.txn.zxid));
        let cut = zxids().find(|(_, zxid)| to < *zxid).map_or(found.whole, |(at, _)| at);
        file.set_len(cut).await?;
        file.sync().await?;
        self.last = zxids().map(|(_, zxid)| zxid).take_while(|zxid| *zxid <= to).last().unwrap_or_default();
        self.open = Some((file, cut));
        Ok(())
    }

    /// The known bug Z10: goes on appending where the log ended before it was truncated, so that what follows lies behind a hole.
    pub fn append_behind(&mut self, before: &Self) {
        if let (Some((_, end)), Some((_, end_before))) = (&mut self.open, &before.open) {
            *end = (*end).max(*end_before);
        }
    }

    /// Removes files that hold nothing after `zxid`.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn purge(disk: &Disk, directory: &str, zxid: Zxid) -> Result<(), StorageError> {
        let mut files: Vec<Zxid> =
            disk.list(directory).await?.iter().filter_map(|name| parse(name)).collect();
        files.sort();
        for pair in files.windows(2) {
            if pair[1] <= zxid.next() {
                disk.remove(&format!("{directory}/log.{:016x}", pair[0].get())).await?;
            }
        }
        disk.sync_dir(directory).await?;
        Ok(())
    }
}

/// The first zxid of a log file, from its name.
fn parse(name: &str) -> Option<Zxid> {
    i64::from_str_radix(name.strip_prefix("log.")?, 16).ok().map(Zxid::from_wire)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::WallTime;
    use crate::base::damage::damaged;
    use crate::systems::coordination::txn::Change;
    use crate::systems::coordination::zxid::SessionId;

    fn record(counter: i64) -> BytesMut {
        let change = Change::CreateSession { time_out: 4000 };
        let (zxid, session) = (Zxid::from_wire(counter), SessionId::new(7));
        let txn = Txn { zxid, session, cxid: 3, time: WallTime::from_millis(5), change };
        encoded(Zxid::from_wire(counter - 1), &txn)
    }

    fn file() -> Vec<u8> {
        (1..4).flat_map(record).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What a disk gives back is a prefix of what was written, up to the first damage; and that damage is seen, by the scan itself or
        /// by whoever compares what each record follows with what stands before it.
        #[test]
        fn a_damaged_log_is_read_up_to_the_damage(bytes in damaged(vec![file()])) {
            let found = scan(bytes.clone().into());
            let (mut upto, sound) = (0, file());
            for (at, record) in &found.records {
                prop_assert_eq!(*at, upto);
                upto += encoded(record.after, &record.txn).len() as u64;
            }
            prop_assert_eq!(found.whole, upto);
            prop_assert_eq!(found.torn, found.whole != bytes.len() as u64);
            let written = |record: &Record| (1..4).any(|number| record.txn.zxid == Zxid::from_wire(number));
            prop_assert!(found.records.iter().all(|(_, record)| written(record)), "{:?}", found.records);
            let common = bytes.iter().zip(&sound).take_while(|(one, other)| one == other).count() as u64;
            let followed = followed(&found);
            prop_assert!(followed <= common, "{followed} of {common} bytes are believed");
        }
    }

    /// How many bytes of records there are before the first that follows something else than what stands before it.
    fn followed(found: &Scan) -> u64 {
        let mut last = Zxid::ZERO;
        let sound = found.records.iter().take_while(|(_, record)| {
            let follows = record.after == last;
            last = record.txn.zxid;
            follows
        });
        sound.map(|(_, record)| encoded(record.after, &record.txn).len() as u64).sum()
    }

    #[test]
    fn where_a_whole_record_is_missing_the_next_tells_that_it_followed_another() {
        let length = record(1).len();
        for (missing, sound) in [(0, 0), (1, length as u64), (2, 2 * length as u64)] {
            let mut bytes = file();
            bytes.drain(missing * length..(missing + 1) * length);
            let found = scan(bytes.into());
            assert_eq!((found.whole, followed(&found)), (2 * length as u64, sound), "record {missing}");
        }
    }
}
