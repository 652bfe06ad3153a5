//! Logged impressions: what a clickstream replays. From Parquet into memory, and from there into the records of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

/// The columns a clickstream reads.
pub const COLUMNS: [&str; 8] = [
    "timestamp",
    "item_id",
    "click",
    "propensity",
    "user_feature_0",
    "user_feature_1",
    "user_feature_2",
    "user_feature_3",
];

/// The columns that a log of several policies has besides.
pub const LOG_COLUMNS: [&str; 2] = ["policy", "campaign"];

/// One logged impression.
#[derive(Clone, Debug, PartialEq)]
pub struct Impression {
    /// When it was logged, in nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// The item that was shown.
    pub item: i64,
    /// Whether it was clicked.
    pub clicked: bool,
    /// The probability with which the logging policy showed just this item.
    pub propensity: f64,
    /// The user group: the four features, joined. There are few of them.
    pub group: Arc<str>,
}

/// An impression of a log of several policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The policy that chose the item.
    pub policy: Arc<str>,
    /// The campaign, whose items it chose from.
    pub campaign: Arc<str>,
    /// What was shown.
    pub impression: Impression,
}

/// The value of a record: an impression with its number in the log, as JSON.
#[derive(Serialize, Deserialize)]
struct Event {
    event: u64,
    timestamp_ns: i64,
    item: i64,
    clicked: bool,
    propensity: f64,
}

/// Why a file holds no impressions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpressionError {
    /// It is not Parquet, or damaged.
    #[error("is not a Parquet file that can be read")]
    NotParquet,
    /// It lacks these columns.
    #[error("has no column {0}")]
    MissingColumns(String),
    /// A column holds something else than it should, or a null.
    #[error("has a value in column {0} that is no {1}")]
    WrongType(String, &'static str),
    /// It has no row.
    #[error("holds no impression")]
    Empty,
}

/// Reads the impressions of a Parquet file, in the order of their time.
///
/// # Errors
/// See [`ImpressionError`].
pub fn parse(file: Bytes) -> Result<Vec<Impression>, ImpressionError> {
    let mut impressions = rows(file, &COLUMNS, read)?;
    // Stable: what was logged at one instant keeps the order of the log.
    impressions.sort_by_key(|impression| impression.timestamp_ns);
    Ok(impressions)
}

/// Reads the impressions of a Parquet file that tells the policy and the campaign of each, in the order of the file.
///
/// # Errors
/// See [`ImpressionError`].
pub fn parse_logged(file: Bytes) -> Result<Vec<Logged>, ImpressionError> {
    let columns: Vec<&str> = COLUMNS.into_iter().chain(LOG_COLUMNS).collect();
    rows(file, &columns, |batch, logged| {
        let mut impressions = Vec::new();
        read(batch, &mut impressions)?;
        let [policies, campaigns] = LOG_COLUMNS.map(|name| column(batch, name, &DataType::Utf8, "text"));
        let (policies, campaigns) = (policies?, campaigns?);
        let (policies, campaigns) = (policies.as_string::<i32>(), campaigns.as_string::<i32>());
        logged.extend(impressions.into_iter().enumerate().map(|(row, impression)| Logged {
            policy: policies.value(row).into(),
            campaign: campaigns.value(row).into(),
            impression,
        }));
        Ok(())
    })
}

/// What is read of the batches of a file that has these columns and a row.
fn rows<T>(
    file: Bytes,
    columns: &[&str],
    read: impl Fn(&RecordBatch, &mut Vec<T>) -> Result<(), ImpressionError>,
) -> Result<Vec<T>, ImpressionError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| ImpressionError::NotParquet)?;
    let schema = builder.schema().clone();
    let missing: Vec<&str> =
        columns.iter().copied().filter(|name| schema.column_with_name(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(ImpressionError::MissingColumns(missing.join(", ")));
    }
    let mut rows = Vec::new();
    for batch in builder.build().map_err(|_| ImpressionError::NotParquet)? {
        let batch = batch.map_err(|_| ImpressionError::NotParquet)?;
        read(&batch, &mut rows)?;
    }
    if rows.is_empty() { Err(ImpressionError::Empty) } else { Ok(rows) }
}

fn read(batch: &RecordBatch, impressions: &mut Vec<Impression>) -> Result<(), ImpressionError> {
    let timestamps = match batch.column_by_name("timestamp").map(|column| column.data_type()) {
        // Whatever its unit, first to nanoseconds.
        Some(DataType::Timestamp(_, zone)) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
        _ => DataType::Int64,
    };
    let timestamps = column(batch, "timestamp", &timestamps, "timestamp")?;
    let timestamps = cast(&timestamps, "timestamp", &DataType::Int64, "timestamp")?;
    let items = column(batch, "item_id", &DataType::Int64, "whole number")?;
    let clicks = column(batch, "click", &DataType::Int64, "whole number")?;
    let propensities = column(batch, "propensity", &DataType::Float64, "number")?;
    let features: Vec<ArrayRef> = COLUMNS[4..]
        .iter()
        .map(|name| column(batch, name, &DataType::Utf8, "text"))
        .collect::<Result<_, _>>()?;
    let features: Vec<&StringArray> = features.iter().map(|feature| feature.as_string()).collect();
    let mut groups: BTreeMap<[&str; 4], Arc<str>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let group: [&str; 4] = std::array::from_fn(|at| features[at].value(row));
        impressions.push(Impression {
            timestamp_ns: timestamps.as_primitive::<Int64Type>().value(row),
            item: items.as_primitive::<Int64Type>().value(row),
            clicked: clicks.as_primitive::<Int64Type>().value(row) != 0,
            propensity: propensities.as_primitive::<Float64Type>().value(row),
            group: groups.entry(group).or_insert_with(|| group.join("|").into()).clone(),
        });
    }
    Ok(())
}

fn column(
    batch: &RecordBatch,
    name: &str,
    wanted: &DataType,
    what: &'static str,
) -> Result<ArrayRef, ImpressionError> {
    let column = batch.column_by_name(name).ok_or(ImpressionError::MissingColumns(name.to_owned()))?;
    cast(column, name, wanted, what)
}

fn cast(
    column: &ArrayRef,
    name: &str,
    wanted: &DataType,
    what: &'static str,
) -> Result<ArrayRef, ImpressionError> {
    let wrong = || ImpressionError::WrongType(name.to_owned(), what);
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(column, wanted, &strict).map_err(|_| wrong())?;
    if 0 < cast.null_count() { Err(wrong()) } else { Ok(cast) }
}

impl Impression {
    /// The value of its record; `event` is its number in the log.
    pub fn encode(&self, event: u64) -> Bytes {
        let Self { timestamp_ns, item, clicked, propensity, .. } = *self;
        let event = Event { event, timestamp_ns, item, clicked, propensity };
        serde_json::to_vec(&event).expect("plain numbers").into()
    }
}

/// The number of the event in a record's value; `None` if it is no event.
pub fn decode(value: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Event>(value).ok().map(|event| event.event)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn file(columns: usize, timestamps: Vec<i64>, feature: &str) -> Bytes {
        let rows = timestamps.len();
        let column = |name: &str| {
            let array: ArrayRef = match name {
                "timestamp" => Arc::new(Int64Array::from(timestamps.clone())),
                "user_feature_0" => Arc::new(StringArray::from(vec![feature; rows])),
                "item_id" if feature == "no item" => Arc::new(StringArray::from(vec![feature; rows])),
                _ => Arc::new(Int64Array::from(vec![1; rows])),
            };
            (name.to_owned(), array)
        };
        let names = COLUMNS.into_iter().take(columns);
        let batch = RecordBatch::try_from_iter(names.map(column)).expect("columns of one length");
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("memory does not fail");
        writer.write(&batch).expect("memory does not fail");
        writer.into_inner().expect("memory does not fail").into()
    }

    #[test]
    fn impressions_come_in_order_of_time_and_their_records_know_their_number() {
        let impressions = parse(file(8, vec![20, 10], "young")).expect("it is sound");
        assert_eq!(impressions.iter().map(|one| one.timestamp_ns).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(&*impressions[0].group, "young|1|1|1");
        assert_eq!(decode(&impressions[0].encode(7)), Some(7));
        assert_eq!(decode(b"{\"event\": 7"), None);
    }

    #[test]
    fn what_holds_no_impressions_is_told() {
        assert_eq!(parse(Bytes::from_static(b"timestamp,click")), Err(ImpressionError::NotParquet));
        assert_eq!(
            parse(file(7, vec![1], "x")),
            Err(ImpressionError::MissingColumns("user_feature_3".to_owned()))
        );
        assert_eq!(parse(file(8, vec![], "x")), Err(ImpressionError::Empty));
        assert_eq!(
            parse_logged(file(8, vec![1], "x")),
            Err(ImpressionError::MissingColumns("policy, campaign".to_owned()))
        );
        assert_eq!(
            parse(file(8, vec![1], "no item")),
            Err(ImpressionError::WrongType("item_id".to_owned(), "whole number"))
        );
        let torn = file(8, vec![1; 100], "x");
        let mut torn = torn.to_vec();
        torn[4..40].fill(0xff);
        assert_eq!(parse(torn.into()), Err(ImpressionError::NotParquet));
    }
}
