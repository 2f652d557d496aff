//! Aggregate functions of random queries, and their text in two dialects.
//!
//! For the oracle FILTER, NaN, halves and the order of the input are spelt out.

use std::fmt::Write as _;

use arrow::datatypes::i256;

use super::expr::{Column, Dialect, Expr, Predicate, Type, literal};
use crate::script::Value;

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `count(*)`.
    CountAll,
    /// `count(x)`.
    Count,
    /// `sum(x)`.
    Sum,
    /// `min(x)`.
    Min,
    /// `max(x)`.
    Max,
    /// `avg(x)`.
    Avg,
    /// `count(DISTINCT x)`.
    CountDistinct,
    /// `sum(DISTINCT x)`.
    SumDistinct,
    /// `avg(DISTINCT x)`.
    AvgDistinct,
    /// `median(x)`.
    Median,
    /// `stddev_pop(x)`.
    StddevPop,
    /// `stddev_samp(x)`.
    StddevSamp,
    /// `bool_and(x)`.
    BoolAnd,
    /// `bool_or(x)`.
    BoolOr,
    /// `count_if(x)`.
    CountIf,
    /// `collect_list(x)`, in the order of the input.
    List,
    /// `collect_list(x)` over rows that have no order: sorted on both sides.
    SortedList,
    /// `sort_array(collect_set(x))`.
    Set,
    /// `first(x)`.
    First,
    /// `last(x)`.
    Last,
    /// `first(x, true)`.
    FirstValue,
    /// `last(x, true)`.
    LastValue,
}

/// A call of an aggregate function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which.
    pub function: Function,
    /// Of what; not looked at by `count(*)`.
    pub argument: Expr,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Predicate>,
    /// Whether a constant stands in for NULL.
    pub or_zero: bool,
}

impl Function {
    /// Whether it looks at each different value once, which only mode `changes` allows.
    #[must_use]
    pub fn is_distinct(self) -> bool {
        matches!(
            self,
            Function::CountDistinct | Function::SumDistinct | Function::AvgDistinct
        )
    }

    /// The same over all values instead of each different one.
    #[must_use]
    pub fn over_all(self) -> Function {
        if self == Function::CountDistinct {
            Function::Count
        } else if self == Function::SumDistinct {
            Function::Sum
        } else {
            Function::Avg
        }
    }

    /// Whether it is never NULL.
    #[must_use]
    pub fn is_total(self) -> bool {
        matches!(
            self,
            Function::CountAll
                | Function::Count
                | Function::CountDistinct
                | Function::CountIf
                | Function::List
                | Function::SortedList
                | Function::Set
        )
    }

    /// What it asks of its argument; any type for `None`.
    #[must_use]
    pub fn wants(self) -> Option<&'static [Type]> {
        const NUMBERS: &[Type] = &[Type::Int, Type::Long, Type::Decimal(10, 2), Type::Double];
        match self {
            Function::Sum | Function::Avg => Some(NUMBERS),
            Function::SumDistinct | Function::AvgDistinct => Some(&[Type::Int, Type::Long]),
            Function::Median => Some(&[Type::Int, Type::Long, Type::Double]),
            Function::BoolAnd | Function::BoolOr | Function::CountIf => Some(&[Type::Bool]),
            Function::StddevPop
            | Function::StddevSamp
            | Function::List
            | Function::SortedList
            | Function::Set => Some(&[Type::Int]),
            Function::CountAll
            | Function::Count
            | Function::CountDistinct
            | Function::Min
            | Function::Max
            | Function::First
            | Function::Last
            | Function::FirstValue
            | Function::LastValue => None,
        }
    }
}

impl Call {
    /// Its type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match (self.function, self.argument.ty()) {
            (
                Function::CountAll | Function::Count | Function::CountDistinct | Function::CountIf,
                _,
            )
            | (Function::Sum | Function::SumDistinct, Type::Int | Type::Long) => Type::Long,
            (
                Function::Min
                | Function::Max
                | Function::First
                | Function::Last
                | Function::FirstValue
                | Function::LastValue,
                ty,
            ) => ty,
            (Function::BoolAnd | Function::BoolOr, _) => Type::Bool,
            (Function::List | Function::SortedList | Function::Set, _) => Type::Ints,
            (Function::Sum, Type::Decimal(p, s)) => Type::Decimal((p + 10).min(38), s),
            (Function::Avg, Type::Decimal(p, s)) => Type::Decimal(p + 4, s + 4),
            (
                Function::Sum
                | Function::Avg
                | Function::SumDistinct
                | Function::AvgDistinct
                | Function::Median
                | Function::StddevPop
                | Function::StddevSamp,
                _,
            ) => Type::Double,
        }
    }

    /// Adds the columns that it reads.
    pub fn columns(&self, used: &mut Vec<Column>) {
        if self.function != Function::CountAll {
            self.argument.columns(used);
        }
        self.filter.iter().for_each(|filter| filter.columns(used));
    }

    /// Its text for the engine.
    #[must_use]
    pub fn spark(&self) -> String {
        let argument = self.argument.sql(Dialect::Spark);
        let mut text = match self.function {
            Function::CountAll => "count(*)".to_owned(),
            Function::Count => format!("count({argument})"),
            Function::Sum => format!("sum({argument})"),
            Function::Min => format!("min({argument})"),
            Function::Max => format!("max({argument})"),
            Function::Avg => format!("avg({argument})"),
            Function::CountDistinct => format!("count(DISTINCT {argument})"),
            Function::SumDistinct => format!("sum(DISTINCT {argument})"),
            Function::AvgDistinct => format!("avg(DISTINCT {argument})"),
            Function::Median => format!("median({argument})"),
            Function::StddevPop => format!("stddev_pop({argument})"),
            Function::StddevSamp => format!("stddev_samp({argument})"),
            Function::BoolAnd => format!("bool_and({argument})"),
            Function::BoolOr => format!("bool_or({argument})"),
            Function::CountIf => format!("count_if({argument})"),
            Function::List | Function::SortedList => format!("collect_list({argument})"),
            Function::Set => format!("collect_set({argument})"),
            Function::First => format!("first({argument})"),
            Function::Last => format!("last({argument})"),
            Function::FirstValue => format!("first({argument}, true)"),
            Function::LastValue => format!("last({argument}, true)"),
        };
        if let Some(filter) = &self.filter {
            let _ = write!(text, " FILTER (WHERE {})", filter.sql(Dialect::Spark));
        }
        if matches!(self.function, Function::SortedList | Function::Set) {
            text = format!("sort_array({text})");
        }
        self.wrapped(text, Dialect::Spark)
    }

    /// Its argument for the oracle, NULL where the filter is not true.
    #[must_use]
    pub fn plain_argument(&self) -> String {
        let argument = if self.function == Function::CountAll {
            "CAST(1 AS INT)".to_owned()
        } else {
            self.argument.sql(Dialect::Plain)
        };
        match &self.filter {
            Some(filter) => {
                format!(
                    "CASE WHEN {} THEN {argument} END",
                    filter.sql(Dialect::Plain)
                )
            }
            None => argument,
        }
    }

    /// Its text for the oracle over the column that holds the argument.
    #[must_use]
    pub fn plain(&self, column: &str) -> String {
        const NAN: &str = "CAST('NaN' AS DOUBLE)";
        let is_double = self.argument.ty() == Type::Double;
        let number = format!("(CASE WHEN {column} = {NAN} THEN NULL ELSE {column} END)");
        let double = format!("CAST({column} AS DOUBLE)");
        let text = match self.function {
            Function::CountAll | Function::Count => format!("count({column})"),
            Function::CountIf => format!("count(CASE WHEN {column} THEN 1 END)"),
            Function::Sum => format!("sum({column})"),
            // NaN is the greatest of all doubles.
            Function::Min if is_double => format!("coalesce(min({number}), max({column}))"),
            Function::Max if is_double => format!(
                "CASE WHEN count(CASE WHEN {column} = {NAN} THEN 1 END) > 0 THEN {NAN} \
                 ELSE max({number}) END"
            ),
            Function::Min => format!("min({column})"),
            Function::Max => format!("max({column})"),
            Function::Avg => match self.ty() {
                // Many more digits than are shown, then rounded half up.
                Type::Decimal(p, s) => format!(
                    "CAST(CAST(sum({column}) AS DECIMAL(38,{})) / count({column}) \
                     AS DECIMAL({p},{s}))",
                    s + 6
                ),
                Type::Int
                | Type::Long
                | Type::Double
                | Type::Text
                | Type::Bool
                | Type::Time
                | Type::Window
                | Type::Ints => format!("avg({double})"),
            },
            Function::CountDistinct => format!("count(DISTINCT {column})"),
            Function::SumDistinct => format!("sum(DISTINCT {column})"),
            Function::AvgDistinct => {
                format!("CAST(sum(DISTINCT {column}) AS DOUBLE) / count(DISTINCT {column})")
            }
            Function::Median => format!("median({double})"),
            Function::StddevPop => format!("stddev_pop({double})"),
            Function::StddevSamp => {
                format!("CASE WHEN count({column}) > 1 THEN stddev({double}) END")
            }
            Function::BoolAnd => format!("bool_and({column})"),
            Function::BoolOr => format!("bool_or({column})"),
            Function::List => listed(column, "", "r_"),
            Function::SortedList => listed(column, "", column),
            Function::Set => listed(column, "DISTINCT ", column),
            Function::First => format!("first_value({column} ORDER BY r_)"),
            Function::Last => format!("last_value({column} ORDER BY r_)"),
            Function::FirstValue => with_value("first_value", column),
            Function::LastValue => with_value("last_value", column),
        };
        self.wrapped(text, Dialect::Plain)
    }

    fn wrapped(&self, text: String, dialect: Dialect) -> String {
        let zero = match self.ty() {
            Type::Int | Type::Long => Value::Int(0),
            Type::Double => Value::Float(0.0),
            Type::Text => Value::Text("none".to_owned()),
            Type::Decimal(_, s) => Value::Decimal(i256::ZERO, s),
            Type::Bool => Value::Bool(false),
            Type::Time | Type::Window | Type::Ints => return text,
        };
        if self.or_zero {
            format!("coalesce({text}, {})", literal(self.ty(), &zero, dialect))
        } else {
            text
        }
    }
}

/// All values that are there; an empty list where there is none.
fn listed(column: &str, distinct: &str, order: &str) -> String {
    format!(
        "coalesce(array_agg({distinct}{column} ORDER BY {order}) \
         FILTER (WHERE {column} IS NOT NULL), arrow_cast([], 'List(Int32)'))"
    )
}

fn with_value(function: &str, column: &str) -> String {
    format!("{function}({column} ORDER BY r_) FILTER (WHERE {column} IS NOT NULL)")
}
