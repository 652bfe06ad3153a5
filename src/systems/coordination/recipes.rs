//! Recipes over a session: lock, leader election, configuration watch, naming, queue, barrier.
//!
//! After the recipes of ZooKeeper's documentation. A create whose outcome is unknown may have left its znode: each recipe puts a name
//! of its own into its znodes, so that it finds them again (as Curator's protected creation does).

use bytes::Bytes;

use crate::systems::coordination::api::{Error, Mode, Session, Watch};
use crate::systems::coordination::wire::{Code, PathWatch, Reply, Request, Stat};

/// A place in a line under `root`: an ephemeral, sequential znode that its owner can find again.
#[derive(Clone)]
struct Place {
    session: Session,
    root: String,
    name: String,
}

/// The number at the end of a sequential name.
fn sequence(name: &str) -> &str {
    name.split_at_checked(name.len().saturating_sub(10)).map_or("", |(_, number)| number)
}

impl Place {
    /// Lines up. `tag` must differ among all that line up in one session.
    async fn take(session: &Session, root: &str, tag: &str, data: Bytes) -> Result<Self, Error> {
        let prefix = format!("{:016x}-{tag}-", session.id());
        loop {
            match session.create(&format!("{root}/{prefix}"), data.clone(), Mode::EphemeralSequential).await {
                Ok((path, _)) => {
                    let name = path[root.len() + 1..].to_owned();
                    return Ok(Self { session: session.clone(), root: root.to_owned(), name });
                }
                Err(Error::Unknown) => {
                    session.sync(root).await.or_else(ignore_unknown)?;
                    if let Ok(names) = session.children(root).await
                        && let Some(name) = names.into_iter().find(|name| name.starts_with(&prefix))
                    {
                        return Ok(Self { session: session.clone(), root: root.to_owned(), name });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until nobody stands before it; the transaction at which that was so.
    async fn wait(&self) -> Result<i64, Error> {
        let look = Request::GetChildren(PathWatch { path: self.root.clone(), watch: false }, true);
        loop {
            let answer = match self.session.request(look.clone()).await {
                Err(Error::Unknown) => continue,
                answer => answer?,
            };
            let names = match answer.reply {
                Reply::Children(names, _) => names,
                Reply::Refused(code) => return Err(Error::Refused(code)),
                _ => return Err(Error::Refused(Code::MarshallingError)),
            };
            if !names.contains(&self.name) {
                return Err(Error::Expired);
            }
            let before = |name: &&String| sequence(name) < sequence(&self.name);
            // Only the one before is watched: when it goes, one client wakes and not the whole herd.
            let Some(previous) = names.iter().filter(before).max_by_key(|name| sequence(name).to_owned())
            else {
                return Ok(answer.zxid);
            };
            match self.session.exists_watched(&format!("{}/{previous}", self.root)).await {
                Ok((Some(_), watch)) => {
                    watch.changed().await.ok_or(Error::Expired)?;
                }
                Ok((None, _)) | Err(Error::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn leave(&self) -> Result<(), Error> {
        loop {
            match self.session.delete(&format!("{}/{}", self.root, self.name), None).await {
                Err(Error::Unknown) => {}
                Err(error) if error.is(Code::NoNode) => return Ok(()),
                result => return result,
            }
        }
    }
}

fn ignore_unknown(error: Error) -> Result<(), Error> {
    if error == Error::Unknown { Ok(()) } else { Err(error) }
}

/// A lock that is held. It is lost when the session ends: whoever must not act without it passes `fence` on.
pub struct Lock {
    place: Place,
    since: i64,
}

impl Lock {
    /// Waits for the lock whose line stands under `root`, which must exist.
    ///
    /// # Errors
    /// `Expired`, and what creating a znode can be refused for.
    pub async fn acquire(session: &Session, root: &str, tag: &str) -> Result<Self, Error> {
        let place = Place::take(session, root, tag, Bytes::new()).await?;
        let since = place.wait().await?;
        Ok(Self { place, since })
    }

    /// A number that grows from holder to holder: the sequence number in the line.
    pub fn fence(&self) -> u64 {
        sequence(&self.place.name).parse().unwrap_or(0)
    }

    /// A transaction at which it was held: of two holders, the one with the later transaction has the greater `fence`.
    pub fn since(&self) -> i64 {
        self.since
    }

    /// Gives it back.
    ///
    /// # Errors
    /// `Expired`: it is lost already.
    pub async fn release(self) -> Result<(), Error> {
        self.place.leave().await
    }
}

/// One that stands for election under a root.
pub struct Candidate(Place);

impl Candidate {
    /// Stands for election; `data` is what others read of the leader.
    ///
    /// # Errors
    /// `Expired`, and what creating a znode can be refused for.
    pub async fn stand(
        session: &Session,
        root: &str,
        tag: &str,
        data: impl Into<Bytes>,
    ) -> Result<Self, Error> {
        Ok(Self(Place::take(session, root, tag, data.into()).await?))
    }

    /// Waits until it leads.
    ///
    /// # Errors
    /// `Expired`: it will never lead.
    pub async fn lead(&self) -> Result<(), Error> {
        self.0.wait().await.map(|_| ())
    }

    /// Steps back.
    ///
    /// # Errors
    /// `Expired`: it has already.
    pub async fn resign(self) -> Result<(), Error> {
        self.0.leave().await
    }

    /// What the present leader under `root` says of itself.
    ///
    /// # Errors
    /// `NoNode` if nobody leads.
    pub async fn leader(session: &Session, root: &str) -> Result<Bytes, Error> {
        let names = session.children(root).await?;
        let first =
            names.iter().min_by_key(|name| sequence(name).to_owned()).ok_or(Error::Refused(Code::NoNode))?;
        session.get(&format!("{root}/{first}")).await.map(|(data, _)| data)
    }
}

/// Follows the data of one znode: every change is seen, though not every value between two changes.
pub struct ConfigWatch {
    session: Session,
    path: String,
    watch: Option<Watch>,
}

impl ConfigWatch {
    /// Follows the znode at `path`.
    pub fn new(session: &Session, path: &str) -> Self {
        Self { session: session.clone(), path: path.to_owned(), watch: None }
    }

    /// The value now (at the first call), or after the next change, and what is known of it; `None` while there is no such znode.
    ///
    /// # Errors
    /// `Expired`.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Stat)>, Error> {
        if let Some(watch) = self.watch.take() {
            watch.changed().await.ok_or(Error::Expired)?;
        }
        loop {
            match self.session.get_watched(&self.path).await {
                Ok((data, stat, watch)) => {
                    self.watch = Some(watch);
                    return Ok(Some((data, stat)));
                }
                Err(Error::Unknown) => {}
                Err(error) if error.is(Code::NoNode) => match self.session.exists_watched(&self.path).await {
                    Ok((None, watch)) => {
                        self.watch = Some(watch);
                        return Ok(None);
                    }
                    Ok((Some(_), _)) | Err(Error::Unknown) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }
}

/// Names for what comes and goes: each member of a group is an ephemeral znode with the address as its data.
pub struct Naming {
    session: Session,
    root: String,
}

impl Naming {
    /// The group under `root`, which must exist.
    pub fn new(session: &Session, root: &str) -> Self {
        Self { session: session.clone(), root: root.to_owned() }
    }

    /// Takes a name for as long as the session lives.
    ///
    /// # Errors
    /// `NodeExists` while another session has the name.
    pub async fn register(&self, name: &str, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let path = format!("{}/{name}", self.root);
        loop {
            match self.session.create(&path, data.clone(), Mode::Ephemeral).await {
                Ok(_) => return Ok(()),
                Err(Error::Unknown) => {}
                Err(error) if error.is(Code::NodeExists) => match self.session.exists(&path).await {
                    // An earlier attempt of this very session got through.
                    Ok(Some(stat)) if stat.ephemeral_owner == self.session.id() => return Ok(()),
                    Ok(Some(_)) => return Err(error),
                    Ok(None) | Err(Error::Unknown) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// The names taken now, sorted, and a watch for the next change.
    ///
    /// # Errors
    /// `Unknown`, `Expired`.
    pub async fn members(&self) -> Result<(Vec<String>, Watch), Error> {
        self.session.children_watched(&self.root).await
    }
}

/// A first-in, first-out queue.
pub struct Queue {
    session: Session,
    root: String,
}

impl Queue {
    /// The queue under `root`, which must exist.
    pub fn new(session: &Session, root: &str) -> Self {
        Self { session: session.clone(), root: root.to_owned() }
    }

    /// Adds an item. `Unknown` says that it may stand in the queue or not.
    ///
    /// # Errors
    /// `Unknown`, `Expired`.
    pub async fn push(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.session
            .create(&format!("{}/item-", self.root), data, Mode::PersistentSequential)
            .await
            .map(|_| ())
    }

    /// Takes the oldest item, waiting for one. `Unknown` says that an item may have been taken and is lost to this caller.
    ///
    /// # Errors
    /// `Unknown`, `Expired`.
    pub async fn pop(&self) -> Result<Bytes, Error> {
        loop {
            let (names, watch) = self.session.children_watched(&self.root).await?;
            for name in &names {
                let path = format!("{}/{name}", self.root);
                let data = match self.session.get(&path).await {
                    Ok((data, _)) => data,
                    Err(error) if error.is(Code::NoNode) => continue,
                    Err(error) => return Err(error),
                };
                match self.session.delete(&path, None).await {
                    Ok(()) => return Ok(data),
                    Err(error) if error.is(Code::NoNode) => {}
                    Err(error) => return Err(error),
                }
            }
            if names.is_empty() {
                watch.changed().await.ok_or(Error::Expired)?;
            }
        }
    }
}

/// A double barrier: all go in together, and come out together.
pub struct Barrier {
    session: Session,
    root: String,
    name: String,
    size: usize,
}

impl Barrier {
    /// The barrier under `root`, which must exist, for `size` members; `name` is this member's.
    pub fn new(session: &Session, root: &str, name: &str, size: usize) -> Self {
        Self { session: session.clone(), root: root.to_owned(), name: name.to_owned(), size }
    }

    /// Waits until all members have come.
    ///
    /// # Errors
    /// `Expired`.
    pub async fn enter(&self) -> Result<(), Error> {
        Naming::new(&self.session, &self.root).register(&self.name, Bytes::new()).await?;
        // Whoever saw all of them says so: a fast member may be gone again before a slow one looks.
        let full = format!("{}.full", self.root);
        loop {
            let (said, saying) = match self.session.exists_watched(&full).await {
                Err(Error::Unknown) => continue,
                looked => looked?,
            };
            let (names, watch) = match self.session.children_watched(&self.root).await {
                Err(Error::Unknown) => continue,
                looked => looked?,
            };
            if said.is_some() {
                return Ok(());
            }
            if self.size <= names.len() {
                self.session.ensure(&full).await.or_else(ignore_unknown)?;
                continue;
            }
            crate::world::select! {
                change = watch.changed() => change,
                change = saying.changed() => change,
            }
            .ok_or(Error::Expired)?;
        }
    }

    /// Waits until all members have left.
    ///
    /// # Errors
    /// `Expired`.
    pub async fn leave(&self) -> Result<(), Error> {
        let place = Place { session: self.session.clone(), root: self.root.clone(), name: self.name.clone() };
        place.leave().await?;
        loop {
            match self.session.children_watched(&self.root).await {
                Ok((names, _)) if names.is_empty() => return Ok(()),
                Ok((_, watch)) => {
                    watch.changed().await.ok_or(Error::Expired)?;
                }
                Err(Error::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
