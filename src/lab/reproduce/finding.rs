//! What a reproduction found: tables of numbers, each beside the published one, and whether they agree.

use crate::statistics::proportion::Share;
use crate::statistics::{Interval, descriptive, normal};

/// How many standard errors of both numbers together may lie between them: by chance 1 in 370 is further off.
const ERRORS_APART: f64 = 3.0;

/// What one reproduction found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The headline.
    pub title: &'static str,
    /// What is simulated or computed, and what to read from it.
    pub setting: String,
    /// The numbers.
    pub tables: Vec<Table>,
}

/// Numbers of one kind.
#[derive(Clone, Debug)]
pub struct Table {
    /// What they are.
    pub title: String,
    /// How they are written.
    pub scale: Scale,
    /// One for each.
    pub rows: Vec<Row>,
}

/// How a number is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// A share, as per cent.
    Percent,
    /// A number with so many decimals.
    Decimals(usize),
}

/// A number beside its published value.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// The number.
    pub found: Found,
    /// What was published, if anything was.
    pub published: Option<Published>,
    /// What explains a difference, where one is known.
    pub why: Option<&'static str>,
}

/// A number found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The estimate.
    pub value: f64,
    /// Its standard error; 0 where it was computed and not drawn.
    pub error: f64,
    /// Where the truth lies, with a confidence of 95 %.
    pub interval: Interval,
    /// What it was estimated from.
    pub sample: String,
}

/// A number published.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Published {
    /// The number.
    pub value: f64,
    /// Its standard error; that of its rounding where no other is known.
    pub error: f64,
    /// What part of it the number may be off besides, because the two settings are not quite the same.
    pub margin: f64,
    /// Where it stands.
    pub source: &'static str,
    /// What kind of claim it is.
    pub claim: Claim,
}

/// What is claimed of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// That another one found it.
    Published,
    /// That this program's own documentation states it.
    Stated,
    /// That this program's own documentation states it to be no larger.
    AtMost,
    /// Nothing.
    None,
}

/// Whether a number agrees with the published one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reproduced {
    /// It does, within three standard errors of both.
    Yes,
    /// It does only within the margin that was granted.
    Nearly,
    /// It does not.
    No,
}

impl Found {
    /// A share of so many, with Wilson's interval and the standard error that it has: not 0 even where all are alike.
    pub fn share(successes: usize, trials: usize, of: &str) -> Self {
        let share = Share::new(successes as u64, trials as u64);
        let interval = share.wilson(0.95);
        let error = 0.5 * (interval.high - interval.low) / -normal::quantile(0.025);
        Self { value: share.value(), error, interval, sample: format!("{trials} {of}") }
    }

    /// The mean of a sample, with its normal interval.
    pub fn mean(sample: &[f64], of: &str) -> Self {
        let error = (descriptive::variance(sample) / sample.len() as f64).sqrt();
        Self::normal(descriptive::mean(sample), error, &format!("{} {of}", sample.len()))
    }

    /// An estimate that is about normal.
    pub fn normal(value: f64, error: f64, sample: &str) -> Self {
        let half = -normal::quantile(0.025) * error;
        let interval = Interval { low: value - half, high: value + half };
        Self { value, error, interval, sample: sample.to_owned() }
    }

    /// What was computed, without chance.
    pub fn exact(value: f64, by: &str) -> Self {
        Self { value, error: 0.0, interval: Interval { low: value, high: value }, sample: by.to_owned() }
    }
}

impl Published {
    /// A number with a standard error.
    pub fn new(value: f64, error: f64, source: &'static str) -> Self {
        Self { value, error, margin: 0.0, source, claim: Claim::Published }
    }

    /// A share that was estimated from so many.
    pub fn share(value: f64, trials: f64, source: &'static str) -> Self {
        Self::new(value, (value * (1.0 - value) / trials).sqrt(), source)
    }

    /// The same with a margin.
    pub fn within(self, margin: f64) -> Self {
        Self { margin, ..self }
    }
}

impl Row {
    /// A number beside what was published.
    pub fn new(what: impl Into<String>, found: Found, published: Option<Published>) -> Self {
        Self { what: what.into(), found, published, why: None }
    }

    /// The same with what explains a difference.
    pub fn because(self, why: &'static str) -> Self {
        Self { why: Some(why), ..self }
    }

    /// Whether it agrees with what was published or stated; none if nothing was.
    pub fn reproduced(&self) -> Option<Reproduced> {
        let published = self.published.filter(|published| published.claim != Claim::None)?;
        let above = self.found.value - published.value;
        let apart = if published.claim == Claim::AtMost { above.max(0.0) } else { above.abs() };
        let chance = ERRORS_APART * libm::hypot(self.found.error, published.error);
        Some(if apart <= chance {
            Reproduced::Yes
        } else if apart <= chance + published.margin * published.value.abs() {
            Reproduced::Nearly
        } else {
            Reproduced::No
        })
    }
}

impl Scale {
    /// A number as it is written.
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{:.2} %", 100.0 * value),
            Self::Decimals(decimals) => format!("{value:.decimals$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_errors_of_both_and_the_margin_decide() {
        let row = |value, error| {
            let found = Found { error, ..Found::exact(value, "a table") };
            Row::new("x", found, Some(Published::new(100.0, 1.0, "a paper").within(0.05)))
        };
        assert_eq!(row(102.9, 0.0).reproduced(), Some(Reproduced::Yes));
        assert_eq!(row(104.2, 1.0).reproduced(), Some(Reproduced::Yes));
        assert_eq!(row(104.2, 0.0).reproduced(), Some(Reproduced::Nearly));
        assert_eq!(row(91.9, 0.0).reproduced(), Some(Reproduced::No));
        assert_eq!(Row::new("x", Found::exact(1.0, "a table"), None).reproduced(), None);
    }

    #[test]
    fn samples_have_their_errors() {
        let share = Found::share(30, 100, "streams");
        assert!((share.error - 0.0451).abs() < 1e-3 && share.interval.contains(0.3), "{share:?}");
        let mean = Found::mean(&[1.0, 2.0, 3.0, 4.0], "runs");
        assert!((mean.error - 0.645_497_224).abs() < 1e-8, "{mean:?}");
        assert!((mean.interval.high - 2.5 - 1.959_963_985 * mean.error).abs() < 1e-8, "{mean:?}");
        assert_eq!(
            (Scale::Percent.write(0.0512), Scale::Decimals(1).write(2.26)),
            ("5.12 %".into(), "2.3".into())
        );
    }
}
