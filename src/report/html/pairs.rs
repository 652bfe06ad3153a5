//! Charts of paired differences: a forest of intervals on one axis, and all the pairs of one metric.

use std::fmt::{self, Write};

use crate::report::html::chart::{Axis, WIDTH, x_axis};
use crate::report::html::escaped;
use crate::statistics::Interval;

/// The size of a row of a forest, in units of its own, and how far its axis stands from its sides.
const ROW_WIDTH: f64 = 440.0;
const ROW_HEIGHT: f64 = 22.0;
const ROW_SIDE: f64 = 12.0;

/// How far below the lowest dots of a chart of pairs its interval and its axis stand.
const INTERVAL: f64 = 18.0;
const BOTTOM: f64 = 32.0;

/// How far the dots of a chart reach up at most, and how large they are.
const DOTS_HEIGHT: f64 = 80.0;
const DOT: f64 = 3.2;

/// How many columns dots stand in.
const COLUMNS: usize = 60;

/// Which way something differs; each has a colour and a shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// For the better.
    Better,
    /// For the worse.
    Worse,
    /// Neither better nor worse.
    Otherwise,
    /// Chance may have done it.
    Unsure,
}

impl Way {
    fn class(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Otherwise => "otherwise",
            Self::Unsure => "unsure",
        }
    }

    /// What it means, for a key.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Otherwise => "differs, neither better nor worse",
            Self::Unsure => "chance may have done it",
        }
    }

    /// Its mark: filled where there is a difference, hollow where there may be none; pointing where it is better or worse.
    pub(super) fn mark(self, x: f64, y: f64) -> String {
        let class = self.class();
        let shape = match self {
            Self::Better => format!("M{x:.1} {:.1}l5.5 9h-11z", y - 5.5),
            Self::Worse => format!("M{x:.1} {:.1}l5.5 -9h-11z", y + 5.5),
            Self::Otherwise => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
            Self::Unsure => {
                return format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
            }
        };
        format!("<path class=\"{class}\" d=\"{shape}\"/>")
    }
}

/// The axis of a forest: what all intervals have in common, zero among them, but no more than `most` either way.
pub(super) fn forest_axis(intervals: impl Iterator<Item = Interval>, most: f64) -> Axis {
    let (mut low, mut high) = (0.0f64, 0.0f64);
    for interval in intervals {
        (low, high) = (low.min(interval.low), high.max(interval.high));
    }
    let room = 0.05 * (high - low).max(1e-9);
    let (low, high) = ((low - room).max(-most), (high + room).min(most));
    Axis { low: (low, ROW_SIDE), high: (high, ROW_WIDTH - ROW_SIDE) }
}

/// The ends of a forest: its axis in words and numbers.
pub(super) fn forest_scale(out: &mut String, axis: &Axis, words: &str) -> fmt::Result {
    write!(out, "<svg viewBox=\"0 0 {ROW_WIDTH} 38\" role=\"img\" aria-label=\"{}\">", escaped(words))?;
    x_axis(out, axis, words, 1.0)?;
    writeln!(out, "</svg>")
}

/// A row of a forest: zero, the interval, and the estimate; what reaches beyond the axis has an arrow. None is a row without an interval.
pub(super) fn forest_row(
    out: &mut String,
    axis: &Axis,
    estimate: Option<(f64, Interval)>,
    way: Way,
    title: &str,
) -> fmt::Result {
    let (label, middle) = (escaped(title), ROW_HEIGHT / 2.0);
    write!(
        out,
        "<svg viewBox=\"0 0 {ROW_WIDTH} {ROW_HEIGHT}\" role=\"img\" aria-label=\"{label}\"><title>{label}</title>"
    )?;
    for tick in axis.ticks(6.0) {
        write!(out, "<path class=\"grid\" d=\"M{:.1} 0V{ROW_HEIGHT}\"/>", axis.place(tick))?;
    }
    write!(out, "<path class=\"axis\" d=\"M{:.1} 0V{ROW_HEIGHT}\"/>", axis.place(0.0))?;
    if let Some((middle_value, interval)) = estimate {
        let within = |value: f64| axis.place(value.clamp(axis.low.0, axis.high.0));
        let (from, to) = (within(interval.low), within(interval.high));
        write!(out, "<path class=\"span {}\" d=\"M{from:.1} {middle}H{to:.1}\"/>", way.class())?;
        for (beyond, x, way_out) in
            [(interval.low < axis.low.0, from, 6.0), (axis.high.0 < interval.high, to, -6.0)]
        {
            if beyond {
                write!(
                    out,
                    "<path class=\"span\" d=\"M{:.1} {}L{x:.1} {middle}l{way_out} 4\"/>",
                    x + way_out,
                    middle - 4.0
                )?;
            }
        }
        write!(out, "{}", way.mark(within(middle_value), middle))?;
    }
    writeln!(out, "</svg>")
}

/// All pairs of one metric.
pub(super) struct Pairs {
    /// What it shows, as a finding.
    pub(super) title: String,
    /// What the differences are, with their unit.
    pub(super) values: String,
    /// Each: the difference, and which pair it is of.
    pub(super) pairs: Vec<(f64, String)>,
    /// Their mean, and where it lies.
    pub(super) mean: (f64, Interval),
    /// What follows.
    pub(super) way: Way,
    /// Whether each dot tells which pair it is of.
    pub(super) named: bool,
}

impl Pairs {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let (mean, interval) = self.mean;
        let all = || {
            self.pairs.iter().map(|(difference, _)| *difference).chain([
                0.0,
                mean,
                interval.low,
                interval.high,
            ])
        };
        let finite = || all().filter(|value| value.is_finite());
        let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
        let axis = Axis { low: (low, 16.0), high: (high, WIDTH - 16.0) };
        let title = escaped(&self.title);
        writeln!(out, "<figure><h3>{title}</h3>")?;
        let columns = self.columns(&axis);
        let most = columns.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let step = (2.0 * DOT + 0.4).min(DOTS_HEIGHT / most as f64);
        let base = 4.0 + DOT + most as f64 * step;
        let (interval_at, bottom) = (base + INTERVAL, base + BOTTOM);
        let height = bottom + 40.0;
        writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {height:.1}\" role=\"img\" aria-label=\"{title}\">")?;
        write!(out, "<path class=\"axis\" d=\"M{0:.1} 2V{bottom:.1}\"/>", axis.place(0.0))?;
        for column in &columns {
            for (level, index) in column.iter().enumerate() {
                let (difference, name) = &self.pairs[*index];
                let (x, y) = (axis.place(*difference), base - level as f64 * step);
                match self.named {
                    true => write!(
                        out,
                        "<circle class=\"pair\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\"><title>{}</title></circle>",
                        escaped(name)
                    )?,
                    false => write!(out, "<circle class=\"pair\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\"/>")?,
                }
            }
        }
        if interval.low.is_finite() && interval.high.is_finite() {
            let (from, to) = (axis.place(interval.low), axis.place(interval.high));
            let class = self.way.class();
            write!(out, "<path class=\"span {class}\" d=\"M{from:.1} {interval_at:.1}H{to:.1}\"/>")?;
        }
        writeln!(out, "{}", self.way.mark(axis.place(mean), interval_at))?;
        x_axis(out, &axis, &self.values, bottom)?;
        writeln!(out, "</svg></figure>")
    }

    /// The pairs whose dots would lie on each other stand on each other.
    fn columns(&self, axis: &Axis) -> Vec<Vec<usize>> {
        let mut columns = vec![Vec::new(); COLUMNS + 1];
        let span = axis.high.0 - axis.low.0;
        for (index, (difference, _)) in self.pairs.iter().enumerate() {
            let share = if 0.0 < span { (difference - axis.low.0) / span } else { 0.0 };
            columns[(share * COLUMNS as f64) as usize].push(index);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(low: f64, high: f64) -> Interval {
        Interval { low, high }
    }

    #[test]
    fn a_forest_has_zero_on_its_axis_and_cuts_what_is_far_off() {
        let axis = forest_axis([interval(0.1, 0.3), interval(0.2, 9.0)].into_iter(), 1.0);
        assert!(axis.low.0 <= 0.0 && axis.high.0 == 1.0, "{} {}", axis.low.0, axis.high.0);
        let mut out = String::new();
        forest_row(&mut out, &axis, Some((3.0, interval(0.2, 9.0))), Way::Worse, "a < b")
            .expect("a string takes it");
        assert!(out.contains("aria-label=\"a &lt; b\""), "{out}");
        assert_eq!(out.matches("class=\"span").count(), 2, "the interval and an arrow: {out}");
        assert!(out.contains(&format!("H{:.1}", ROW_WIDTH - ROW_SIDE)), "{out}");
    }

    #[test]
    fn every_pair_is_a_dot_and_equal_ones_stand_on_each_other() {
        let pair = |difference: f64, seed: u64| (difference, format!("seed {seed} <"));
        let pairs = Pairs {
            title: "t".into(),
            values: "difference, s".into(),
            pairs: vec![pair(0.0, 1), pair(0.0, 2), pair(-2.0, 3), pair(5.0, 4)],
            mean: (0.75, interval(-1.0, 4.0)),
            way: Way::Unsure,
            named: true,
        };
        let mut out = String::new();
        pairs.write(&mut out).expect("a string takes it");
        assert_eq!(out.matches("class=\"pair\"").count(), 4, "{out}");
        assert!(out.contains("seed 1 &lt;</title>"), "{out}");
        let heights: Vec<&str> =
            out.split("cy=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(heights[1..3], ["20.8", "14.0"], "{out}");
    }
}
