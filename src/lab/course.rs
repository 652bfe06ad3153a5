//! The course of one run: build, stir, heal, settle, judge.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::base::{Better, Figure, HostId, Seed, SimTime};
use crate::checkers::{Check, replication, service};
use crate::lab::platform::Platform;
use crate::lab::{Act, Options, Progress, Run, Verdict};
use crate::scenario::{Acts, Scenario, SettleForm};
use crate::workloads::Workload;
use crate::world::fault::{FaultPlan, Injector, Operator, Place, conduct};
use crate::world::property::{PropertyTally, Violation};
use crate::world::tank::{Outcome, TankError};
use crate::world::trace::What;
use crate::world::{Cut, Record, Recording, Tank, TankConfig, select};

/// How long systems may take to become ready, and workloads to prepare, before anything breaks.
const BUILD_BOUND: Duration = Duration::from_secs(120);

/// How often progress is reported, in virtual time.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How often convergence is looked for.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

/// How many lines of the trace before the end of a failing run are worth a look, or around what a checker found.
const EXCERPT_MAX: usize = 30;

/// How many of them may follow on what a checker found.
const EXCERPT_AFTER: usize = 10;

/// Runs a scenario under a seed, on a fresh thread, to its verdict. `progress` is called once a virtual second.
#[expect(clippy::disallowed_methods, reason = "a run reports its wall time; nothing in it can read it")]
pub fn execute(
    scenario: &Scenario,
    seed: Seed,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Run {
    let began = Instant::now();
    let mut run = thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let report = move |progress| {
            // Nobody listens any more when the caller has gone; the run goes on to its end.
            let _ = sender.send(progress);
        };
        let runner = scope.spawn(move || play(scenario, seed, options, report));
        receiver.into_iter().for_each(progress);
        runner.join().expect("panics of tasks are caught and become violations")
    });
    run.wall_time = began.elapsed();
    run
}

/// Where the hosts of a scenario stand.
pub fn places(scenario: &Scenario) -> Vec<Place> {
    standing(scenario, |tank, platform| platform.places(tank))
}

/// The names of the figures that a run of a scenario has.
pub fn figure_names(scenario: &Scenario) -> Vec<String> {
    standing(scenario, |_, platform| {
        let figures = figures(&platform.workloads, None, [0, 0]).into_iter();
        figures.map(|figure| figure.name).collect()
    })
}

/// What there is to say of a platform that stands and has not begun to run.
fn standing<T: Default + Send + 'static>(scenario: &Scenario, ask: fn(&Tank, &Platform) -> T) -> T {
    let stand = || {
        let found = Rc::new(RefCell::new(T::default()));
        let (hosted, answer) = (scenario.clone(), found.clone());
        let build = move |tank: Tank| async move {
            *answer.borrow_mut() = ask(&tank, &Platform::build(&tank, &hosted));
        };
        // Nothing runs in it: how it ends tells nothing.
        let _ = Tank::run(scenario.seed, tank_config(scenario, &Recording::default()), build);
        found.take()
    };
    thread::scope(|scope| scope.spawn(stand).join().expect("hosts are added, and nothing else is done"))
}

fn tank_config(scenario: &Scenario, recording: &Recording) -> TankConfig {
    TankConfig {
        zones: scenario.zones.names.clone(),
        network: scenario.zones.network(),
        clocks: scenario.clocks.clone(),
        bugs: scenario.bugs.iter().cloned().collect(),
        recording: recording.clone(),
    }
}

/// What a run leaves behind, even if a violation cuts it short.
#[derive(Default)]
struct Notes {
    injector: Option<Injector>,
    workloads: Vec<Rc<dyn Workload>>,
    replication: Option<Rc<RefCell<replication::History>>>,
    plan: FaultPlan,
    drawn: Vec<(String, String)>,
    acts: Vec<(Act, SimTime)>,
    healed: Option<SimTime>,
    /// When servers and clients had come to rest after that.
    rested: Option<SimTime>,
    unmet: Vec<String>,
    checks: Vec<Check>,
}

fn play(scenario: &Scenario, seed: Seed, options: &Options, report: impl Fn(Progress) + 'static) -> Run {
    let notes = Rc::new(RefCell::new(Notes::default()));
    let (scenario_of_run, drawn) = scenario.drawn(seed);
    notes.borrow_mut().drawn = drawn;
    let config = tank_config(scenario, &options.recording);
    let acts = Play {
        scenario: scenario_of_run,
        plan: options.plan.clone(),
        cut: options.cut.clone(),
        notes: notes.clone(),
        report: Box::new(report),
    };
    let (result, outcome) = Tank::run(seed, config, move |tank| acts.play(tank));
    let notes = notes.take();
    conclude(scenario, seed, result, outcome, notes)
}

struct Play {
    scenario: Scenario,
    plan: Option<FaultPlan>,
    cut: Option<Cut>,
    notes: Rc<RefCell<Notes>>,
    report: Box<dyn Fn(Progress)>,
}

impl Play {
    async fn play(self, tank: Tank) {
        tank.set_cooperation(false);
        if let Some(cut) = &self.cut {
            tank.cut_short(cut);
        }
        let platform = Platform::build(&tank, &self.scenario);
        let (budgets, operator) = (platform.budgets.clone(), platform.operator.clone());
        let injector = Injector::with_operator(tank.clone(), budgets, self.scenario.beyond_budget, operator);
        {
            let mut notes = self.notes.borrow_mut();
            notes.workloads.clone_from(&platform.workloads);
            notes.replication.clone_from(&platform.replication);
            notes.injector = Some(injector.clone());
        }
        if let Err(unmet) = self.build(&tank, &platform).await {
            self.notes.borrow_mut().unmet.push(unmet);
            return;
        }
        self.stir(&tank, &platform, &injector).await;
        let core = self.heal(&tank, &platform, &injector);
        self.settle(&tank, &platform, &core).await;
        self.enter(&tank, Act::Judge);
        self.notes.borrow_mut().checks = platform.judge();
    }

    fn enter(&self, tank: &Tank, act: Act) {
        self.notes.borrow_mut().acts.push((act, tank.now()));
        self.tell(tank, act);
    }

    fn tell(&self, tank: &Tank, act: Act) {
        let faults = self.notes.borrow().injector.as_ref().map_or(0, |injector| {
            injector.counts().values().map(|count| count.injected + count.downgraded).sum()
        });
        (self.report)(Progress { virtual_time: tank.now(), act, events: tank.events(), faults });
    }

    /// Sleeps until `until` in slices, so that progress can be told.
    async fn pass(&self, tank: &Tank, act: Act, until: SimTime) {
        while tank.now() < until {
            tank.sleep(PROGRESS_EVERY.min(until.since(tank.now()))).await;
            self.tell(tank, act);
        }
    }

    async fn build(&self, tank: &Tank, platform: &Platform) -> Result<(), String> {
        self.enter(tank, Act::Build);
        let servers = platform.servers();
        let ready = || servers.iter().all(|host| tank.is_ready(*host));
        if !tank.wait_until(BUILD_BOUND, SETTLE_LOOK, ready).await {
            return Err(format!(
                "not ready within {BUILD_BOUND:?} of the start: {}",
                unready(tank, &servers)
            ));
        }
        for workload in &platform.workloads {
            let prepared = select! {
                prepared = workload.setup() => prepared,
                () = tank.sleep(BUILD_BOUND) => Err(format!("nothing within {BUILD_BOUND:?}")),
            };
            prepared.map_err(|error| format!("{} could not prepare: {error}", workload.name()))?;
        }
        // Topics have been created since: their replicas must be in sync before the first fault.
        if !tank.wait_until(BUILD_BOUND, SETTLE_LOOK, ready).await {
            return Err(format!("not ready after the workloads prepared: {}", unready(tank, &servers)));
        }
        Ok(())
    }

    async fn stir(&self, tank: &Tank, platform: &Platform, injector: &Injector) {
        self.enter(tank, Act::Stir);
        let stir = self.scenario.acts.stir.get();
        let places = platform.places(tank);
        let plan = self.plan.clone().unwrap_or_else(|| {
            let (plan, intensities) =
                FaultPlan::draw(&self.scenario.faults, &places, stir, tank.seed(), self.scenario.swarm);
            let drawn = intensities
                .into_iter()
                .map(|intensity| (format!("faults {}", intensity.rule), format!("x{:.2}", intensity.value)));
            self.notes.borrow_mut().drawn.extend(drawn);
            plan.with(&self.scenario.plan)
        });
        self.notes.borrow_mut().plan = plan.clone();
        tank.set_cooperation(self.scenario.acts.cooperation);
        platform.workloads.iter().for_each(|workload| workload.start(tank.now()));
        conduct(&plan, places, injector);
        self.pass(tank, Act::Stir, tank.now() + stir).await;
    }

    /// Ends the chaos; returns the hosts that must converge.
    fn heal(&self, tank: &Tank, platform: &Platform, injector: &Injector) -> Vec<HostId> {
        self.notes.borrow_mut().healed = Some(tank.now());
        // A damaged copy is made good by the others: all must come back then.
        let form = if injector.has_damaged() { SettleForm::All } else { self.scenario.acts.settle_form };
        match form {
            SettleForm::All => {
                injector.heal();
                platform.servers()
            }
            SettleForm::Core => {
                let mut stream = tank.random("core");
                let core: BTreeSet<HostId> =
                    platform.cores.iter().flat_map(|core| core(&mut stream)).collect();
                injector.heal_core(&core);
                core.into_iter().collect()
            }
        }
    }

    async fn settle(&self, tank: &Tank, platform: &Platform, core: &[HostId]) {
        self.enter(tank, Act::Settle);
        let workloads = &platform.workloads;
        workloads.iter().for_each(|workload| workload.stop());
        let deadline = tank.now() + self.scenario.acts.settle.get();
        let mut steady_since = None;
        let at_rest = || {
            if !core.iter().all(|host| tank.is_ready(*host)) {
                steady_since = None;
                return Err(format!("not ready: {}", unready(tank, core)));
            }
            let since = *steady_since.get_or_insert(tank.now());
            let orders = platform.operator.as_ref().map(Operator::open).unwrap_or_default();
            if let Some(order) = orders.first() {
                return Err(format!("the operator has still to {order}"));
            }
            let steady = Acts::STEADY <= tank.now().since(since);
            if steady { Ok(()) } else { Err("servers have just become ready".to_owned()) }
        };
        let finished = self.await_all(tank, deadline, workloads, |workload| workload.finished(), at_rest);
        let mut unmet = finished.await;
        if unmet.is_empty() {
            self.notes.borrow_mut().rested = Some(tank.now());
            workloads.iter().for_each(|workload| workload.read_back());
            unmet = self.await_all(tank, deadline, workloads, |workload| workload.settled(), || Ok(())).await;
        }
        self.notes.borrow_mut().unmet = unmet;
    }

    /// Waits until all workloads and the servers have come as far as is asked; what has not at the deadline.
    async fn await_all(
        &self,
        tank: &Tank,
        deadline: SimTime,
        workloads: &[Rc<dyn Workload>],
        ask: impl Fn(&dyn Workload) -> Result<(), String>,
        mut servers: impl FnMut() -> Result<(), String>,
    ) -> Vec<String> {
        let mut told = tank.now();
        loop {
            let waiting = workloads.iter().filter_map(|workload| {
                ask(&**workload).err().map(|reason| format!("{}: {reason}", workload.name()))
            });
            let waiting: Vec<String> = waiting.chain(servers().err()).collect();
            if waiting.is_empty() || deadline <= tank.now() {
                return waiting;
            }
            tank.sleep(SETTLE_LOOK).await;
            if told + PROGRESS_EVERY <= tank.now() {
                told = tank.now();
                self.tell(tank, Act::Settle);
            }
        }
    }
}

fn unready(tank: &Tank, hosts: &[HostId]) -> String {
    let names = tank.hosts();
    let unready = hosts.iter().filter(|host| !tank.is_ready(**host));
    unready.map(|host| names[host.get() as usize].clone()).collect::<Vec<_>>().join(", ")
}

fn conclude(
    scenario: &Scenario,
    seed: Seed,
    result: Result<(), TankError>,
    outcome: Outcome,
    notes: Notes,
) -> Run {
    let violation = outcome.violation.clone().or_else(|| stuck(&result, outcome.virtual_time));
    let broken = violation.is_some() || notes.checks.iter().any(|check| !check.held());
    let verdict = match (broken, notes.unmet.is_empty()) {
        (true, _) => Verdict::Violated,
        _ if result == Err(TankError::CutShort) => Verdict::CutShort,
        (false, true) => Verdict::Held,
        (false, false) => Verdict::NotConverged,
    };
    let not_reached =
        if result.is_ok() { not_reached(&scenario.expect.reaches, &outcome.properties) } else { Vec::new() };
    let counters = notes.workloads.iter().flat_map(|workload| {
        let progress = workload.progress().into_iter();
        progress.map(|(name, value)| (format!("{} {name}", workload.name()), value)).collect::<Vec<_>>()
    });
    let converged = notes.healed.zip(notes.rested).map(|(healed, rested)| rested.since(healed).as_secs_f64());
    let mut figures = figures(&notes.workloads, converged, [outcome.messages, outcome.disk_operations]);
    if result.is_err() {
        // What a run that was cut short did not live to see would have changed them.
        figures.iter_mut().for_each(|figure| figure.value = None);
    }
    let service = notes.workloads.iter().map(|workload| {
        (workload.name().to_owned(), service::by_second(&workload.requests(), &workload.unread()))
    });
    let service = service.collect();
    let in_sync = notes.replication.iter().flat_map(|history| history.borrow().courses()).collect();
    let excerpt = match (verdict, &violation) {
        (Verdict::Held | Verdict::CutShort, _) => Vec::new(),
        (Verdict::Violated, None) => {
            let found =
                notes.checks.iter().flat_map(|check| &check.examples).filter_map(|example| example.at);
            let healed = notes.healed.unwrap_or(SimTime::NEVER);
            match found.min() {
                // What went on after the heal would hide what it came from.
                Some(first) if first < healed => excerpt(&outcome, first, EXCERPT_AFTER),
                _ => excerpt(&outcome, healed, 0),
            }
        }
        _ => excerpt(&outcome, SimTime::NEVER, 0),
    };
    Run {
        scenario: scenario.path.clone(),
        title: scenario.title.clone(),
        seed,
        overrides: scenario.overrides.clone(),
        verdict,
        digest: outcome.digest,
        virtual_time: outcome.virtual_time,
        acts: notes.acts,
        wall_time: Duration::ZERO,
        events: outcome.events,
        messages: outcome.messages,
        disk_operations: outcome.disk_operations,
        faults: notes.injector.as_ref().map(Injector::counts).unwrap_or_default(),
        fates: notes.injector.as_ref().map(Injector::fates).unwrap_or_default(),
        drawn: notes.drawn,
        plan: notes.plan,
        checks: notes.checks,
        properties: outcome.properties,
        meetings: outcome.meetings,
        sites: outcome.sites,
        violation,
        excerpt,
        unmet: notes.unmet,
        not_reached,
        counters: counters.collect(),
        figures,
        service,
        in_sync,
        records: outcome.records,
        milestones: outcome.milestones,
        hashes: outcome.hashes,
        samples: outcome.samples,
        hosts: outcome.hosts,
    }
}

/// The figures of a run that took so many seconds to converge, if it did.
fn figures(
    workloads: &[Rc<dyn Workload>],
    converged: Option<f64>,
    [messages, disk_operations]: [u64; 2],
) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in workloads {
        figures.extend(service::figures(workload.name(), &workload.requests()));
        figures.extend(workload.figures());
    }
    figures.push(Figure::new("time to converge", "s", Better::Less, converged));
    for (name, count) in [("messages", messages), ("disk operations", disk_operations)] {
        figures.push(Figure::new(name, "", Better::Neither, count as f64));
    }
    figures
}

/// A run that can go no further has broken the promise to go on.
fn stuck(result: &Result<(), TankError>, at: SimTime) -> Option<Violation> {
    let (property, detail) = match result {
        Ok(()) | Err(TankError::Violated | TankError::CutShort) => return None,
        Err(TankError::Deadlock) => ("the run goes on", "nothing can ever happen again".to_owned()),
        Err(TankError::Livelock(tasks)) => ("time goes on", format!("tasks spin without end: {tasks}")),
    };
    Some(Violation { at, host: None, property: property.to_owned(), detail })
}

fn not_reached(expected: &[String], properties: &[PropertyTally]) -> Vec<String> {
    let hit = |name: &String| properties.iter().any(|tally| tally.name == name && 0 < tally.hit);
    expected.iter().filter(|name| !hit(name)).cloned().collect()
}

/// The last notable lines before `until` and the next few: faults, processes, rare events and what systems said about themselves.
fn excerpt(outcome: &Outcome, until: SimTime, after: usize) -> Vec<String> {
    let telling =
        |record: &&Record| matches!(record.what, What::Fault | What::Process | What::Property | What::Log(_));
    let notable: Vec<&Record> = outcome.records.iter().filter(telling).collect();
    let end = notable.len().min(notable.partition_point(|record| record.at < until) + after);
    let lines = &notable[end.saturating_sub(EXCERPT_MAX)..end];
    let mut told: Vec<(String, u32)> = Vec::new();
    for line in lines.iter().map(|record| record.line(&outcome.hosts)) {
        match told.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => told.push((line, 1)),
        }
    }
    let line = |(line, times)| if times == 1 { line } else { format!("{line} (x {times})") };
    told.into_iter().map(line).collect()
}
