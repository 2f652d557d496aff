//! The generators: the numbers of Spark's documentation, and the same rows for the same range.

use arrow::{
    array::{AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use millstream_connectors_api::{
    ChunkBody, ConnectorError, ConnectorFactory, Flow, Options, PlannedRange, ReadLimit, Source,
    SourceRequest,
};
use millstream_types::Coded;

use super::{NexmarkConnector, RateConnector, RateMicroBatchConnector, rate_schema};
use crate::testing;

fn request(options: &[(&str, &str)]) -> SourceRequest {
    SourceRequest {
        table: "t".to_owned(),
        schema: None,
        options: Options::from_iter(options.iter().copied()),
    }
}

fn open(
    connector: &dyn ConnectorFactory,
    options: &[(&str, &str)],
) -> Result<Box<dyn Source>, ConnectorError> {
    connector.source(&request(options), testing::context())
}

fn plan(source: &mut dyn Source, now_ms: i64) -> Option<PlannedRange> {
    source.plan(ReadLimit::Configured, now_ms).expect("plans")
}

fn read(source: &dyn Source, range: &PlannedRange) -> RecordBatch {
    let mut batches = Vec::new();
    let mut reader = source.reader().expect("a reader");
    let done = testing::read_range(source, reader.as_mut(), range, &mut |chunk| {
        if let ChunkBody::Rows(rows) = chunk.body {
            batches.push(rows);
        }
        Flow::More
    });
    done.expect("reads");
    concat_batches(&source.schema(), &batches).expect("one schema")
}

/// Value and milliseconds of each row.
fn rates(source: &dyn Source, range: &PlannedRange) -> Vec<(i64, i64)> {
    let rows = read(source, range);
    let instants = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let values = rows.column(1).as_primitive::<Int64Type>();
    let pairs = values.values().iter().zip(instants.values());
    pairs
        .map(|(value, micros)| (*value, micros / 1_000))
        .collect()
}

#[test]
fn rate_counts_whole_seconds_from_its_start() {
    let mut source = open(&RateConnector, &[("rowsPerSecond", "3")]).expect("opens");
    let empty = plan(source.as_mut(), 10_500).expect("the first range is empty");
    assert_eq!((empty.start.clone(), empty.end.0.as_str()), (None, "0"));
    assert!(rates(source.as_ref(), &empty).is_empty());
    assert_eq!(plan(source.as_mut(), 11_499), None);
    let one = plan(source.as_mut(), 11_500).expect("a second has gone");
    assert_eq!(
        rates(source.as_ref(), &one),
        [(0, 10_500), (1, 10_833), (2, 11_167)]
    );
    let state = source.state();
    let two = plan(source.as_mut(), 13_900).expect("two more seconds");
    let rows = rates(source.as_ref(), &two);
    assert_eq!(
        (rows.len(), rows[0], rows[5]),
        (6, (3, 11_500), (8, 13_167))
    );

    let mut again = open(&RateConnector, &[("rowsPerSecond", "3")]).expect("opens");
    again.restore(&state).expect("own state");
    again.replay(&two).expect("own range");
    assert_eq!(rates(again.as_ref(), &two), rows);
    again.freeze(14_600).expect("freezes");
    let next = plan(again.as_mut(), 19_500).expect("one more second");
    assert_eq!(plan(again.as_mut(), 20_500), None);
    assert_eq!(rates(again.as_ref(), &next)[0], (9, 13_500));
}

#[test]
fn rate_ramps_up() {
    let options = [("rowsPerSecond", "10"), ("rampUpTime", "4s")];
    let mut source = open(&RateConnector, &options).expect("opens");
    let mut ends = Vec::new();
    for second in 0..7 {
        if let Some(range) = plan(source.as_mut(), second * 1_000) {
            ends.push(rates(source.as_ref(), &range).len());
        }
    }
    assert_eq!(ends, [0, 2, 4, 6, 8, 10, 10]);
}

#[test]
fn rate_micro_batch_advances_by_epoch() {
    let options = [
        ("rowsPerBatch", "4"),
        ("startTimestamp", "1000"),
        ("advanceMillisPerBatch", "500"),
    ];
    let mut source = open(&RateMicroBatchConnector, &options).expect("opens");
    let first = plan(source.as_mut(), 0).expect("a batch");
    assert_eq!(
        rates(source.as_ref(), &first),
        [(0, 1_000), (1, 1_000), (2, 1_000), (3, 1_000)]
    );
    let second = plan(source.as_mut(), 0).expect("a batch");
    assert_eq!(rates(source.as_ref(), &second)[0], (4, 1_500));
    assert_eq!(second.end.0, "{\"offset\":8,\"timestamp\":2000}");
    let mut again = open(&RateMicroBatchConnector, &options).expect("opens");
    again.replay(&second).expect("own range");
    assert_eq!(again.latest(), source.latest());
    again.freeze(0).expect("freezes");
    assert!(plan(again.as_mut(), 0).is_some());
    assert!(plan(again.as_mut(), 0).is_none());
}

#[test]
fn nexmark_events_do_not_depend_on_the_ranges() {
    for (table, rows) in [("person", 20), ("auction", 60), ("bid", 920)] {
        let all = [("table", table), ("rowsPerSecond", "0"), ("rows", "1000")];
        let mut source = open(&NexmarkConnector, &all).expect("opens");
        let range = plan(source.as_mut(), 0).expect("events");
        assert_eq!(range.end.0, "{\"offset\":1000}");
        let whole = read(source.as_ref(), &range);
        assert_eq!(whole.num_rows(), rows, "{table}");
        assert_eq!(plan(source.as_mut(), 0), None);

        let parts = [
            ("table", table),
            ("rowsPerSecond", "0"),
            ("rows", "1000"),
            ("maxRowsPerTrigger", "73"),
        ];
        let mut source = open(&NexmarkConnector, &parts).expect("opens");
        let mut batches = Vec::new();
        while let Some(range) = plan(source.as_mut(), 0) {
            batches.push(read(source.as_ref(), &range));
            source.restore(&source.state()).expect("own state");
        }
        assert_eq!(batches.len(), 14);
        let joined = concat_batches(&source.schema(), &batches).expect("one schema");
        assert_eq!(joined, whole, "{table}");
    }
}

#[test]
fn nexmark_keeps_to_the_clock() {
    let options = [("table", "bid"), ("rowsPerSecond", "1000")];
    let mut source = open(&NexmarkConnector, &options).expect("opens");
    assert_eq!(plan(source.as_mut(), 5_000), None);
    let range = plan(source.as_mut(), 5_100).expect("100 events are due");
    let rows = read(source.as_ref(), &range);
    assert_eq!(rows.num_rows(), 92);
    let at = rows
        .column(5)
        .as_primitive::<TimestampMicrosecondType>()
        .value(0);
    assert_eq!(at, 1_600_000_000_000_000);
    let mut again = open(&NexmarkConnector, &options).expect("opens");
    // In either order: the replay says when the stream began.
    again.freeze(5_200).expect("freezes");
    again.replay(&range).expect("own range");
    assert!(plan(again.as_mut(), 9_000).is_some_and(|range| range.end.0 == "{\"offset\":200}"));
    assert_eq!(plan(again.as_mut(), 9_000), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let code = |connector: &dyn ConnectorFactory, options: &[(&str, &str)]| {
        open(connector, options).err().expect("is refused").code().0
    };
    assert_eq!(code(&RateConnector, &[("rowsPerSecond", "0")]), "CON-003");
    assert_eq!(code(&RateConnector, &[("rampUpTime", "x")]), "CON-003");
    assert_eq!(code(&RateConnector, &[("rowPerSecond", "1")]), "CON-002");
    assert_eq!(code(&RateMicroBatchConnector, &[]), "CON-004");
    assert_eq!(code(&NexmarkConnector, &[]), "CON-004");
    assert_eq!(code(&NexmarkConnector, &[("table", "bids")]), "CON-003");
    let mut given = request(&[]);
    given.schema = Some(rate_schema());
    let error = RateConnector.schema(&given).expect_err("is refused");
    assert_eq!(error.code().0, "CON-009");
    assert_eq!(
        error.to_string(),
        "rate source does not support user-specified schema"
    );
    let mut source = open(&RateConnector, &[]).expect("opens");
    assert_eq!(
        source.restore(b"{").expect_err("damaged").code().0,
        "EXE-003"
    );
}
