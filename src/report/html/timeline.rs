//! The life of every host over virtual time: when its process ran, what befell it, and when it led.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use crate::base::{HostId, SimTime};
use crate::checkers::Check;
use crate::lab::Run;
use crate::report::html::chart::{Axis, ending, short};
use crate::report::html::escaped;
use crate::report::html::run::is_end;
use crate::world::Record;
use crate::world::trace::What;

/// The size of the drawing, in units of its own, and where its rows begin and end.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 178.0;
const RIGHT: f64 = 944.0;
const TOP: f64 = 24.0;
const ROW: f64 = 24.0;
const BAR: f64 = 11.0;

/// How many characters of a host's name there is room for.
const NAME_MAX: usize = 26;

/// How many marks a drawing holds.
const MARKS_MAX: usize = 600;

/// The events that tell who leads from then on.
const LEADERS: [&str; 2] = ["a controller was elected", "coordination established a leader"];

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Down,
    NotReady,
    Up,
    Paused,
}

impl Life {
    fn words(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::NotReady => "up, not ready",
            Self::Up => "up",
            Self::Paused => "paused",
        }
    }
}

/// A stretch of virtual time, in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Stretch {
    from: f64,
    to: f64,
}

/// Writes the timeline under its title.
pub(super) fn write(out: &mut String, run: &Run) -> fmt::Result {
    let seconds = run.virtual_time.as_secs_f64();
    let time = Axis { low: (0.0, LEFT), high: (seconds, RIGHT) };
    let bottom = TOP + ROW * (run.hosts.len() + 1) as f64;
    let began = run.storm().filter(|record| !is_end(&record.text)).count();
    let led = run.milestones.iter().filter(|record| is_leader(record)).count();
    let title = match (began, led) {
        (0, _) => format!("Nothing befell the {} hosts", run.hosts.len()),
        (faults, 0) => format!("{faults} faults befell {} hosts", run.hosts.len()),
        (faults, led) => {
            format!(
                "{faults} faults befell {} hosts; {led} leaders and controllers were elected",
                run.hosts.len()
            )
        }
    };
    let title = escaped(&title);
    writeln!(out, "<h2>{title}</h2>")?;
    write_key(out)?;
    writeln!(out, "<figure class=\"scroll wide\">")?;
    writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">", bottom + 44.0)?;
    write_axis(out, &time, bottom)?;
    let name = (LEFT - 8.0, TOP + ROW / 2.0 + 4.0);
    write!(out, "<text class=\"soft end\" x=\"{}\" y=\"{}\">network, all hosts</text>", name.0, name.1)?;
    write_network(out, run, &time)?;
    for (number, host) in run.hosts.iter().enumerate() {
        let middle = TOP + ROW * (number as f64 + 1.5);
        write_host(out, run, (number, host), middle, &time)?;
    }
    let moments = moments(run);
    for at in &moments {
        let (x, top) = (time.place(*at), TOP - 4.0);
        writeln!(
            out,
            "<path class=\"violation\" d=\"M{x:.1} {top}V{bottom}\"><title>broken at {at:.3} s</title></path>"
        )?;
    }
    if let Some(first) = moments.first() {
        let (x, y) = (time.place(*first), TOP - 8.0);
        writeln!(out, "<text class=\"mid\" x=\"{x:.1}\" y=\"{y}\" fill=\"#b34700\">broken</text>")?;
    }
    writeln!(out, "</svg></figure>")
}

fn write_key(out: &mut String) -> fmt::Result {
    let bar = |class: &str| format!("<rect class=\"{class}\" x=\"1\" y=\"3\" width=\"20\" height=\"9\"/>");
    let entries = [
        (bar("up"), "up"),
        (bar("unready"), "up, not ready"),
        ("<rect class=\"paused\" x=\"1\" y=\"5\" width=\"20\" height=\"5\"/>".to_owned(), "paused"),
        ("<path class=\"gone\" d=\"M1 7.5H21\"/>".to_owned(), "down"),
        (bar("cut"), "network fault"),
        (fault(11.0, 12.0), "fault begins"),
        (diamond(11.0, 7.5), "becomes leader or controller"),
        ("<path class=\"healed\" d=\"M11 0V15\"/>".to_owned(), "all is healed"),
        ("<path class=\"violation\" d=\"M11 0V15\"/>".to_owned(), "a promise is broken"),
    ];
    writeln!(out, "<div class=\"key\">")?;
    for (shape, words) in entries {
        write!(out, "<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{shape}</svg>{words}</span>")?;
    }
    writeln!(out, "</div>")
}

fn write_axis(out: &mut String, time: &Axis, bottom: f64) -> fmt::Result {
    for tick in time.ticks(12.0) {
        let x = time.place(tick);
        write!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>")?;
        let y = bottom + 18.0;
        write!(out, "<text class=\"soft mid\" x=\"{x:.1}\" y=\"{y}\">{}</text>", short(tick))?;
    }
    write!(out, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{RIGHT}\"/>")?;
    let (middle, y) = ((LEFT + RIGHT) / 2.0, bottom + 36.0);
    writeln!(out, "<text class=\"soft mid\" x=\"{middle}\" y=\"{y}\">virtual time, s</text>")
}

/// What befell no single host: spans that begin and end, and moments.
fn write_network(out: &mut String, run: &Run, time: &Axis) -> fmt::Result {
    let middle = TOP + ROW / 2.0;
    let end = run.virtual_time.as_secs_f64();
    let records: Vec<&Record> = run.storm().filter(|record| record.host.is_none()).collect();
    for (span, text) in spans(&records, end).into_iter().take(MARKS_MAX) {
        let title = format!("{:.3} s to {:.3} s: {text}", span.from, span.to);
        write_bar(out, "cut", time, (span, middle, BAR), &title)?;
    }
    for record in records.iter().take(MARKS_MAX) {
        let at = record.at.as_secs_f64();
        let (x, text) = (time.place(at), escaped(&record.text));
        if record.text.contains(" healed") {
            let bottom = TOP + ROW * (run.hosts.len() + 1) as f64;
            writeln!(
                out,
                "<path class=\"healed\" d=\"M{x:.1} {TOP}V{bottom}\"><title>{at:.3} s: {text}</title></path>"
            )?;
        } else if !is_end(&record.text) {
            writeln!(out, "<g>{}<title>{at:.3} s: {text}</title></g>", fault(x, middle - 1.0))?;
        }
    }
    Ok(())
}

fn write_host(
    out: &mut String,
    run: &Run,
    (number, name): (usize, &str),
    middle: f64,
    time: &Axis,
) -> fmt::Result {
    let shown = escaped(&ending(name, NAME_MAX));
    write!(out, "<text class=\"end\" x=\"{}\" y=\"{}\">{shown}</text>", LEFT - 8.0, middle + 4.0)?;
    writeln!(out, "<path class=\"gone\" d=\"M{LEFT} {middle}H{RIGHT}\"/>")?;
    let here = |record: &&Record| record.host.is_some_and(|host: HostId| host.get() as usize == number);
    let milestones: Vec<&Record> = run.milestones.iter().filter(here).collect();
    for (span, life) in lives(&milestones, run.virtual_time.as_secs_f64()).into_iter().take(MARKS_MAX) {
        let (class, height) = match life {
            Life::Down => continue,
            Life::NotReady => ("unready", BAR),
            Life::Up => ("up", BAR),
            Life::Paused => ("paused", BAR / 2.0),
        };
        let title = format!("{name} {} from {:.3} s to {:.3} s", life.words(), span.from, span.to);
        write_bar(out, class, time, (span, middle, height), &title)?;
    }
    for record in run.storm().filter(here).take(MARKS_MAX) {
        let at = record.at.as_secs_f64();
        let mark = fault(time.place(at), middle - BAR / 2.0 + 4.0);
        writeln!(out, "<g>{mark}<title>{at:.3} s: {}</title></g>", escaped(&record.text))?;
    }
    for record in milestones.iter().filter(|record| is_leader(record)).take(MARKS_MAX) {
        let at = record.at.as_secs_f64();
        let mark = diamond(time.place(at), middle);
        let text = escaped(&format!("{at:.3} s, {name}: {}", record.text));
        writeln!(out, "<g>{mark}<title>{text}</title></g>")?;
    }
    Ok(())
}

fn write_bar(
    out: &mut String,
    class: &str,
    time: &Axis,
    (span, middle, height): (Stretch, f64, f64),
    title: &str,
) -> fmt::Result {
    let (x, y) = (time.place(span.from), middle - height / 2.0);
    let width = (time.place(span.to) - x).max(0.5);
    writeln!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
        escaped(title)
    )
}

/// A mark whose point stands at a place.
fn fault(x: f64, y: f64) -> String {
    format!("<path class=\"fault\" d=\"M{x:.1} {y:.1}l-5 -9h10z\"/>")
}

fn diamond(x: f64, y: f64) -> String {
    format!("<path class=\"leader\" d=\"M{x:.1} {:.1}l5 5.5l-5 5.5l-5 -5.5z\"/>", y - 5.5)
}

fn is_leader(record: &Record) -> bool {
    record.what == What::Property && LEADERS.contains(&record.text.as_str())
}

/// When promises were broken, in the order of time: the violation that ended the run, else the first that each check names.
pub(super) fn moments(run: &Run) -> Vec<f64> {
    match &run.violation {
        Some(violation) => vec![violation.at.as_secs_f64()],
        None => {
            let first = |check: &Check| check.examples.iter().find_map(|example| example.at);
            let moments: BTreeSet<SimTime> = run.checks.iter().filter_map(first).collect();
            moments.into_iter().map(|at| at.as_secs_f64()).collect()
        }
    }
}

/// What a host's process did, from its records, which tell only of changes.
fn lives(records: &[&Record], end: f64) -> Vec<(Stretch, Life)> {
    let of_process = || records.iter().filter(|record| record.what == What::Process);
    // A process that never says that it is ready is so from its start.
    let tells = of_process().any(|record| record.text == "ready");
    let (mut runs, mut ready, mut paused) = (false, false, false);
    let mut lives: Vec<(Stretch, Life)> = Vec::new();
    let mut enter = |from: f64, life: Life| match lives.last_mut() {
        Some((_, last)) if *last == life => {}
        last => {
            if let Some((span, _)) = last {
                span.to = from;
            }
            lives.push((Stretch { from, to: end }, life));
        }
    };
    enter(0.0, Life::Down);
    for record in of_process() {
        match record.text.split([' ', ',', ':']).next().unwrap_or_default() {
            "started" => (runs, ready, paused) = (true, false, false),
            "ready" => ready = true,
            "not" => ready = false,
            "paused" => paused = true,
            "resumed" => paused = false,
            "crashed" | "stopped" | "exited" | "lost" => runs = false,
            _ => {}
        }
        let life = match (runs, paused, ready || !tells) {
            (false, ..) => Life::Down,
            (true, true, _) => Life::Paused,
            (true, false, true) => Life::Up,
            (true, false, false) => Life::NotReady,
        };
        enter(record.at.as_secs_f64(), life);
    }
    lives.retain(|(span, _)| span.from < span.to);
    lives
}

/// The faults without a host that come to an end: `partition a | b, 2s` until `partition ends`, the oldest first.
fn spans(records: &[&Record], end: f64) -> Vec<(Stretch, String)> {
    let mut spans: Vec<(Stretch, String)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for record in records {
        let at = record.at.as_secs_f64();
        if let Some(kind) = record.text.strip_suffix(" ends") {
            let mine = open.iter().position(|index| spans[*index].1.starts_with(kind));
            if let Some(position) = mine {
                spans[open.remove(position)].0.to = at;
            }
        } else if !is_end(&record.text) {
            open.push(spans.len());
            spans.push((Stretch { from: at, to: end }, record.text.clone()));
        }
    }
    // What never says that it ends was a moment.
    let mut number = 0..;
    spans.retain(|_| number.next().is_some_and(|index| !open.contains(&index)));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::property;

    fn record(second: u64, what: What, text: &str) -> Record {
        let at = SimTime::from_nanos(second * 1_000_000_000);
        Record { at, host: None, what, text: text.to_owned(), position: 0 }
    }

    fn check(told: &[(u64, &str)], expected: &[(u64, u64, Life)]) {
        let records: Vec<Record> = told.iter().map(|(at, text)| record(*at, What::Process, text)).collect();
        let records: Vec<&Record> = records.iter().collect();
        let stretch =
            |(from, to, life): &(u64, u64, Life)| (Stretch { from: *from as f64, to: *to as f64 }, *life);
        let expected: Vec<_> = expected.iter().map(stretch).collect();
        assert_eq!(lives(&records, 20.0), expected, "{told:?}");
    }

    #[test]
    fn a_process_is_up_from_its_readiness_until_something_befalls_it() {
        use Life::{Down, NotReady, Paused, Up};
        check(&[], &[(0, 20, Down)]);
        check(&[(0, "started, incarnation 1")], &[(0, 20, Up)]);
        check(
            &[
                (1, "started, incarnation 1"),
                (2, "ready"),
                (5, "paused"),
                (7, "resumed"),
                (9, "stopped"),
                (9, "lost power: 3"),
            ],
            &[(0, 1, Down), (1, 2, NotReady), (2, 5, Up), (5, 7, Paused), (7, 9, Up), (9, 20, Down)],
        );
        check(
            &[
                (0, "started, incarnation 1"),
                (1, "ready"),
                (3, "not ready"),
                (4, "exited: why"),
                (4, "crashed"),
                (6, "started, incarnation 2"),
            ],
            &[(0, 1, NotReady), (1, 3, Up), (3, 4, NotReady), (4, 6, Down), (6, 20, NotReady)],
        );
    }

    #[test]
    fn a_network_fault_lasts_until_it_says_so() {
        let records = [
            record(1, What::Fault, "partition a | b, 4s"),
            record(2, What::Fault, "slow a -> b, 1s"),
            record(3, What::Fault, "slow ends"),
            record(4, What::Fault, "disks are full"),
            record(5, What::Fault, "partition ends"),
            record(9, What::Fault, "all is healed"),
        ];
        let records: Vec<&Record> = records.iter().collect();
        let told: Vec<_> =
            spans(&records, 10.0).into_iter().map(|(span, text)| (span.from, span.to, text)).collect();
        let expected =
            [(1.0, 5.0, "partition a | b, 4s".to_owned()), (2.0, 3.0, "slow a -> b, 1s".to_owned())];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_events_that_make_leaders_are_declared_somewhere() {
        for name in LEADERS {
            assert!(property::EVENTS.contains(&name), "{name}");
        }
    }
}
