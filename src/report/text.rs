//! A run on a terminal, for somebody who has never seen the scenario: the verdict, why, what was looked at, how to repeat it.

use std::fmt::{self, Write};

use crate::base::Figure;
use crate::checkers::Check;
use crate::lab::{Act, Verdict};
use crate::report::Report;
use crate::world::Record;
use crate::world::property::PropertyKind;

/// How many visited events are named before the rest is only counted.
const EVENTS_MAX: usize = 12;

/// How many faults are told before the rest is only counted.
const STORM_MAX: usize = 60;

impl Report<'_> {
    /// The whole summary.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes whatever is written to it");
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        writeln!(out, "{}: {}", run.verdict.words().to_uppercase(), run.title)?;
        write!(out, "{}, seed {}", run.scenario.display(), run.seed)?;
        run.overrides.iter().try_for_each(|set| write!(out, ", {set}"))?;
        writeln!(out, "\n")?;
        self.write_why(out)?;
        self.write_checks(out)?;
        self.write_faults(out)?;
        self.write_storm(out)?;
        self.write_properties(out)?;
        self.write_sites(out)?;
        self.write_pairs(out, "workloads", &run.counters)?;
        self.write_figures(out)?;
        self.write_pairs(out, "drawn by the seed", &run.drawn)?;
        if !run.excerpt.is_empty() {
            writeln!(out, "\nthe last telling events")?;
            run.excerpt.iter().try_for_each(|line| writeln!(out, "  {}", line.replace('\n', "\n    ")))?;
        }
        let (virtual_time, wall) = (run.virtual_time.as_secs_f64(), run.wall_time.as_secs_f64());
        writeln!(out, "\ntime     {virtual_time:.1}s of virtual time in {wall:.2}s")?;
        let [events, messages, operations] = [run.events, run.messages, run.disk_operations].map(grouped);
        writeln!(out, "size     {events} events, {messages} messages, {operations} disk operations")?;
        writeln!(out, "digest   {}", run.digest)?;
        writeln!(out, "replay   {}", self.replay_command())?;
        match self.run.verdict {
            Verdict::Violated | Verdict::NotConverged => {
                writeln!(out, "shrink   {}", self.command("shrink"))
            }
            Verdict::Held | Verdict::NotDeterministic | Verdict::CutShort => Ok(()),
        }
    }

    fn write_why(&self, out: &mut String) -> fmt::Result {
        let run = self.run;
        if let Some(difference) = self.difference {
            let unknown = "an event of which nothing was written down";
            writeln!(out, "Two runs of this scenario and seed part at event {}:", difference.position)?;
            writeln!(out, "  first   {}", difference.first.as_deref().unwrap_or(unknown))?;
            writeln!(out, "  second  {}", difference.second.as_deref().unwrap_or(unknown))?;
        }
        if let Some(violation) = &run.violation {
            let host = violation.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
            writeln!(out, "At {}{host} this was broken: {}", violation.at, violation.property)?;
            violation.detail.lines().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        for check in run.checks.iter().filter(|check| !check.held()) {
            let counts = format!("{} of {}", grouped(check.violations), grouped(check.looked_at));
            writeln!(out, "This was broken: {}: {counts}, for instance", check.name)?;
            check.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))?;
        }
        if !run.unmet.is_empty() {
            writeln!(out, "These did not come to rest in time:")?;
            run.unmet.iter().try_for_each(|unmet| writeln!(out, "  {unmet}"))?;
        }
        if run.verdict == Verdict::Held {
            let looked_at: u64 = run.checks.iter().map(|check| check.looked_at).sum();
            match looked_at {
                0 => writeln!(
                    out,
                    "Nothing was broken, but no check had anything to look at: this proves little."
                )?,
                _ => writeln!(out, "Every promise was kept.")?,
            }
        }
        if run.verdict == Verdict::CutShort {
            let act = run.acts.last().map_or(Act::Build, |(act, _)| *act).name();
            writeln!(
                out,
                "It was cut short at {}, in the act `{act}`, and whether it holds is not known:",
                run.virtual_time
            )?;
            writeln!(
                out,
                "no property was violated until then, but checkers judge only a run that has come to its end."
            )?;
        }
        for name in &run.not_reached {
            writeln!(out, "This run never came to an event that the scenario expects: {name}")?;
        }
        Ok(())
    }

    fn write_checks(&self, out: &mut String) -> fmt::Result {
        let checks = &self.run.checks;
        if checks.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nchecks     looked at   broken")?;
        let state = |check: &Check| match (check.held(), check.looked_at) {
            (false, _) => "BROKEN",
            (true, 0) => "empty",
            (true, _) => "held",
        };
        checks.iter().try_for_each(|check| {
            let (looked_at, broken) = (grouped(check.looked_at), grouped(check.violations));
            writeln!(out, "  {:<8} {looked_at:>10} {broken:>8}   {}", state(check), check.name)
        })
    }

    fn write_faults(&self, out: &mut String) -> fmt::Result {
        if self.run.faults.is_empty() {
            return writeln!(out, "\nfaults     none");
        }
        writeln!(out, "\nfaults              injected  weakened  without effect")?;
        self.run.faults.iter().try_for_each(|(kind, count)| {
            let (injected, weakened, skipped) = (count.injected, count.downgraded, count.skipped);
            writeln!(out, "  {kind:<16} {injected:>9} {weakened:>9} {skipped:>15}")
        })
    }

    /// The faults in the order in which they came.
    fn write_storm(&self, out: &mut String) -> fmt::Result {
        let storm: Vec<&Record> = self.run.storm().collect();
        if storm.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nthe storm")?;
        for record in storm.iter().take(STORM_MAX) {
            writeln!(out, "  {:>12} {}", record.at.to_string(), record.text)?;
        }
        match storm.len().checked_sub(STORM_MAX) {
            Some(more @ 1..) => writeln!(out, "  and {more} more: --trace writes them all to plan.toml"),
            _ => Ok(()),
        }
    }

    fn write_properties(&self, out: &mut String) -> fmt::Result {
        let of = |kind: PropertyKind| self.run.properties.iter().filter(move |tally| tally.kind == kind);
        let always = of(PropertyKind::Always);
        let evaluated: u64 = always.clone().map(|tally| tally.evaluated).sum();
        let mut events: Vec<_> = of(PropertyKind::Sometimes)
            .chain(of(PropertyKind::Reached))
            .filter(|tally| 0 < tally.hit)
            .collect();
        if evaluated == 0 && events.is_empty() {
            return Ok(());
        }
        let count = always.count();
        writeln!(out, "\nproperties {count} for safety, evaluated {} times", grouped(evaluated))?;
        if !events.is_empty() {
            writeln!(out, "events     {} kinds visited, the rarest first", events.len())?;
        }
        // The rarest first: they are what a storm is made for.
        events.sort_by_key(|tally| (tally.hit, tally.name));
        for tally in events.iter().take(EVENTS_MAX) {
            writeln!(out, "  {:>8} x {}", grouped(tally.hit), tally.name)?;
        }
        match events.len().checked_sub(EVENTS_MAX) {
            Some(more @ 1..) => writeln!(out, "  and {more} more"),
            _ => Ok(()),
        }
    }

    /// The cooperative points that fired; each run has its own.
    fn write_sites(&self, out: &mut String) -> fmt::Result {
        let sites = &self.run.sites;
        if sites.is_empty() {
            return Ok(());
        }
        let live = sites.iter().filter(|tally| tally.live).count();
        writeln!(
            out,
            "\nsites      {live} of {} cooperative points that were reached are live",
            sites.len()
        )?;
        let mut fired = sites.iter().filter(|tally| 0 < tally.fired);
        fired.try_for_each(|tally| writeln!(out, "  {:>8} x {}", grouped(tally.fired), tally.site))
    }

    /// The figures that have values.
    fn write_figures(&self, out: &mut String) -> fmt::Result {
        let value = |figure: &Figure| Some((figure.name.clone(), with_unit(figure.value?, &figure.unit)));
        let pairs: Vec<(String, String)> = self.run.figures.iter().filter_map(value).collect();
        self.write_pairs(out, "figures", &pairs)
    }

    fn write_pairs(
        &self,
        out: &mut String,
        title: &str,
        pairs: &[(String, impl fmt::Display)],
    ) -> fmt::Result {
        if pairs.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}")?;
        pairs.iter().try_for_each(|(name, value)| writeln!(out, "  {name} = {value}"))
    }
}

/// A number with its thousands apart: 60,000.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its unit.
pub(super) fn with_unit(number: f64, unit: &str) -> String {
    let number = significant(number);
    match unit {
        "" | "%" | "/s" => number + unit,
        unit => format!("{number} {unit}"),
    }
}

/// A number with three significant digits: 0.0123, 1.5, 60,000.
pub(super) fn significant(number: f64) -> String {
    if !number.is_finite() {
        return "?".to_owned();
    }
    let size = number.abs();
    if 99.95 <= size {
        let sign = if number < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped(size.round() as u64));
    }
    let digits = if size == 0.0 { 0 } else { (2 - size.log10().floor() as i32).clamp(0, 9) as usize };
    let text = format!("{number:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::first_difference;
    use crate::lab::sample;

    #[test]
    fn a_failing_run_leads_with_what_was_broken_and_ends_with_the_command_that_repeats_it() {
        let run = sample::violated();
        let text = Report { run: &run, plan_file: None, difference: None }.text();
        insta::assert_snapshot!(text, @r#"
        VIOLATED: Clicks survive
        scenarios/my clicks.toml, seed 7, faults=[]

        At 12.500000s on broker-2 this was broken: the high watermark stays within the log
          1043 beyond 1042
        This was broken: no acknowledged record is lost: 1 of 60,000, for instance
          12.300000s clicks/3@1042: event 7 was acknowledged; nothing was read there
        This run never came to an event that the scenario expects: a leader was fenced

        checks     looked at   broken
          BROKEN       60,000        1   no acknowledged record is lost
          empty             0        0   no record stands twice

        faults              injected  weakened  without effect
          crash                    3         1               0

        the storm
            12.400000s crash of broker-2, down 2s

        properties 1 for safety, evaluated 5,000 times
        events     1 kinds visited, the rarest first
                 4 x a follower left the in-sync set

        sites      1 of 2 cooperative points that were reached are live
                 2 x broker: before a proposal

        workloads
          clickstream sent = 60000

        figures
          clickstream latency p99 = 0.25 s

        drawn by the seed
          systems.broker.topics.clicks.segment = 1KiB

        the last telling events
          12.400000s broker-2 fault crash

        time     61.5s of virtual time in 1.23s
        size     1,234,567 events, 89,000 messages, 12 disk operations
        digest   00000000000000000000000000000abc
        replay   wavetank replay 'scenarios/my clicks.toml' --seed 7 --set 'faults=[]'
        shrink   wavetank shrink 'scenarios/my clicks.toml' --seed 7 --set 'faults=[]'
        "#);
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.012345, "0.0123"),
            (-1.5, "-1.5"),
            (99.96, "100"),
            (-59934.2, "-59,934"),
            (20.0, "20"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(significant(number), expected, "{number}");
        }
    }

    #[test]
    fn a_run_that_does_not_repeat_itself_names_the_event() {
        let run = sample::violated();
        let mut other = run.clone();
        assert_eq!(first_difference(&run, &other), None);
        other.hashes = vec![1, 2];
        let difference = first_difference(&run, &other);
        let text = Report { run: &run, plan_file: None, difference: difference.as_ref() }.text();
        assert!(text.contains("part at event 3"), "{text}");
        assert!(text.contains("second  nothing: the run had ended"), "{text}");
    }
}
