//! `CREATE TABLE`: columns, WATERMARK and options.

use arrow::datatypes::Fields;
use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Interval as SqlInterval, Value},
    tokenizer::{Token, TokenWithSpan},
};
use millstream_connectors_api::Options;
use millstream_types::{Interval, TextPosition};

use crate::{
    SqlError,
    error::from_parser,
    text::{parser, place, prepare},
    types::Reader,
    words::is_word,
};

/// `WATERMARK FOR column AS column - INTERVAL …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkClause {
    /// The column.
    pub column: String,
    /// How far the mark stays behind.
    pub delay: Interval,
    /// Where the clause stands.
    pub position: Option<TextPosition>,
}

/// `column AS expression`: computed of each row that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedColumn {
    /// Its name.
    pub name: String,
    pub(crate) expr: Expr,
    /// Where it stands.
    pub position: Option<TextPosition>,
}

/// What CREATE TABLE says, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    /// The name as written.
    pub name: String,
    /// An existing table stays, without an error.
    pub if_not_exists: bool,
    /// An existing table goes.
    pub or_replace: bool,
    /// The columns, if any are given.
    pub columns: Option<Fields>,
    /// Columns that are computed when the table is read; they stand behind the others.
    pub generated: Vec<GeneratedColumn>,
    /// The event-time column.
    pub watermark: Option<WatermarkClause>,
    /// All options, the engine's own among them.
    pub options: Options,
    /// Where the name stands.
    pub position: Option<TextPosition>,
}

/// What stands behind the name of a table.
#[derive(Default)]
pub(crate) struct TableBody {
    pub(crate) columns: Option<Fields>,
    pub(crate) generated: Vec<GeneratedColumn>,
    pub(crate) watermark: Option<WatermarkClause>,
    pub(crate) options: Options,
}

/// Reads what stands behind the table's name: `[(columns)] [WITH|OPTIONS (…)]`.
pub(crate) fn body(tokens: &[TokenWithSpan]) -> Result<TableBody, SqlError> {
    let mut rest = tokens;
    let mut body = TableBody::default();
    if rest.first().is_some_and(|t| t.token == Token::LParen) {
        let (inside, after) = parenthesised(rest)?;
        let mut fields = Vec::new();
        for item in split_commas(inside) {
            if is_word(item.first(), "WATERMARK") && is_word(item.get(1), "FOR") {
                if body.watermark.is_some() {
                    return Err(syntax("a table has one WATERMARK", item.first()));
                }
                body.watermark = Some(watermark_clause(item)?);
            } else if let Some((name, expr)) = computed(item) {
                body.generated.push(generated(name, expr)?);
            } else {
                fields.push(column(item)?);
            }
        }
        body.columns = (!fields.is_empty()).then(|| fields.into());
        rest = after;
    }
    let options = &mut body.options;
    if is_word(rest.first(), "USING")
        && let Some(Token::Word(name)) = rest.get(1).map(|t| &t.token)
    {
        options.set("connector", name.value.clone());
        rest = &rest[2..];
    }
    if is_word(rest.first(), "WITH") || is_word(rest.first(), "OPTIONS") {
        let (inside, after) = parenthesised(&rest[1..])?;
        for item in split_commas(inside) {
            let (key, value) = option(item)?;
            options.set(key, value);
        }
        rest = after;
    }
    match rest.first() {
        Some(token) => Err(syntax(
            &format!("unexpected {} in CREATE TABLE", token.token),
            Some(token),
        )),
        None => Ok(body),
    }
}

fn syntax(message: &str, token: Option<&TokenWithSpan>) -> SqlError {
    SqlError::Syntax {
        message: message.to_owned(),
    }
    .at(token.map(|token| place(token.span.start)))
}

/// Splits `( inside ) after`.
fn parenthesised(
    tokens: &[TokenWithSpan],
) -> Result<(&[TokenWithSpan], &[TokenWithSpan]), SqlError> {
    let mut depth = 0usize;
    for (idx, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return Ok((&tokens[1..idx], &tokens[idx + 1..])),
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 => return Err(syntax("expected (", Some(token))),
            _ => {}
        }
    }
    Err(syntax("a parenthesis is not closed", tokens.first()))
}

/// Parts between commas that are inside no bracket.
fn split_commas(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut parts = Vec::new();
    // Angles are brackets behind the name of a type, and comparisons elsewhere.
    let (mut depth, mut angles, mut start) = (0i32, 0i32, 0);
    for (idx, token) in tokens.iter().enumerate() {
        let of_type = || {
            let before = idx.checked_sub(1).and_then(|before| tokens.get(before));
            ["ARRAY", "MAP", "STRUCT"]
                .iter()
                .any(|name| is_word(before, name))
        };
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Lt if of_type() => angles += 1,
            Token::Gt if angles > 0 => angles -= 1,
            Token::ShiftRight if angles > 0 => angles = (angles - 2).max(0),
            Token::Comma if depth == 0 && angles == 0 => {
                parts.push(&tokens[start..idx]);
                start = idx + 1;
            }
            _ => {}
        }
    }
    if start < tokens.len() {
        parts.push(&tokens[start..]);
    }
    parts
}

fn column(item: &[TokenWithSpan]) -> Result<arrow::datatypes::Field, SqlError> {
    let at = item.get(1).or(item.first());
    let position = at.map(|token| place(token.span.start));
    let mut reader = Reader::over(item.iter().map(|token| token.token.clone()));
    let field = reader.field(0).map_err(|error| error.at(position))?;
    if !reader.is_done() {
        return Err(syntax(
            &format!(
                "unexpected {} after column {}",
                reader.found(),
                field.name()
            ),
            item.last(),
        ));
    }
    Ok(field)
}

/// The name and the expression of `name AS expr` and of `name TYPE GENERATED ALWAYS AS (expr)`.
fn computed(item: &[TokenWithSpan]) -> Option<(&TokenWithSpan, &[TokenWithSpan])> {
    let name = item.first()?;
    if is_word(item.get(1), "AS") {
        return Some((name, &item[2..]));
    }
    let at = item.windows(3).position(|words| {
        is_word(words.first(), "GENERATED")
            && is_word(words.get(1), "ALWAYS")
            && is_word(words.get(2), "AS")
    })?;
    Some((name, &item[at + 3..]))
}

fn generated(name: &TokenWithSpan, expr: &[TokenWithSpan]) -> Result<GeneratedColumn, SqlError> {
    let position = Some(place(name.span.start));
    let Token::Word(word) = &name.token else {
        return Err(syntax("expected a name of a column", Some(name)));
    };
    let mut parser = parser(prepare(expr)?);
    let expr = parser
        .parse_expr()
        .map_err(|error| from_parser(error).at(position))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(syntax(
            &format!("unexpected {} after a generated column", next.token),
            Some(&next),
        ));
    }
    Ok(GeneratedColumn {
        name: word.value.clone(),
        expr,
        position,
    })
}

fn watermark_clause(item: &[TokenWithSpan]) -> Result<WatermarkClause, SqlError> {
    let position = item.first().map(|token| place(token.span.start));
    let mut parser = parser(item[2..].to_vec());
    let mut parts = || -> Result<_, _> {
        let column = parser.parse_expr()?;
        parser.expect_keyword(datafusion::sql::sqlparser::keywords::Keyword::AS)?;
        let definition = parser.parse_expr()?;
        Ok::<_, datafusion::sql::sqlparser::parser::ParserError>((
            column,
            definition,
            parser.peek_token(),
        ))
    };
    let (column, definition, next) = parts().map_err(|error| from_parser(error).at(position))?;
    if next.token != Token::EOF {
        return Err(syntax(
            &format!("unexpected {} after WATERMARK", next.token),
            Some(&next),
        ));
    }
    let column = plain(&column).map_err(|error| error.at(position))?;
    let delay = delay(&column, &definition).map_err(|error| error.at(position))?;
    Ok(WatermarkClause {
        column,
        delay,
        position,
    })
}

fn plain(expr: &Expr) -> Result<String, SqlError> {
    if let Expr::Identifier(ident) = expr {
        return Ok(ident.value.clone());
    }
    Err(SqlError::EventTimeNested {
        expression: expr.to_string(),
    })
}

/// The delay of `column`, `column - INTERVAL …`, `column + INTERVAL …`.
fn delay(column: &str, definition: &Expr) -> Result<Interval, SqlError> {
    let (left, sign, right) = match definition {
        Expr::BinaryOp { left, op, right } if *op == BinaryOperator::Minus => (left, "", right),
        Expr::BinaryOp { left, op, right } if *op == BinaryOperator::Plus => (left, "-", right),
        other => {
            plain(other)?;
            return Ok(Interval::default());
        }
    };
    if !plain(left)?.eq_ignore_ascii_case(column) {
        return Err(SqlError::EventTimeNested {
            expression: definition.to_string(),
        });
    }
    let text = match right.as_ref() {
        Expr::Interval(interval) => interval_text(interval),
        other => other.to_string(),
    };
    let delay = parse_interval(&text)?;
    let negative = delay.micros() < 0 || delay.months() < 0;
    let zero = delay == Interval::default();
    if negative || (!sign.is_empty() && !zero) {
        return Err(SqlError::NegativeDelay {
            delay: format!("{sign}{delay}"),
        });
    }
    Ok(delay)
}

/// `10 SECOND` from `INTERVAL '10' SECOND`.
fn interval_text(interval: &SqlInterval) -> String {
    let value = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    match &interval.leading_field {
        Some(field) => format!("{value} {field}"),
        None => value,
    }
}

/// Reads an interval, with our error.
pub(crate) fn parse_interval(text: &str) -> Result<Interval, SqlError> {
    text.parse().map_err(|_| SqlError::Interval {
        text: text.to_owned(),
    })
}

/// `key = value`; the key may be quoted, and may have dots when it is not.
pub(crate) fn option(item: &[TokenWithSpan]) -> Result<(String, String), SqlError> {
    let equals = item.iter().position(|token| token.token == Token::Eq);
    let Some(equals) = equals.filter(|equals| *equals > 0 && equals + 1 < item.len()) else {
        return Err(syntax("expected key = value", item.first()));
    };
    Ok((plain_text(&item[..equals]), plain_text(&item[equals + 1..])))
}

/// The text of tokens without quotes.
pub(crate) fn plain_text(tokens: &[TokenWithSpan]) -> String {
    tokens
        .iter()
        .map(|token| match &token.token {
            Token::SingleQuotedString(text) => text.clone(),
            Token::Word(word) => word.value.clone(),
            other => other.to_string(),
        })
        .collect()
}
