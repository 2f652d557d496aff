//! The repository as the checks see it: every text file once, with what is test and what is not.

use crate::mask::{self, Span};
use crate::table::{self, Entry};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A text file.
pub(crate) struct File {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Set for `.rs` files.
    pub(crate) rust: Option<Rust>,
}

/// What is known about a Rust file.
pub(crate) struct Rust {
    /// Without comments and literals.
    pub(crate) code: String,
    /// Without comments.
    pub(crate) code_and_texts: String,
    pub(crate) functions: Vec<Span>,
    /// Items under `#[cfg(test)]`.
    pub(crate) tests: Vec<Span>,
    /// The whole file is test code.
    pub(crate) is_test: bool,
}

impl File {
    /// Whether the line (from 1) belongs to a test.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.rust.as_ref().is_some_and(|rust| {
            rust.is_test || rust.tests.iter().any(|t| t.first <= line && line <= t.last)
        })
    }

    /// Lines that are tests, or belong to a stream script.
    pub(crate) fn test_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let script = self.has_ending("stream");
        self.lines()
            .filter(move |(line, _)| script || self.is_test_line(*line))
    }

    /// Lines, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    /// Whether the name ends in `.ending`.
    pub(crate) fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|e| e == ending)
    }
}

/// All text files, sorted by path, and the lists of `tidy.toml`.
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<File>,
    pub(crate) tidy: Vec<Entry>,
}

const ENDINGS: [&str; 9] = [
    "rs", "md", "toml", "stream", "sql", "sh", "yml", "yaml", "json",
];

impl Repo {
    /// Reads the repository that this tool was built in.
    pub(crate) fn load() -> Result<Repo, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .ok_or("the tool is not inside a workspace")?;
        let mut texts = BTreeMap::new();
        collect(root, "", &mut texts).map_err(|e| format!("cannot read the repository: {e}"))?;
        Ok(Repo::new(root.to_owned(), texts))
    }

    /// A repository of the given texts.
    pub(crate) fn new(root: PathBuf, texts: BTreeMap<String, String>) -> Repo {
        let tidy = texts.get("tidy.toml").map(|t| table::entries(t));
        let mut files: Vec<File> = texts.into_iter().map(|(p, t)| file(p, t)).collect();
        mark_test_files(&mut files);
        Repo {
            root,
            files,
            tidy: tidy.unwrap_or_default(),
        }
    }

    /// The entries of one section of `tidy.toml`.
    pub(crate) fn list(&self, section: &str) -> impl Iterator<Item = &Entry> {
        self.tidy.iter().filter(move |e| e.section == section)
    }

    /// The texts under `key` in a section of `tidy.toml`.
    pub(crate) fn texts(&self, section: &str, key: &str) -> Vec<String> {
        let entry = self.list(section).find(|e| e.key == key);
        entry.map(Entry::texts).unwrap_or_default()
    }

    /// A file by its path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        let idx = self.files.binary_search_by(|f| f.path.as_str().cmp(path));
        idx.ok().map(|i| &self.files[i])
    }

    /// All Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files
            .iter()
            .filter_map(|f| f.rust.as_ref().map(|r| (f, r)))
    }
}

fn file(path: String, text: String) -> File {
    let rust = path.ends_with(".rs").then(|| {
        let code = mask::mask(&text, false);
        Rust {
            code_and_texts: mask::mask(&text, true),
            functions: mask::functions(&code),
            tests: mask::test_items(&code).0,
            is_test: path
                .split('/')
                .any(|part| part == "tests" || part == "fuzz"),
            code,
        }
    });
    File { path, text, rust }
}

/// `#[cfg(test)] mod tests;` makes the sibling file, and what is below it, test code.
fn mark_test_files(files: &mut [File]) {
    let mut roots = Vec::new();
    for file in files.iter() {
        let Some(rust) = &file.rust else { continue };
        let folder = module_folder(&file.path);
        for name in mask::test_items(&rust.code).1 {
            roots.push(format!("{folder}{name}.rs"));
            roots.push(format!("{folder}{name}/"));
        }
    }
    for file in files.iter_mut() {
        let below = roots.iter().any(|r| file.path.starts_with(r.as_str()));
        if let (Some(rust), true) = (&mut file.rust, below) {
            rust.is_test = true;
        }
    }
}

/// The folder in which the modules of a Rust file lie, with `/` at its end.
pub(crate) fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_root = ["lib.rs", "main.rs", "mod.rs", "build.rs"].contains(&name)
        || ["bin", "tests", "benches", "examples"]
            .iter()
            .any(|d| folder.ends_with(&format!("/{d}")));
    if is_root {
        format!("{folder}/")
    } else {
        format!("{}/", path.trim_end_matches(".rs"))
    }
}

fn collect(
    root: &Path,
    below: &str,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), std::io::Error> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}{name}");
        if entry.file_type()?.is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && name != "target" && name != "corpus" {
                collect(root, &format!("{path}/"), texts)?;
            }
        } else if below == ".ci/" || ENDINGS.iter().any(|e| name.ends_with(&format!(".{e}"))) {
            // A file that another program removes while we read is not ours to judge.
            if let Ok(text) = std::fs::read_to_string(entry.path()) {
                texts.insert(path, text);
            }
        }
    }
    Ok(())
}

/// What the checks found.
#[derive(Default)]
pub(crate) struct Report {
    findings: Vec<(String, usize, String)>,
    notes: Vec<String>,
}

impl Report {
    /// A broken rule at a place.
    pub(crate) fn find(&mut self, path: &str, line: usize, text: impl Into<String>) {
        self.findings.push((path.to_owned(), line, text.into()));
    }

    /// Something that could be tightened; does not fail.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn sort(&mut self) {
        self.findings.sort();
        self.notes.sort();
    }

    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<String> {
        let place = |(path, line, text): &(String, usize, String)| format!("{path}:{line}: {text}");
        self.findings.iter().map(place).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, line, text) in &self.findings {
            writeln!(f, "{path}:{line}: {text}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match self.findings.len() {
            0 => writeln!(f, "tidy"),
            n => writeln!(f, "{n} findings"),
        }
    }
}

/// A repository made of texts, for the tests of the checks.
#[cfg(test)]
pub(crate) fn example(texts: &[(&str, &str)]) -> Repo {
    let owned = texts
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    Repo::new(PathBuf::new(), owned.collect())
}
