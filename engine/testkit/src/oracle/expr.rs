//! Expressions of random queries, and their text in two dialects.
//!
//! The engine gets Spark's SQL. The oracle gets plain SQL in which times are whole microseconds, every
//! literal has its type, and FILTER, NaN and halves are spelt out, so that little is taken on trust.

use std::fmt::Write as _;

use crate::script::Value;

/// Who reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The engine.
    Spark,
    /// The oracle.
    Plain,
}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `INT`.
    Int,
    /// `BIGINT`.
    Long,
    /// `DECIMAL(precision, scale)`.
    Decimal(u8, i8),
    /// `DOUBLE`.
    Double,
    /// `STRING`.
    Text,
    /// `BOOLEAN`.
    Bool,
    /// `TIMESTAMP`.
    Time,
    /// A struct of two times.
    Window,
    /// `ARRAY<INT>`.
    Ints,
}

/// The type of the decimal column.
pub const DECIMAL: Type = Type::Decimal(10, 2);

/// The columns that every table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `ts TIMESTAMP`.
    Time,
    /// `k INT`.
    Int,
    /// `b BIGINT`.
    Long,
    /// `d DECIMAL(10, 2)`.
    Decimal,
    /// `x DOUBLE`.
    Double,
    /// `s STRING`.
    Text,
    /// `f BOOLEAN`.
    Bool,
}

impl Column {
    /// All, in the order of a row.
    pub const ALL: [Column; 7] = [
        Column::Time,
        Column::Int,
        Column::Long,
        Column::Decimal,
        Column::Double,
        Column::Text,
        Column::Bool,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Column::Time => "ts",
            Column::Int => "k",
            Column::Long => "b",
            Column::Decimal => "d",
            Column::Double => "x",
            Column::Text => "s",
            Column::Bool => "f",
        }
    }

    /// Its type.
    #[must_use]
    pub fn ty(self) -> Type {
        match self {
            Column::Time => Type::Time,
            Column::Int => Type::Int,
            Column::Long => Type::Long,
            Column::Decimal => DECIMAL,
            Column::Double => Type::Double,
            Column::Text => Type::Text,
            Column::Bool => Type::Bool,
        }
    }

    /// Where it stands in a row.
    #[must_use]
    pub fn position(self) -> usize {
        Column::ALL
            .iter()
            .position(|column| *column == self)
            .unwrap_or(0)
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A column.
    Column(Column),
    /// A constant.
    Literal(Type, Value),
    /// `left op right`, both of one type that is also the result's.
    Arithmetic(&'static str, Box<Expr>, Box<Expr>),
    /// `CASE WHEN … THEN … ELSE … END`, or NULL without the last.
    Case(Box<Predicate>, Box<Expr>, Option<Box<Expr>>),
    /// `coalesce(…)`.
    Coalesce(Box<Expr>, Box<Expr>),
    /// `length(…)`.
    Length(Box<Expr>),
    /// A condition as a value.
    Is(Box<Predicate>),
}

impl Expr {
    /// Its type.
    #[must_use]
    pub fn ty(&self) -> Type {
        match self {
            Expr::Column(column) => column.ty(),
            Expr::Literal(ty, _) => *ty,
            Expr::Arithmetic(op, left, _) => {
                let ty = left.ty();
                let Type::Decimal(p, s) = ty else { return ty };
                if *op == "*" {
                    Type::Decimal(2 * p + 1, 2 * s)
                } else {
                    Type::Decimal(p + 1, s)
                }
            }
            Expr::Case(_, then, _) | Expr::Coalesce(then, _) => then.ty(),
            Expr::Length(_) => Type::Int,
            Expr::Is(_) => Type::Bool,
        }
    }

    /// Adds the columns that it reads.
    pub fn columns(&self, used: &mut Vec<Column>) {
        match self {
            Expr::Column(column) => used.push(*column),
            Expr::Literal(..) => {}
            Expr::Arithmetic(_, left, right) | Expr::Coalesce(left, right) => {
                left.columns(used);
                right.columns(used);
            }
            Expr::Case(when, then, otherwise) => {
                when.columns(used);
                then.columns(used);
                otherwise.iter().for_each(|expr| expr.columns(used));
            }
            Expr::Length(inner) => inner.columns(used),
            Expr::Is(predicate) => predicate.columns(used),
        }
    }

    /// Its text.
    #[must_use]
    pub fn sql(&self, dialect: Dialect) -> String {
        match self {
            Expr::Column(column) => column.name().to_owned(),
            Expr::Literal(ty, value) => literal(*ty, value, dialect),
            Expr::Arithmetic(op, left, right) => {
                format!("({} {op} {})", left.sql(dialect), right.sql(dialect))
            }
            Expr::Case(when, then, otherwise) => {
                let mut text =
                    format!("CASE WHEN {} THEN {}", when.sql(dialect), then.sql(dialect));
                if let Some(expr) = otherwise {
                    let _ = write!(text, " ELSE {}", expr.sql(dialect));
                }
                text + " END"
            }
            Expr::Coalesce(left, right) => {
                format!("coalesce({}, {})", left.sql(dialect), right.sql(dialect))
            }
            Expr::Length(inner) if dialect == Dialect::Spark => {
                format!("length({})", inner.sql(dialect))
            }
            Expr::Length(inner) => {
                format!("CAST(character_length({}) AS INT)", inner.sql(dialect))
            }
            Expr::Is(predicate) => format!("({})", predicate.sql(dialect)),
        }
    }
}

/// A condition on a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// `left op right`.
    Compare(&'static str, Expr, Expr),
    /// `… IS NULL`.
    Null(Expr),
    /// `… IN (…)`.
    In(Expr, Vec<Value>),
    /// `… LIKE '…'`.
    Like(Expr, &'static str),
    /// A boolean column.
    True(Column),
    /// NOT.
    Not(Box<Predicate>),
    /// OR; both sides use the time or neither does.
    Or(Box<Predicate>, Box<Predicate>),
}

impl Predicate {
    /// Adds the columns that it reads.
    pub fn columns(&self, used: &mut Vec<Column>) {
        match self {
            Predicate::Compare(_, left, right) => {
                left.columns(used);
                right.columns(used);
            }
            Predicate::Null(expr) | Predicate::In(expr, _) | Predicate::Like(expr, _) => {
                expr.columns(used);
            }
            Predicate::True(column) => used.push(*column),
            Predicate::Not(inner) => inner.columns(used),
            Predicate::Or(left, right) => {
                left.columns(used);
                right.columns(used);
            }
        }
    }

    /// Whether the event time decides it: such a condition stays above the watermark.
    #[must_use]
    pub fn uses_time(&self) -> bool {
        let mut used = Vec::new();
        self.columns(&mut used);
        used.contains(&Column::Time)
    }

    /// Its text.
    #[must_use]
    pub fn sql(&self, dialect: Dialect) -> String {
        match self {
            Predicate::Compare(op, left, right) => {
                format!("{} {op} {}", left.sql(dialect), right.sql(dialect))
            }
            Predicate::Null(expr) => format!("{} IS NULL", expr.sql(dialect)),
            Predicate::In(expr, values) => {
                let ty = expr.ty();
                let list: Vec<_> = values.iter().map(|one| literal(ty, one, dialect)).collect();
                format!("{} IN ({})", expr.sql(dialect), list.join(", "))
            }
            Predicate::Like(expr, pattern) => format!("{} LIKE '{pattern}'", expr.sql(dialect)),
            Predicate::True(column) => column.name().to_owned(),
            Predicate::Not(inner) => format!("NOT ({})", inner.sql(dialect)),
            Predicate::Or(left, right) => {
                format!("({} OR {})", left.sql(dialect), right.sql(dialect))
            }
        }
    }
}

/// Conditions joined by AND; `true` for none.
#[must_use]
pub fn all_of<'a>(parts: impl Iterator<Item = &'a Predicate>, dialect: Dialect) -> String {
    let parts: Vec<_> = parts
        .map(|part| format!("({})", part.sql(dialect)))
        .collect();
    if parts.is_empty() {
        "true".to_owned()
    } else {
        parts.join(" AND ")
    }
}

/// A constant with its type.
#[must_use]
pub fn literal(ty: Type, value: &Value, dialect: Dialect) -> String {
    let quoted = |text: String| format!("'{}'", text.replace('\'', "''"));
    match (ty, value) {
        (Type::Time, Value::Timestamp(nanos)) if dialect == Dialect::Plain => {
            format!("CAST({} AS BIGINT)", nanos.div_euclid(1000))
        }
        (Type::Time, Value::Timestamp(_)) => format!("TIMESTAMP {}", quoted(value.cell())),
        (Type::Int, Value::Int(number)) if dialect == Dialect::Spark => {
            if *number < 0 {
                format!("({number})")
            } else {
                number.to_string()
            }
        }
        (Type::Text, Value::Text(text)) => quoted(text.clone()),
        (Type::Bool, Value::Bool(value)) => value.to_string(),
        (_, Value::Null) => format!("CAST(NULL AS {})", sql_name(ty, dialect)),
        _ => format!(
            "CAST({} AS {})",
            quoted(value.cell()),
            sql_name(ty, dialect)
        ),
    }
}

/// The name of a type.
#[must_use]
pub fn sql_name(ty: Type, dialect: Dialect) -> String {
    match ty {
        Type::Int => "INT".to_owned(),
        Type::Long => "BIGINT".to_owned(),
        Type::Decimal(p, s) => format!("DECIMAL({p},{s})"),
        Type::Double => "DOUBLE".to_owned(),
        Type::Text if dialect == Dialect::Plain => "VARCHAR".to_owned(),
        Type::Text => "STRING".to_owned(),
        Type::Bool => "BOOLEAN".to_owned(),
        Type::Time | Type::Window if dialect == Dialect::Plain => "BIGINT".to_owned(),
        Type::Time | Type::Window => "TIMESTAMP".to_owned(),
        Type::Ints => "ARRAY<INT>".to_owned(),
    }
}
