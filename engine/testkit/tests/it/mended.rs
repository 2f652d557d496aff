//! What of a query may change between two starts on one checkpoint.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use millstream::{Checkpoint, Coded, Error, OutputMode, Session, SessionSettings, Trigger};
use millstream_epoch::sim::SimDisk;

struct Place {
    session: Session,
    settings: SessionSettings,
}

impl Place {
    fn new() -> Place {
        let settings = SessionSettings {
            trigger: Trigger::OnDemand,
            workers: 2,
            snapshot_interval: Duration::ZERO,
            checkpoint: Checkpoint::Disk(Arc::new(SimDisk::new())),
            ..SessionSettings::default()
        };
        let session = Session::builder().settings(settings.clone()).build();
        let session = session.expect("settings are right");
        let table = "CREATE TABLE e (k STRING, s STRING) WITH (connector = 'memory')";
        session.execute(table).expect("the table is new");
        Place { session, settings }
    }

    fn add(&self, rows: &[(&str, &str)]) {
        let field = |name| Field::new(name, DataType::Utf8, true);
        let keys = rows.iter().map(|row| Some(row.0)).collect::<StringArray>();
        let texts = rows.iter().map(|row| Some(row.1)).collect::<StringArray>();
        let schema = Arc::new(Schema::new(vec![field("k"), field("s")]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(keys), Arc::new(texts)]);
        let added = self.session.memory().add("e", rows.expect("columns fit"));
        added.expect("the table takes it");
    }

    /// Starts a query and processes what is there; numbers of its second column, sorted.
    fn run(&self, mode: OutputMode, sql: &str) -> Result<Vec<i64>, Error> {
        let frame = self.session.sql(sql)?;
        let writer = frame.write_stream().format("memory").query_name("q");
        let query = writer.output_mode(mode).start_with(self.settings.clone())?;
        let processed = query.process_all_available_blocking();
        query.kill();
        processed?;
        let mut numbers = Vec::new();
        for signed in self.session.memory().take("q") {
            let column = signed.rows.column(1).as_primitive::<Int64Type>().clone();
            numbers.extend(column.values());
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The code with which a query is refused or ends.
    fn code(&self, mode: OutputMode, sql: &str) -> Option<&'static str> {
        let error = self.run(mode, sql).err()?;
        if let Error::Terminated { fault, .. } = &error {
            return Some(fault.code.0);
        }
        Some(error.code().0)
    }
}

/// The failed epoch is planned and must run; with the argument mended it can, and its state goes on.
#[test]
fn an_argument_that_fails_can_be_mended() {
    let place = Place::new();
    let strict = "SELECT k, sum(CAST(s AS BIGINT)) AS n FROM e GROUP BY k";
    place.add(&[("a", "1"), ("b", "10")]);
    assert_eq!(
        place.run(OutputMode::Update, strict).ok(),
        Some(vec![1, 10])
    );
    place.add(&[("a", "2"), ("b", "x")]);
    assert_eq!(place.code(OutputMode::Update, strict), Some("EXE-001"));
    assert_eq!(
        place.code(OutputMode::Update, strict),
        Some("EXE-001"),
        "the plan stays"
    );
    let mended = "SELECT k, sum(TRY_CAST(s AS BIGINT)) AS n FROM e GROUP BY k";
    assert_eq!(
        place.run(OutputMode::Update, mended).ok(),
        Some(vec![3, 10])
    );
    let filtered = "SELECT upper(k) AS k, n FROM (SELECT k, sum(TRY_CAST(s AS BIGINT)) FILTER (WHERE s <> '5') AS n
         FROM e WHERE s <> '7' GROUP BY k)";
    place.add(&[("a", "5"), ("a", "7"), ("b", "1")]);
    assert_eq!(
        place.run(OutputMode::Update, filtered).ok(),
        Some(vec![3, 11])
    );
    for other in [
        "SELECT s AS k, sum(TRY_CAST(s AS BIGINT)) AS n FROM e GROUP BY s",
        "SELECT k, max(TRY_CAST(s AS BIGINT)) AS n FROM e GROUP BY k",
        "SELECT k, sum(TRY_CAST(s AS DOUBLE)) AS n FROM e GROUP BY k",
        "SELECT k, sum(TRY_CAST(s AS BIGINT)) AS n, count(*) AS c FROM e GROUP BY k",
    ] {
        assert_eq!(
            place.code(OutputMode::Update, other),
            Some("CKP-002"),
            "{other}"
        );
    }
}

/// State over rows that are taken back holds values of the arguments: with others it could not forget.
#[test]
fn over_rows_that_change_arguments_and_conditions_stay() {
    let place = Place::new();
    let query = |argument: &str, condition: &str| {
        format!(
            "SELECT c % 2 AS k, max({argument}) AS n FROM (SELECT k, count(*) AS c FROM e GROUP BY k)
             WHERE {condition} GROUP BY c % 2"
        )
    };
    place.add(&[("a", "1"), ("b", "1")]);
    let first = query("c", "c < 9");
    assert!(place.run(OutputMode::Changes, &first).is_ok());
    for other in [query("c + 1", "c < 9"), query("c", "c < 8")] {
        assert_eq!(
            place.code(OutputMode::Changes, &other),
            Some("CKP-002"),
            "{other}"
        );
    }
    place.add(&[("a", "1")]);
    assert!(place.run(OutputMode::Changes, &first).is_ok());
}
