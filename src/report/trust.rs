//! Whether what a strategy says can be believed, for the report of a comparison: how far estimates are off, and how often detectors alarm.

use serde::Serialize;

use crate::experiment::course::contrast;
use crate::experiment::epochs::KNOWN_MIN;
use crate::experiment::validity::{ALARM, Detector, Stated};
use crate::lab::strategies::{CONFIDENCE, Found};
use crate::lab::trust::{Answer, Estimated, Off, Trust};
use crate::report::StrategiesReport;
use crate::report::strategies::{MeanDocument, RateDocument, Table, percent, points, rate};
use crate::report::text::grouped;

impl StrategiesReport<'_> {
    /// Each strategy with what is to be thought of it; none of a log.
    fn trusted(&self) -> impl Iterator<Item = (&Found, &Trust)> {
        self.findings.strategies.iter().filter_map(|found| Some((found, found.trust.as_ref()?)))
    }

    /// Each strategy with how far its estimates of the arm are off whose difference stands for all.
    pub(super) fn estimates(&self) -> impl Iterator<Item = (&Found, Estimated)> {
        let arm = contrast(&self.findings.truth);
        self.trusted().filter_map(move |(found, trust)| Some((found, trust.effects[arm - 1]?)))
    }

    /// Of what estimates are told.
    pub(super) fn estimated(&self) -> String {
        let arms = &self.findings.arms;
        format!("the effect of {} against {}", arms[contrast(&self.findings.truth)], arms[0])
    }

    /// How far estimates are off, and how often detectors alarm.
    pub(super) fn tables_of_trust(&self) -> Vec<Table> {
        let row = |found: &Found, weights: &str, streams: u64, off: &Off| {
            let coverage = off.coverage.as_ref().map_or("-".to_owned(), rate);
            let (bias, error) = (points(off.bias), points(off.error));
            vec![found.name.clone(), weights.to_owned(), bias, error, coverage, grouped(streams)]
        };
        let rows = |(found, Estimated { streams, pooled, by_epoch }): (&Found, Estimated)| {
            [row(found, "pooled", streams, &pooled), row(found, "by epoch", streams, &by_epoch)]
        };
        let estimates = Table {
            title: format!("how far its estimate of {} is off, in points", self.estimated()),
            heads: vec!["strategy", "weights", "bias", "error", "coverage", "streams"],
            rows: self.estimates().flat_map(rows).collect(),
        };
        let asked = |answer: &Answer| matches!(answer, Answer::Asked { .. });
        let detectors: Vec<usize> = (0..Detector::ALL.len())
            .filter(|index| self.trusted().any(|(_, trust)| asked(&trust.detectors[*index].1)))
            .collect();
        let names = detectors.iter().map(|index| Detector::ALL[*index].name());
        let row = |(found, trust): (&Found, &Trust)| {
            let cells = detectors.iter().map(|index| self.alarmed(&trust.detectors[*index].1));
            std::iter::once(found.name.clone()).chain(cells).collect()
        };
        let alarms = Table {
            title: "how often detectors of invalid experiments alarm".to_owned(),
            heads: std::iter::once("strategy").chain(names).collect(),
            rows: self.trusted().map(row).collect(),
        };
        [estimates, alarms]
            .into_iter()
            .filter(|table| 1 < table.heads.len() && !table.rows.is_empty())
            .collect()
    }

    /// How often a detector alarms, and how often it should.
    fn alarmed(&self, answer: &Answer) -> String {
        let Answer::Asked { alarms, stated, finds } = answer else { return "not asked".to_owned() };
        let should = match (finds, stated) {
            (Some(_), _) => " *".to_owned(),
            (None, Stated::At) => format!(" / {}", percent(ALARM)),
            (None, Stated::AtMost) => format!(" / \u{2264}{}", percent(ALARM)),
        };
        let of = if alarms.of < self.findings.streams {
            format!(" of {}", grouped(alarms.of))
        } else {
            String::new()
        };
        format!("{}{of}{should}", rate(alarms))
    }

    fn note_of_estimates(&self) -> String {
        if self.estimates().next().is_none() {
            return format!(
                "How far estimates are off is not told: no stream has {KNOWN_MIN} known outcomes of both arms in each segment."
            );
        }
        format!(
            "pooled: the difference of the shares of all visits of each arm until the decision, as it is mostly reported. by epoch: the \
             difference within each day and segment, weighted by all visits of it; days with fewer than {KNOWN_MIN} known outcomes of an arm \
             go together with the next. Both should be the difference of true rates, averaged over all visits until then. bias: the mean of \
             estimate less truth. error: how far off it is in one stream. coverage: how often its {:.0}% interval held the truth{}. By epoch \
             is unbiased where shares do not move within a day and no arm is given up (learning by the day, a floor); neither allows for \
             stopping early.",
            100.0 * CONFIDENCE,
            if self.study.visitors.come_again() {
                ", not told where users come again and keep their arm"
            } else {
                ""
            }
        )
    }

    /// What a reader must know to judge these numbers.
    pub(super) fn notes_of_trust(&self) -> Vec<String> {
        if self.trusted().next().is_none() {
            return Vec::new();
        }
        let mut notes = vec![self.note_of_estimates()];
        let mut found: Vec<&str> = Vec::new();
        // By detector and reason: which strategies.
        let mut not_asked: Vec<(Detector, &str, Vec<&str>)> = Vec::new();
        for (strategy, trust) in self.trusted() {
            for (detector, answer) in &trust.detectors {
                match answer {
                    Answer::Asked { finds, .. } => found.extend(finds.filter(|finds| !found.contains(finds))),
                    Answer::NotAsked(reason) => {
                        let same = not_asked.iter_mut().find(|(of, why, _)| (of, why) == (detector, reason));
                        match same {
                            Some((_, _, names)) => names.push(&strategy.name),
                            None => not_asked.push((*detector, reason, vec![&strategy.name])),
                        }
                    }
                }
            }
        }
        let mut note = format!(
            "Detectors look at one stream until its decision, without the truth, and alarm at p < {ALARM}. After the slash stands how often \
             they state to alarm in vain, in large samples."
        );
        if !found.is_empty() {
            note.push_str(&format!(" *: there is something to find ({}).", found.join(", ")));
        }
        let all = self.findings.strategies.len();
        for (detector, reason, names) in not_asked {
            let of = if names.len() == all { String::new() } else { format!(" of {}", names.join(", ")) };
            note.push_str(&format!(" Not asked: {}{of}: {reason}.", detector.name()));
        }
        notes.push(note);
        notes
    }
}

/// How far estimates of one arm's effect are off.
#[derive(Serialize)]
pub(super) struct EstimatedDocument {
    streams: u64,
    pooled: OffDocument,
    by_epoch: OffDocument,
}

#[derive(Serialize)]
struct OffDocument {
    bias: MeanDocument,
    error: MeanDocument,
    coverage: Option<RateDocument>,
}

/// What came of one detector.
#[derive(Serialize)]
pub(super) struct DetectorDocument {
    name: &'static str,
    alarms: Option<RateDocument>,
    /// How often it states to alarm in vain.
    stated: f64,
    /// Whether that is the most.
    at_most: bool,
    /// What there is to find.
    finds: Option<&'static str>,
    /// Why it was not asked.
    not_asked: Option<&'static str>,
}

impl EstimatedDocument {
    /// By arm but the control; nothing of a log.
    pub(super) fn all(found: &Found) -> Vec<Option<Self>> {
        let effects = found.trust.iter().flat_map(|trust| &trust.effects);
        effects.map(|effect| effect.as_ref().map(Self::of)).collect()
    }

    fn of(estimated: &Estimated) -> Self {
        let off = |off: &Off| OffDocument {
            bias: MeanDocument::of(&off.bias),
            error: MeanDocument::of(&off.error),
            coverage: off.coverage.as_ref().map(RateDocument::of),
        };
        let Estimated { streams, pooled, by_epoch } = estimated;
        Self { streams: *streams, pooled: off(pooled), by_epoch: off(by_epoch) }
    }
}

impl DetectorDocument {
    /// Of each detector; nothing of a log.
    pub(super) fn all(found: &Found) -> Vec<Self> {
        found.trust.iter().flat_map(|trust| &trust.detectors).map(Self::of).collect()
    }

    fn of((detector, answer): &(Detector, Answer)) -> Self {
        let mut document = Self {
            name: detector.name(),
            alarms: None,
            stated: ALARM,
            at_most: false,
            finds: None,
            not_asked: None,
        };
        match answer {
            Answer::NotAsked(reason) => document.not_asked = Some(reason),
            Answer::Asked { alarms, stated, finds } => {
                document.alarms = Some(RateDocument::of(alarms));
                (document.at_most, document.finds) = (*stated == Stated::AtMost, *finds);
            }
        }
        document
    }
}
