//! One random test: tables, a query as a tree that can lose branches, rows in steps, restarts.

use millstream_types::OutputMode;

use super::{
    call::Call,
    expr::{Column, Dialect, Expr, Predicate, Type, literal},
};
use crate::script::{KillPoint, Value};

/// The names of the tables, in order.
pub const TABLES: [&str; 2] = ["a", "b"];

/// One row of a table: a value for each of [`Column::ALL`].
pub type Row = Vec<Value>;

/// A query with everything that happens to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// For each table of [`TABLES`] the delay of its watermark in seconds, if it has one.
    pub delays: [Option<i64>; 2],
    /// The query.
    pub query: Query,
    /// Its output mode.
    pub mode: OutputMode,
    /// What comes in, step by step.
    pub steps: Vec<Step>,
    /// How many workers it begins with.
    pub workers: usize,
    /// Whether workers hand batches to each other as bytes.
    pub bytes: bool,
    /// Whether a moved watermark gets an epoch of its own.
    pub no_data_epochs: bool,
    /// Whether the fastest of several watermarks counts, and not the slowest.
    pub fastest: bool,
    /// Whether late rows are kept in a table of their own.
    pub keeps_late: bool,
}

/// What happens before the engine is run until it is idle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// A kill before the rows come, or at a step of their epoch.
    pub restart: Option<Restart>,
    /// Rows with the index of their table.
    pub rows: Vec<(usize, Row)>,
}

/// A kill and what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Workers of the next start.
    pub workers: usize,
    /// At once, or after this step of the next epoch.
    pub after: Option<KillPoint>,
}

/// `SELECT … FROM branches WHERE filters …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The inputs, joined by UNION ALL.
    pub branches: Vec<Branch>,
    /// Whether a single branch is written as a subquery all the same.
    pub nested: bool,
    /// Whether the subquery adds a second to the time, which costs it its watermark.
    pub shifted: bool,
    /// Conditions above the union.
    pub filters: Vec<Predicate>,
    /// What becomes of the rows.
    pub shape: Shape,
    /// Which rows of the result are let through, and in which order.
    pub top: Option<Top>,
}

/// `ORDER BY … LIMIT … OFFSET …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Columns of the result by number.
    pub order: Vec<Order>,
    /// How many rows.
    pub limit: Option<usize>,
    /// How many before them are left out.
    pub offset: usize,
}

/// A column of an ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number in the result.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
}

/// One input of the union.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Index of the table.
    pub table: usize,
    /// Conditions below the union.
    pub filters: Vec<Predicate>,
    /// Columns that are computed anew.
    pub computed: Vec<(Column, Expr)>,
    /// An aggregation, whose result is the input then.
    pub inner: Option<Inner>,
}

/// An aggregation in a branch. Its result has the columns of a table, so that anything can stand above.
#[derive(Clone, Debug, PartialEq)]
pub struct Inner {
    /// Windows of this length in seconds; their last microsecond is the time of the result.
    pub window: Option<i64>,
    /// The other keys, which keep their names.
    pub keys: Vec<Column>,
    /// What all other columns are, with their names.
    pub calls: Vec<(Column, Call)>,
}

impl Inner {
    /// Whether the event time is among its keys.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.window.is_some() || self.keys.contains(&Column::Time)
    }

    /// Whether a column of the result is a key.
    #[must_use]
    pub fn is_key(&self, column: Column) -> bool {
        self.keys.contains(&column) || (column == Column::Time && self.window.is_some())
    }

    /// The call that gives a column.
    #[must_use]
    pub fn call(&self, column: Column) -> Option<&Call> {
        let mut calls = self.calls.iter();
        let call = calls.find(|(name, _)| *name == column && !self.is_key(column));
        call.map(|(_, call)| call)
    }
}

/// What becomes of the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Each is projected.
    Rows(Vec<Expr>),
    /// Each different projection once.
    Distinct(Vec<Expr>),
    /// They are aggregated.
    Groups(Groups),
}

/// GROUP BY.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// The time among the keys.
    pub time: TimeKey,
    /// The other keys.
    pub keys: Vec<Expr>,
    /// What is computed.
    pub calls: Vec<Call>,
    /// A condition on the call of this index.
    pub having: Option<Having>,
}

/// The time among the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeKey {
    /// None.
    None,
    /// The time itself.
    Instant,
    /// Windows, in seconds; sliding where `slide` is less than `length`.
    Window {
        /// How long.
        length: i64,
        /// How far apart they begin.
        slide: i64,
        /// Where the first begins.
        start: i64,
        /// Which fields of the window are shown.
        shown: WindowField,
    },
    /// Sessions.
    Session {
        /// How long after its last row a session ends.
        gap: Gap,
        /// Which fields of the session are shown.
        shown: WindowField,
    },
    /// Every so many rows of a key, in the order of the input.
    Counted(i64),
}

impl TimeKey {
    /// Whether the event time is part of the key.
    #[must_use]
    pub fn is_time(self) -> bool {
        match self {
            TimeKey::None | TimeKey::Counted(_) => false,
            TimeKey::Instant | TimeKey::Window { .. } | TimeKey::Session { .. } => true,
        }
    }

    /// What of a window is shown, where there are windows in time.
    #[must_use]
    pub fn shown(self) -> Option<WindowField> {
        match self {
            TimeKey::None | TimeKey::Counted(_) | TimeKey::Instant => None,
            TimeKey::Window { shown, .. } | TimeKey::Session { shown, .. } => Some(shown),
        }
    }
}

/// How long after its last row a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// So many seconds.
    Seconds(i64),
    /// It depends on the row.
    ByRow,
}

impl Gap {
    /// Its text: an interval for the engine, microseconds for the oracle.
    #[must_use]
    pub fn sql(self, dialect: Dialect) -> String {
        let seconds = |seconds: i64| match dialect {
            Dialect::Spark => format!("'{seconds} seconds'"),
            Dialect::Plain => format!("CAST({} AS BIGINT)", seconds * 1_000_000),
        };
        match self {
            Gap::Seconds(length) => seconds(length),
            Gap::ByRow => format!(
                "CASE WHEN f THEN {} WHEN k = 3 THEN NULL WHEN k > 0 THEN {} WHEN k = 0 THEN {} \
                 ELSE {} END",
                seconds(5),
                seconds(12),
                seconds(0),
                seconds(3)
            ),
        }
    }
}

/// What of a window is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowField {
    /// `window(…).start`.
    Start,
    /// `window(…).end`.
    End,
    /// The struct of both.
    Both,
}

/// A condition on a computed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Having {
    /// `call op literal`.
    Compare(usize, &'static str, Value),
    /// `call IS NULL`.
    Null(usize),
    /// `key op literal`.
    Key(usize, &'static str, Value),
}

impl Having {
    /// The index of its call, if it looks at one.
    #[must_use]
    pub fn call(&self) -> Option<usize> {
        match self {
            Having::Compare(call, ..) | Having::Null(call) => Some(*call),
            Having::Key(..) => None,
        }
    }
}

impl Groups {
    /// Whether there is one group, whatever comes.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.time == TimeKey::None && self.keys.is_empty() && !self.calls.is_empty()
    }

    /// A condition on a key: a filter of rows, written above the groups.
    #[must_use]
    pub fn key_condition(&self, dialect: Dialect) -> Option<String> {
        let Some(Having::Key(idx, op, value)) = &self.having else {
            return None;
        };
        let key = self.keys.get(*idx)?;
        Some(format!(
            "{} {op} {}",
            key.sql(dialect),
            literal(key.ty(), value, dialect)
        ))
    }
}

impl Case {
    /// Whether a branch's table has a watermark that its time still carries.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        let has_mark = |branch: &Branch| {
            self.delays[branch.table].is_some() && branch.inner.as_ref().is_none_or(Inner::is_timed)
        };
        !self.query.shifted && self.query.branches.iter().all(has_mark)
    }

    /// The groups, if it aggregates.
    #[must_use]
    pub fn groups(&self) -> Option<&Groups> {
        if let Shape::Groups(groups) = &self.query.shape {
            Some(groups)
        } else {
            None
        }
    }

    /// The tables that the query reads.
    #[must_use]
    pub fn tables(&self) -> Vec<usize> {
        let reads = |table: &usize| self.query.branches.iter().any(|one| one.table == *table);
        (0..TABLES.len()).filter(reads).collect()
    }

    /// Whether the engine has an epoch with data in this step.
    #[must_use]
    pub fn has_data(&self, step: usize) -> bool {
        self.steps[step]
            .rows
            .iter()
            .any(|(table, _)| self.tables().contains(table))
    }

    /// The types of the result's columns.
    #[must_use]
    pub fn types(&self) -> Vec<Type> {
        match &self.query.shape {
            Shape::Rows(items) | Shape::Distinct(items) => items.iter().map(Expr::ty).collect(),
            Shape::Groups(groups) => {
                let time = match (groups.time, groups.time.shown()) {
                    (TimeKey::None, _) => None,
                    (TimeKey::Counted(_), _) => Some(Type::Long),
                    (_, Some(WindowField::Both)) => Some(Type::Window),
                    (TimeKey::Instant | TimeKey::Window { .. } | TimeKey::Session { .. }, _) => {
                        Some(Type::Time)
                    }
                };
                let keys = groups.keys.iter().map(Expr::ty);
                time.into_iter()
                    .chain(keys)
                    .chain(groups.calls.iter().map(Call::ty))
                    .collect()
            }
        }
    }

    /// How many of the result's columns, from the first, name a group.
    #[must_use]
    pub fn key_columns(&self) -> usize {
        self.groups().map_or(0, |groups| {
            usize::from(groups.time != TimeKey::None) + groups.keys.len()
        })
    }
}

impl Branch {
    /// Adds the columns of the table that a column of the branch is made of.
    fn columns_for(&self, column: Column, used: &mut Vec<Column>) {
        if let Some(call) = self.inner.as_ref().and_then(|inner| inner.call(column)) {
            return call.columns(used);
        }
        let mut computed = self.computed.iter();
        match computed.find(|(computed, _)| *computed == column) {
            Some((_, expr)) if self.inner.is_none() => expr.columns(used),
            _ => used.push(column),
        }
    }
}

impl Query {
    /// Whether the branches stand in a subquery.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        let computes = |branch: &Branch| !branch.computed.is_empty();
        let is_one = self.branches.len() == 1;
        self.nested
            || self.shifted
            || !is_one
            || self.is_chained()
            || self.branches.iter().any(computes)
    }

    /// Whether a branch is an aggregation itself.
    #[must_use]
    pub fn is_chained(&self) -> bool {
        self.branches.iter().any(|branch| branch.inner.is_some())
    }

    /// Whether the rows have the order of one table.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.branches.len() == 1 && !self.is_chained()
    }

    /// The columns that are used above the branches; the time is always among them.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let mut used = vec![Column::Time];
        self.filters
            .iter()
            .for_each(|filter| filter.columns(&mut used));
        match &self.shape {
            Shape::Rows(items) | Shape::Distinct(items) => {
                items.iter().for_each(|item| item.columns(&mut used));
            }
            Shape::Groups(groups) => {
                groups.keys.iter().for_each(|key| key.columns(&mut used));
                groups.calls.iter().for_each(|call| call.columns(&mut used));
                if let TimeKey::Session {
                    gap: Gap::ByRow, ..
                } = groups.time
                {
                    used.extend([Column::Bool, Column::Int]);
                }
            }
        }
        in_order(&used)
    }

    /// The columns of a table that the query needs.
    #[must_use]
    pub fn table_columns(&self, table: usize) -> Vec<Column> {
        let mut used = vec![Column::Time];
        for branch in self.branches.iter().filter(|branch| branch.table == table) {
            branch
                .filters
                .iter()
                .for_each(|filter| filter.columns(&mut used));
            for column in self.columns() {
                branch.columns_for(column, &mut used);
            }
            let keys = branch.inner.iter().flat_map(|inner| &inner.keys);
            used.extend(keys.copied());
        }
        in_order(&used)
    }
}

fn in_order(used: &[Column]) -> Vec<Column> {
    Column::ALL
        .into_iter()
        .filter(|column| used.contains(column))
        .collect()
}
