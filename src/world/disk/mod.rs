//! A host's disk: a page cache over a platter, directories, and what can go wrong with them.
//!
//! Injects: power loss that drops, keeps or tears what was not synced, sector by sector (512 bytes) and in any order; directory
//! entries lost without a directory sync (of each directory a random number of the latest changes); a full disk; EIO on read, write
//! or sync; slow episodes; stalls, in which nothing comes back from the device. After a failed sync the data it covered is not durable,
//! even if a later sync succeeds, because the kernel has marked the pages clean (Rebello et al., "Can Applications Recover from fsync
//! Failures?", USENIX ATC 2020).
//!
//! A disk may lie, too (Bairavasundaram et al., "An Analysis of Data Corruption in the Storage Stack", FAST 2008), sector by sector: a
//! write is acknowledged and lost, or lands in another sector of the same or another file; a read brings another sector, or what the
//! sector held before it was last written (of each file the last 64 overwritten are remembered); a bit flips. What was lost or
//! misdirected shows once the page cache has let go of the page: when the fault ends, when a bit flips in that file, or at a power loss.
//! While reads lie the cache keeps nothing clean. A heal ends the lies; what is damaged by then stays damaged.
//!
//! Never: damages names, directories or the length of a file that was synced, tears a sector, stalls or lies about what the page cache
//! can serve, or tells of a lie.
//!
//! Cost: writes go to the cache at once; an uncached read and a sync wait for the device, which serves one request after the
//! other: a latency drawn from the spec plus the bytes over its bandwidth, times the factor of a slow episode.

mod cache;
mod content;
mod handle;
mod lies;
mod platter;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{ByteSize, Range, Rate, Span};

pub use handle::{Disk, File};
pub(crate) use lies::{Lie, LieKind};
pub(crate) use platter::{DiceKeys, DiskFaults, DiskState};

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
