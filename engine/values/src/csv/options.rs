//! The options of CSV that Spark's functions know.

use super::Dialect;
use crate::{
    ValueError,
    forms::Forms,
    options::{Mode, Options, bad},
    zone::Zone,
};

/// The names that are understood. Some matter only to files: as in Spark, each function takes them all.
const NAMES: &[&str] = &[
    "charset",
    "columnNameOfCorruptRecord",
    "comment",
    "compression",
    "dateFormat",
    "delimiter",
    "emptyValue",
    "encoding",
    "escape",
    "escapeQuotes",
    "header",
    "ignoreLeadingWhiteSpace",
    "ignoreTrailingWhiteSpace",
    "inferSchema",
    "lineSep",
    "locale",
    "mode",
    "multiLine",
    "nanValue",
    "negativeInf",
    "nullValue",
    "positiveInf",
    "preferDate",
    "quote",
    "quoteAll",
    "samplingRatio",
    "sep",
    "timestampFormat",
    "timestampNTZFormat",
    "timeZone",
];

/// What the options of a call say.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    pub(crate) mode: Mode,
    pub(crate) corrupt_name: String,
    pub(crate) dialect: Dialect,
    pub(crate) forms: Forms,
    /// Whether blanks around fields are dropped when they are read.
    pub(crate) reads_blanks: Blanks,
    /// And when they are written.
    pub(crate) writes_blanks: Blanks,
    /// What an empty text is read as.
    pub(crate) empty_read: String,
    /// What is read as a number that is none.
    pub(crate) special: [String; 3],
    /// Whether texts that look like a date are dates.
    pub(crate) prefers_date: bool,
}

/// Which blanks are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blanks {
    pub(crate) leading: bool,
    pub(crate) trailing: bool,
}

impl Blanks {
    pub(crate) fn drop_from(self, text: &[u8]) -> &[u8] {
        let text = if self.leading {
            text.trim_ascii_start()
        } else {
            text
        };
        if self.trailing {
            text.trim_ascii_end()
        } else {
            text
        }
    }
}

impl CsvOptions {
    /// Reads options; their names may be in any case. Clocks are those of `zone` unless an option says
    /// otherwise.
    ///
    /// # Errors
    /// An option that is unknown, or a value that it does not have.
    pub fn new<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        zone: &Zone,
    ) -> Result<CsvOptions, ValueError> {
        let options = Options::new(pairs, NAMES)?;
        let defaults = Dialect::default();
        let separator = options
            .letter("sep")?
            .or(options.letter("delimiter")?)
            .unwrap_or(Some(b','))
            .ok_or_else(|| bad("sep", "one ASCII character", ""))?;
        let text = |name, default: &str| options.get(name).unwrap_or(default).to_owned();
        let blanks = |default| {
            Ok(Blanks {
                leading: options.boolean("ignoreleadingwhitespace", default)?,
                trailing: options.boolean("ignoretrailingwhitespace", default)?,
            })
        };
        Ok(CsvOptions {
            mode: options.mode()?,
            corrupt_name: options.corrupt_name(),
            dialect: Dialect {
                header: false,
                separator,
                quote: options.letter("quote")?.unwrap_or(defaults.quote),
                escape: options.letter("escape")?.unwrap_or(defaults.escape),
                comment: options.letter("comment")?.unwrap_or(None),
                null_value: text("nullvalue", ""),
                empty_value: options.get("emptyvalue").map(str::to_owned),
                quotes_all: options.boolean("quoteall", false)?,
                quotes_quotes: options.boolean("escapequotes", true)?,
            },
            forms: options.forms(zone)?,
            reads_blanks: blanks(false)?,
            writes_blanks: blanks(true)?,
            empty_read: text("emptyvalue", ""),
            special: [
                text("nanvalue", "NaN"),
                text("positiveinf", "Inf"),
                text("negativeinf", "-Inf"),
            ],
            prefers_date: options.boolean("preferdate", true)?,
        })
    }
}
