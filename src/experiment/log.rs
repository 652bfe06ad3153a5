//! What a policy that chose at random has logged: the truth is what really happened, as far as so many impressions tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::{Problem, SimTime};
use crate::experiment::users::{ARMS_MAX, DAY, DAYS_MAX};
use crate::statistics::proportion::Share;
use crate::statistics::srm;

/// A pass through the log in which fewer impressions are expected to match tells nothing.
pub const MATCHED_MIN: u64 = 100;

/// Chances that differ by a smaller part are the same.
const SAME: f64 = 1e-6;

/// How likely a sound log is refused because of its counts.
const MISMATCH: f64 = 0.001;

/// A log, and what its arms are.
///
/// ```toml
/// [log]
/// source = "../data/obd.parquet"
/// campaign = "men"
/// arms = [{ name = "shirts", items = [0, 3, 4] }, { name = "shoes", items = [1, 2, 8] }]
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogModel {
    /// The Parquet file, relative to the file that names it.
    pub source: PathBuf,
    /// The policy whose impressions are replayed: one that showed every item of a campaign with the same chance (default random).
    #[serde(default = "LogModel::policy_default")]
    pub policy: String,
    /// The campaign.
    pub campaign: String,
    /// The arms; the first is the control. To choose an arm is to show any of its items, all with the same chance.
    #[serde(default)]
    pub arms: Vec<LoggedArm>,
    /// In place of `arms`: one arm for each of so many items, those that were logged most often. (To take those that were clicked most
    /// often would be to choose by the outcome.)
    #[serde(default)]
    pub most_logged: Option<usize>,
}

/// One arm of a log.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedArm {
    /// Its name.
    pub name: String,
    /// The items that it shows; every arm has as many.
    pub items: Vec<i64>,
}

impl LogModel {
    fn policy_default() -> String {
        "random".to_owned()
    }
}

/// A row of the log: what was shown, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When, in nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The item.
    pub item: i64,
    /// Whether it was clicked.
    pub clicked: bool,
    /// The probability with which the policy showed just this item.
    pub propensity: f64,
}

/// An impression of one of the arms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Impression {
    /// The arm.
    pub arm: usize,
    /// Whether it was clicked.
    pub clicked: bool,
}

/// The impressions of the arms.
#[derive(Clone, PartialEq, Debug)]
pub struct Log {
    /// The policy and the campaign, as messages name them.
    pub about: String,
    arms: Vec<String>,
    impressions: Vec<Impression>,
    days: u32,
    shares: Vec<Share>,
    rates: Vec<f64>,
}

impl Log {
    /// The log of a policy's impressions in one campaign.
    ///
    /// # Errors
    /// What keeps it from being replayed.
    pub fn new(model: &LogModel, rows: &[Row]) -> Result<Self, Vec<Problem>> {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(row.item).or_default() += 1);
        let named = arms(model, &counts)?;
        let of_item: BTreeMap<i64, usize> = named
            .iter()
            .enumerate()
            .flat_map(|(arm, named)| named.items.iter().map(move |item| (*item, arm)))
            .collect();
        sound(rows)?;
        let shown: Vec<(usize, &Row)> =
            rows.iter().filter_map(|row| Some((*of_item.get(&row.item)?, row))).collect();
        // Items that were chosen by their counts are alike only if all are.
        let drawn = rows.iter().filter(|row| model.most_logged.is_some() || of_item.contains_key(&row.item));
        let chances = drawn.map(|row| row.propensity);
        let least = chances.clone().fold(f64::INFINITY, f64::min);
        let most = chances.fold(0.0, f64::max);
        if most - least > SAME * most {
            let message = format!("`{}` showed items with chances from {least} to {most}", model.policy);
            let help = "replay needs a policy that showed all of them with the same chance";
            return Err(vec![Problem::new("policy", message).help(help)]);
        }
        let impressions: Vec<Impression> =
            shown.iter().map(|(arm, row)| Impression { arm: *arm, clicked: row.clicked }).collect();
        let share = |arm: usize| {
            let own = impressions.iter().filter(|one| one.arm == arm);
            Share::new(own.clone().filter(|one| one.clicked).count() as u64, own.count() as u64)
        };
        let shares: Vec<Share> = (0..named.len()).map(share).collect();
        let log = Self {
            about: format!("`{}` in `{}`", model.policy, model.campaign),
            arms: named.into_iter().map(|arm| arm.name).collect(),
            days: days(rows),
            rates: shares.iter().map(Share::value).collect(),
            shares,
            impressions,
        };
        log.enough()?;
        match model.most_logged {
            Some(_) => alike(model, "item", counts.values().map(|count| *count as u64).collect())?,
            None => alike(model, "arm", log.shares.iter().map(Share::trials).collect())?,
        }
        Ok(log)
    }

    /// Whether it holds what a pass needs.
    fn enough(&self) -> Result<(), Vec<Problem>> {
        let key = "arms";
        let (all, arms) = (self.whole(), self.arms.len() as u64);
        if all.trials() / arms < MATCHED_MIN {
            let (count, matched) = (all.trials(), all.trials() / arms);
            let message = format!(
                "{count} impressions of {arms} arms: in a pass some {matched} match, and {MATCHED_MIN} are needed"
            );
            let help = "choose fewer arms, or arms of more items";
            return Err(vec![Problem::new(key, message).help(help)]);
        }
        if all.successes() == 0 || all.successes() == all.trials() {
            let (clicks, count) = (all.successes(), all.trials());
            let message = format!("{clicks} of {count} impressions were clicked: nothing can be learnt");
            return Err(vec![Problem::new(key, message).help("choose arms that differ in something")]);
        }
        Ok(())
    }

    /// The names of the arms.
    pub fn arms(&self) -> &[String] {
        &self.arms
    }

    /// The impressions of all arms, in the order of the file.
    pub fn impressions(&self) -> &[Impression] {
        &self.impressions
    }

    /// For how many days it was logged, the last one counted as a whole.
    pub fn days(&self) -> u32 {
        self.days
    }

    /// When a pass ends.
    pub fn end(&self) -> SimTime {
        SimTime::from_nanos(u64::from(self.days) * DAY)
    }

    /// What was clicked of each arm.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// The click rate of each arm, which stands for the truth.
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// What was clicked of all: what the random policy got from these arms.
    pub fn whole(&self) -> Share {
        let sum = |of: fn(&Share) -> u64| self.shares.iter().map(of).sum();
        Share::new(sum(Share::successes), sum(Share::trials))
    }
}

/// Whether each row has a chance, and all lie in a time that a log may last.
fn sound(rows: &[Row]) -> Result<(), Vec<Problem>> {
    if let Some(row) = rows.iter().find(|row| !(0.0 < row.propensity && row.propensity <= 1.0)) {
        let message = format!("an impression of item {} has the propensity {}", row.item, row.propensity);
        let help = "it is the probability with which the item was shown: above 0, and up to 1";
        return Err(vec![Problem::new("source", message).help(help)]);
    }
    let days = days(rows);
    if DAYS_MAX < days {
        let message = format!("its impressions are of {days} days, and a log lasts up to {DAYS_MAX}");
        return Err(vec![Problem::new("source", message).help("look for a timestamp that is wrong")]);
    }
    Ok(())
}

/// Whether counts are such as equal chances bring about. Where they are not, rows are missing or the stated chances are wrong, and what would
/// have been shown of each arm cannot be told.
fn alike(model: &LogModel, what: &str, counts: Vec<u64>) -> Result<(), Vec<Problem>> {
    let found = srm::check(&counts, &vec![1.0; counts.len()]);
    if !found.mismatch(MISMATCH) {
        return Ok(());
    }
    let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
    let message = format!(
        "`{}` is said to have shown all with the same chance, but the log has {least} impressions of one {what} \
         and {most} of another: p = {:.1e}",
        model.policy, found.p
    );
    let help =
        "rows are missing, or the propensities are wrong: replay would prefer what was logged more often";
    Err(vec![Problem::new("policy", message).help(help)])
}

fn days(rows: &[Row]) -> u32 {
    let times = rows.iter().map(|row| row.timestamp_ns);
    let span = times.clone().max().unwrap_or(0).saturating_sub(times.min().unwrap_or(0));
    (span.unsigned_abs() / DAY + 1).min(u64::from(u32::MAX)) as u32
}

/// The arms of a log in which each item was shown so often.
fn arms(model: &LogModel, counts: &BTreeMap<i64, usize>) -> Result<Vec<LoggedArm>, Vec<Problem>> {
    let most = match (model.most_logged, model.arms.is_empty()) {
        (Some(_), false) => {
            let message = "the arms are named, and said to be the items logged most often";
            return Err(vec![Problem::new("most_logged", message).help("remove one of them")]);
        }
        (None, true) => {
            let message = "there is no arm";
            let help = "say most_logged = 5, or arms = [{ name = \"a\", items = [0, 1] }, { name = \"b\", items = [2, 3] }]";
            return Err(vec![Problem::new("", message).help(help)]);
        }
        (None, false) => return named_arms(model, counts),
        (Some(most), true) => most,
    };
    if !(2..=counts.len().min(ARMS_MAX)).contains(&most) {
        let message = format!("{} items were logged, of which 2 to {ARMS_MAX} can be arms", counts.len());
        return Err(vec![Problem::new("most_logged", message).help("try most_logged = 3")]);
    }
    let mut items: Vec<(&i64, &usize)> = counts.iter().collect();
    items.sort_by_key(|(item, count)| (std::cmp::Reverse(**count), **item));
    Ok(items
        .into_iter()
        .take(most)
        .map(|(item, _)| LoggedArm { name: format!("item {item}"), items: vec![*item] })
        .collect())
}

fn named_arms(model: &LogModel, counts: &BTreeMap<i64, usize>) -> Result<Vec<LoggedArm>, Vec<Problem>> {
    let mut problems = Vec::new();
    if !(2..=ARMS_MAX).contains(&model.arms.len()) {
        let message = format!("an experiment has from 2 to {ARMS_MAX} arms");
        problems.push(Problem::new("arms", message).help("the first is the control"));
    }
    let (mut names, mut items) = (BTreeSet::new(), BTreeSet::new());
    let all = counts.keys().copied();
    let range = format!("{} to {}", all.clone().min().unwrap_or(0), all.max().unwrap_or(0));
    for (index, arm) in model.arms.iter().enumerate() {
        let path = |key: &str| format!("arms.{index}.{key}");
        if arm.name.trim().is_empty() || !names.insert(arm.name.as_str()) {
            let message = format!("`{}` is empty, or names another arm too", arm.name);
            problems.push(Problem::new(path("name"), message).help("give each arm a name of its own"));
        }
        if arm.items.len() != model.arms[0].items.len() || arm.items.is_empty() {
            let message =
                format!("{} items, and the first arm has {}", arm.items.len(), model.arms[0].items.len());
            let help =
                "arms must have had the same chance to be logged: give each as many items, at least one";
            problems.push(Problem::new(path("items"), message).help(help));
        }
        for item in &arm.items {
            if !counts.contains_key(item) {
                let message = format!("`{}` never showed item {item} in `{}`", model.policy, model.campaign);
                problems.push(Problem::new(path("items"), message).help(format!("its items are {range}")));
            } else if !items.insert(*item) {
                let message = format!("item {item} stands twice");
                problems.push(Problem::new(path("items"), message).help("an item belongs to one arm"));
            }
        }
    }
    if problems.is_empty() { Ok(model.arms.clone()) } else { Err(problems) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::statistics::dice::Dice;

    const DAY_NS: i64 = DAY as i64;

    fn row(item: i64, clicked: bool) -> Row {
        Row { timestamp_ns: 0, item, clicked, propensity: 0.25 }
    }

    /// A log of two days in which items of these rates were shown alike.
    pub(crate) fn synthetic(rates: &[f64], count: usize, seed: Seed) -> Log {
        let mut dice = Dice::new(&mut seed.stream("synthetic log"));
        let rows: Vec<Row> = (0..count)
            .map(|number| {
                let item = dice.below(rates.len());
                let timestamp_ns = number as i64 * 2 * DAY_NS / count as i64;
                Row { timestamp_ns, ..row(item as i64, dice.happens(rates[item])) }
            })
            .collect();
        let arm = |item: usize| LoggedArm { name: format!("arm {item}"), items: vec![item as i64] };
        let arms = (0..rates.len()).map(arm).collect();
        Log::new(&LogModel { arms, ..model("") }, &rows).expect("it is sound")
    }

    fn model(more: &str) -> LogModel {
        toml::from_str(&format!("source = \"l\"\ncampaign = \"men\"\n{more}")).expect("a model")
    }

    /// Items of which there are so many impressions, each tenth of them clicked.
    fn rows_of(counts: [i64; 4]) -> Vec<Row> {
        let of_item = |(item, count)| (0..count).map(move |number| row(item, number % 10 == 0));
        (0..4).zip(counts).flat_map(of_item).collect()
    }

    /// Counts that differ by chance.
    fn rows() -> Vec<Row> {
        rows_of([230, 240, 260, 270])
    }

    #[test]
    fn arms_are_groups_of_items_or_those_logged_most_often() {
        let groups = "arms = [{ name = \"a\", items = [0, 3] }, { name = \"b\", items = [1, 2] }]";
        let log = Log::new(&model(groups), &rows()).expect("it is sound");
        assert_eq!(log.shares(), [Share::new(50, 500), Share::new(50, 500)]);
        assert_eq!((log.days(), log.whole()), (1, Share::new(100, 1000)));
        let log = Log::new(&model("most_logged = 3"), &rows()).expect("it is sound");
        assert_eq!(log.arms(), ["item 3", "item 2", "item 1"]);
        assert_eq!(log.rates(), [0.1, 0.1, 0.1]);
    }

    #[test]
    fn what_cannot_be_replayed_is_told() {
        let arms = |items: [&str; 2]| {
            let [a, b] = items;
            format!("arms = [{{ name = \"a\", items = [{a}] }}, {{ name = \"b\", items = [{b}] }}]")
        };
        for (more, path, told) in [
            (String::new(), "", "there is no arm"),
            ("most_logged = 5".into(), "most_logged", "4 items were logged"),
            ("most_logged = 1".into(), "most_logged", "of which 2 to 200 can be arms"),
            (arms(["0, 1", "2"]), "arms.1.items", "1 items, and the first arm has 2"),
            (arms(["0", "7"]), "arms.1.items", "`random` never showed item 7 in `men`"),
            (arms(["0", "0"]), "arms.1.items", "item 0 stands twice"),
            (format!("{}\nmost_logged = 3", arms(["0", "1"])), "most_logged", "the arms are named, and said"),
        ] {
            let problems = Log::new(&model(&more), &rows()).expect_err(&more);
            assert_eq!(problems[0].path, path, "{more}: {problems:?}");
            assert!(problems[0].message.contains(told), "{more}: {problems:?}");
        }
        let few: Vec<Row> = rows().into_iter().step_by(5).collect();
        let problems = Log::new(&model(&arms(["0", "1"])), &few).expect_err("few");
        assert!(
            problems[0].message.starts_with("94 impressions of 2 arms: in a pass some 47"),
            "{problems:?}"
        );
        let mut uneven = rows();
        uneven[0].propensity = 0.3;
        let problems = Log::new(&model(&arms(["0, 3", "1, 2"])), &uneven).expect_err("uneven");
        assert!(problems[0].message.contains("from 0.25 to 0.3"), "{problems:?}");
        let dull: Vec<Row> = rows().into_iter().map(|one| Row { clicked: false, ..one }).collect();
        let problems = Log::new(&model(&arms(["0, 3", "1, 2"])), &dull).expect_err("no click");
        assert!(problems[0].message.contains("0 of 1000 impressions were clicked"), "{problems:?}");
    }

    #[test]
    fn a_log_that_contradicts_itself_is_refused() {
        let two = model("arms = [{ name = \"a\", items = [0] }, { name = \"b\", items = [3] }]");
        let most = model("most_logged = 2");
        // The items logged most often are alike, those from which they were chosen are not.
        for (model, counts, told) in [
            (&two, [250, 250, 250, 400], "250 impressions of one arm and 400 of another"),
            (&most, [100, 250, 400, 400], "100 impressions of one item and 400 of another"),
        ] {
            let problems = Log::new(model, &rows_of(counts)).expect_err(told);
            assert_eq!(problems[0].path, "policy");
            assert!(problems[0].message.contains(told), "{problems:?}");
        }
        Log::new(&two, &rows_of([100, 250, 400, 250])).expect_err("its arms differ");
        Log::new(&two, &rows_of([250, 100, 400, 250])).expect("its arms are alike, whatever the other items");
        let mut uneven = rows();
        uneven[0].propensity = 0.3;
        let problems = Log::new(&most, &uneven).expect_err("an item that is not among the arms had another");
        assert!(problems[0].message.contains("from 0.25 to 0.3"), "{problems:?}");
        for propensity in [f64::NAN, 0.0, -3.0, 1.5, f64::INFINITY] {
            let mut rows = rows();
            rows[7].propensity = propensity;
            let problems = Log::new(&two, &rows).expect_err("no chance");
            let told = format!("an impression of item 0 has the propensity {propensity}");
            assert_eq!((problems[0].path.as_str(), problems[0].message.as_str()), ("source", told.as_str()));
        }
        let mut rows = rows();
        rows[7].timestamp_ns = i64::MAX;
        let problems = Log::new(&two, &rows).expect_err("three centuries");
        assert_eq!(problems[0].path, "source");
        assert!(problems[0].message.contains("106752 days, and a log lasts up to 3650"), "{problems:?}");
    }
}
