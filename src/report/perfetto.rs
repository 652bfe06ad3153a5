//! A run in the Trace Event Format of Chrome, which <https://ui.perfetto.dev> opens: hosts are processes, what happened to them are
//! tracks, messages are arrows from their sending to their arrival.
//!
//! Source: "Trace Event Format" (Google, <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>). Times are
//! microseconds of virtual time. A message that never arrived is not shown. On each track events stand in the order of time, and slices
//! that overlap lie within each other, as readers of the format demand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::base::{HostId, SimTime};
use crate::report::Report;
use crate::report::lives::{Stretch, lives, spans};
use crate::world::Record;
use crate::world::trace::What;

/// How long the sending and the arrival of a message are drawn, in nanoseconds: they take no time, but arrows need something to tie to.
const MESSAGE_LENGTH: u64 = 1_000;

/// A process and a thread in it, as the format calls them.
type Track = (u32, u32);

/// What belongs to no host.
const TANK: u32 = 1;

const ACTS: Track = (TANK, 1);
const BROKEN: Track = (TANK, 2);
/// Faults of links may overlap: each lies on the first of these tracks that is free.
const LINKS: u32 = 3;
/// Where what befell no host in particular is marked. Far from the tracks of links, of which there may be many.
const EVENTS_OF_TANK: u32 = 1_000_000;

/// The tracks of a host.
const LIFE: u32 = 1;
const EVENTS: u32 = 2;
const DISK: u32 = 3;
const SENT: u32 = 4;
const RECEIVED: u32 = 5;
const HOST_TRACKS: [(u32, &str); 5] = [
    (LIFE, "process"),
    (EVENTS, "faults, events, log"),
    (DISK, "disk"),
    (SENT, "sends"),
    (RECEIVED, "receives"),
];

/// Something on a track.
struct Mark<'run> {
    /// Nanoseconds.
    at: u64,
    name: Cow<'run, str>,
    category: &'static str,
    shape: Shape,
    args: Option<Args<'run>>,
}

enum Shape {
    /// Until then, in nanoseconds.
    Slice(u64),
    /// A mark on its track; across all tracks if it concerns everybody.
    Moment { everywhere: bool },
    /// The end of an arrow of this number; or its beginning.
    Arrow { number: u64, begins: bool },
}

/// What is told of an event that is clicked on, or the value of a counter.
#[derive(Serialize)]
#[serde(untagged)]
enum Args<'run> {
    Sent { to: &'run str, bytes: u64, connection: u64 },
    Received { from: &'run str, bytes: u64, connection: u64, position: u64 },
    Event { position: u64 },
    Value { value: f64 },
    Name { name: &'run str },
    Order { sort_index: u32 },
}

/// One entry of the file; its fields are named by the format.
#[derive(Serialize)]
struct Entry<'run> {
    name: &'run str,
    ph: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'run Args<'run>>,
}

impl<'run> Entry<'run> {
    fn new(name: &'run str, ph: &'static str, (pid, tid): Track) -> Self {
        Self { name, ph, cat: None, ts: 0.0, dur: None, pid, tid, id: None, s: None, bp: None, args: None }
    }
}

/// What is told of the run as a whole.
#[derive(Serialize)]
struct About<'run> {
    title: &'run str,
    scenario: String,
    seed: String,
    verdict: &'static str,
    digest: String,
    replay: String,
}

impl Report<'_> {
    /// Writes the run as a trace for Perfetto. All messages are in it if the run was asked to keep everything.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write_perfetto(&self, out: &mut impl Write) -> io::Result<()> {
        let run = self.run;
        let about = About {
            title: &run.title,
            scenario: run.scenario.display().to_string(),
            seed: run.seed.to_string(),
            verdict: run.verdict.words(),
            digest: run.digest.to_string(),
            replay: self.replay_command(),
        };
        let about = serde_json::to_string(&about)?;
        write!(out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":[")?;
        let mut entries = Entries { out, any: false };
        let tracks = self.tracks();
        self.write_names(&tracks, &mut entries)?;
        for (track, marks) in &tracks {
            write_track(*track, marks, &mut entries)?;
        }
        for sample in &run.samples {
            let value = Args::Value { value: sample.value };
            let ts = micros(sample.at.as_nanos());
            let track = (sample.host.map_or(TANK, process_of), 0);
            entries.write(&Entry { ts, args: Some(&value), ..Entry::new(sample.name, "C", track) })?;
        }
        writeln!(out, "\n]}}")
    }

    /// Everything on its track, in the order of time.
    fn tracks(&self) -> BTreeMap<Track, Vec<Mark<'_>>> {
        let run = self.run;
        let mut tracks: BTreeMap<Track, Vec<Mark<'_>>> = BTreeMap::new();
        let ends = run.acts.iter().skip(1).map(|(_, at)| *at).chain([run.virtual_time]);
        let acts = run.acts.iter().zip(ends).map(|((act, at), end)| Mark {
            at: at.as_nanos(),
            name: act.name().into(),
            category: "act",
            shape: Shape::Slice(end.as_nanos()),
            args: None,
        });
        tracks.insert(ACTS, acts.collect());
        tracks.insert(BROKEN, self.broken());
        self.put_spans(&mut tracks);
        for (number, record) in run.records.iter().enumerate() {
            self.put(record, number as u64, &mut tracks);
        }
        // A message is sent before it arrives, and its record stands where it arrives.
        tracks.values_mut().for_each(|marks| marks.sort_by_key(|mark| mark.at));
        tracks
    }

    /// The promises that were broken.
    fn broken(&self) -> Vec<Mark<'_>> {
        let run = self.run;
        let found = run.checks.iter().flat_map(|check| {
            let examples = check.examples.iter().filter_map(|example| Some((example.at?, example)));
            examples.map(|(at, example)| (at, format!("{}: {example}", check.name)))
        });
        let seen = run.violation.iter().map(|violation| {
            let host = violation.host.as_deref().unwrap_or("all hosts");
            (violation.at, format!("{} ({host}): {}", violation.property, violation.detail))
        });
        let moment = |(at, name): (SimTime, String)| Mark {
            at: at.as_nanos(),
            name: name.into(),
            category: "broken",
            shape: Shape::Moment { everywhere: true },
            args: None,
        };
        seen.chain(found).map(moment).collect()
    }

    /// What lasts: the states of processes, and the faults of links.
    fn put_spans<'run>(&'run self, tracks: &mut BTreeMap<Track, Vec<Mark<'run>>>) {
        let run = self.run;
        let end = run.virtual_time.as_secs_f64();
        let slice = |span: Stretch, name: Cow<'run, str>, category| Mark {
            at: nanos(span.from),
            name,
            category,
            shape: Shape::Slice(nanos(span.to)),
            args: None,
        };
        for number in 0..run.hosts.len() {
            let host = HostId::new(number as u32);
            let here: Vec<&Record> =
                run.milestones.iter().filter(|record| record.host == Some(host)).collect();
            let lives = lives(&here, end).into_iter();
            let lives = lives.map(|(span, life)| slice(span, life.words().into(), "process"));
            tracks.insert((process_of(host), LIFE), lives.collect());
        }
        let storm: Vec<&Record> = run.storm().filter(|record| record.host.is_none()).collect();
        let mut lanes: Vec<f64> = Vec::new();
        for (span, text) in spans(&storm, end) {
            let lane = lanes.iter().position(|free| *free <= span.from).unwrap_or_else(|| {
                lanes.push(0.0);
                lanes.len() - 1
            });
            lanes[lane] = span.to;
            let track = (TANK, LINKS + lane as u32);
            tracks.entry(track).or_default().push(slice(span, text.into(), "fault"));
        }
    }

    fn put<'run>(
        &'run self,
        record: &'run Record,
        number: u64,
        tracks: &mut BTreeMap<Track, Vec<Mark<'run>>>,
    ) {
        let name_of = |host: HostId| self.run.hosts.get(host.get() as usize).map_or("?", String::as_str);
        let mark = |at: u64, name: &'run str, shape, args| Mark {
            at,
            name: name.into(),
            category: record.what.name(),
            shape,
            args: Some(args),
        };
        let (at, position) = (record.at.as_nanos(), record.position);
        if let (Some(message), Some(to)) = (record.message, record.host) {
            let (bytes, connection) = (message.bytes, message.connection);
            let sent = mark(
                message.sent.as_nanos(),
                message.kind,
                Shape::Arrow { number, begins: true },
                Args::Sent { to: name_of(to), bytes, connection },
            );
            let received = mark(
                at,
                message.kind,
                Shape::Arrow { number, begins: false },
                Args::Received { from: name_of(message.from), bytes, connection, position },
            );
            tracks.entry((process_of(message.from), SENT)).or_default().push(sent);
            tracks.entry((process_of(to), RECEIVED)).or_default().push(received);
            return;
        }
        let track = match (record.host, record.what) {
            (Some(host), What::Disk) => (process_of(host), DISK),
            (Some(host), _) => (process_of(host), EVENTS),
            (None, _) => (TANK, EVENTS_OF_TANK),
        };
        let everywhere = record.what == What::Fault && record.host.is_none();
        let moment = mark(at, &record.text, Shape::Moment { everywhere }, Args::Event { position });
        tracks.entry(track).or_default().push(moment);
    }

    fn write_names<W: Write>(
        &self,
        tracks: &BTreeMap<Track, Vec<Mark<'_>>>,
        entries: &mut Entries<'_, W>,
    ) -> io::Result<()> {
        let hosts = (0..).map(|number| process_of(HostId::new(number))).zip(&self.run.hosts);
        let processes =
            [(TANK, "all hosts")].into_iter().chain(hosts.map(|(pid, name)| (pid, name.as_str())));
        for (pid, name) in processes {
            let (name, order) = (Args::Name { name }, Args::Order { sort_index: pid });
            entries.write(&Entry { args: Some(&name), ..Entry::new("process_name", "M", (pid, 0)) })?;
            entries
                .write(&Entry { args: Some(&order), ..Entry::new("process_sort_index", "M", (pid, 0)) })?;
        }
        for (pid, tid) in tracks.keys() {
            let known = HOST_TRACKS.iter().find(|(known, _)| known == tid);
            let name = match (*pid, *tid) {
                ACTS => "acts",
                BROKEN => "broken promises",
                (TANK, EVENTS_OF_TANK) => "faults",
                (TANK, _) => "faults of links",
                _ => known.map_or("", |(_, name)| name),
            };
            let (name, order) = (Args::Name { name }, Args::Order { sort_index: *tid });
            entries.write(&Entry { args: Some(&name), ..Entry::new("thread_name", "M", (*pid, *tid)) })?;
            entries
                .write(&Entry { args: Some(&order), ..Entry::new("thread_sort_index", "M", (*pid, *tid)) })?;
        }
        Ok(())
    }
}

fn write_track<W: Write>(track: Track, marks: &[Mark<'_>], entries: &mut Entries<'_, W>) -> io::Result<()> {
    for (index, mark) in marks.iter().enumerate() {
        let entry = Entry {
            cat: Some(mark.category),
            ts: micros(mark.at),
            args: mark.args.as_ref(),
            ..Entry::new(&mark.name, "X", track)
        };
        match mark.shape {
            Shape::Slice(until) => {
                entries.write(&Entry { dur: Some(micros(until - mark.at)), ..entry })?;
            }
            Shape::Moment { everywhere } => {
                let scope = if everywhere { "g" } else { "t" };
                entries.write(&Entry { ph: "i", s: Some(scope), ..entry })?;
            }
            Shape::Arrow { number, begins } => {
                // It ends before the next one begins; those of one instant lie within each other.
                let later = marks[index..].iter().find(|later| mark.at < later.at);
                let room = later.map_or(MESSAGE_LENGTH, |later| later.at - mark.at);
                entries.write(&Entry { dur: Some(micros(room.min(MESSAGE_LENGTH))), ..entry })?;
                let arrow = Entry {
                    id: Some(number),
                    cat: Some("message"),
                    ts: micros(mark.at),
                    ..Entry::new(&mark.name, "s", track)
                };
                entries.write(&match begins {
                    true => arrow,
                    false => Entry { ph: "f", bp: Some("e"), ..arrow },
                })?;
            }
        }
    }
    Ok(())
}

/// The list of events, one on a line.
struct Entries<'out, W> {
    out: &'out mut W,
    any: bool,
}

impl<W: Write> Entries<'_, W> {
    fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.out.write_all(if self.any { b",\n" } else { b"\n" })?;
        self.any = true;
        Ok(serde_json::to_writer(&mut self.out, entry)?)
    }
}

fn process_of(host: HostId) -> u32 {
    TANK + 1 + host.get()
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Run, sample};
    use crate::world::trace::Message;

    #[test]
    fn what_lasts_is_a_slice_messages_are_arrows_and_names_are_escaped() {
        let (one, other) = (HostId::new(0), HostId::new(1));
        let record = |at, host, what, text: &str, message| Record {
            at: SimTime::from_nanos(at),
            host,
            what,
            text: text.to_owned(),
            position: 1,
            message,
        };
        let sent = SimTime::from_nanos(1_500);
        let message = Message { kind: "Produce", from: one, sent, bytes: 40, connection: 3 };
        let storm = [
            record(5_000, None, What::Fault, "partition a | b, 4s", None),
            record(6_000, None, What::Fault, "slow a -> b, 4s", None),
            record(7_000, None, What::Fault, "partition ends", None),
            record(8_000, None, What::Fault, "slow ends", None),
        ];
        let mut run = Run {
            title: "a \"hostile\"\n title".to_owned(),
            hosts: vec!["a\\".to_owned(), "<b>".to_owned()],
            records: vec![
                record(2_000, Some(other), What::Delivered, "", Some(message)),
                record(2_250, Some(other), What::Delivered, "", Some(Message { from: other, ..message })),
            ],
            milestones: vec![record(0, Some(one), What::Process, "started, incarnation 1", None)],
            ..sample::violated()
        };
        run.milestones.extend(storm.clone());
        run.virtual_time = SimTime::from_nanos(9_000);
        run.acts.truncate(1);
        run.samples.truncate(1);
        let mut file = Vec::new();
        let report = Report { run: &run, plan_file: None, difference: None };
        report.write_perfetto(&mut file).expect("memory does not fail");
        let document: serde_json::Value = serde_json::from_slice(&file).expect("it is JSON");
        assert_eq!(document["otherData"]["title"], "a \"hostile\"\n title");
        let told = |event: &serde_json::Value| {
            let word = |key: &str| match &event[key] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => format!(" {text:?}"),
                value => format!(" {key} {value}"),
            };
            let keys = ["ph", "pid", "tid", "ts", "dur", "id", "name"];
            let name = event["args"]["name"].as_str().map(|name| format!(" {name}")).unwrap_or_default();
            keys.map(word).concat().trim_start().to_owned() + &name
        };
        let events = document["traceEvents"].as_array().expect("a list");
        let orders = |event: &&serde_json::Value| event["args"]["sort_index"].is_null();
        let told: Vec<String> = events.iter().filter(orders).map(told).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        "M" pid 1 tid 0 ts 0.0 "process_name" all hosts
        "M" pid 2 tid 0 ts 0.0 "process_name" a\
        "M" pid 3 tid 0 ts 0.0 "process_name" <b>
        "M" pid 1 tid 1 ts 0.0 "thread_name" acts
        "M" pid 1 tid 2 ts 0.0 "thread_name" broken promises
        "M" pid 1 tid 3 ts 0.0 "thread_name" faults of links
        "M" pid 1 tid 4 ts 0.0 "thread_name" faults of links
        "M" pid 2 tid 1 ts 0.0 "thread_name" process
        "M" pid 2 tid 4 ts 0.0 "thread_name" sends
        "M" pid 3 tid 1 ts 0.0 "thread_name" process
        "M" pid 3 tid 4 ts 0.0 "thread_name" sends
        "M" pid 3 tid 5 ts 0.0 "thread_name" receives
        "X" pid 1 tid 1 ts 0.0 dur 9.0 "build"
        "i" pid 1 tid 2 ts 12300000.0 "no acknowledged record is lost: 12.300000s clicks/3@1042: event 7 was acknowledged; nothing was read there"
        "i" pid 1 tid 2 ts 12500000.0 "the high watermark stays within the log (broker-2): 1043 beyond 1042"
        "X" pid 1 tid 3 ts 5.0 dur 2.0 "partition a | b, 4s"
        "X" pid 1 tid 4 ts 6.0 dur 2.0 "slow a -> b, 4s"
        "X" pid 2 tid 1 ts 0.0 dur 9.0 "up"
        "X" pid 2 tid 4 ts 1.5 dur 1.0 "Produce"
        "s" pid 2 tid 4 ts 1.5 id 0 "Produce"
        "X" pid 3 tid 1 ts 0.0 dur 9.0 "down"
        "X" pid 3 tid 4 ts 1.5 dur 1.0 "Produce"
        "s" pid 3 tid 4 ts 1.5 id 1 "Produce"
        "X" pid 3 tid 5 ts 2.0 dur 0.25 "Produce"
        "f" pid 3 tid 5 ts 2.0 id 0 "Produce"
        "X" pid 3 tid 5 ts 2.25 dur 1.0 "Produce"
        "f" pid 3 tid 5 ts 2.25 id 1 "Produce"
        "C" pid 2 tid 0 ts 0.0 "bytes"
        "#);
    }
}
