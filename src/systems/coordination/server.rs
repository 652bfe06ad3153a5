//! A server's life: recover what the disk holds, look for a leader, lead or follow, and again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::systems::coordination::database::Database;
use crate::systems::coordination::election::Assembly;
use crate::systems::coordination::elector::Vote;
use crate::systems::coordination::follower::follow;
use crate::systems::coordination::journal::Journal;
use crate::systems::coordination::leader::lead;
use crate::systems::coordination::service::Server;
use crate::systems::coordination::storage::{Epochs, Storage, StorageError};
use crate::systems::coordination::zxid::ServerId;
use crate::systems::coordination::{Config, Observer};
use crate::world::property::bug;
use crate::world::{Address, Host, Level, select};

/// How a server's time in a role ended.
pub struct Ended {
    /// Why, in words.
    pub why: String,
    /// Its log fits the leader's nowhere: next time it must ask for a snapshot.
    pub needs_snapshot: bool,
    /// The state in memory at the end.
    pub database: Option<Database>,
}

impl Ended {
    /// An end that leaves nothing to remember.
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), needs_snapshot: false, database: None }
    }
}

/// Runs a server until its process ends.
pub async fn run(
    host: Host,
    me: ServerId,
    servers: Rc<Vec<(ServerId, Address)>>,
    config: Rc<Config>,
    observer: Observer,
) {
    let chance = Rc::new(RefCell::new(host.random("coordination/server")));
    let server = Server { host: host.clone(), me, servers, config, observer, chance };
    let life = live(&server);
    let why = select! {
        result = life => match result {
            Ok(()) => "left the ensemble".to_owned(),
            Err(error) => {
                host.log(Level::Error, || format!("stops: {error}"));
                error.to_string()
            }
        },
        () = host.shutdown_requested() => "shut down".to_owned(),
    };
    host.report_ready(false);
    host.exit(why);
}

async fn open(server: &Server) -> Result<(Storage, Database, Journal), StorageError> {
    let storage = Storage::open(&server.host, &server.config).await?;
    let (database, journal) = storage.recover().await?;
    Ok((storage, database, journal))
}

async fn live(server: &Server) -> Result<(), StorageError> {
    let host = &server.host;
    let (assembly, mut ear) = Assembly::open(host, server.me, &server.servers);
    let mut needs_snapshot = false;
    let mut remembered: Option<Database> = None;
    loop {
        let (storage, recovered, journal) = match open(server).await {
            Err(StorageError::Corrupt(file)) => {
                crate::reached!("a coordination server gave up what it held because of damage");
                host.log(Level::Warn, || format!("{file} is damaged: all is to be copied from a leader"));
                server.observer.gave_up(&file);
                Storage::distrust(&host.disk()).await?;
                remembered = None;
                open(server).await?
            }
            opened => opened?,
        };
        let distrusted = storage.is_distrusted();
        // A server that has ever promised anything has a disk that was written.
        let written = storage.epochs() != Epochs::default();
        server.observer.recovered(written.then_some(recovered.last()));
        let database = match remembered.take() {
            // This known bug keeps its memory over a change of role, without what the log holds beyond it.
            Some(kept) if bug("Z06") => kept,
            // And this one what it remembers of committed transactions.
            Some(kept) => recovered.with_memory_of(kept),
            None => recovered,
        };
        server.observer.restored(&database);
        let own = Vote { epoch: storage.epochs().current, zxid: database.last(), leader: server.me };
        let leader = assembly.look(&mut ear, own, distrusted, server.config.tick.get()).await;
        host.log(Level::Debug, || format!("elected {leader}, holding {}", own.zxid));
        let ended = if leader == server.me {
            lead(server, storage, database, journal).await?
        } else {
            follow(server, storage, database, journal, leader, needs_snapshot || distrusted).await?
        };
        host.report_ready(false);
        host.log(Level::Info, || format!("looks for a leader again: {}", ended.why));
        needs_snapshot = ended.needs_snapshot;
        remembered = ended.database;
    }
}
