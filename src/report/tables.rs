//! A run's time series and trace as tables, for notebooks and query engines: Arrow and Parquet, of the same columns.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};

use crate::base::HostId;
use crate::lab::Run;
use crate::world::trace::Message;

/// A column: its name, its type, whether it may be null, what it means.
type Column = (&'static str, DataType, bool, &'static str);

/// What a table tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Every event, if the run was asked to keep them, else the last notable ones.
    Trace,
    /// What systems, workloads and the kernel count, sampled once a virtual second.
    Series,
}

/// The key under which a field of the schema says what it means.
const MEANING: &str = "meaning";

impl Told {
    fn title(self) -> &'static str {
        match self {
            Self::Trace => "One row of trace.arrow and trace.parquet: an event of the run, in their order",
            Self::Series => "One row of series.arrow and series.parquet: a sample of a time series",
        }
    }

    fn columns(self) -> Vec<Column> {
        use DataType::{Float64, UInt64, Utf8};
        let at = ("virtual_ns", UInt64, false, "nanoseconds of virtual time since the run began");
        match self {
            Self::Trace => vec![
                (
                    "position",
                    UInt64,
                    false,
                    "the event's place in the chain that the digest hashes, from 1; a log line is no link of it, and has the place of \
                     the event before",
                ),
                at,
                ("host", Utf8, true, "the host that it befell, by name; null if it befell none, or several"),
                (
                    "what",
                    Utf8,
                    false,
                    "`delivered` (a message arrived), `connection`, `disk`, `fault`, `process`, `property` (an event that the code \
                     names, or a broken promise), `log`",
                ),
                ("level", Utf8, true, "of a log line: `error`, `warn`, `info`, `debug`; else null"),
                ("text", Utf8, false, "the event in words"),
                ("message", Utf8, true, "the type of the message that arrived: `Produce`; else null"),
                ("sender", Utf8, true, "the host that sent it; else null"),
                ("sent_ns", UInt64, true, "when that handed it to the transport, in nanoseconds; else null"),
                ("bytes", UInt64, true, "its length; else null"),
                (
                    "connection",
                    UInt64,
                    true,
                    "the number of the connection that it came on, used once in a run; else null",
                ),
            ],
            Self::Series => vec![
                at,
                ("host", Utf8, true, "the host that counts, by name; null for the whole tank"),
                ("name", Utf8, false, "the series: `kernel.messages`, `broker.bytes-in`"),
                (
                    "kind",
                    Utf8,
                    false,
                    "`total` (it only grows: its slope is a rate) or `gauge` (the latest value)",
                ),
                ("value", Float64, false, "its value then"),
            ],
        }
    }

    fn schema(self) -> Schema {
        let field = |(name, data_type, nullable, meaning): Column| {
            let meaning = [(MEANING.to_owned(), meaning.to_owned())];
            Field::new(name, data_type, nullable).with_metadata(meaning.into())
        };
        Schema::new(self.columns().into_iter().map(field).collect::<Vec<_>>())
    }

    /// The JSON Schema of a row, with the meaning of each column and its type in Arrow.
    pub fn document(self) -> Value {
        let mut properties = Map::new();
        for (name, data_type, nullable, meaning) in self.columns() {
            let kind = match data_type {
                DataType::UInt64 => "integer",
                DataType::Float64 => "number",
                _ => "string",
            };
            let kind = if nullable { json!([kind, "null"]) } else { json!(kind) };
            let column = json!({ "description": meaning, "type": kind, "arrow": data_type.to_string() });
            properties.insert(name.to_owned(), column);
        }
        json!({ "title": self.title(), "type": "object", "properties": properties })
    }
}

/// A table about a run.
#[derive(Clone, Debug)]
pub struct Table(RecordBatch);

impl Table {
    /// The table that tells this of a run.
    pub fn of(run: &Run, told: Told) -> Self {
        let columns = match told {
            Told::Trace => trace(run),
            Told::Series => series(run),
        };
        let table = RecordBatch::try_new(Arc::new(told.schema()), columns);
        Self(table.expect("the columns are made for this schema"))
    }

    /// Writes it as an Arrow IPC file (Feather V2).
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write_arrow(&self, out: impl Write) -> Result<(), ArrowError> {
        let mut writer = FileWriter::try_new(out, &self.0.schema())?;
        writer.write(&self.0)?;
        writer.finish()
    }

    /// Writes it as a Parquet file. The schema, with what each column means, is in its metadata, as Arrow writes it.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write_parquet(&self, out: impl Write + Send) -> Result<(), ParquetError> {
        let packed = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(packed).build();
        let mut writer = ArrowWriter::try_new(out, self.0.schema(), Some(properties))?;
        writer.write(&self.0)?;
        writer.close().map(drop)
    }
}

fn trace(run: &Run) -> Vec<ArrayRef> {
    let records = || run.records.iter();
    let messages = || records().map(|record| record.message);
    let number = |value: fn(&Message) -> u64| -> ArrayRef {
        Arc::new(messages().map(|message| message.as_ref().map(value)).collect::<UInt64Array>())
    };
    vec![
        Arc::new(UInt64Array::from_iter_values(records().map(|record| record.position))),
        Arc::new(UInt64Array::from_iter_values(records().map(|record| record.at.as_nanos()))),
        Arc::new(records().map(|record| name_of(record.host, &run.hosts)).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(records().map(|record| record.what.name()))),
        Arc::new(records().map(|record| record.what.level()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(records().map(|record| &record.text))),
        Arc::new(messages().map(|message| Some(message?.kind)).collect::<StringArray>()),
        Arc::new(messages().map(|message| name_of(Some(message?.from), &run.hosts)).collect::<StringArray>()),
        number(|message| message.sent.as_nanos()),
        number(|message| message.bytes),
        number(|message| message.connection),
    ]
}

fn series(run: &Run) -> Vec<ArrayRef> {
    let samples = || run.samples.iter();
    vec![
        Arc::new(UInt64Array::from_iter_values(samples().map(|sample| sample.at.as_nanos()))),
        Arc::new(samples().map(|sample| name_of(sample.host, &run.hosts)).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(samples().map(|sample| sample.name))),
        Arc::new(StringArray::from_iter_values(samples().map(|sample| sample.kind.name()))),
        Arc::new(Float64Array::from_iter_values(samples().map(|sample| sample.value))),
    ]
}

fn name_of(host: Option<HostId>, hosts: &[String]) -> Option<&str> {
    hosts.get(host?.get() as usize).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SimTime;
    use crate::lab::sample;
    use crate::world::Record;
    use crate::world::trace::What;
    use arrow::ipc::reader::FileReader;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn a_table_reads_back_the_same_from_arrow_and_from_parquet() {
        let message = Message {
            kind: "Produce",
            from: HostId::new(0),
            sent: SimTime::from_nanos(7),
            bytes: 40,
            connection: 3,
        };
        let record = |what, host, message, text: &str| Record {
            at: SimTime::from_nanos(9),
            host,
            what,
            text: text.to_owned(),
            position: 1,
            message,
        };
        let run = Run {
            records: vec![
                record(What::Delivered, Some(HostId::new(0)), Some(message), "Produce from \"a\"\n"),
                record(What::Log(crate::world::Level::Warn), None, None, ""),
            ],
            ..sample::violated()
        };
        for told in [Told::Trace, Told::Series] {
            let table = Table::of(&run, told);
            assert_eq!(table.0.num_rows(), 2, "{told:?}");
            let (mut arrow, mut parquet) = (Vec::new(), Vec::new());
            table.write_arrow(&mut arrow).expect("memory does not fail");
            table.write_parquet(&mut parquet).expect("memory does not fail");
            let mut again = Vec::new();
            table.write_parquet(&mut again).expect("memory does not fail");
            assert_eq!(parquet, again, "equal tables are equal files");
            let mut from_arrow =
                FileReader::try_new(std::io::Cursor::new(arrow), None).expect("it was just written");
            let from_arrow = from_arrow.next().expect("one batch").expect("well formed");
            assert_eq!(from_arrow, table.0);
            let mut from_parquet = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet))
                .and_then(|builder| builder.build())
                .expect("it was just written");
            let from_parquet = from_parquet.next().expect("one batch").expect("well formed");
            assert_eq!(from_parquet, table.0);
            let meaning = |field: &Arc<Field>| field.metadata().get(MEANING).cloned();
            let meanings: Vec<_> = from_parquet.schema().fields().iter().map(meaning).collect();
            assert!(meanings.iter().all(Option::is_some), "{meanings:?}");
        }
    }
}
