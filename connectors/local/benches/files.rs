//! A file source over very many files: what the first epoch takes, what one more file takes, what
//! a look takes while nothing comes, and what is in memory; then the same over files that exist only
//! as fingerprints, because ten million real ones take long to make.
//!
//! Sketch: listing costs about a microsecond a name, and looking at a new file another; an epoch of
//! one file writes its path and 20 bytes, whatever was seen; 22 bytes of memory a file that was seen.
//!
//! `TMPDIR=/dev/shm cargo bench -p millstream-connectors --bench files -- 50000 1000000 10000000`

use std::{
    io::{self, Write as _},
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use millstream_connectors::FileConnector;
use millstream_connectors_api::{
    Ask, ConnectorError, ConnectorFactory, Flow, Journal, Journals, MemoryJournals, Options,
    PlannedRange, ReadLimit, Source, SourceContext, SourceRequest, Wake, Waker,
};

type Failure = Box<dyn std::error::Error>;

/// Above this many no real files are made.
const REAL_MAX: u64 = 1_000_000;

/// Epochs of one file each, and looks that find nothing.
const ROUNDS: u32 = 200;

fn main() -> Result<(), Failure> {
    let numbers = std::env::args().filter_map(|text| text.parse().ok());
    let mut counts: Vec<u64> = numbers.collect();
    if counts.is_empty() {
        counts.push(50_000);
    }
    let io = tokio::runtime::Builder::new_current_thread().build()?;
    for files in counts {
        if files <= REAL_MAX {
            real(files, &io)?;
        } else {
            fingerprints(files, &io)?;
        }
    }
    Ok(())
}

/// A source over a directory of so many files.
fn real(files: u64, io: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let dir = tempfile::tempdir()?;
    for number in 0..files {
        std::fs::write(dir.path().join(format!("{number:08}.txt")), "x\n")?;
    }
    let journals = Counted::new(0);
    let mut source = open(dir.path(), &journals, io)?;
    let (range, seconds) = timed(|| plan(source.as_mut(), 10))?;
    let range = range.ok_or("no files")?;
    let bytes = range.detail.len() + source.state().len();
    writeln!(
        stdout,
        "{files} files: first plan {seconds:.2} s CPU, plan and state {bytes} bytes, journals {} bytes a file",
        journals.take().1 / files
    )?;
    let (splits, seconds) = timed(|| {
        let mut splits = 0_u64;
        for split in source.splits(&range)? {
            splits += 1;
            split?;
        }
        Ok(splits)
    })?;
    writeln!(stdout, "{splits} splits: {seconds:.2} s CPU")?;
    source.settled(&range)?;
    one_more(dir.path(), source.as_mut(), &journals)?;

    // Nothing comes for a minute of the clock that the source is given.
    let start_ms = now_ms() + 60_000;
    let mut at_ms = start_ms;
    let mut looks = 0_u64;
    let ((), seconds) = timed(|| {
        while at_ms < start_ms + 60_000 {
            if source.plan(ReadLimit::Configured, at_ms)?.is_some() {
                return Err("something came".into());
            }
            let Ask::After(wait) = source.ask_again(at_ms) else {
                return Err("a directory does not call".into());
            };
            at_ms += i64::try_from(wait.as_millis())?;
            looks += 1;
        }
        Ok(())
    })?;
    let percent = seconds / 60.0 * 100.0;
    writeln!(
        stdout,
        "idle for 60 s: {looks} looks, {percent:.3} % of a core\n"
    )?;
    Ok(())
}

/// A source that saw so many files, over an empty directory.
fn fingerprints(files: u64, io: &tokio::runtime::Runtime) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let dir = tempfile::tempdir()?;
    let journals = Counted::new(files);
    let now = now_ms();
    let state = format!(
        "{{\"v\":2,\"planned\":1,\"files\":0,\"known\":[0,{files}],\"newest_ms\":{now},\"horizon_ms\":0,\"swept_ms\":0}}"
    );
    let mut source = open(dir.path(), &journals, io)?;
    let before = resident()?;
    let ((), seconds) = timed(|| Ok(source.restore(state.as_bytes())?))?;
    let bytes = (resident()? - before) as f64 / files as f64;
    writeln!(
        stdout,
        "{files} files seen before: restored in {seconds:.2} s CPU, {bytes:.1} bytes of memory a file"
    )?;
    journals.take();
    one_more(dir.path(), source.as_mut(), &journals)
}

/// One file an epoch.
fn one_more(dir: &Path, source: &mut dyn Source, journals: &Counted) -> Result<(), Failure> {
    journals.take();
    let mut spent = 0.0;
    for round in 0..ROUNDS {
        // As a directory elsewhere in the tree would: the large one is not listed for it.
        let sub = dir.join(format!("d={round}"));
        std::fs::create_dir(&sub)?;
        std::fs::write(sub.join("new.txt"), "x\n")?;
        let (range, seconds) = timed(|| plan(source, 10))?;
        spent += seconds;
        source.settled(&range.ok_or("no file")?)?;
    }
    let (calls, bytes) = journals.take();
    let rounds = u64::from(ROUNDS);
    let mut stdout = io::stdout();
    writeln!(
        stdout,
        "one more file: {:.0} us CPU, {} journal calls, {} bytes an epoch",
        spent * 1e6 / f64::from(ROUNDS),
        calls / rounds,
        bytes / rounds
    )?;
    Ok(())
}

fn plan(source: &mut dyn Source, later_ms: i64) -> Result<Option<PlannedRange>, Failure> {
    Ok(source.plan(ReadLimit::Configured, now_ms() + later_ms)?)
}

fn open(
    dir: &Path,
    journals: &Counted,
    io: &tokio::runtime::Runtime,
) -> Result<Box<dyn Source>, Failure> {
    let path = dir.to_str().ok_or("the path is not UTF-8")?;
    let request = SourceRequest {
        table: "t".to_owned(),
        schema: None,
        options: Options::from_iter([("path", path), ("format", "text")]),
    };
    let context = SourceContext {
        journals: Arc::new(journals.clone()),
        waker: Waker::new(Arc::new(Nobody)),
        io: io.handle().clone(),
    };
    Ok(FileConnector::new().source(&request, context)?)
}

/// Nothing listens: a benchmark asks by itself.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}

    fn is_spent(&self) -> bool {
        false
    }
}

/// Journals in memory that count calls and bytes. The first entries of `known` are made up when they
/// are read.
#[derive(Clone)]
struct Counted {
    inner: MemoryJournals,
    made_up: u64,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    bytes: AtomicU64,
}

struct CountedJournal {
    inner: Arc<dyn Journal>,
    made_up: Mutex<Range<u64>>,
    counts: Arc<Counts>,
}

impl Counted {
    fn new(made_up: u64) -> Counted {
        Counted {
            inner: MemoryJournals::new(),
            made_up,
            counts: Arc::default(),
        }
    }

    fn take(&self) -> (u64, u64) {
        let swap = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (swap(&self.counts.calls), swap(&self.counts.bytes))
    }
}

impl Journals for Counted {
    fn open(&self, name: &'static str) -> Result<Arc<dyn Journal>, ConnectorError> {
        let made_up = if name == "known" { self.made_up } else { 0 };
        Ok(Arc::new(CountedJournal {
            inner: self.inner.open(name)?,
            made_up: Mutex::new(0..made_up),
            counts: Arc::clone(&self.counts),
        }))
    }
}

impl CountedJournal {
    fn made_up(&self) -> Range<u64> {
        let range = self.made_up.lock().unwrap_or_else(PoisonError::into_inner);
        range.clone()
    }

    fn shift(&self, range: Range<u64>) -> Range<u64> {
        let by = self.made_up().end;
        range.start + by..range.end + by
    }
}

impl Journal for CountedJournal {
    fn entries(&self) -> Range<u64> {
        let made_up = self.made_up();
        let inner = self.shift(self.inner.entries());
        made_up.start.min(inner.start)..inner.end
    }

    fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, ConnectorError> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let mut entries = entries.inspect(|entry| {
            let bytes = entry.len() as u64;
            self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        Ok(self.shift(self.inner.append(&mut entries)?))
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> Flow,
    ) -> Result<(), ConnectorError> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let end = self.made_up().end;
        for number in range.start..range.end.min(end) {
            let mixed =
                u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            let entry = [&mixed.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
            if take(number, &entry) == Flow::Stop {
                return Ok(());
            }
        }
        let start = range.start.max(end);
        if start >= range.end {
            return Ok(());
        }
        self.inner
            .read(start - end..range.end - end, &mut |number, entry| {
                let bytes = entry.len() as u64;
                self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                take(number + end, entry)
            })
    }

    fn truncate(&self, end: u64) -> Result<(), ConnectorError> {
        self.inner.truncate(end - self.made_up().end)
    }

    fn forget(&self, start: u64) -> Result<(), ConnectorError> {
        let end = self.made_up().end;
        let mut made_up = self.made_up.lock().unwrap_or_else(PoisonError::into_inner);
        made_up.start = start.min(end);
        drop(made_up);
        if start > end {
            self.inner.forget(start - end)?;
        }
        Ok(())
    }
}

/// What `work` gives, and its CPU seconds.
fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    let start = cpu_ns()?;
    let done = work()?;
    Ok((done, (cpu_ns()? - start) as f64 / 1e9))
}

fn cpu_ns() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or("0").parse()?)
}

/// Bytes of memory of this process.
fn resident() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1_024)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is its own clock")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(i64::MAX)
}
