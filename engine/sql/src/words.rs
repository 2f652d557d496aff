//! Words among the tokens of a text.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether the token is this word, unquoted.
pub(crate) fn is_word(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(w))
        if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
