//! Spark's data types as text: `BIGINT`, `DECIMAL(7,2)`, `ARRAY<STRUCT<a: INT, b STRING>>`.
//!
//! The one place where a type's name is read: columns of CREATE TABLE, CAST, and schema strings
//! such as those of `from_json` and of readers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::{
    common::Result as DataFusionResult,
    logical_expr::planner::TypePlanner,
    sql::sqlparser::{ast, tokenizer::Token},
};

use crate::{SqlError, limits::TYPE_DEPTH_MAX, text};

/// The names that are understood, for hints.
const NAMES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "STRING",
    "BINARY",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP_NTZ",
    "ARRAY",
    "MAP",
    "STRUCT",
];

/// Spark's TIMESTAMP: microseconds on the UTC time line.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads one type.
///
/// # Errors
/// [`SqlError::UnknownWord`] or [`SqlError::Syntax`].
pub fn parse_type(text: &str) -> Result<DataType, SqlError> {
    let mut reader = Reader::new(text)?;
    let data_type = reader.data_type(0)?;
    reader.end()?;
    Ok(data_type)
}

/// Reads `name TYPE [NOT NULL], …`, as in a reader's schema.
///
/// # Errors
/// As [`parse_type`].
pub fn parse_columns(text: &str) -> Result<Fields, SqlError> {
    let mut reader = Reader::new(text)?;
    let mut fields = Vec::new();
    loop {
        fields.push(reader.field(0)?);
        if !reader.take(&Token::Comma) {
            break;
        }
    }
    reader.end()?;
    Ok(fields.into())
}

/// Tells DataFusion's planner about Spark's types.
#[derive(Debug)]
pub(crate) struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DataFusionResult<Option<FieldRef>> {
        let data_type = parse_type(&sql_type.to_string()).map_err(SqlError::into_datafusion)?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// Reads types from tokens.
pub(crate) struct Reader {
    tokens: Vec<Token>,
    next: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Reader, SqlError> {
        let tokens = text::tokens(text)?.into_iter().map(|token| token.token);
        Ok(Reader::over(tokens))
    }

    /// A reader over tokens without white space.
    pub(crate) fn over(tokens: impl Iterator<Item = Token>) -> Reader {
        let mut split = Vec::new();
        for token in tokens {
            // The end of `ARRAY<ARRAY<INT>>` is one token for the tokenizer.
            if token == Token::ShiftRight {
                split.extend([Token::Gt, Token::Gt]);
            } else {
                split.push(token);
            }
        }
        Reader {
            tokens: split,
            next: 0,
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&Token::EOF)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.take(token) {
            return Ok(());
        }
        Err(SqlError::Syntax {
            message: format!("expected {token} in a type, found {}", self.peek()),
        })
    }

    fn end(&self) -> Result<(), SqlError> {
        if self.next >= self.tokens.len() {
            return Ok(());
        }
        Err(SqlError::Syntax {
            message: format!("unexpected {} after a type", self.peek()),
        })
    }

    fn word(&mut self) -> Result<String, SqlError> {
        if let Token::Word(word) = self.peek() {
            let value = word.value.clone();
            self.next += 1;
            return Ok(value);
        }
        Err(SqlError::Syntax {
            message: format!("expected a name in a type, found {}", self.peek()),
        })
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w)
            if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        self.next += usize::from(found);
        found
    }

    /// `name [:] TYPE [NOT NULL] [COMMENT '…']`.
    pub(crate) fn field(&mut self, depth: usize) -> Result<Field, SqlError> {
        let name = self.word()?;
        self.take(&Token::Colon);
        let data_type = self.data_type(depth)?;
        let not_null = self.keyword("NOT") && self.keyword("NULL");
        if self.keyword("COMMENT") {
            self.next += 1;
        }
        Ok(Field::new(name, data_type, !not_null))
    }

    /// Whether all tokens were read.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// What comes next, for messages.
    pub(crate) fn found(&self) -> String {
        self.peek().to_string()
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, SqlError> {
        if depth > TYPE_DEPTH_MAX {
            return Err(SqlError::TooLarge {
                what: "types are nested too deeply",
                limit: TYPE_DEPTH_MAX,
            });
        }
        let word = self.word()?;
        match word.to_ascii_uppercase().as_str() {
            "ARRAY" => {
                self.expect(&Token::Lt)?;
                let item = self.data_type(depth + 1)?;
                self.expect(&Token::Gt)?;
                Ok(DataType::List(Arc::new(Field::new_list_field(item, true))))
            }
            "MAP" => {
                // sqlparser writes what it read with parentheses.
                let round = self.take(&Token::LParen);
                if !round {
                    self.expect(&Token::Lt)?;
                }
                let key = self.data_type(depth + 1)?;
                self.expect(&Token::Comma)?;
                let value = self.data_type(depth + 1)?;
                self.expect(if round { &Token::RParen } else { &Token::Gt })?;
                Ok(map(key, value))
            }
            "STRUCT" => {
                self.expect(&Token::Lt)?;
                let mut fields = Vec::new();
                while !self.take(&Token::Gt) {
                    fields.push(self.field(depth + 1)?);
                    self.take(&Token::Comma);
                }
                Ok(DataType::Struct(fields.into()))
            }
            "INTERVAL" => Ok(self.interval()),
            upper => {
                let arguments = self.arguments()?;
                simple(upper, &arguments)?.ok_or(SqlError::UnknownWord {
                    kind: "data type",
                    word,
                    known: NAMES,
                })
            }
        }
    }

    /// `YEAR TO MONTH`, `DAY TO SECOND`, their parts, or nothing.
    fn interval(&mut self) -> DataType {
        let mut any = |words: &[&str]| words.iter().any(|word| self.keyword(word));
        let months = any(&["YEAR", "MONTH"]);
        let micros = !months && any(&["DAY", "HOUR", "MINUTE", "SECOND"]);
        if any(&["TO"]) {
            any(&["MONTH", "HOUR", "MINUTE", "SECOND"]);
        }
        match (months, micros) {
            (true, _) => DataType::Interval(IntervalUnit::YearMonth),
            (_, true) => DataType::Duration(TimeUnit::Microsecond),
            _ => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }

    /// `(7, 2)`, or nothing; and the words that may follow a name.
    fn arguments(&mut self) -> Result<Vec<i64>, SqlError> {
        let mut arguments = Vec::new();
        if self.keyword("PRECISION") || !self.take(&Token::LParen) {
            return Ok(arguments);
        }
        while !self.take(&Token::RParen) {
            let Token::Number(digits, _) = self.peek() else {
                return Err(SqlError::Syntax {
                    message: format!("expected a number in a type, found {}", self.peek()),
                });
            };
            arguments.push(digits.parse().unwrap_or(-1));
            self.next += 1;
            self.take(&Token::Comma);
        }
        Ok(arguments)
    }
}

/// The type of an array's elements.
pub(crate) fn item_of(data_type: &DataType) -> Result<DataType, SqlError> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(item.data_type().clone())
        }
        DataType::Null => Ok(DataType::Null),
        other => Err(SqlError::Types {
            message: format!("expected an array, not {}", spark_name(other)),
        }),
    }
}

fn map(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, true),
    ]);
    let entries = Field::new("entries", DataType::Struct(entries), false);
    DataType::Map(Arc::new(entries), false)
}

fn simple(name: &str, arguments: &[i64]) -> Result<Option<DataType>, SqlError> {
    Ok(Some(match name {
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "TINYINT" | "BYTE" => DataType::Int8,
        "SMALLINT" | "SHORT" => DataType::Int16,
        "INT" | "INTEGER" => DataType::Int32,
        "BIGINT" | "LONG" => DataType::Int64,
        "FLOAT" | "REAL" => DataType::Float32,
        "DOUBLE" => DataType::Float64,
        "STRING" | "TEXT" | "VARCHAR" | "CHAR" | "CHARACTER" => DataType::Utf8,
        "BINARY" | "BYTEA" => DataType::Binary,
        "DATE" => DataType::Date32,
        "TIMESTAMP" | "TIMESTAMP_LTZ" => timestamp(),
        "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
        // What stands for the types of intervals between sqlparser and here.
        "INTERVAL_YEAR_TO_MONTH" => DataType::Interval(IntervalUnit::YearMonth),
        "INTERVAL_DAY_TO_SECOND" => DataType::Duration(TimeUnit::Microsecond),
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(arguments)?,
        _ => return Ok(None),
    }))
}

fn decimal(arguments: &[i64]) -> Result<DataType, SqlError> {
    let precision = arguments.first().copied().unwrap_or(10);
    let scale = arguments.get(1).copied().unwrap_or(0);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s @ 0..)) if i64::from(s) <= precision => {
            Ok(DataType::Decimal128(p, s))
        }
        _ => Err(SqlError::Types {
            message: format!(
                "a decimal has 1 to 38 digits and a scale of at most these precision={precision} scale={scale}"
            ),
        }),
    }
}

/// The type in Spark's words.
#[must_use]
pub fn spark_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Decimal128(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        DataType::Duration(TimeUnit::Microsecond) => "INTERVAL DAY TO SECOND".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "INTERVAL".into(),
        DataType::List(item) => format!("ARRAY<{}>", spark_name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{}: {}", field.name(), spark_name(field.data_type())))
                .collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!(
                "MAP<{}, {}>",
                spark_name(fields[0].data_type()),
                spark_name(fields[1].data_type())
            ),
            other => format!("MAP<{other}>"),
        },
        other => other.to_string().to_uppercase(),
    }
}

/// The type as `typeof` writes it: [`spark_name`] in small letters and without blanks.
#[must_use]
pub fn simple_name(data_type: &DataType) -> String {
    if *data_type == DataType::Null {
        return "void".to_owned();
    }
    let name = spark_name(data_type).to_lowercase();
    name.replace(": ", ":")
        .replace(", ", ",")
        .replace("<null>", "<void>")
}
