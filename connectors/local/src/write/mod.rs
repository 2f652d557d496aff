//! Rows to text: JSON lines, CSV and text files as Spark writes them, and cells of a printed table.

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use millstream_connectors_api::ConnectorError;
use millstream_values::{
    cell::Cell,
    column::children,
    csv::{self, Dialect},
    forms::Forms,
    interval::CALENDAR,
    json::{Style, Writer},
};

use crate::format::Format;

/// How rows are written to a file.
#[derive(Clone, Debug)]
pub(crate) struct RowWriter {
    format: Format,
    dialect: Dialect,
    forms: Forms,
}

impl RowWriter {
    pub(crate) fn new(format: Format, dialect: Dialect, forms: Forms) -> RowWriter {
        RowWriter {
            format,
            dialect,
            forms,
        }
    }

    /// Refuses columns that the format cannot hold.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), ConnectorError> {
        let twice = schema.fields().iter().enumerate().find(|(at, field)| {
            let before = schema.fields().iter().take(*at);
            let mut names = before.map(|other| other.name());
            names.any(|name| name.eq_ignore_ascii_case(field.name()))
        });
        let twice =
            twice.map(|(_, field)| format!("cannot write two columns named {}", field.name()));
        let refused = match self.format {
            _ if twice.is_some() => twice,
            Format::Json | Format::Csv => schema
                .fields()
                .iter()
                .find(|field| !self.holds(field.data_type()))
                .map(|field| {
                    let (name, kind) = (field.name(), field.data_type());
                    format!("cannot write column {name:?} of type {kind}")
                }),
            Format::Text => (schema.fields().len() != 1).then(|| {
                let count = schema.fields().len();
                format!("writes exactly one column and has {count}")
            }),
        };
        match refused {
            Some(what) => Err(ConnectorError::Unsupported {
                connector: self.format.name(),
                what,
            }),
            None => Ok(()),
        }
    }

    /// Whether the format has values of a type: none has intervals of all fields, and CSV no nested
    /// ones and no column without a type.
    fn holds(&self, data_type: &DataType) -> bool {
        if *data_type == CALENDAR {
            return false;
        }
        match children(data_type) {
            Some(inner) if self.format == Format::Json => {
                inner.iter().all(|field| self.holds(field.data_type()))
            }
            Some(_) => false,
            None => self.format == Format::Json || *data_type != DataType::Null,
        }
    }

    /// What stands at the top of a file.
    pub(crate) fn header(&self, schema: &Schema, out: &mut Vec<u8>) {
        if self.format == Format::Csv && self.dialect.header {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            csv::header(names, &self.dialect, out);
        }
    }

    /// Appends the rows of `batch`.
    #[cfg(test)]
    pub(crate) fn rows(
        &self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
    ) -> Result<(), ConnectorError> {
        RowEncoder::new(self.clone(), &batch.schema()).rows(batch, out)
    }
}

/// Writes rows of one schema.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    writer: RowWriter,
    json: Writer,
}

impl RowEncoder {
    /// An encoder for rows whose columns have the names of `schema`, whatever a batch calls them.
    pub(crate) fn new(writer: RowWriter, schema: &Schema) -> RowEncoder {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let style = Style {
            forms: writer.forms.clone(),
            ..Style::default()
        };
        RowEncoder {
            json: Writer::new(names, style),
            writer,
        }
    }

    /// Appends the rows of `batch`.
    pub(crate) fn rows(
        &self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
    ) -> Result<(), ConnectorError> {
        let (columns, rows) = (batch.columns(), batch.num_rows());
        let RowWriter {
            format,
            dialect,
            forms,
        } = &self.writer;
        match format {
            Format::Json => self.json.lines(columns, rows, out),
            Format::Csv => csv::lines(columns, rows, (dialect, forms), out),
            Format::Text => self.text(columns, rows, out),
        }
        .map_err(|source| ConnectorError::Arrow {
            what: "casting a column to write it",
            source,
        })
    }

    fn text(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let cells = columns
            .iter()
            .map(|column| Cell::new(column, &self.writer.forms.zone));
        let cells = cells.collect::<Result<Vec<Cell>, ArrowError>>()?;
        for row in 0..rows {
            for cell in cells.iter().filter(|cell| !cell.is_null(row)) {
                cell.show(row, out);
            }
            out.push(b'\n');
        }
        Ok(())
    }
}
