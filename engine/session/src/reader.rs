//! `read_stream` and `read`: a frame over a connector, without a table.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use millstream_connectors_api::Options;
use millstream_sql::{Table, TableMode, types::parse_columns};

use crate::{dataframe::DataFrame, error::Result, session::Session};

/// Describes what to read; [`load`](DataStreamReader::load) makes a frame of it.
#[derive(Debug)]
pub struct DataStreamReader {
    session: Session,
    format: String,
    options: Options,
    schema: Option<Columns>,
    mode: TableMode,
}

/// Describes what to read once, as it is when a query runs.
pub type DataFrameReader = DataStreamReader;

#[derive(Debug)]
enum Columns {
    Arrow(SchemaRef),
    Text(String),
}

impl DataStreamReader {
    pub(crate) fn new(session: Session, mode: TableMode) -> DataStreamReader {
        DataStreamReader {
            session,
            mode,
            format: "file".to_owned(),
            options: Options::new(),
            schema: None,
        }
    }

    /// The connector or file format: `json`, `csv`, `rate`, `nexmark` …
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = format.into();
        self
    }

    /// The columns.
    #[must_use]
    pub fn schema(mut self, schema: SchemaRef) -> Self {
        self.schema = Some(Columns::Arrow(schema));
        self
    }

    /// The columns as text: `at TIMESTAMP, page STRING`.
    #[must_use]
    pub fn schema_ddl(mut self, columns: impl Into<String>) -> Self {
        self.schema = Some(Columns::Text(columns.into()));
        self
    }

    /// One option of the connector.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.options.set(key, value.to_string());
        self
    }

    /// Several options.
    #[must_use]
    pub fn options<K: Into<String>, V: ToString>(
        mut self,
        options: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        options
            .into_iter()
            .for_each(|(key, value)| self.options.set(key, value.to_string()));
        self
    }

    /// The frame. Checks options, paths and columns.
    ///
    /// # Errors
    /// Unknown connectors and options, paths that do not exist, columns that are missing.
    #[expect(
        clippy::unused_async,
        reason = "connectors that must connect will await here"
    )]
    pub async fn load(self) -> Result<DataFrame> {
        self.load_now()
    }

    /// The frame over a path.
    ///
    /// # Errors
    /// As [`load`](DataStreamReader::load).
    pub async fn load_path(self, path: impl ToString) -> Result<DataFrame> {
        self.option("path", path).load().await
    }

    /// JSON lines in a directory.
    ///
    /// # Errors
    /// As [`load`](DataStreamReader::load).
    pub async fn json(self, path: impl ToString) -> Result<DataFrame> {
        self.format("json").load_path(path).await
    }

    /// CSV files in a directory.
    ///
    /// # Errors
    /// As [`load`](DataStreamReader::load).
    pub async fn csv(self, path: impl ToString) -> Result<DataFrame> {
        self.format("csv").load_path(path).await
    }

    /// Lines of text files in a directory, one column `value`.
    ///
    /// # Errors
    /// As [`load`](DataStreamReader::load).
    pub async fn text(self, path: impl ToString) -> Result<DataFrame> {
        self.format("text").load_path(path).await
    }

    /// A table of the session.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn table(self, name: &str) -> Result<DataFrame> {
        self.session.table(name)
    }

    fn load_now(self) -> Result<DataFrame> {
        let columns = match self.schema {
            None => None,
            Some(Columns::Arrow(schema)) => Some(schema),
            Some(Columns::Text(text)) => Some(Arc::new(Schema::new(parse_columns(&text)?))),
        };
        let factory = self.session.catalog().connector(&self.format)?.clone();
        let mut table = Table::new(self.format, factory, columns, self.options)?;
        table.mode = self.mode;
        if table.schema.is_none() {
            // The reason why it cannot be read is the error of a reader.
            table.readable()?;
        }
        let plan = self.session.inner.planner.scan(&Arc::new(table))?;
        Ok(DataFrame::new(self.session, plan))
    }
}
