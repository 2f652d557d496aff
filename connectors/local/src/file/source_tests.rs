//! The file source over time: restarts, files that change, directories that hold other things.

mod changes;
mod cleaning;
mod growth;
mod idle;
mod life;
mod packed;
mod restart;

use std::{
    fs,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use millstream_connectors_api::{
    ChunkBody, ConnectorError, ConnectorFactory, Flow, MemoryJournals, Options, PlannedRange,
    ReadLimit, Source, SourceRequest,
};
use millstream_types::Coded;
use tempfile::TempDir;

use super::{FileConnector, records::FileSplit};
use crate::testing;

/// 2026-01-01, the clock of these tests.
const NOW_MS: i64 = 1_767_225_600_000;

/// When files were written, in seconds before [`NOW_MS`].
const WRITTEN_S: u64 = 100;

/// A directory and the journals of a query over it.
struct World {
    dir: TempDir,
    journals: MemoryJournals,
}

impl World {
    fn new() -> World {
        World {
            dir: tempfile::tempdir().expect("temporary directory"),
            journals: MemoryJournals::new(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file; `at_s` counts seconds from some time before the clock of the tests.
    fn put(&self, name: &str, text: &str, at_s: u64) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("directory");
        fs::write(&path, text).expect("write");
        set_time(
            &path,
            Duration::from_millis(NOW_MS.unsigned_abs()) - seconds(WRITTEN_S) + seconds(at_s),
        );
    }

    /// A source as after a start of the process.
    fn open(&self, options: &[(&str, &str)]) -> Box<dyn Source> {
        self.try_open(self.dir.path(), options).expect("opens")
    }

    fn try_open(
        &self,
        path: &Path,
        options: &[(&str, &str)],
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let mut all = Options::from_iter(options.iter().copied());
        all.set("path", path.to_str().expect("UTF-8"));
        all.set("format", "text");
        let request = SourceRequest {
            table: "t".to_owned(),
            schema: None,
            options: all,
        };
        FileConnector::new().source(&request, testing::with_journals(&self.journals))
    }
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn set_time(path: &Path, since_1970: Duration) {
    let file = fs::File::open(path).expect("open");
    file.set_modified(UNIX_EPOCH + since_1970)
        .expect("set time");
}

fn plan_at(source: &mut dyn Source, now_ms: i64) -> Option<PlannedRange> {
    source.plan(ReadLimit::Configured, now_ms).expect("plans")
}

fn plan(source: &mut dyn Source) -> Option<PlannedRange> {
    plan_at(source, NOW_MS)
}

/// Names of the files of a range.
fn names(source: &dyn Source, range: &PlannedRange) -> Vec<String> {
    let splits = source.splits(range).expect("own range");
    let names = splits.map(|split| {
        let split = FileSplit::of_detail(&split.expect("own entry").detail).expect("own split");
        split.file.path.rsplit('/').next().unwrap_or("").to_owned()
    });
    names.collect()
}

/// Names of the files of the next range.
fn planned(source: &mut dyn Source) -> Vec<String> {
    plan(source).map_or_else(Vec::new, |range| names(source, &range))
}

/// All bytes of a range.
fn read(source: &dyn Source, range: &PlannedRange) -> Result<String, ConnectorError> {
    let mut text = Vec::new();
    let mut reader = source.reader()?;
    testing::read_range(source, reader.as_mut(), range, &mut |chunk| {
        if let ChunkBody::Bytes { bytes, .. } = chunk.body {
            text.extend(bytes);
        }
        Flow::More
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// As a reader does when nothing waits: what was found is written down.
fn rest(source: &dyn Source) {
    source.reader().expect("a reader").prefetch(0);
}

fn code(result: Result<impl Sized, ConnectorError>) -> &'static str {
    result.err().expect("is refused").code().0
}

fn notices(source: &mut dyn Source) -> Vec<(&'static str, String)> {
    let faults = source.notices().into_iter();
    faults.map(|fault| (fault.code.0, fault.message)).collect()
}
