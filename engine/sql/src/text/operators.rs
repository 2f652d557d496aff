//! Operators between two expressions that sqlparser does not know, or not as Spark does: `DIV`,
//! `>>>`, `LIKE ANY (…)`.

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, TrimWhereField},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use crate::calls::called;

/// `trim(s)`, `trim(x, s)`, `trim([BOTH | LEADING | TRAILING] [x] FROM s)`: sqlparser has not all of them.
pub(super) fn trim(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let is_trim = matches!(&parser.peek_token_ref().token, Token::Word(word)
        if word.keyword == Keyword::TRIM && word.quote_style.is_none());
    if !is_trim || parser.peek_nth_token(1).token != Token::LParen {
        return None;
    }
    parser.next_token();
    parser.next_token();
    Some(trimmed(parser))
}

fn trimmed(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let sides = [Keyword::BOTH, Keyword::LEADING, Keyword::TRAILING];
    let trim_where = parser.parse_one_of_keywords(&sides).map(|side| match side {
        Keyword::LEADING => TrimWhereField::Leading,
        Keyword::TRAILING => TrimWhereField::Trailing,
        _ => TrimWhereField::Both,
    });
    let blanks = trim_where.is_some() && parser.parse_keyword(Keyword::FROM);
    let first = parser.parse_expr()?;
    let has_second = !blanks
        && (parser.parse_keyword(Keyword::FROM)
            || (trim_where.is_none() && parser.consume_token(&Token::Comma)));
    let (expr, trim_what) = if has_second {
        (parser.parse_expr()?, Some(Box::new(first)))
    } else {
        (first, None)
    };
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Trim {
        expr: Box::new(expr),
        trim_where,
        trim_what,
        trim_characters: None,
    })
}

/// The rest of an expression whose left side was read, if the operator is one of these.
pub(super) fn infix(
    parser: &mut Parser<'_>,
    left: &Expr,
    precedence: u8,
) -> Option<Result<Expr, ParserError>> {
    if parser.parse_keyword(Keyword::DIV) {
        let right = parser.parse_subexpr(precedence);
        return Some(right.map(|right| Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: BinaryOperator::MyIntegerDivide,
            right: Box::new(right),
        }));
    }
    let shifts = parser.peek_token_ref().token == Token::ShiftRight
        && parser.peek_nth_token(1).token == Token::Gt;
    if shifts {
        parser.next_token();
        parser.next_token();
        let right = parser.parse_subexpr(precedence);
        let shifted = |right| called("shiftrightunsigned", vec![left.clone(), right]);
        return Some(right.map(shifted));
    }
    if let Some(negated) = pattern_test(parser) {
        // sqlparser reads `RLIKE NULL` as something else.
        let pattern = parser.parse_subexpr(precedence);
        return Some(pattern.map(|pattern| Expr::RLike {
            negated,
            expr: Box::new(left.clone()),
            pattern: Box::new(pattern),
            regexp: false,
        }));
    }
    quantified_like(parser, left)
}

/// `[NOT] (RLIKE | REGEXP)`: whether it is negated.
fn pattern_test(parser: &mut Parser<'_>) -> Option<bool> {
    for word in [Keyword::RLIKE, Keyword::REGEXP] {
        if parser.parse_keyword(word) {
            return Some(false);
        }
        if parser.parse_keywords(&[Keyword::NOT, word]) {
            return Some(true);
        }
    }
    None
}

/// `[NOT] (LIKE | ILIKE) (ANY | SOME | ALL) (pattern, …)`.
fn quantified_like(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    for negation in [&[][..], &[Keyword::NOT]] {
        for like in [Keyword::LIKE, Keyword::ILIKE] {
            for quantifier in [Keyword::ANY, Keyword::SOME, Keyword::ALL] {
                let words = [negation, &[like, quantifier]].concat();
                if parser.parse_keywords(&words) {
                    let patterns = patterns(parser);
                    let negated = !negation.is_empty();
                    let test = |pattern| like_one(left, like, negated, pattern);
                    let and = quantifier == Keyword::ALL;
                    return Some(patterns.and_then(|all| joined(all.into_iter().map(test), and)));
                }
            }
        }
    }
    None
}

fn patterns(parser: &mut Parser<'_>) -> Result<Vec<Expr>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let patterns = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(patterns)
}

fn like_one(left: &Expr, like: Keyword, negated: bool, pattern: Expr) -> Expr {
    let expr = Box::new(left.clone());
    let pattern = Box::new(pattern);
    if like == Keyword::ILIKE {
        return Expr::ILike {
            negated,
            any: false,
            expr,
            pattern,
            escape_char: None,
        };
    }
    Expr::Like {
        negated,
        any: false,
        expr,
        pattern,
        escape_char: None,
    }
}

fn joined(tests: impl Iterator<Item = Expr>, and: bool) -> Result<Expr, ParserError> {
    let op = if and {
        BinaryOperator::And
    } else {
        BinaryOperator::Or
    };
    tests
        .reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: op.clone(),
            right: Box::new(right),
        })
        .map(|all| Expr::Nested(Box::new(all)))
        .ok_or_else(|| ParserError::ParserError("expected a pattern".to_owned()))
}
