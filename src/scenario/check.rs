//! What the parts cannot see alone: hosts, zones, topics, messages, events and bugs must exist, names must be unique, data must be
//! there. What can be run and will have no effect is warned of.

use std::collections::BTreeSet;

use crate::base::{Problem, Span};
use crate::scenario::error::{Mistake, Warning};
use crate::scenario::nearest::{advice, nearest};
use crate::scenario::read::Document;
use crate::scenario::{Acts, Scenario, SettleForm};
use crate::systems;
use crate::systems::broker::api::Operation;
use crate::systems::bugs::BUGS;
use crate::systems::messages::MESSAGES;
use crate::world::fault::rule::{EVENT_HOST, Partition, Shape, matches};
use crate::world::fault::{FaultKind, FaultPlan, FaultRule, PlannedFault, PlannedKind, PlannedTarget};
use crate::world::property;

/// Everything wrong with a scenario that could be read.
pub(super) fn check(scenario: &Scenario, document: &Document<'_>) -> Vec<Mistake> {
    let mut problems = Vec::new();
    acts_and_zones(scenario, &mut problems);
    systems(scenario, &mut problems);
    workloads(scenario, &mut problems);
    for (index, rule) in scenario.faults.iter().enumerate() {
        let parent = format!("faults.{index}");
        let own = rule.validate().into_iter().chain(fault(rule, scenario));
        problems.extend(own.map(|problem| problem.within(&parent)));
    }
    problems.extend(plan(&scenario.plan, scenario).into_iter().map(|problem| problem.within("plan")));
    bugs_and_events(scenario, &mut problems);
    told(problems, document)
}

/// Problems at their places in the document.
pub(super) fn told(problems: Vec<Problem>, document: &Document<'_>) -> Vec<Mistake> {
    let told = |problem: Problem| {
        let message = format!("cannot use `{}`", problem.path);
        document.sources.mistake(document.span(&problem.path), message, problem.message).mend(problem.help)
    };
    problems.into_iter().map(told).collect()
}

/// Warnings at their places in the document.
pub(super) fn warned(problems: Vec<Problem>, document: &Document<'_>) -> Vec<Warning> {
    let warned = |problem: Problem| {
        let message = format!("`{}` lies beyond the stir", problem.path);
        let mistake = document.sources.mistake(document.span(&problem.path), message, problem.message);
        Warning::new(mistake.mend(problem.help))
    };
    problems.into_iter().map(warned).collect()
}

fn acts_and_zones(scenario: &Scenario, problems: &mut Vec<Problem>) {
    if scenario.title.trim().is_empty() {
        let mend = "say in one sentence what the scenario claims";
        problems.push(Problem::new("title", "an empty title tells nothing").help(mend));
    }
    if scenario.acts.stir.get().is_zero() {
        problems
            .push(Problem::new("acts.stir", "a stir of no length stirs nothing").help("try stir = \"60s\""));
    }
    let (settle, steady) = (scenario.acts.settle, Span::new(Acts::STEADY));
    if settle <= steady {
        let message = format!("{settle} is too short: servers must have been ready for {steady} first");
        problems.push(Problem::new("acts.settle", message).help("try settle = \"30s\""));
    }
    let names = &scenario.zones.names;
    if names.is_empty() {
        let mend = "name at least one: names = [\"a\", \"b\", \"c\"]";
        problems.push(Problem::new("zones.names", "hosts need a zone to stand in").help(mend));
    }
    for (index, name) in names.iter().enumerate() {
        let path = format!("zones.names.{index}");
        if name == "any" || !is_name(name) {
            problems.push(
                Problem::new(path, format!("`{name}` cannot be a zone"))
                    .help("use letters, digits, `-` and `_`; `any` stands for a zone that is drawn"),
            );
        } else if names[..index].contains(name) {
            problems.push(Problem::new(path, format!("the zone `{name}` stands twice")));
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn systems(scenario: &Scenario, problems: &mut Vec<Problem>) {
    let systems = &scenario.systems;
    if let Some(config) = &systems.coordination {
        problems.extend(config.validate().into_iter().map(|problem| problem.within("systems.coordination")));
    }
    allocators(scenario, problems);
    if let Some(config) = &systems.broker {
        problems.extend(config.validate().into_iter().map(|problem| problem.within("systems.broker")));
        if systems.coordination.is_none() {
            problems.push(
                Problem::new("systems.broker", "brokers need coordination, and there is none")
                    .help("add a table [systems.coordination]; it may be empty"),
            );
        }
    } else if systems.coordination.is_none() {
        problems.push(
            Problem::new("systems", "there is no system to test")
                .help("add [systems.coordination], and [systems.broker] if clients shall have topics"),
        );
    }
}

/// Allocators need coordination, and brokers with a topic for each kind of event.
fn allocators(scenario: &Scenario, problems: &mut Vec<Problem>) {
    let Some(config) = &scenario.systems.allocator else { return };
    let path = "systems.allocator";
    problems.extend(config.validate().into_iter().map(|problem| problem.within(path)));
    let Some(broker) = &scenario.systems.broker else {
        let message = "allocators need coordination and brokers";
        problems.push(Problem::new(path, message).help("add [systems.coordination] and [systems.broker]"));
        return;
    };
    for (key, topic) in [("exposures", &config.exposures), ("outcomes", &config.outcomes)] {
        if !broker.topics.iter().any(|known| known.name == *topic) {
            let message = format!("there is no topic `{topic}` under systems.broker.topics");
            let known = broker.topics.iter().map(|topic| topic.name.as_str());
            let near = nearest(topic, known).map(|name| format!("did you mean `{name}`?"));
            let add = format!("add {{ name = \"{topic}\", partitions = 3, replicas = 3, min_in_sync = 2 }}");
            problems.push(Problem::new(format!("{path}.{key}"), message).help(near.unwrap_or(add)));
        }
    }
}

fn workloads(scenario: &Scenario, problems: &mut Vec<Problem>) {
    let mut names = BTreeSet::new();
    let mut name_of = |path: &str, name: &str, problems: &mut Vec<Problem>| {
        if !is_name(name) {
            problems.push(
                Problem::new(
                    format!("{path}.name"),
                    format!("`{name}` cannot be the first part of a host's name"),
                )
                .help("use letters, digits, `-` and `_`"),
            );
        } else if !names.insert(name.to_owned()) {
            problems.push(
                Problem::new(format!("{path}.name"), format!("two workloads are called `{name}`"))
                    .help("give each a `name` of its own"),
            );
        }
    };
    for (index, config) in scenario.workloads.clickstream.iter().enumerate() {
        let path = format!("workloads.clickstream.{index}");
        problems.extend(config.validate().into_iter().map(|problem| problem.within(&path)));
        name_of(&path, &config.name, problems);
        match &scenario.systems.broker {
            None => problems.push(
                Problem::new(&path, "a clickstream needs brokers, and there are none")
                    .help("add [systems.broker] with its topic"),
            ),
            Some(broker) => {
                if broker.message_max < config.batch {
                    let message = format!("brokers refuse batches of more than {}", broker.message_max);
                    let mend = "use smaller batches, or raise systems.broker.message_max";
                    problems.push(Problem::new(format!("{path}.batch"), message).help(mend));
                }
                let topics = broker.topics.iter().map(|topic| topic.name.as_str());
                if !topics.clone().any(|topic| topic == config.topic) {
                    let message = format!("there is no topic `{}` under systems.broker.topics", config.topic);
                    let near = nearest(&config.topic, topics).map(|name| format!("did you mean `{name}`?"));
                    let add = format!("add {{ name = \"{}\", partitions = 6, replicas = 3 }}", config.topic);
                    problems.push(Problem::new(format!("{path}.topic"), message).help(near.unwrap_or(add)));
                }
            }
        }
    }
    for (index, config) in scenario.workloads.garbage.iter().enumerate() {
        let path = format!("workloads.garbage.{index}");
        problems.extend(config.validate().into_iter().map(|problem| problem.within(&path)));
        name_of(&path, &config.name, problems);
        problems.extend(dump(&path, &config.topic, scenario));
    }
    if let Some(config) = &scenario.workloads.experiment {
        let path = "workloads.experiment";
        problems.extend(config.validate().into_iter().map(|problem| problem.within(path)));
        name_of(path, &config.name, problems);
        if scenario.systems.allocator.is_none() {
            let message = "experiments need allocators, and there are none";
            problems
                .push(Problem::new(path, message).help("add a table [systems.allocator]; it may be empty"));
        }
    }
    for (index, config) in scenario.workloads.registers.iter().enumerate() {
        let path = format!("workloads.registers.{index}");
        problems.extend(config.validate().into_iter().map(|problem| problem.within(&path)));
        name_of(&path, &config.name, problems);
        if scenario.systems.coordination.is_none() {
            problems.push(
                Problem::new(&path, "registers live in coordination, and there is none")
                    .help("add a table [systems.coordination]; it may be empty"),
            );
        }
    }
}

/// Garbage must have a topic of its own, which stays empty.
fn dump(path: &str, topic: &str, scenario: &Scenario) -> Option<Problem> {
    let broker = scenario.systems.broker.as_ref()?;
    let path = format!("{path}.topic");
    if let Some(user) = scenario.workloads.clickstream.iter().find(|config| config.topic == topic) {
        let message = format!("`{}` fills `{topic}`, and nothing may stand where garbage goes", user.name);
        return Some(Problem::new(path, message).help("name a topic of its own"));
    }
    if broker.topics.iter().any(|known| known.name == topic) {
        return None;
    }
    let message = format!("there is no topic `{topic}` under systems.broker.topics");
    Some(Problem::new(path, message).help(format!("add {{ name = \"{topic}\", replicas = 3 }}")))
}

/// What a rule names that is not in the scenario: hosts, zones, messages, events.
fn fault(rule: &FaultRule, scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    let kind = rule.kind.name();
    for (key, pattern) in patterns(&rule.kind) {
        if pattern == EVENT_HOST && rule.on.is_some() {
            continue;
        }
        problems.extend(hosts_match(&format!("do.{kind}.{key}"), pattern, scenario));
    }
    match &rule.kind {
        FaultKind::ZoneOutage(outage) if outage.zone != "any" => {
            problems.extend(zone(&format!("do.{kind}.zone"), &outage.zone, scenario));
        }
        FaultKind::Partition(partition) => problems.extend(can_be_cut(partition, scenario)),
        FaultKind::HoldBack(hold) => {
            problems.extend(message(&format!("do.{kind}.message"), &hold.message, scenario));
        }
        FaultKind::Operate(operate) => {
            problems.extend(order(&operate.action, &operate.subject, scenario));
            let longest = operate.patience.max();
            if scenario.acts.settle <= longest {
                let message = format!("an order that is given last could still be tried after {longest}");
                let mend = format!("stay below acts.settle, which is {}", scenario.acts.settle);
                problems.push(Problem::new("do.operate.patience", message).help(mend));
            }
        }
        _ => {}
    }
    if let Some(on) = &rule.on {
        problems.extend(event("on.event", &on.event));
    }
    problems
}

/// A zone must exist, and a server must stand in it: otherwise what hits its servers would silently hit nothing.
fn zone(path: &str, name: &str, scenario: &Scenario) -> Option<Problem> {
    let held = scenario.zones_with_servers();
    let empty = || {
        let mend = format!("servers stand in {}; add servers, or name fewer zones", held.join(", "));
        Problem::new(path, format!("no server stands in zone `{name}`")).help(mend)
    };
    zone_exists(path, name, scenario).or_else(|| (!held.contains(&name)).then(empty))
}

fn zone_exists(path: &str, name: &str, scenario: &Scenario) -> Option<Problem> {
    let names = scenario.zones.names.iter().map(String::as_str);
    if names.clone().any(|zone| zone == name) {
        return None;
    }
    let problem = Problem::new(path, format!("there is no zone `{name}`"));
    Some(Problem { help: advice(name, names.chain(["any"])), ..problem })
}

/// A message must be one that a system of the scenario sends.
fn message(path: &str, name: &str, scenario: &Scenario) -> Option<Problem> {
    // What opens and closes connections belongs to no system.
    let stands = |system: &str| scenario.systems.has(system) || !systems::NAMES.contains(&system);
    let sent =
        MESSAGES.iter().filter(|(system, _)| stands(system)).flat_map(|(_, names)| names.iter().copied());
    if sent.clone().any(|known| known == name) {
        return None;
    }
    if let Some((system, _)) = MESSAGES.iter().find(|(_, names)| names.contains(&name)) {
        let message = format!("`{name}` is a message of {system}, which is not in the scenario");
        return Some(Problem::new(path, message).help(format!("add a table [systems.{system}]")));
    }
    let problem = Problem::new(path, format!("no system sends a message called `{name}`"));
    Some(problem.help(match nearest(name, sent) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "`wavetank replay … --everything` shows the names of all messages, such as `Fetch`".to_owned()
        }
    }))
}

/// An order must be for something that can be done, to something that is there.
fn order(action: &str, subject: &str, scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names = Operation::ALL.iter().map(|(name, _)| *name);
    if !names.clone().any(|name| name == action) {
        let problem = Problem::new("do.operate.action", format!("no operator can `{action}`"));
        problems.push(Problem { help: advice(action, names), ..problem });
    }
    let Some(broker) = &scenario.systems.broker else {
        let message = "operators work on brokers, and there are none";
        problems.push(Problem::new("do.operate", message).help("add [systems.broker] with a topic"));
        return problems;
    };
    if action == "recreate_topic" {
        if scenario.acts.settle_form == SettleForm::Core {
            let message = "a topic that is created anew needs all its brokers, and not all may come back";
            let mend = "use acts.settle_form = \"all\"";
            problems.push(Problem::new("do.operate.action", message).help(mend));
        }
        let mut strict = scenario.workloads.clickstream.iter().filter(|config| !config.recreated);
        if let Some(config) = strict.find(|config| config.topic == subject) {
            let message = format!("`{}` expects to find all that it sent through `{subject}`", config.name);
            let mend = "say recreated = true in that workload";
            problems.push(Problem::new("do.operate.action", message).help(mend));
        }
    }
    let topics = broker.topics.iter().map(|topic| topic.name.as_str());
    if !topics.clone().any(|topic| topic == subject) {
        let message = format!("there is no topic `{subject}` under systems.broker.topics");
        let problem = Problem::new("do.operate.subject", message);
        problems.push(Problem { help: advice(subject, topics), ..problem });
    }
    problems
}

/// A partition that leaves nobody on one side would silently do nothing.
fn can_be_cut(partition: &Partition, scenario: &Scenario) -> Option<Problem> {
    if let Some(name) = &partition.zone {
        let path = "do.partition.zone";
        let (zones, wrong) = match &partition.among {
            // Clients may take part, and stand in other zones than the servers.
            Some(_) => (scenario.zones.names.len(), zone_exists(path, name, scenario)),
            None => (scenario.zones_with_servers().len(), zone(path, name, scenario)),
        };
        let mend = "name a second zone under zones.names, or cut by `shape`";
        let alone = || Problem::new(path, "there is no other zone to part it from").help(mend);
        return wrong.filter(|_| name != "any").or_else(|| (zones == 1).then(alone));
    }
    let members = match &partition.among {
        Some(pattern) => scenario.hosts().iter().filter(|host| matches(pattern, host)).count(),
        None => scenario.servers().len(),
    };
    let needed = if partition.shape == Some(Shape::Bridge) { 3 } else { 2 };
    let message = format!("it needs {needed} hosts, and {members} would take part");
    (members < needed).then(|| Problem::new("do.partition", message).help("widen `among`, or add servers"))
}

/// Everything wrong with a plan of faults for this scenario.
pub(super) fn plan(plan: &FaultPlan, scenario: &Scenario) -> Vec<Problem> {
    let of = |(index, fault): (usize, &PlannedFault)| {
        let own = fault.validate().into_iter().chain(planned(fault, scenario));
        own.map(|problem| problem.within(&format!("faults.{index}"))).collect::<Vec<_>>()
    };
    plan.faults.iter().enumerate().flat_map(of).collect()
}

/// What a planned fault names that is not in the scenario.
fn planned(fault: &PlannedFault, scenario: &Scenario) -> Vec<Problem> {
    let mut problems = Vec::new();
    let kind = fault.kind.name();
    let patterns = fault.kind.patterns();
    for (key, pattern) in patterns.iter().filter(|(_, pattern)| *pattern != EVENT_HOST) {
        problems.extend(hosts_match(&format!("do.{kind}.{key}"), pattern, scenario));
    }
    match fault.kind.target() {
        PlannedTarget::Zone(name) => problems.extend(zone(&format!("do.{kind}.zone"), name, scenario)),
        PlannedTarget::Hosts([]) => {
            problems.push(Problem::new(format!("do.{kind}.hosts"), "it names no host").help("name some"));
        }
        PlannedTarget::Sides(from, to) if problems.is_empty() => {
            let hosts = scenario.hosts();
            let names = |side: &[String], host: &String| side.iter().any(|pattern| matches(pattern, host));
            let waits = |side: &[String]| side.iter().any(|pattern| pattern == EVENT_HOST);
            let first = waits(from) || hosts.iter().any(|host| names(from, host));
            let second = waits(to) || hosts.iter().any(|host| names(to, host) && !names(from, host));
            if !(first && second) {
                let message = "nobody would be parted: a host of both sides counts to the first";
                problems.push(Problem::new(format!("do.{kind}"), message).help("name hosts on both sides"));
            }
        }
        _ => {}
    }
    match &fault.kind {
        PlannedKind::HoldBack { message: name, .. } => {
            problems.extend(message(&format!("do.{kind}.message"), name, scenario));
        }
        PlannedKind::Operate { action, subject, .. } => {
            problems.extend(order(action, subject, scenario));
            if !scenario.has_operator() {
                let mend = "only a scenario with a fault `operate` of its own has an operator";
                let message = "there is nobody to give orders to in this scenario";
                problems.push(Problem::new("do.operate", message).help(mend));
            }
        }
        _ => {}
    }
    problems.extend(fault.on.iter().filter_map(|on| event("on.event", &on.event)));
    problems
}

/// What will never strike or come, because the stir ends before.
pub(super) fn idle(scenario: &Scenario) -> Vec<Problem> {
    let planned = idle_faults(&scenario.plan, scenario).into_iter().map(|problem| problem.within("plan"));
    idle_rules(scenario).into_iter().chain(planned).chain(idle_users(scenario)).collect()
}

/// The experiment whose users come for longest, if some would come after the stir.
fn idle_users(scenario: &Scenario) -> Option<Problem> {
    let (config, stir) = (scenario.workloads.experiment.as_ref()?, scenario.acts.stir);
    let (name, length) = config
        .users
        .iter()
        .map(|(name, model)| (name, config.takes(model)))
        .max_by_key(|(_, length)| *length)?;
    let message =
        format!("users come for {length}, but the stir ends after {stir}: whoever is later is not served");
    let help =
        format!("let them come for fewer days, raise `speed_up`, or make acts.stir longer than {length}");
    (stir < length)
        .then(|| Problem::new(format!("workloads.experiment.users.{name}.days"), message).help(help))
}

fn idle_rules(scenario: &Scenario) -> Vec<Problem> {
    let of = |(index, rule): (usize, &FaultRule)| {
        // A swarm may make a rule strike up to twice as often.
        let often = if scenario.swarm { 2 } else { 1 };
        let every = rule.every.map(|every| Span::new(every.min().get() / often));
        let (key, first) = rule.at.map(|at| ("at", at)).or(every.map(|every| ("every", every)))?;
        beyond_the_stir(format!("faults.{index}.{key}"), first, scenario)
    };
    scenario.faults.iter().enumerate().filter_map(of).collect()
}

/// Planned faults that will never strike.
pub(super) fn idle_faults(plan: &FaultPlan, scenario: &Scenario) -> Vec<Problem> {
    let of = |(index, fault): (usize, &PlannedFault)| {
        beyond_the_stir(format!("faults.{index}.at"), fault.at?, scenario)
    };
    plan.faults.iter().enumerate().filter_map(of).collect()
}

fn beyond_the_stir(path: String, first: Span, scenario: &Scenario) -> Option<Problem> {
    let stir = scenario.acts.stir;
    (stir <= first).then(|| {
        Problem::new(path, format!("this never strikes: the stir ends after {stir}"))
            .help(format!("strike earlier, or make acts.stir longer than {first}"))
    })
}

/// The patterns of hosts in a rule, each with the key under which it stands.
fn patterns(kind: &FaultKind) -> Vec<(&'static str, &str)> {
    if let Some(target) = kind.target() {
        let named = [("any_of", target.any_of), ("all_of", target.all_of)];
        return named.into_iter().filter_map(|(key, pattern)| Some((key, pattern?))).collect();
    }
    let (from, to) = match kind {
        FaultKind::Partition(partition) => {
            return partition.among.iter().map(|pattern| ("among", pattern.as_str())).collect();
        }
        FaultKind::Delay(link) | FaultKind::Jitter(link) => (&link.from, &link.to),
        FaultKind::Bandwidth(link) => (&link.from, &link.to),
        FaultKind::Reset(link) | FaultKind::HalfOpen(link) => (&link.from, &link.to),
        FaultKind::Refuse(link) => (&link.from, &link.to),
        FaultKind::HoldBack(link) => (&link.from, &link.to),
        _ => return Vec::new(),
    };
    vec![("from", from), ("to", to)]
}

fn hosts_match(path: &str, pattern: &str, scenario: &Scenario) -> Option<Problem> {
    let hosts = scenario.hosts();
    if hosts.iter().any(|host| matches(pattern, host)) {
        return None;
    }
    let stems: BTreeSet<String> =
        hosts.iter().filter_map(|host| Some(format!("{}-*", host.rsplit_once('-')?.0))).collect();
    // One host that does not exist is answered with the hosts of its kind, a pattern with the patterns there are.
    let near = nearest(pattern, stems.iter().map(String::as_str));
    let near = near.or_else(|| nearest(pattern, hosts.iter().map(String::as_str)));
    let known = stems.iter().map(|stem| {
        let count = hosts.iter().filter(|host| matches(stem, host)).count();
        format!("{stem} ({count})")
    });
    let known = known.collect::<Vec<_>>().join(", ");
    let message = format!("no host of this scenario is called `{pattern}`");
    let mend = match near {
        Some(name) => format!("did you mean `{name}`? There are {known}"),
        None => format!("there are {known}"),
    };
    Some(Problem::new(path, message).help(mend))
}

fn bugs_and_events(scenario: &Scenario, problems: &mut Vec<Problem>) {
    for (index, bug) in scenario.bugs.iter().enumerate() {
        let Some((_, system, ..)) = BUGS.iter().find(|(key, ..)| key == bug) else {
            let problem = Problem::new(format!("bugs.{index}"), format!("`{bug}` is not a known bug"));
            let near = nearest(bug, BUGS.iter().map(|(key, ..)| *key));
            let tell = "`wavetank bugs` lists them";
            let mend = near.map_or(tell.to_owned(), |near| format!("did you mean `{near}`? {tell}"));
            problems.push(problem.help(mend));
            continue;
        };
        if !scenario.systems.has(system) {
            let message = format!("`{bug}` is a bug of {system}, which is not in the scenario");
            problems.push(Problem::new(format!("bugs.{index}"), message));
        }
    }
    for (index, name) in scenario.expect.reaches.iter().enumerate() {
        problems.extend(event(&format!("expect.reaches.{index}"), name));
    }
}

fn event(path: &str, name: &str) -> Option<Problem> {
    if property::EVENTS.contains(&name) {
        return None;
    }
    let near = nearest(name, property::EVENTS.iter().copied());
    let problem = Problem::new(path, format!("no system has an event called \"{name}\""));
    Some(problem.help(
        near.map_or(
            "events are the `sometimes!` and `reached!` properties of the sources".to_owned(),
            |near| format!("did you mean \"{near}\"?"),
        ),
    ))
}
