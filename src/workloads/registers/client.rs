//! A client: one session after another, and in each operations drawn by chance; at the end it reads everything back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::{Rng, RngCore};

use crate::base::{MonoTime, Stream};
use crate::checkers::registers::{Ask, Outcome};
use crate::systems::coordination::api::{Code, Error, Lock, Mode, Session};
use crate::workloads::registers::visit::{Visit, value};
use crate::workloads::registers::{Config, Notebook, Phase};
use crate::world::{Address, Host, Task};

/// How often a client looks for the laboratory's word.
const LOOK: Duration = Duration::from_millis(20);

/// Operations of one client under way at most; an ensemble that stands still is not buried under requests.
const IN_FLIGHT_MAX: usize = 12;

/// How long the last reader waits for ephemeral znodes to go: longer than any session's time-out and an election.
const GONE_BOUND: Duration = Duration::from_secs(20);

/// A client for the life of its process.
pub(super) async fn run(
    host: Host,
    number: u32,
    config: Rc<Config>,
    servers: Rc<Vec<Address>>,
    notebook: Rc<Notebook>,
) {
    let client = Client {
        chance: RefCell::new(host.random("registers/client")),
        host,
        number,
        config,
        servers,
        notebook,
        versions: RefCell::default(),
        others: RefCell::default(),
        locking: Cell::new(false),
    };
    let client = Rc::new(client);
    if client.notebook.phase.get() == Phase::Prepare && number == 1 {
        client.prepare().await;
    }
    while client.notebook.phase.get() == Phase::Prepare {
        client.host.sleep(LOOK).await;
    }
    while client.notebook.phase.get() == Phase::Drive {
        client.live_a_session().await;
    }
    client.read_back().await;
}

struct Client {
    host: Host,
    number: u32,
    config: Rc<Config>,
    servers: Rc<Vec<Address>>,
    notebook: Rc<Notebook>,
    chance: RefCell<Stream>,
    /// The last version seen of each register.
    versions: RefCell<BTreeMap<String, i32>>,
    /// An ephemeral znode, of whomever, that was seen not long ago.
    others: RefCell<Option<String>>,
    locking: Cell<bool>,
}

/// What a client may do next.
#[derive(Clone, Copy)]
enum Move {
    Get,
    Set,
    CompareAndSet,
    SyncAndGet,
    Multi,
    WatchedGet,
    WatchedExists,
    Children,
    Create,
    CreateSequential,
    Delete,
    Lock,
}

/// The moves and their weights.
const MOVES: [(Move, u32); 12] = [
    (Move::Get, 16),
    (Move::Set, 14),
    (Move::CompareAndSet, 14),
    (Move::SyncAndGet, 8),
    (Move::Multi, 12),
    (Move::WatchedGet, 9),
    (Move::WatchedExists, 6),
    (Move::Children, 6),
    (Move::Create, 8),
    (Move::CreateSequential, 4),
    (Move::Delete, 5),
    (Move::Lock, 3),
];

impl Client {
    fn root(&self) -> String {
        format!("/{}", self.config.name)
    }

    fn register(&self, index: u32) -> String {
        format!("{}/register-{index}", self.root())
    }

    fn live(&self) -> String {
        format!("{}/live", self.root())
    }

    fn lock_root(&self) -> String {
        format!("{}/lock", self.root())
    }

    fn begin(&self) -> Session {
        Session::begin(&self.host, &self.servers, self.config.session_timeout.get())
    }

    /// Makes the znodes that all share. Nothing breaks meanwhile.
    async fn prepare(&self) {
        let session = self.begin();
        let folders = [self.live(), self.lock_root()];
        for folder in folders {
            while session.ensure(&folder).await.is_err() {}
        }
        for index in 0..self.config.registers {
            let path = self.register(index);
            loop {
                match session.create(&path, value(0), Mode::Persistent).await {
                    Ok(_) | Err(Error::Refused(Code::NodeExists)) => break,
                    Err(_) => self.host.sleep(LOOK).await,
                }
            }
        }
        let _ = session.close().await;
        self.notebook.prepared.send(true);
    }

    fn draw_wait(&self, mean: Duration) -> Duration {
        let share: f64 = self.chance.borrow_mut().random_range(1e-9..1.0);
        mean.mul_f64(-libm::log(share)).min(mean * 10)
    }

    /// Begins a session, works in it for a while, and closes or forgets it.
    async fn live_a_session(self: &Rc<Self>) {
        let visit = Visit::new(self.begin(), self.number, &self.notebook);
        let until = self.host.now() + self.draw_wait(self.config.session_life.get());
        let mut tasks: Vec<Task<()>> = Vec::new();
        self.work(&visit, until, &mut tasks).await;
        let driven = self.notebook.phase.get() == Phase::Drive;
        let forgets = self.chance.borrow_mut().random_bool(0.3);
        if driven && !visit.session.is_expired() && forgets {
            // The session will expire, unless its process outlives its handles.
            tasks.iter().for_each(Task::abort);
        } else {
            self.close(&visit, driven, tasks).await;
        }
        self.locking.set(false);
    }

    async fn work(self: &Rc<Self>, visit: &Visit, until: MonoTime, tasks: &mut Vec<Task<()>>) {
        let period = self.config.rate.period().unwrap_or(Duration::from_secs(1));
        while self.host.now() < until
            && self.notebook.phase.get() == Phase::Drive
            && !visit.session.is_expired()
        {
            self.host.sleep(self.draw_wait(period)).await;
            tasks.retain(|task| !task.is_over());
            let pipelined = {
                let mut chance = self.chance.borrow_mut();
                if chance.random_bool(self.config.pipelined.get()) { chance.random_range(2..6) } else { 1 }
            };
            for _ in 0..pipelined {
                if tasks.len() < IN_FLIGHT_MAX {
                    tasks.push(self.begin_move(visit));
                }
            }
        }
    }

    /// Closes a session; while the load goes on, in the midst of its work.
    async fn close(self: &Rc<Self>, visit: &Visit, driven: bool, mut tasks: Vec<Task<()>>) {
        if !driven {
            // What is left is read by whoever watches it, before the session closes.
            self.host
                .timeout(self.config.session_timeout.get(), async {
                    for task in &mut tasks {
                        task.await;
                    }
                })
                .await
                .ok();
            self.read_all(visit).await;
        }
        let closing = {
            let visit = visit.clone();
            self.host.spawn("registers-close", async move {
                visit.ask(Ask::Close).await;
            })
        };
        if driven && self.chance.borrow_mut().random_bool(0.5) {
            for _ in 0..3 {
                tasks.push(self.begin_create(visit));
            }
        }
        closing.await;
        tasks.iter().for_each(Task::abort);
    }

    /// Begins one operation, in a task of its own.
    fn begin_move(self: &Rc<Self>, visit: &Visit) -> Task<()> {
        let (client, visit) = (self.clone(), visit.clone());
        let next = self.draw_move();
        self.host.spawn("registers-operation", async move { client.perform(next, &visit).await })
    }

    fn begin_create(self: &Rc<Self>, visit: &Visit) -> Task<()> {
        let (client, visit) = (self.clone(), visit.clone());
        self.host.spawn("registers-operation", async move { client.perform(Move::Create, &visit).await })
    }

    fn draw_move(&self) -> Move {
        let total: u32 = MOVES.iter().map(|(_, weight)| weight).sum();
        let mut at = self.chance.borrow_mut().random_range(0..total);
        for (next, weight) in MOVES {
            if at < weight {
                return next;
            }
            at -= weight;
        }
        Move::Get
    }

    fn draw_token(&self) -> u64 {
        // 0 is what a register holds at first.
        self.chance.borrow_mut().next_u64().max(1)
    }

    fn draw_register(&self) -> String {
        let index = self.chance.borrow_mut().random_range(0..self.config.registers);
        self.register(index)
    }

    async fn perform(&self, next: Move, visit: &Visit) {
        let path = self.draw_register();
        match next {
            Move::Get => self.get(visit, path, false).await,
            Move::WatchedGet => self.get(visit, path, true).await,
            Move::SyncAndGet => {
                visit.ask(Ask::Sync).await;
                self.get(visit, path, false).await;
            }
            Move::Set => {
                visit.ask(Ask::Set { path, token: self.draw_token(), expected: None }).await;
            }
            Move::CompareAndSet => {
                let expected = Some(self.versions.borrow().get(&path).copied().unwrap_or(0));
                let ask = Ask::Set { path: path.clone(), token: self.draw_token(), expected };
                if let Some(Outcome::Stands(seen)) = visit.ask(ask).await {
                    self.versions.borrow_mut().insert(path, seen.version);
                }
            }
            Move::Multi => self.multi(visit, path).await,
            Move::WatchedExists => {
                let other = self.others.borrow().clone();
                if let Some(path) = other {
                    visit.watch(Ask::Exists { path: path.clone() }).await;
                    visit.ask(Ask::Exists { path }).await;
                }
            }
            Move::Children => {
                if let Some(Outcome::Names(names)) = visit.ask(Ask::Children { path: self.live() }).await {
                    let plain: Vec<String> = names.into_iter().filter(|name| !name.contains('-')).collect();
                    if !plain.is_empty() {
                        let at = self.chance.borrow_mut().random_range(0..plain.len());
                        *self.others.borrow_mut() = Some(format!("{}/{}", self.live(), plain[at]));
                    }
                }
            }
            Move::Create => {
                let path = format!("{}/{:016x}", self.live(), self.draw_token());
                if self.chance.borrow_mut().random_bool(0.3) {
                    visit.watch(Ask::Exists { path: path.clone() }).await;
                }
                *self.others.borrow_mut() = Some(path.clone());
                visit.ask(Ask::Create { path, sequential: false }).await;
            }
            Move::CreateSequential => {
                let path = format!("{}/{:016x}-", self.live(), self.draw_token());
                visit.ask(Ask::Create { path, sequential: true }).await;
            }
            Move::Delete => {
                // Its own or another's: whoever deletes first.
                let other = self.others.borrow_mut().take();
                if let Some(path) = other {
                    visit.ask(Ask::Delete { path }).await;
                }
            }
            Move::Lock => self.lock(visit).await,
        }
    }

    async fn get(&self, visit: &Visit, path: String, watched: bool) {
        let ask = Ask::Get { path: path.clone() };
        let outcome = if watched { visit.watch(ask).await } else { visit.ask(ask).await };
        if let Some(Outcome::Value(_, seen)) = outcome {
            self.versions.borrow_mut().insert(path, seen.version);
        }
    }

    async fn multi(&self, visit: &Visit, path: String) {
        let other = self.draw_register();
        let paths = if path == other { vec![path] } else { vec![path, other] };
        let token = self.draw_token();
        // Every other one demands a version, which may have passed: then no part of it may leave a trace.
        let last = &paths[paths.len() - 1];
        let expected =
            token.is_multiple_of(2).then(|| self.versions.borrow().get(last).copied().unwrap_or(0));
        visit.ask(Ask::Multi { paths, token, expected }).await;
    }

    /// Takes the lock, holds it for a while and gives it back; one attempt at a time.
    async fn lock(&self, visit: &Visit) {
        if self.locking.replace(true) {
            return;
        }
        let tag = format!("{:016x}", self.draw_token());
        if let Ok(lock) = Lock::acquire(&visit.session, &self.lock_root(), &tag).await {
            crate::reached!("a client held a lock");
            let holding = self.notebook.hold();
            visit.note_held(lock.fence(), lock.since());
            let hold = self.draw_wait(self.config.hold.get() / 2).min(self.config.hold.get());
            self.host.sleep(hold).await;
            // Another may hold it before this one hears that it has been given back.
            drop(holding);
            let _ = lock.release().await;
        }
        self.locking.set(false);
    }

    /// Reads every register and what is alive, after a write: nothing that was answered before it may be missing.
    async fn read_all(&self, visit: &Visit) {
        let marker = Ask::Set { path: self.draw_register(), token: self.draw_token(), expected: None };
        visit.ask(marker).await;
        for index in 0..self.config.registers {
            visit.ask(Ask::Get { path: self.register(index) }).await;
        }
        let other = self.others.borrow().clone();
        if let Some(path) = other {
            visit.ask(Ask::Exists { path }).await;
        }
        visit.ask(Ask::Children { path: self.live() }).await;
    }

    /// Tells that this client is quiet; the first one then waits for all to be, and reads everything once more.
    async fn read_back(self: &Rc<Self>) {
        // A client that came back after the load had ended has a session to read with all the same.
        let visit = Visit::new(self.begin(), self.number, &self.notebook);
        self.close(&visit, false, Vec::new()).await;
        self.notebook.quiet.borrow_mut().insert(self.number);
        if self.number != 1 {
            return;
        }
        let clients = self.config.clients as usize;
        while self.notebook.quiet.borrow().len() < clients {
            self.host.sleep(LOOK).await;
        }
        self.wait_for(&format!("the end of what lives under {}", self.live())).await;
        self.notebook.history.borrow_mut().settled();
        loop {
            let visit = Visit::new(self.begin(), self.number, &self.notebook);
            self.read_all(&visit).await;
            if !visit.session.is_expired() {
                break;
            }
        }
        *self.notebook.awaited.borrow_mut() = None;
    }

    /// Waits until no ephemeral znode is left, as long as that may take: what is left then is a finding. A server that was asleep may
    /// still have an ear full of what a session asked that its client has given up since, so that none may come for as long as such a
    /// session lives.
    async fn wait_for(&self, what: &str) {
        *self.notebook.awaited.borrow_mut() = Some(what.to_owned());
        let session = self.begin();
        let deadline = self.host.now() + GONE_BOUND;
        let mut none_since = None;
        while self.host.now() < deadline {
            let seen = async {
                session.sync("/").await?;
                let (live, lock) = (self.live(), self.lock_root());
                Ok::<_, Error>([session.children(&live).await?, session.children(&lock).await?].concat())
            };
            let now = self.host.now();
            match seen.await {
                Ok(names) if names.is_empty() => {
                    let since = *none_since.get_or_insert(now);
                    if since + self.config.session_timeout.get() <= now {
                        break;
                    }
                }
                Ok(_) => none_since = None,
                Err(_) => {}
            }
            self.host.sleep(LOOK * 5).await;
        }
        let _ = session.close().await;
    }
}
