//! The JSON tokenizer: one pass over a chunk of lines, no tree, no allocation.
//!
//! Of a chunk of lines a line ends at `\n` or at the end of the text; no state accepts a `\n` inside a
//! record, so an error never runs into the next line. A text on its own may hold line ends where it may
//! hold blanks. The text must be valid UTF-8: the caller checked it. What Spark's options allow beyond
//! JSON is looked for only where JSON ends, so it costs nothing where it does not occur.
#![deny(clippy::indexing_slicing)]

/// How deep values may be nested.
const DEPTH_MAX: u8 = 64;

/// Memory that the items of lists and maps in one record may take, without their text. An item may
/// be `{}` and have a thousand columns; a record that needs more than this and [`UNFOLDED_FACTOR`]
/// times its line is malformed.
const UNFOLDED_BYTES_MAX: usize = 64 << 20;
/// See [`UNFOLDED_BYTES_MAX`].
const UNFOLDED_FACTOR: usize = 8;

/// Why a line is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax(pub &'static str);

/// What is taken for JSON beyond its standard, by Spark's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, as Spark has it"
)]
pub struct Grammar {
    /// `allowUnquotedFieldNames`: keys without quotes.
    pub unquoted_names: bool,
    /// `allowSingleQuotes`: texts in single quotes.
    pub single_quotes: bool,
    /// `allowNumericLeadingZeros`: `007`.
    pub leading_zeros: bool,
    /// `allowBackslashEscapingAnyCharacter`: a backslash before anything.
    pub any_escape: bool,
    /// `allowUnquotedControlChars`: control characters in texts.
    pub control_characters: bool,
    /// `allowComments`: `/* */` and `//`.
    pub comments: bool,
    /// `allowNonNumericNumbers`: `NaN`, `Infinity`, `-INF`.
    pub special_numbers: bool,
}

impl Default for Grammar {
    /// Spark's: single quotes and special numbers.
    fn default() -> Grammar {
        Grammar {
            unquoted_names: false,
            single_quotes: true,
            leading_zeros: false,
            any_escape: false,
            control_characters: false,
            comments: false,
            special_numbers: true,
        }
    }
}

/// A position in a text.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    start: usize,
    unfolded: usize,
    unfolded_max: usize,
    grammar: Grammar,
    /// Whether the text is one of lines.
    lines: bool,
    /// Whether a line end or a slash may be a blank.
    rare_blanks: bool,
}

/// The inside of a string literal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a> {
    /// The bytes between the quotes.
    pub(crate) raw: &'a [u8],
    /// Whether escapes occur in them.
    pub(crate) escaped: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// A bit in each byte that ends the plain part of a string: quote, backslash, control character.
/// Only the lowest bit is exact: a borrow may run into the bytes above it.
#[inline(always)]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let slash = slash.wrapping_sub(ONES) & !slash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | slash | control) & HIGHS
}

impl<'a> Scan<'a> {
    /// A scanner of the line that begins at `at` in a text of lines.
    #[must_use]
    #[inline]
    pub fn line(text: &'a [u8], at: usize, grammar: Grammar) -> Scan<'a> {
        Scan {
            text,
            at,
            start: at,
            unfolded: 0,
            unfolded_max: UNFOLDED_BYTES_MAX,
            grammar,
            lines: true,
            rare_blanks: grammar.comments,
        }
    }

    /// A scanner of a text on its own.
    #[must_use]
    #[inline]
    pub fn text(text: &'a [u8], grammar: Grammar) -> Scan<'a> {
        Scan {
            lines: false,
            rare_blanks: true,
            ..Scan::line(text, 0, grammar)
        }
    }

    /// Whether a string column takes other values as they stand in the text.
    pub(crate) fn keeps_texts(&self) -> bool {
        self.lines
    }

    /// What it takes for JSON.
    pub(crate) fn grammar(&self) -> Grammar {
        self.grammar
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Says that an item takes this much memory, without its text.
    #[inline(always)]
    pub(crate) fn unfold(&mut self, bytes: usize) -> Result<(), Syntax> {
        self.unfolded += bytes;
        if self.unfolded > self.unfolded_max {
            return self.unfold_more();
        }
        Ok(())
    }

    #[cold]
    fn unfold_more(&mut self) -> Result<(), Syntax> {
        let rest = self.text.get(self.start..).unwrap_or(&[]);
        let line = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.unfolded_max = UNFOLDED_BYTES_MAX + line.saturating_mul(UNFOLDED_FACTOR);
        if self.unfolded > self.unfolded_max {
            return Err(Syntax("items of lists need too much memory"));
        }
        Ok(())
    }

    /// What the items of the record took; the next record of the line begins anew.
    #[inline(always)]
    pub fn take_unfolded(&mut self) -> usize {
        std::mem::take(&mut self.unfolded)
    }

    /// Where it stands.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte; a line end at the end of the text.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b'\n')
    }

    /// Goes over one byte that [`peek`](Scan::peek) has shown.
    #[inline(always)]
    pub fn bump(&mut self) {
        self.at += 1;
    }

    /// Goes over `prefix` if it comes next.
    #[inline(always)]
    pub(crate) fn take(&mut self, prefix: &[u8]) -> bool {
        let found = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(prefix));
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// What was read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or(&[])
    }

    /// Goes over blanks.
    #[inline(always)]
    pub fn skip_blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
        if self.rare_blanks {
            self.skip_rare_blanks();
        }
    }

    /// Goes over line ends, comments and blanks.
    #[cold]
    fn skip_rare_blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') || self.rare_blank() {
            if matches!(self.peek(), b' ' | b'\t' | b'\r') {
                self.at += 1;
            }
        }
    }

    /// Goes over a line end or a comment; `false` if it is no blank here.
    fn rare_blank(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let long = match rest {
            [b'\n', ..] if !self.lines => Some(1),
            [b'/', b'/', ..] if self.grammar.comments => {
                Some(memchr::memchr(b'\n', rest).unwrap_or(rest.len()))
            }
            [b'/', b'*', inside @ ..] if self.grammar.comments => {
                let end = memchr::memmem::find(inside, b"*/").map(|at| at + 4);
                end.filter(|end| !self.lines || !rest.iter().take(*end).any(|b| *b == b'\n'))
            }
            _ => None,
        };
        self.at += long.unwrap_or(0);
        long.is_some()
    }

    /// Goes over one byte that must come next.
    ///
    /// # Errors
    /// `what`, if another one does.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Syntax> {
        if self.peek() != byte {
            return Err(Syntax(what));
        }
        self.at += 1;
        Ok(())
    }

    /// A string literal; stands behind the opening quote.
    #[inline(always)]
    pub(crate) fn quoted(&mut self) -> Result<Quoted<'a>, Syntax> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.run_to_stop();
            match self.peek() {
                b'"' => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Quoted { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ if self.may_hold_control() => self.at += 1,
                _ => return Err(Syntax("unterminated string or control character in it")),
            }
        }
    }

    /// Whether the control character that comes next may stand in a text.
    #[cold]
    fn may_hold_control(&self) -> bool {
        self.grammar.control_characters
            && !self.is_at_end()
            && !(self.lines && self.peek() == b'\n')
    }

    /// A text in single quotes; stands behind the opening one.
    #[cold]
    fn single_quoted(&mut self) -> Result<Quoted<'a>, Syntax> {
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                b'\'' => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Quoted { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                0x20.. => self.at += 1,
                _ if self.may_hold_control() => self.at += 1,
                _ => return Err(Syntax("unterminated string or control character in it")),
            }
        }
    }

    /// A key that does not begin with a double quote, as the options allow it.
    #[cold]
    fn other_key(&mut self) -> Result<Quoted<'a>, Syntax> {
        if self.peek() == b'\'' && self.grammar.single_quotes {
            self.at += 1;
            return self.single_quoted();
        }
        let start = self.at;
        let in_name = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || b"_$-+#*@".contains(&b);
        if self.grammar.unquoted_names {
            while in_name(self.peek()) {
                self.at += 1;
            }
        }
        if self.at == start {
            return Err(Syntax("object key is no string"));
        }
        Ok(Quoted {
            raw: self.since(start),
            escaped: false,
        })
    }

    /// A key of an object, without its colon.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Quoted<'a>, Syntax> {
        if self.peek() == b'"' {
            self.at += 1;
            return self.quoted();
        }
        self.other_key()
    }

    /// A text value, if one comes next.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Result<Option<Quoted<'a>>, Syntax> {
        match self.peek() {
            b'"' => {
                self.at += 1;
                self.quoted().map(Some)
            }
            b'\'' if self.grammar.single_quotes => {
                self.at += 1;
                self.single_quoted().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Moves to the next quote, backslash, control character or end.
    #[inline(always)]
    fn run_to_stop(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or(&[]);
        let (words, _) = rest.as_chunks::<8>();
        let (pairs, _) = words.as_chunks::<2>();
        for [first, second] in pairs {
            let low = stops(u64::from_le_bytes(*first));
            let high = stops(u64::from_le_bytes(*second));
            if low | high != 0 {
                let (skipped, stop) = if low != 0 { (0, low) } else { (8, high) };
                self.at += skipped + (stop.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 16;
        }
        while let Some(byte) = self.text.get(self.at) {
            if *byte == b'"' || *byte == b'\\' || *byte < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    /// Checks one escape; stands at its backslash.
    #[cold]
    fn escape(&mut self) -> Result<(), Syntax> {
        let wrong = Syntax("unknown escape in string");
        let rest = self.text.get(self.at + 1..).unwrap_or(&[]);
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = rest.get(1..5).ok_or(wrong)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(wrong);
                }
                self.at += 6;
            }
            Some(b'\'') if self.grammar.single_quotes => self.at += 2,
            Some(byte) if self.grammar.any_escape && *byte >= 0x20 => self.at += 2,
            _ => return Err(wrong),
        }
        Ok(())
    }

    /// A number; `true` if it is an integer. Stands at its sign or first digit.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Result<bool, Syntax> {
        let wrong = Syntax("not a number");
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
            if self.peek().is_ascii_digit() {
                if !self.grammar.leading_zeros {
                    return Err(Syntax("number with a leading zero"));
                }
                self.digits();
            }
        } else if !self.digits() {
            return Err(wrong);
        }
        if !matches!(self.peek(), b'.' | b'e' | b'E') {
            return Ok(true);
        }
        if self.peek() == b'.' {
            self.at += 1;
            if !self.digits() {
                return Err(wrong);
            }
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if !self.digits() {
                return Err(wrong);
            }
        }
        Ok(false)
    }

    #[inline(always)]
    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at > start
    }

    /// `true`, `false`, `null` or a bare special number such as `NaN`.
    pub(crate) fn word(&mut self) -> Result<&'a [u8], Syntax> {
        let start = self.at;
        if matches!(self.peek(), b'-' | b'+') {
            self.at += 1;
        }
        while self.peek().is_ascii_alphabetic() {
            self.at += 1;
        }
        match self.since(start) {
            word @ (b"true" | b"false" | b"null") => Ok(word),
            word if self.grammar.special_numbers && special(word).is_some() => Ok(word),
            _ => Err(Syntax("unexpected token")),
        }
    }

    /// A number, or a bare special number that begins with a sign.
    #[inline(always)]
    pub(crate) fn signed(&mut self) -> Result<bool, Syntax> {
        let next = self.text.get(self.at + 1).copied().unwrap_or(b'\n');
        if self.peek() == b'-' && next == b'I' {
            self.word()?;
            return Ok(false);
        }
        self.number()
    }

    /// Goes over one value of any kind, checking its structure.
    #[inline(always)]
    pub(crate) fn skip_value(&mut self, depth: u8) -> Result<(), Syntax> {
        match self.peek() {
            b'"' => {
                self.at += 1;
                self.quoted().map(|_| ())
            }
            b'0'..=b'9' | b'-' => self.signed().map(|_| ()),
            b'{' => self.skip_object(depth),
            b'[' => self.skip_array(depth),
            b'\'' if self.grammar.single_quotes => {
                self.at += 1;
                self.single_quoted().map(|_| ())
            }
            _ => self.word().map(|_| ()),
        }
    }

    fn skip_object(&mut self, depth: u8) -> Result<(), Syntax> {
        let depth = deeper(depth)?;
        self.at += 1;
        self.skip_blanks();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.key()?;
            self.skip_blanks();
            self.expect(b':', "no colon after an object key")?;
            self.skip_blanks();
            self.skip_value(depth)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: u8) -> Result<(), Syntax> {
        let depth = deeper(depth)?;
        self.at += 1;
        self.skip_blanks();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_value(depth)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Behind an element: `true` after a comma (and blanks), `false` after the closing bracket.
    ///
    /// # Errors
    /// Neither comes next.
    #[inline(always)]
    pub fn more(&mut self, close: u8) -> Result<bool, Syntax> {
        self.skip_blanks();
        let next = self.peek();
        self.at += 1;
        if next == b',' {
            self.skip_blanks();
            Ok(true)
        } else if next == close {
            Ok(false)
        } else {
            Err(Syntax("neither comma nor closing bracket after a value"))
        }
    }
}

/// The numbers that have names.
pub(crate) fn special(word: &[u8]) -> Option<f64> {
    match word {
        b"NaN" => Some(f64::NAN),
        b"Infinity" | b"+Infinity" | b"+INF" => Some(f64::INFINITY),
        b"-Infinity" | b"-INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// One level more.
pub(crate) fn deeper(depth: u8) -> Result<u8, Syntax> {
    if depth >= DEPTH_MAX {
        return Err(Syntax("nested deeper than 64 levels"));
    }
    Ok(depth + 1)
}

/// Appends what the inside of a checked string literal stands for. A half of a surrogate pair
/// becomes `?`, as Java has it.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or(&[]));
        let kind = rest.get(at + 1).copied().unwrap_or(b'\\');
        let mut used = at + 2;
        match kind {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let first = hex(rest, at + 2);
                used += 4;
                let second =
                    (rest.get(used..used + 2) == Some(b"\\u")).then(|| hex(rest, used + 2));
                let letter = match (first, second) {
                    (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                        used += 6;
                        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00))
                    }
                    _ => char::from_u32(first),
                };
                let mut buffer = [0; 4];
                let letter = letter.unwrap_or('?').encode_utf8(&mut buffer);
                out.extend_from_slice(letter.as_bytes());
            }
            plain => out.push(plain),
        }
        rest = rest.get(used..).unwrap_or(&[]);
    }
    out.extend_from_slice(rest);
}

fn hex(text: &[u8], at: usize) -> u32 {
    text.get(at..at + 4)
        .unwrap_or(&[])
        .iter()
        .fold(0, |value, byte| {
            value << 4 | char::from(*byte).to_digit(16).unwrap_or(0)
        })
}
