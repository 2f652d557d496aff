//! The options of JSON that Spark's functions know.

use super::{
    scan::Grammar,
    write::{Letters, Nulls, Style},
};
use crate::{
    ValueError,
    forms::Forms,
    options::{Mode, Options},
    zone::Zone,
};

/// The names that are understood. Some matter only to files, and some only to one function: as in Spark,
/// each function takes them all.
const NAMES: &[&str] = &[
    "allowBackslashEscapingAnyCharacter",
    "allowComments",
    "allowNonNumericNumbers",
    "allowNumericLeadingZeros",
    "allowSingleQuotes",
    "allowUnquotedControlChars",
    "allowUnquotedFieldNames",
    "charset",
    "columnNameOfCorruptRecord",
    "compression",
    "dateFormat",
    "dropFieldIfAllNull",
    "encoding",
    "ignoreNullFields",
    "inferTimestamp",
    "lineSep",
    "locale",
    "mode",
    "multiLine",
    "prefersDecimal",
    "pretty",
    "primitivesAsString",
    "samplingRatio",
    "timestampFormat",
    "timestampNTZFormat",
    "timeZone",
    "writeNonAsciiCharacterAsCodePoint",
];

/// What the options of a call say.
#[derive(Clone, Debug)]
pub struct JsonOptions {
    pub(crate) mode: Mode,
    pub(crate) corrupt_name: String,
    pub(crate) grammar: Grammar,
    pub(crate) style: Style,
    pub(crate) layout: Layout,
    pub(crate) inference: Inference,
}

/// Where line ends stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    OneLine,
    /// A line for each member.
    Pretty,
}

/// How types are found.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, as Spark has it"
)]
pub(crate) struct Inference {
    /// `primitivesAsString`.
    pub(crate) texts_only: bool,
    /// `prefersDecimal`.
    pub(crate) decimals: bool,
    /// `inferTimestamp`.
    pub(crate) timestamps: bool,
    /// `dropFieldIfAllNull`.
    pub(crate) drops_nulls: bool,
}

impl JsonOptions {
    /// Reads options; their names may be in any case. Clocks are those of `zone` unless an option says
    /// otherwise.
    ///
    /// # Errors
    /// An option that is unknown, or a value that it does not have.
    pub fn new<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        zone: &Zone,
    ) -> Result<JsonOptions, ValueError> {
        let options = Options::new(pairs, NAMES)?;
        let on = |name, default| options.boolean(name, default);
        let forms: Forms = options.forms(zone)?;
        Ok(JsonOptions {
            mode: options.mode()?,
            corrupt_name: options.corrupt_name(),
            grammar: Grammar {
                unquoted_names: on("allowunquotedfieldnames", false)?,
                single_quotes: on("allowsinglequotes", true)?,
                leading_zeros: on("allownumericleadingzeros", false)?,
                any_escape: on("allowbackslashescapinganycharacter", false)?,
                control_characters: on("allowunquotedcontrolchars", false)?,
                comments: on("allowcomments", false)?,
                special_numbers: on("allownonnumericnumbers", true)?,
            },
            style: Style {
                forms,
                nulls: if on("ignorenullfields", true)? {
                    Nulls::LeftOut
                } else {
                    Nulls::Written
                },
                letters: if on("writenonasciicharacterascodepoint", false)? {
                    Letters::Escaped
                } else {
                    Letters::AsTheyAre
                },
            },
            layout: if on("pretty", false)? {
                Layout::Pretty
            } else {
                Layout::OneLine
            },
            inference: Inference {
                texts_only: on("primitivesasstring", false)?,
                decimals: on("prefersdecimal", false)?,
                timestamps: on("infertimestamp", false)?,
                drops_nulls: on("dropfieldifallnull", false)?,
            },
        })
    }
}
