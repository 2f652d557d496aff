//! Queries that plan, and how.

use expect_test::{Expect, expect};
use millstream_sql::ExplainFormat;
use millstream_types::OutputMode::{Append, Changes, Complete, Update};

use crate::fixture::{Fixture, plan};

fn check(mode: millstream_types::OutputMode, sql: &str, expected: Expect) {
    expected.assert_eq(&plan(mode, sql));
}

#[test]
fn a_projection_and_a_filter_are_one_chain() {
    check(Append, "SELECT page, n * 2 AS twice FROM clicks WHERE n > 10", expect![[""]]);
}

#[test]
fn a_tumbling_window() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, who, sum(n) AS n FROM clicks
         GROUP BY window(at, '10 seconds'), who",
        expect![[""]],
    );
}

#[test]
fn a_bare_window_is_the_grouping_expression() {
    check(
        Complete,
        "SELECT window.start, window.end AS e, count(*) FROM clicks GROUP BY window(at, \"20 seconds\")
         HAVING window.start > TIMESTAMP '2024-01-01 00:00:00'",
        expect![[""]],
    );
}

#[test]
fn a_sliding_window_with_a_start_and_intervals() {
    check(
        Update,
        "SELECT window, page, count(*) AS c FROM clicks
         GROUP BY window(at, INTERVAL 30 MINUTES, INTERVAL '10' MINUTE, '1 minute'), page",
        expect![[""]],
    );
}

#[test]
fn sessions() {
    check(
        Append,
        "SELECT session_window.start AS s, who, sum(n) AS n FROM clicks
         GROUP BY session_window(at, CASE WHEN who = 'a' THEN '5 seconds' ELSE '20 seconds' END), who",
        expect![[""]],
    );
}

#[test]
fn a_window_over_a_window() {
    check(
        Append,
        "SELECT window(window_time(w), '1 minute').start AS s, sum(c) AS c
         FROM (SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY window(at, '10 seconds'))
         GROUP BY window(window_time(w), '1 minute')",
        expect![[""]],
    );
    check(
        Append,
        "SELECT window(w, '1 minute') AS w2, sum(c) AS c
         FROM (SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY window(at, '10 seconds'))
         GROUP BY window(w, '1 minute')",
        expect![[""]],
    );
}

#[test]
fn the_raw_time_column_is_a_key() {
    check(Append, "SELECT t, count(*) AS c FROM (SELECT at AS t FROM clicks) GROUP BY t", expect![[""]]);
}

#[test]
fn a_window_of_one_row_outside_group_by() {
    check(Append, "SELECT window(at, '10 seconds') AS w, n FROM clicks", expect![[""]]);
    check(
        Append,
        "SELECT w, count(*) AS c FROM (SELECT window(at, '10 seconds') AS w FROM clicks) GROUP BY w",
        expect![[""]],
    );
}

#[test]
fn filters_without_the_time_column_go_below_the_mark() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, count(*) AS c FROM clicks
         WHERE n < 100 AND at < TIMESTAMP '2024-10-05 12:00:00' AND rand() < 0.5
         GROUP BY window(at, '10 seconds')",
        expect![[""]],
    );
}

#[test]
fn the_clock_is_not_folded() {
    check(
        Append,
        "SELECT who, current_timestamp() AS now, current_date AS today FROM clicks
         WHERE current_date() > DATE '2020-01-01'",
        expect![[""]],
    );
}

#[test]
fn a_union_takes_the_mark_of_all() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, who, sum(n) AS n
         FROM (SELECT at, who, n FROM clicks WHERE n > 0 UNION ALL SELECT at, 'all' AS who, n FROM clicks)
         GROUP BY window(at, '10 seconds'), who",
        expect![[""]],
    );
}

#[test]
fn distinct_is_an_aggregation() {
    check(Update, "SELECT DISTINCT k, v FROM plain", expect![[""]]);
}

#[test]
fn having_filters_above() {
    check(Update, "SELECT k, count(*) AS c FROM plain GROUP BY k HAVING count(*) > 3 AND k <> 'x'", expect![[""]]);
}

#[test]
fn filters_and_literals_of_functions_are_columns() {
    check(
        Update,
        "SELECT k, count(*) FILTER (WHERE v > 1) AS c, percentile_approx(v, 0.5) AS p, first(v, true) AS f,
                avg(price) AS a FROM plain GROUP BY k",
        expect![[""]],
    );
}

#[test]
fn sparks_watermark_clause() {
    check(
        Append,
        "SELECT window(ts, '10 seconds').start AS s, count(*) AS c
         FROM plain WATERMARK ts DELAY OF INTERVAL 10 SECONDS AS p GROUP BY window(p.ts, '10 seconds')",
        expect![[""]],
    );
}

#[test]
fn changes_allows_chains_that_spark_refuses() {
    check(
        Changes,
        "SELECT c, count(*) AS keys FROM (SELECT k, count(*) AS c FROM plain GROUP BY k) GROUP BY c",
        expect![[""]],
    );
}

#[test]
fn names_ignore_case_and_keep_their_spelling() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run("CREATE TABLE Orders (userId INT, Total DOUBLE) WITH (connector = 'memory')"), "");
    let text = fixture.plan(
        Update,
        "SELECT USERID, SUM(total) AS Sum_Total FROM ORDERS GROUP BY userid HAVING SUM_TOTAL > 1",
        ExplainFormat::Tree,
    );
    expect![[""]].assert_eq(&text);
}

#[test]
fn numbers_are_sparks() {
    let mut fixture = Fixture::new();
    assert_eq!(
        fixture.run(
            "CREATE TABLE v (a INT, b INT, c BIGINT, x DECIMAL(5,2), y DECIMAL(10,4)) WITH (connector = 'memory')"
        ),
        ""
    );
    let text = fixture.plan(
        Append,
        "SELECT a / b AS q, a % b AS r, a * c AS p, a / 2 AS h, x + y AS s, x - a AS d, x * y AS m, x / y AS z, x % b AS rm,
           a * 1.5 AS l, a / 4.0 AS f, x + 1 AS x1, CAST(a AS DOUBLE) / x AS dd, -x AS ng, a + 0.25 AS aq, 1 AS i, 1e3 AS e
         FROM v",
        ExplainFormat::Json,
    );
    let columns: Vec<&str> = text.lines().filter(|line| line.contains("\"type\"")).collect();
    expect![[""]].assert_eq(&columns.join("\n"));
}

#[test]
fn the_other_forms() {
    let fixture = Fixture::with_tables();
    let sql = "SELECT k, count(*) AS c FROM plain GROUP BY k";
    expect![[""]].assert_eq(&fixture.plan(Update, sql, ExplainFormat::Dot));
    expect![[""]].assert_eq(&fixture.plan(Update, sql, ExplainFormat::Json));
}
