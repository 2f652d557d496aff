//! The progress objects of a real run: every field, in every epoch.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

/// Runs a query over these files, one an epoch, and gives its progress objects.
fn progress(name: &str, files: &[&str], query: &str) -> Vec<Value> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if root.exists() {
        fs::remove_dir_all(&root).expect("invariant: the build folder is ours");
    }
    fs::create_dir_all(root.join("in")).expect("invariant: the build folder is ours");
    for (idx, text) in files.iter().enumerate() {
        // Files of one age are read in the order of their names.
        fs::write(root.join(format!("in/{idx}.json")), text).expect("the disk has room");
    }
    let folder = root.display();
    let sql = format!(
        "CREATE TABLE e (at TIMESTAMP, k STRING, WATERMARK FOR at AS at - INTERVAL '10' SECOND)
         WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '{folder}/in');
         CREATE TABLE o WITH (connector = 'noop');
         SET 'queryName' = 'counted';
         INSERT INTO o {query}"
    );
    let file = root.join("progress.jsonl");
    let status = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args([
            "run",
            "--trigger",
            "available-now",
            "--workers",
            "2",
            "-c",
            &sql,
        ])
        .args(["--progress", "none", "--progress-file"])
        .arg(&file)
        .status()
        .expect("the command starts");
    assert!(status.success());
    let text = fs::read_to_string(file).expect("it was written");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect()
}

/// Takes a field out of an object.
fn take(object: &mut Value, field: &str) -> Value {
    let fields = object.as_object_mut().expect("an object");
    fields.remove(field).unwrap_or(Value::Null)
}

/// Checks and removes what differs from run to run.
fn settle(progress: &mut Value, folder: &str) {
    for id in ["id", "runId"] {
        let id = take(progress, id);
        assert_eq!(id.as_str().map(str::len), Some(36), "a UUID: {id}");
    }
    let at = take(progress, "timestamp");
    let at = at.as_str().expect("a text");
    assert!(at.len() == 24 && at.ends_with('Z'), "ISO 8601 in UTC: {at}");
    let mut durations = take(progress, "durationMs");
    let whole = take(&mut durations, "triggerExecution");
    assert_eq!(take(progress, "batchDuration"), whole);
    for part in ["latestOffset", "walCommit", "addBatch", "commitOffsets"] {
        let part = take(&mut durations, part);
        assert!(
            part.as_u64() <= whole.as_u64(),
            "a part of the whole: {part}"
        );
    }
    assert_eq!(durations, json!({}));
    let mut rates = vec![
        take(progress, "inputRowsPerSecond"),
        take(progress, "processedRowsPerSecond"),
    ];
    let source = &mut progress["sources"][0];
    rates.push(take(source, "inputRowsPerSecond"));
    rates.push(take(source, "processedRowsPerSecond"));
    for rate in rates {
        assert!(rate.is_null() || rate.is_f64(), "a number a second: {rate}");
    }
    let description = take(source, "description");
    assert_eq!(description, format!("FileStreamSource[file:{folder}/in]"));
    // What holds the watermark is said in a sentence of its own.
    if let Some(times) = progress.get_mut("eventTime") {
        take(times, "heldBy");
    }
    for operator in progress["stateOperators"].as_array_mut().expect("a list") {
        let bytes = take(operator, "memoryUsedBytes");
        assert_eq!(take(operator, "operatorId"), 0, "the only one");
        let rows = &operator["numRowsTotal"];
        assert_eq!(bytes == 0, *rows == 0, "rows take bytes: {bytes}");
    }
}

fn check(name: &str, files: &[&str], query: &str, expected: &[Value]) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut found = progress(name, files, query);
    let ids: Vec<Value> = found.iter().map(|one| one["runId"].clone()).collect();
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "one run");
    for one in &mut found {
        settle(one, &root.display().to_string());
    }
    assert_eq!(found, expected, "{found:#?}");
}

fn source(start: &Value, end: u64, rows: u64, malformed: u64) -> Value {
    let end = json!({"logOffset": end});
    json!([{
        "startOffset": start, "endOffset": end, "latestOffset": end,
        "numInputRows": rows, "numMalformedRows": malformed,
    }])
}

/// The mark of an epoch is the one that it closes windows by; late rows, closed windows and rows that
/// cannot be read are counted in the epoch in which they come.
#[test]
fn windows_in_append_mode() {
    let times = |watermark: &str, min: &str, avg: &str, max: &str| {
        let time = |second: &str| format!("1970-01-01T00:00:{second}Z");
        json!({"watermark": time(watermark), "min": time(min), "avg": time(avg), "max": time(max)})
    };
    let operator = |total: u64, updated: u64, removed: u64, late: u64| {
        json!([{
            "operatorName": "stateStoreSave", "numRowsTotal": total, "numRowsUpdated": updated,
            "numRowsRemoved": removed, "numRowsDroppedByWatermark": late,
        }])
    };
    let epoch = |number: u64, times: Value, operator: Value, source: Value, rows: u64| {
        let read = source[0]["numInputRows"].clone();
        json!({
            "name": "counted", "batchId": number, "numInputRows": read, "eventTime": times,
            "stateOperators": operator, "sources": source,
            "sink": {"description": "NoopSink", "numOutputRows": rows},
        })
    };
    let at = |number: u64| json!({"logOffset": number});
    check(
        "progress-windows",
        &[
            "{\"at\":\"1970-01-01T00:00:11Z\"}\n{\"at\":\"1970-01-01T00:00:15Z\"}\n",
            "{\"at\":\"1970-01-01T00:00:45Z\"}\n",
            "{\"at\":\"1970-01-01T00:00:12Z\"}\n",
            "{\"at\":\"1970-01-01T00:00:13Z\"}\n{\"at\":null}\nnothing\n",
        ],
        "SELECT window(at, '10 seconds').start AS s, count(*) AS c FROM e GROUP BY window(at, '10 seconds')",
        &[
            epoch(
                0,
                times("00.000", "11.000", "13.000", "15.000"),
                operator(1, 1, 0, 0),
                source(&Value::Null, 0, 2, 0),
                0,
            ),
            epoch(
                1,
                times("05.000", "45.000", "45.000", "45.000"),
                operator(2, 1, 0, 0),
                source(&at(0), 1, 1, 0),
                0,
            ),
            epoch(
                2,
                times("35.000", "12.000", "12.000", "12.000"),
                operator(1, 1, 1, 0),
                source(&at(1), 2, 1, 0),
                1,
            ),
            epoch(
                3,
                times("35.000", "13.000", "13.000", "13.000"),
                operator(1, 0, 0, 1),
                source(&at(2), 3, 3, 1),
                0,
            ),
        ],
    );
}

/// Sessions and limits are stateful operators, too, under Spark's names.
#[test]
fn sessions_and_limits() {
    let files = [
        "{\"at\":\"1970-01-01T00:00:11Z\",\"k\":\"a\"}\n{\"at\":\"1970-01-01T00:00:15Z\",\"k\":\"a\"}\n",
        "{\"at\":\"1970-01-01T00:00:45Z\",\"k\":\"a\"}\n",
        "{\"at\":\"1970-01-01T00:00:12Z\",\"k\":\"a\"}\n",
        "{\"at\":\"1970-01-01T00:00:13Z\",\"k\":\"a\"}\n",
    ];
    let check = |name: &str, query: &str, operator: &str, expected: [[u64; 4]; 4]| {
        for (one, expected) in progress(name, &files, query).iter().zip(expected) {
            let state = &one["stateOperators"][0];
            assert_eq!(state["operatorName"], operator);
            let counters = [
                "numRowsTotal",
                "numRowsUpdated",
                "numRowsRemoved",
                "numRowsDroppedByWatermark",
            ];
            let found = counters.map(|counter| state[counter].as_u64().unwrap_or(u64::MAX));
            assert_eq!(found, expected, "{name} {one}");
        }
    };
    check(
        "progress-sessions",
        "SELECT session_window(at, '10 seconds').start AS s, k, count(*) AS c FROM e
         GROUP BY session_window(at, '10 seconds'), k",
        "sessionWindowStateStoreSaveExec",
        [[1, 1, 0, 0], [2, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]],
    );
    check(
        "progress-limit",
        "SELECT at, k FROM e LIMIT 3",
        "globalLimit",
        [[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]],
    );
}
