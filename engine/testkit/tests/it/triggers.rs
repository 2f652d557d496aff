//! Triggers that end by themselves, and epochs that fail: what a query gives over several starts.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, AsArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf},
};
use millstream::{
    Checkpoint, Clock, Coded, DataFrame, Fault, KillPoint, OutputMode, Session, SessionSettings,
    StreamingQuery, StreamingQueryListener, Trigger, VirtualClock,
    functions::{call_function, col, window},
};
use millstream_epoch::{
    Disk,
    sim::{Failure, SimDisk},
};
use millstream_types::Epoch;

/// A session whose queries keep one checkpoint.
struct Place {
    session: Session,
    settings: SessionSettings,
    clock: Arc<VirtualClock>,
}

impl Place {
    fn new(trigger: Trigger, table: &str) -> Place {
        let clock = Arc::new(VirtualClock::new(100_000));
        let settings = SessionSettings {
            trigger,
            workers: 2,
            snapshot_interval: Duration::ZERO,
            checkpoint: Checkpoint::Disk(Arc::new(SimDisk::new())),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..SessionSettings::default()
        };
        let builder = Session::builder().settings(settings.clone());
        let session = builder.build().expect("settings are right");
        session.execute(table).expect("the table is new");
        Place {
            session,
            settings,
            clock,
        }
    }

    fn start(
        &self,
        frame: &DataFrame,
        mode: OutputMode,
        kill_at: Option<KillPoint>,
    ) -> StreamingQuery {
        let writer = frame.write_stream().format("memory").query_name("q");
        let settings = SessionSettings {
            kill_at,
            ..self.settings.clone()
        };
        let query = writer.output_mode(mode).start_with(settings);
        query.expect("starts")
    }

    /// Rows of numbers into `e`, which has one column.
    fn add(&self, numbers: &[i32]) {
        let schema = Schema::new(vec![Field::new("n", DataType::Int32, true)]);
        let rows = Arc::new(Int32Array::from(numbers.to_vec()));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![rows]).expect("columns fit");
        self.session
            .memory()
            .add("e", rows)
            .expect("the table takes it");
    }

    /// Times in seconds into `e`, which has one column.
    fn add_times(&self, seconds: &[i64]) {
        let micros: Vec<i64> = seconds.iter().map(|second| second * 1_000_000).collect();
        let times = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
        let field = Field::new("at", times.data_type().clone(), true);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(times)]);
        let rows = rows.expect("columns fit");
        self.session
            .memory()
            .add("e", rows)
            .expect("the table takes it");
    }

    /// What the sink got since it was last asked: two columns of whole numbers, sorted.
    fn taken(&self) -> Vec<(i64, i64)> {
        let mut rows = Vec::new();
        for signed in self.session.memory().take("q") {
            let columns = [0, 1].map(|idx| numbers(signed.rows.column(idx)));
            rows.extend(columns[0].iter().zip(&columns[1]).map(|(a, b)| (*a, *b)));
        }
        rows.sort_unstable();
        rows
    }
}

/// Whole numbers, or seconds of times.
fn numbers(column: &Arc<dyn Array>) -> Vec<i64> {
    if let Some(column) = column.as_primitive_opt::<Int32Type>() {
        return column.values().iter().copied().map(i64::from).collect();
    }
    if let Some(column) = column.as_primitive_opt::<Int64Type>() {
        return column.values().to_vec();
    }
    let times = column.as_primitive::<TimestampMicrosecondType>();
    times.values().iter().map(|time| time / 1_000_000).collect()
}

const CLICKS: &str = "CREATE TABLE e (at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '10' SECOND)
     WITH (connector = 'memory')";
const WINDOWS: &str = "SELECT window(at, '5 seconds').start AS s, count(*) AS c FROM e
     GROUP BY window(at, '5 seconds')";

/// Runs the windows once for each group of times; what each run gave.
fn runs(trigger: Trigger, times: &[&[i64]]) -> Vec<Vec<(i64, i64)>> {
    let place = Place::new(trigger, CLICKS);
    let frame = place.session.sql(WINDOWS).expect("plans");
    let run = |times: &&[i64]| {
        place.add_times(times);
        let query = place.start(&frame, OutputMode::Append, None);
        let ended = query.await_termination_blocking(None);
        assert!(ended.expect("it ends by itself"));
        place.taken()
    };
    times.iter().map(run).collect()
}

/// A run of trigger `once` is one epoch: windows that its rows close come out in the next run.
#[test]
fn once_closes_windows_in_the_next_run() {
    let times: [&[i64]; 5] = [&[15], &[10, 12, 14], &[25], &[50], &[50]];
    let given = runs(Trigger::Once, &times);
    let none = Vec::new();
    let first = vec![(10, 3)];
    let second = vec![(15, 1), (25, 1)];
    assert_eq!(given, [none.clone(), none.clone(), none, first, second]);
}

/// A run of trigger `available-now` ends with the epoch that closes what its rows closed.
#[test]
fn available_now_closes_windows_in_the_same_run() {
    let times: [&[i64]; 5] = [&[15], &[10, 12, 14], &[25], &[50], &[50]];
    let given = runs(Trigger::AvailableNow, &times);
    let none = Vec::new();
    let first = vec![(10, 3)];
    let second = vec![(15, 1), (25, 1)];
    assert_eq!(given, [none.clone(), none.clone(), first, second, none]);
}

/// An epoch without data follows at once where the mark closes something; it has a number of its own
/// and reaches the sink. In complete mode nothing closes, so none follows.
#[test]
fn epochs_without_data_have_numbers() {
    for (mode, expected) in [
        (OutputMode::Append, vec![(0, 2), (1, 0), (2, 1)]),
        (OutputMode::Update, vec![(0, 2), (1, 0), (2, 1)]),
        (OutputMode::Complete, vec![(0, 2), (1, 1)]),
    ] {
        let place = Place::new(Trigger::OnDemand, CLICKS);
        let frame = place.session.sql(WINDOWS).expect("plans");
        let query = place.start(&frame, mode, None);
        for times in [&[3, 30][..], &[25]] {
            place.add_times(times);
            query.process_all_available_blocking().expect("runs");
        }
        let epochs: Vec<(u64, u64)> = query
            .recent_progress()
            .iter()
            .map(|progress| (progress.batch_id, progress.num_input_rows))
            .collect();
        assert_eq!(epochs, expected, "{mode}");
        let last = expected.last().map(|(epoch, _)| Epoch(*epoch));
        assert_eq!(place.session.memory().committed("q"), last);
    }
}

/// The delay of a watermark may change between two starts: the mark stays where it was until the new
/// delay moves it on.
#[test]
fn another_delay_after_a_restart() {
    let place = Place::new(
        Trigger::OnDemand,
        "CREATE TABLE e (at TIMESTAMP) WITH (connector = 'memory')",
    );
    let frame = |delay: &str| {
        let table = place.session.table("e").expect("it exists");
        let marked = table.with_watermark("at", delay).expect("a watermark");
        let keys = [window(col("at"), "5 seconds")];
        marked.group_by(keys).count().expect("plans")
    };
    let run = |delay: &str, times: &[i64]| {
        let query = place.start(&frame(delay), OutputMode::Append, None);
        place.add_times(times);
        query.process_all_available_blocking().expect("runs");
        let progress = query.last_progress().expect("an epoch ran");
        query.kill();
        let rows = place.session.memory().take("q");
        let windows: usize = rows.iter().map(|signed| signed.rows.num_rows()).sum();
        (
            progress.event_time.expect("it has a mark").watermark,
            windows,
        )
    };
    let at = |second: i64| format!("1970-01-01T00:00:{second:02}.000Z");
    assert_eq!(run("10 seconds", &[3, 21]), (at(11), 1));
    // 22 less 30 lies before the mark, which does not go back.
    assert_eq!(run("30 seconds", &[22]), (at(11), 0));
    assert_eq!(run("1 second", &[23]), (at(22), 0));
    assert_eq!(run("1 second", &[26]), (at(25), 1));
}

/// Whether the slowest or the fastest watermark counts is settled by the first start: with the other
/// policy the mark would jump, so the checkpoint is refused.
#[test]
fn another_policy_after_a_restart_is_refused() {
    let place = Place::new(Trigger::OnDemand, CLICKS);
    let other = "CREATE TABLE f (at TIMESTAMP, WATERMARK FOR at AS at) WITH (connector = 'memory')";
    place.session.execute(other).expect("the table is new");
    let both = "SELECT window(at, '5 seconds').start AS s, count(*) AS c
         FROM (SELECT at FROM e UNION ALL SELECT at FROM f) GROUP BY window(at, '5 seconds')";
    for (sql, is_refused) in [(both, true), (WINDOWS, false)] {
        let checkpoint = Checkpoint::Disk(Arc::new(SimDisk::new()));
        let run = |policy: &str| {
            let mut settings = SessionSettings {
                checkpoint: checkpoint.clone(),
                ..place.settings.clone()
            };
            let key = "spark.sql.streaming.multipleWatermarkPolicy";
            settings.set(key, policy).expect("a policy");
            let frame = place.session.sql(sql).expect("plans");
            let writer = frame.write_stream().format("memory").query_name("q");
            let query = writer.start_with(settings)?;
            let processed = query.process_all_available_blocking();
            query.kill();
            processed
        };
        run("min").expect("the first start");
        let refused = run("max").err().map(|error| error.code().0);
        assert_eq!(refused, is_refused.then_some("CKP-002"));
        run("min").expect("as before");
    }
}

/// Trigger `once` takes all that is there, whatever the limits; `available-now` keeps to them.
#[test]
fn limits_hold_for_available_now_only() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("five-files");
    std::fs::create_dir_all(&folder).expect("invariant: the build folder is ours");
    for file in 1..=5 {
        let path = folder.join(format!("{file}.json"));
        std::fs::write(path, format!("{{\"n\":{file}}}\n")).expect("the disk has room");
    }
    let table = format!(
        "CREATE TABLE e (n INT) WITH (connector = 'file', format = 'json', path = '{}',
         maxFilesPerTrigger = '2')",
        folder.display()
    );
    for (trigger, expected) in [
        (Trigger::Once, vec![5]),
        (Trigger::AvailableNow, vec![2, 2, 1]),
    ] {
        let place = Place::new(trigger, &table);
        let frame = place.session.sql("SELECT n, n AS m FROM e").expect("plans");
        let query = place.start(&frame, OutputMode::Append, None);
        query
            .await_termination_blocking(None)
            .expect("it ends by itself");
        let rows: Vec<u64> = query
            .recent_progress()
            .iter()
            .map(|progress| progress.num_input_rows)
            .collect();
        assert_eq!(rows, expected, "{trigger:?}");
        assert_eq!(place.taken(), (1..=5).map(|n| (n, n)).collect::<Vec<_>>());
    }
}

/// A function of the user's that fails the first time it meets a 4.
fn fails_once() -> (ScalarUDF, Arc<AtomicBool>) {
    let failed = Arc::new(AtomicBool::new(false));
    let has_failed = Arc::clone(&failed);
    let function = move |arguments: &[ColumnarValue]| {
        let [ColumnarValue::Array(column)] = arguments else {
            return Err(DataFusionError::Execution("one column".to_owned()));
        };
        let column = column.as_primitive::<Int32Type>();
        if column.values().contains(&4) && !has_failed.swap(true, Ordering::SeqCst) {
            return Err(DataFusionError::Execution("no fours today".to_owned()));
        }
        let same: Int64Array = column.iter().map(|n| n.map(i64::from)).collect();
        Ok(ColumnarValue::Array(Arc::new(same)))
    };
    let types = (vec![DataType::Int32], DataType::Int64);
    let function = Arc::new(function);
    let udf = create_udf("picky", types.0, types.1, Volatility::Volatile, function);
    (udf, failed)
}

/// proves P1: an epoch that fails gives nothing, and runs again from its plan when the query starts
/// again: no row is lost, none is counted twice. [INV-02]
#[test]
fn an_epoch_that_failed_runs_again_whole() {
    let place = Place::new(
        Trigger::OnDemand,
        "CREATE TABLE e (n INT) WITH (connector = 'memory')",
    );
    let (picky, failed) = fails_once();
    place.session.register_function(picky);
    let frame = place.session.table("e").expect("it exists");
    let frame = frame.select([call_function("picky", ["n"]).alias("k")]);
    let frame = frame.expect("plans").group_by([col("k")]).count();
    let frame = frame.expect("plans");
    let first = place.start(&frame, OutputMode::Update, None);
    place.add(&[1, 2, 3, 4]);
    let error = first
        .process_all_available_blocking()
        .expect_err("it meets a 4");
    assert!(error.to_string().contains("no fours today"), "{error}");
    assert!(failed.load(Ordering::SeqCst) && place.taken().is_empty());
    let second = place.start(&frame, OutputMode::Update, None);
    second.process_all_available_blocking().expect("runs");
    assert_eq!(place.taken(), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    let epochs: Vec<u64> = second
        .recent_progress()
        .iter()
        .map(|progress| progress.batch_id)
        .collect();
    assert_eq!(epochs, [0], "the epoch that failed");
    place.add(&[1]);
    second.process_all_available_blocking().expect("runs");
    assert_eq!(place.taken(), [(1, 2)]);
}

/// proves P3: a filter on the clock keeps in a repeated epoch the rows that it kept when the epoch was
/// planned. [INV-01]
#[test]
fn a_repeated_epoch_filters_by_the_time_of_its_plan() {
    let place = Place::new(
        Trigger::OnDemand,
        "CREATE TABLE e (n INT) WITH (connector = 'memory')",
    );
    let recent = "SELECT n, n AS m FROM e WHERE n >= unix_timestamp(current_timestamp()) - 10";
    let frame = place.session.sql(recent).expect("plans");
    place.add(&[85, 90, 95, 100, 105]);
    let first = place.start(&frame, OutputMode::Append, Some(KillPoint::Planned));
    first
        .process_all_available_blocking()
        .expect("a kill is no error");
    assert!(first.is_killed() && place.taken().is_empty());
    place.clock.advance(8_000);
    let second = place.start(&frame, OutputMode::Append, None);
    second.process_all_available_blocking().expect("runs");
    // Planned at second 100: 90 is not too old, though the clock says 108 now.
    assert_eq!(place.taken(), [(90, 90), (95, 95), (100, 100), (105, 105)]);
    place.add(&[97, 98]);
    second.process_all_available_blocking().expect("runs");
    assert_eq!(place.taken(), [(98, 98)]);
}

/// Input that changed behind a committed epoch is noticed when the epoch runs again, by the number of
/// its rows: state would silently be another.
#[test]
fn a_replay_that_reads_other_rows_is_refused() {
    let mut place = Place::new(
        Trigger::AvailableNow,
        "CREATE TABLE e (n INT) WITH (connector = 'memory')",
    );
    place.settings.snapshot_interval = Duration::from_secs(86_400);
    let frame = place
        .session
        .sql("SELECT n, count(*) AS c FROM e GROUP BY n");
    let frame = frame.expect("plans");
    place.add(&[1, 2, 3]);
    let query = place.start(&frame, OutputMode::Update, Some(KillPoint::Committed));
    let _killed = query.await_termination_blocking(None);
    assert!(query.is_killed());
    place.session.memory().drop_input("e");
    place.add(&[1, 2]);
    let query = place.start(&frame, OutputMode::Update, None);
    let ended = query.await_termination_blocking(None);
    let error = ended.expect_err("the epoch gives something else");
    let fault = query.exception().expect("an error ended it");
    assert_eq!(fault.code.0, "CKP-009", "{error}");
    assert!(fault.message.contains("rows read: was=3 is=2"), "{fault}");
}

/// What a listener was told of a full disk.
#[derive(Default)]
struct Told {
    paused: AtomicUsize,
    resumed: AtomicUsize,
    noticed: AtomicUsize,
}

impl StreamingQueryListener for Told {
    fn on_query_notice(&self, _id: &str, notice: &Fault) {
        assert_eq!(notice.code.0, "CKP-005", "{notice}");
        self.noticed.fetch_add(1, Ordering::SeqCst);
    }
    fn on_query_paused(&self, _id: &str, reason: &Fault) {
        assert_eq!(reason.code.0, "CKP-005", "{reason}");
        self.paused.fetch_add(1, Ordering::SeqCst);
    }
    fn on_query_resumed(&self, _id: &str) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs a query over a disk that is full at one operation; the number of operations.
fn run_with_a_full_disk(at: Option<u64>, told: &Arc<Told>) -> u64 {
    let mut place = Place::new(
        Trigger::AvailableNow,
        "CREATE TABLE e (n INT) WITH (connector = 'memory')",
    );
    let disk = Arc::new(SimDisk::new());
    place.settings.checkpoint = Checkpoint::Disk(Arc::clone(&disk) as Arc<dyn Disk>);
    place.session.add_listener(Arc::clone(told) as _);
    let frame = place
        .session
        .sql("SELECT n, count(*) AS c FROM e GROUP BY n");
    let frame = frame.expect("plans");
    let mut given = Vec::new();
    for (round, numbers) in [[1, 2], [2, 3]].iter().enumerate() {
        place.add(numbers);
        if let Some(at) = at.filter(|_| round == 1) {
            disk.fail_at(at, Failure::Enospc);
        }
        let start = || {
            let writer = frame.write_stream().format("memory").query_name("q");
            let writer = writer.output_mode(OutputMode::Update);
            writer.start_with(place.settings.clone())
        };
        // A start is refused with a code, and the next one goes on.
        let query = start().or_else(|error| {
            assert_eq!(error.code().0, "CKP-005", "operation {at:?}");
            start()
        });
        let query = query.expect("starts");
        // A sync or a rename is never repeated: if that finds no room, the query starts anew.
        if let Err(error) = query.await_termination_blocking(None) {
            let fault = query.exception().expect("an error ended it");
            let unknown = ["cannot sync", "cannot rename", "closed after a failed"];
            let is_unknown = unknown.iter().any(|what| fault.message.contains(what));
            assert!(is_unknown, "{error}");
            let ended = start().expect("starts").await_termination_blocking(None);
            assert!(ended.expect("it goes on"), "operation {at:?}");
        }
        given.push(place.taken());
    }
    let expected = [vec![(1, 1), (2, 1)], vec![(2, 2), (3, 1)]];
    assert_eq!(given, expected, "operation {at:?}");
    disk.ops()
}

/// proves P9: a disk that is full when a plan, a commit or a snapshot is written pauses the query, or
/// puts the snapshot off, and the answer is the same.
#[test]
fn a_full_disk_pauses_a_query() {
    let told = Arc::<Told>::default();
    let ops = run_with_a_full_disk(None, &told);
    // The last operations are those of the second run, some of its opening among them.
    for at in ops.saturating_sub(24)..ops {
        run_with_a_full_disk(Some(at), &told);
    }
    let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
    assert!(count(&told.paused) > 0);
    assert_eq!(count(&told.paused), count(&told.resumed));
    assert!(count(&told.noticed) > 0);
}
