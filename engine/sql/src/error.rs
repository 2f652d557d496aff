//! What can be wrong with a statement, and where in the text.

use std::error::Error;

use datafusion::{
    common::{DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use millstream_connectors_api::ConnectorError;
use millstream_operators::error::with_condition;
use millstream_types::{Code, Coded, Fault, OutputMode, SubCondition, TextPosition, did_you_mean};
use millstream_values::ValueError;

/// An error of parsing or planning. Texts use the user's own names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The error inside, with the place in the text.
    #[error("{error}")]
    At {
        /// Where.
        position: TextPosition,
        /// What.
        error: Box<SqlError>,
    },
    /// Found before, when a column was made of a text.
    #[error("{}", .0.message)]
    Earlier(Box<Fault>),
    /// SQL-001 · User · the text is no statement.
    #[error("{message}")]
    Syntax {
        /// What was expected or found.
        message: String,
    },
    /// SQL-001 · User · a limit on texts is passed.
    #[error("the statement is too large: {what} limit={limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// SQL-002 · User · no such table.
    #[error("no table or view is named {name}")]
    NoTable {
        /// The name as written.
        name: String,
        /// The nearest known name.
        near: Option<String>,
    },
    /// SQL-003 · User · no such column.
    #[error("no column is named {name}")]
    NoColumn {
        /// The name as written.
        name: String,
        /// The nearest known name.
        near: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// SQL-018 · User · no such field.
    #[error("no field is named {name}")]
    NoField {
        /// The name as written.
        name: String,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// SQL-017 · User · a name that several columns have.
    #[error("{name} is ambiguous{}", may_be(columns))]
    Ambiguous {
        /// The name as written.
        name: String,
        /// The columns as they may be told apart.
        columns: Vec<String>,
    },
    /// SQL-004 · User · no such function.
    #[error("no function is named {name}")]
    NoFunction {
        /// The name as written.
        name: String,
        /// The nearest known name.
        near: Option<String>,
    },
    /// SQL-005 · User · types do not fit.
    #[error("{message}")]
    Types {
        /// What does not fit what.
        message: String,
    },
    /// SQL-006 · User · the planner refuses.
    #[error("{message}")]
    Plan {
        /// Why.
        message: String,
    },
    /// SQL-007 · User · a statement or clause that we do not know.
    #[error("{what} is not supported")]
    Unsupported {
        /// The statement or clause.
        what: String,
    },
    /// SQL-008 · User · the name is taken.
    #[error("a table or view named {name} exists")]
    TableExists {
        /// The name.
        name: String,
    },
    /// SQL-009 · User · no such setting.
    #[error("no setting is named {name}")]
    UnknownSetting {
        /// The name as written.
        name: String,
        /// The nearest known name.
        near: Option<String>,
    },
    /// SQL-010 · User · no interval.
    #[error("cannot parse interval {text:?}")]
    Interval {
        /// The text.
        text: String,
    },
    /// SQL-011 · User · a watermark or window on a column of another type.
    #[error("event time must be a TIMESTAMP column={column} type={found}")]
    EventTimeType {
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// SQL-012 · User · a watermark on an expression.
    #[error("a watermark must be defined on a top-level column, not on {expression}")]
    EventTimeNested {
        /// What was written.
        expression: String,
    },
    /// SQL-013 · User · impossible window.
    #[error("impossible window: {reason}")]
    Window {
        /// Which rule is broken.
        reason: String,
    },
    /// SQL-014 · User · two windows in one grouping.
    #[error("multiple time or session windows in one grouping would multiply rows")]
    TwoWindows,
    /// SQL-015 · User · negative delay.
    #[error("the delay of a watermark must not be negative delay={delay}")]
    NegativeDelay {
        /// The delay as written.
        delay: String,
    },
    /// SQL-016 · User · a word that is none of the known ones.
    #[error("unknown {kind} {word:?}")]
    UnknownWord {
        /// `data type`, `policy` …
        kind: &'static str,
        /// The word.
        word: String,
        /// The known ones.
        known: &'static [&'static str],
    },
    /// SQL-020 · User · the query is not allowed in this mode.
    #[error("output mode {mode} is not supported for {what}")]
    Mode {
        /// The mode that was asked for.
        mode: OutputMode,
        /// What the query has.
        what: &'static str,
        /// The modes it can run in.
        allowed: Vec<OutputMode>,
    },
    /// SQL-021 · User · no such output mode.
    #[error("unknown output mode {word:?}")]
    UnknownMode {
        /// The word.
        word: String,
    },
    /// SQL-030 · User · not on a stream.
    #[error("{what}")]
    NotOnStream {
        /// The sentence, as Spark says it.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// SQL-031 · User · OVER.
    #[error("windows over rows (OVER) are not supported on a stream function={function}")]
    Over {
        /// The function.
        function: String,
    },
    /// SQL-032 · User · stateful operators above each other outside append.
    #[error(
        "a stateful operator above an aggregation may see rows that change or come late in output mode {mode}"
    )]
    Chained {
        /// The mode that was asked for.
        mode: OutputMode,
        /// The modes the query can run in.
        allowed: Vec<OutputMode>,
    },
    /// SQL-040 … SQL-044 · User · a rule of SQL that the planner checks.
    #[error("{message}")]
    Rule {
        /// Which rule.
        rule: Rule,
        /// What breaks it.
        message: String,
    },
    /// CON-… · User · the connector refuses the table.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// EXE-003 · Bug · the planner broke a rule of its own.
    #[error("internal: {what}")]
    Internal {
        /// What was found.
        what: String,
    },
}

/// Names that a hint lists.
const NAMES_SHOWN: usize = 5;

/// Rules of SQL that DataFusion's planner checks, each with Spark's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// What is selected is a key or aggregated.
    KeyOrAggregate,
    /// Positions are those of selected columns.
    Position,
    /// WHERE has no aggregates.
    WhereOfRows,
    /// Inputs of a union have as many columns.
    UnionColumns,
    /// Inputs of a union have types with a common one.
    UnionTypes,
}

impl Rule {
    /// The rules, and how DataFusion says that one is broken.
    const TOLD: [(Rule, &'static str); 5] = [
        (Rule::KeyOrAggregate, "must appear in the GROUP BY clause"),
        (Rule::Position, "Cannot find column with position"),
        (Rule::WhereOfRows, "not allowed in the WHERE clause"),
        (
            Rule::UnionColumns,
            "queries have different number of columns",
        ),
        (Rule::UnionTypes, "Incompatible inputs for Union"),
    ];

    fn code(self) -> &'static str {
        match self {
            Rule::KeyOrAggregate => "SQL-040",
            Rule::Position => "SQL-041",
            Rule::WhereOfRows => "SQL-042",
            Rule::UnionColumns => "SQL-043",
            Rule::UnionTypes => "SQL-044",
        }
    }

    /// The rule that a line of DataFusion's is about.
    fn broken_by(line: &str) -> Option<SqlError> {
        let told = Rule::TOLD.iter().find(|(_, words)| line.contains(words));
        let rule = told?.0;
        let column = || line.split_once("column \"")?.1.split_once('"');
        let message = match (rule, column()) {
            (Rule::KeyOrAggregate, Some((column, _))) => {
                format!("column {column} must be in GROUP BY or inside an aggregate function")
            }
            _ => plain(line),
        };
        Some(SqlError::Rule { rule, message })
    }
}

impl SqlError {
    /// The same error with its place, unless it has one.
    #[must_use]
    pub fn at(self, position: Option<TextPosition>) -> SqlError {
        match (self.position(), position) {
            (None, Some(position)) => SqlError::At {
                position,
                error: Box::new(self),
            },
            _ => self,
        }
    }

    /// For handing the error through DataFusion; [`from_datafusion`] takes it out again.
    pub(crate) fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// No column of this name among those that there are; the hint is the one nearest to `last`.
    pub(crate) fn no_column(name: String, last: &str, known: Vec<String>) -> SqlError {
        let near = did_you_mean(last, known.iter().map(String::as_str)).map(str::to_owned);
        SqlError::NoColumn { name, near, known }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> SqlError {
        SqlError::Unsupported { what: what.into() }
    }

    pub(crate) fn plan(message: impl Into<String>) -> SqlError {
        SqlError::Plan {
            message: message.into(),
        }
    }

    pub(crate) fn internal(what: impl Into<String>) -> SqlError {
        SqlError::Internal { what: what.into() }
    }
}

impl From<ValueError> for SqlError {
    fn from(error: ValueError) -> SqlError {
        if let ValueError::UnknownWord { kind, word, known } = error {
            return SqlError::UnknownWord { kind, word, known };
        }
        SqlError::Types {
            message: error.to_string(),
        }
    }
}

impl Coded for SqlError {
    fn code(&self) -> Code {
        Code(match self {
            SqlError::At { error, .. } => return error.code(),
            SqlError::Connector(error) => return error.code(),
            SqlError::Earlier(fault) => return fault.code,
            SqlError::Syntax { .. } | SqlError::TooLarge { .. } => "SQL-001",
            SqlError::NoTable { .. } => "SQL-002",
            SqlError::NoColumn { .. } => "SQL-003",
            SqlError::Ambiguous { .. } => "SQL-017",
            SqlError::NoField { .. } => "SQL-018",
            SqlError::NoFunction { .. } => "SQL-004",
            SqlError::Types { .. } => "SQL-005",
            SqlError::Plan { .. } => "SQL-006",
            SqlError::Unsupported { .. } => "SQL-007",
            SqlError::TableExists { .. } => "SQL-008",
            SqlError::UnknownSetting { .. } => "SQL-009",
            SqlError::Interval { .. } => "SQL-010",
            SqlError::EventTimeType { .. } => "SQL-011",
            SqlError::EventTimeNested { .. } => "SQL-012",
            SqlError::Window { .. } => "SQL-013",
            SqlError::TwoWindows => "SQL-014",
            SqlError::NegativeDelay { .. } => "SQL-015",
            SqlError::UnknownWord { .. } => "SQL-016",
            SqlError::Mode { .. } => "SQL-020",
            SqlError::UnknownMode { .. } => "SQL-021",
            SqlError::NotOnStream { .. } => "SQL-030",
            SqlError::Over { .. } => "SQL-031",
            SqlError::Chained { .. } => "SQL-032",
            SqlError::Rule { rule, .. } => rule.code(),
            SqlError::Internal { .. } => "EXE-003",
        })
    }

    fn sub_condition(&self) -> Option<SubCondition> {
        match self {
            SqlError::At { error, .. } => error.sub_condition(),
            SqlError::Earlier(fault) => fault.sub_condition,
            SqlError::NoColumn { known, .. } if known.is_empty() => {
                Some(SubCondition::WithoutSuggestion)
            }
            SqlError::NoColumn { .. } => Some(SubCondition::WithSuggestion),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SqlError::At { error, .. } => error.hint(),
            SqlError::Connector(error) => error.hint(),
            SqlError::Earlier(fault) => fault.hint.clone(),
            SqlError::NoColumn {
                near: None, known, ..
            } if !known.is_empty() => {
                let some = known.get(..NAMES_SHOWN).unwrap_or(known).join(", ");
                let more = if known.len() > NAMES_SHOWN {
                    ", …"
                } else {
                    ""
                };
                Some(format!("the columns are: {some}{more}"))
            }
            SqlError::NoTable { near, .. }
            | SqlError::NoColumn { near, .. }
            | SqlError::UnknownSetting { near, .. } => {
                near.as_ref().map(|near| format!("did you mean {near}?"))
            }
            SqlError::NoField { name, known } => Some(
                did_you_mean(name, known.iter().map(String::as_str)).map_or_else(
                    || format!("known are: {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                ),
            ),
            SqlError::Ambiguous { .. } => {
                Some("write the table's name before it, or give one an alias".to_owned())
            }
            SqlError::NoFunction { near, .. } => Some(near.as_ref().map_or_else(
                || "`millstream functions` lists them".to_owned(),
                |near| format!("did you mean {near}?"),
            )),
            SqlError::Interval { .. } => {
                Some("write it like '10 seconds' or INTERVAL '1' MINUTE".to_owned())
            }
            SqlError::EventTimeType { column, .. } => {
                Some(format!("cast it first: CAST({column} AS TIMESTAMP)"))
            }
            SqlError::UnknownWord { word, known, .. } => {
                Some(did_you_mean(word, known.iter().copied()).map_or_else(
                    || format!("known are: {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                ))
            }
            SqlError::UnknownMode { .. } => {
                Some("use append, update, complete or changes".to_owned())
            }
            SqlError::Mode { allowed, .. } | SqlError::Chained { allowed, .. }
                if !allowed.is_empty() =>
            {
                Some(format!("this query can run in: {}", join_modes(allowed)))
            }
            SqlError::NotOnStream { hint, .. } if !hint.is_empty() => Some((*hint).to_owned()),
            SqlError::Over { .. } => Some(
                "group by window(time, duration) instead, or use output mode changes".to_owned(),
            ),
            SqlError::TwoWindows => Some("group by one window, or aggregate twice".to_owned()),
            _ => None,
        }
    }

    fn position(&self) -> Option<TextPosition> {
        match self {
            SqlError::At { position, .. } => Some(*position),
            SqlError::Earlier(fault) => fault.position,
            // The rest is given its place by At.
            _ => None,
        }
    }
}

/// `: it may be a.x or b.x`.
fn may_be(columns: &[String]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    format!(": it may be {}", columns.join(" or "))
}

/// `update, changes`.
#[must_use]
pub fn join_modes(modes: &[OutputMode]) -> String {
    modes
        .iter()
        .map(OutputMode::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A parser's error, with the place that it writes into its text.
pub(crate) fn from_parser(error: ParserError) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return SqlError::TooLarge {
                what: "expressions are nested too deeply",
                limit: crate::limits::DEPTH_MAX,
            };
        }
    };
    let (mut message, position) = split_place(&text);
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    SqlError::Syntax { message }.at(position)
}

/// Cuts ` at Line: 1, Column: 5` off a message.
fn split_place(text: &str) -> (String, Option<TextPosition>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text.to_owned(), None);
    };
    let Some((line, column)) = place.split_once(", Column: ") else {
        return (text.to_owned(), None);
    };
    let column: String = column.chars().take_while(char::is_ascii_digit).collect();
    let position = line
        .parse()
        .ok()
        .zip(column.parse().ok())
        .map(|(line, column)| TextPosition { line, column });
    (message.to_owned(), position)
}

/// One of our own errors that travelled through DataFusion.
fn ours(error: Box<dyn Error + Send + Sync>) -> SqlError {
    match error.downcast::<SqlError>() {
        Ok(error) => *error,
        Err(error) => match error.downcast::<DataFusionError>() {
            Ok(error) => from_datafusion(*error),
            Err(error) => SqlError::plan(error.to_string()),
        },
    }
}

/// DataFusion's error in our words.
#[must_use]
pub fn from_datafusion(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::SQL(error, _) => from_parser(*error),
        DataFusionError::SchemaError(error, _) => from_schema(*error),
        DataFusionError::Diagnostic(diagnostic, error) => {
            let position = diagnostic.span.map(|span| TextPosition {
                line: span.start.line,
                column: span.start.column,
            });
            from_datafusion(*error).at(position)
        }
        DataFusionError::Context(_, error) => from_datafusion(*error),
        DataFusionError::External(error) => ours(error),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            from_datafusion(errors.swap_remove(0))
        }
        DataFusionError::Shared(error) => match std::sync::Arc::try_unwrap(error) {
            Ok(error) => from_datafusion(error),
            Err(error) => SqlError::plan(first_line(&error.to_string())),
        },
        DataFusionError::Plan(message) => from_message(&message),
        DataFusionError::NotImplemented(message) => SqlError::Unsupported {
            what: what_is_missing(&message),
        },
        DataFusionError::Execution(message) | DataFusionError::Configuration(message) => {
            SqlError::plan(first_line(&message))
        }
        DataFusionError::ArrowError(..) => SqlError::Types {
            message: first_line(&with_condition(&error)),
        },
        other => SqlError::Internal {
            what: first_line(&other.to_string()),
        },
    }
}

/// What DataFusion has not implemented, without the syntax tree that it prints.
fn what_is_missing(message: &str) -> String {
    if message.contains("ScalarSubquery") {
        return "a subquery in an expression".to_owned();
    }
    let line = first_line(message);
    let end = line.find(['{', '(']).unwrap_or(line.len());
    line.get(..end)
        .unwrap_or(&line)
        .trim()
        .replace("Unsupported ast node in sqltorel: ", "")
        .trim_end_matches(" is not supported")
        .to_owned()
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}

/// A message without the names of DataFusion's error kinds and without its list of signatures.
fn plain(message: &str) -> String {
    let kinds = [
        "Error during planning: ",
        "Internal error: ",
        "Execution error: ",
    ];
    let bare = kinds
        .iter()
        .fold(message.to_owned(), |text, kind| text.replace(kind, ""));
    match bare.split_once(", errors: ") {
        Some((head, _)) => head.to_owned(),
        None => bare,
    }
}

/// Plan errors carry their kind in the text only.
fn from_message(message: &str) -> SqlError {
    let line = first_line(message);
    if let Some(rest) = line.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or_default().to_owned();
        let near = message
            .split_once("Did you mean '")
            .and_then(|(_, rest)| rest.split('\'').next())
            .filter(|near| did_you_mean(&name, [*near]).is_some())
            .map(str::to_owned);
        return SqlError::NoFunction { name, near };
    }
    let about_types = [
        "coerc",
        "No function matches",
        "failed to match any signature",
        "Cannot infer common",
        "Unsupported CAST",
    ];
    if about_types.iter().any(|word| line.contains(word)) {
        return SqlError::Types {
            message: plain(&line),
        };
    }
    Rule::broken_by(&line).unwrap_or_else(|| SqlError::plan(plain(&line)))
}

fn from_schema(error: SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let known: Vec<String> = valid_fields.iter().map(|f| f.name.clone()).collect();
            SqlError::no_column(field.flat_name(), &field.name, known)
        }
        SchemaError::AmbiguousReference { field } => SqlError::Ambiguous {
            name: field.flat_name(),
            columns: Vec::new(),
        },
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::plan(format!("two columns are named {name}: give one an alias"))
        }
    }
}
