//! `na`: what happens to nulls.

use arrow::datatypes::{DataType, Field};
use millstream_sql::{
    Column,
    column::{Literal, call_function, col, lit, when},
};

use crate::{
    dataframe::{DataFrame, same_name},
    error::{Error, Result},
};

/// Handling of nulls; see [`DataFrame::na`]. An empty list of columns is all of them.
#[derive(Clone, Copy, Debug)]
pub struct NaFunctions<'f> {
    frame: &'f DataFrame,
}

/// A constant with which nulls of columns of its kind may be filled.
pub trait Fill: Literal + Clone {
    /// Whether it may stand in a column of this type.
    fn fits(data_type: &DataType) -> bool;
}

macro_rules! fills {
    ($($value:ty, $fits:expr;)*) => {
        $(impl Fill for $value {
            fn fits(data_type: &DataType) -> bool {
                let fits: fn(&DataType) -> bool = $fits;
                fits(data_type)
            }
        })*
    };
}

fills! {
    i32, DataType::is_numeric;
    i64, DataType::is_numeric;
    f64, DataType::is_numeric;
    bool, |data_type| *data_type == DataType::Boolean;
    &str, DataType::is_string;
    String, DataType::is_string;
}

impl<'f> NaFunctions<'f> {
    pub(crate) fn new(frame: &'f DataFrame) -> NaFunctions<'f> {
        NaFunctions { frame }
    }

    /// Rows of which none of the columns is null.
    ///
    /// # Errors
    /// Unknown columns.
    pub fn drop(&self, columns: &[&str]) -> Result<DataFrame> {
        let columns = self.names(columns)?;
        self.drop_below(columns.len(), &columns)
    }

    /// Rows of which at least one of the columns is not null.
    ///
    /// # Errors
    /// Unknown columns.
    pub fn drop_all_null(&self, columns: &[&str]) -> Result<DataFrame> {
        let columns = self.names(columns)?;
        self.drop_below(1, &columns)
    }

    /// Rows of which at least `least` of the columns are not null.
    ///
    /// # Errors
    /// Unknown columns.
    pub fn drop_fewer_than(&self, least: usize, columns: &[&str]) -> Result<DataFrame> {
        let columns = self.names(columns)?;
        self.drop_below(least, &columns)
    }

    fn drop_below(&self, least: usize, columns: &[String]) -> Result<DataFrame> {
        let there = |name: &String| call_function("isnotnull", [column(name)]);
        if least == columns.len() {
            let all = columns.iter().map(there).reduce(Column::and);
            return match all {
                Some(all) => self.frame.filter(all),
                None => Ok(self.frame.clone()),
            };
        }
        let counted = columns
            .iter()
            .map(|name| when(there(name), lit(1)).otherwise(lit(0)));
        let least = i64::try_from(least).unwrap_or(i64::MAX);
        match counted.reduce(|count, one| count + one) {
            Some(count) => self.frame.filter(count.gt_eq(lit(least))),
            None => Ok(self.frame.clone()),
        }
    }

    /// A value in place of nulls, in those of the columns that are of its kind.
    ///
    /// # Errors
    /// Unknown columns.
    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    pub fn fill<V: Fill>(&self, value: V, columns: &[&str]) -> Result<DataFrame> {
        self.replaced::<V>(columns, |name, field| {
            let value =
                lit(value.clone()).cast(&millstream_sql::types::spark_name(field.data_type()));
            call_function("coalesce", [column(name), value])
        })
    }

    /// Values in place of others, in those of the columns that are of their kind.
    ///
    /// # Errors
    /// Unknown columns.
    pub fn replace<V: Fill>(&self, values: &[(V, V)], columns: &[&str]) -> Result<DataFrame> {
        self.replaced::<V>(columns, |name, field| {
            let data_type = millstream_sql::types::spark_name(field.data_type());
            let cases = values
                .iter()
                .fold(None, |cases: Option<Column>, (old, new)| {
                    let is_old = column(name).eq_null_safe(lit(old.clone()));
                    let new = lit(new.clone()).cast(&data_type);
                    Some(match cases {
                        None => when(is_old, new),
                        Some(cases) => cases.when(is_old, new),
                    })
                });
            match cases {
                Some(cases) => cases.otherwise(column(name)),
                None => column(name),
            }
        })
    }

    fn replaced<V: Fill>(
        &self,
        columns: &[&str],
        value: impl Fn(&str, &Field) -> Column,
    ) -> Result<DataFrame> {
        let names = self.names(columns)?;
        let schema = self.frame.schema();
        let fields = schema.fields().iter();
        let replaced: Vec<(&str, Column)> = fields
            .filter(|field| V::fits(field.data_type()) && names.contains(field.name()))
            .map(|field| (field.name().as_str(), value(field.name(), field)))
            .collect();
        self.frame.with_columns(replaced)
    }

    /// The columns as the frame spells them.
    fn names(&self, columns: &[&str]) -> Result<Vec<String>> {
        let known = self.frame.columns();
        if columns.is_empty() {
            return Ok(known);
        }
        let spelled = columns.iter().map(|wanted| {
            let found = known.iter().find(|name| same_name(name, wanted));
            found.cloned().ok_or_else(|| Error::BadValue {
                what: "column",
                value: (*wanted).to_owned(),
            })
        });
        spelled.collect()
    }
}

/// A column of just this name, whatever letters are in it.
fn column(name: &str) -> Column {
    col(&format!("`{name}`"))
}

impl DataFrame {
    /// Handling of nulls.
    #[must_use]
    pub fn na(&self) -> NaFunctions<'_> {
        NaFunctions::new(self)
    }
}
