//! Options of a table or a reader: Spark's names, case-insensitive, none unknown.

use std::collections::BTreeMap;

use crate::ConnectorError;

/// One option that a connector understands; the self-documentation is made of these.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The name as Spark spells it.
    pub name: &'static str,
    /// What is taken when it is absent, as text; empty if nothing is.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// Options as the user gave them. Keys are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<String, (String, String)>,
}

impl Options {
    /// No options.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets one; a later value replaces an earlier one.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let key = key.into();
        self.values
            .insert(key.to_ascii_lowercase(), (key, value.into()));
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.values
            .remove(&key.to_ascii_lowercase())
            .map(|(_, value)| value)
    }

    /// The text of one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values
            .get(&key.to_ascii_lowercase())
            .map(|(_, value)| value.as_str())
    }

    /// All of them, as spelled by the user, in order of their lower-case names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .values()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The text of one that must be there.
    ///
    /// # Errors
    /// [`ConnectorError::MissingOption`].
    pub fn require(
        &self,
        connector: &'static str,
        option: &'static str,
    ) -> Result<&str, ConnectorError> {
        self.get(option)
            .ok_or(ConnectorError::MissingOption { connector, option })
    }

    /// A positive integer.
    ///
    /// # Errors
    /// [`ConnectorError::BadOption`] for zero, signs, units and other text.
    pub fn positive(&self, option: &str) -> Result<Option<u64>, ConnectorError> {
        let want = "a positive integer";
        self.get(option)
            .map(|text| match text.trim().parse::<u64>() {
                Ok(value) if value > 0 => Ok(value),
                _ => Err(bad(option, want, text)),
            })
            .transpose()
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`ConnectorError::BadOption`] for anything else.
    pub fn boolean(&self, option: &str, default: bool) -> Result<bool, ConnectorError> {
        self.get(option).map_or(Ok(default), |text| {
            match text.trim().to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(bad(option, "true or false", text)),
            }
        })
    }

    /// Refuses options that no specification names.
    ///
    /// # Errors
    /// [`ConnectorError::UnknownOption`] with the nearest known name.
    pub fn check(
        &self,
        connector: &'static str,
        known: &[&[OptionSpec]],
    ) -> Result<(), ConnectorError> {
        let names = || {
            known
                .iter()
                .flat_map(|specs| specs.iter().map(|spec| spec.name))
        };
        match self
            .iter()
            .find(|(key, _)| !names().any(|name| name.eq_ignore_ascii_case(key)))
        {
            Some((key, _)) => Err(ConnectorError::unknown_option(connector, key, names())),
            None => Ok(()),
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Options {
        let mut options = Options::new();
        pairs
            .into_iter()
            .for_each(|(key, value)| options.set(key, value));
        options
    }
}

fn bad(option: &str, want: &'static str, got: &str) -> ConnectorError {
    ConnectorError::BadOption {
        option: option.to_owned(),
        want,
        got: got.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[OptionSpec {
        name: "maxFilesPerTrigger",
        default: "",
        help: "files an epoch",
    }];

    #[test]
    fn keys_ignore_case_and_unknown_ones_are_refused() {
        let options: Options = [("MAXFILESPERTRIGGER", "2")].into_iter().collect();
        assert_eq!(
            options.positive("maxFilesPerTrigger").ok().flatten(),
            Some(2)
        );
        assert!(options.check("file", &[SPECS]).is_ok());
        let options: Options = [("maxFilePerTrigger", "2")].into_iter().collect();
        let error = options
            .check("file", &[SPECS])
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("connector file has no option \"maxFilePerTrigger\"")
        );
    }

    #[test]
    fn numbers_with_units_are_refused() {
        for bad in ["0", "-1", "1k", "x", ""] {
            let options: Options = [("maxFilesPerTrigger", bad)].into_iter().collect();
            assert!(options.positive("maxFilesPerTrigger").is_err(), "{bad}");
        }
    }
}
