//! Queries over what does not grow: they run once.

use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, StringArray};
use millstream::{Coded, DataFrame, JoinKind, Outcome, Result, Session, functions::*};

fn session() -> Result<Session> {
    Session::builder().workers(2).build()
}

fn shown(session: &Session, sql: &str) -> String {
    match session.sql(sql).and_then(|frame| frame.show_text(20, true)) {
        Ok(text) => text,
        Err(error) => error.fault().to_string(),
    }
}

/// The cells of a frame, a line a row.
fn rows(frame: &DataFrame) -> Result<Vec<String>> {
    let text = frame.show_text(1000, false)?;
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.join(" ")
    };
    Ok(lines.map(cells).collect())
}

fn people() -> Result<DataFrame> {
    let name = StringArray::from(vec![Some("ann"), Some("bob"), None, Some("ann")]);
    let n = Int32Array::from(vec![1, 2, 3, 4]);
    let batch =
        RecordBatch::try_from_iter([("name", Arc::new(name) as _), ("n", Arc::new(n) as _)]);
    session()?.create_data_frame(vec![batch.expect("columns fit")])
}

#[test]
fn a_select_without_from_is_one_row() -> Result<()> {
    let session = session()?;
    let expected = "+-------+---------------+\n|(1 + 1)|typeof((1 + 1))|\n+-------+---------------+\n\
                    |      2|            int|\n+-------+---------------+\n";
    assert_eq!(shown(&session, "SELECT 1+1, typeof(1+1)"), expected);
    let words = session.sql("SELECT explode(split('a b', ' ')) AS w, 1 WHERE 1 < 2")?;
    assert_eq!(rows(&words)?, ["a 1", "b 1"]);
    assert!(rows(&session.sql("SELECT 1 WHERE 1 > 2")?)?.is_empty());
    Ok(())
}

#[test]
fn values_are_rows() -> Result<()> {
    let session = session()?;
    let cases = [
        (
            "VALUES (2, 'b'), (1, 'a') ORDER BY col1",
            vec!["1 a", "2 b"],
        ),
        (
            "SELECT col2, typeof(col1) FROM VALUES (1, 'x')",
            vec!["x int"],
        ),
        (
            "SELECT b, sum(a) FROM VALUES (1, 'x'), (2, 'x'), (NULL, 'y') AS t(a, b) GROUP BY b ORDER BY b",
            vec!["x 3", "y NULL"],
        ),
        (
            "SELECT * FROM (VALUES (1.5), (2)) WHERE col1 > 1.7",
            vec!["2.0"],
        ),
        (
            "SELECT count(*) FROM VALUES (1), (1), (2) AS t(a) HAVING count(DISTINCT a) = 2",
            vec!["3"],
        ),
        (
            "SELECT a FROM VALUES (3), (1), (2) AS t(a) ORDER BY a DESC LIMIT 1 OFFSET 1",
            vec!["2"],
        ),
        (
            "SELECT DISTINCT a FROM VALUES (1), (1) AS t(a) UNION ALL SELECT 7 ORDER BY a",
            vec!["1", "7"],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(&session.sql(sql)?)?, expected, "{sql}");
    }
    Ok(())
}

#[test]
fn frames_of_rows_are_shaped_as_streams_are() -> Result<()> {
    let people = people()?;
    let counted = people.group_by(["name"]).agg([sum("n").alias("s")])?;
    let ordered = counted.order_by([col("s").desc()])?;
    assert_eq!(rows(&ordered)?, ["ann 5", "NULL 3", "bob 2"]);
    assert_eq!(
        rows(&people.na().fill("?", &[])?.filter(col("n").gt(2))?)?,
        ["? 3", "ann 4"]
    );
    let all: usize = people
        .collect_blocking()?
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(all, 4);
    let averages = people
        .cube(["name"])
        .agg([avg("n").alias("a")])?
        .order_by(["name", "a"])?;
    assert_eq!(
        rows(&averages)?,
        ["NULL 2.5", "NULL 3.0", "ann 2.5", "bob 2.0"]
    );
    let alone = people.cross_join(&people)?;
    assert_eq!(alone.columns(), ["name", "n", "name", "n"]);
    let joined = people.join_using(&people.alias("q")?, &["name"], JoinKind::Inner)?;
    assert_eq!(joined.columns(), ["name", "n", "n"]);
    Ok(())
}

#[test]
fn tables_are_made_and_filled() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("millstream-batch-{}", std::process::id()));
    let session = session()?;
    let place = folder.display();
    let made = session.execute(&format!(
        "CREATE TABLE o WITH (connector = 'file', path = '{place}', format = 'json')
           AS SELECT a, b * 2 AS c FROM VALUES (1, 10), (2, 20) AS t(a, b);
         INSERT INTO o VALUES (3, 4);
         CREATE TABLE r (a INT, c INT)
           WITH (connector = 'file', path = '{place}', format = 'json', mode = 'batch', maxFilesPerTrigger = 1);
         INSERT INTO o SELECT a + 10, c FROM r WHERE a = 1"
    ))?;
    let counts: Vec<u64> = made
        .iter()
        .filter_map(|outcome| {
            if let Outcome::Inserted(rows) = outcome {
                Some(*rows)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(counts, [2, 1, 1]);
    let read = session.sql("SELECT * FROM r ORDER BY a")?;
    assert_eq!(rows(&read)?, ["1 20", "2 40", "3 4", "11 20"]);
    let taken = session.execute("CREATE TABLE o WITH (connector = 'noop') AS SELECT 1 AS a");
    assert!(taken.is_err_and(|error| error.code().0 == "SQL-008"));
    let failed = session.execute("CREATE TABLE f WITH (connector = 'noop') AS SELECT 1 / 0 AS a");
    assert!(failed.is_err() && session.table("f").is_err());
    std::fs::remove_dir_all(folder).expect("is ours");
    Ok(())
}

#[test]
fn mistakes_have_codes() -> Result<()> {
    let session = session()?;
    session.execute("CREATE TABLE s (a INT) WITH (connector = 'memory')")?;
    let told = |sql: &str| shown(&session, sql);
    assert!(
        told("SELECT a FROM s").starts_with("error SQL-030"),
        "{}",
        told("SELECT a FROM s")
    );
    assert!(told("SELECT CAST('x' AS INT) + col1 FROM VALUES (1)").contains("CAST_INVALID_INPUT"));
    assert!(told("SELECT 1 / (col1 - 1) FROM VALUES (1)").contains("DIVIDE_BY_ZERO"));
    assert!(
        told("SELECT sum(col1) FROM VALUES (9223372036854775807L), (1L)")
            .contains("ARITHMETIC_OVERFLOW")
    );
    assert!(told("SELECT nobody FROM VALUES (1)").contains("UNRESOLVED_COLUMN.WITH_SUGGESTION"));
    assert!(session.create_data_frame(Vec::new()).is_err());
    Ok(())
}

#[test]
fn files_and_tables_are_on_the_clock_of_the_session() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("millstream-zone-{}", std::process::id()));
    let session = session()?;
    let place = folder.display();
    for (format, columns) in [
        ("json", "at TIMESTAMP, span INTERVAL DAY TO SECOND"),
        ("csv", "at TIMESTAMP, span INTERVAL DAY TO SECOND"),
    ] {
        session.execute(&format!(
            "SET 'spark.sql.session.timeZone' = 'America/New_York';
             CREATE TABLE o_{format} WITH (connector = 'file', path = '{place}/{format}', format = '{format}')
               AS SELECT TIMESTAMP '2024-07-01 12:00:00.5' AS at, INTERVAL '1 02:03:04.5' DAY TO SECOND AS span;
             CREATE TABLE p_{format} WITH (connector = 'file', path = '{place}/{format}-tokyo', format = '{format}', timeZone = 'Asia/Tokyo', timestampFormat = 'yyyy-MM-dd HH:mm:ss')
               AS SELECT TIMESTAMP '2024-07-01 12:00:00.5' AS at;
             CREATE TABLE r_{format} ({columns})
               WITH (connector = 'file', path = '{place}/{format}', format = '{format}', mode = 'batch');
             CREATE TABLE s_{format} (at TIMESTAMP)
               WITH (connector = 'file', path = '{place}/{format}-tokyo', format = '{format}', mode = 'batch')"
        ))?;
        let written = |folder: &std::path::Path| {
            let files = std::fs::read_dir(folder).expect("a folder");
            let files = files.map(|file| file.expect("an entry").path());
            let parts = files.filter(|path| path.is_file());
            let texts = parts.map(|path| std::fs::read_to_string(path).expect("a text"));
            texts.collect::<String>()
        };
        let line = written(&folder.join(format));
        assert!(line.contains("2024-07-01T12:00:00.500-04:00"), "{line}");
        assert!(
            line.contains("INTERVAL '1 02:03:04.5' DAY TO SECOND"),
            "{line}"
        );
        let line = written(&folder.join(format!("{format}-tokyo")));
        assert!(line.contains("2024-07-02 01:00:00"), "{line}");
        let read = session.sql(&format!("SELECT * FROM r_{format}"))?;
        assert_eq!(
            rows(&read)?,
            ["2024-07-01 12:00:00.5 INTERVAL '1 02:03:04.5' DAY TO SECOND"]
        );
        let read = session.sql(&format!("SELECT at, unix_seconds(at) AS s FROM s_{format}"))?;
        // What names no zone is read on the clock of the session.
        assert_eq!(rows(&read)?, ["2024-07-02 01:00:00 1719896400"]);
        let calendar = session.execute(&format!(
            "CREATE TABLE c_{format} WITH (connector = 'file', path = '{place}/{format}-c', format = '{format}')
               AS SELECT make_interval(1) AS a"
        ));
        assert!(calendar.is_err_and(|error| error.to_string().contains("cannot write column")));
    }
    std::fs::remove_dir_all(folder).expect("is ours");
    Ok(())
}
