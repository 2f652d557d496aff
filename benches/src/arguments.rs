//! The command line: words, `--name` and `--name value`.

use std::{collections::BTreeMap, str::FromStr};

use crate::error::{BenchError, Result};

/// Options that stand alone; all others take the next argument as their value.
const FLAGS: [&str; 2] = ["small", "words"];

/// What came after the command.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    /// Sorts arguments; refuses options that no command knows.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = String>,
        known: &[&str],
    ) -> Result<Arguments> {
        let mut parsed = Arguments::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                parsed.words.push(argument);
                continue;
            };
            if !known.contains(&name) {
                let message = format!("no option --{name} here; there are {known:?}");
                return Err(BenchError::Usage(message));
            }
            let value = if FLAGS.contains(&name) {
                String::new()
            } else {
                arguments
                    .next()
                    .ok_or_else(|| BenchError::Usage(format!("--{name} needs a value")))?
            };
            parsed.options.insert(name.to_owned(), value);
        }
        Ok(parsed)
    }

    /// Arguments without dashes.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether an option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The text of an option.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The number of an option.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.text(name)
            .map(|text| {
                let plain = text.replace('_', "");
                plain
                    .parse()
                    .map_err(|_| BenchError::Usage(format!("--{name} needs a number, not {text}")))
            })
            .transpose()
    }
}
