//! The tables and views of a session, checked when they are created.
//!
//! Names are compared without case. Nothing is opened here: a table holds the connector's factory
//! and what to ask it for.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use millstream_connectors_api::{
    ConnectorError, ConnectorFactory, Options, SinkRequest, SourceRequest,
};
use millstream_types::{Interval, OutputMode, did_you_mean};

use crate::{
    SqlError,
    ddl::{CreateTable, GeneratedColumn},
};

/// Options that are the engine's, not the connector's.
const CONNECTOR: &str = "connector";
const MODE: &str = "mode";
const OUTPUT_MODE: &str = "output_mode";

/// How a table is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableMode {
    /// It grows.
    #[default]
    Stream,
    /// It is read whole each time: the static side of a join.
    Batch,
}

/// The event-time column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// A top-level TIMESTAMP column.
    pub column: String,
    /// How far the mark stays behind; not negative.
    pub delay: Interval,
}

/// Makes a table of constant rows.
pub type RowsTable = fn(RecordBatch) -> Result<Arc<Table>, SqlError>;

/// A table: a connector with its options.
#[derive(Clone)]
pub struct Table {
    /// The name as created.
    pub name: String,
    /// Makes its source and sink.
    pub factory: Arc<dyn ConnectorFactory>,
    /// The connector's options.
    pub options: Options,
    /// The columns that the user gave.
    pub columns: Option<SchemaRef>,
    /// The columns of the source; `None` for a table that can only be written.
    pub schema: Option<SchemaRef>,
    /// Columns that are computed of those of the source.
    pub generated: Vec<GeneratedColumn>,
    /// The event-time column.
    pub watermark: Option<WatermarkSpec>,
    /// How it is read.
    pub mode: TableMode,
    /// In which mode queries write into it, if it says so.
    pub output_mode: Option<OutputMode>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .field("connector", &self.factory.name())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// A table over a connector, for readers without a CREATE TABLE. The engine's own options are
    /// taken out of `options`.
    ///
    /// # Errors
    /// The connector's errors; [`SqlError::UnknownMode`].
    pub fn new(
        name: impl Into<String>,
        factory: Arc<dyn ConnectorFactory>,
        columns: Option<SchemaRef>,
        mut options: Options,
    ) -> Result<Table, SqlError> {
        let name = name.into();
        options.remove(CONNECTOR);
        let mode = take_mode(&mut options);
        let output_mode = options
            .remove(OUTPUT_MODE)
            .map(|word| word.parse().map_err(|_| SqlError::UnknownMode { word }))
            .transpose()?;
        let specs = factory.options();
        options.check(factory.name(), &[&specs])?;
        let mut table = Table {
            name,
            factory,
            options,
            columns,
            schema: None,
            generated: Vec::new(),
            watermark: None,
            mode,
            output_mode,
        };
        let capabilities = table.factory.capabilities();
        if capabilities.source {
            match table.factory.schema(&table.source_request()) {
                Ok(schema) => table.schema = Some(schema),
                // A table that will only be written needs no columns and no path yet.
                Err(_) if capabilities.sink => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(table)
    }

    /// What to ask the factory for when the table is read.
    #[must_use]
    pub fn source_request(&self) -> SourceRequest {
        SourceRequest {
            table: self.name.clone(),
            schema: self.columns.clone(),
            options: self.options.clone(),
        }
    }

    /// What to ask the factory for when all of the table is read at once: what bounds an epoch of a stream
    /// means nothing then, and nobody cleans up behind a batch.
    #[must_use]
    pub fn batch_request(&self) -> SourceRequest {
        const OF_STREAMS: [&str; 6] = [
            "maxFilesPerTrigger",
            "maxBytesPerTrigger",
            "maxRowsPerTrigger",
            "maxFileAge",
            "cleanSource",
            "sourceArchiveDir",
        ];
        let mut request = self.source_request();
        for option in OF_STREAMS {
            request.options.remove(option);
        }
        request
    }

    /// What to ask the factory for when the table is written.
    #[must_use]
    pub fn sink_request(&self) -> SinkRequest {
        SinkRequest {
            table: self.name.clone(),
            options: self.options.clone(),
        }
    }

    /// The columns of the source.
    ///
    /// # Errors
    /// The connector's reason why the table cannot be read.
    pub fn readable(&self) -> Result<SchemaRef, SqlError> {
        if let Some(schema) = &self.schema {
            return Ok(Arc::clone(schema));
        }
        if !self.factory.capabilities().source {
            return Err(ConnectorError::Unsupported {
                connector: self.factory.name(),
                what: "has no source side".to_owned(),
            }
            .into());
        }
        Ok(self.factory.schema(&self.source_request())?)
    }

    /// The columns for DESCRIBE: of the source, or those that the user gave.
    #[must_use]
    pub fn describe(&self) -> SchemaRef {
        self.schema
            .clone()
            .or_else(|| self.columns.clone())
            .unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// Whether a column is computed when the table is read.
    #[must_use]
    pub fn computes(&self, column: &str) -> bool {
        let mut generated = self.generated.iter();
        generated.any(|own| own.name.eq_ignore_ascii_case(column))
    }

    /// The same table with a watermark.
    ///
    /// # Errors
    /// [`SqlError::NoColumn`], [`SqlError::EventTimeType`], [`SqlError::NegativeDelay`].
    pub fn with_watermark(mut self, column: &str, delay: Interval) -> Result<Table, SqlError> {
        let schema = self.readable()?;
        let field = check_watermark(&schema, column, delay)?;
        self.watermark = Some(WatermarkSpec {
            column: field.name().clone(),
            delay,
        });
        self.schema = Some(schema);
        Ok(self)
    }
}

/// `mode` is Spark's parse policy, too; only `batch` and `stream` are ours.
fn take_mode(options: &mut Options) -> TableMode {
    let mode = match options.get(MODE).map(str::to_ascii_lowercase).as_deref() {
        Some("batch") => TableMode::Batch,
        Some("stream") => TableMode::Stream,
        _ => return TableMode::Stream,
    };
    options.remove(MODE);
    mode
}

/// Finds the column of a watermark and checks it.
pub(crate) fn check_watermark<'a>(
    schema: &'a Schema,
    column: &str,
    delay: Interval,
) -> Result<&'a Field, SqlError> {
    if column.contains('.') {
        return Err(SqlError::EventTimeNested {
            expression: column.to_owned(),
        });
    }
    let fields = || schema.fields().iter();
    let field = fields()
        .find(|field| field.name() == column)
        .or_else(|| fields().find(|field| field.name().eq_ignore_ascii_case(column)))
        .ok_or_else(|| {
            let known = fields().map(|field| field.name().clone()).collect();
            SqlError::no_column(column.to_owned(), column, known)
        })?;
    if !matches!(
        field.data_type(),
        DataType::Timestamp(TimeUnit::Microsecond, _)
    ) {
        return Err(SqlError::EventTimeType {
            column: field.name().clone(),
            found: crate::types::spark_name(field.data_type()),
        });
    }
    if delay.delay_ms() < 0 {
        return Err(SqlError::NegativeDelay {
            delay: delay.to_string(),
        });
    }
    Ok(field)
}

/// A named entry of the catalog.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entry {
    /// A connector.
    Table(Arc<Table>),
    /// A query under a name.
    View {
        /// The name as created.
        name: String,
        /// What it shows.
        plan: Arc<LogicalPlan>,
    },
}

impl Entry {
    /// The name as created.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Entry::Table(table) => &table.name,
            Entry::View { name, .. } => name,
        }
    }
}

/// All names of a session.
#[derive(Clone, Default)]
pub struct Catalog {
    connectors: Vec<Arc<dyn ConnectorFactory>>,
    entries: BTreeMap<String, Entry>,
    /// Functions of rows that a program added.
    functions: BTreeMap<String, Arc<ScalarUDF>>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// An empty catalog over these connectors.
    #[must_use]
    pub fn new(connectors: Vec<Arc<dyn ConnectorFactory>>) -> Catalog {
        Catalog {
            connectors,
            entries: BTreeMap::new(),
            functions: BTreeMap::new(),
        }
    }

    /// The connector of this name or alias.
    ///
    /// # Errors
    /// CON-001 with the known names.
    pub fn connector(&self, name: &str) -> Result<&Arc<dyn ConnectorFactory>, SqlError> {
        self.connectors
            .iter()
            .find(|factory| factory.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                ConnectorError::Unknown {
                    kind: "connector",
                    name: name.to_owned(),
                    known: self
                        .connectors
                        .iter()
                        .map(|factory| factory.name().to_owned())
                        .collect(),
                }
                .into()
            })
    }

    /// All connectors.
    #[must_use]
    pub fn connectors(&self) -> &[Arc<dyn ConnectorFactory>] {
        &self.connectors
    }

    /// Checks and adds a table.
    ///
    /// # Errors
    /// [`SqlError::TableExists`], the connector's errors, and those of the watermark.
    pub fn create_table(&mut self, create: &CreateTable) -> Result<(), SqlError> {
        let exists = self.entries.contains_key(&create.name.to_lowercase());
        if exists && create.if_not_exists {
            return Ok(());
        }
        let table = self
            .new_table(create)
            .map_err(|error| error.at(create.position))?;
        self.add(Entry::Table(Arc::new(table)), create.or_replace)
            .map_err(|error| error.at(create.position))
    }

    fn new_table(&self, create: &CreateTable) -> Result<Table, SqlError> {
        let mut options = create.options.clone();
        let connector = options
            .remove(CONNECTOR)
            .ok_or(ConnectorError::MissingOption {
                connector: "table",
                option: CONNECTOR,
            })?;
        let factory = Arc::clone(self.connector(&connector)?);
        // An alias such as `csv` may stand for a connector with a format.
        if !factory.name().eq_ignore_ascii_case(&connector)
            && options.get("format").is_none()
            && factory.options().iter().any(|spec| spec.name == "format")
        {
            options.set("format", connector);
        }
        let columns = create
            .columns
            .as_ref()
            .map(|fields| Arc::new(Schema::new(fields.clone())));
        let mut table = Table::new(create.name.clone(), factory, columns, options)?;
        table.generated.clone_from(&create.generated);
        match &create.watermark {
            None => Ok(table),
            // Checked where the column is computed.
            Some(clause) if table.computes(&clause.column) => {
                table.watermark = Some(WatermarkSpec {
                    column: clause.column.clone(),
                    delay: clause.delay,
                });
                Ok(table)
            }
            Some(clause) => table
                .with_watermark(&clause.column, clause.delay)
                .map_err(|error| error.at(clause.position)),
        }
    }

    /// Adds a table or view.
    ///
    /// # Errors
    /// [`SqlError::TableExists`] unless it may be replaced.
    pub fn add(&mut self, entry: Entry, or_replace: bool) -> Result<(), SqlError> {
        let key = entry.name().to_lowercase();
        if self.entries.contains_key(&key) && !or_replace {
            return Err(SqlError::TableExists {
                name: entry.name().to_owned(),
            });
        }
        self.entries.insert(key, entry);
        Ok(())
    }

    /// Takes a name out; says whether it was there.
    ///
    /// # Errors
    /// [`SqlError::NoTable`] unless `if_exists`.
    pub fn drop(&mut self, name: &str, if_exists: bool) -> Result<bool, SqlError> {
        match self.entries.remove(&name.to_lowercase()) {
            Some(_) => Ok(true),
            None if if_exists => Ok(false),
            None => Err(self.no_table(name)),
        }
    }

    /// The table or view of this name.
    ///
    /// # Errors
    /// [`SqlError::NoTable`] with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Entry, SqlError> {
        self.entries
            .get(&name.to_lowercase())
            .ok_or_else(|| self.no_table(name))
    }

    fn no_table(&self, name: &str) -> SqlError {
        SqlError::NoTable {
            name: name.to_owned(),
            near: did_you_mean(name, self.entries.values().map(Entry::name)).map(str::to_owned),
        }
    }

    /// Adds a function of rows, in place of another one of its name.
    pub fn add_function(&mut self, function: ScalarUDF) {
        let name = function.name().to_lowercase();
        self.functions.insert(name, Arc::new(function));
    }

    /// A function that was added.
    pub(crate) fn function(&self, name: &str) -> Option<&Arc<ScalarUDF>> {
        self.functions.get(name)
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}
