//! `wavetank replay`: the same run again, told event by event.

use terminal_size::{Width, terminal_size_of};

use crate::base::{HostId, Seed, SimTime, Span};
use crate::cli::run::{create_folder, with_progress, write_trace};
use crate::cli::{Format, ReplayArguments, Until, bad_input, print, tell};
use crate::lab::passing::nearest_passing;
use crate::lab::{self, Options, Run, Verdict};
use crate::report::{DivergenceReport, Report, View};
use crate::scenario::{Scenario, advice, nearest};
use crate::world::fault::rule::matches;
use crate::world::trace::What;
use crate::world::{Cut, Record, Recording, property};

/// How many events are shown before and after one that is looked for.
const CONTEXT: usize = 15;

/// How many are shown before and after the place where two runs part.
const CONTEXT_OF_DIFF: usize = 8;

/// How many characters a line of a picture has where no terminal says.
const WIDTH: usize = 120;

/// Carries the command out; returns its exit code.
pub(super) fn replay(arguments: &ReplayArguments) -> u8 {
    let subject = &arguments.subject;
    let (scenario, plan) = match subject.load() {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(&subject.file, &error, Format::Text),
    };
    if let Some(folder) = &arguments.trace
        && let Err(message) = create_folder(folder)
    {
        tell(&format!("{message}\n"));
        return Verdict::BAD_INPUT;
    }
    let everything = !arguments.timeline || arguments.trace.is_some();
    let recording = Recording { everything, levels: arguments.log.clone(), hashes: false };
    let cut = match cut(arguments) {
        Ok(cut) => cut,
        Err(message) => {
            tell(&format!("{message}\n"));
            return Verdict::BAD_INPUT;
        }
    };
    let options = Options { recording, plan, cut };
    let run = with_progress(|progress| lab::execute(&scenario, subject.seed(&scenario), &options, progress));
    let report = Report { run: &run, plan_file: subject.plan.as_deref(), difference: None };
    if arguments.diff_seed.is_some() || arguments.diff_passing {
        return diff(&scenario, &report, &options, arguments);
    }
    if let Some(Until::Event(event)) = &arguments.until
        && run.verdict != Verdict::CutShort
    {
        let nth = arguments.nth.unwrap_or(1);
        tell(&format!("the run ended before \"{event}\" had happened {nth} times\n"));
    }
    let hosts = match hosts(&run, &arguments.host) {
        Ok(hosts) => hosts,
        Err(message) => {
            tell(&format!("{message}\n"));
            return Verdict::BAD_INPUT;
        }
    };
    if arguments.timeline {
        print(&report.timeline(&view(&run, hosts, arguments)));
    } else {
        let wanted = |record: &&Record| is_wanted(record, &hosts, arguments);
        let shown: Vec<&Record> = run.records.iter().filter(wanted).collect();
        let told = match &arguments.around {
            Some(event) => told_around(&shown, event, arguments.context.unwrap_or(CONTEXT), &run),
            None => shown.iter().map(|record| record.line(&run.hosts) + "\n").collect(),
        };
        print(&told);
        print(&format!("\n{}", report.text()));
    }
    if let Some(folder) = &arguments.trace {
        if !write_trace(folder, &report) {
            return Verdict::BAD_INPUT;
        }
        print(&format!("files    {}\n", folder.display()));
    }
    run.verdict.exit_code()
}

/// Tells where the run parts from another.
fn diff(scenario: &Scenario, this: &Report<'_>, options: &Options, arguments: &ReplayArguments) -> u8 {
    let subject = &arguments.subject;
    let (run, seed) = (this.run, this.run.seed);
    let (other, without) = match arguments.diff_seed {
        Some(other) => {
            let other = with_progress(|progress| lab::execute(scenario, Seed::new(other), options, progress));
            (other, Vec::new())
        }
        None if run.verdict == Verdict::Held => {
            let kept = format!("{} under seed {seed} keeps every promise", subject.file.display());
            tell(&format!("{kept}: it passes itself\n  --diff-seed compares it with any other\n"));
            return Verdict::BAD_INPUT;
        }
        None => {
            let found = with_progress(|progress| nearest_passing(scenario, run, options, progress));
            let Some(found) = found else {
                let nowhere = "it fails without its faults, and under every seed nearby";
                tell(&format!("there is no passing run near seed {seed}: {nowhere}\n"));
                return run.verdict.exit_code();
            };
            (found.run, found.without)
        }
    };
    let other = Report { run: &other, ..*this };
    let context = arguments.context.unwrap_or(CONTEXT_OF_DIFF);
    print(&DivergenceReport { this: *this, other, without: &without, context }.text());
    if let Some(folder) = &arguments.trace {
        let beside = folder.join("other");
        if let Err(message) = create_folder(&beside) {
            tell(&format!("{message}\n"));
            return Verdict::BAD_INPUT;
        }
        if !write_trace(folder, this) || !write_trace(&beside, &other) {
            return Verdict::BAD_INPUT;
        }
        print(&format!("\nfiles      {} (this run), {} (the other)\n", folder.display(), beside.display()));
    }
    run.verdict.exit_code()
}

/// Where the run is to be cut short, if anywhere.
fn cut(arguments: &ReplayArguments) -> Result<Option<Cut>, String> {
    Ok(match (&arguments.until, arguments.nth, arguments.steps) {
        (Some(Until::Time(_)), Some(_), _) => {
            return Err("--nth counts events, and --until is a time".to_owned());
        }
        (Some(Until::Time(_)), ..) if arguments.timeline => None,
        (Some(Until::Time(at)), ..) => Some(Cut::At(SimTime::ZERO + at.get())),
        (Some(Until::Event(event)), nth, _) => {
            Some(Cut::On { event: (*event).to_owned(), nth: nth.unwrap_or(1) })
        }
        (None, _, steps) => steps.map(Cut::After),
    })
}

/// The hosts that are asked for: all, or those that the patterns name.
fn hosts(run: &Run, patterns: &[String]) -> Result<Vec<HostId>, String> {
    let names = || run.hosts.iter().map(String::as_str);
    for pattern in patterns {
        if !names().any(|name| matches(pattern, name)) {
            let advice = advice(pattern, names()).map(|advice| format!("; {advice}")).unwrap_or_default();
            return Err(format!("no host of this run is called `{pattern}`{advice}"));
        }
    }
    let asked = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
    let numbered = (0..).map(HostId::new).zip(names());
    Ok(numbered.filter(|(_, name)| asked(name)).map(|(host, _)| host).collect())
}

fn view(run: &Run, hosts: Vec<HostId>, arguments: &ReplayArguments) -> View {
    let until = match arguments.until {
        Some(Until::Time(until)) => run.virtual_time.min(SimTime::ZERO + until.get()),
        _ => run.virtual_time,
    };
    let from = arguments.from.map_or(SimTime::ZERO, |from| (SimTime::ZERO + from.get()).min(until));
    let width = terminal_size_of(std::io::stdout()).map_or(WIDTH, |(Width(width), _)| usize::from(width));
    View { from, until, hosts, slice: arguments.slice.map(Span::get), width }
}

/// Around an event messages are of interest too; over a whole run they would drown the rest, and disk operations anywhere.
fn is_wanted(record: &Record, hosts: &[HostId], arguments: &ReplayArguments) -> bool {
    let in_time = arguments.from.is_none_or(|from| SimTime::ZERO + from.get() <= record.at);
    let here = record.host.is_none_or(|host| hosts.contains(&host));
    let shown = match record.what {
        What::Delivered | What::Connection => arguments.everything || arguments.around.is_some(),
        What::Disk => arguments.everything,
        What::Fault | What::Process | What::Property | What::Log(_) => true,
    };
    in_time && here && shown
}

/// The records around each that says `event`; those that do are marked.
fn told_around(records: &[&Record], event: &str, context: usize, run: &Run) -> String {
    let says = |record: &Record| record.text.contains(event);
    let mut told = String::new();
    let mut told_to = 0;
    for (at, _) in records.iter().enumerate().filter(|(_, record)| says(record)) {
        let from = at.saturating_sub(context).max(told_to);
        let to = (at + context + 1).min(records.len());
        if told_to < from && !told.is_empty() {
            told.push_str("  ...\n");
        }
        for record in &records[from..to] {
            let mark = if says(record) { '>' } else { ' ' };
            told.push_str(&format!("{mark} {}\n", record.line(&run.hosts)));
        }
        told_to = to;
    }
    if told.is_empty() {
        let near = nearest(event, property::ALL.iter().map(|(name, _)| *name)).filter(|name| *name != event);
        let near = near.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
        tell(&format!("nothing in this run says \"{event}\"{near}\n"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::sample;

    #[test]
    fn events_are_told_with_what_surrounds_them_and_no_line_twice() {
        let run = sample::violated();
        let record = |text: &str| Record {
            at: SimTime::ZERO,
            host: None,
            what: What::Property,
            text: text.to_owned(),
            position: 1,
            message: None,
        };
        let records: Vec<Record> = "a b X X c d e f g X".split(' ').map(record).collect();
        let records: Vec<&Record> = records.iter().collect();
        let told = told_around(&records, "X", 1, &run);
        let short = told.lines().map(|line| (line.chars().next(), line.chars().last()));
        let short: String = short.flat_map(|(mark, text)| [mark, text]).flatten().collect();
        assert_eq!(short, " b>X>X c . g>X");
        assert_eq!(told_around(&records, "Y", 1, &run), "");
    }
}
