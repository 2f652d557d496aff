//! What an epoch writes does not depend on how much was seen before.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_connectors_api::{Journal, Journals};

use super::*;

/// Journals that count, and that may be full.
#[derive(Clone, Default)]
struct Counting {
    inner: MemoryJournals,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    bytes: AtomicU64,
    /// Appends until there is no room; 0 for never.
    full_after: AtomicU64,
}

impl Counts {
    fn take(&self) -> (u64, u64) {
        (
            self.calls.swap(0, Ordering::SeqCst),
            self.bytes.swap(0, Ordering::SeqCst),
        )
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    }
}

struct CountingJournal {
    inner: Arc<dyn Journal>,
    counts: Arc<Counts>,
}

impl Journals for Counting {
    fn open(&self, name: &'static str) -> Result<Arc<dyn Journal>, ConnectorError> {
        Ok(Arc::new(CountingJournal {
            inner: self.inner.open(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }
}

impl Journal for CountingJournal {
    fn entries(&self) -> Range<u64> {
        self.inner.entries()
    }

    fn append(
        &self,
        entries: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Range<u64>, ConnectorError> {
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        match self.counts.full_after.load(Ordering::SeqCst) {
            0 => {}
            1 => {
                return Err(ConnectorError::Io {
                    action: "write",
                    path: "journal".to_owned(),
                    source: std::io::ErrorKind::StorageFull.into(),
                });
            }
            left => self.counts.full_after.store(left - 1, Ordering::SeqCst),
        }
        self.inner
            .append(&mut entries.inspect(|entry| self.counts.count(entry.len())))
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> Flow,
    ) -> Result<(), ConnectorError> {
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.read(range, &mut |number, entry| {
            self.counts.count(entry.len());
            take(number, entry)
        })
    }

    fn truncate(&self, end: u64) -> Result<(), ConnectorError> {
        self.inner.truncate(end)
    }

    fn forget(&self, start: u64) -> Result<(), ConnectorError> {
        self.inner.forget(start)
    }
}

fn open(world: &World, journals: &Counting, options: &[(&str, &str)]) -> Box<dyn Source> {
    let mut all = Options::from_iter(options.iter().copied());
    all.set("path", world.dir.path().to_str().expect("UTF-8"));
    all.set("format", "text");
    let request = SourceRequest {
        table: "t".to_owned(),
        schema: None,
        options: all,
    };
    let mut context = testing::context();
    context.journals = Arc::new(journals.clone());
    FileConnector::new()
        .source(&request, context)
        .expect("opens")
}

#[test]
fn an_epoch_costs_what_its_files_cost() {
    let world = World::new();
    let journals = Counting::default();
    let mut source = open(&world, &journals, &[]);
    let mut cost = Vec::new();
    let mut sizes = Vec::new();
    let mut epochs = Vec::new();
    for many in [0, 1_000, 20_000] {
        for number in 0..many {
            fs::write(world.path(&format!("{many}-{number}")), "x").expect("write");
        }
        if let Some(range) = plan(source.as_mut()) {
            assert!(range.detail.len() < 300, "{}", range.detail.len());
            epochs.push(range);
        }
        journals.counts.take();
        world.put(&format!("one-{many:05}"), "x\n", 1);
        let range = plan(source.as_mut()).expect("one file");
        assert_eq!(names(source.as_ref(), &range).len(), 1);
        cost.push(journals.counts.take());
        sizes.push((range.detail.len(), source.state().len()));
        epochs.push(range);
        // Snapshots pass; what lies behind them goes.
        for range in epochs.drain(..) {
            source.settled(&range).expect("settles");
        }
        assert!(
            journals
                .inner
                .open("files")
                .expect("opens")
                .entries()
                .is_empty()
        );
    }
    assert_eq!(cost[0], cost[1]);
    assert_eq!(cost[1], cost[2]);
    assert!(
        sizes
            .iter()
            .all(|(detail, state)| *detail < 300 && *state < 250),
        "{sizes:?}"
    );
}

#[test]
fn what_is_known_is_forgotten_by_age_whatever_its_order() {
    let world = World::new();
    let journals = Counting::default();
    let options = [("maxFileAge", "1000s")];
    let mut source = open(&world, &journals, &options);
    let known = journals.inner.open("known").expect("opens");
    // One that stays young for ever stands in front of all others.
    world.put("stray", "x\n", 10 * 365 * 86_400);
    let mut longest = 0;
    for epoch in 0..400_u64 {
        for number in 0..64 {
            world.put(&format!("{epoch}-{number}"), "x\n", epoch * 50);
        }
        let now_ms = NOW_MS + i64::try_from(epoch).expect("small") * 50_000;
        let range = plan_at(source.as_mut(), now_ms).expect("new files");
        source.settled(&range).expect("settles");
        for number in 0..64 {
            fs::remove_file(world.path(&format!("{epoch}-{number}"))).expect("remove");
        }
        let entries = known.entries();
        longest = longest.max(entries.end - entries.start);
    }
    let written = known.entries().end;
    assert!(written > 25_000 && longest < 8_000, "{written} {longest}");
    // The stray still counts.
    let state = source.state();
    drop(source);
    let mut source = open(&world, &journals, &options);
    source.restore(&state).expect("own state");
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn a_full_disk_plans_nothing_and_loses_nothing() {
    let world = World::new();
    world.put("1", "one\n", 1);
    world.put("2", "two\n", 2);
    let journals = Counting::default();
    let mut source = open(&world, &journals, &[("maxFilesPerTrigger", "1")]);
    for room in [1, 2] {
        journals.counts.full_after.store(room, Ordering::SeqCst);
        let error = source
            .plan(ReadLimit::Configured, NOW_MS)
            .expect_err("no room");
        assert!(error.is_disk_full());
        assert_eq!(source.latest(), None);
    }
    journals.counts.full_after.store(0, Ordering::SeqCst);
    let range = plan(source.as_mut()).expect("first");
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
    let range = plan(source.as_mut()).expect("second");
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "two\n");
    assert_eq!(range.end.0, "{\"logOffset\":1}");
    assert_eq!(journals.inner.open("files").expect("opens").entries(), 0..2);
    assert_eq!(journals.inner.open("known").expect("opens").entries(), 0..2);
}
