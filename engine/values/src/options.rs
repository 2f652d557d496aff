//! Options of readers and writers, as a user wrote them.

use crate::{ValueError, forms::Forms, pattern::Pattern, zone::Zone};

/// Options with their names in lower case. An unknown name was refused.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    pairs: Vec<(String, &'a str)>,
}

impl<'a> Options<'a> {
    /// Takes the pairs; of two with one name the last counts.
    pub(crate) fn new(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        known: &'static [&'static str],
    ) -> Result<Options<'a>, ValueError> {
        let mut taken = Vec::new();
        for (name, value) in pairs {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(ValueError::UnknownWord {
                    kind: "option",
                    word: name.chars().take(40).collect(),
                    known,
                });
            }
            taken.push((name.to_ascii_lowercase(), value));
        }
        Ok(Options { pairs: taken })
    }

    /// The value of an option; the name is in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let mut last = self.pairs.iter().rev();
        last.find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }

    pub(crate) fn boolean(&self, name: &'static str, default: bool) -> Result<bool, ValueError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(bad(name, "true or false", text)),
        }
    }

    /// One byte; `Some(None)` for an empty text.
    pub(crate) fn letter(&self, name: &'static str) -> Result<Option<Option<u8>>, ValueError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match text.as_bytes() {
            [] => Ok(Some(None)),
            br"\t" => Ok(Some(Some(b'\t'))),
            [letter] if letter.is_ascii() && !matches!(letter, b'\n' | b'\r') => {
                Ok(Some(Some(*letter)))
            }
            _ => Err(bad(name, "one ASCII character", text)),
        }
    }

    /// The forms of dates and times; `zone` is the session's.
    pub(crate) fn forms(&self, zone: &Zone) -> Result<Forms, ValueError> {
        let pattern = |name| self.get(name).map(Pattern::new).transpose();
        if let Some(locale) = self.get("locale")
            && !locale.eq_ignore_ascii_case("en-US")
        {
            return Err(bad("locale", "en-US", locale));
        }
        Ok(Forms {
            zone: match self.get("timezone") {
                Some(name) => name.parse()?,
                None => zone.clone(),
            },
            timestamp: pattern("timestampformat")?,
            naive: pattern("timestampntzformat")?,
            date: pattern("dateformat")?,
        })
    }

    /// What becomes of a malformed record; an unknown word is PERMISSIVE, as in Spark.
    pub(crate) fn mode(&self) -> Result<Mode, ValueError> {
        match self.get("mode").map(str::to_ascii_uppercase).as_deref() {
            Some("FAILFAST") => Ok(Mode::FailFast),
            Some("DROPMALFORMED") => Err(ValueError::Mode),
            _ => Ok(Mode::Permissive),
        }
    }

    pub(crate) fn corrupt_name(&self) -> String {
        let name = self.get("columnnameofcorruptrecord");
        name.unwrap_or("_corrupt_record").to_owned()
    }
}

/// What becomes of a malformed record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What cannot be read is null.
    #[default]
    Permissive,
    /// The query stops.
    FailFast,
}

pub(crate) fn bad(option: &'static str, want: &'static str, got: &str) -> ValueError {
    ValueError::Option {
        option,
        want,
        got: got.chars().take(40).collect(),
    }
}
