//! The matrix of queries and output modes, computed by planning, as a page of the book.
//!
//! Each shape is planned in each mode, and the verdicts are compared with those of Spark 4.3, which
//! were observed by starting the same query there and giving it a row. Where they differ the shape
//! says why, or is not built yet.

use std::fmt::Write;

use millstream_sql::{QueryText, SqlError};
use millstream_types::{Coded, OutputMode};

use crate::fixture::Fixture;

/// A kind of query.
struct Shape {
    title: &'static str,
    sql: &'static str,
    /// Whether Spark runs it in append, update and complete.
    spark: [bool; 3],
    /// Why ours differs.
    why: &'static str,
}

/// In the order of the page's columns.
const MODES: [OutputMode; 4] = [
    OutputMode::Append,
    OutputMode::Update,
    OutputMode::Complete,
    OutputMode::Changes,
];

/// What the planner says to a shape in a mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Runs,
    Refused(&'static str),
    NotBuilt,
}

const SHAPES: &[Shape] = &[
    Shape {
        title: "projection, filter",
        sql: "SELECT who, n + 1 AS m FROM clicks WHERE n > 0",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "explode",
        sql: "SELECT k, explode(tags) AS tag FROM plain",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "union of streams",
        sql: "SELECT at, who FROM clicks UNION ALL SELECT seen AS at, who FROM views",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "window outside GROUP BY",
        sql: "SELECT who, window(at, '10 seconds') AS w FROM clicks",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "sliding window outside GROUP BY",
        sql: "SELECT who, window(at, '10 seconds', '5 seconds') AS w FROM clicks",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "aggregation without watermark",
        sql: "SELECT k, count(*) AS c FROM plain GROUP BY k",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "aggregation without keys",
        sql: "SELECT count(*) AS c FROM clicks",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "window without watermark",
        sql: "SELECT window(ts, '10 seconds') AS w, count(*) AS c FROM plain GROUP BY \
              window(ts, '10 seconds')",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "watermark not among the keys",
        sql: "SELECT who, count(*) AS c FROM clicks GROUP BY who",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "watermark above the aggregation",
        sql: "SELECT * FROM (SELECT ts, count(*) AS c FROM plain GROUP BY ts) WATERMARK ts \
              DELAY OF INTERVAL 10 SECONDS AS t",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "tumbling window with watermark",
        sql: "SELECT window(at, '10 seconds') AS w, who, count(*) AS c FROM clicks GROUP \
              BY window(at, '10 seconds'), who",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "sliding window with watermark",
        sql: "SELECT window(at, '10 seconds', '5 seconds') AS w, count(*) AS c FROM clicks \
              GROUP BY window(at, '10 seconds', '5 seconds')",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "event time itself with watermark",
        sql: "SELECT at, count(*) AS c FROM clicks GROUP BY at",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "computed event time",
        sql: "SELECT date_trunc('HOUR', at) AS h, count(*) AS c FROM clicks GROUP BY \
              date_trunc('HOUR', at)",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "session window and another key",
        sql: "SELECT session_window(at, '5 seconds') AS w, who, count(*) AS c FROM clicks \
              GROUP BY session_window(at, '5 seconds'), who",
        spark: [true, false, true],
        why: "",
    },
    Shape {
        title: "session window without watermark",
        sql: "SELECT session_window(ts, '5 seconds') AS w, k, count(*) AS c FROM plain \
              GROUP BY session_window(ts, '5 seconds'), k",
        spark: [false, false, true],
        why: "",
    },
    Shape {
        title: "session window alone",
        sql: "SELECT session_window(at, '5 seconds') AS w, count(*) AS c FROM clicks GROUP \
              BY session_window(at, '5 seconds')",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "count window",
        sql: "SELECT k, count_window(100) AS w, sum(v) AS v FROM plain GROUP BY count_window(100), k",
        spark: [false, false, false],
        why: "Spark has no windows by count; a window of so many rows is final when it is full.",
    },
    Shape {
        title: "HAVING",
        sql: "SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY \
              window(at, '10 seconds') HAVING count(*) > 1",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "ROLLUP, CUBE",
        sql: "SELECT who, page, count(*) AS c FROM clicks GROUP BY CUBE (who, page)",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "ROLLUP in a window with watermark",
        sql: "SELECT window(at, '10 seconds') AS w, who, count(*) AS c FROM clicks GROUP \
              BY window(at, '10 seconds'), ROLLUP (who)",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "DISTINCT",
        sql: "SELECT DISTINCT who FROM clicks",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "DISTINCT with the event time",
        sql: "SELECT DISTINCT at, who FROM clicks",
        spark: [true, true, true],
        why: "",
    },
    Shape {
        title: "UNION (distinct)",
        sql: "SELECT who FROM clicks UNION SELECT who FROM views",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "count(DISTINCT …)",
        sql: "SELECT k, count(DISTINCT v) AS c FROM plain GROUP BY k",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "union of two aggregations",
        sql: "SELECT k, count(*) AS c FROM plain GROUP BY k UNION ALL SELECT who AS k, \
              count(*) AS c FROM clicks GROUP BY who",
        spark: [false, true, true],
        why: "",
    },
    Shape {
        title: "window above a window",
        sql: "SELECT window(w, '1 minute') AS m, max(c) AS c FROM (SELECT window(at, '10 \
              seconds') AS w, count(*) AS c FROM clicks GROUP BY window(at, '10 seconds')) \
              GROUP BY window(w, '1 minute')",
        spark: [true, false, false],
        why: "",
    },
    Shape {
        title: "aggregation above an aggregation",
        sql: "SELECT c, count(*) AS keys FROM (SELECT k, count(*) AS c FROM plain GROUP BY \
              k) GROUP BY c",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "aggregation above DISTINCT",
        sql: "SELECT who, count(*) AS c FROM (SELECT DISTINCT who, page FROM clicks) GROUP \
              BY who",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "PIVOT",
        sql: "SELECT * FROM (SELECT k, v FROM plain) PIVOT (sum(v) FOR k IN ('a', 'b'))",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "ORDER BY",
        sql: "SELECT who FROM clicks ORDER BY who",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "ORDER BY above an aggregation",
        sql: "SELECT k, count(*) AS c FROM plain GROUP BY k ORDER BY c",
        spark: [false, false, true],
        why: "",
    },
    Shape {
        title: "LIMIT",
        sql: "SELECT who FROM clicks LIMIT 10",
        spark: [true, false, false],
        why: "",
    },
    Shape {
        title: "LIMIT above an aggregation",
        sql: "SELECT k, count(*) AS c FROM plain GROUP BY k LIMIT 10",
        spark: [false, false, true],
        why: "",
    },
    Shape {
        title: "LIMIT above a window with watermark",
        sql: "SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY \
              window(at, '10 seconds') LIMIT 10",
        spark: [true, false, true],
        why: "",
    },
    Shape {
        title: "LIMIT below an aggregation",
        sql: "SELECT k, count(*) AS c FROM (SELECT k FROM plain LIMIT 10) GROUP BY k",
        spark: [false, false, true],
        why: "",
    },
    Shape {
        title: "OFFSET above an aggregation",
        sql: "SELECT k, count(*) AS c FROM plain GROUP BY k ORDER BY k LIMIT 10 OFFSET 10",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "OVER",
        sql: "SELECT who, row_number() OVER (PARTITION BY who ORDER BY at) AS r FROM \
              clicks",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "INTERSECT",
        sql: "SELECT who FROM clicks INTERSECT SELECT who FROM views",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "EXCEPT",
        sql: "SELECT who FROM clicks EXCEPT SELECT who FROM views",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "TABLESAMPLE",
        sql: "SELECT who FROM clicks TABLESAMPLE (10 PERCENT)",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "union of a stream and a static table",
        sql: "SELECT k FROM plain UNION ALL SELECT k FROM dim",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "stream joined with a static table",
        sql: "SELECT plain.k, dim.name FROM plain JOIN dim ON plain.k = dim.k",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "stream left joined with a static table",
        sql: "SELECT plain.k, dim.name FROM plain LEFT JOIN dim ON plain.k = dim.k",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "static table left joined with a stream",
        sql: "SELECT plain.k, dim.name FROM dim LEFT JOIN plain ON plain.k = dim.k",
        spark: [false, false, false],
        why: "",
    },
    Shape {
        title: "stream joined with a stream",
        sql: "SELECT clicks.who, clicks.n FROM clicks JOIN views ON clicks.who = views.who \
              AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "stream left joined with a stream",
        sql: "SELECT clicks.who, views.seen FROM clicks LEFT JOIN views ON clicks.who = \
              views.who AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [true, false, false],
        why: "",
    },
    Shape {
        title: "stream right joined with a stream",
        sql: "SELECT clicks.who, views.seen FROM clicks RIGHT JOIN views ON clicks.who = \
              views.who AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [true, false, false],
        why: "",
    },
    Shape {
        title: "stream fully joined with a stream",
        sql: "SELECT clicks.who, views.seen FROM clicks FULL JOIN views ON clicks.who = \
              views.who AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [true, false, false],
        why: "",
    },
    Shape {
        title: "stream semi joined with a stream",
        sql: "SELECT clicks.who FROM clicks LEFT SEMI JOIN views ON clicks.who = views.who \
              AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [true, true, false],
        why: "",
    },
    Shape {
        title: "stream anti joined with a stream",
        sql: "SELECT clicks.who FROM clicks LEFT ANTI JOIN views ON clicks.who = views.who \
              AND seen >= at AND seen <= at + INTERVAL '10' SECOND",
        spark: [false, false, false],
        why: "a row that matches nothing is final when the watermark has passed all that could match it",
    },
    Shape {
        title: "streams joined without equality",
        sql: "SELECT clicks.who FROM clicks JOIN views ON seen >= at AND seen <= at + \
              INTERVAL '10' SECOND",
        spark: [false, false, false],
        why: "allowed; one worker compares every row with all that are kept, and EXPLAIN says so",
    },
    Shape {
        title: "window above a join",
        sql: "SELECT window(at, '10 seconds') AS w, count(*) AS c FROM (SELECT at FROM \
              clicks JOIN views ON clicks.who = views.who AND seen >= at AND seen <= at + \
              INTERVAL '10' SECOND) GROUP BY window(at, '10 seconds')",
        spark: [true, true, false],
        why: "rows of an inner join are final, so what stands above may keep all groups",
    },
    Shape {
        title: "join above windows",
        sql: "SELECT a.w, a.c, b.c AS d FROM (SELECT window(at, '10 seconds') AS w, \
              count(*) AS c FROM clicks GROUP BY window(at, '10 seconds')) a JOIN (SELECT \
              window(seen, '10 seconds') AS w, count(*) AS c FROM views GROUP BY \
              window(seen, '10 seconds')) b ON a.w = b.w",
        spark: [true, false, false],
        why: "",
    },
];

/// Stateful operators of Spark's that no SQL names.
const NOT_BUILT: [&str; 4] = [
    "`dropDuplicates` and `dropDuplicatesWithinWatermark`",
    "`mapGroupsWithState` and `flatMapGroupsWithState`",
    "`transformWithState`",
    "`cogroup`",
];

/// Where the page is.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/book/modes.md");

fn fixture() -> Fixture {
    let mut fixture = Fixture::with_tables();
    let created = fixture.run(
        "CREATE TABLE views (seen TIMESTAMP, who STRING,
           WATERMARK FOR seen AS seen - INTERVAL '10' SECOND) WITH (connector = 'memory')",
    );
    assert_eq!(created, "");
    fixture
}

fn verdict(fixture: &Fixture, shape: &Shape, mode: OutputMode) -> Verdict {
    let plan = QueryText::new(shape.sql).and_then(|query| {
        let (catalog, settings) = (&fixture.catalog, &fixture.settings);
        fixture.planner.plan_sql(catalog, &query, mode, settings)
    });
    match plan {
        Ok(_) => Verdict::Runs,
        Err(error) => match error.code().0 {
            "SQL-007" => Verdict::NotBuilt,
            code => Verdict::Refused(code),
        },
    }
}

/// `None` for the mode that Spark does not have.
fn of_spark(shape: &Shape, column: usize) -> Option<bool> {
    shape.spark.get(column).copied()
}

fn cell(shape: &Shape, column: usize, verdict: Verdict) -> String {
    let (ours, runs) = match verdict {
        Verdict::Runs => ("yes".to_owned(), true),
        Verdict::Refused(code) => (format!("`{code}`"), false),
        Verdict::NotBuilt => ("not yet".to_owned(), false),
    };
    match of_spark(shape, column) {
        Some(spark) if spark != runs => {
            let spark = if spark { "yes" } else { "refused" };
            format!("{ours} (Spark: {spark})")
        }
        _ => ours,
    }
}

/// Whether a shape differs from Spark by decision and not because it is not built.
fn differs(shape: &Shape, verdicts: &[Verdict]) -> bool {
    verdicts.iter().enumerate().any(|(column, verdict)| {
        *verdict != Verdict::NotBuilt
            && of_spark(shape, column).is_some_and(|spark| spark != (*verdict == Verdict::Runs))
    })
}

fn page() -> String {
    let fixture = fixture();
    let mut page = PREFACE.to_owned();
    let mut queries = String::new();
    let mut reasons = String::new();
    for (idx, shape) in SHAPES.iter().enumerate() {
        let verdicts = MODES.map(|mode| verdict(&fixture, shape, mode));
        let cells: Vec<String> = verdicts
            .iter()
            .enumerate()
            .map(|(column, verdict)| cell(shape, column, *verdict))
            .collect();
        let number = idx + 1;
        let _ = writeln!(
            page,
            "| {number} | {} | {} |",
            shape.title,
            cells.join(" | ")
        );
        let _ = writeln!(queries, "{number}. `{}`", shape.sql);
        assert_eq!(
            differs(shape, &verdicts),
            !shape.why.is_empty(),
            "a shape says why it differs from Spark, and only then: {}",
            shape.title
        );
        if !shape.why.is_empty() {
            let _ = writeln!(reasons, "- {number}, {}: {}", shape.title, shape.why);
        }
    }
    if reasons.is_empty() {
        reasons.push_str("Nowhere, as far as queries are built.\n");
    }
    let _ = write!(
        page,
        "\n## Where Spark decides otherwise\n\n{reasons}\n## Not built yet\n\nBesides what the table \
         says, these have no SQL: {}.\n\n## The queries\n\n{queries}",
        NOT_BUILT.join(", ")
    );
    page
}

const PREFACE: &str = "# Queries and output modes\n\n<!-- Made by `UPDATE_EXPECT=1 cargo test -p \
    millstream-sql` from engine/sql/tests/it/modes.rs. Do not edit. -->\n\nWhat the planner says to \
    each kind of query in each output mode: `yes`, the code with which it is refused\n(`millstream \
    errors CODE` explains it), or `not yet`. Where Spark 4.3 decides otherwise the cell says so, and \
    the\nreason stands below. Mode `changes` is Millstream's own.\n\n| | query | append | update | \
    complete | changes |\n|---|---|---|---|---|---|\n";

/// `UPDATE_EXPECT=1 cargo test -p millstream-sql` writes the page anew.
#[test]
fn the_page_of_modes_is_up_to_date() -> Result<(), std::io::Error> {
    let page = page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(PAGE, &page)?;
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        found == page,
        "docs/book/modes.md is stale: UPDATE_EXPECT=1 cargo test -p millstream-sql"
    );
    Ok(())
}

/// What a refusal recommends is what planning in the recommended modes finds.
#[test]
fn the_modes_of_a_hint_are_those_that_plan() -> Result<(), SqlError> {
    let fixture = fixture();
    for shape in SHAPES {
        let planned: Vec<OutputMode> = MODES
            .into_iter()
            .filter(|mode| verdict(&fixture, shape, *mode) == Verdict::Runs)
            .collect();
        let query = QueryText::new(shape.sql)?;
        for mode in MODES {
            let (catalog, settings) = (&fixture.catalog, &fixture.settings);
            let said = match fixture.planner.plan_sql(catalog, &query, mode, settings) {
                Ok(plan) => millstream_sql::modes::allowed_modes(&plan),
                Err(error) => match recommended(error) {
                    Some(allowed) => allowed,
                    None => continue,
                },
            };
            assert_eq!(said, planned, "{} in {mode}", shape.title);
        }
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others recommend none")]
fn recommended(error: SqlError) -> Option<Vec<OutputMode>> {
    match error {
        SqlError::At { error, .. } => recommended(*error),
        SqlError::Mode { allowed, .. } | SqlError::Chained { allowed, .. } => Some(allowed),
        _ => None,
    }
}
