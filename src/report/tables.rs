//! A run's time series and trace as Arrow tables, for notebooks and query engines.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;

use crate::base::HostId;
use crate::world::Record;
use crate::world::metrics::Sample;

/// The time series of a run.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `virtual_ns` | uint64 | nanoseconds since the run began |
/// | `host` | utf8, null for the whole tank | the host's name |
/// | `name` | utf8 | the series: `kernel.messages`, `broker.bytes-in` |
/// | `value` | float64 | a running total for counters, the latest value for gauges |
pub fn series(samples: &[Sample], hosts: &[String]) -> RecordBatch {
    let mut at = UInt64Builder::new();
    let mut host = StringBuilder::new();
    let mut name = StringBuilder::new();
    let mut value = Float64Builder::new();
    for sample in samples {
        at.append_value(sample.at.as_nanos());
        host.append_option(name_of(sample.host, hosts));
        name.append_value(sample.name);
        value.append_value(sample.value);
    }
    let schema = Schema::new(vec![
        Field::new("virtual_ns", DataType::UInt64, false),
        Field::new("host", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Float64, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(at.finish()),
        Arc::new(host.finish()),
        Arc::new(name.finish()),
        Arc::new(value.finish()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns were built for this schema")
}

/// The trace of a run: every event if the run was asked to keep them, else the last notable ones.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `position` | uint64 | the event's place in the digest's chain |
/// | `virtual_ns` | uint64 | nanoseconds since the run began |
/// | `host` | utf8, null for the laboratory | the host's name |
/// | `what` | utf8 | `delivered`, `connection`, `disk`, `fault`, `process`, `property`, `log` |
/// | `text` | utf8 | the event in words |
pub fn trace(records: &[Record], hosts: &[String]) -> RecordBatch {
    let mut position = UInt64Builder::new();
    let mut at = UInt64Builder::new();
    let mut host = StringBuilder::new();
    let mut what = StringBuilder::new();
    let mut text = StringBuilder::new();
    for record in records {
        position.append_value(record.position);
        at.append_value(record.at.as_nanos());
        host.append_option(name_of(record.host, hosts));
        what.append_value(record.what.name());
        text.append_value(&record.text);
    }
    let schema = Schema::new(vec![
        Field::new("position", DataType::UInt64, false),
        Field::new("virtual_ns", DataType::UInt64, false),
        Field::new("host", DataType::Utf8, true),
        Field::new("what", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(position.finish()),
        Arc::new(at.finish()),
        Arc::new(host.finish()),
        Arc::new(what.finish()),
        Arc::new(text.finish()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns were built for this schema")
}

/// A table as an Arrow IPC file (Feather V2).
///
/// # Errors
/// If the writer fails, which it cannot on memory.
pub fn to_arrow_file(table: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = FileWriter::try_new(Vec::new(), &table.schema())?;
    writer.write(table)?;
    writer.finish()?;
    writer.into_inner()
}

fn name_of(host: Option<HostId>, hosts: &[String]) -> Option<&str> {
    hosts.get(host?.get() as usize).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimTime;
    use crate::world::metrics::SeriesKind;
    use arrow::array::{Array, AsArray};
    use arrow::ipc::reader::FileReader;

    #[test]
    fn a_series_reads_back_from_its_arrow_file() {
        let samples = [
            Sample {
                at: SimTime::from_nanos(1),
                host: None,
                name: "kernel.messages",
                kind: SeriesKind::Total,
                value: 3.0,
            },
            Sample {
                at: SimTime::from_nanos(2),
                host: Some(HostId::new(0)),
                name: "broker.bytes-in",
                kind: SeriesKind::Total,
                value: 4.5,
            },
        ];
        let file = to_arrow_file(&series(&samples, &["broker-1".to_owned()])).expect("memory does not fail");
        let mut reader = FileReader::try_new(std::io::Cursor::new(file), None).expect("it was just written");
        let table = reader.next().expect("one batch").expect("well formed");
        assert_eq!(table.num_rows(), 2);
        let hosts = table.column(1).as_string::<i32>();
        assert!(hosts.is_null(0));
        assert_eq!(hosts.value(1), "broker-1");
    }
}
