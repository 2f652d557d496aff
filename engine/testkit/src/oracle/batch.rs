//! The same query over the accepted rows, in plain DataFusion.
//!
//! Nothing of the engine's planner or operators takes part: times are whole microseconds, windows come
//! from the model as two numbers beside each row, and one query answers for all prefixes of the input.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    datasource::MemTable,
    error::DataFusionError,
    prelude::{SessionConfig, SessionContext},
};
use tokio::runtime::Runtime;

use super::{
    case::{Case, Groups, Row, Shape, TABLES, TimeKey, WindowField},
    expr::{Column, Dialect, Type},
    member::Member,
    model::{Arrival, Outcome},
    plain,
};
use crate::script::{Value, rows_of_batch};

/// What the oracle answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Projected rows with their steps.
    Rows(Vec<(usize, Row)>),
    /// Groups after each step.
    Groups(Vec<Group>),
}

/// A group of an aggregation below another, as it is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below {
    /// After which step.
    pub after: usize,
    /// The mark that closes it.
    pub closed_by: Option<i64>,
}

/// A group as it is after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// After which step.
    pub after: usize,
    /// The last step in which a row changed it; `None` where no row ever did.
    pub touched: Option<usize>,
    /// The mark that closes it.
    pub closed_by: Option<i64>,
    /// Whether HAVING lets it through.
    pub shown: bool,
    /// The row.
    pub values: Row,
}

/// DataFusion with the tables of one case.
pub struct Batch<'a> {
    case: &'a Case,
    context: SessionContext,
    runtime: &'a Runtime,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    /// Puts the rows of a case into tables.
    ///
    /// # Errors
    /// Never for a case of the grammar.
    pub fn new(case: &'a Case, runtime: &'a Runtime) -> Result<Batch<'a>, DataFusionError> {
        let mut config = SessionConfig::new().with_target_partitions(1);
        // It finds CASE expressions that cannot be NULL in one plan and not in the other.
        config
            .options_mut()
            .execution
            .skip_physical_aggregate_schema_check = true;
        let batch = Batch {
            case,
            context: SessionContext::new_with_config(config),
            runtime,
        };
        for table in case.tables() {
            let columns = case.query.table_columns(table);
            let rows: Vec<&Row> = rows_of(case, table).map(|(_, row)| row).collect();
            let mut fields: Vec<(&str, ArrayRef)> = columns
                .iter()
                .map(|column| (column.name(), array(*column, &rows, Dialect::Plain)))
                .collect();
            let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            fields.push(("r_", Arc::new(Int64Array::from_iter_values(0..count))));
            batch.register(TABLES[table], fields)?;
        }
        Ok(batch)
    }

    fn register(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Result<(), DataFusionError> {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        self.context.register_table(name, Arc::new(table)).map(drop)
    }

    fn ask(&self, sql: &str) -> Result<Vec<Row>, DataFusionError> {
        let collect = async { self.context.sql(sql).await?.collect().await };
        let batches = self.runtime.block_on(collect);
        let batches = batches.map_err(|error| error.context(sql.to_owned()))?;
        Ok(batches.iter().flat_map(rows_of_batch).collect())
    }

    /// Which rows reach the watermark and the aggregation on which path.
    ///
    /// # Errors
    /// When DataFusion fails.
    pub fn arrivals(&self) -> Result<Vec<Arrival>, DataFusionError> {
        let query = &self.case.query;
        let steps: Vec<Vec<usize>> = (0..TABLES.len())
            .map(|table| rows_of(self.case, table).map(|(step, _)| step).collect())
            .collect();
        let arrival = |row: Row| {
            let branch = index(&row[0]);
            let table = query.branches[branch].table;
            Arrival {
                branch,
                row: i64::try_from(index(&row[1])).unwrap_or(-1),
                step: steps[table][index(&row[1])],
                time: micros(&row[2]),
                seen: row[3] == Value::Bool(true),
                counted: row[4] == Value::Bool(true),
                key: micros(&row[5]).unwrap_or(0),
                gap: micros(&row[6]),
            }
        };
        Ok(self
            .ask(&plain::arrivals(self.case))?
            .into_iter()
            .map(arrival)
            .collect())
    }

    /// The result over the rows that the model accepts, after each step.
    ///
    /// # Errors
    /// When DataFusion fails.
    pub fn answer(&self, outcome: &Outcome) -> Result<Answer, DataFusionError> {
        self.register("m_", members(&outcome.members))?;
        let types = self.case.types();
        match &self.case.query.shape {
            Shape::Rows(items) if self.case.query.is_chained() => {
                let rows = self.ask(&plain::rows(self.case, items))?.into_iter();
                let group = |row: Row| Group {
                    after: index(&row[0]),
                    touched: None,
                    closed_by: None,
                    shown: true,
                    values: typed(&row[1..], &types),
                };
                Ok(Answer::Groups(rows.map(group).collect()))
            }
            Shape::Rows(items) => {
                let row = |row: Row| (index(&row[0]), typed(&row[1..], &types));
                let rows = self.ask(&plain::rows(self.case, items))?.into_iter();
                Ok(Answer::Rows(rows.map(row).collect()))
            }
            Shape::Distinct(items) => {
                let groups = Groups {
                    time: TimeKey::None,
                    keys: items.clone(),
                    calls: Vec::new(),
                    having: None,
                };
                self.groups(&groups)
            }
            Shape::Groups(groups) => self.groups(groups),
        }
    }

    /// The groups of aggregations below, which are held, too. To be asked after [`Batch::answer`].
    ///
    /// # Errors
    /// When DataFusion fails.
    pub fn below(&self) -> Result<Vec<Below>, DataFusionError> {
        let mut all = Vec::new();
        for sql in plain::below(self.case) {
            all.extend(self.ask(&sql)?.into_iter().map(|row| Below {
                after: index(&row[0]),
                closed_by: micros(&row[1]),
            }));
        }
        Ok(all)
    }

    /// The rows that were dropped as late, with their steps.
    ///
    /// # Errors
    /// When DataFusion fails.
    pub fn dropped(&self, outcome: &Outcome) -> Result<Vec<(usize, Row)>, DataFusionError> {
        let column = |of: &dyn Fn(&(usize, i64, usize)) -> i64| {
            Arc::new(
                outcome
                    .dropped
                    .iter()
                    .map(|row| Some(of(row)))
                    .collect::<Int64Array>(),
            ) as ArrayRef
        };
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let columns = vec![
            ("db_", column(&|row| number(row.0))),
            ("dr_", column(&|row| row.1)),
            ("de_", column(&|row| number(row.2))),
        ];
        self.register("d_", columns)?;
        let used = self.case.query.columns();
        let types: Vec<Type> = used.iter().map(|column| column.ty()).collect();
        let row = |row: Row| (index(&row[0]), typed(&row[1..], &types));
        let rows = self.ask(&plain::dropped(&self.case.query))?.into_iter();
        Ok(rows.map(row).collect())
    }

    fn groups(&self, groups: &Groups) -> Result<Answer, DataFusionError> {
        let slides = match groups.time {
            TimeKey::Window { length, slide, .. } => length / slide + 1,
            TimeKey::None | TimeKey::Instant | TimeKey::Session { .. } | TimeKey::Counted(_) => 1,
        };
        let numbers = Int64Array::from_iter_values(0..slides);
        self.register("o_", vec![("n_", Arc::new(numbers))])?;
        let types = self.case.types();
        let group = |row: Row| group(&row, groups, &types);
        let text = plain::groups(self.case, groups);
        let mut answer: Vec<Group> = self.ask(&text)?.into_iter().map(group).collect();
        if groups.is_global() {
            // Without keys there is one row, also over nothing.
            let of_nothing: Vec<Row> = self.ask(&plain::nothing(self.case, groups))?;
            for after in 0..self.case.steps.len() {
                if answer.iter().all(|group| group.after != after) {
                    let rows = of_nothing
                        .iter()
                        .map(|row| self::group(row, groups, &types));
                    answer.extend(rows.map(|row| Group {
                        after,
                        touched: None,
                        ..row
                    }));
                }
            }
        }
        Ok(Answer::Groups(answer))
    }
}

/// The rows of a table with their steps, in the order in which they come.
fn rows_of(case: &Case, table: usize) -> impl Iterator<Item = (usize, &Row)> {
    case.steps.iter().enumerate().flat_map(move |(step, it)| {
        it.rows
            .iter()
            .filter(move |(of, _)| *of == table)
            .map(move |(_, row)| (step, row))
    })
}

fn index(value: &Value) -> usize {
    if let Value::Int(number) = value {
        usize::try_from(*number).unwrap_or(0)
    } else {
        0
    }
}

fn group(row: &[Value], groups: &Groups, types: &[Type]) -> Group {
    let mut cells = Vec::new();
    match (groups.time, groups.time.shown()) {
        (TimeKey::None, _) => {}
        (TimeKey::Instant, _) => cells.push(row[4].clone()),
        (TimeKey::Counted(_), _) | (_, Some(WindowField::Start)) => cells.push(row[2].clone()),
        (_, Some(WindowField::End)) => cells.push(row[3].clone()),
        (TimeKey::Window { .. } | TimeKey::Session { .. }, _) => {
            let field = |name: &str, value| (name.to_owned(), time(value));
            let fields = vec![field("start", &row[2]), field("end", &row[3])];
            cells.push(Value::Struct(fields));
        }
    }
    cells.extend_from_slice(&row[6..]);
    Group {
        after: index(&row[0]),
        touched: micros(&row[1]).and_then(|step| usize::try_from(step).ok()),
        closed_by: micros(&row[4]),
        shown: row[5] == Value::Bool(true),
        values: typed(&cells, types),
    }
}

fn micros(value: &Value) -> Option<i64> {
    if let Value::Int(micros) = value {
        i64::try_from(*micros).ok()
    } else {
        None
    }
}

/// Microseconds as a time.
fn time(value: &Value) -> Value {
    if let Value::Int(micros) = value {
        Value::Timestamp(micros * 1_000)
    } else {
        value.clone()
    }
}

fn typed(row: &[Value], types: &[Type]) -> Row {
    let cells = row.iter().zip(types);
    cells
        .map(|(value, ty)| {
            if *ty == Type::Time {
                time(value)
            } else {
                value.clone()
            }
        })
        .collect()
}

/// Each member once for each step after which it is in its group.
fn members(members: &[Member]) -> Vec<(&'static str, ArrayRef)> {
    let mut columns: [Vec<Option<i64>>; 6] = Default::default();
    let number = |number: usize| i64::try_from(number).ok();
    for member in members {
        for after in member.during.clone() {
            let (start, end) = member.window.unzip();
            let cells = [
                number(after),
                number(member.step),
                number(member.branch),
                Some(member.row),
                start,
                end,
            ];
            columns
                .iter_mut()
                .zip(cells)
                .for_each(|(column, cell)| column.push(cell));
        }
    }
    let names = ["p_", "e_", "mb_", "mr_", "ws_", "we_"];
    let array = |column| Arc::new(Int64Array::from(column)) as ArrayRef;
    names.into_iter().zip(columns.map(array)).collect()
}

/// A column of rows for the engine or for the oracle.
#[must_use]
pub fn array(column: Column, rows: &[&Row], dialect: Dialect) -> ArrayRef {
    let values = rows.iter().map(|row| &row[column.position()]);
    match column {
        Column::Time if dialect == Dialect::Plain => {
            Arc::new(values.map(time_of).collect::<Int64Array>())
        }
        Column::Time => {
            let times: TimestampMicrosecondArray = values.map(time_of).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        Column::Int => Arc::new(values.map(int::<i32>).collect::<Int32Array>()),
        Column::Long => Arc::new(values.map(int::<i64>).collect::<Int64Array>()),
        Column::Decimal => {
            let decimals: Decimal128Array = values.map(digits).collect();
            Arc::new(decimals.with_data_type(DataType::Decimal128(10, 2)))
        }
        Column::Double => {
            // One zero and no sign: Spark's rule for keys and comparisons.
            let zero = if dialect == Dialect::Plain { 0.0 } else { -0.0 };
            let doubles = values.map(|value| double(value).map(|number| number + zero));
            Arc::new(doubles.collect::<Float64Array>())
        }
        Column::Text => Arc::new(values.map(string).collect::<StringArray>()),
        Column::Bool => Arc::new(values.map(boolean).collect::<BooleanArray>()),
    }
}

fn time_of(value: &Value) -> Option<i64> {
    let Value::Timestamp(nanos) = value else {
        return None;
    };
    i64::try_from(nanos.div_euclid(1_000)).ok()
}

fn int<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let Value::Int(number) = value else {
        return None;
    };
    T::try_from(*number).ok()
}

fn digits(value: &Value) -> Option<i128> {
    let Value::Decimal(digits, _) = value else {
        return None;
    };
    digits.to_i128()
}

fn double(value: &Value) -> Option<f64> {
    let Value::Float(number) = value else {
        return None;
    };
    Some(*number)
}

fn string(value: &Value) -> Option<&str> {
    let Value::Text(text) = value else {
        return None;
    };
    Some(text)
}

fn boolean(value: &Value) -> Option<bool> {
    let Value::Bool(value) = value else {
        return None;
    };
    Some(*value)
}
