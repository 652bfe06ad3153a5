//! Two runs side by side: where they part first, what surrounds it in both, and what else happened in only one of them.

use std::fmt::{self, Write};

use crate::lab::divergence::{Course, Divergence, Side, Step, divergences};
use crate::report::Report;
use crate::report::blame::words;
use crate::world::Record;
use crate::world::fault::PlannedFault;
use crate::world::trace::What;

/// How many divergences are told before the rest is only counted.
const TOLD_MAX: usize = 20;

/// How many faults that were left out are told before the rest is only counted.
const WITHOUT_MAX: usize = 8;

/// Two runs to be told side by side.
#[derive(Clone, Copy, Debug)]
pub struct DivergenceReport<'run> {
    /// The run in question.
    pub this: Report<'run>,
    /// The run that it is compared with.
    pub other: Report<'run>,
    /// The faults that were left out of the other.
    pub without: &'run [PlannedFault],
    /// How many events to show before and after the place where they part.
    pub context: usize,
}

impl Side {
    fn words(self) -> &'static str {
        match self {
            Self::This => "this run",
            Self::Other => "the other",
        }
    }
}

impl DivergenceReport<'_> {
    /// The comparison, for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes all that is written");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (this, other) = (Course::of(self.this.run), Course::of(self.other.run));
        let found = divergences(&this, &other);
        let of = |side| if side == Side::This { &this } else { &other };
        let Some(first) = found.first() else {
            writeln!(out, "SAME: what happened in one of the two runs happened in the other, too\n")?;
            return self.write_runs(out);
        };
        let line = of(first.side).run.records[first.record].line(&of(first.side).run.hosts);
        let (one, two) = match first.side {
            Side::This => (Side::This, Side::Other),
            Side::Other => (Side::Other, Side::This),
        };
        let has = match first.elsewhere {
            0 => format!("only {} has this", one.words()),
            1 => format!("{} has this once more, {} once in all", one.words(), two.words()),
            times => format!("{} has this once more, {} {times} times in all", one.words(), two.words()),
        };
        writeln!(out, "DIFFERENT: they part at {}: {has}\n  {line}\n", first.at)?;
        self.write_runs(out)?;
        for side in [Side::This, Side::Other] {
            let host = of(first.side).host(&of(first.side).run.records[first.record]);
            writeln!(out, "\n{}, {}", side.words(), host.unwrap_or("all hosts"))?;
            let seen = Seen { at: of(first.side), other: of(side), first, is_it: side == first.side };
            seen.write(self.context, out)?;
        }
        writeln!(
            out,
            "\nwhat happened in only one of them, or more often there, {} things in all",
            found.len()
        )?;
        for divergence in found.iter().take(TOLD_MAX) {
            let course = of(divergence.side);
            let record = &course.run.records[divergence.record];
            writeln!(out, "  {:<9} {}", divergence.side.words(), record.line(&course.run.hosts))?;
        }
        match found.len().checked_sub(TOLD_MAX) {
            Some(more @ 1..) => writeln!(out, "  and {more} more"),
            _ => Ok(()),
        }
    }

    /// What the two runs are, and how to repeat them.
    fn write_runs(&self, out: &mut String) -> fmt::Result {
        for (side, report) in [(Side::This, &self.this), (Side::Other, &self.other)] {
            let verdict = report.run.verdict.words();
            let command = report.replay_command();
            match (side, self.without.len()) {
                (Side::This, _) | (_, 0) => writeln!(out, "{:<9}  {verdict:<16} {command}", side.words())?,
                (Side::Other, count) => {
                    let all = self.this.run.plan.faults.len();
                    writeln!(
                        out,
                        "{:<9}  {verdict:<16} the same seed without {count} of its {all} faults:",
                        side.words()
                    )?;
                    let told = self.without.iter().take(WITHOUT_MAX);
                    told.for_each(|fault| out.push_str(&format!("{:11}{}\n", "", words(fault))));
                    if WITHOUT_MAX < count {
                        let more = count - WITHOUT_MAX;
                        writeln!(out, "{:11}and {more} more: --trace writes the plan of the other run", "")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The place where two runs part, as one of them saw it.
struct Seen<'seen, 'run> {
    /// The run in which it happened.
    at: &'seen Course<'run>,
    /// The run that is told.
    other: &'seen Course<'run>,
    first: &'seen Divergence,
    /// Whether the two are one.
    is_it: bool,
}

impl<'run> Seen<'_, 'run> {
    /// What is worth telling of a run about the host: what befell it and everybody; messages if the runs part in one.
    fn shown(&self, course: &Course<'run>) -> Vec<(&'run Record, Step<'run>)> {
        let apart = &self.at.run.records[self.first.record];
        let host = self.at.host(apart);
        let messages = apart.what == What::Delivered;
        let shown = |record: &'run Record| {
            let step = course.step(record)?;
            let concerns = host.is_none() || record.host.is_none() || course.host(record) == host;
            let quiet = record.what == What::Delivered && !messages;
            (concerns && !quiet).then_some((record, step))
        };
        course.run.records.iter().filter_map(shown).collect()
    }

    fn write(&self, context: usize, out: &mut String) -> fmt::Result {
        let shown = self.shown(self.other);
        let apart = &self.at.run.records[self.first.record];
        let place = match self.is_it {
            true => shown.iter().position(|(record, _)| std::ptr::eq(*record, apart)).unwrap_or_default(),
            false => shown.partition_point(|(record, _)| record.at < apart.at),
        };
        let mut told = 0;
        let mut index = place.saturating_sub(context);
        while index < shown.len() && told <= 2 * context {
            let (record, step) = &shown[index];
            let mark = if self.is_it && index == place { '>' } else { ' ' };
            // What repeats itself is told once.
            let rest = shown[index + 1..].iter().enumerate();
            let again = rest
                .take_while(|(later, (_, same))| same == step && (!self.is_it || index + 1 + later != place))
                .count();
            let again = if mark == '>' { 0 } else { again };
            let times = if again == 0 { String::new() } else { format!(" (x {})", again + 1) };
            writeln!(out, "{mark} {}{times}", record.line(&self.other.run.hosts))?;
            index += 1 + again;
            told += 1;
        }
        if told == 0 { writeln!(out, "  nothing") } else { Ok(()) }
    }
}
