//! A DataFrame's way in, and other uses of the interface.

use std::fmt::Write;

use expect_test::expect;
use millstream_sql::{
    Grouping, SqlError,
    catalog::Entry,
    column::{call_function, col, lit},
    explain::explain,
    functions::{FunctionKind, FunctionOrigin, list},
    watermark::with_watermark,
};
use millstream_types::{Coded, OutputMode};

use crate::fixture::Fixture;

#[test]
fn a_logical_plan_needs_no_text() -> Result<(), SqlError> {
    let fixture = Fixture::with_tables();
    let Entry::Table(table) = fixture.catalog.get("plain")? else {
        return Err(SqlError::Internal {
            what: "plain is a table".to_owned(),
        });
    };
    let (planner, catalog) = (&fixture.planner, &fixture.catalog);
    let scan = planner.scan(table)?;
    let marked = with_watermark(scan, "ts", "5 seconds".parse().unwrap_or_default())?;
    let filtered = planner.filter(catalog, &marked, col("K").is_not_null())?;
    let window = call_function("window", [col("ts"), lit("1 minute")]);
    let selected = planner.select(catalog, &filtered, vec![window.alias("w"), col("v")])?;
    let half = (call_function("sum", ["v"]) / 2).alias("half");
    let plan = planner.aggregate(
        catalog,
        &selected,
        (Grouping::Keys, vec![col("w")]),
        vec![half],
    )?;
    let settings = fixture.settings;
    let stream = fixture
        .planner
        .plan_query(plan, OutputMode::Append, &settings)?;
    expect![[r#"
        Sink mode=append
          Chain
            | project: w, divide(CAST(sum(plain.v)@1 AS Float64), 2) AS half
            Aggregate #0 emits=append
              | time: window w
              | calls: sum(plain.v) BIGINT
              | state: one row a key and window, removed when the watermark reaches the window's end
              Chain
                | filter: k@1 IS NOT NULL
                | mark: plain.ts delay 5 seconds
                | project: ts, v
                | filter: ts@0 IS NOT NULL
                | project: window(ts@0, 1 minute) AS w, v
                | project: w, v@1 AS plain.v
                Source plain connector=memory
                  | columns: ts TIMESTAMP, k STRING, v BIGINT
        watermark: plain.ts delay 5 seconds
        modes: append, update, complete, changes
    "#]]
    .assert_eq(&explain(&stream, millstream_sql::ExplainFormat::Tree));
    expect![[r#"
        source 0 plain connector=memory
        aggregate 0 time=windowed(window(plain.ts, '1 minute'):STRUCT<start: TIMESTAMP, end: TIMESTAMP>) keys=[] calls=[sum(BIGINT) as sum and rounds]
    "#]].assert_eq(&stream.identity);
    Ok(())
}

#[test]
fn a_second_watermark_on_one_path_is_refused() -> Result<(), SqlError> {
    let fixture = Fixture::with_tables();
    let Entry::Table(table) = fixture.catalog.get("clicks")? else {
        return Err(SqlError::Internal {
            what: "clicks is a table".to_owned(),
        });
    };
    let again = with_watermark(fixture.planner.scan(table)?, "at", Default::default())?;
    let error = fixture
        .planner
        .plan_query(again, OutputMode::Append, &fixture.settings)
        .err()
        .map(|error| error.code().0);
    assert_eq!(error, Some("SQL-030"));
    Ok(())
}

/// Where the page of functions is.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/book/functions.md");

/// `UPDATE_EXPECT=1 cargo test -p millstream-sql` writes the page anew.
#[test]
fn the_page_of_functions_is_up_to_date() -> Result<(), std::io::Error> {
    let page = functions_page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(PAGE, &page)?;
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        found == page,
        "docs/book/functions.md is stale: UPDATE_EXPECT=1 cargo test -p millstream-sql"
    );
    Ok(())
}

fn functions_page() -> String {
    let mut page =
        "# Functions\n\nAll functions of the dialect, by name. `origin` says whose code runs: \
                    DataFusion's, its package of\nSpark's functions, or ours.\n\n\
                    | function | kind | origin |\n|---|---|---|\n"
            .to_owned();
    for function in list() {
        let kind = match function.kind {
            FunctionKind::Scalar => "row",
            FunctionKind::Aggregate => "group",
            FunctionKind::Window => "window (batch only)",
            _ => "other",
        };
        let origin = match function.origin {
            FunctionOrigin::DataFusion => "DataFusion",
            FunctionOrigin::Spark => "Spark package",
            FunctionOrigin::Millstream => "Millstream",
            _ => "other",
        };
        let _ = writeln!(page, "| `{}` | {kind} | {origin} |", function.name);
    }
    page
}

#[test]
fn functions_know_where_they_come_from() {
    let functions = list();
    let origin = |name: &str, kind| {
        functions
            .iter()
            .find(|function| function.name == name && function.kind == kind)
            .map(|function| function.origin)
    };
    assert_eq!(
        origin("window", FunctionKind::Scalar),
        Some(FunctionOrigin::Millstream)
    );
    assert_eq!(
        origin("if", FunctionKind::Scalar),
        Some(FunctionOrigin::Spark)
    );
    assert_eq!(
        origin("sum", FunctionKind::Aggregate),
        Some(FunctionOrigin::DataFusion)
    );
    assert!(functions.len() > 300, "{}", functions.len());
}
