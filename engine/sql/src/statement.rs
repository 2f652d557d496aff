//! The statements of the dialect: what a script says, without doing any of it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millstream_types::{TextPosition, did_you_mean};

use crate::{
    SqlError,
    ddl::{self, CreateTable},
    error::from_parser,
    explain::ExplainFormat,
    late::reads_late_rows,
    text::{self, QueryText, place},
    words::is_word,
};

pub use crate::ddl::{CreateTable as CreateTableStatement, GeneratedColumn, WatermarkClause};

/// One statement of a script.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// CREATE [OR REPLACE] [TEMPORARY|MATERIALIZED] VIEW.
    CreateView {
        /// The name.
        name: String,
        /// An existing view goes.
        or_replace: bool,
        /// Whether it runs as a query of its own.
        materialized: bool,
        /// What it shows.
        query: QueryText,
    },
    /// DROP TABLE or DROP VIEW.
    Drop {
        /// The name.
        name: String,
        /// No error when there is none.
        if_exists: bool,
    },
    /// CREATE TABLE … AS: a table of what a query gives.
    CreateTableAs {
        /// The table.
        create: Box<CreateTable>,
        /// What goes in.
        query: QueryText,
    },
    /// INSERT INTO: one streaming query.
    Insert {
        /// The sink table.
        sink: String,
        /// What goes in.
        query: QueryText,
    },
    /// A SELECT of its own: prints.
    Select(QueryText),
    /// EXPLAIN of a SELECT or an INSERT.
    Explain {
        /// In which form.
        format: ExplainFormat,
        /// The sink table of an INSERT.
        sink: Option<String>,
        /// The query.
        query: QueryText,
    },
    /// SET key = value.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// RESET [key].
    Reset {
        /// The key; all settings without one.
        key: Option<String>,
    },
    /// SHOW QUERIES.
    ShowQueries,
    /// SHOW TABLES.
    ShowTables,
    /// DESCRIBE name.
    Describe {
        /// The table or view.
        name: String,
    },
    /// STOP QUERY name.
    StopQuery {
        /// The query.
        name: String,
    },
}

impl Statement {
    /// Whether it starts a query. An INSERT of late rows runs with the query that drops them.
    #[must_use]
    pub fn starts_query(&self) -> bool {
        if let Statement::Insert { query, .. } = self {
            return reads_late_rows(query).is_none();
        }
        matches!(self, Statement::Select(_) | Statement::CreateTableAs { .. })
    }
}

/// A statement and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptStatement {
    /// What it says.
    pub statement: Statement,
    /// Where it starts in the script.
    pub position: TextPosition,
}

/// Splits a script at its semicolons and reads every statement. Names are not looked up.
///
/// # Errors
/// [`SqlError::Syntax`], [`SqlError::TooLarge`], [`SqlError::Unsupported`] and the errors of
/// clauses, each with its place in the script.
pub fn parse_script(sql: &str) -> Result<Vec<ScriptStatement>, SqlError> {
    let tokens = text::tokens(sql)?;
    let mut statements = Vec::new();
    for part in tokens.split(|token| token.token == Token::SemiColon) {
        let Some(first) = part.first() else { continue };
        let position = place(first.span.start);
        let statement = Reader { sql, rest: part }
            .statement()
            .map_err(|error| error.at(Some(position)))?;
        statements.push(ScriptStatement {
            statement,
            position,
        });
    }
    Ok(statements)
}

/// The words with which statements begin.
const STATEMENTS: [&str; 12] = [
    "CREATE", "DROP", "INSERT", "EXPLAIN", "SET", "RESET", "SHOW", "DESCRIBE", "STOP", "SELECT",
    "WITH", "VALUES",
];

struct Reader<'a> {
    sql: &'a str,
    rest: &'a [TokenWithSpan],
}

impl Reader<'_> {
    fn statement(mut self) -> Result<Statement, SqlError> {
        if self.take(&["CREATE"]) {
            return self.create();
        }
        if self.take(&["DROP"]) {
            let known = self.take(&["TABLE"])
                || self.take(&["VIEW"])
                || self.take(&["MATERIALIZED", "VIEW"]);
            if !known {
                return Err(self.unexpected("TABLE or VIEW"));
            }
            let if_exists = self.take(&["IF", "EXISTS"]);
            let name = self.name()?;
            return self.end(Statement::Drop { name, if_exists });
        }
        if self.take(&["INSERT"]) {
            let (sink, query) = self.insert()?;
            return Ok(Statement::Insert { sink, query });
        }
        if self.take(&["EXPLAIN"]) {
            return self.explain();
        }
        if self.take(&["SET"]) {
            return self.set();
        }
        if self.take(&["RESET"]) {
            let key = (!self.rest.is_empty()).then(|| ddl::plain_text(self.rest));
            return Ok(Statement::Reset { key });
        }
        if self.take(&["SHOW", "QUERIES"]) {
            return self.end(Statement::ShowQueries);
        }
        if self.take(&["SHOW", "TABLES"]) || self.take(&["SHOW", "VIEWS"]) {
            return self.end(Statement::ShowTables);
        }
        if self.take(&["DESCRIBE"]) || self.take(&["DESC"]) {
            let _ = self.take(&["TABLE"]);
            let name = self.name()?;
            return self.end(Statement::Describe { name });
        }
        if self.take(&["STOP", "QUERY"]) {
            let name = self.name()?;
            return self.end(Statement::StopQuery { name });
        }
        let is_query = ["SELECT", "WITH", "FROM", "VALUES"]
            .iter()
            .any(|word| is_word(self.rest.first(), word))
            || self.rest.first().is_some_and(|t| t.token == Token::LParen);
        if is_query {
            return Ok(Statement::Select(self.query()?));
        }
        Err(self.unknown())
    }

    /// Takes these words if all of them come next.
    fn take(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(idx, word)| is_word(self.rest.get(idx), word));
        if found {
            self.rest = &self.rest[words.len()..];
        }
        found
    }

    fn at(&self) -> Option<TextPosition> {
        self.rest.first().map(|token| place(token.span.start))
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        let found = self
            .rest
            .first()
            .map_or_else(|| "the end".to_owned(), |token| token.token.to_string());
        SqlError::Syntax {
            message: format!("expected {wanted}, found {found}"),
        }
        .at(self.at())
    }

    fn unknown(&self) -> SqlError {
        match self.rest.first().map(|token| &token.token) {
            Some(Token::Word(word)) => match did_you_mean(&word.value, STATEMENTS) {
                Some(near) => self.unexpected(near),
                None => SqlError::unsupported(format!("statement {}", word.value.to_uppercase()))
                    .at(self.at()),
            },
            _ => self.unexpected("a statement"),
        }
    }

    fn name(&mut self) -> Result<String, SqlError> {
        match self.rest.first().map(|token| &token.token) {
            Some(Token::Word(word)) => {
                self.rest = &self.rest[1..];
                Ok(word.value.clone())
            }
            Some(Token::SingleQuotedString(name)) => {
                self.rest = &self.rest[1..];
                Ok(name.clone())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn end(&self, statement: Statement) -> Result<Statement, SqlError> {
        if self.rest.is_empty() {
            return Ok(statement);
        }
        Err(self.unexpected("the end of the statement"))
    }

    /// The rest as a query. It is parsed once here, so that a script with a slip does not start.
    fn query(&self) -> Result<QueryText, SqlError> {
        if self.rest.is_empty() {
            return Err(self.unexpected("a query"));
        }
        let query = QueryText::from_tokens(self.sql, self.rest.to_vec())?;
        parse_query(&query)?;
        Ok(query)
    }

    fn insert(&mut self) -> Result<(String, QueryText), SqlError> {
        if !self.take(&["INTO"]) {
            return Err(self.unexpected("INTO"));
        }
        let _ = self.take(&["TABLE"]);
        let sink = self.name()?;
        Ok((sink, self.query()?))
    }

    fn create(mut self) -> Result<Statement, SqlError> {
        let or_replace = self.take(&["OR", "REPLACE"]);
        let _ = self.take(&["TEMPORARY"]) || self.take(&["TEMP"]);
        let materialized = self.take(&["MATERIALIZED"]);
        if self.take(&["VIEW"]) {
            let name = self.name()?;
            if !self.take(&["AS"]) {
                return Err(self.unexpected("AS"));
            }
            let query = self.query()?;
            return Ok(Statement::CreateView {
                name,
                or_replace,
                materialized,
                query,
            });
        }
        if materialized || !self.take(&["TABLE"]) {
            return Err(self.unexpected("TABLE or VIEW"));
        }
        let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
        let position = self.at();
        let name = self.name()?;
        let query = as_query(self.rest);
        let (body, query) = self.rest.split_at(query.unwrap_or(self.rest.len()));
        let ddl::TableBody {
            columns,
            generated,
            watermark,
            options,
        } = ddl::body(body)?;
        let create = Box::new(CreateTable {
            name,
            if_not_exists,
            or_replace,
            columns,
            generated,
            watermark,
            options,
            position,
        });
        if query.is_empty() {
            return Ok(Statement::CreateTable(create));
        }
        self.rest = &query[1..];
        let query = self.query()?;
        Ok(Statement::CreateTableAs { create, query })
    }

    fn explain(mut self) -> Result<Statement, SqlError> {
        let mut format = ExplainFormat::Tree;
        if self.take(&["FORMAT"]) {
            let position = self.at();
            format = self
                .name()?
                .parse()
                .map_err(|error: SqlError| error.at(position))?;
        }
        let _ = self.take(&["EXTENDED"]) || self.take(&["FORMATTED"]);
        if self.take(&["INSERT"]) {
            let (sink, query) = self.insert()?;
            return Ok(Statement::Explain {
                format,
                sink: Some(sink),
                query,
            });
        }
        Ok(Statement::Explain {
            format,
            sink: None,
            query: self.query()?,
        })
    }

    fn set(self) -> Result<Statement, SqlError> {
        let (key, value) = ddl::option(self.rest)?;
        Ok(Statement::Set { key, value })
    }
}

/// Where `AS query` begins in what stands behind the name of a table.
fn as_query(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0i32;
    tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0 && is_word(Some(token), "AS")
    })
}

/// The syntax tree of a query.
pub(crate) fn parse_query(
    query: &QueryText,
) -> Result<datafusion::sql::sqlparser::ast::Query, SqlError> {
    let tokens = text::prepare(&query.tokens)?;
    let mut parser = text::parser(tokens);
    let parsed = parser.parse_query().map_err(from_parser)?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(SqlError::Syntax {
            message: format!("expected the end of the statement, found {}", next.token),
        }
        .at(Some(place(next.span.start))));
    }
    Ok(*parsed)
}
