//! The little JSON that cells need: order and digits are kept as written, so decimals lose nothing.

use super::cells::quoted_text;

/// A JSON text as a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// The digits as they stand in the text.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

// Deep enough for any type a person writes, shallow enough for any stack.
const DEPTH_MAX: usize = 64;

/// Reads a whole text; `None` if it is no JSON.
pub(super) fn read(text: &str) -> Option<Json> {
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader {
        chars: &chars,
        at: 0,
    };
    let json = reader.value(DEPTH_MAX)?;
    reader.space();
    (reader.at == chars.len()).then_some(json)
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    /// Steps over `wanted` if it comes next after white space.
    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        let found = self.chars.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    fn text(&mut self) -> Option<String> {
        self.space();
        if self.chars.get(self.at) != Some(&'"') {
            return None;
        }
        let (text, end) = quoted_text(self.chars, self.at).ok()?;
        self.at = end;
        Some(text)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        self.space();
        match self.chars.get(self.at)? {
            '"' => self.text().map(Json::Text),
            '[' => self.array(depth),
            '{' => self.object(depth),
            _ => self.word(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.at += 1;
        if self.eat(']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.eat(']') {
                return Some(Json::Array(items));
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut fields = Vec::new();
        self.at += 1;
        if self.eat('}') {
            return Some(Json::Object(fields));
        }
        loop {
            let name = self.text()?;
            if !self.eat(':') {
                return None;
            }
            fields.push((name, self.value(depth)?));
            if self.eat('}') {
                return Some(Json::Object(fields));
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn word(&mut self) -> Option<Json> {
        let word: String = self
            .chars
            .iter()
            .skip(self.at)
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'))
            .collect();
        self.at += word.chars().count();
        match word.as_str() {
            "null" => Some(Json::Null),
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Some(Json::Number(word))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_order_are_kept() {
        let tree = read(r#" {"b": [1.50, null, true], "a": "x"} "#);
        let list = Json::Array(vec![
            Json::Number("1.50".into()),
            Json::Null,
            Json::Bool(true),
        ]);
        let want = Json::Object(vec![
            ("b".into(), list),
            ("a".into(), Json::Text("x".into())),
        ]);
        assert_eq!(tree, Some(want));
    }

    #[test]
    fn what_is_no_json_is_refused_and_depth_has_an_end() {
        for text in ["", "[", "[1,]", "{\"a\"}", "{a:1}", "[1] 2", "nul", "\"x"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }
}
