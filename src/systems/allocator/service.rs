//! An allocator's process: it follows catalogue and weights, answers apps, and stands for the office of the learner.
//!
//! While coordination cannot be reached it answers by what it knows: a decision tells by which versions it was made.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::systems::allocator::assign::{Assignment, assign};
use crate::systems::allocator::catalogue::{Catalogue, CatalogueVersion};
use crate::systems::allocator::learner::{Beliefs, Learning, WeightsVersion};
use crate::systems::allocator::message::{Ask, Choice, Decision, PORT, Reason, Told};
use crate::systems::allocator::observer::Observer;
use crate::systems::allocator::progress::Progress;
use crate::systems::allocator::{Config, Neighbours, term};
use crate::systems::coordination::api::{Code, ConfigWatch, Error, Mode, Session};
use crate::systems::sites;
use crate::world::property::bug;
use crate::world::{Host, Level, rpc, select};

/// The znode of the catalogue.
pub const CATALOGUE: &str = "/allocator/catalogue";

/// The znode of what is believed, and of the weights that follow. Every allocator watches it.
pub const BELIEFS: &str = "/allocator/beliefs";

/// The znode of what was read for it, which concerns the learner alone. It is written together with the beliefs, or not at all, so that
/// both have one version.
pub const PROGRESS: &str = "/allocator/progress";

/// Where those stand in line who would learn.
pub const LEARNERS: &str = "/allocator/learners";

/// What a decision costs on a core.
const DECISION_COST: Duration = Duration::from_micros(20);

/// How long to wait before something is tried again.
const BACK_OFF: Duration = Duration::from_millis(100);

/// An allocator.
pub struct Allocator {
    /// Its host.
    pub host: Host,
    /// The settings.
    pub config: Rc<Config>,
    /// What it is connected to.
    pub neighbours: Rc<Neighbours>,
    /// Who watches it.
    pub observer: Observer,
    /// The newest catalogue it has seen.
    pub catalogue: RefCell<Option<(CatalogueVersion, Rc<Catalogue>)>>,
    beliefs: RefCell<Option<(WeightsVersion, Rc<Beliefs>)>>,
    /// The newest session: by the known bug a learner that was deposed writes under it.
    pub session: RefCell<Option<Session>>,
}

/// The life of an allocator.
pub async fn run(host: Host, config: Rc<Config>, neighbours: Rc<Neighbours>, observer: Observer) {
    let allocator = Rc::new(Allocator {
        host: host.clone(),
        config,
        neighbours,
        observer,
        catalogue: RefCell::default(),
        beliefs: RefCell::default(),
        session: RefCell::default(),
    });
    host.spawn("allocator-apps", allocator.clone().listen());
    loop {
        let timeout = allocator.config.session_timeout.get();
        let session = Session::begin(&host, &allocator.neighbours.ensemble, timeout);
        *allocator.session.borrow_mut() = Some(session.clone());
        let mut tasks = vec![
            host.spawn("allocator-catalogue", allocator.clone().follow_catalogue(session.clone())),
            host.spawn("allocator-weights", allocator.clone().follow_beliefs(session.clone())),
        ];
        let learner = host.spawn("allocator-learner", term::stand(allocator.clone(), session.clone()));
        // The known bug lets a learner outlive the session by which it was elected.
        if !bug("E02") {
            tasks.push(learner);
        }
        let stops = select! {
            () = session.expired() => false,
            () = host.shutdown_requested() => true,
        };
        tasks.iter().for_each(|task| task.abort());
        host.report_ready(false);
        if stops {
            // Whoever is next in line learns from now on, and not when the session has expired.
            let _ = host.timeout(BACK_OFF * 10, session.close()).await;
            crate::reached!("an allocator stopped in good order");
            return host.exit("shut down");
        }
        crate::reached!("the session of an allocator has expired");
    }
}

/// Creates the znodes that must exist before anything else.
pub async fn prepare(session: &Session) -> Result<(), Error> {
    session.ensure(LEARNERS).await?;
    let Learning { beliefs, progress } = Learning::default();
    for (path, value) in
        [(CATALOGUE, json(&Catalogue::default())), (BELIEFS, json(&beliefs)), (PROGRESS, json(&progress))]
    {
        match session.create(path, value, Mode::Persistent).await {
            Ok(_) => {}
            Err(error) if error.is(Code::NodeExists) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How values stand in znodes.
pub fn json(value: &impl serde::Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("plain values with keys that are text or numbers").into()
}

/// Reads a znode that holds such a value, and its version.
pub async fn read<T: DeserializeOwned>(session: &Session, path: &str) -> Result<(T, i32), Error> {
    let (data, stat) = session.get(path).await?;
    let value = serde_json::from_slice(&data).map_err(|_| Error::Refused(Code::MarshallingError))?;
    Ok((value, stat.version))
}

/// Reads all that was learnt, at one version.
pub async fn read_learning(session: &Session) -> Result<(Learning, i32), Error> {
    loop {
        let (beliefs, version): (Beliefs, i32) = read(session, BELIEFS).await?;
        let (progress, other): (Progress, i32) = read(session, PROGRESS).await?;
        // The known bug writes them apart.
        if version == other || bug("E01") {
            return Ok((Learning { beliefs, progress }, version));
        }
        crate::reached!("beliefs and progress were written between the reading of the one and of the other");
    }
}

impl Allocator {
    async fn follow_catalogue(self: Rc<Self>, session: Session) {
        while prepare(&session).await.is_err() {
            self.host.sleep(BACK_OFF).await;
        }
        let mut watch = ConfigWatch::new(&session, CATALOGUE);
        while let Ok(next) = watch.next().await {
            let Some((data, stat)) = next else { continue };
            let Ok(catalogue) = serde_json::from_slice::<Catalogue>(&data) else { continue };
            self.host.buggify_delay(&sites::CATALOGUE_READ).await;
            let version = CatalogueVersion::new(stat.version);
            // The server of a new session may lag behind that of the last.
            if self.catalogue.borrow().as_ref().is_none_or(|(known, _)| *known < version) {
                self.host.log(Level::Debug, || format!("takes over catalogue {version}"));
                self.observer.catalogue(version, &catalogue);
                *self.catalogue.borrow_mut() = Some((version, Rc::new(catalogue)));
            }
            self.report();
        }
    }

    async fn follow_beliefs(self: Rc<Self>, session: Session) {
        let mut watch = ConfigWatch::new(&session, BELIEFS);
        while let Ok(next) = watch.next().await {
            let Some((data, stat)) = next else { continue };
            let Ok(beliefs) = serde_json::from_slice::<Beliefs>(&data) else { continue };
            let version = WeightsVersion::new(stat.version);
            if self.beliefs.borrow().as_ref().is_none_or(|(known, _)| *known < version) {
                self.observer.beliefs(version, &beliefs);
                *self.beliefs.borrow_mut() = Some((version, Rc::new(beliefs)));
            }
            self.report();
        }
    }

    fn report(&self) {
        self.host.report_ready(self.catalogue.borrow().is_some() && self.beliefs.borrow().is_some());
    }

    async fn listen(self: Rc<Self>) {
        let mut listener = self.host.listen(PORT).await.expect("one process listens for apps");
        loop {
            let connection = listener.accept().await;
            let this = self.clone();
            let handler = move |ask: Ask| {
                let this = this.clone();
                async move { this.decide(ask).await }
            };
            let serving = rpc::serve(self.host.clone(), connection, "Decided", handler);
            self.host.spawn("allocator-connection", serving);
        }
    }

    async fn decide(&self, ask: Ask) -> Told {
        self.host.cpu(DECISION_COST).await;
        let (catalogue, beliefs) = (self.catalogue.borrow().clone(), self.beliefs.borrow().clone());
        let (Some((version, catalogue)), Some((weights, beliefs))) = (catalogue, beliefs) else {
            crate::reached!("an allocator was asked before it knew the catalogue");
            return Told::NotReady;
        };
        let experiment = catalogue.experiments.get(&ask.experiment).map(|experiment| experiment.id);
        let learnt = experiment.and_then(|id| beliefs.weights(id));
        let Assignment { reason, unit, arm } = assign(&catalogue, learnt, &ask);
        self.host.buggify_delay(&sites::DECISION).await;
        let mut choice = experiment.zip(arm).map(|(experiment, (arm, propensity))| Choice {
            experiment,
            arm,
            propensity,
            weights,
        });
        if let (Some(choice), Some(remembered), Reason::Remembered) = (&mut choice, ask.remembered, &reason) {
            crate::reached!("an arm was remembered by a browser");
            choice.weights = remembered.weights;
        }
        // The known bug tells the weight of now, whatever the arm was drawn by.
        if bug("E05")
            && let (Some(choice), Reason::Drawn) = (&mut choice, &reason)
            && let Some((_, newest)) = &*self.beliefs.borrow()
            && let Some(weight) =
                newest.weights(choice.experiment).and_then(|weights| weights.get(choice.arm))
        {
            choice.propensity = *weight;
        }
        self.host.count("allocator.decisions", 1);
        match reason {
            Reason::NoUnit => self.host.count("allocator.without_unit", 1),
            Reason::Ambiguous(_) => self.host.count("allocator.ambiguous_units", 1),
            _ => {}
        }
        Told::Decided(Decision { catalogue: version, weights, unit, reason, choice })
    }
}
