//! Operators between two expressions that sqlparser does not know, or not as Spark does: `DIV`,
//! `>>>`, `LIKE ANY (…)`.

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use crate::rewrite::called;

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
    quantified_like(parser, left)
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
