//! `GroupedData`: rows in groups, waiting for aggregates.

use millstream_sql::{
    Column, Grouping,
    column::{call_function, col, count_all},
};

use crate::{dataframe::DataFrame, error::Result};

/// Rows in groups, waiting for aggregates.
#[derive(Clone, Debug)]
pub struct GroupedData {
    frame: DataFrame,
    grouping: Grouping,
    keys: Vec<Column>,
}

impl GroupedData {
    pub(crate) fn new(
        frame: &DataFrame,
        grouping: Grouping,
        keys: impl Iterator<Item = Column>,
    ) -> GroupedData {
        GroupedData {
            frame: frame.clone(),
            grouping,
            keys: keys.collect(),
        }
    }

    /// One row a group with these aggregates, behind the keys.
    ///
    /// # Errors
    /// Unknown columns, types that do not fit.
    pub fn agg<C: Into<Column>>(
        &self,
        aggregates: impl IntoIterator<Item = C>,
    ) -> Result<DataFrame> {
        let aggregates = aggregates.into_iter().map(Into::into).collect();
        self.frame
            .grouped((self.grouping, self.keys.clone()), aggregates)
    }

    /// The number of rows of each group, as column `count`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn count(&self) -> Result<DataFrame> {
        self.agg([count_all().alias("count")])
    }

    fn each(&self, columns: &[&str], function: &str) -> Result<DataFrame> {
        let aggregates = columns.iter().map(|column| {
            let name = format!("{function}({column})");
            call_function(function, [col(column)]).alias(&name)
        });
        self.agg(aggregates)
    }

    /// Sums, as columns `sum(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn sum(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "sum")
    }

    /// Means, as columns `avg(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn avg(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "avg")
    }

    /// Least values, as columns `min(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn min(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "min")
    }

    /// Greatest values, as columns `max(column)`.
    ///
    /// # Errors
    /// As [`agg`](GroupedData::agg).
    pub fn max(&self, columns: &[&str]) -> Result<DataFrame> {
        self.each(columns, "max")
    }
}

impl DataFrame {
    /// Groups rows by expressions, such as [`window`](crate::functions::window).
    #[must_use]
    pub fn group_by<C: Into<Column>>(&self, keys: impl IntoIterator<Item = C>) -> GroupedData {
        GroupedData::new(self, Grouping::Keys, keys.into_iter().map(Into::into))
    }

    /// Groups by all keys, by all but the last, … and by none.
    #[must_use]
    pub fn rollup<C: Into<Column>>(&self, keys: impl IntoIterator<Item = C>) -> GroupedData {
        GroupedData::new(self, Grouping::Rollup, keys.into_iter().map(Into::into))
    }

    /// Groups by each choice of keys.
    #[must_use]
    pub fn cube<C: Into<Column>>(&self, keys: impl IntoIterator<Item = C>) -> GroupedData {
        GroupedData::new(self, Grouping::Cube, keys.into_iter().map(Into::into))
    }

    /// Aggregates over all rows.
    ///
    /// # Errors
    /// As [`GroupedData::agg`].
    pub fn agg<C: Into<Column>>(
        &self,
        aggregates: impl IntoIterator<Item = C>,
    ) -> Result<DataFrame> {
        self.group_by::<Column>([]).agg(aggregates)
    }
}
