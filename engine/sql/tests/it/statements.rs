//! Scripts: how they split and what each statement says.

use expect_test::{Expect, expect};
use millstream_sql::{Statement, parse_script};

use crate::fixture::show;

fn check(sql: &str, expected: Expect) {
    let text = match parse_script(sql) {
        Err(error) => show(&error),
        Ok(statements) => statements
            .iter()
            .map(|s| {
                let what = match &s.statement {
                    Statement::Select(query) => format!("Select {:?}", query.as_str()),
                    Statement::Insert { sink, query } => format!("Insert {sink} {:?}", query.as_str()),
                    Statement::Explain { format, sink, query } => {
                        format!("Explain {format:?} {sink:?} {:?}", query.as_str())
                    }
                    Statement::CreateView { name, materialized, query, .. } => {
                        format!("CreateView {name} materialized={materialized} {:?}", query.as_str())
                    }
                    Statement::CreateTable(t) => format!(
                        "CreateTable {} columns={} watermark={:?} options={:?}",
                        t.name,
                        t.columns.as_ref().map_or(0, |c| c.len()),
                        t.watermark.as_ref().map(|w| (&w.column, w.delay.to_string())),
                        t.options.iter().collect::<Vec<_>>()
                    ),
                    other => format!("{other:?}"),
                };
                format!("{}:{} {what}\n", s.position.line, s.position.column)
            })
            .collect(),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_script_of_everything() {
    check(
        "-- a comment; with a semicolon
         CREATE TABLE IF NOT EXISTS t (
           at TIMESTAMP, s STRING NOT NULL, m MAP<STRING, ARRAY<INT>>, r STRUCT<a: INT, b STRUCT<c DECIMAL(5,2)>>,
           WATERMARK FOR at AS at - INTERVAL 1 MINUTE
         ) WITH (connector = 'memory', 'kafka.bootstrap.servers' = 'a;b', maxFilesPerTrigger = 3, kafka.x = true);
         /* ; */ CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 'a;b' AS x FROM t;
         CREATE MATERIALIZED VIEW m AS SELECT s, count(*) FROM t GROUP BY s;
         INSERT INTO sink SELECT s FROM t;
         EXPLAIN SELECT s FROM t; EXPLAIN FORMAT dot INSERT INTO k SELECT s FROM t;
         SET 'trigger' = 'processing-time 2 seconds'; SET spark.sql.shuffle.partitions = 8; RESET; RESET 'trigger';
         SHOW QUERIES; SHOW TABLES; DESCRIBE t; STOP QUERY q; DROP VIEW IF EXISTS v; DROP TABLE t;
         WITH c AS (SELECT 1 AS a) SELECT a FROM c;;",
        expect![[""]],
    );
}

#[test]
fn slips_are_found_before_anything_runs() {
    check("SELECT 1;\nSELEC 2", expect![[""]]);
    check("SELECT 'open", expect![[""]]);
    check("SELECT 1;\n  SELECT a FRM t WHERE x y", expect![[""]]);
    check("CREATE TABLE t (a INT", expect![[""]]);
    check("CREATE TABLE t (a INT) WITH (connector)", expect![[""]]);
    check("INSERT sink SELECT 1", expect![[""]]);
    check("EXPLAIN FORMAT xml SELECT 1", expect![[""]]);
    check("SHOW QUERIES please", expect![[""]]);
}
