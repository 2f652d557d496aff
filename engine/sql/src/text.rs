//! Text → tokens → statements: limits, the dialect, and what is rewritten before parsing.
//!
//! Rewriting tokens instead of text keeps the user's positions: every token remembers where it
//! stood, so every error can say so.

use datafusion::sql::sqlparser::{
    ast::Expr,
    dialect::Dialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word},
};
use millstream_types::TextPosition;

use crate::{
    SqlError,
    error::from_parser,
    limits::{CHAIN_MAX, DEPTH_MAX, TEXT_MAX},
    literals,
    words::is_word,
};

mod operators;

/// The function into which `FROM t WATERMARK c DELAY OF …` is rewritten.
pub(crate) const WATERMARK_FUNCTION: &str = "__watermark";
/// The condition that stands for a watermark on a subquery.
pub(crate) const MARK_FUNCTION: &str = "__mark";

/// Spark's SQL as sqlparser sees it.
#[derive(Debug)]
pub(crate) struct SparkSql;

impl Dialect for SparkSql {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_long_type_as_bigint(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn supports_string_literal_concatenation(&self) -> bool {
        true
    }

    fn supports_select_item_multi_column_alias(&self) -> bool {
        true
    }

    fn supports_select_expr_star(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        operators::trim(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        operators::infix(parser, expr, precedence)
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        false
    }
}

/// A query as the user wrote it: tokens with their places.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryText {
    pub(crate) tokens: Vec<TokenWithSpan>,
    text: String,
}

impl QueryText {
    /// A query of its own.
    ///
    /// # Errors
    /// [`SqlError::TooLarge`] or [`SqlError::Syntax`].
    pub fn new(sql: &str) -> Result<QueryText, SqlError> {
        let mut tokens = tokens(sql)?;
        while tokens.last().is_some_and(|t| t.token == Token::SemiColon) {
            tokens.pop();
        }
        QueryText::from_tokens(sql, tokens)
    }

    pub(crate) fn from_tokens(
        sql: &str,
        tokens: Vec<TokenWithSpan>,
    ) -> Result<QueryText, SqlError> {
        check_depth(&tokens)?;
        let text = slice(sql, &tokens);
        Ok(QueryText { tokens, text })
    }

    /// The text between the first and the last token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the query starts.
    #[must_use]
    pub fn position(&self) -> Option<TextPosition> {
        self.tokens.first().map(|token| place(token.span.start))
    }

    /// Where a name first stands, for errors that know no place.
    pub(crate) fn locate(&self, name: &str) -> Option<TextPosition> {
        let last = name.rsplit('.').next().unwrap_or(name);
        self.tokens
            .iter()
            .find(|token| {
                matches!(&token.token, Token::Word(w) if w.value.eq_ignore_ascii_case(last))
            })
            .map(|token| place(token.span.start))
    }
}

pub(crate) fn place(at: Location) -> TextPosition {
    TextPosition {
        line: at.line,
        column: at.column,
    }
}

/// The tokens of a text, without white space and comments.
pub(crate) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if sql.len() > TEXT_MAX {
        return Err(SqlError::TooLarge {
            what: "text in bytes",
            limit: TEXT_MAX,
        });
    }
    let tokens = Tokenizer::new(&SparkSql, sql)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| from_parser(error.into()))?;
    let solid = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    Ok(literals::read(solid))
}

/// A parser over tokens.
pub(crate) fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&SparkSql)
        .with_recursion_limit(DEPTH_MAX + 10)
        .with_tokens_with_locations(tokens)
}

/// The part of `sql` that the tokens cover.
fn slice(sql: &str, tokens: &[TokenWithSpan]) -> String {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return String::new();
    };
    let start = offset(sql, first.span.start);
    let end = offset(sql, last.span.end);
    sql.get(start..end).unwrap_or_default().to_owned()
}

fn offset(sql: &str, at: Location) -> usize {
    let (mut line, mut column) = (1, 1);
    for (offset, ch) in sql.char_indices() {
        if (line, column) == (at.line, at.column) {
            return offset;
        }
        if ch == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    sql.len()
}

/// Refuses what would overflow the stack of a recursive planner.
fn check_depth(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    // One counter of chained operators for each open parenthesis.
    let mut chains = vec![0usize];
    for token in tokens {
        let at = Some(place(token.span.start));
        match &token.token {
            Token::LParen | Token::LBracket => chains.push(0),
            Token::RParen | Token::RBracket if chains.len() > 1 => {
                chains.pop();
            }
            Token::Comma => set_last(&mut chains, |_| 0),
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::StringConcat
            | Token::Mod
            | Token::Period => set_last(&mut chains, |n| n + 1),
            Token::Word(word) => match word.keyword {
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::UNION => {
                    set_last(&mut chains, |n| n + 1);
                }
                Keyword::SELECT | Keyword::FROM | Keyword::WHEN => set_last(&mut chains, |n| {
                    // UNION chains go over SELECTs, so they are not forgotten at once.
                    n.saturating_sub(1).min(CHAIN_MAX - 10)
                }),
                _ => {}
            },
            _ => {}
        }
        if chains.len() > DEPTH_MAX {
            return Err(SqlError::TooLarge {
                what: "parentheses are nested too deeply",
                limit: DEPTH_MAX,
            }
            .at(at));
        }
        if chains.last().is_some_and(|chain| *chain > CHAIN_MAX) {
            return Err(SqlError::TooLarge {
                what: "operators in one chain",
                limit: CHAIN_MAX,
            }
            .at(at));
        }
    }
    Ok(())
}

fn set_last(chains: &mut [usize], change: impl Fn(usize) -> usize) {
    if let Some(last) = chains.last_mut() {
        *last = change(*last);
    }
}

/// What is done to a query's tokens before they are parsed: what the parser would refuse, or take for
/// something else, is written another way.
pub(crate) fn prepare(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut tokens = tokens.to_vec();
    for idx in 0..tokens.len() {
        if is_window_name(&tokens, idx) || is_exists_call(&tokens, idx) {
            demote(&mut tokens[idx]);
        }
    }
    let tokens = rewrite_watermarks(plain_table_arguments(tokens))?;
    Ok(literals::plain_intervals(&tokens))
}

/// `window` is a keyword for sqlparser, a function and a column for Spark. It stays a keyword in
/// the clause `WINDOW name AS (…)`.
fn is_window_name(tokens: &[TokenWithSpan], idx: usize) -> bool {
    is_word(tokens.get(idx), "window")
        && !(matches!(tokens.get(idx + 1).map(|t| &t.token), Some(Token::Word(_)))
            && is_word(tokens.get(idx + 2), "AS")
            && tokens
                .get(idx + 3)
                .is_some_and(|t| t.token == Token::LParen))
}

/// `exists(list, x -> …)`, unlike `EXISTS (SELECT …)`.
fn is_exists_call(tokens: &[TokenWithSpan], idx: usize) -> bool {
    let opens = |at: usize| tokens.get(at).is_some_and(|t| t.token == Token::LParen);
    let queries = ["SELECT", "WITH", "VALUES", "FROM", "TABLE"];
    is_word(tokens.get(idx), "exists")
        && opens(idx + 1)
        && !opens(idx + 2)
        && !queries
            .iter()
            .any(|word| is_word(tokens.get(idx + 2), word))
}

fn demote(token: &mut TokenWithSpan) {
    if let Token::Word(word) = &mut token.token {
        word.keyword = Keyword::NoKeyword;
        word.value = word.value.to_ascii_lowercase();
    }
}

/// `t WATERMARK c DELAY OF INTERVAL n UNIT [alias]` → `__watermark('t', 'c', 'n UNIT') AS t`.
fn rewrite_watermarks(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let is_clause = is_word(Some(&token), "WATERMARK")
            && matches!(rest.peek().map(|t| &t.token), Some(Token::Word(_)))
            && out.last().is_some_and(|last| {
                matches!(&last.token, Token::Word(_)) || last.token == Token::RParen
            });
        if !is_clause {
            out.push(token);
            continue;
        }
        let at = token.span;
        let clause: Vec<TokenWithSpan> = rest.by_ref().take(6).collect();
        let syntax = |message: &str| {
            SqlError::Syntax {
                message: message.to_owned(),
            }
            .at(Some(place(at.start)))
        };
        let [column, delay, of, interval, count, unit] = clause.as_slice() else {
            return Err(syntax("expected WATERMARK column DELAY OF INTERVAL n UNIT"));
        };
        if !is_word(Some(delay), "DELAY")
            || !is_word(Some(of), "OF")
            || !is_word(Some(interval), "INTERVAL")
        {
            return Err(syntax("expected WATERMARK column DELAY OF INTERVAL n UNIT"));
        }
        let table = out.pop().map(|t| t.token);
        let text = |token: &TokenWithSpan| token.token.to_string().replace(['\'', '`'], "");
        let spanned = |token| TokenWithSpan::new(token, at);
        let quoted = |text: String| spanned(Token::SingleQuotedString(text));
        let delay = format!("{} {}", text(count), text(unit));
        let Some(Token::Word(Word { value: table, .. })) = table else {
            mark_subquery(&mut out, column.clone(), &delay, at);
            continue;
        };
        out.extend([
            spanned(Token::make_word(WATERMARK_FUNCTION, None)),
            spanned(Token::LParen),
            quoted(table.clone()),
            spanned(Token::Comma),
            quoted(text(column)),
            spanned(Token::Comma),
            quoted(delay),
            spanned(Token::RParen),
        ]);
        let has_alias = rest.peek().is_some_and(starts_alias);
        if !has_alias {
            let alias = Word {
                value: table,
                quote_style: Some('`'),
                keyword: Keyword::NoKeyword,
            };
            out.extend([
                spanned(Token::make_keyword("AS")),
                spanned(Token::Word(alias)),
            ]);
        }
    }
    Ok(out)
}

/// Whether a token behind a table is its alias, or the word before it.
fn starts_alias(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.keyword == Keyword::AS || word.keyword == Keyword::NoKeyword)
}

/// `(query)`, whose last parenthesis was taken off → `(SELECT * FROM (query) WHERE __mark(c, 'n UNIT'))`.
fn mark_subquery(out: &mut Vec<TokenWithSpan>, column: TokenWithSpan, delay: &str, at: Span) {
    let mut depth = 1usize;
    let open = out.iter().rposition(|token| {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let spanned = |token| TokenWithSpan::new(token, at);
    let word = |text: &str| spanned(Token::make_word(text, None));
    let front = [
        word("SELECT"),
        spanned(Token::Mul),
        word("FROM"),
        spanned(Token::LParen),
    ];
    let after_open = open.map_or(0, |open| open + 1);
    out.splice(after_open..after_open, front);
    out.extend([
        spanned(Token::RParen),
        word("WHERE"),
        word(MARK_FUNCTION),
        spanned(Token::LParen),
        column,
        spanned(Token::Comma),
        spanned(Token::SingleQuotedString(delay.to_owned())),
        spanned(Token::RParen),
        spanned(Token::RParen),
    ]);
}

/// `TUMBLE(TABLE t PARTITION BY k, DESCRIPTOR(c), …)` → `TUMBLE(t, DESCRIPTOR(c), …)`.
fn plain_table_arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let opens = out.last().is_some_and(|last| last.token == Token::LParen);
        let function = out.len().checked_sub(2).and_then(|idx| out.get(idx));
        let is_argument = opens
            && is_word(Some(&token), "TABLE")
            && ["TUMBLE", "HOP", "SESSION"]
                .iter()
                .any(|name| is_word(function, name));
        if !is_argument {
            out.push(token);
            continue;
        }
        out.extend(rest.next());
        if is_word(rest.peek(), "PARTITION") {
            // The keys are those of GROUP BY.
            while rest.peek().is_some() && !is_word(rest.peek(), "DESCRIPTOR") {
                let last = rest.next();
                if is_word(rest.peek(), "DESCRIPTOR") {
                    out.extend(last);
                }
            }
        }
    }
    out
}
