//! The life of every host as a picture for the terminal: a lane for each, a column for each slice of virtual time.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::base::{HostId, SimTime, Span};
use crate::lab::Act;
use crate::report::Report;
use crate::report::lives::{Life, Stretch, is_end, is_leader, lives, moments, spans};
use crate::world::Record;

/// The fewest columns a picture has, however narrow the terminal.
const COLUMNS_MIN: usize = 20;

/// How many columns lie between two figures on the axis, at least.
const TICK_COLUMNS: u32 = 10;

/// How many events are told under the picture before the rest is only counted.
const EVENTS_MAX: usize = 40;

const UP: char = '━';
const LEADS: char = '═';
const NOT_READY: char = '┄';
const PAUSED: char = '≈';
const DOWN: char = ' ';
const LINKS: char = '▒';
const HEALED: char = '|';
const FAULT: char = '×';
const LEADER: char = '◆';
const BROKEN: char = '!';

/// What part of a run is shown, and how wide.
#[derive(Clone, Debug)]
pub struct View {
    /// The start of the picture.
    pub from: SimTime,
    /// Its end.
    pub until: SimTime,
    /// The hosts that have a lane, by number.
    pub hosts: Vec<HostId>,
    /// How much virtual time a column stands for; so much that the whole fits if it is not given.
    pub slice: Option<Duration>,
    /// How many characters a line holds.
    pub width: usize,
}

/// The columns of one picture.
struct Columns {
    from: u64,
    slice: u64,
    count: usize,
}

impl Columns {
    fn end(&self) -> u64 {
        self.from + self.slice * self.count as u64
    }

    /// The column of a moment, if it is in the picture.
    fn of(&self, at: u64) -> Option<usize> {
        let within = self.from <= at && at < self.end();
        within.then(|| ((at - self.from) / self.slice) as usize)
    }

    /// The columns that a stretch touches.
    fn touched(&self, span: Stretch) -> std::ops::Range<usize> {
        let (from, to) = (nanos(span.from), nanos(span.to));
        if to <= self.from || self.end() <= from {
            return 0..0;
        }
        let first = (from.max(self.from) - self.from) / self.slice;
        let last = (to.min(self.end()) - self.from).div_ceil(self.slice);
        first as usize..last.max(first + 1) as usize
    }
}

/// A line of the picture. What is put later covers what was put before.
struct Lane(Vec<char>);

impl Lane {
    fn new(columns: &Columns, empty: char) -> Self {
        Self(vec![empty; columns.count])
    }

    fn stretch(&mut self, columns: &Columns, span: Stretch, with: char) {
        self.0[columns.touched(span)].fill(with);
    }

    fn mark(&mut self, columns: &Columns, at: SimTime, with: char) {
        if let Some(column) = columns.of(at.as_nanos()) {
            self.0[column] = with;
        }
    }

    /// Words that begin at a column, if they fit before what comes next and after what stands there.
    fn words(&mut self, column: usize, words: &str) {
        let end = column + words.chars().count();
        let free = self.0.get(column..end).is_some_and(|place| place.iter().all(|c| *c == ' '));
        if free && (column == 0 || self.0[column - 1] == ' ') {
            self.0[column..end].iter_mut().zip(words.chars()).for_each(|(place, c)| *place = c);
        }
    }

    fn text(&self) -> String {
        self.0.iter().collect()
    }
}

impl Report<'_> {
    /// The picture, with what its signs mean and what happened in it.
    pub fn timeline(&self, view: &View) -> String {
        let mut out = String::new();
        self.write_timeline(view, &mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write_timeline(&self, view: &View, out: &mut String) -> fmt::Result {
        let run = self.run;
        writeln!(out, "{}: {}", run.verdict.words().to_uppercase(), run.title)?;
        let names = view.hosts.iter().map(|host| self.name(*host).chars().count());
        let label = names.chain(["broken".len()]).max().unwrap_or_default();
        let room = view.width.saturating_sub(label + 1).max(COLUMNS_MIN);
        let length = view.until.since(view.from).as_nanos() as u64;
        let slice = match view.slice {
            Some(slice) => slice.as_nanos() as u64,
            None => rounded_up(length.div_ceil(room as u64)),
        };
        let slice = slice.max(1);
        let mut left = length.div_ceil(slice).max(1) as usize;
        let mut columns = Columns { from: view.from.as_nanos(), slice, count: 0 };
        let each = Span::new(Duration::from_nanos(slice));
        let (from, until) = (view.from, view.until);
        writeln!(out, "{}, seed {}: {from} to {until}, {each} a column", run.scenario.display(), run.seed)?;
        while 0 < left {
            columns.count = left.min(room);
            writeln!(out)?;
            self.write_picture(view, &columns, label, out)?;
            left -= columns.count;
            columns.from = columns.end();
        }
        writeln!(
            out,
            "\n{UP} up  {LEADS} up and leading  {NOT_READY} up, not ready  {PAUSED} paused  (blank) down  {LINKS} links at fault\n\
             {FAULT} a fault begins  {LEADER} becomes leader or controller  {HEALED} all is healed  {BROKEN} a promise is broken\n"
        )?;
        self.write_events(view, out)?;
        writeln!(out, "replay   {}", self.replay_command())
    }

    fn write_picture(&self, view: &View, columns: &Columns, label: usize, out: &mut String) -> fmt::Result {
        let run = self.run;
        let mut line = |name: &str, lane: &Lane| {
            writeln!(out, "{}", format!("{name:<label$} {}", lane.text()).trim_end())
        };
        let mut acts = Lane::new(columns, ' ');
        // The build is short: where names do not all fit, the later ones do.
        for (act, at) in run.acts.iter().filter(|(act, _)| *act != Act::Judge).rev() {
            if let Some(column) = columns.of(at.as_nanos()) {
                acts.words(column, &format!("|{}", act.name()));
            }
        }
        if acts.0.iter().any(|c| *c != ' ') {
            line("", &acts)?;
        }
        line("", &axis(columns))?;
        let moments = moments(run);
        if !moments.is_empty() {
            let mut broken = Lane::new(columns, ' ');
            for at in moments {
                broken.mark(columns, SimTime::from_nanos(nanos(at)), BROKEN);
            }
            line("broken", &broken)?;
        }
        let end = run.virtual_time.as_secs_f64();
        let storm: Vec<&Record> = run.storm().filter(|record| record.host.is_none()).collect();
        let mut links = Lane::new(columns, ' ');
        for (span, _) in spans(&storm, end) {
            links.stretch(columns, span, LINKS);
        }
        for record in &storm {
            match (record.text.contains(" healed"), is_end(&record.text)) {
                (true, _) => links.mark(columns, record.at, HEALED),
                (false, true) => {}
                (false, false) => links.mark(columns, record.at, FAULT),
            }
        }
        line("links", &links)?;
        let leading = self.leading();
        for host in &view.hosts {
            let lane = self.lane(*host, columns, leading.get(host).map_or(&[], Vec::as_slice));
            line(self.name(*host), &lane)?;
        }
        Ok(())
    }

    fn name(&self, host: HostId) -> &str {
        self.run.hosts.get(host.get() as usize).map_or("?", String::as_str)
    }

    fn lives_of(&self, host: HostId) -> Vec<(Stretch, Life)> {
        let here: Vec<&Record> =
            self.run.milestones.iter().filter(|record| record.host == Some(host)).collect();
        lives(&here, self.run.virtual_time.as_secs_f64())
    }

    fn lane(&self, host: HostId, columns: &Columns, leading: &[Stretch]) -> Lane {
        let run = self.run;
        let mut lane = Lane::new(columns, DOWN);
        let lives = self.lives_of(host);
        // What is less usual covers what is more so: a short outage is seen in a long column.
        for (state, sign) in
            [(Life::Up, UP), (Life::NotReady, NOT_READY), (Life::Paused, PAUSED), (Life::Down, DOWN)]
        {
            let here = lives.iter().filter(|(_, life)| *life == state);
            here.for_each(|(span, _)| lane.stretch(columns, *span, sign));
            if state == Life::Up {
                leading.iter().for_each(|span| lane.stretch(columns, *span, LEADS));
            }
        }
        let mine = |record: &&Record| record.host == Some(host);
        for record in run.storm().filter(mine).filter(|record| !is_end(&record.text)) {
            lane.mark(columns, record.at, FAULT);
        }
        for record in run.milestones.iter().filter(mine).filter(|record| is_leader(record)) {
            lane.mark(columns, record.at, LEADER);
        }
        if let Some(violation) = &run.violation
            && violation.host.as_deref() == Some(self.name(host))
        {
            lane.mark(columns, violation.at, BROKEN);
        }
        lane
    }

    /// When each host led: until another was elected in the same way, or its process ended.
    fn leading(&self) -> BTreeMap<HostId, Vec<Stretch>> {
        let mut leading: BTreeMap<HostId, Vec<Stretch>> = BTreeMap::new();
        let elections: Vec<&Record> = self.run.milestones.iter().filter(|record| is_leader(record)).collect();
        for (index, election) in elections.iter().enumerate() {
            let Some(host) = election.host else { continue };
            let from = election.at.as_secs_f64();
            let next = elections[index + 1..].iter().find(|later| later.text == election.text);
            let next = next.map_or(self.run.virtual_time, |later| later.at).as_secs_f64();
            let lives = self.lives_of(host);
            let ends = lives.iter().find(|(span, life)| *life == Life::Down && from <= span.from);
            let to = ends.map_or(next, |(span, _)| span.from.min(next));
            leading.entry(host).or_default().push(Stretch { from, to });
        }
        leading
    }

    /// What the signs stand for, in the order of time.
    fn write_events(&self, view: &View, out: &mut String) -> fmt::Result {
        let run = self.run;
        let shown = |record: &&Record| {
            let in_time = view.from <= record.at && record.at < view.until;
            in_time && record.host.is_none_or(|host| view.hosts.contains(&host))
        };
        let telling = |record: &&Record| {
            is_leader(record)
                || record.text.starts_with("VIOLATED: ")
                || run.storm().any(|fault| std::ptr::eq(fault, *record)) && !record.text.ends_with(" ends")
        };
        let told: Vec<&Record> = run.milestones.iter().filter(shown).filter(telling).collect();
        for record in told.iter().take(EVENTS_MAX) {
            writeln!(out, "{}", record.line(&run.hosts))?;
        }
        if let Some(more @ 1..) = told.len().checked_sub(EVENTS_MAX) {
            writeln!(out, "and {more} more: --from and --until choose a part")?;
        }
        let examples = run.checks.iter().filter(|check| !check.held());
        for check in examples {
            let first = check.examples.iter().find(|example| example.at.is_some());
            if let Some(example) = first {
                writeln!(out, "broken: {}, first {example}", check.name)?;
            }
        }
        if told.is_empty() { Ok(()) } else { writeln!(out) }
    }
}

fn axis(columns: &Columns) -> Lane {
    let mut lane = Lane::new(columns, ' ');
    let least = columns.slice.saturating_mul(u64::from(TICK_COLUMNS));
    let steps = (0..19).flat_map(|power| [1, 2, 5].map(|by| by * 10u64.pow(power)));
    let step = steps.into_iter().find(|step| least <= *step).unwrap_or(least);
    for number in columns.from.div_ceil(step)..=columns.end() / step {
        let at = number * step;
        if let Some(column) = columns.of(at) {
            lane.words(column, &format!("|{}s", at as f64 / 1e9));
        }
    }
    lane
}

/// To three digits, so that it can be read.
fn rounded_up(number: u64) -> u64 {
    let unit = 10u64.pow(number.checked_ilog10().unwrap_or_default().saturating_sub(2));
    number.div_ceil(unit) * unit
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Run, sample};
    use crate::world::trace::What;

    fn run() -> Run {
        let record = |millis, host: Option<u32>, what, text: &str| Record {
            at: SimTime::ZERO + Duration::from_millis(millis),
            host: host.map(HostId::new),
            what,
            text: text.to_owned(),
            position: millis,
            message: None,
        };
        Run {
            hosts: vec!["broker-1".to_owned(), "broker-2".to_owned()],
            milestones: vec![
                record(0, Some(0), What::Process, "started, incarnation 1"),
                record(0, Some(1), What::Process, "started, incarnation 1"),
                record(2_000, Some(0), What::Process, "ready"),
                record(2_000, Some(0), What::Property, "a controller was elected"),
                record(10_000, None, What::Fault, "partition broker-1 | broker-2, 15s"),
                record(20_000, Some(0), What::Fault, "crash of broker-1, down 2s"),
                record(20_000, Some(0), What::Process, "crashed"),
                record(22_000, Some(0), What::Process, "started, incarnation 2"),
                record(24_000, Some(1), What::Property, "a controller was elected"),
                record(25_000, None, What::Fault, "partition ends"),
                record(28_000, Some(0), What::Process, "ready"),
                record(40_000, Some(1), What::Process, "paused"),
                record(45_000, Some(1), What::Process, "resumed"),
                record(61_000, None, What::Fault, "all is healed"),
            ],
            ..sample::violated()
        }
    }

    fn pictures(view: View) -> String {
        let run = run();
        let told = Report { run: &run, plan_file: None, difference: None }.timeline(&view);
        let pictures = told.split("━ up").next().unwrap_or_default();
        pictures.lines().skip(2).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_host_has_a_lane_and_the_whole_fits_the_width() {
        let hosts = vec![HostId::new(0), HostId::new(1)];
        let view = View { from: SimTime::ZERO, until: run().virtual_time, hosts, slice: None, width: 71 };
        insta::assert_snapshot!(pictures(view), @r"
                   |stir
                 |0s       |10s      |20s      |30s      |40s      |50s
        broken               !
        links              ×▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                                   |
        broker-1 ┄┄◆═════════════════×  ┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
        broker-2 ━━━━━━━━━━━━!━━━━━━━━━━━◆═══════════════≈≈≈≈≈≈════════════════
        ");
    }

    #[test]
    fn a_slice_of_time_for_each_column_makes_as_many_pictures_as_it_takes() {
        let view = View {
            from: SimTime::ZERO + Duration::from_secs(18),
            until: SimTime::ZERO + Duration::from_secs(26),
            hosts: vec![HostId::new(0)],
            slice: Some(Duration::from_millis(200)),
            width: 9 + 25,
        };
        insta::assert_snapshot!(pictures(view), @r"
                 |18s      |20s      |22s
        broken
        links    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
        broker-1 ══════════×         ┄┄┄┄┄
                      |24s
        broken
        links    ▒▒▒▒▒▒▒▒▒▒
        broker-1 ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄
        ");
    }
}
