//! A line into fields. Allocates nothing.

use super::Dialect;

/// The fields of one line, one after another.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: Option<&'a [u8]>,
    dialect: &'a Dialect,
}

impl<'a> Fields<'a> {
    /// The fields of `line`, which has at least one.
    #[must_use]
    #[inline]
    pub fn new(line: &'a [u8], dialect: &'a Dialect) -> Fields<'a> {
        Fields {
            rest: Some(line),
            dialect,
        }
    }

    /// The next field and whether it was quoted. Text with escapes is put together in `scratch`.
    #[inline(always)]
    pub fn next<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Option<(&'s [u8], bool)>
    where
        'a: 's,
    {
        let rest = self.rest?;
        if self.dialect.quote.is_some() && rest.first().copied() == self.dialect.quote {
            return Some((self.quoted(rest, scratch), true));
        }
        let end = memchr::memchr(self.dialect.separator, rest);
        let (field, rest) = match end {
            Some(at) => (rest.get(..at).unwrap_or(rest), rest.get(at + 1..)),
            None => (rest, None),
        };
        self.rest = rest;
        Some((field, false))
    }

    /// A field whose first byte is a quote.
    fn quoted<'s>(&mut self, text: &'a [u8], scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        let quote = self.dialect.quote.unwrap_or(b'"');
        let escape = self.dialect.escape.unwrap_or(quote);
        scratch.clear();
        let mut at = 1;
        while let Some(byte) = text.get(at).copied() {
            let next = text.get(at + 1).copied();
            let ends = next.is_none() || next == Some(self.dialect.separator);
            let escaped = byte == escape && (next == Some(quote) || next == Some(escape));
            if escaped && let Some(next) = next {
                scratch.push(next);
                at += 2;
            } else if byte == quote && ends {
                self.rest = next.and(text.get(at + 2..));
                return scratch;
            } else if byte == quote {
                return self.unquoted(text, at);
            } else {
                scratch.push(byte);
                at += 1;
            }
        }
        self.rest = None;
        scratch
    }

    /// A field that ends at the first separator behind a quote that is neither escaped nor its last
    /// letter: it is no quoted field, and its quotes are letters.
    #[cold]
    fn unquoted(&mut self, text: &'a [u8], at: usize) -> &'a [u8] {
        let behind = text.get(at..).unwrap_or(&[]);
        let end = memchr::memchr(self.dialect.separator, behind).map(|place| at + place);
        self.rest = end.and_then(|end| text.get(end + 1..));
        end.and_then(|end| text.get(..end)).unwrap_or(text)
    }
}
