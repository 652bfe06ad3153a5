//! The command line. It parses, calls the lab, and prints; it decides nothing.

mod catalogue;
mod replay;
mod run;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::{Seed, Span};
use crate::lab::Verdict;
use crate::report;
use crate::scenario::{Mistake, Scenario, ScenarioError, Warning, advice, load_plan};
use crate::systems;
use crate::workloads;
use crate::world::Level;
use crate::world::fault::FaultPlan;

const EXAMPLES: &str = "\
Examples:
  wavetank list                                         what scenarios there are, and what each one risks
  wavetank run scenarios/clickstream.toml               run one under seed 1
  wavetank run scenarios/clickstream.toml --seed 7      another storm
  wavetank replay scenarios/clickstream.toml --seed 7   the same run again, told event by event

Exit codes: 0 held, 1 violated, 2 bad input, 3 did not converge, 4 not deterministic.";

const RUN_EXAMPLES: &str = "\
Examples:
  wavetank run scenarios/clickstream.toml --set systems.broker.brokers=5 --set acts.stir=20s
  wavetank run scenarios/clickstream.toml --set 'faults=[]'            the same traffic, and nothing breaks
  wavetank run scenarios/clickstream.toml --set 'bugs=[\"K01\"]'         with a historical bug switched on
  wavetank run scenarios/clickstream.toml --trace out/ --format json   tables for notebooks, a summary for scripts
                                                                       (`wavetank schema run` documents it)
  wavetank run scenarios/clickstream.toml --plan out/plan.toml         exactly these faults

A run goes through five acts: build, stir (traffic flows, things break), heal, settle (everything must converge), judge.
An event under `expect.reaches` that a run misses is told (`not_reached` in JSON) and no violation: one seed need not come there.
The same binary, scenario, overrides and seed give the same digest, on any machine.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  wavetank replay scenarios/clickstream.toml --seed 7 --until 12.5s
  wavetank replay scenarios/clickstream.toml --seed 7 --around \"a follower left the in-sync set\"
  wavetank replay scenarios/clickstream.toml --seed 7 --log broker=debug --log coordination=warn

Each line: virtual time, host, kind, event. Faults, processes, properties and logs are shown; with --around messages too,
with --everything also what disks do.";

/// Puts the real code of a large-scale ML platform into reproducible storms: one process, one seed, one verdict.
#[derive(Parser)]
#[command(name = "wavetank", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario under a seed, and say whether its promises held
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Run a scenario again and show what happened, event by event
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
    /// List the scenarios of a folder, with what each one risks
    List {
        /// The folder; the folders in it are looked through too
        #[arg(default_value = "scenarios")]
        folder: PathBuf,
    },
    /// Print the JSON Schema of scenario files, for editors that complete them, or of what `--format json` prints
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t = Documented::Scenario)]
        of: Documented,
    },
    /// List the historical bugs that can be switched on with `bugs = ["KEY"]`
    Bugs,
}

/// What names a run.
#[derive(Args)]
struct Subject {
    /// The scenario file
    file: PathBuf,
    /// The number from which everything random follows
    #[arg(long, default_value_t = 1, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Override a value of the file, by dotted path: systems.broker.brokers=5 (may be given again)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Carry out the faults of this file (a plan.toml of an earlier --trace) instead of drawing them
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    subject: Subject,
    /// Write every event (trace.arrow), time series (series.arrow), the summary (run.json) and the faults (plan.toml) there
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
    /// How to tell the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Run twice, compare event by event, and name the first that differs
    #[arg(long)]
    check_determinism: bool,
}

#[derive(Args)]
struct ReplayArguments {
    #[command(flatten)]
    subject: Subject,
    /// Show nothing after this virtual time
    #[arg(long, value_name = "TIME")]
    until: Option<Span>,
    /// Show only what surrounds the events whose text contains this
    #[arg(long, value_name = "EVENT")]
    around: Option<String>,
    /// How many events to show before and after each one that --around finds
    #[arg(long, value_name = "LINES", default_value_t = 15)]
    context: usize,
    /// Keep log lines of a system down to a level: error, warn, info or debug; `*` stands for all systems (may be given again)
    #[arg(long, value_name = "SYSTEM=LEVEL", value_parser = level)]
    log: Vec<(String, Level)>,
    /// Show every message, connection and disk operation too
    #[arg(long)]
    everything: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Documented {
    /// Scenario files
    Scenario,
    /// The summary of a run
    Run,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A summary for people
    Text,
    /// A stable document for scripts, also about bad input
    Json,
}

/// Parses the arguments of the process, carries the command out, and returns its exit code.
pub fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::List { folder } => catalogue::list(&folder),
        Command::Schema { of } => catalogue::schema(of),
        Command::Bugs => catalogue::bugs(),
    };
    ExitCode::from(code)
}

impl Subject {
    /// The scenario and plan it names. What has no effect in them is told.
    fn load(&self) -> Result<(Scenario, Option<FaultPlan>), ScenarioError> {
        let scenario = Scenario::load(&self.file, &self.set)?;
        warn(&scenario.warnings);
        let Some(file) = &self.plan else { return Ok((scenario, None)) };
        let (plan, warnings) = load_plan(file, &scenario)?;
        warn(&warnings);
        Ok((scenario, Some(plan)))
    }

    fn seed(&self) -> Seed {
        Seed::new(self.seed)
    }
}

/// Tells what is wrong with a scenario or a plan; returns the exit code.
fn bad_input(subject: &Subject, error: &ScenarioError, format: Format) -> u8 {
    tell(&error.render(io::stderr().is_terminal()));
    refuse(subject, error.mistakes(), format)
}

/// Bad input that has been told: scripts get it as JSON, too. Returns the exit code.
fn refuse(subject: &Subject, mistakes: &[Mistake], format: Format) -> u8 {
    if format == Format::Json {
        print(&(report::bad_input(&subject.file, mistakes) + "\n"));
    }
    Verdict::BAD_INPUT
}

/// Tells what will have no effect. The run goes on.
fn warn(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| tell(&warning.render(io::stderr().is_terminal())));
}

/// Writes to standard output. A reader that has gone (`| head`) has seen enough.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn seed(text: &str) -> Result<u64, String> {
    let wrong = |_| format!("a seed is a whole number from 0 to {}", u64::MAX);
    text.parse().map_err(wrong)
}

fn level(text: &str) -> Result<(String, Level), String> {
    let wrong = || format!("`{text}` is not SYSTEM=LEVEL, with a level of error, warn, info or debug");
    let (system, level) = text.split_once('=').filter(|(system, _)| !system.is_empty()).ok_or_else(wrong)?;
    let level = match level {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "info" => Level::Info,
        "debug" => Level::Debug,
        _ => return Err(wrong()),
    };
    let known = systems::NAMES.into_iter().chain(workloads::NAMES).chain(["*"]);
    if !known.clone().any(|name| name == system) {
        let advice = advice(system, known).unwrap_or_default();
        return Err(format!("there is no system called `{system}`; {advice}"));
    }
    Ok((system.to_owned(), level))
}
