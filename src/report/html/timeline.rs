//! The life of every host over virtual time: when its process ran, what befell it, and when it led.

use std::fmt::{self, Write};

use crate::base::HostId;
use crate::lab::Run;
use crate::report::html::chart::{Axis, ending, short};
use crate::report::html::escaped;
use crate::report::lives::{Life, Stretch, is_end, is_leader, lives, moments, spans};
use crate::world::Record;

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

/// Lines across a whole drawing, and what they stand for.
pub(super) const HEALED: (&str, &str) = ("<path class=\"healed\" d=\"M11 0V15\"/>", "all is healed");
pub(super) const BROKEN: (&str, &str) = ("<path class=\"violation\" d=\"M11 0V15\"/>", "a promise is broken");

/// Writes the timeline under its title.
pub(super) fn write(out: &mut String, run: &Run) -> fmt::Result {
    let seconds = run.virtual_time.as_secs_f64();
    let time = Axis { low: (0.0, LEFT), high: (seconds, RIGHT) };
    let bottom = TOP + ROW * (run.hosts.len() + 1) as f64;
    let began = run.storm().filter(|record| !is_end(&record.text)).count();
    let led = run.milestones.iter().filter(|record| is_leader(record)).count();
    let hosts = run.hosts.len();
    let faults = if began == 1 { "1 fault".to_owned() } else { format!("{began} faults") };
    let title = match (began, led) {
        (0, _) => format!("Nothing befell the {hosts} hosts"),
        (_, 0) => format!("{faults} befell {hosts} hosts"),
        (_, led) => format!("{faults} befell {hosts} hosts; {led} leaders and controllers were elected"),
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
        (HEALED.0.to_owned(), HEALED.1),
        (BROKEN.0.to_owned(), BROKEN.1),
    ];
    writeln!(out, "<div class=\"key\">")?;
    for (shape, words) in entries {
        write!(out, "{}", key_of((&shape, words)))?;
    }
    writeln!(out, "</div>")
}

/// An entry of a key: a shape, and what it stands for.
pub(super) fn key_of((shape, words): (&str, &str)) -> String {
    format!("<span><svg viewBox=\"0 0 22 15\" aria-hidden=\"true\">{shape}</svg>{words}</span>")
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
