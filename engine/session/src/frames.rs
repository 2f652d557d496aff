//! Frames of a session: over tables, texts and rows.

use arrow::array::RecordBatch;
use millstream_sql::{QueryText, TableMode, catalog::Entry};

use crate::{
    batch::rows_table,
    dataframe::DataFrame,
    error::{Error, Result},
    reader::{DataFrameReader, DataStreamReader},
    session::Session,
};

impl Session {
    /// Reads something that grows.
    #[must_use]
    pub fn read_stream(&self) -> DataStreamReader {
        DataStreamReader::new(self.clone(), TableMode::Stream)
    }

    /// Reads something as it is when a query runs.
    #[must_use]
    pub fn read(&self) -> DataFrameReader {
        DataFrameReader::new(self.clone(), TableMode::Batch)
    }

    /// A frame of these rows.
    ///
    /// # Errors
    /// Batches with other columns than the first; no batch at all.
    pub fn create_data_frame(&self, rows: Vec<RecordBatch>) -> Result<DataFrame> {
        let Some(first) = rows.first() else {
            return Err(Error::BadValue {
                what: "row of a frame: its columns are not known",
                value: "[]".to_owned(),
            });
        };
        let table = rows_table(&first.schema(), rows)?;
        let plan = self.inner.planner.scan(&table)?;
        Ok(DataFrame::new(self.clone(), plan))
    }

    /// A frame over a table or view.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot be read.
    pub fn table(&self, name: &str) -> Result<DataFrame> {
        let plan = match self.catalog().get(name)? {
            Entry::Table(table) => self.inner.planner.scan(table)?,
            Entry::View { plan, .. } => plan.as_ref().clone(),
            _ => {
                return Err(Error::NotYet {
                    what: "this kind of table",
                });
            }
        };
        Ok(DataFrame::new(self.clone(), plan))
    }

    /// A frame over a query text.
    ///
    /// # Errors
    /// Errors of syntax, names and types, with their place in the text.
    pub fn sql(&self, query: &str) -> Result<DataFrame> {
        let query = QueryText::new(query)?;
        let plan = self.inner.planner.logical(&self.catalog(), &query)?;
        Ok(DataFrame::new(self.clone(), plan))
    }
}
