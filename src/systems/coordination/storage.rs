//! What a server keeps on disk: two epochs, snapshots and the transaction log, and how it comes back from them.
//!
//! `/data/current` names the generation in use; a generation is a folder with the snapshots and logs of one history. A snapshot
//! that replaces the history (SNAP) becomes a new generation, so that taking it over is one rename.
//!
//! What is damaged is told from what a loss of power has torn: only the end of the last log can be torn, and only if the power was
//! gone since. A damaged snapshot is made good by an older one and its log. With any other damage the server may have forgotten what it
//! promised or acknowledged: it gives everything up, and takes part in no quorum (*distrusted*) until a leader whose epoch began
//! without it has handed it the whole history (after Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::systems::coordination::Config;
use crate::systems::coordination::database::Database;
use crate::systems::coordination::journal::{Journal, Record, Tail};
use crate::systems::coordination::snapshot;
use crate::systems::coordination::zxid::{PeerEpoch, Zxid};
use crate::systems::seal::{sealed, unsealed};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Disk, DiskError, Host, Open};

/// Why a server cannot go on with its disk.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk failed.
    #[error("disk: {0}")]
    Disk(#[from] DiskError),
    /// What was durable is damaged.
    #[error("{0} is damaged")]
    Corrupt(String),
}

/// The two numbers that fence old leaders (`acceptedEpoch` and `currentEpoch`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Epochs {
    /// The newest leader that this server has promised to follow.
    pub accepted: PeerEpoch,
    /// The newest leader whose history this server has taken over in whole.
    pub current: PeerEpoch,
}

/// The epochs as they stand on disk.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    epochs: Epochs,
    /// The life of the machine in which they were written.
    boot_id: u64,
}

/// A server's disk.
#[derive(Clone)]
pub struct Storage {
    disk: Disk,
    generation: u64,
    epochs: Epochs,
    boot_id: u64,
    /// Whether the power may have been gone since the log was last written.
    tail: Tail,
    distrusted: bool,
    committed_max: u32,
    snapshots_kept: usize,
}

const EPOCHS: &str = "/data/epochs";
const DISTRUSTED: &str = "/data/distrusted";
const CURRENT: &str = "/data/current";

async fn replace_value(disk: &Disk, path: &str, value: &impl Serialize) -> Result<(), StorageError> {
    let body = postcard::to_stdvec(value).expect("plain numbers");
    Ok(disk.replace(path, &sealed(&body)).await?)
}

async fn read_value<T: DeserializeOwned + Default>(disk: &Disk, path: &str) -> Result<T, StorageError> {
    let Some(content) = disk.read(path).await? else { return Ok(T::default()) };
    let value = unsealed(&content).and_then(|body| postcard::from_bytes(body).ok());
    value.ok_or_else(|| StorageError::Corrupt(path.to_owned()))
}

impl Storage {
    /// Opens the disk of a server, new or old.
    ///
    /// # Errors
    /// If the disk fails or what was durable is damaged.
    pub async fn open(host: &Host, config: &Config) -> Result<Self, StorageError> {
        let disk = host.disk();
        disk.create_dir_all("/data").await?;
        disk.sync_dir("/").await?;
        let distrusted = disk.exists(DISTRUSTED).await;
        if distrusted {
            give_up(&disk).await?;
        }
        let generation: u64 = read_value(&disk, CURRENT).await?;
        let Kept { epochs, boot_id } = read_value(&disk, EPOCHS).await?;
        let tail = if boot_id == host.boot_id() { Tail::Whole } else { Tail::MayBeTorn };
        let storage = Self {
            disk,
            generation,
            epochs,
            boot_id: host.boot_id(),
            tail,
            distrusted,
            committed_max: config.committed_log,
            snapshots_kept: config.snapshots_kept as usize,
        };
        storage.disk.create_dir_all(&storage.directory()).await?;
        storage.disk.sync_dir("/data").await?;
        Ok(storage)
    }

    /// What this disk holds is damaged: it is given up at the next opening, and the server distrusted.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn distrust(disk: &Disk) -> Result<(), StorageError> {
        Ok(disk.replace(DISTRUSTED, b"").await?)
    }

    /// Whether this server may have forgotten what it promised or acknowledged.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// A leader whose epoch began without this server has handed it the whole history: it may promise and acknowledge again.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn trust(disk: &Disk) -> Result<(), StorageError> {
        disk.remove(DISTRUSTED).await?;
        Ok(disk.sync_dir("/data").await?)
    }

    /// The folder of the history in use.
    pub fn directory(&self) -> String {
        format!("/data/{}", self.generation)
    }

    /// The epochs as they stand on disk.
    pub fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// Promises to follow no leader older than this.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn accept(&mut self, epoch: PeerEpoch) -> Result<(), StorageError> {
        assert!(self.epochs.accepted < epoch, "a promise is never taken back");
        self.set_epochs(Epochs { accepted: epoch, ..self.epochs }).await
    }

    /// Notes that this server holds the whole history of this leader.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn adopt(&mut self, epoch: PeerEpoch) -> Result<(), StorageError> {
        crate::always!(epoch <= self.epochs.accepted, "a server adopts no epoch that it has not accepted");
        self.set_epochs(Epochs { current: epoch, ..self.epochs }).await
    }

    async fn set_epochs(&mut self, epochs: Epochs) -> Result<(), StorageError> {
        replace_value(&self.disk, EPOCHS, &Kept { epochs, boot_id: self.boot_id }).await?;
        self.epochs = epochs;
        Ok(())
    }

    /// The state that the disk holds: the newest whole snapshot with the log replayed over it; and the log, open at its end.
    ///
    /// # Errors
    /// If the disk fails or what was durable is damaged.
    pub async fn recover(&self) -> Result<(Database, Journal), StorageError> {
        let directory = self.directory();
        let mut database = Database::new(self.committed_max);
        let mut damaged = Vec::new();
        for zxid in self.snapshots().await?.into_iter().rev() {
            let file = self.disk.open(&path(&directory, zxid), Open::Existing).await?;
            let bytes = file.read_at(0, file.len() as usize).await?;
            if let Some(found) = snapshot::read(bytes, self.committed_max) {
                database = found;
                break;
            }
            damaged.push((path(&directory, zxid), zxid));
        }
        let (mut journal, records) = Journal::recover(self.disk.clone(), &directory, self.tail).await?;
        for Record { after, txn } in records {
            if txn.zxid <= database.last() {
                continue;
            }
            // What lies between the state and a record that does not follow it is gone, with a damaged snapshot or from the log.
            // The known bug takes the first transaction of any epoch for one that follows.
            let follows = after == database.last() || bug("Z29") && txn.zxid.follows(database.last());
            if !follows {
                return Err(StorageError::Corrupt(damaged.pop().map_or(directory, |(snapshot, _)| snapshot)));
            }
            database.apply(&txn);
            database.remember(txn);
        }
        for (snapshot, claimed) in damaged {
            if database.last() < claimed {
                return Err(StorageError::Corrupt(snapshot));
            }
            crate::reached!("a coordination server came back from an older snapshot");
            self.disk.remove(&snapshot).await?;
        }
        journal.continue_after(database.last());
        Ok((database, journal))
    }

    async fn snapshots(&self) -> Result<Vec<Zxid>, StorageError> {
        let names = self.disk.list(&self.directory()).await?;
        let parse = |name: &String| i64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok();
        let mut zxids: Vec<Zxid> = names.iter().filter_map(parse).map(Zxid::from_wire).collect();
        zxids.sort();
        Ok(zxids)
    }

    /// Keeps a snapshot beside the log, and lets go of what it makes needless.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn save(&self, zxid: Zxid, image: Bytes) -> Result<(), StorageError> {
        let directory = self.directory();
        self.disk.replace(&path(&directory, zxid), &image).await?;
        self.disk.host().buggify_delay(&sites::SNAPSHOT_SAVED).await;
        let snapshots = self.snapshots().await?;
        let (old, kept) = snapshots.split_at(snapshots.len().saturating_sub(self.snapshots_kept));
        for zxid in old {
            self.disk.remove(&path(&directory, *zxid)).await?;
        }
        if let Some(oldest) = kept.first() {
            Journal::purge(&self.disk, &directory, *oldest).await?;
        }
        Ok(())
    }

    /// Makes a leader's snapshot the whole history of this server, in one step; what it replaces is removed afterwards.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn install(&mut self, zxid: Zxid, image: Bytes) -> Result<(), StorageError> {
        let old = self.directory();
        let generation = self.generation + 1;
        let fresh = format!("/data/{generation}");
        self.disk.create_dir_all(&fresh).await?;
        // A former attempt may have left its files.
        for name in self.disk.list(&fresh).await? {
            self.disk.remove(&format!("{fresh}/{name}")).await?;
        }
        self.disk.replace(&path(&fresh, zxid), &image).await?;
        self.disk.sync_dir("/data").await?;
        replace_value(&self.disk, CURRENT, &generation).await?;
        self.generation = generation;
        self.disk.host().buggify_delay(&sites::COPY_INSTALLED).await;
        for name in self.disk.list(&old).await? {
            self.disk.remove(&format!("{old}/{name}")).await?;
        }
        Ok(())
    }
}

/// Removes all that a distrusted server holds; its leader will hand it everything.
async fn give_up(disk: &Disk) -> Result<(), StorageError> {
    for name in disk.list("/data").await? {
        let path = format!("/data/{name}");
        if path == DISTRUSTED {
            continue;
        }
        // A file, or the folder of a history, which stays as it may be the one in use again.
        match disk.list(&path).await {
            Ok(files) => {
                for file in files {
                    disk.remove(&format!("{path}/{file}")).await?;
                }
                disk.sync_dir(&path).await?;
            }
            Err(DiskError::NotFound) => disk.remove(&path).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(disk.sync_dir("/data").await?)
}

fn path(directory: &str, zxid: Zxid) -> String {
    format!("{directory}/snapshot.{:016x}", zxid.get())
}
