//! The two policies of the Open Bandit Dataset: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline" (2021), in the small edition.
//! The random policy's log tells what off-policy estimates from the other's should have found.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lab::reproduce::{Finding, Found, Published, Row, Scale, Table};
use crate::statistics::Interval;
use crate::statistics::normal;
use crate::statistics::off_policy::{
    EFFECTIVE_REWARDS_MIN, EFFECTIVE_ROUNDS_MIN, Estimate, Estimator, Refusal, Round, estimate,
};
use crate::statistics::proportion::{Share, newcombe, pooled};
use crate::workloads::clickstream::impression::{ImpressionError, Logged, parse_logged};

const CAMPAIGNS: [&str; 3] = ["all", "men", "women"];

const OBP: &str = "obp 0.5.7";
const PEERS: &str = "independent program";

/// The estimators that are laid side by side.
const ESTIMATORS: [(&str, Estimator); 3] =
    [("IPS", Estimator::Ips), ("SNIPS", Estimator::Snips), ("doubly robust", Estimator::DoublyRobust)];

const SMALL_PROPENSITIES: &str = "the log lacks much of what the uniform policy does";

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no such log.
    #[error("{} {source}", file.display())]
    NoLog {
        /// The file.
        file: PathBuf,
        /// Why.
        source: ImpressionError,
    },
    /// A policy logged nothing in a campaign.
    #[error("{} has no impression of the policy `{policy}` in the campaign `{campaign}`", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The policy.
        policy: &'static str,
        /// The campaign.
        campaign: &'static str,
    },
    /// A probability in it is none.
    #[error("{}: policy `{policy}`, campaign `{campaign}`: {source}", file.display())]
    BadRound {
        /// The file.
        file: PathBuf,
        /// The policy.
        policy: &'static str,
        /// The campaign.
        campaign: &'static str,
        /// Why.
        source: Refusal,
    },
}

/// What is logged of both policies, by policy and campaign.
struct Logs {
    file: PathBuf,
    parts: BTreeMap<(Arc<str>, Arc<str>), Vec<Logged>>,
}

/// The tables, from a file with the log of both policies.
///
/// # Errors
/// See [`LogError`].
#[expect(clippy::disallowed_methods, reason = "the log is a file of the user, outside any run")]
pub fn reproduce(file: &Path) -> Result<Finding, LogError> {
    let bytes = std::fs::read(file).map_err(|source| LogError::Io { file: file.to_owned(), source })?;
    let logged = parse_logged(bytes.into());
    let logged = logged.map_err(|source| LogError::NoLog { file: file.to_owned(), source })?;
    let mut logs = Logs { file: file.to_owned(), parts: BTreeMap::new() };
    for one in logged {
        logs.parts.entry((one.policy.clone(), one.campaign.clone())).or_default().push(one);
    }
    Ok(Finding {
        title: "The random policy against Thompson sampling, and what each one's log tells of the other",
        setting: format!(
            "Real impressions of a fashion shop in one week: 10,000 of each policy in each of three campaigns. `random` shows all items alike, \
             `bts` is Thompson sampling. The random policy is a target whose value is known, so that estimates of it from the other's log \
             can be judged. They are believed only if the mean weight, which should be 1, lies between 0.8 and 1.25, and if the weights leave \
             at least {EFFECTIVE_ROUNDS_MIN} effective rounds and {EFFECTIVE_REWARDS_MIN} effective clicks. The doubly robust estimator takes \
             for its model the share of clicks of each item in the other half of the log."
        ),
        tables: vec![
            clicks(&logs)?,
            tests(&logs)?,
            differences(&logs)?,
            fixed_policy(&logs)?,
            uniform_policy(&logs)?,
            weights(&logs)?,
            truth(&logs)?,
        ],
    })
}

impl Logs {
    fn part(&self, policy: &'static str, campaign: &'static str) -> Result<&[Logged], LogError> {
        let part = self.parts.get(&(policy.into(), campaign.into()));
        part.map(Vec::as_slice).ok_or(LogError::Missing { file: self.file.clone(), policy, campaign })
    }

    fn share(&self, policy: &'static str, campaign: &'static str) -> Result<Share, LogError> {
        let part = self.part(policy, campaign)?;
        let clicks = part.iter().filter(|one| one.impression.clicked).count();
        Ok(Share::new(clicks as u64, part.len() as u64))
    }

    /// What a policy that chooses item `k` of `n` with the probability `target(k, n)` would have got.
    fn estimate(
        &self,
        (policy, campaign): (&'static str, &'static str),
        target: fn(f64, f64) -> f64,
        estimator: Estimator,
    ) -> Result<Estimate, LogError> {
        let items = |policy| {
            Ok(self.part(policy, campaign)?.iter().map(|one| one.impression.item).max().unwrap_or(0))
        };
        let count = (items("random")?.max(items("bts")?) + 1) as f64;
        let part = self.part(policy, campaign)?;
        // A model that had seen the round would correct nothing: even rounds have that of the odd ones, odd ones that of the even.
        let models = [1, 0].map(|half| Model::of(part.iter().skip(half).step_by(2), count as usize));
        let expected = models.each_ref().map(|model| {
            let items = model.shares.iter().enumerate();
            items.map(|(item, share)| target(item as f64, count) * share).sum::<f64>()
        });
        let round = |(index, one): (usize, &Logged)| Round {
            logged: one.impression.propensity,
            target: target(one.impression.item as f64, count),
            reward: f64::from(u8::from(one.impression.clicked)),
            predicted: models[index % 2].shares[one.impression.item as usize],
            predicted_target: expected[index % 2],
        };
        let rounds: Vec<Round> = part.iter().enumerate().map(round).collect();
        estimate(&rounds, estimator).map_err(|source| LogError::BadRound {
            file: self.file.clone(),
            policy,
            campaign,
            source,
        })
    }
}

/// How often each item is clicked.
struct Model {
    shares: Vec<f64>,
}

impl Model {
    /// Of each item, its clicks by how often it was shown, with one showing of the mean of all besides: so there is a number for each.
    fn of<'log>(part: impl Iterator<Item = &'log Logged>, items: usize) -> Self {
        let mut seen = vec![(0.0, 0.0); items];
        for Logged { impression: one, .. } in part {
            let item = &mut seen[one.item as usize];
            *item = (item.0 + f64::from(u8::from(one.clicked)), item.1 + 1.0);
        }
        let sum = |of: fn(&(f64, f64)) -> f64| seen.iter().map(of).sum::<f64>();
        let mean = sum(|item| item.0) / sum(|item| item.1).max(1.0);
        Self { shares: seen.iter().map(|(clicks, shown)| (clicks + mean) / (shown + 1.0)).collect() }
    }
}

fn uniform(_: f64, count: f64) -> f64 {
    1.0 / count
}

/// In proportion to the number of the item, from 1.
fn rising(item: f64, count: f64) -> f64 {
    2.0 * (item + 1.0) / (count * (count + 1.0))
}

/// What was computed from data that are what they are: the published value must be the same but for its rounding.
fn same(
    what: String,
    value: f64,
    half: f64,
    sample: usize,
    (published, unit): (f64, f64),
    source: &'static str,
) -> Row {
    let interval = Interval { low: value - half, high: value + half };
    let found = Found { value, error: 0.0, interval, sample: format!("{sample} impressions") };
    Row::new(what, found, Some(Published::new(published, unit / 12.0_f64.sqrt(), source)))
}

fn half_width(estimate: &Estimate) -> f64 {
    -normal::quantile(0.025) * estimate.standard_error
}

fn clicks(logs: &Logs) -> Result<Table, LogError> {
    let mut rows = Vec::new();
    for (campaign, published) in CAMPAIGNS.into_iter().zip([[38.0, 42.0], [46.0, 69.0], [46.0, 46.0]]) {
        for (policy, published) in ["random", "bts"].into_iter().zip(published) {
            let share = logs.share(policy, campaign)?;
            let wilson = share.wilson(0.95);
            let clicks = share.successes() as f64;
            let row = same(
                format!("{campaign}, {policy}"),
                clicks,
                0.0,
                share.trials() as usize,
                (published, 1.0),
                OBP,
            );
            let trials = share.trials() as f64;
            let interval = Interval { low: wilson.low * trials, high: wilson.high * trials };
            rows.push(Row { found: Found { interval, ..row.found }, ..row });
        }
    }
    Ok(Table { title: "Clicks".to_owned(), scale: Scale::Decimals(0), rows })
}

/// Both shares of a campaign, the random policy's first; those of all campaigns together for none.
fn pair(logs: &Logs, campaign: Option<&'static str>) -> Result<[Share; 2], LogError> {
    let sum = |policy| {
        let mut sums = (0, 0);
        for one in CAMPAIGNS.into_iter().filter(|one| campaign.is_none_or(|campaign| campaign == *one)) {
            let share = logs.share(policy, one)?;
            sums = (sums.0 + share.successes(), sums.1 + share.trials());
        }
        Ok(Share::new(sums.0, sums.1))
    };
    Ok([sum("random")?, sum("bts")?])
}

fn tests(logs: &Logs) -> Result<Table, LogError> {
    let published = [
        (Some("all"), 0.654, 0.001),
        (Some("men"), 0.0315, 0.0001),
        (Some("women"), 1.0, 0.001),
        (None, 0.110, 0.001),
    ];
    let mut rows = Vec::new();
    for (campaign, p, unit) in published {
        let [random, bts] = pair(logs, campaign)?;
        let sample = format!("{} impressions", random.trials() + bts.trials());
        let found = Found::exact(pooled(random, bts).p(), &sample);
        let published = Published::new(p, unit / 12.0_f64.sqrt(), PEERS);
        rows.push(Row::new(campaign.unwrap_or("all three together"), found, Some(published)));
    }
    Ok(Table {
        title: "Random against bts: p of the pooled two-proportion test".to_owned(),
        scale: Scale::Decimals(4),
        rows,
    })
}

fn differences(logs: &Logs) -> Result<Table, LogError> {
    let [random, bts] = pair(logs, Some("men"))?;
    let Interval { low, high } = newcombe(random, bts, 0.95);
    let sample = random.trials() as usize;
    let row = |what: &str, value, published| same(what.to_owned(), value, 0.0, 2 * sample, published, PEERS);
    Ok(Table {
        title: "Men: bts less random, Newcombe's 95 % interval".to_owned(),
        scale: Scale::Decimals(4),
        rows: vec![row("lower end", low, (0.0002, 0.0001)), row("upper end", high, (0.0045, 0.0001))],
    })
}

fn fixed_policy(logs: &Logs) -> Result<Table, LogError> {
    let published = [
        (0.0036123456790123454, 0.003631444386526671),
        (0.00501142857142858, 0.005017076365966259),
        (0.004808510638297874, 0.004846000120077879),
    ];
    let mut rows = Vec::new();
    for (campaign, (ips, snips)) in CAMPAIGNS.into_iter().zip(published) {
        for (name, estimator, published) in [("IPS", Estimator::Ips, ips), ("SNIPS", Estimator::Snips, snips)]
        {
            let estimate = logs.estimate(("random", campaign), rising, estimator)?;
            let half = half_width(&estimate);
            rows.push(same(
                format!("{campaign}, {name}"),
                estimate.value,
                half,
                estimate.rounds,
                (published, 1e-10),
                OBP,
            ));
        }
    }
    let title =
        "A policy that chooses items in proportion to their numbers, from the random policy's log".to_owned();
    Ok(Table { title, scale: Scale::Decimals(6), rows })
}

fn verdict(estimate: &Estimate) -> &'static str {
    if estimate.believed().is_ok() { "believed" } else { "refused" }
}

fn uniform_policy(logs: &Logs) -> Result<Table, LogError> {
    let ips = [(0.00236, 1e-5), (0.0030086263272564836, 1e-10), (0.00744, 1e-5)];
    let snips = [None, Some((0.003189423162277392, 1e-10)), Some((0.00237, 1e-5))];
    let mut rows = Vec::new();
    for ((campaign, ips), snips) in CAMPAIGNS.into_iter().zip(ips).zip(snips) {
        for ((name, estimator), published) in ESTIMATORS.into_iter().zip([Some(ips), snips, None]) {
            let estimate = logs.estimate(("bts", campaign), uniform, estimator)?;
            let what = format!("{campaign}, {name}, {}", verdict(&estimate));
            let row = same(
                what,
                estimate.value,
                half_width(&estimate),
                estimate.rounds,
                published.unwrap_or_default(),
                OBP,
            );
            rows.push(Row { published: row.published.filter(|_| published.is_some()), ..row });
        }
    }
    Ok(Table { title: "The uniform policy, from the log of bts".to_owned(), scale: Scale::Decimals(6), rows })
}

fn weights(logs: &Logs) -> Result<Table, LogError> {
    let mut rows = Vec::new();
    for (campaign, published) in
        CAMPAIGNS.into_iter().zip([None, Some((0.9433136257492369, 1e-9)), Some((3.13, 0.01))])
    {
        let estimate = logs.estimate(("bts", campaign), uniform, Estimator::Ips)?;
        let weights = estimate.weights;
        let row = same(
            format!("{campaign}: mean weight"),
            weights.mean,
            0.0,
            estimate.rounds,
            published.unwrap_or_default(),
            OBP,
        );
        rows.push(Row { published: row.published.filter(|_| published.is_some()), ..row });
        let exact = |what: &str, value| {
            Row::new(
                format!("{campaign}: {what}"),
                Found::exact(value, &format!("{} impressions", estimate.rounds)),
                None,
            )
        };
        rows.push(exact("largest weight", weights.max));
        rows.push(exact("effective sample size", weights.effective_sample_size));
        rows.push(exact("effective clicks", weights.effective_rewards));
    }
    Ok(Table {
        title: "Weights of the uniform policy in the log of bts".to_owned(),
        scale: Scale::Decimals(3),
        rows,
    })
}

fn truth(logs: &Logs) -> Result<Table, LogError> {
    let mut rows = Vec::new();
    for campaign in CAMPAIGNS {
        let share = logs.share("random", campaign)?;
        let truth = Published::share(share.value(), share.trials() as f64, "the random policy's own clicks");
        for (name, estimator) in ESTIMATORS {
            let estimate = logs.estimate(("bts", campaign), uniform, estimator)?;
            let sample = format!("{} impressions", estimate.rounds);
            let found = Found::normal(estimate.value, estimate.standard_error, &sample);
            let what = format!("{campaign}, {name}, {}", verdict(&estimate));
            rows.push(Row::new(what, found, Some(truth)).because(SMALL_PROPENSITIES));
        }
    }
    Ok(Table { title: "The same beside the truth".to_owned(), scale: Scale::Decimals(6), rows })
}
