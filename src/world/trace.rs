//! What the world did: a hash chain over every event, and, when asked, a readable record.
//!
//! Every delivered message, disk operation, fault, process event, and property event enters the chain, in order, with its
//! time and host. Equal digests mean equal runs. Wall time, addresses and log lines never enter it.

use std::collections::VecDeque;
use std::fmt;

use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::base::{HostId, SimTime};

/// How many notable records are kept when nothing asks for more: enough to tell what led to a violation.
const NOTABLE_MAX: usize = 400;

/// How many hits of one property are notable.
const PROPERTY_HITS_NOTABLE: u64 = 3;

/// How many hits of one property are milestones: enough to mark every change of a leader in a usual run.
const MILESTONE_HITS: u64 = 100;

/// How much a line of a log matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something an operator must act upon.
    Error,
    /// Something unusual that the system handled.
    Warn,
    /// A rare and telling event: a leader was elected, a log was truncated. Always kept, so it must stay rare.
    Info,
    /// Detail, built only while a recording asks for it.
    Debug,
}

/// The fingerprint of a run. Prints as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(u128);

impl Digest {
    /// The digest with this value.
    pub const fn new(value: u128) -> Self {
        Self(value)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The kind of an event, and a part of what the chain hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A message reached the other host's socket.
    Delivered,
    /// A connection was opened, closed, reset or timed out.
    Connection,
    /// A file or directory was touched.
    Disk,
    /// A fault began or ended.
    Fault,
    /// A process or host started, stopped, paused.
    Process,
    /// A property was reached or violated.
    Property,
    /// A system's own log line. Not part of the digest.
    Log(Level),
}

/// One readable event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Record {
    /// When, in virtual time.
    pub at: SimTime,
    /// On which host; `None` for the laboratory.
    pub host: Option<HostId>,
    /// What kind of event.
    pub what: What,
    /// The event in words.
    pub text: String,
    /// The number of events in the chain up to and with this one: where it stands in the run.
    pub position: u64,
    /// The message, of an event that is [`What::Delivered`].
    pub message: Option<Message>,
}

/// A message that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Message {
    /// The name of its type: `Produce`.
    pub kind: &'static str,
    /// Who sent it.
    pub from: HostId,
    /// When it was handed to the transport.
    pub sent: SimTime,
    /// Its length.
    pub bytes: u64,
    /// The connection it came on.
    pub connection: u64,
}

impl What {
    /// The kind's name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Connection => "connection",
            Self::Disk => "disk",
            Self::Fault => "fault",
            Self::Process => "process",
            Self::Property => "property",
            Self::Log(_) => "log",
        }
    }

    /// The name of a log line's level.
    pub fn level(self) -> Option<&'static str> {
        let Self::Log(level) = self else { return None };
        Some(match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        })
    }
}

impl Record {
    /// The event as a line for people, with `hosts` giving the names: ` 12.345678s broker-2         fault      crash of broker-2`.
    pub fn line(&self, hosts: &[String]) -> String {
        let host = self.host.and_then(|host| hosts.get(host.get() as usize)).map_or("-", String::as_str);
        let what = self.what.level().unwrap_or(self.what.name());
        format!("{:>12} {host:<24} {what:<10} {}", self.at.to_string(), self.text)
    }
}

/// What a run is asked to write down besides its digest.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Keep every event, readable, and not just the last notable ones.
    pub everything: bool,
    /// Down to which level log lines are kept, by system name; `*` stands for all systems. Down to `Info` for those not named.
    pub levels: Vec<(String, Level)>,
    /// Keep the hash of every event, so that another run can be compared event by event.
    pub hashes: bool,
}

/// The trace of one run.
pub(crate) struct Trace {
    chain: u128,
    position: u64,
    recording: Recording,
    records: VecDeque<Record>,
    milestones: Vec<Record>,
    hashes: Vec<u64>,
    pub(crate) messages: u64,
    pub(crate) disk_operations: u64,
}

impl Trace {
    pub(crate) fn new(recording: Recording) -> Self {
        Self {
            chain: 0,
            position: 0,
            recording,
            records: VecDeque::new(),
            milestones: Vec::new(),
            hashes: Vec::new(),
            messages: 0,
            disk_operations: 0,
        }
    }

    /// Adds an event to the chain. `detail` is whatever tells it from others: a payload's hash, an offset, a name's hash.
    pub(crate) fn event(
        &mut self,
        at: SimTime,
        host: Option<HostId>,
        what: What,
        detail: [u64; 3],
        text: impl FnOnce() -> String,
    ) {
        self.add(at, host, what, detail, None, text);
    }

    /// Adds the arrival of a message to the chain; `hash` is that of its payload, `sender` gives the name of who sent it.
    pub(crate) fn delivered(
        &mut self,
        at: SimTime,
        to: HostId,
        hash: u64,
        message: Message,
        sender: impl FnOnce() -> String,
    ) {
        let Message { kind, bytes, connection, .. } = message;
        let text = || format!("{kind} from {} ({bytes} B, connection {connection})", sender());
        self.add(at, Some(to), What::Delivered, [hash, connection, bytes], Some(message), text);
    }

    fn add(
        &mut self,
        at: SimTime,
        host: Option<HostId>,
        what: What,
        detail: [u64; 3],
        message: Option<Message>,
        text: impl FnOnce() -> String,
    ) {
        let tag = match what {
            What::Delivered => 1,
            What::Connection => 2,
            What::Disk => 3,
            What::Fault => 4,
            What::Process => 5,
            What::Property => 6,
            What::Log(_) => unreachable!("log lines go through `log`"),
        };
        match what {
            What::Delivered => self.messages += 1,
            What::Disk => self.disk_operations += 1,
            _ => {}
        }
        let host_word = host.map_or(u64::MAX, |host| u64::from(host.get()));
        let words =
            [(self.chain >> 64) as u64, at.as_nanos(), host_word, tag, detail[0], detail[1], detail[2]];
        let mut bytes = [0; 56];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        self.chain = xxh3_128_with_seed(&bytes, self.chain as u64);
        self.position += 1;
        if self.recording.hashes {
            self.hashes.push(self.chain as u64);
        }
        // A property event carries how often it was hit: the first few tell the story, the rest would drown it.
        let notable = match what {
            What::Fault | What::Process => true,
            What::Property => detail[1] <= PROPERTY_HITS_NOTABLE,
            What::Delivered | What::Connection | What::Disk | What::Log(_) => false,
        };
        let milestone = match what {
            What::Fault | What::Process => true,
            What::Property => detail[1] <= MILESTONE_HITS,
            What::Delivered | What::Connection | What::Disk | What::Log(_) => false,
        };
        if !(self.recording.everything || notable || milestone) {
            return;
        }
        let text = text();
        if milestone {
            self.milestones.push(Record {
                at,
                host,
                what,
                text: text.clone(),
                position: self.position,
                message,
            });
        }
        if self.recording.everything || notable {
            self.keep(at, host, what, message, text);
        }
    }

    /// Writes down a line of a system's log, if its level is wanted.
    pub(crate) fn log(
        &mut self,
        at: SimTime,
        host: HostId,
        system: &str,
        level: Level,
        text: impl FnOnce() -> String,
    ) {
        let given = |wanted: &str| {
            let of = self.recording.levels.iter().rev().find(|(name, _)| name == wanted);
            of.map(|(_, most)| *most)
        };
        if level <= given(system).or_else(|| given("*")).unwrap_or(Level::Info) {
            self.keep(at, Some(host), What::Log(level), None, text());
        }
    }

    fn keep(
        &mut self,
        at: SimTime,
        host: Option<HostId>,
        what: What,
        message: Option<Message>,
        text: String,
    ) {
        if !self.recording.everything && self.records.len() == NOTABLE_MAX {
            self.records.pop_front();
        }
        self.records.push_back(Record { at, host, what, text, position: self.position, message });
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest(self.chain)
    }

    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records).into()
    }

    pub(crate) fn take_milestones(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.milestones)
    }

    pub(crate) fn take_hashes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.hashes)
    }
}

/// The hash under which a name enters the chain.
pub(crate) fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}
