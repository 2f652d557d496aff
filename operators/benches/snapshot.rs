//! What state costs that has a checkpoint: bytes beside the groups, a snapshot of all and of some, a start.
//!
//! `cargo bench -p millstream-operators --bench snapshot -- int|text GROUPS TOUCHED`. Bytes are those that the
//! allocator counts, seconds those of the processor. Pieces go to files, as in a checkpoint.

use std::{
    alloc::System,
    collections::BTreeMap,
    error::Error,
    fs::File,
    io::{self, BufReader, Write},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use cap::Cap;
use millstream_operators::{
    aggregate::TimeKey,
    error::OperatorError,
    state::{Bucket, BucketChange, StoredPiece, bytes_of},
};
use millstream_types::OutputMode;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/harness.rs"]
mod harness;

use harness::{Call, Flow, Row, Shape};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Rows of an epoch.
const EPOCH_ROWS: i64 = 100_000;
/// Prime to every number of groups that is asked for: each comes once before one comes again.
const STRIDE: i64 = 618_033_989;

fn mebi(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What a step costs: seconds of this thread's processor, so that others on the machine do not count.
fn timed<T>(step: impl FnOnce() -> T) -> io::Result<(f64, T)> {
    let spent = || -> io::Result<f64> {
        let line = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos = line.split(' ').next().and_then(|first| first.parse().ok());
        Ok(nanos.unwrap_or(0.0) / 1e9)
    };
    let start = spent()?;
    let done = step();
    Ok((spent()? - start, done))
}

/// Epochs that touch the groups from one number to before another.
fn fill(flow: &mut Flow, numbers: std::ops::Range<i64>, groups: i64) {
    for first in numbers.clone().step_by(100_000) {
        let last = (first + EPOCH_ROWS).min(numbers.end);
        let rows: Vec<Row> = (first..last)
            .map(|number| (0, number.wrapping_mul(STRIDE).rem_euclid(groups), number))
            .collect();
        flow.epoch(&rows, 0, |_| {});
    }
}

/// Batches of a piece: about a quarter of a million rows.
const PIECE_BATCHES: usize = 32;

/// A piece of a checkpoint.
#[derive(Debug)]
struct InFile {
    run: u64,
    file: PathBuf,
}

impl StoredPiece for InFile {
    fn run(&self) -> u64 {
        self.run
    }

    fn read(&self) -> Result<Vec<RecordBatch>, OperatorError> {
        let gone = |error: io::Error| OperatorError::contract(error.to_string());
        let file = BufReader::new(File::open(&self.file).map_err(gone)?);
        StreamReader::try_new(file, None)
            .and_then(Iterator::collect)
            .map_err(OperatorError::arrow("reading a piece"))
    }
}

fn shape(keys: &str) -> Shape {
    Shape {
        time: TimeKey::None,
        calls: vec![Call::Count, Call::Sum],
        text_keys: keys == "text",
        mode: OutputMode::Append,
    }
}

/// Writes what an operator handed over as pieces of a run; gives their files, and rows and bytes in memory.
fn write(
    run: usize,
    changes: &[BucketChange],
) -> Result<(Vec<PathBuf>, usize, usize), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("millstream-snapshot-{}", std::process::id()));
    let (mut files, mut rows, mut bytes) = (Vec::new(), 0, 0);
    let batches: Vec<&RecordBatch> = changes.iter().flat_map(|change| &change.rows).collect();
    for (number, some) in batches.chunks(PIECE_BATCHES).enumerate() {
        let path = path.with_extension(format!("{run}-{number}"));
        let mut encoded = Vec::new();
        let mut writer = StreamWriter::try_new(&mut encoded, &some[0].schema())?;
        for batch in some {
            writer.write(batch)?;
            rows += batch.num_rows();
            bytes += bytes_of(batch);
        }
        writer.finish()?;
        drop(writer);
        std::fs::write(&path, encoded)?;
        files.push(path);
    }
    Ok((files, rows, bytes))
}

/// Snapshots of all groups, of some, of one; gives the files with their runs.
fn snapshots(
    keys: &str,
    (groups, touched): (i64, i64),
) -> Result<Vec<(usize, PathBuf)>, Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let empty = ALLOCATOR.allocated();
    let held = || mebi(ALLOCATOR.allocated().saturating_sub(empty));
    let mut flow = Flow::new(&shape(keys), 0);
    fill(&mut flow, 0..groups, groups);
    let own = held();
    writeln!(out, "{keys} {groups} groups: {own:.0} MiB")?;
    let mut files = Vec::new();
    for (run, range) in [0..0, 0..touched, 0..1].into_iter().enumerate() {
        fill(&mut flow, range, groups);
        let before = held();
        let (seconds, changes) = timed(|| flow.tapped())?;
        let with_pieces = held();
        let (written, rows, bytes) = write(run, &changes)?;
        files.extend(written.into_iter().map(|file| (run, file)));
        drop(changes);
        writeln!(
            out,
            "snapshot of {rows}: {seconds:.3} s, {:.2} M rows/s; pieces {:.0} MiB; MiB before {before:.0}, with pieces {with_pieces:.0}, after {:.0} = {:.2} of the groups",
            rows as f64 / seconds / 1e6,
            mebi(bytes),
            held(),
            held() / own
        )?;
    }
    Ok(files)
}

/// A start from pieces, then a snapshot after one row.
fn start(keys: &str, files: &[String]) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut pieces: Vec<Arc<dyn StoredPiece>> = Vec::new();
    for file in files {
        let (run, file) = file.split_once(':').ok_or("a file without its run")?;
        let (run, file) = (run.parse()?, PathBuf::from(file));
        pieces.push(Arc::new(InFile { run, file }));
    }
    let empty = ALLOCATOR.allocated();
    let mebis = |bytes: usize| mebi(bytes.saturating_sub(empty));
    let (seconds, mut flow) = timed(|| {
        let mut flow = Flow::new(&shape(keys), 0);
        flow.start_from(&shape(keys), BTreeMap::from([((0, Bucket(0)), pieces)]));
        flow
    })?;
    writeln!(
        out,
        "start: {seconds:.3} s; MiB held {:.0}, at most {:.0}",
        mebis(ALLOCATOR.allocated()),
        mebis(ALLOCATOR.max_allocated())
    )?;
    fill(&mut flow, 0..1, i64::MAX);
    let changes = flow.tapped();
    let rows = changes.iter().flat_map(|change| &change.rows);
    let rows: usize = rows.map(RecordBatch::num_rows).sum();
    writeln!(out, "the snapshot after it and one row: {rows} rows")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word, keys, files @ ..] if word == "start" => start(keys, files),
        [keys, groups, touched, ..] => {
            let files = snapshots(keys, (groups.parse()?, touched.parse()?))?;
            // In a process of its own: the greatest number of bytes never falls.
            let names = files.iter();
            let names = names.map(|(run, file)| format!("{run}:{}", file.display()));
            Command::new(std::env::current_exe()?)
                .args(["start", keys])
                .args(names)
                .status()?;
            for (_, file) in files {
                std::fs::remove_file(file)?;
            }
            Ok(())
        }
        _ => Ok(writeln!(io::stdout(), "int|text GROUPS TOUCHED")?),
    }
}
