//! The options of the file connector, parsed once.

use std::path::{Path, PathBuf};

use millstream_connectors_api::{ConnectorError, OptionSpec, Options};
use millstream_values::{csv::Dialect, forms::Forms, json::Grammar, pattern::Pattern, zone::Zone};

use super::records::{Fingerprint, InputFile, SeenFile, Stamp};
use crate::{
    files,
    format::{Format, Limits, Mode, Rules},
    glob,
};

/// Options of both sides.
pub(super) const COMMON: &[OptionSpec] = &[
    spec(
        "path",
        "",
        "Directory, file or pattern to read; directory to write. Files to be read must appear whole: write them elsewhere on the same disk and rename them into it, or set settleTime. A file is read once; what is added to it later is not. Keep files until no restart needs them, or let cleanSource remove them.",
    ),
    spec("format", "", "json, csv or text."),
    spec(
        "header",
        "false",
        "CSV: the first line of a file holds names.",
    ),
    spec("sep", ",", "CSV: separator, one ASCII character or \\t."),
    spec("delimiter", ",", "CSV: another name of sep."),
    spec("quote", "\"", "CSV: quote character; empty for none."),
    spec("escape", "\\", "CSV: character that makes a quote literal."),
    spec("nullValue", "", "CSV: text that means null."),
    spec(
        "timestampFormat",
        "",
        "Java pattern of instants; the default is Spark's.",
    ),
    spec(
        "timestampNTZFormat",
        "",
        "Java pattern of timestamps without a zone; the default is Spark's.",
    ),
    spec(
        "dateFormat",
        "",
        "Java pattern of dates; the default is Spark's.",
    ),
    spec(
        "timeZone",
        "",
        "Zone whose clock times show that name none; the default is the session's.",
    ),
];

/// Options of the source.
pub(super) const SOURCE: &[OptionSpec] = &[
    spec(
        "maxFilesPerTrigger",
        "",
        "New files an epoch takes at most.",
    ),
    spec(
        "maxBytesPerTrigger",
        "",
        "Bytes an epoch takes at most, but at least one file.",
    ),
    spec("latestFirst", "false", "Take the newest files first."),
    spec(
        "fileNameOnly",
        "false",
        "Two files of one name are the same file.",
    ),
    spec(
        "maxFileAge",
        "7d",
        "Files older than the newest one by more are ignored.",
    ),
    spec(
        "pathGlobFilter",
        "",
        "Only files whose name matches this pattern.",
    ),
    spec(
        "recursiveFileLookup",
        "false",
        "Read all directories below the path.",
    ),
    spec(
        "cleanSource",
        "off",
        "What becomes of files that will not be read again: off, archive or delete.",
    ),
    spec(
        "sourceArchiveDir",
        "",
        "Directory below which cleanSource=archive moves files, their whole path with them.",
    ),
    spec(
        "settleTime",
        "0s",
        "Take a file only when its size and time have stood still so long, such as 5s. Not needed where files are written elsewhere and renamed into the path, which is the safe way.",
    ),
    spec(
        "ignoreMissingFiles",
        "false",
        "Pass over a planned file that is gone before it was read; otherwise the query stops.",
    ),
    spec(
        "ignoreCorruptFiles",
        "false",
        "Leave the rest of a file that cannot be read to its end; otherwise the query stops.",
    ),
    spec(
        "mode",
        "PERMISSIVE",
        "Malformed records: PERMISSIVE, DROPMALFORMED or FAILFAST.",
    ),
    spec(
        "columnNameOfCorruptRecord",
        "_corrupt_record",
        "Column for the text of malformed records.",
    ),
    spec(
        "comment",
        "",
        "CSV: lines that begin with this character are ignored.",
    ),
    spec(
        "multiLine",
        "false",
        "Records over several lines; only false.",
    ),
    spec("maxLineBytes", "16777216", "A longer line stops the query."),
];

/// Options of the sink.
pub(super) const SINK: &[OptionSpec] = &[
    spec(
        "retention",
        "",
        "Sink: files older than this leave the log of the directory, such as 7d; they stay on disk.",
    ),
    spec(
        "compression",
        "none",
        "Sink: none, gzip, bzip2 or zstd; names end with .gz, .bz2 or .zst. A source knows by the name of a file, so it has no such option: .gz, .bz2, .zst and .deflate are unpacked.",
    ),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec {
        name,
        default,
        help,
    }
}

/// What one epoch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cap {
    Everything,
    Files(usize),
    Bytes(u64),
}

/// What is done when a planned file cannot be given as it was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnTrouble {
    Stop,
    PassOver,
}

/// A pattern: the directory where it begins, and its parts below.
pub(super) type PatternPath = (PathBuf, Vec<String>);

/// What is done with files that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clean {
    Off,
    Delete,
    /// They are moved below this directory, their whole path with them.
    Archive(PathBuf),
}

/// What the options of a source say.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) path: String,
    /// The path as it is written, made absolute.
    pub(super) root: PathBuf,
    /// The same without links and `..`: a directory has one name, however it is spelled.
    pub(super) root_path: PathBuf,
    /// The part of `root` without patterns, as it is written and as it is.
    written_base: String,
    pub(super) base: PathBuf,
    /// The patterns that the path stands for; none if it is plain.
    pub(super) patterns: Vec<PatternPath>,
    pub(super) settle_ms: i64,
    pub(super) missing: OnTrouble,
    pub(super) corrupt: OnTrouble,
    pub(super) clean: Clean,
    pub(super) format: Format,
    pub(super) cap: Cap,
    pub(super) latest_first: bool,
    pub(super) name_only: bool,
    pub(super) age_max_ms: i64,
    pub(super) name_filter: Option<String>,
    pub(super) recursive: bool,
    pub(super) line_bytes_max: usize,
    pub(super) rules: Rules,
}

pub(crate) fn bad(option: &str, want: &'static str, got: &str) -> ConnectorError {
    ConnectorError::BadOption {
        option: option.to_owned(),
        want,
        got: got.to_owned(),
    }
}

/// The format that the options name, or the one that the connector's name implies.
pub(super) fn format_of(
    options: &Options,
    implied: Option<Format>,
) -> Result<Format, ConnectorError> {
    match (options.get("format"), implied) {
        (Some(name), _) => name.parse(),
        (None, Some(format)) => Ok(format),
        (None, None) => Err(ConnectorError::MissingOption {
            connector: super::NAME,
            option: "format",
        }),
    }
}

impl Settings {
    /// Reads the options of a source.
    pub(super) fn new(
        options: &Options,
        implied: Option<Format>,
    ) -> Result<Settings, ConnectorError> {
        options.check(super::NAME, &[COMMON, SOURCE])?;
        let path = options.require(super::NAME, "path")?;
        refuse(options, "multiLine", "false", "false: a record is one line")?;
        let latest_first = options.boolean("latestFirst", false)?;
        let cap = cap(options)?;
        let mut age_max_ms = match options.get("maxFileAge") {
            Some(text) => duration_ms("maxFileAge", text, 1)?,
            None => 7 * 86_400_000,
        };
        if latest_first && cap != Cap::Everything {
            age_max_ms = i64::MAX;
        }
        let line_bytes_max = options.positive("maxLineBytes")?.unwrap_or(16 << 20);
        let line_bytes_max = usize::try_from(line_bytes_max)
            .ok()
            .filter(|max| *max <= 512 << 20)
            .ok_or_else(|| {
                let got = options.get("maxLineBytes").unwrap_or_default();
                bad("maxLineBytes", "at most 536870912", got)
            })?;
        let settle_ms = match options.get("settleTime") {
            Some(text) => duration_ms("settleTime", text, 1)?,
            None => 0,
        };
        let root = files::absolute(path)?;
        let written_base = plain_part(&root);
        let base = files::canonical(Path::new(&written_base))?;
        Ok(Settings {
            path: path.to_owned(),
            root_path: plain_path(&root)?,
            patterns: patterns(&root, &written_base, &base),
            root,
            written_base,
            base,
            settle_ms,
            missing: on_trouble(options, "ignoreMissingFiles")?,
            corrupt: on_trouble(options, "ignoreCorruptFiles")?,
            clean: clean(options)?,
            format: format_of(options, implied)?,
            cap,
            latest_first,
            name_only: options.boolean("fileNameOnly", false)?,
            age_max_ms,
            name_filter: options.get("pathGlobFilter").map(str::to_owned),
            recursive: options.boolean("recursiveFileLookup", false)?,
            line_bytes_max,
            rules: rules(options)?,
        })
    }
}

impl Settings {
    /// What makes two files the same file.
    pub(super) fn fingerprint(&self, path: &str) -> Fingerprint {
        Fingerprint::of(if self.name_only {
            path.rsplit('/').next().unwrap_or(path)
        } else {
            path
        })
    }

    pub(super) fn seen(&self, file: &InputFile) -> SeenFile {
        let stamp = Stamp::of(file.size, file.mtime_ns);
        SeenFile::new(self.fingerprint(&file.path), file.mtime_ms(), stamp)
    }

    /// A file that an earlier version saw, which took paths as they were written.
    pub(super) fn seen_old(&self, path: &str, mtime_ms: i64) -> SeenFile {
        let below = path.strip_prefix(&self.written_base);
        let fingerprint = match below.filter(|below| below.is_empty() || below.starts_with('/')) {
            Some(below) => self.fingerprint(&format!("{}{below}", self.base_text())),
            None => self.fingerprint(path),
        };
        SeenFile::new(fingerprint, mtime_ms, Stamp::UNKNOWN)
    }

    /// The directory below which `key=value` directories are columns.
    pub(super) fn base_text(&self) -> String {
        self.base.display().to_string()
    }
}

/// A path up to its first part that is a pattern.
fn plain_part(root: &Path) -> String {
    let text = root.display().to_string();
    if !glob::is_pattern(&text) {
        return text;
    }
    let plain: Vec<&str> = text
        .split('/')
        .take_while(|part| !glob::is_pattern(part))
        .collect();
    plain.join("/")
}

/// A path without links, but for the name of a single file: the name is what makes it the same file
/// when the link leads elsewhere.
fn plain_path(root: &Path) -> Result<PathBuf, ConnectorError> {
    let is_dir = files::stat(root)?.is_some_and(|stat| stat.is_dir);
    match (root.parent(), root.file_name()) {
        (Some(parent), Some(name)) if !is_dir => Ok(files::canonical(parent)?.join(name)),
        _ => files::canonical(root),
    }
}

fn patterns(root: &Path, written_base: &str, base: &Path) -> Vec<PatternPath> {
    let text = root.display().to_string();
    if !glob::is_pattern(&text) {
        return Vec::new();
    }
    let expanded = glob::expand(&text).into_iter();
    let parts = expanded.map(|pattern| {
        let below = pattern.strip_prefix(written_base).unwrap_or(&pattern);
        let parts = below.split('/').filter(|part| !part.is_empty());
        (base.to_owned(), parts.map(str::to_owned).collect())
    });
    parts.collect()
}

fn on_trouble(options: &Options, option: &str) -> Result<OnTrouble, ConnectorError> {
    Ok(if options.boolean(option, false)? {
        OnTrouble::PassOver
    } else {
        OnTrouble::Stop
    })
}

fn clean(options: &Options) -> Result<Clean, ConnectorError> {
    let how = options.get("cleanSource").unwrap_or("off");
    let archive = options.get("sourceArchiveDir");
    match (how.trim().to_ascii_lowercase().as_str(), archive) {
        ("off", _) => Ok(Clean::Off),
        ("delete", _) => Ok(Clean::Delete),
        ("archive", Some(directory)) => {
            let directory = files::canonical(&files::absolute(directory)?)?;
            Ok(Clean::Archive(directory))
        }
        ("archive", None) => Err(ConnectorError::MissingOption {
            connector: super::NAME,
            option: "sourceArchiveDir",
        }),
        _ => Err(bad("cleanSource", "off, archive or delete", how)),
    }
}

fn refuse(
    options: &Options,
    option: &str,
    only: &str,
    want: &'static str,
) -> Result<(), ConnectorError> {
    match options.get(option) {
        Some(got) if !got.trim().eq_ignore_ascii_case(only) => Err(bad(option, want, got)),
        _ => Ok(()),
    }
}

fn cap(options: &Options) -> Result<Cap, ConnectorError> {
    let files = options.positive("maxFilesPerTrigger")?;
    let bytes = options.positive("maxBytesPerTrigger")?;
    Ok(match (files, bytes) {
        (Some(_), Some(_)) => {
            let got = options.get("maxBytesPerTrigger").unwrap_or_default();
            return Err(bad(
                "maxBytesPerTrigger",
                "absent where maxFilesPerTrigger is set",
                got,
            ));
        }
        (Some(files), None) => Cap::Files(usize::try_from(files).unwrap_or(usize::MAX)),
        (None, Some(bytes)) => Cap::Bytes(bytes),
        (None, None) => Cap::Everything,
    })
}

/// Milliseconds of text such as `7d`, `90 min` or `1000`; a bare number counts `bare_ms` each.
pub(crate) fn duration_ms(option: &str, text: &str, bare_ms: i64) -> Result<i64, ConnectorError> {
    let want = "a duration such as 7d, 12h, 30m, 10s or 500ms";
    let compact = text.trim().to_ascii_lowercase();
    let digits = compact.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = compact.split_at(digits);
    let unit_ms = match unit.trim() {
        "" => bare_ms,
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad(option, want, text)),
    };
    number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .ok_or_else(|| bad(option, want, text))
}

fn rules(options: &Options) -> Result<Rules, ConnectorError> {
    let mode = match options.get("mode") {
        None => Mode::Permissive,
        Some(text) => match text.trim().to_ascii_uppercase().as_str() {
            "PERMISSIVE" => Mode::Permissive,
            "DROPMALFORMED" => Mode::DropMalformed,
            "FAILFAST" => Mode::FailFast,
            _ => return Err(bad("mode", "PERMISSIVE, DROPMALFORMED or FAILFAST", text)),
        },
    };
    Ok(Rules {
        mode,
        forms: forms(options, Pattern::can_read)?,
        grammar: Grammar::default(),
        corrupt_name: options
            .get("columnNameOfCorruptRecord")
            .unwrap_or("_corrupt_record")
            .to_owned(),
        dialect: dialect(options)?,
        limits: Limits::default(),
    })
}

/// How dates and times are written down; `suits` says which patterns will do.
pub(super) fn forms(
    options: &Options,
    suits: fn(&Pattern) -> bool,
) -> Result<Forms, ConnectorError> {
    let want = "a pattern of y M d H m s S X x Z, quoted text and [optional parts]";
    let pattern = |option: &str| {
        let compile = |text: &str| {
            let pattern = Pattern::new(text).ok().filter(suits);
            pattern.ok_or_else(|| bad(option, want, text))
        };
        options.get(option).map(compile).transpose()
    };
    Ok(Forms {
        zone: zone(options)?,
        timestamp: pattern("timestampFormat")?,
        naive: pattern("timestampNTZFormat")?,
        date: pattern("dateFormat")?,
    })
}

/// The zone whose clock times show that name none.
pub(crate) fn zone(options: &Options) -> Result<Zone, ConnectorError> {
    let want = "a zone such as Europe/Berlin or +02:00";
    let read = |text: &str| text.parse().map_err(|_| bad("timeZone", want, text));
    options.get("timeZone").map_or(Ok(Zone::utc()), read)
}

/// How CSV is written down.
pub(super) fn dialect(options: &Options) -> Result<Dialect, ConnectorError> {
    let defaults = Dialect::default();
    let separator = letter(options, "sep")?
        .or(letter(options, "delimiter")?)
        .unwrap_or(Some(b','))
        .ok_or_else(|| bad("sep", "one ASCII character", ""))?;
    Ok(Dialect {
        header: options.boolean("header", false)?,
        separator,
        quote: letter(options, "quote")?.unwrap_or(defaults.quote),
        escape: letter(options, "escape")?.unwrap_or(defaults.escape),
        comment: letter(options, "comment")?.unwrap_or(None),
        null_value: options.get("nullValue").unwrap_or_default().to_owned(),
        ..defaults
    })
}

/// One ASCII character; `Some(None)` if the option is there and empty.
fn letter(options: &Options, option: &str) -> Result<Option<Option<u8>>, ConnectorError> {
    let Some(text) = options.get(option) else {
        return Ok(None);
    };
    match text.as_bytes() {
        [] => Ok(Some(None)),
        br"\t" => Ok(Some(Some(b'\t'))),
        [letter] if letter.is_ascii() && !matches!(letter, b'\n' | b'\r') => {
            Ok(Some(Some(*letter)))
        }
        _ => Err(bad(option, "one ASCII character", text)),
    }
}
