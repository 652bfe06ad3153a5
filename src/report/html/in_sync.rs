//! The in-sync sets over virtual time: a strip for each topic partition, as high as the share of its replicas that are in sync. It
//! stands under the lives of hosts, on the same axis of time.

use std::fmt::{self, Write};

use crate::checkers::replication::{Copies, Course};
use crate::lab::Run;
use crate::report::html::chart::{Axis, ending, short};
use crate::report::html::{escaped, timeline};
use crate::report::lives::{Stretch, moments};

/// The size of a strip, in units of its own; a page stretches it.
const LENGTH: f64 = 1000.0;
const HEIGHT: f64 = 12.0;

/// How many strips are shown, and how many characters of a name.
const STRIPS_MAX: usize = 24;
const NAME_MAX: usize = 24;

/// How a topic partition fares, the better first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Level {
    /// All replicas are in sync.
    Full,
    /// Some are not.
    Short,
    /// So many are not that no write with acks=all is taken.
    Scarce,
    /// Nobody leads.
    Leaderless,
}

impl Level {
    fn of(copies: &Copies) -> Self {
        let Copies { in_sync, replicas, min_in_sync, led } = *copies;
        match led {
            false => Self::Leaderless,
            true if in_sync < min_in_sync => Self::Scarce,
            true if in_sync < replicas => Self::Short,
            true => Self::Full,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Full => "up",
            Self::Short => "short",
            Self::Scarce => "scarce",
            Self::Leaderless => "leaderless",
        }
    }
}

/// A topic partition: how it fared from when to when.
struct Strip<'run> {
    id: &'run str,
    spans: Vec<(Stretch, Copies)>,
}

impl<'run> Strip<'run> {
    fn new(course: &'run Course, end: f64) -> Self {
        let begins = course.changes.iter().map(|(at, copies)| (at.as_secs_f64(), *copies));
        let ends = course.changes.iter().skip(1).map(|(at, _)| at.as_secs_f64()).chain([end]);
        let spans = begins.zip(ends).map(|((from, copies), to)| (Stretch { from, to }, copies)).collect();
        Self { id: &course.id, spans }
    }

    /// The longest time without a break that it was at this level, if it ever was; in seconds.
    fn longest(&self, level: Level) -> Option<f64> {
        let runs = self.spans.chunk_by(|(_, one), (_, next)| Level::of(one) == Level::of(next));
        let at_level = runs.filter(|run| Level::of(&run[0].1) == level);
        at_level.map(|run| run[run.len() - 1].0.to - run[0].0.from).reduce(f64::max)
    }

    /// How long it lacked copies or a leader in all, in seconds.
    fn ailing(&self) -> f64 {
        let ails = self.spans.iter().filter(|(_, copies)| Level::of(copies) != Level::Full);
        ails.map(|(span, _)| span.to - span.from).sum()
    }

    /// What there is to draw: of what is too short to be seen apart, the worst, for as long as can just be seen.
    fn drawn(&self, least: f64) -> Vec<(Stretch, Copies)> {
        let mut drawn: Vec<(Stretch, Copies)> = Vec::new();
        for (mut span, copies) in self.spans.iter().copied() {
            if let Some((last, worst)) = drawn.last_mut() {
                last.to = last.to.max(last.from + least);
                if span.to <= last.to {
                    *worst = if Level::of(worst) < Level::of(&copies) { copies } else { *worst };
                    continue;
                }
                span.from = last.to;
            }
            drawn.push((span, copies));
        }
        drawn
    }
}

/// Writes the strips under their title; nothing where no brokers stood.
pub(super) fn write(out: &mut String, run: &Run) -> fmt::Result {
    let end = run.virtual_time.as_secs_f64();
    let mut strips: Vec<Strip<'_>> = run.in_sync.iter().map(|course| Strip::new(course, end)).collect();
    if strips.is_empty() {
        return Ok(());
    }
    let title = escaped(&title(&strips));
    writeln!(out, "<h2>{title}</h2>")?;
    write_key(out)?;
    if STRIPS_MAX < strips.len() {
        let all = strips.len();
        // Which fared worst; among equals, and in the end, as they were created.
        let mut order: Vec<usize> = (0..all).collect();
        order.sort_by(|one, other| strips[*other].ailing().total_cmp(&strips[*one].ailing()));
        let shown = &order[..STRIPS_MAX];
        let mut number = 0..;
        strips.retain(|_| number.next().is_some_and(|number| shown.contains(&number)));
        writeln!(out, "<p class=\"quiet\">The {STRIPS_MAX} of {all} that fared worst.</p>")?;
    }
    writeln!(out, "<figure class=\"strips\" role=\"img\" aria-label=\"{title}\">")?;
    let time = Axis { low: (0.0, 0.0), high: (end, LENGTH) };
    let moments = marks(run, &time);
    for strip in &strips {
        write_strip(out, strip, &time, &moments)?;
    }
    write!(out, "<span></span><div class=\"ticks\">")?;
    for tick in time.ticks(10.0) {
        write!(out, "<i style=\"left:{:.2}%\">{}</i>", time.place(tick) / LENGTH * 100.0, short(tick))?;
    }
    writeln!(out, "<i>virtual time, s</i></div></figure>")
}

/// What is found, as a sentence.
fn title(strips: &[Strip<'_>]) -> String {
    let changes = || strips.iter().flat_map(|strip| strip.spans.windows(2));
    let times = |count: usize| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let shrank = changes().filter(|pair| pair[1].1.in_sync < pair[0].1.in_sync).count();
    let grew = changes().filter(|pair| pair[0].1.in_sync < pair[1].1.in_sync).count();
    let at = |level: Level| {
        let longest: Vec<f64> = strips.iter().filter_map(|strip| strip.longest(level)).collect();
        longest.iter().copied().reduce(f64::max).map(|most| (longest.len(), most))
    };
    let all = strips.len();
    let mut told = format!("In-sync sets shrank {} and grew {}", times(shrank), times(grew));
    match at(Level::Scarce) {
        Some((few, most)) => told.push_str(&format!(
            "; {few} of {all} topic partitions fell below min.insync.replicas, for {} s at longest",
            short(most)
        )),
        None => told.push_str(&format!("; none of {all} topic partitions fell below min.insync.replicas")),
    }
    if let Some((few, most)) = at(Level::Leaderless) {
        told.push_str(&format!("; {few} had no leader, for {} s at longest", short(most)));
    }
    told
}

fn write_key(out: &mut String) -> fmt::Result {
    writeln!(out, "<div class=\"key\">")?;
    for (level, y, words) in [
        (Level::Full, 0.0, "all replicas in sync"),
        (Level::Short, 5.0, "some are not: the higher, the more are"),
        (Level::Scarce, 9.0, "fewer than min.insync.replicas"),
        (Level::Leaderless, 0.0, "no leader, as controllers wrote it"),
    ] {
        let (class, height) = (level.class(), 15.0 - y);
        let bar = format!("<rect class=\"{class}\" x=\"1\" y=\"{y}\" width=\"20\" height=\"{height}\"/>");
        write!(out, "{}", timeline::key_of((&bar, words)))?;
    }
    for mark in [timeline::HEALED, timeline::BROKEN] {
        write!(out, "{}", timeline::key_of(mark))?;
    }
    writeln!(out, "</div>")
}

/// The moments that are marked on every strip.
fn marks(run: &Run, time: &Axis) -> String {
    let line =
        |class: &str, at: f64| format!("<path class=\"{class}\" d=\"M{:.1} 0V{HEIGHT}\"/>", time.place(at));
    let healed = run.storm().filter(|record| record.host.is_none() && record.text.contains(" healed"));
    let healed = healed.map(|record| line("healed", record.at.as_secs_f64()));
    healed.chain(moments(run).into_iter().map(|at| line("violation", at))).collect()
}

fn write_strip(out: &mut String, strip: &Strip<'_>, time: &Axis, marks: &str) -> fmt::Result {
    let name = escaped(&ending(strip.id, NAME_MAX));
    writeln!(out, "<span>{name}</span><svg viewBox=\"0 0 {LENGTH} {HEIGHT}\" preserveAspectRatio=\"none\">")?;
    let (end, _) = time.high;
    for (span, copies) in strip.drawn(end / LENGTH) {
        let Copies { in_sync, replicas, .. } = copies;
        let level = Level::of(&copies);
        let share = if level == Level::Leaderless { 1.0 } else { in_sync as f64 / replicas.max(1) as f64 };
        let (x, y) = (time.place(span.from), HEIGHT * (1.0 - share));
        let (width, height) = ((time.place(span.to) - x).max(1.0), HEIGHT - y);
        let (class, led) = (level.class(), if copies.led { "" } else { ", no leader" });
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{height:.0}\"><title>\
             {:.3} s to {:.3} s: {in_sync} of {replicas} in sync{led}</title></rect>",
            span.from, span.to
        )?;
    }
    writeln!(out, "{marks}</svg>")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::SimTime;

    fn course(id: &str, changes: &[(u64, usize, bool)]) -> Course {
        let change = |(millis, in_sync, led): &(u64, usize, bool)| {
            let copies = Copies { in_sync: *in_sync, replicas: 4, min_in_sync: 2, led: *led };
            (SimTime::ZERO + Duration::from_millis(*millis), copies)
        };
        Course { id: id.to_owned(), changes: changes.iter().map(change).collect() }
    }

    fn told(courses: &[Course]) -> String {
        let strips: Vec<Strip<'_>> = courses.iter().map(|course| Strip::new(course, 10.0)).collect();
        title(&strips)
    }

    #[test]
    fn the_title_tells_how_often_sets_shrank_and_how_long_writes_were_refused() {
        assert_eq!(
            told(&[course("t/0", &[(0, 4, true)]), course("t/1", &[(0, 4, true), (5_000, 3, true)])]),
            "In-sync sets shrank once and grew 0 times; none of 2 topic partitions fell below min.insync.replicas"
        );
        let hard = [(0, 4, true), (1_000, 1, true), (2_000, 1, false), (2_500, 1, true), (3_000, 4, true)];
        assert_eq!(
            told(&[course("t/0", &hard), course("t/1", &[(0, 1, true), (4_000, 2, true)])]),
            "In-sync sets shrank once and grew 2 times; 2 of 2 topic partitions fell below min.insync.replicas, \
             for 4 s at longest; 1 had no leader, for 0.5 s at longest"
        );
    }

    #[test]
    fn a_strip_is_as_high_as_the_share_in_sync_and_shows_the_worst_of_what_is_too_short_to_see() {
        let course =
            course("<t>/0", &[(1_000, 4, true), (5_000, 2, true), (5_001, 1, true), (5_002, 3, true)]);
        let time = Axis { low: (0.0, 0.0), high: (10.0, LENGTH) };
        let mut out = String::new();
        write_strip(&mut out, &Strip::new(&course, 10.0), &time, "").expect("a string takes it");
        insta::assert_snapshot!(out, @r#"
        <span>&lt;t&gt;/0</span><svg viewBox="0 0 1000 12" preserveAspectRatio="none">
        <rect class="up" x="100.0" y="0" width="400.0" height="12"><title>1.000 s to 5.000 s: 4 of 4 in sync</title></rect>
        <rect class="scarce" x="500.0" y="9" width="1.0" height="3"><title>5.000 s to 5.010 s: 1 of 4 in sync</title></rect>
        <rect class="short" x="501.0" y="3" width="499.0" height="9"><title>5.010 s to 10.000 s: 3 of 4 in sync</title></rect>
        </svg>
        "#);
    }

    #[test]
    fn of_many_topic_partitions_those_are_shown_that_fared_worst() {
        let mut run = crate::lab::sample::violated();
        let number = |number: usize| format!("t/{number}");
        let ails = |index: usize| index.is_multiple_of(2);
        run.in_sync = (0..2 * STRIPS_MAX)
            .map(|index| course(&number(index), &[(0, if ails(index) { 3 } else { 4 }, true)]))
            .collect();
        let mut out = String::new();
        write(&mut out, &run).expect("a string takes it");
        for index in 0..2 * STRIPS_MAX {
            let shown = out.contains(&format!("<span>{}</span>", number(index)));
            assert_eq!(shown, ails(index), "{index}: {out}");
        }
        run.in_sync.clear();
        out.clear();
        write(&mut out, &run).expect("a string takes it");
        assert_eq!(out, "", "without brokers there are no in-sync sets");
    }
}
