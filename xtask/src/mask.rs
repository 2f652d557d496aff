//! A Rust file with its comments and texts blanked out, so that rules look at code alone.
//!
//! Not a parser: it knows where comments, string and character literals begin and end, finds
//! matching braces, functions and test-only items. That is enough for every rule here and stays
//! right when the language grows.

/// Blanks comments and the insides of literals; every line and column stays where it was. With
/// `keep_texts` the literals stay and only comments go. The result is ASCII.
pub(crate) fn mask(text: &str, keep_texts: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (end, keep) = token(bytes, at, keep_texts);
        for &byte in &bytes[at..end] {
            out.push(match byte {
                b'\n' => b'\n',
                _ if keep && byte.is_ascii() => byte,
                _ => b' ',
            });
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// End of the comment, literal or single byte at `at`, and whether it is kept.
fn token(bytes: &[u8], at: usize, keep_texts: bool) -> (usize, bool) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let len = rest.iter().position(|&b| b == b'\n');
        return (at + len.unwrap_or(rest.len()), false);
    }
    if rest.starts_with(b"/*") {
        return (at + block_comment(rest), false);
    }
    let in_word = at > 0 && is_word(bytes[at - 1]);
    if !in_word && let Some(len) = raw_text(rest) {
        return (at + len, keep_texts);
    }
    match rest[0] {
        b'"' => (at + quoted(rest, b'"'), keep_texts),
        // A lifetime has no closing quote two characters on; a literal has, or an escape.
        b'\'' if rest.get(1) == Some(&b'\\') || char_literal(rest) => {
            (at + quoted(rest, b'\''), keep_texts)
        }
        _ => (at + 1, true),
    }
}

fn char_literal(rest: &[u8]) -> bool {
    let width = match rest.get(1) {
        None | Some(b'\'') => return false,
        Some(lead) if lead.is_ascii() => 1,
        Some(lead) => usize::try_from(lead.leading_ones()).unwrap_or(1),
    };
    rest.get(1 + width) == Some(&b'\'')
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw string (`r"…"`, `r#"…"#`, `br"…"`) at the start of `rest`.
fn raw_text(rest: &[u8]) -> Option<usize> {
    let after_b = rest
        .strip_prefix(b"b")
        .or(rest.strip_prefix(b"c"))
        .unwrap_or(rest);
    let body = after_b.strip_prefix(b"r")?;
    let hashes = body.iter().take_while(|&&b| b == b'#').count();
    let text = body[hashes..].strip_prefix(b"\"")?;
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let len = text.windows(close.len()).position(|w| w == close)?;
    Some(rest.len() - text.len() + len + close.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Every place of `word` in `code` where it stands alone.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let bytes = code.as_bytes();
            let before = at.checked_sub(1).is_some_and(|i| is_word(bytes[i]));
            let after = bytes.get(at + word.len()).is_some_and(|&b| is_word(b));
            !before && !after
        })
}

/// Line of a byte, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// Where the item that begins after `at` ends: its `;`, or the brace that closes its body.
/// The second value says whether it has a body.
pub(crate) fn item_end(code: &str, at: usize) -> (usize, bool) {
    let (mut round, mut curly) = (0_i64, 0_i64);
    for (i, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b'{' => curly += 1,
            b'}' => {
                curly -= 1;
                if curly <= 0 && round <= 0 {
                    return (i + 1, true);
                }
            }
            b';' if curly == 0 && round == 0 => return (i + 1, false),
            _ => {}
        }
    }
    (code.len(), false)
}

/// A span of lines, both ends included, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Span {
    pub(crate) fn len(&self) -> usize {
        self.last - self.first + 1
    }
}

/// Every function with a body.
pub(crate) fn functions(code: &str) -> Vec<Span> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = code[at + 2..].trim_start();
        let name: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        // `fn(u8) -> u8` is a type.
        if name.is_empty() {
            continue;
        }
        if let (end, true) = item_end(code, at) {
            found.push(Span {
                name,
                first: line_of(code, at),
                last: line_of(code, end - 1),
            });
        }
    }
    found
}

/// Items under `#[cfg(test)]`, and the names of test modules that live in files of their own.
pub(crate) fn test_items(code: &str) -> (Vec<Span>, Vec<String>) {
    let (mut spans, mut files) = (Vec::new(), Vec::new());
    for (at, _) in code.match_indices("#[cfg(") {
        let Some(len) = code[at..].find(']') else {
            continue;
        };
        let condition = &code[at..at + len];
        if words(condition, "test").next().is_none() || words(condition, "not").next().is_some() {
            continue;
        }
        let mut item = at + len + 1;
        while let Some(close) = code[item..].trim_start().strip_prefix("#[") {
            item = code.len() - close.len() + close.find(']').map_or(0, |i| i + 1);
        }
        let (end, has_body) = item_end(code, item);
        let name = module_name(&code[item..end]);
        if let (Some(name), false) = (&name, has_body) {
            files.push(name.clone());
        }
        spans.push(Span {
            name: name.unwrap_or_default(),
            first: line_of(code, at),
            last: line_of(code, end - 1),
        });
    }
    (spans, files)
}

/// `x` of `mod x;`, `pub(crate) mod x {`.
pub(crate) fn module_name(item: &str) -> Option<String> {
    let at = words(item, "mod").next()?;
    let before = item[..at].trim();
    if !before.is_empty() && !before.starts_with("pub") {
        return None;
    }
    let name: String = item[at + 3..]
        .trim_start()
        .bytes()
        .take_while(|&b| is_word(b))
        .map(char::from)
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_vanish_and_lines_stay() {
        let text = "let a = \"fn b() {\"; // fn c\n/* x /* y */ \n z */ let d = r#\"q\"q\"#; 'e: loop {} let f = '{';\n";
        let code = mask(text, false);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), text.lines().count());
        for word in ["fn", "x", "y", "z", "q"] {
            assert_eq!(words(&code, word).count(), 0, "{word}");
        }
        assert!(code.contains("'e: loop {}") && !code.contains("'{'"));
        assert!(mask(text, true).contains("fn b() {"));
    }

    #[test]
    fn functions_are_measured_from_their_name_to_their_brace() {
        let code = "struct A { f: fn(u8) -> u8 }\nfn one(x: [u8; 4])\nwhere\n{\n  if x {}\n}\ntrait T { fn two(); }\n";
        let found = functions(code);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].name.as_str(), found[0].first, found[0].len()),
            ("one", 2, 5)
        );
    }

    #[test]
    fn test_only_items_are_found() {
        let code = "#[cfg(test)]\nmod tests;\n#[cfg(not(test))]\nfn a() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod inline {\n fn b() {}\n}\n";
        let (spans, files) = test_items(code);
        assert_eq!(files, ["tests"]);
        assert_eq!(
            spans.iter().map(|s| (s.first, s.last)).collect::<Vec<_>>(),
            [(1, 2), (5, 9)]
        );
    }
}
