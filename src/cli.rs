//! The command line. It parses, calls the lab, and prints; it decides nothing.

mod blame;
mod catalogue;
mod compare;
mod fidelities;
mod hunt;
mod impact;
mod replay;
mod reproduce;
mod run;
mod shrink;
mod strategies;
mod sweep;
mod variants;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::base::units::UnitError;
use crate::base::{ByteSize, Seed, Span};
use crate::lab::Verdict;
use crate::report;
use crate::scenario::{Mistake, Scenario, ScenarioError, Warning, advice, load_plan};
use crate::systems;
use crate::workloads;
use crate::world::fault::FaultPlan;
use crate::world::{Level, property};

const EXAMPLES: &str = "\
Examples:
  wavetank list                                         what scenarios there are, and what each one risks
  wavetank run scenarios/clickstream.toml               run one under seed 1
  wavetank run scenarios/clickstream.toml --seed 7      another storm
  wavetank replay scenarios/clickstream.toml --seed 7   the same run again, told event by event

Exit codes: 0 held, 1 violated, 2 bad input, 3 did not converge, 4 not deterministic, 5 cut short (a replay only).";

const RUN_EXAMPLES: &str = "\
Examples:
  wavetank run scenarios/clickstream.toml --set systems.broker.brokers=5 --set acts.stir=20s
  wavetank run scenarios/clickstream.toml --set 'faults=[]'            the same traffic, and nothing breaks
  wavetank run scenarios/clickstream.toml --set 'bugs=[\"K01\"]'         with a historical bug switched on
  wavetank run scenarios/clickstream.toml --trace out/ --format json   tables for notebooks, a trace for ui.perfetto.dev, a summary
                                                                       for scripts (`wavetank schema run|trace|series` explains them)
  wavetank run scenarios/clickstream.toml --plan out/plan.toml         exactly these faults

A run goes through five acts: build, stir (traffic flows, things break), heal, settle (everything must converge), judge.
An event under `expect.reaches` that a run misses is told (`not_reached` in JSON) and no violation: one seed need not come there.
The same binary, scenario, overrides and seed give the same digest, on any machine.";

const SWEEP_EXAMPLES: &str = "\
Examples:
  wavetank sweep scenarios/mixed-swarm.toml                              seeds 1 to 100
  wavetank sweep scenarios/*.toml --seeds 1..1001 --stop-after-failures 1
  wavetank sweep scenarios/clickstream.toml --axis systems.broker.brokers=3,5 --axis acts.stir=20s,60s
  wavetank sweep scenarios/mixed-swarm.toml --seeds 1..100001 --budget 8h --until-stable 2000
  wavetank sweep scenarios/mixed-swarm.toml --seeds 1..1001 --resume     after an interruption
  wavetank sweep scenarios/decisions-*.toml --axis workloads.experiment.delivery=at-most-once,idempotent --figure A/A

Each run is a process of its own: one that hangs, dies or eats memory costs one seed, and is a finding. What has ended is in
FOLDER/runs.jsonl at once; FOLDER/sweep.json holds the summary.
P-values of A/A tests must be spread evenly over all runs. That is tested (Kolmogorov-Smirnov), and refuted below a probability of 1e-9.
Exit codes: 0 all held, 1 promises broken, p-values not spread evenly, or processes given up, 3 some did not converge, 4 two runs of one seed differ, 2 bad input.";

const HUNT_EXAMPLES: &str = "\
Examples:
  wavetank hunt K26 scenarios/unheard-answer.toml
  wavetank hunt K01,K04,T14 scenarios/rejoin-and-fail.toml --seeds 1..41
  wavetank hunt all scenarios/*.toml --budget 10m

`wavetank bugs` lists the bugs. The table is Markdown. Exit codes: 0 all found, 1 some not, 2 bad input.";

const SHRINK_EXAMPLES: &str = "\
Examples:
  wavetank shrink scenarios/clickstream.toml --seed 7
  wavetank shrink scenarios/rejoin-and-fail.toml --seed 2 --set 'bugs=[\"K01\"]' --budget 5m --out k01.toml
  wavetank shrink k01.toml --out k01-smaller.toml

First faults and a swarm's constants are written down as the seed drew them; then faults are left out, the stir is made shorter,
workloads, topics, settings, hosts, replicas and clients are taken away, and the faults that are left weakened (power loss, crash,
pause, delay) and shortened, for as long as the run fails in the same way: the same check or property, on the same kind of host.
Interrupting it loses nothing: the file holds the smallest so far. The result does not depend on --jobs.
Exit codes: 0 shrunk, 2 bad input, or a run that does not fail.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  wavetank compare scenarios/clickstream.toml --by systems.broker.brokers=3,5
  wavetank compare scenarios/clickstream.toml --by workloads.clickstream.0.delivery=at-least-once,idempotent --html page.html
  wavetank compare scenarios/clickstream.toml --by acts.stir=20s,60s --metric latency --metric \"a follower left\"
  wavetank compare scenarios/clickstream.toml --by systems.broker.brokers=3,5 --resume     after an interruption
  wavetank compare scenarios/experiments/peeking.toml                                      strategies: who errs how often
  wavetank compare scenarios/experiments/bandits.toml --streams 200 --html page.html       regret, allocation, cost
  wavetank compare scenarios/experiments/logged.toml                                       strategies replayed on a real log
  wavetank compare scenarios/experiments/peeking.toml --set users.per_day=5000 --set strategies.mSPRT.alpha=1%
  wavetank compare scenarios/experiments/both.toml --platform scenarios/decisions-high.toml  without a platform, and on this one

Every seed is run under each value, and what it did there is compared with what it did under the baseline. Each difference has a 95%
interval: BCa bootstrap, or exact for the share of runs that held. Of many metrics some differ by chance: `differs` means that Holm's
procedure, over all that were compared, keeps the risk of any false alarm at 5%. Runs without a value are told, with their pairs.
What has ended is in FOLDER/runs.jsonl at once, as a sweep's; FOLDER/compare.json holds the comparison, with every pair.

A file with [users] (or [log], the log of a random policy) and [[strategies]] compares ways to run an experiment, without any platform: users whose truth is known come to all
strategies alike, stream by stream, and each strategy splits them, looks, and decides. Told are how often each errs (and which error its
rule controls), what it costs, and when it decides. `wavetank schema strategies` explains the keys.
With --platform each strategy becomes an experiment on the platform of that scenario too, which keeps its systems, faults and acts: users,
app, allocator, brokers, and an analysis of what the logs hold. The same seed brings the same users to both, and the differences are of
pairs. A platform splits traffic in fixed shares or by Thompson sampling and decides at the end; other strategies are refused. The users' days
last as long as the stir. --set of users, strategies, title, seed and streams goes to the strategies, any other to the platforms.
FOLDER/NAME.toml is the scenario that was run on the platform NAME: run, replay or shrink it like any other.
Exit codes: 0 told, whatever the runs' verdicts; 2 bad input.";

const BLAME_EXAMPLES: &str = "\
Examples:
  wavetank blame scenarios/clickstream.toml --seed 7
  wavetank blame scenarios/rejoin-and-fail.toml --seed 2 --set 'bugs=[\"K01\"]' --format json

A fault fired if it struck something. It mattered if the run without it, all else as it was, ends otherwise (another verdict, or
something else broken), or takes another course (an event happens only with it, or only without). One fault is left out at a time: of
two that suffice each, neither matters.
Exit codes: 0 told, whatever the run's verdict; 2 bad input.";

const REPRODUCE_EXAMPLES: &str = "\
Examples:
  wavetank reproduce                                        what there is
  wavetank reproduce peeking                                one of them, as Markdown
  wavetank reproduce all --out reports/reproductions.md     all of them, as committed

The numbers are the same on any machine and with any number of --jobs.
Exit codes: 0 told, whether they reproduce or not; 2 bad input.";

const IMPACT_EXAMPLES: &str = "\
Examples:
  wavetank impact scenarios/impact/garments.toml
  wavetank impact scenarios/impact/garments.toml --set reward.days=90 --set cost.fixed=0
  wavetank impact scenarios/impact/garments.toml --set gap.log.campaign=men --format json

A model that closes a tenth of the gap between the present one and a perfect one brings a tenth of what the perfect one would: told are
1, 2, 5 and 10 % of it, the point from which on the next bit costs more than it brings, and every doubt that the numbers raise. Intervals
have 95 %: they are those of the gap. `wavetank schema project` explains the keys.
Exit codes: 0 told, 2 bad input.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  wavetank replay scenarios/clickstream.toml --seed 7 --until 12.5s
  wavetank replay scenarios/clickstream.toml --seed 7 --until \"a controller was elected\" --nth 2
  wavetank replay scenarios/clickstream.toml --seed 7 --around \"a follower left the in-sync set\"
  wavetank replay scenarios/clickstream.toml --seed 7 --log broker=debug --log clickstream=debug --log coordination=warn
  wavetank replay scenarios/clickstream.toml --seed 7 --timeline
  wavetank replay scenarios/clickstream.toml --seed 7 --timeline --from 20s --until 40s --slice 100ms --host 'broker-*'
  wavetank replay scenarios/clickstream.toml --seed 7 --diff-seed 8
  wavetank replay scenarios/negative/acks-one.toml --diff-passing

Each line: virtual time, host, kind, event. Faults, processes, properties and logs are shown; with --around messages too,
with --everything also what disks do. Every system and workload keeps log lines down to info, unless --log says otherwise.

A run that is cut short (--until, --stop-on, --steps) gives no verdict but a promise broken until then: its exit code is 5.

Two runs part with the first fault, event, deed of a process, telling log line, or type of message of a sender that a host has in only
one of them, or more often. Times, numbers, order, and how often usual things happen are not compared.";

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
    /// Run many seeds, each in a process of its own, and tell what they found
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(SweepArguments),
    /// Turn a seed that fails into a small scenario file that fails in the same way
    #[command(after_help = SHRINK_EXAMPLES)]
    Shrink(ShrinkArguments),
    /// Tell which faults of a run mattered, by running it again without each
    #[command(after_help = BLAME_EXAMPLES)]
    Blame(BlameArguments),
    /// Run every seed under each value of a setting, and tell what differs, pair by pair; or compare strategies of experiments
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArguments),
    /// Put the parts of a sweep together that --shard has spread over machines
    Merge(MergeArguments),
    /// Measure how many runs it takes to find known bugs, each switched on alone
    #[command(after_help = HUNT_EXAMPLES)]
    Hunt(HuntArguments),
    /// Estimate what a better model would bring and cost, before it is built: steps, where to stop, and the risks
    #[command(after_help = IMPACT_EXAMPLES)]
    Impact(ImpactArguments),
    /// Compute known results of the literature anew, and lay them beside what was published
    #[command(after_help = REPRODUCE_EXAMPLES)]
    Reproduce(ReproduceArguments),
    /// List the scenarios of a folder, with what each one risks
    List {
        /// The folder; the folders in it are looked through too
        #[arg(default_value = "scenarios")]
        folder: PathBuf,
    },
    /// Print the JSON Schema of scenario files, for editors that complete them, or of what `--format json` and `--trace` write
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t = Documented::Scenario)]
        of: Documented,
    },
    /// List the historical bugs that can be switched on with `bugs = ["KEY"]`
    Bugs,
    /// List the cooperative points: the sites where systems wait, or act early, to make rare meetings likelier
    Sites,
}

/// What names a run.
#[derive(Args)]
struct Subject {
    /// The scenario file
    file: PathBuf,
    /// The number from which everything random follows (default: what the file says, or 1)
    #[arg(long, value_parser = seed, allow_negative_numbers = true)]
    seed: Option<u64>,
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
    /// Write there every event (trace.arrow, .parquet, and .perfetto.json.gz for https://ui.perfetto.dev), time series (series.arrow,
    /// .parquet), the summary (run.json) and the faults (plan.toml)
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
    /// Write the run as one HTML page there: what was broken, the life of every host, charts, tables
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
    /// Show nothing before this virtual time
    #[arg(long, value_name = "TIME")]
    from: Option<Span>,
    /// Go no further than this virtual time, or than this event: the name of a property, or a part of it. With --timeline a time
    /// only ends the picture
    #[arg(long, visible_alias = "stop-on", value_name = "TIME|EVENT", value_parser = until)]
    until: Option<Until>,
    /// Of the event, the how manieth time it happens (default 1)
    #[arg(long, value_name = "N", requires = "until", value_parser = clap::value_parser!(u64).range(1..))]
    nth: Option<u64>,
    /// Go no further than this many task polls and timed events (`size` tells how many a run has)
    #[arg(long, value_name = "N", conflicts_with = "until")]
    steps: Option<u64>,
    /// Show only what befell this host, or the hosts that a pattern names (broker-*), and the links (may be given again)
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Draw the life of every host as a picture: a lane for each, as wide as the terminal
    #[arg(long, conflicts_with_all = ["around", "everything", "log"])]
    timeline: bool,
    /// How much virtual time a column of the picture stands for (default: so much that the whole fits)
    #[arg(long, value_name = "TIME", requires = "timeline")]
    slice: Option<Span>,
    /// Show only what surrounds the events whose text contains this
    #[arg(long, value_name = "EVENT")]
    around: Option<String>,
    /// Tell where the run parts from that of another seed
    #[arg(long, value_name = "SEED", value_parser = seed, conflicts_with_all = ["around", "from", "until", "steps", "host", "everything", "timeline"])]
    diff_seed: Option<u64>,
    /// Tell where a run that fails parts from the nearest that does not: the same without some of its faults, or a neighbouring seed
    #[arg(long, conflicts_with_all = ["diff_seed", "around", "from", "until", "steps", "host", "everything", "timeline"])]
    diff_passing: bool,
    /// How many events to show before and after each one that --around finds (default 15), or the place where two runs part
    /// (default 8)
    #[arg(long, value_name = "LINES")]
    context: Option<usize>,
    /// Keep log lines of a system or workload down to a level: error, warn, info or debug; `*` stands for all (may be given again)
    #[arg(long, value_name = "SYSTEM=LEVEL", value_parser = level)]
    log: Vec<(String, Level)>,
    /// Show every message, connection and disk operation too
    #[arg(long)]
    everything: bool,
    /// Write there every event (trace.arrow, .parquet, and .perfetto.json.gz for https://ui.perfetto.dev), time series (series.arrow,
    /// .parquet), the summary (run.json) and the faults (plan.toml)
    #[arg(long, value_name = "FOLDER")]
    trace: Option<PathBuf>,
}

/// What names many runs, and bounds them.
#[derive(Args)]
struct RunsArguments {
    /// The scenario files; runs take them by turns
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The seeds: from the first to before the second
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "1..101")]
    seeds: (u64, u64),
    /// Override a value in every run, by dotted path (may be given again)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    bounds: BoundsArguments,
    /// End after this long
    #[arg(long, value_name = "TIME")]
    budget: Option<Span>,
}

/// What bounds each of many runs.
#[derive(Args)]
struct BoundsArguments {
    /// How many runs at once (default: one for each core)
    #[arg(long, value_parser = jobs)]
    jobs: Option<usize>,
    /// Kill a run that takes longer in real time: a finding (default: 2m)
    #[arg(long, value_name = "TIME")]
    time_out: Option<Span>,
    /// Kill a run that holds more: a finding (default: 2GiB)
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
}

#[derive(Args)]
struct ShrinkArguments {
    #[command(flatten)]
    subject: Subject,
    /// Where the small scenario goes (default: regressions/NAME-seed-N.toml beside the scenario); it is there from the first
    /// success on, and replaced by each smaller one
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    bounds: BoundsArguments,
    /// End after this long
    #[arg(long, value_name = "TIME")]
    budget: Option<Span>,
}

#[derive(Args)]
struct SweepArguments {
    #[command(flatten)]
    runs: RunsArguments,
    /// Vary a value: systems.broker.brokers=3,5 (may be given again; every combination is run)
    #[arg(long, value_name = "PATH=A,B,C", value_parser = axis)]
    axis: Vec<(String, Vec<String>)>,
    /// The folder of its journal and summary
    #[arg(long, value_name = "FOLDER", default_value = "sweep-out")]
    out: PathBuf,
    /// Go on with the sweep that the folder holds; no run that has ended is run again
    #[arg(long)]
    resume: bool,
    /// End after this many runs that did not hold
    #[arg(long, value_name = "RUNS")]
    stop_after_failures: Option<u64>,
    /// End when this many runs in a row have brought nothing new
    #[arg(long, value_name = "RUNS")]
    until_stable: Option<u64>,
    /// Which share of the runs that hold is run twice and compared
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    recheck: f64,
    /// Run only the Ith of N parts, for several machines
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "1/1")]
    shard: (u64, u64),
    #[command(flatten)]
    told: ToldArguments,
}

#[derive(Args)]
struct CompareArguments {
    /// The scenario file; or a file of strategies, with `[users]` or `[log]`, and `[[strategies]]`
    file: PathBuf,
    /// The setting that differs, and its values: systems.broker.brokers=3,5 (of a scenario, which needs it)
    #[arg(long, value_name = "PATH=A,B", value_parser = axis)]
    by: Option<(String, Vec<String>)>,
    /// The value that the others are compared with (default: the first)
    #[arg(long, value_name = "VALUE")]
    baseline: Option<String>,
    /// Compare only metrics whose name contains this, events among them (may be given again)
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// The seeds of runs of a scenario or a platform: from the first to before the second (default 1..31)
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<(u64, u64)>,
    /// Carry the strategies out on the platform of this scenario too, in the place of its own experiments: under each of --seeds the same
    /// users come to a run of it and to a stream without any platform (may be given again)
    #[arg(long, value_name = "FILE")]
    platform: Vec<PathBuf>,
    /// How many streams of users each strategy meets (default: what the file says, or 1000)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    streams: Option<u64>,
    /// The seed of the first stream of users; the others have the next ones (default: what the file says, or 1)
    #[arg(long, value_parser = seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Override a value in every run, by dotted path (may be given again)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    bounds: BoundsArguments,
    /// End after this long; what has run is compared
    #[arg(long, value_name = "TIME")]
    budget: Option<Span>,
    /// The folder of the journal and comparison of runs (default: compare-out)
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Go on with the comparison that the folder holds; no run that has ended is run again
    #[arg(long)]
    resume: bool,
    /// Write the comparison as one HTML page there: what differs, all metrics on one axis, the pairs of each
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How to tell the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
struct HuntArguments {
    /// Which bugs: keys with commas between them, or `all` that these scenarios can have
    bugs: String,
    #[command(flatten)]
    runs: RunsArguments,
    /// The folder of its journals, one for each bug; a hunt that was interrupted goes on there
    #[arg(long, value_name = "FOLDER", default_value = "hunt-out")]
    out: PathBuf,
}

#[derive(Args)]
struct ImpactArguments {
    /// The file of the project, with `[gap]`, `[reward]` and `[cost]`
    file: PathBuf,
    /// Override a value of the file, by dotted path: reward.days=90 (may be given again)
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// How to tell the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
struct BlameArguments {
    #[command(flatten)]
    subject: Subject,
    /// How to tell the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    bounds: BoundsArguments,
}

#[derive(Args)]
struct ReproduceArguments {
    /// Which results, or `all`; none lists them
    names: Vec<String>,
    /// The log of the Open Bandit Dataset, for open-bandit
    #[arg(long, value_name = "FILE", default_value = "scenarios/data/obd.parquet")]
    data: PathBuf,
    /// Write the report there, and not to the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many threads (default: one for each core)
    #[arg(long, value_parser = jobs)]
    jobs: Option<usize>,
}

/// How a sweep is told.
#[derive(Args)]
struct ToldArguments {
    /// Tell the figures whose names contain this, by file and value of each axis: mean and 95% interval (may be given again)
    #[arg(long, value_name = "NAME")]
    figure: Vec<String>,
    /// Write the runs as JUnit XML there, for continuous integration
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the sweep as one HTML page there: findings, which events met which faults, how long runs took
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How to tell the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args)]
struct MergeArguments {
    /// The folders of the parts; the summary is written into the first
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    told: ToldArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Documented {
    /// Scenario files
    Scenario,
    /// Files of strategies, which `compare` takes
    Strategies,
    /// Files of a project, which `impact` takes
    Project,
    /// The summary of a run
    Run,
    /// The columns of the trace that --trace writes
    Trace,
    /// The columns of its time series
    Series,
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
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Merge(arguments) => sweep::merge(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Blame(arguments) => blame::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Hunt(arguments) => hunt::run(&arguments),
        Command::Impact(arguments) => impact::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::List { folder } => catalogue::list(&folder),
        Command::Schema { of } => catalogue::schema(of),
        Command::Bugs => catalogue::bugs(),
        Command::Sites => catalogue::sites(),
    };
    ExitCode::from(code)
}

impl Subject {
    /// The scenario and plan it names. What in them lies beyond the stir is told.
    fn load(&self) -> Result<(Scenario, Option<FaultPlan>), ScenarioError> {
        let scenario = Scenario::load(&self.file, &self.set)?;
        warn(&scenario.warnings);
        let Some(file) = &self.plan else { return Ok((scenario, None)) };
        let (plan, warnings) = load_plan(file, &scenario)?;
        warn(&warnings);
        Ok((scenario, Some(plan)))
    }

    fn seed(&self, scenario: &Scenario) -> Seed {
        self.seed.map_or(scenario.seed, Seed::new)
    }
}

/// A scenario of many that are to be run; what is wrong with it has been told, and the exit code is returned.
fn load(file: &Path, set: &[String]) -> Result<Scenario, u8> {
    Scenario::load(file, set).map_err(|error| {
        tell(&error.render(io::stderr().is_terminal()));
        Verdict::BAD_INPUT
    })
}

/// Tells what is wrong with a scenario or a plan; returns the exit code.
fn bad_input(file: &Path, error: &ScenarioError, format: Format) -> u8 {
    tell(&error.render(io::stderr().is_terminal()));
    refuse(file, error.mistakes(), format)
}

/// How many are to work: as many as were asked for, or as there are cores.
fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

/// Bad input that has been told: scripts get it as JSON, too. Returns the exit code.
fn refuse(file: &Path, mistakes: &[Mistake], format: Format) -> u8 {
    if format == Format::Json {
        print(&(report::bad_input(file, mistakes) + "\n"));
    }
    Verdict::BAD_INPUT
}

/// Tells what will have no effect. The run goes on.
fn warn(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| tell(&warning.render(io::stderr().is_terminal())));
}

/// A bar or a spinner that looks as its template says. Only a terminal sees it: indicatif draws nowhere else.
fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well formed"))
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
    let known = systems::NAMES.into_iter().chain(workloads::NAMES).chain(["operator", "*"]);
    if !known.clone().any(|name| name == system) {
        let advice = advice(system, known).unwrap_or_default();
        return Err(format!("there is no system called `{system}`; {advice}"));
    }
    Ok((system.to_owned(), level))
}

/// Where a replay ends.
#[derive(Clone, Debug)]
enum Until {
    Time(Span),
    /// The name of a property that happens.
    Event(&'static str),
}

fn until(text: &str) -> Result<Until, String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().map(Until::Time).map_err(|error: UnitError| error.to_string());
    }
    if let Some(exact) = property::EVENTS.iter().find(|name| **name == text) {
        return Ok(Until::Event(exact));
    }
    let holding: Vec<&&str> = property::EVENTS.iter().filter(|name| name.contains(text)).collect();
    match holding.as_slice() {
        [one] => Ok(Until::Event(one)),
        [] if property::ALL.iter().any(|(name, _)| *name == text) => {
            Err(format!("`{text}` is a promise: a run ends by itself when it is broken"))
        }
        [] => {
            let advice = advice(text, property::EVENTS.iter().copied());
            let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
            Err(format!("`{text}` is neither a span of time, such as 12.5s, nor an event{advice}"))
        }
        several => {
            let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
            Err(format!("`{text}` is a part of several events: {}", names.join(", ")))
        }
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| 0 < *jobs);
    jobs.ok_or_else(|| format!("`{text}` is not a number of jobs, from 1 on"))
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}` is not A..B with A before B, such as 1..101");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    match (first.trim().parse(), end.trim().parse()) {
        (Ok(first), Ok(end)) if first < end => Ok((first, end)),
        _ => Err(wrong()),
    }
}

fn axis(text: &str) -> Result<(String, Vec<String>), String> {
    let wrong = || format!("`{text}` is not PATH=A,B,C, such as systems.broker.brokers=3,5");
    let (path, values) = text.split_once('=').ok_or_else(wrong)?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    if path.is_empty() || values.iter().any(String::is_empty) {
        return Err(wrong());
    }
    Ok((path.to_owned(), values))
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}` is not I/N with I from 1 to N, such as 2/8");
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    match (index.parse(), count.parse()) {
        (Ok(index), Ok(count)) if 1 <= index && index <= count => Ok((index, count)),
        _ => Err(wrong()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is not a share from 0 to 1, such as 0.05"))
}
