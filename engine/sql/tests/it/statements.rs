//! Scripts: how they split and what each statement says.

use expect_test::{Expect, expect};
use millstream_sql::{Statement, parse_script};

use crate::fixture::show;

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest prints itself")]
fn check(sql: &str, expected: &Expect) {
    let text = match parse_script(sql) {
        Err(error) => show(&error),
        Ok(statements) => statements
            .iter()
            .map(|s| {
                let what = match &s.statement {
                    Statement::Select(query) => format!("Select {:?}", query.as_str()),
                    Statement::Insert { sink, query } => {
                        format!("Insert {sink} {:?}", query.as_str())
                    }
                    Statement::Explain {
                        format,
                        sink,
                        query,
                    } => {
                        format!("Explain {format:?} {sink:?} {:?}", query.as_str())
                    }
                    Statement::CreateView {
                        name,
                        materialized,
                        query,
                        ..
                    } => {
                        format!(
                            "CreateView {name} materialized={materialized} {:?}",
                            query.as_str()
                        )
                    }
                    Statement::CreateTable(t) => format!(
                        "CreateTable {} columns={} watermark={:?} options={:?}",
                        t.name,
                        t.columns.as_ref().map_or(0, |c| c.len()),
                        t.watermark
                            .as_ref()
                            .map(|w| (&w.column, w.delay.to_string())),
                        t.options.iter().collect::<Vec<_>>()
                    ),
                    _ => format!("{:?}", s.statement),
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
        &expect![[r#"
            2:10 CreateTable t columns=4 watermark=Some(("at", "1 minute")) options=[("connector", "memory"), ("kafka.bootstrap.servers", "a;b"), ("kafka.x", "true"), ("maxFilesPerTrigger", "3")]
            6:18 CreateView v materialized=false "SELECT 'a;b' AS x FROM t"
            7:10 CreateView m materialized=true "SELECT s, count(*) FROM t GROUP BY s"
            8:10 Insert sink "SELECT s FROM t"
            9:10 Explain Tree None "SELECT s FROM t"
            9:35 Explain Dot Some("k") "SELECT s FROM t"
            10:10 Set { key: "trigger", value: "processing-time 2 seconds" }
            10:55 Set { key: "spark.sql.shuffle.partitions", value: "8" }
            10:93 Reset { key: None }
            10:100 Reset { key: Some("trigger") }
            11:10 ShowQueries
            11:24 ShowTables
            11:37 Describe { name: "t" }
            11:49 StopQuery { name: "q" }
            11:63 Drop { name: "v", if_exists: true }
            11:86 Drop { name: "t", if_exists: false }
            12:10 Select "WITH c AS (SELECT 1 AS a) SELECT a FROM c"
        "#]],
    );
}

#[test]
fn slips_are_found_before_anything_runs() {
    check(
        "SELECT 1;\nSELEC 2",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected SELECT, found SELEC (line 2, column 1)
    "#]],
    );
    check(
        "SELECT 'open",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: unterminated string literal (line 1, column 8)
    "#]],
    );
    check(
        "SELECT 1;\n  SELECT a FRM t WHERE x y",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected the end of the statement, found t (line 2, column 16)
    "#]],
    );
    check(
        "CREATE TABLE t (a INT",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: a parenthesis is not closed (line 1, column 16)
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector)",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected key = value (line 1, column 30)
    "#]],
    );
    check(
        "INSERT sink SELECT 1",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected INTO, found sink (line 1, column 8)
    "#]],
    );
    check(
        "EXPLAIN FORMAT xml SELECT 1",
        &expect![[r#"
        error SQL-016: unknown explain format "xml" (line 1, column 16)
        hint: known are: tree, dot, json
    "#]],
    );
    check(
        "SHOW QUERIES please",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected the end of the statement, found please (line 1, column 14)
    "#]],
    );
}
