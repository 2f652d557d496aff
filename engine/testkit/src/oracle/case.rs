//! One random test: tables, a query as a tree that can lose branches, rows in steps, restarts.

use millstream_types::OutputMode;

use super::expr::{Call, Column, Expr, Predicate, Type};
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
}

impl Having {
    /// The index of its call.
    #[must_use]
    pub fn call(&self) -> usize {
        match self {
            Having::Compare(call, ..) | Having::Null(call) => *call,
        }
    }
}

impl Case {
    /// Whether a branch's table has a watermark that its time still carries.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        let has_mark = |branch: &Branch| self.delays[branch.table].is_some();
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
                let time = match groups.time {
                    TimeKey::None => None,
                    TimeKey::Window {
                        shown: WindowField::Both,
                        ..
                    } => Some(Type::Window),
                    TimeKey::Instant | TimeKey::Window { .. } => Some(Type::Time),
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

impl Query {
    /// Whether the branches stand in a subquery.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        let computes = |branch: &Branch| !branch.computed.is_empty();
        self.nested || self.shifted || self.branches.len() > 1 || self.branches.iter().any(computes)
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
                match branch
                    .computed
                    .iter()
                    .find(|(computed, _)| *computed == column)
                {
                    Some((_, expr)) => expr.columns(&mut used),
                    None => used.push(column),
                }
            }
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
