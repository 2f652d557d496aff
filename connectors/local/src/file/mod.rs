//! Files: a directory, file or pattern as a source, a directory as an exactly-once sink.
//!
//! The connector is there under four names: `file`, which needs the option `format`, and one for
//! each format, as in Spark's `format("csv")`. Tests: `tests`.

mod ahead;
mod clean;
mod cut;
mod known;
mod ledger;
mod listing;
mod log;
mod notices;
mod owner;
mod reader;
mod records;
mod seen;
mod settings;
mod sink;
mod source;
#[cfg(test)]
mod source_tests;
mod splits;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_connectors_api::{
    Capabilities, ConnectorError, ConnectorFactory, OptionSpec, Sink, SinkRequest, Source,
    SourceContext, SourceRequest,
};

use millstream_values::{column, interval::CALENDAR};

use crate::format::Format;
use settings::{COMMON, SINK, SOURCE, Settings};
pub(crate) use settings::{bad, duration_ms, zone};
use sink::FileSink;
use source::FileSource;

const NAME: &str = "file";

/// Makes file sources and sinks.
#[derive(Clone, Copy, Debug)]
pub struct FileConnector {
    implied: Option<Format>,
}

impl FileConnector {
    /// The connector `file`: the option `format` says how files are read and written.
    #[must_use]
    pub fn new() -> FileConnector {
        FileConnector { implied: None }
    }

    /// The connectors that are named after their format: `json`, `csv` and `text`.
    #[must_use]
    pub fn by_format() -> [FileConnector; 3] {
        [Format::Json, Format::Csv, Format::Text].map(|format| FileConnector {
            implied: Some(format),
        })
    }

    fn settings(&self, request: &SourceRequest) -> Result<Settings, ConnectorError> {
        let settings = Settings::new(&request.options, self.implied)?;
        listing::check_exists(&settings)?;
        clean::check(&settings)?;
        Ok(settings)
    }
}

impl Default for FileConnector {
    fn default() -> FileConnector {
        FileConnector::new()
    }
}

/// The columns of a source: the user's, all nullable; for text the line.
fn columns(format: Format, given: Option<&SchemaRef>) -> Result<SchemaRef, ConnectorError> {
    let Some(given) = given else {
        return match format {
            Format::Text => Ok(Arc::new(Schema::new(vec![Field::new(
                "value",
                DataType::Utf8,
                true,
            )]))),
            Format::Json | Format::Csv => Err(ConnectorError::SchemaRequired { connector: NAME }),
        };
    };
    if format == Format::Text
        && !matches!(given.fields().first(), Some(f) if *f.data_type() == DataType::Utf8)
    {
        return Err(ConnectorError::FixedSchema { connector: "text" });
    }
    for field in given.fields() {
        let nested = column::children(field.data_type()).is_some() && format == Format::Csv;
        let calendar = contains(field.data_type(), &CALENDAR);
        if nested || calendar || column::unsupported(field.data_type()).is_some() {
            let (name, kind) = (field.name(), field.data_type());
            return Err(ConnectorError::Unsupported {
                connector: format.name(),
                what: format!("cannot read column {name:?} of type {kind}"),
            });
        }
    }
    let fields: Vec<Field> = given.fields().iter().map(|field| nullable(field)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// Whether a type is another one or has it inside.
fn contains(data_type: &DataType, wanted: &DataType) -> bool {
    let inner = column::children(data_type).unwrap_or_default();
    data_type == wanted
        || inner
            .iter()
            .any(|field| contains(field.data_type(), wanted))
}

/// The field with nulls allowed everywhere: any value may be missing or malformed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only nested types have anything inside"
)]
fn nullable(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| nullable(field)).collect())
        }
        DataType::List(item) => DataType::List(Arc::new(nullable(item))),
        DataType::Map(entries, sorted) => {
            let inner = match entries.data_type() {
                DataType::Struct(fields) => DataType::Struct(
                    fields
                        .iter()
                        .enumerate()
                        .map(|(idx, field)| nullable(field).with_nullable(idx > 0))
                        .collect(),
                ),
                other => other.clone(),
            };
            let entries = Field::new(entries.name(), inner, false);
            DataType::Map(Arc::new(entries), *sorted)
        }
        other => other.clone(),
    };
    field.clone().with_data_type(data_type).with_nullable(true)
}

impl ConnectorFactory for FileConnector {
    fn name(&self) -> &'static str {
        self.implied.map_or(NAME, Format::name)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            source: true,
            sink: true,
            needs_checkpoint: true,
        }
    }

    fn options(&self) -> Vec<OptionSpec> {
        [COMMON, SOURCE, SINK].concat()
    }

    fn schema(&self, request: &SourceRequest) -> Result<SchemaRef, ConnectorError> {
        columns(self.settings(request)?.format, request.schema.as_ref())
    }

    fn source(
        &self,
        request: &SourceRequest,
        context: SourceContext,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = self.settings(request)?;
        let schema = columns(settings.format, request.schema.as_ref())?;
        Ok(Box::new(FileSource::new(settings, schema, &context)?))
    }

    fn sink(&self, request: &SinkRequest) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(FileSink::new(&request.options, self.implied)?))
    }
}
