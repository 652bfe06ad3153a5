//! The clients of the allocators: of apps, which ask for arms, and of operators, who change the catalogue. All that a neighbour may use.

use std::cell::Cell;
use std::time::Duration;

use crate::systems::allocator::service::{self, BELIEFS, CATALOGUE, json, read, read_learning};
use crate::systems::coordination::api::{Code, Error, Session};
use crate::world::rpc::Caller;
use crate::world::{Address, Host};

pub use crate::systems::allocator::catalogue::{
    Catalogue, CatalogueError, CatalogueVersion, Change, Identity, LayerDraft,
};
pub use crate::systems::allocator::event::{Event, EventId, Exposure, Kind, Outcome};
pub use crate::systems::allocator::experiment::{Adaptive, Arm, Draft, Experiment, ExperimentId, Scheme};
pub use crate::systems::allocator::learner::{Learning, WeightsVersion};
pub use crate::systems::allocator::message::{Ask, Choice, Decision, Reason, Told, Visitor};
pub use crate::systems::allocator::observer::{Observer, topic};

/// How long one allocator may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks allocators: the one that answered last, and when it does not, another.
pub struct Allocators {
    callers: Vec<Caller<Ask, Told>>,
    next: Cell<usize>,
}

impl Allocators {
    /// A client of these servers; it begins with the one of this number.
    pub fn new(host: &Host, servers: &[Address], first: usize) -> Self {
        assert!(!servers.is_empty(), "there is an allocator");
        let callers = servers.iter().map(|server| Caller::new(host.clone(), *server)).collect();
        Self { callers, next: Cell::new(first % servers.len()) }
    }

    /// Asks for an arm; `None` if no allocator tells. Who asks again may be told otherwise, by newer versions.
    pub async fn ask(&self, ask: &Ask) -> Option<Decision> {
        for turn in 0..self.callers.len() {
            let told = self.callers[self.next.get()].call("Ask", ask, PATIENCE).await;
            if let Ok(Told::Decided(decision)) = told {
                crate::sometimes!(0 < turn, "an app was answered by another allocator than it asked first");
                return Some(decision);
            }
            self.next.set((self.next.get() + 1) % self.callers.len());
        }
        None
    }
}

/// Why a change was not made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// It cannot be made.
    #[error(transparent)]
    Refused(#[from] CatalogueError),
    /// The catalogue is at another version than the change is meant for.
    #[error("the catalogue is at {0}")]
    Stale(CatalogueVersion),
    /// Coordination did not carry it out.
    #[error(transparent)]
    Coordination(#[from] Error),
}

/// Reads and changes what stands in coordination.
pub struct Curator(Session);

impl Curator {
    /// A client under this session.
    pub fn new(session: &Session) -> Self {
        Self(session.clone())
    }

    /// Creates what allocators need, if it is not there.
    ///
    /// # Errors
    /// Those of coordination.
    pub async fn prepare(&self) -> Result<(), Error> {
        service::prepare(&self.0).await
    }

    /// The catalogue as it is now.
    ///
    /// # Errors
    /// Those of coordination.
    pub async fn catalogue(&self) -> Result<(CatalogueVersion, Catalogue), Error> {
        self.0.sync(CATALOGUE).await?;
        let (catalogue, version) = read(&self.0, CATALOGUE).await?;
        Ok((CatalogueVersion::new(version), catalogue))
    }

    /// What was learnt up to now.
    ///
    /// # Errors
    /// Those of coordination.
    pub async fn learning(&self) -> Result<(WeightsVersion, Learning), Error> {
        self.0.sync(BELIEFS).await?;
        let (learning, version) = read_learning(&self.0).await?;
        Ok((WeightsVersion::new(version), learning))
    }

    /// Changes the catalogue at this version into the next.
    ///
    /// # Errors
    /// `Stale` if it is at another; after an unknown outcome that may be due to this very change.
    pub async fn change(&self, at: CatalogueVersion, change: &Change) -> Result<(), ChangeError> {
        let (version, catalogue) = self.catalogue().await?;
        if version != at {
            return Err(ChangeError::Stale(version));
        }
        let next = catalogue.changed(change)?;
        match self.0.set(CATALOGUE, json(&next), Some(at.get())).await {
            Err(error) if error.is(Code::BadVersion) => Err(ChangeError::Stale(at.next())),
            other => Ok(other.map(|_| ())?),
        }
    }
}
