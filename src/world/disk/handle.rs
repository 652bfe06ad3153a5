//! What a process holds of a disk: the disk itself and open files.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::base::SimTime;
use crate::world::disk::cache::{FileState, SyncEnd};
use crate::world::disk::lies::{LieKind, Told};
use crate::world::disk::platter::{DirectoryChange, DiskState, Inode, ancestors, parent};
use crate::world::disk::{DiskError, DiskOperation, Open};
use crate::world::host::Host;
use crate::world::trace::{What, name_hash};

/// A process's access to its machine's disk. Paths are absolute.
#[derive(Clone)]
pub struct Disk {
    host: Host,
}

impl Disk {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// The process that has this access.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether the device has ever lied: only observers ask, a process cannot know.
    pub fn has_lied(&self) -> bool {
        self.with(|disk| disk.has_lied)
    }

    fn with<T>(&self, then: impl FnOnce(&mut DiskState) -> T) -> T {
        let mut hosts = self.host.kernel().hosts.borrow_mut();
        then(&mut hosts[self.host.id().get() as usize].disk)
    }

    fn trace(&self, operation: &'static str, path_hash: u64, detail: u64, text: impl FnOnce() -> String) {
        let words = [name_hash(operation), path_hash, detail];
        self.host.kernel().trace.borrow_mut().event(
            self.host.true_time(),
            Some(self.host.id()),
            What::Disk,
            words,
            || format!("{operation} {}", text()),
        );
    }

    /// Waits until the device has served what it will have served by `done`.
    async fn served(&self, done: SimTime) {
        self.host.served(done).await;
        poll_fn(|context| {
            self.with(|disk| {
                if disk.faults.stalled == 0 {
                    return Poll::Ready(());
                }
                disk.stall_waiters.push(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    fn trace_path(&self, operation: &'static str, path: &str) {
        self.trace(operation, xxh3_64(path.as_bytes()), 0, || path.to_owned());
    }

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` without the file (or its directory), `AlreadyExists` for `CreateNew`, `NoSpace` or `Io` where it must be created.
    pub async fn open(&self, path: &str, open: Open) -> Result<File, DiskError> {
        self.trace_path("open", path);
        let inode = self.with(|disk| {
            let existing = disk.names.get(path).copied();
            match (existing, open) {
                (Some(_), Open::CreateNew) => Err(DiskError::AlreadyExists),
                (Some(inode), Open::Truncate) => {
                    disk.fails(DiskOperation::Write)?;
                    let file = disk.files.get_mut(&inode).expect("a named file exists");
                    disk.used -= file.content.len() as u64;
                    file.set_len(0);
                    Ok(inode)
                }
                (Some(inode), Open::Existing | Open::Create) => Ok(inode),
                (None, Open::Existing) => Err(DiskError::NotFound),
                (None, Open::Create | Open::CreateNew | Open::Truncate) => {
                    disk.fails(DiskOperation::Write)?;
                    disk.room_for(1)?;
                    if !disk.directories.contains(parent(path)) {
                        return Err(DiskError::NotFound);
                    }
                    let inode = disk.inode_next;
                    disk.inode_next += 1;
                    disk.files.insert(inode, FileState { cached: true, ..FileState::default() });
                    disk.names.insert(path.to_owned(), inode);
                    disk.change(path, DirectoryChange::Link(path.to_owned(), inode));
                    Ok(inode)
                }
            }
        })?;
        Ok(File { disk: self.clone(), inode, path: path.into() })
    }

    /// All that a file holds; `None` if there is no such file.
    ///
    /// # Errors
    /// `Io`.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, DiskError> {
        match self.open(path, Open::Existing).await {
            Ok(file) => file.read_at(0, file.len() as usize).await.map(Some),
            Err(DiskError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file in one step, durably: whoever reads it after a loss of power finds the old content or the new one.
    ///
    /// # Errors
    /// `NotFound` without the directory, `NoSpace`, `Io`; the file holds the old content or the new one then.
    pub async fn replace(&self, path: &str, content: &[u8]) -> Result<(), DiskError> {
        let fresh = format!("{path}.tmp");
        let file = self.open(&fresh, Open::Truncate).await?;
        file.write_at(0, content).await?;
        file.sync().await?;
        self.rename(&fresh, path).await?;
        self.sync_dir(parent(path)).await
    }

    /// Creates a directory and those above it, where they do not exist. Each is durable once its parent is synced.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub async fn create_dir_all(&self, path: &str) -> Result<(), DiskError> {
        self.trace_path("mkdir", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let mut missing: Vec<&str> = std::iter::once(path).chain(ancestors(path)).collect();
            missing.retain(|directory| !disk.directories.contains(*directory));
            for directory in missing.into_iter().rev() {
                disk.room_for(1)?;
                disk.directories.insert(directory.to_owned());
                disk.change(directory, DirectoryChange::MakeDirectory(directory.to_owned()));
            }
            Ok(())
        })
    }

    /// Makes durable which names the directory holds (not what the files hold).
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        self.trace_path("sync-dir", path);
        let (covered, done) = self.with(|disk| {
            if !disk.directories.contains(path) {
                return Err(DiskError::NotFound);
            }
            disk.fails(DiskOperation::Fsync)?;
            let covered = disk.pending.get(path).map_or(0, Vec::len);
            let latency = disk.spec.sync;
            Ok((covered, disk.serve(self.host.true_time(), latency, 4096)))
        })?;
        self.served(done).await;
        self.with(|disk| {
            disk.fails(DiskOperation::Fsync)?;
            let Some(changes) = disk.pending.get_mut(path) else { return Ok(()) };
            // Another sync of this directory may have hardened some of them meanwhile.
            let hardened: Vec<_> = changes.drain(..covered.min(changes.len())).collect();
            for change in hardened {
                let unlinked = match &change {
                    DirectoryChange::Unlink(path) | DirectoryChange::Rename { to: path, .. } => {
                        disk.durable_names.get(path).copied()
                    }
                    DirectoryChange::Link(..) | DirectoryChange::MakeDirectory(_) => None,
                };
                disk.harden(change);
                if let Some(inode) = unlinked {
                    disk.forget(inode);
                }
            }
            Ok(())
        })
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        self.trace_path("list", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Read)?;
            if !disk.directories.contains(path) {
                return Err(DiskError::NotFound);
            }
            let all = disk.names.keys().chain(disk.directories.iter());
            let mut names: Vec<String> = all
                .filter(|name| *name != "/" && parent(name) == path)
                .map(|name| name[name.rfind('/').map_or(0, |at| at + 1)..].to_owned())
                .collect();
            names.sort();
            Ok(names)
        })
    }

    /// Gives a file another name, replacing what had that name, in one step.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        assert_eq!(parent(from), parent(to), "a rename stays within its directory");
        self.trace("rename", xxh3_64(from.as_bytes()), xxh3_64(to.as_bytes()), || format!("{from} to {to}"));
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let inode = disk.names.remove(from).ok_or(DiskError::NotFound)?;
            let replaced = disk.names.insert(to.to_owned(), inode);
            disk.change(to, DirectoryChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
            if let Some(replaced) = replaced {
                disk.forget(replaced);
            }
            Ok(())
        })
    }

    /// Removes a file, or an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub async fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.trace_path("remove", path);
        self.with(|disk| {
            disk.fails(DiskOperation::Write)?;
            let Some(inode) = disk.names.remove(path) else {
                let holds = |name: &String| parent(name) == path;
                let empty = !disk.names.keys().any(holds) && !disk.directories.iter().any(holds);
                if !disk.directories.contains(path) || !empty {
                    return Err(DiskError::NotFound);
                }
                disk.directories.remove(path);
                disk.durable_directories.remove(path);
                return Ok(());
            };
            disk.change(path, DirectoryChange::Unlink(path.to_owned()));
            disk.forget(inode);
            Ok(())
        })
    }

    /// Whether a file or directory has this name.
    pub async fn exists(&self, path: &str) -> bool {
        self.with(|disk| disk.names.contains_key(path) || disk.directories.contains(path))
    }

    /// Bytes still free.
    pub fn free(&self) -> u64 {
        self.with(
            |disk| if 0 < disk.faults.full { 0 } else { disk.spec.capacity.get().saturating_sub(disk.used) },
        )
    }
}

/// An open file. It stays usable after its name is gone.
#[derive(Clone)]
pub struct File {
    disk: Disk,
    inode: Inode,
    path: Rc<str>,
}

impl File {
    fn with<T>(
        &self,
        then: impl FnOnce(&mut DiskState, Inode) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        self.disk.with(|disk| {
            if disk.files.contains_key(&self.inode) {
                then(disk, self.inode)
            } else {
                Err(DiskError::NotFound)
            }
        })
    }

    /// Its name when it was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads up to `len` bytes at `offset`; fewer at the end of the file.
    ///
    /// # Errors
    /// `Io`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let (bytes, done, told) = self.with(|disk, inode| {
            disk.fails(DiskOperation::Read)?;
            let lies = disk.lies_when_read(&self.path);
            let file = disk.files.get_mut(&inode).expect("checked by with");
            let start = (offset as usize).min(file.content.len());
            let end = start.saturating_add(len).min(file.content.len());
            let bytes = file.content.read(start, end);
            let whole = file.content.len() as u64;
            if std::mem::replace(&mut file.cached, !lies) {
                return Ok((bytes, None, Vec::new()));
            }
            let latency = disk.spec.read;
            let done = disk.serve(self.disk.host.true_time(), latency, whole);
            let (bytes, told) =
                if lies { disk.misread(inode, &self.path, start, bytes) } else { (bytes, Vec::new()) };
            Ok((bytes, Some(done), told))
        })?;
        if let Some(done) = done {
            self.disk.trace("read", self.inode, offset, || format!("{} at {offset}", self.path));
            self.tell(told);
            self.disk.served(done).await;
        }
        Ok(bytes)
    }

    /// Writes down where the device has lied.
    fn tell(&self, told: Vec<Told>) {
        for Told { kind, sector } in told {
            let name = match kind {
                LieKind::LostWrite => {
                    crate::reached!("a disk lost a write that it had acknowledged");
                    "lose-write"
                }
                LieKind::MisdirectedWrite => {
                    crate::reached!("a disk wrote to the wrong place");
                    "misdirect-write"
                }
                LieKind::MisdirectedRead => {
                    crate::reached!("a disk read the wrong place");
                    "misdirect-read"
                }
                LieKind::StaleRead => {
                    crate::reached!("a disk read what it had held before");
                    "read-stale"
                }
            };
            self.disk.trace(name, self.inode, sector, || format!("{} sector {sector}", self.path));
        }
    }

    /// Writes at `offset`; a gap before it reads as zeros. Durable after `sync`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`; nothing is written then.
    pub async fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.disk.trace("write", self.inode ^ offset.rotate_left(32), xxh3_64(bytes), || {
            format!("{} at {offset} ({} B)", self.path, bytes.len())
        });
        self.with(|disk, inode| {
            disk.fails(DiskOperation::Write)?;
            let file = disk.files.get(&inode).expect("checked by with");
            let more = (offset + bytes.len() as u64).saturating_sub(file.content.len() as u64);
            disk.room_for(more)?;
            disk.used += more;
            disk.files.get_mut(&inode).expect("checked by with").write(offset, bytes);
            Ok(())
        })
    }

    /// Writes at the end of the file. Returns where the bytes begin.
    ///
    /// # Errors
    /// `NoSpace`, `Io`; nothing is written then.
    pub async fn append(&self, bytes: &[u8]) -> Result<u64, DiskError> {
        let offset = self.len();
        self.write_at(offset, bytes).await?;
        Ok(offset)
    }

    /// Cuts the file, or extends it with zeros. Durable after `sync`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`.
    pub async fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.disk.trace("set-len", self.inode, len, || format!("{} to {len}", self.path));
        self.with(|disk, inode| {
            disk.fails(DiskOperation::Write)?;
            let old = disk.files.get(&inode).expect("checked by with").content.len() as u64;
            disk.room_for(len.saturating_sub(old))?;
            disk.used = disk.used + len - old;
            disk.files.get_mut(&inode).expect("checked by with").set_len(len);
            Ok(())
        })
    }

    /// Makes durable what the file holds now and its length (not its name: see [`Disk::sync_dir`]).
    ///
    /// # Errors
    /// `Io`: what was unsynced is not durable, and a later sync will not make it so.
    pub async fn sync(&self) -> Result<(), DiskError> {
        // One sync a file at a time; a second waits, then covers what came since.
        poll_fn(|context| {
            let busy = self.disk.with(|disk| match disk.files.get_mut(&self.inode) {
                Some(file) if file.syncing.is_some() => {
                    file.sync_waiters.push(context.waker().clone());
                    true
                }
                _ => false,
            });
            if busy { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        let under_way = SyncUnderWay { file: self, over: Cell::new(false) };
        let done = self.with(|disk, inode| {
            let bytes = disk.files.get_mut(&inode).expect("checked by with").begin_sync();
            let latency = disk.spec.sync;
            Ok(disk.serve(self.disk.host.true_time(), latency, bytes))
        })?;
        self.disk.served(done).await;
        under_way.finish()
    }

    /// Its length as the page cache shows it.
    pub fn len(&self) -> u64 {
        self.disk.with(|disk| disk.files.get(&self.inode).map_or(0, |file| file.content.len() as u64))
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A sync between its request and its completion. If the process stops waiting, what it covered may be durable or not.
struct SyncUnderWay<'file> {
    file: &'file File,
    over: Cell<bool>,
}

impl SyncUnderWay<'_> {
    fn finish(&self) -> Result<(), DiskError> {
        self.over.set(true);
        let failed = self.file.disk.with(|disk| disk.fails(DiskOperation::Fsync));
        self.file
            .disk
            .trace("sync", self.file.inode, u64::from(failed.is_err()), || self.file.path.to_string());
        let told = self.file.with(|disk, inode| {
            if failed.is_ok() {
                return Ok(disk.acknowledge_sync(inode, &self.file.path));
            }
            disk.files.get_mut(&inode).expect("checked by with").end_sync(SyncEnd::Failed);
            failed.map(|()| Vec::new())
        })?;
        self.file.tell(told);
        Ok(())
    }
}

impl Drop for SyncUnderWay<'_> {
    fn drop(&mut self) {
        if !self.over.get() {
            self.file.disk.with(|disk| {
                if let Some(file) = disk.files.get_mut(&self.file.inode) {
                    file.end_sync(SyncEnd::Unknown);
                }
            });
        }
    }
}
