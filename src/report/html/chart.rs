//! Charts as SVG within a page: lines over time, with bands around them, and how values are distributed.

use std::fmt::{self, Write};

use crate::report::html::escaped;

/// The size of a chart, in units of its own; a page scales it.
pub(super) const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 210.0;

/// Where the plot lies in a chart.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 374.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 172.0;

/// How far labels stand apart.
const LABEL_STEP: f64 = 13.0;

/// How many characters of a label there is room for.
const LABEL_MAX: usize = 14;

/// The colours of lines, from Okabe and Ito's. Their yellow is too pale for a line on white.
pub(super) const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// The colour of lines that have no label.
const UNNAMED: &str = "#bfbfbf";

/// How many bars a histogram has at most.
const BARS_MAX: usize = 24;

/// From values to places.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    /// The smallest value, and where it stands.
    pub(super) low: (f64, f64),
    /// The largest value, and where it stands.
    pub(super) high: (f64, f64),
}

impl Axis {
    /// The place of a value.
    pub(super) fn place(&self, value: f64) -> f64 {
        let ((low, from), (high, to)) = (self.low, self.high);
        let span = high - low;
        if span <= 0.0 { from } else { from + (value - low) / span * (to - from) }
    }

    /// Round values within the axis, some `count` of them.
    pub(super) fn ticks(&self, count: f64) -> Vec<f64> {
        let (low, high) = (self.low.0, self.high.0);
        let rough = (high - low) / count;
        if rough <= 0.0 {
            return vec![low];
        }
        let power = 10f64.powi(rough.log10().floor() as i32);
        let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|step| rough <= *step);
        let step = step.unwrap_or(10.0 * power);
        let first = (low / step).ceil() as i64;
        (first..).map(|number| number as f64 * step).take_while(|tick| *tick <= high + step * 1e-9).collect()
    }
}

/// One line: of a host, a strategy, an arm.
#[derive(Default)]
pub(super) struct Line {
    pub(super) label: String,
    /// (time, value), in the order of time.
    pub(super) points: Vec<(f64, f64)>,
    /// (time, low, high): what lies around the line.
    pub(super) band: Vec<(f64, f64, f64)>,
}

impl Line {
    fn peak(&self) -> f64 {
        let band = self.band.iter().map(|(_, _, high)| *high);
        self.points.iter().map(|(_, value)| *value).chain(band).fold(0.0, f64::max)
    }
}

/// Values over time.
pub(super) struct LineChart<'chart> {
    /// What it shows, as a finding.
    pub(super) title: String,
    /// What the values are, with their unit.
    pub(super) values: String,
    /// What the time is, with its unit.
    pub(super) time: &'chart str,
    /// Where it ends.
    pub(super) end: f64,
    /// The largest value there is room for; the largest of the lines, if absent.
    pub(super) high: Option<f64>,
    /// When faults began.
    pub(super) faults: &'chart [f64],
    /// When promises were broken.
    pub(super) violations: &'chart [f64],
    pub(super) lines: Vec<Line>,
    /// How many lines have a name at most, the highest first: [`COLOURS`] of them are plain, the next ones dashed.
    pub(super) named_max: usize,
}

impl LineChart<'_> {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let peak = self.high.unwrap_or_else(|| self.lines.iter().map(Line::peak).fold(0.0, f64::max));
        let time = Axis { low: (0.0, LEFT), high: (self.end, RIGHT) };
        let value = Axis { low: (0.0, BOTTOM), high: (if 0.0 < peak { peak } else { 1.0 }, TOP + 8.0) };
        writeln!(out, "<figure><h3>{}</h3>", escaped(&self.title))?;
        open(out, &self.title, &self.values, &value, RIGHT)?;
        for fault in self.faults {
            let x = time.place(*fault);
            write!(out, "<path class=\"storm\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>")?;
        }
        for violation in self.violations {
            let x = time.place(*violation);
            write!(out, "<path class=\"violation\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>")?;
        }
        // The highest have names; more than there are colours and dashes could not be told apart.
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        order.sort_by(|one, other| self.lines[*other].peak().total_cmp(&self.lines[*one].peak()));
        let mut named: Vec<usize> = order.into_iter().take(self.named_max).collect();
        named.sort_unstable();
        let unnamed = (0..self.lines.len()).filter(|index| !named.contains(index));
        let styled = named.iter().copied().zip(styles());
        unnamed.map(|index| (index, (UNNAMED, ""))).chain(styled).try_for_each(
            |(index, (colour, dashes))| {
                let line = &self.lines[index];
                write_band(out, &line.band, colour, &time, &value)?;
                let places: Vec<String> = line
                    .points
                    .iter()
                    .map(|(at, height)| format!("{:.1},{:.1}", time.place(*at), value.place(*height)))
                    .collect();
                let label = escaped(&line.label);
                writeln!(
                    out,
                    "<polyline class=\"line\"{dashes} stroke=\"{colour}\" points=\"{}\"><title>{label}</title></polyline>",
                    places.join(" ")
                )
            },
        )?;
        self.write_labels(out, &named, &value)?;
        x_axis(out, &time, self.time, BOTTOM)?;
        writeln!(out, "</svg></figure>")
    }

    /// The labels, each beside the end of its line or as near as the others leave room.
    fn write_labels(&self, out: &mut String, named: &[usize], value: &Axis) -> fmt::Result {
        let end = |line: &Line| value.place(line.points.last().map_or(0.0, |(_, value)| *value));
        let wanted: Vec<f64> = named.iter().map(|index| end(&self.lines[*index])).collect();
        let more = self.lines.len() - named.len();
        for ((index, (colour, _)), y) in named.iter().zip(styles()).zip(spread(&wanted, TOP + 8.0, BOTTOM)) {
            let label = shortened(&self.lines[*index].label);
            let (x, y) = (RIGHT + 6.0, y + 4.0);
            write!(out, "<text x=\"{x}\" y=\"{y:.1}\" fill=\"{colour}\">{}</text>", escaped(&label))?;
        }
        if 0 < more {
            let (x, y) = (RIGHT + 6.0, BOTTOM + 18.0);
            write!(out, "<text class=\"soft\" x=\"{x}\" y=\"{y}\">{more} more, grey</text>")?;
        }
        Ok(())
    }
}

/// The colours, and once more with dashes.
fn styles() -> impl Iterator<Item = (&'static str, &'static str)> {
    let plain = COLOURS.into_iter().map(|colour| (colour, ""));
    plain.chain(COLOURS.into_iter().map(|colour| (colour, " stroke-dasharray=\"5 3\"")))
}

fn write_band(
    out: &mut String,
    band: &[(f64, f64, f64)],
    colour: &str,
    time: &Axis,
    value: &Axis,
) -> fmt::Result {
    if band.is_empty() {
        return Ok(());
    }
    let place = |at: f64, height: f64| format!("{:.1},{:.1}", time.place(at), value.place(height));
    let below = band.iter().map(|(at, low, _)| place(*at, *low));
    let above = band.iter().rev().map(|(at, _, high)| place(*at, *high));
    let places: Vec<String> = below.chain(above).collect();
    writeln!(out, "<polygon fill=\"{colour}\" fill-opacity=\".16\" points=\"{}\"/>", places.join(" "))
}

/// How many values fall where.
pub(super) fn histogram(out: &mut String, title: &str, values: &str, of: &[f64]) -> fmt::Result {
    let high = of.iter().copied().fold(0.0, f64::max);
    let (bars, width) = bars(of, high);
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let x = Axis { low: (0.0, LEFT), high: (width * bars.len() as f64, WIDTH - 12.0) };
    let y = Axis { low: (0.0, BOTTOM), high: (most as f64, TOP + 8.0) };
    writeln!(out, "<figure><h3>{}</h3>", escaped(title))?;
    open(out, title, "runs", &y, x.high.1)?;
    for (number, count) in bars.iter().enumerate().filter(|(_, count)| 0 < **count) {
        let (from, to) = (width * number as f64, width * (number + 1) as f64);
        let (left, right, top) = (x.place(from), x.place(to), y.place(*count as f64));
        let (across, height) = ((right - left - 1.0).max(1.0), BOTTOM - top);
        writeln!(
            out,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{across:.1}\" height=\"{height:.1}\">\
             <title>{count} runs from {} to {}</title></rect>",
            short(from),
            short(to)
        )?;
    }
    x_axis(out, &x, values, BOTTOM)?;
    writeln!(out, "</svg></figure>")
}

/// The bars of a histogram from zero on, of round width.
fn bars(of: &[f64], high: f64) -> (Vec<usize>, f64) {
    let ticks = Axis { low: (0.0, 0.0), high: (high.max(1e-3), 1.0) }.ticks(BARS_MAX as f64);
    let width = ticks.get(1).copied().unwrap_or(1.0);
    let bar = |value: f64| (value / width).max(0.0) as usize;
    let mut bars = vec![0; bar(high) + 1];
    of.iter().for_each(|value| bars[bar(*value)] += 1);
    (bars, width)
}

fn open(out: &mut String, title: &str, values: &str, y: &Axis, right: f64) -> fmt::Result {
    let title = escaped(title);
    // Room for the axis of values stands above the plot, where it need not be turned.
    writeln!(out, "<svg viewBox=\"0 -14 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">", HEIGHT + 14.0)?;
    write!(out, "<text class=\"soft\" x=\"2\" y=\"-2\">{}</text>", escaped(values))?;
    for tick in y.ticks(4.0) {
        let at = y.place(tick);
        write!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>")?;
        let (x, base) = (LEFT - 5.0, at + 4.0);
        write!(out, "<text class=\"soft end\" x=\"{x}\" y=\"{base:.1}\">{}</text>", short(tick))?;
    }
    writeln!(out)
}

pub(super) fn x_axis(out: &mut String, x: &Axis, words: &str, bottom: f64) -> fmt::Result {
    let (left, right) = (x.low.1, x.high.1);
    write!(out, "<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>")?;
    for tick in x.ticks(6.0) {
        let at = x.place(tick);
        write!(out, "<path class=\"axis\" d=\"M{at:.1} {bottom}v4\"/>")?;
        let y = bottom + 17.0;
        write!(out, "<text class=\"soft mid\" x=\"{at:.1}\" y=\"{y}\">{}</text>", short(tick))?;
    }
    let (middle, y) = ((left + right) / 2.0, bottom + 33.0);
    writeln!(out, "<text class=\"soft mid\" x=\"{middle}\" y=\"{y}\">{}</text>", escaped(words))
}

/// Places near the wanted ones, in their order, at least a label's height apart and within the plot.
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|one, other| wanted[*one].total_cmp(&wanted[*other]));
    let mut places = wanted.to_vec();
    let mut free = top;
    for index in &order {
        places[*index] = places[*index].max(free);
        free = places[*index] + LABEL_STEP;
    }
    // What was pushed out below pushes back up.
    let mut free = bottom;
    for index in order.iter().rev() {
        places[*index] = places[*index].min(free);
        free = places[*index] - LABEL_STEP;
    }
    places
}

/// A name as a label: its end, which tells it from its neighbours.
fn shortened(name: &str) -> String {
    let fits = |name: &&str| name.chars().count() <= LABEL_MAX;
    let from_words = name.match_indices('-').map(|(place, _)| &name[place + 1..]);
    if let Some(end) = std::iter::once(name).chain(from_words).find(fits).filter(|end| !end.is_empty()) {
        return end.to_owned();
    }
    ending(name, LABEL_MAX)
}

/// The end of a name, of so many characters at most.
pub(super) fn ending(name: &str, most: usize) -> String {
    match name.chars().count().checked_sub(most) {
        None | Some(0) => name.to_owned(),
        Some(more) => std::iter::once('…').chain(name.chars().skip(more + 1)).collect(),
    }
}

/// A number in few characters: 0.25, 31, 4.6k, 12M.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        size if size < 1e3 => (number, ""),
        size if size < 1e6 => (number / 1e3, "k"),
        size if size < 1e9 => (number / 1e6, "M"),
        _ => (number / 1e9, "G"),
    };
    let digits = match scaled.abs() {
        0.0 => 0,
        size if size < 1.0 => (1.0 - size.log10().floor()) as usize,
        size => usize::from(size < 100.0),
    };
    let text = format!("{scaled:.digits$}");
    let text = if digits == 0 { text.as_str() } else { text.trim_end_matches('0').trim_end_matches('.') };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_places_its_ends_at_its_ends_and_ticks_at_round_values() {
        let axis = Axis { low: (0.0, 100.0), high: (130.8, 300.0) };
        for (value, expected) in [(0.0, 100.0), (65.4, 200.0), (130.8, 300.0)] {
            assert!((axis.place(value) - expected).abs() < 1e-9, "{value}: {}", axis.place(value));
        }
        assert_eq!(axis.ticks(6.0), [0.0, 50.0, 100.0]);
        assert_eq!(axis.ticks(8.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0]);
        let flat = Axis { low: (0.0, 7.0), high: (0.0, 9.0) };
        assert_eq!((flat.place(3.0), flat.ticks(4.0)), (7.0, vec![0.0]), "a run without time");
    }

    #[test]
    fn a_line_is_drawn_where_its_values_are() {
        let line = |label: &str, points: &[(f64, f64)]| Line {
            label: label.into(),
            points: points.into(),
            ..Line::default()
        };
        let chart = LineChart {
            title: "a < b".into(),
            values: "records/s".into(),
            time: "virtual time, s",
            end: 10.0,
            high: None,
            named_max: COLOURS.len(),
            faults: &[5.0],
            violations: &[],
            lines: vec![line("b1", &[(0.0, 0.0), (5.0, 100.0), (10.0, 50.0)]), line("b2", &[])],
        };
        let mut out = String::new();
        chart.write(&mut out).expect("a string takes it");
        assert!(out.contains("points=\"46.0,172.0 210.0,18.0 374.0,95.0\""), "{out}");
        assert!(out.contains("<path class=\"storm\" d=\"M210.0 10V172\"/>"), "{out}");
        assert!(!out.contains("polygon") && !out.contains("dasharray"), "{out}");
        assert!(out.contains("a &lt; b") && out.contains(">b2<") && out.contains("records/s"), "{out}");
    }

    #[test]
    fn a_band_lies_around_its_line_and_the_eighth_line_is_dashed() {
        let line = |index: usize| Line {
            label: format!("s{index}"),
            points: vec![(0.0, 0.0), (10.0, 5.0)],
            band: if index == 0 { vec![(0.0, 0.0, 0.0), (10.0, 2.5, 10.0)] } else { Vec::new() },
        };
        let chart = LineChart {
            title: "regret".into(),
            values: "successes".into(),
            time: "days",
            end: 10.0,
            high: Some(20.0),
            faults: &[],
            violations: &[],
            lines: (0..8).map(line).collect(),
            named_max: 14,
        };
        let mut out = String::new();
        chart.write(&mut out).expect("a string takes it");
        assert!(out.contains("points=\"46.0,172.0 374.0,152.8 374.0,95.0 46.0,172.0\""), "{out}");
        assert_eq!(out.matches("stroke-dasharray").count(), 1, "{out}");
        assert!(out.contains(">days</text>") && !out.contains("grey"), "{out}");
    }

    #[test]
    fn labels_do_not_lie_on_each_other_and_stay_within_the_chart() {
        assert_eq!(spread(&[50.0, 52.0, 100.0], 0.0, 200.0), [50.0, 63.0, 100.0]);
        assert_eq!(spread(&[200.0, 200.0, 199.0], 0.0, 200.0), [187.0, 200.0, 174.0]);
        assert!(spread(&[], 0.0, 200.0).is_empty());
    }

    #[test]
    fn every_value_falls_into_one_bar() {
        assert_eq!(
            bars(&[0.5, 1.0, 1.5, 12.0], 12.0),
            (vec![0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0.5)
        );
        assert_eq!(bars(&[], 0.0).0.len(), 1);
    }

    #[test]
    fn numbers_and_names_are_short() {
        for (number, expected) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (-0.0025, "-0.0025"),
            (31.0, "31"),
            (100.0, "100"),
            (4600.0, "4.6k"),
            (2e6, "2M"),
            (3.21e9, "3.2G"),
        ] {
            assert_eq!(short(number), expected, "{number}");
        }
        for (name, expected) in [
            ("broker-1", "broker-1"),
            ("clickstream-producer-1", "producer-1"),
            ("averylonghostname", "…ylonghostname"),
        ] {
            assert_eq!(shortened(name), expected);
        }
    }
}
