//! Error codes: their classes, what they mean and what a person does about them.
//!
//! A crate keeps its own error enum; each variant answers [`Coded::code`]. The catalogue here is the
//! single list of codes, from which `docs/errors.md` and `millstream errors` are made. A code is never
//! reused. Where Spark has an error condition for the case, its name is the entry's `condition`.

use std::fmt;

mod catalogue;
pub use catalogue::CATALOGUE;

/// What happens next after an error; a program reacts to the class, not to the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Stop; the query or a setting must change.
    User,
    /// The record goes to the dead letters, or the query stops if its policy says so.
    Data,
    /// Retry with backoff: something outside is not there.
    External,
    /// Slow down or stop: a limit is reached.
    Exhausted,
    /// Fall back to an older state, or stop.
    Corrupt,
    /// Exit: another process owns the query now.
    Fenced,
    /// Stop and report: our own mistake.
    Bug,
}

impl Class {
    /// All classes, in the order of the book.
    pub const ALL: [Class; 7] = [
        Class::User,
        Class::Data,
        Class::External,
        Class::Exhausted,
        Class::Corrupt,
        Class::Fenced,
        Class::Bug,
    ];

    /// The exit code of a command that ends with an error of this class: the one table of them.
    /// The numbers are those of `sysexits.h`, as far as it has one.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Class::User => 78,
            Class::Data => 65,
            Class::External | Class::Exhausted => 75,
            Class::Corrupt => 74,
            Class::Fenced => 69,
            Class::Bug => 70,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::User => "user",
            Class::Data => "data",
            Class::External => "external",
            Class::Exhausted => "exhausted",
            Class::Corrupt => "corrupt",
            Class::Fenced => "fenced",
            Class::Bug => "bug",
        })
    }
}

/// A stable error code such as `STA-003`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub &'static str);

impl Code {
    /// What the catalogue says about this code.
    #[must_use]
    pub fn entry(self) -> &'static ErrorEntry {
        CATALOGUE
            .iter()
            .find(|entry| entry.code == self.0)
            .unwrap_or(&catalogue::UNKNOWN)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One page of the catalogue.
#[derive(Debug)]
pub struct ErrorEntry {
    /// The stable code.
    pub code: &'static str,
    /// Spark's name of the condition, if it has one.
    pub condition: Option<&'static str>,
    /// What happens next.
    pub class: Class,
    /// One line: what is wrong.
    pub title: &'static str,
    /// Why it happens.
    pub why: &'static str,
    /// What to do.
    pub action: &'static str,
}

/// A place in the text that the user wrote, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPosition {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// An error that has a code.
pub trait Coded: std::error::Error {
    /// The stable code.
    fn code(&self) -> Code;

    /// The last part of Spark's condition, where a code's condition has several.
    fn sub_condition(&self) -> Option<SubCondition> {
        None
    }

    /// What the user can do about this very case.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Where in the user's text it is.
    fn position(&self) -> Option<TextPosition> {
        None
    }

    /// The error as a value that can be stored, cloned and sent anywhere.
    fn fault(&self) -> Fault {
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Libraries tend to repeat their source in their own text; once is enough.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Fault {
            code: self.code(),
            sub_condition: self.sub_condition(),
            message,
            hint: self.hint(),
            position: self.position(),
        }
    }
}

/// The last part of a condition of Spark's, where a code's condition has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubCondition {
    /// There are names that could have been meant.
    WithSuggestion,
    /// There are none.
    WithoutSuggestion,
}

impl SubCondition {
    /// Its name in a condition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SubCondition::WithSuggestion => "WITH_SUGGESTION",
            SubCondition::WithoutSuggestion => "WITHOUT_SUGGESTION",
        }
    }
}

/// An error that left its crate: code, one sentence, hint and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// The last part of Spark's condition, where the code's condition has several.
    pub sub_condition: Option<SubCondition>,
    /// One sentence in the user's own names.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// Where in the user's text it is.
    pub position: Option<TextPosition>,
}

impl Fault {
    /// Spark's name of the condition, if it has one.
    #[must_use]
    pub fn condition(&self) -> Option<String> {
        let condition = self.code.entry().condition?;
        Some(match self.sub_condition {
            Some(sub) => format!("{condition}.{}", sub.name()),
            None => condition.to_owned(),
        })
    }

    /// Whether `name` is this fault's code or its Spark condition (or a prefix of it at a dot).
    ///
    /// A code that several conditions share has the condition in square brackets in its message.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let condition = self.condition().unwrap_or_default();
        name == self.code.0
            || name == condition
            || condition
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
            || self.message.contains(&format!("[{name}]"))
            || self.message.contains(&format!("[{name}."))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.code)?;
        if let Some(condition) = self.condition() {
            write!(f, " [{condition}]")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(at) = self.position {
            write!(f, " (line {}, column {})", at.line, at.column)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

impl Coded for Fault {
    fn code(&self) -> Code {
        self.code
    }

    fn sub_condition(&self) -> Option<SubCondition> {
        self.sub_condition
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn position(&self) -> Option<TextPosition> {
        self.position
    }

    fn fault(&self) -> Fault {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_sorted() {
        let codes: Vec<_> = CATALOGUE.iter().map(|entry| entry.code).collect();
        let distinct: HashSet<_> = codes.iter().collect();
        assert_eq!(distinct.len(), codes.len());
        assert!(codes.is_sorted(), "keep the catalogue sorted by code");
    }

    #[test]
    fn a_fault_answers_to_its_code_and_its_condition() {
        let fault = Fault {
            code: Code("SQL-020"),
            sub_condition: None,
            message: "append needs a watermark".into(),
            hint: None,
            position: None,
        };
        assert!(fault.is("SQL-020"));
        assert!(fault.is("STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"));
        assert!(fault.is("STREAMING_OUTPUT_MODE"));
        assert!(!fault.is("STREAMING_OUTPUT"));
    }
}
