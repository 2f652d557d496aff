//! Queries that plan, and how.

use expect_test::{Expect, expect};
use millstream_sql::ExplainFormat;
use millstream_types::OutputMode::{Append, Changes, Complete, Update};

use crate::fixture::{Fixture, plan};

fn check(mode: millstream_types::OutputMode, sql: &str, expected: &Expect) {
    expected.assert_eq(&plan(mode, sql));
}

#[test]
fn a_projection_and_a_filter_are_one_chain() {
    check(
        Append,
        "SELECT page, n * 2 AS twice FROM clicks WHERE n > 10",
        &expect![[r#"
        Sink mode=append
          Chain
            | filter: n@2 > 10
            | mark: clicks.at delay 10 seconds
            | project: page, n@2 * 2 AS twice
            Source clicks connector=memory
              | columns: at TIMESTAMP, page STRING, n INT
        watermark: clicks.at delay 10 seconds
        modes: append, update, changes
    "#]],
    );
}

#[test]
fn a_tumbling_window() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, who, sum(n) AS n FROM clicks
         GROUP BY window(at, '10 seconds'), who",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(window(clicks.at,Utf8("10 seconds"))@0, start) AS s, who, sum(clicks.n)@2 AS n
                Aggregate #0 emits=append
                  | time: window of 10 seconds over clicks.at
                  | keys: clicks.who
                  | calls: sum(clicks.n) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS clicks.at, who@1 AS clicks.who, CAST(n@2 AS Int64) AS clicks.n
                    Source clicks connector=memory
                      | columns: at TIMESTAMP, who STRING, n INT
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn a_bare_window_is_the_grouping_expression() {
    check(
        Complete,
        "SELECT window.start, window.end AS e, count(*) FROM clicks GROUP BY window(at, \"20 seconds\")
         HAVING window.start > TIMESTAMP '2024-01-01 00:00:00'",
        &expect![[r#"
            Sink mode=complete
              Chain
                | filter: get_field(window(clicks.at,Utf8("20 seconds"))@0, start) > 1704067200000000
                | project: get_field(window(clicks.at,Utf8("20 seconds"))@0, start) AS start, get_field(window(clicks.at,Utf8("20 seconds"))@0, end) AS e, count(Int64(1))@1 AS count(1)
                Aggregate #0 emits=complete
                  | time: window of 20 seconds over clicks.at
                  | calls: count(*) BIGINT
                  | state: one row a key and window, never removed (complete mode keeps all)
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS clicks.at, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn a_sliding_window_with_a_start_and_intervals() {
    check(
        Update,
        "SELECT window, page, count(*) AS c FROM clicks
         GROUP BY window(at, INTERVAL 30 MINUTES, INTERVAL '10' MINUTE, '1 minute'), page",
        &expect![[r#"
            Sink mode=update
              Chain
                | project: window(clicks.at,Utf8("30 MINUTES"),Utf8("10 MINUTE"),Utf8("1 minute"))@0 AS window, page, count(Int64(1))@2 AS c
                Aggregate #0 emits=update
                  | time: window of 30 minutes over clicks.at every 10 minutes from 1 minute
                  | keys: clicks.page
                  | calls: count(*) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS clicks.at, page@1 AS clicks.page, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP, page STRING
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn sessions() {
    check(
        Append,
        "SELECT session_window.start AS s, who, sum(n) AS n FROM clicks
         GROUP BY session_window(at, CASE WHEN who = 'a' THEN '5 seconds' ELSE '20 seconds' END), who",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(session_window(clicks.at,CASE WHEN clicks.who = Utf8("a") THEN Utf8("5 seconds") ELSE Utf8("20 seconds") END)@0, start) AS s, who, sum(clicks.n)@2 AS n
                Aggregate #0 emits=append
                  | time: sessions over clicks.at gap __gap_micros(CASE WHEN clicks.who = Utf8("a") THEN Utf8("5 seconds") ELSE Utf8("20 seconds") END)
                  | keys: clicks.who
                  | calls: sum(clicks.n) BIGINT
                  | state: one row a key and session, removed when the watermark reaches the window's end
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS clicks.at, __gap_micros(CASE WHEN who@1 = a THEN 5 seconds ELSE 20 seconds END) AS __gap_micros(CASE WHEN clicks.who = Utf8("a") THEN Utf8("5 seconds") ELSE Utf8("20 seconds") END), who@1 AS clicks.who, CAST(n@2 AS Int64) AS clicks.n
                    Source clicks connector=memory
                      | columns: at TIMESTAMP, who STRING, n INT
            watermark: clicks.at delay 10 seconds
            modes: append, complete, changes
        "#]],
    );
}

#[test]
fn a_window_over_a_window() {
    check(
        Append,
        "SELECT window(window_time(w), '1 minute').start AS s, sum(c) AS c
         FROM (SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY window(at, '10 seconds'))
         GROUP BY window(window_time(w), '1 minute')",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(window(window_time(w),Utf8("1 minute"))@0, start) AS s, sum(c)@1 AS c
                Aggregate #1 emits=append
                  | time: window of 1 minute over window_time(w)
                  | calls: sum(c) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | project: window_time(window(clicks.at,Utf8("10 seconds"))@0) AS window_time(w), count(Int64(1))@1 AS c
                    Aggregate #0 emits=append
                      | time: window of 10 seconds over clicks.at
                      | calls: count(*) BIGINT
                      | state: one row a key and window, removed when the watermark reaches the window's end
                      Chain
                        | mark: clicks.at delay 10 seconds
                        | project: at@0 AS clicks.at, 1 AS Int32(1)
                        Source clicks connector=memory
                          | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, changes
        "#]],
    );
    check(
        Append,
        "SELECT window(w, '1 minute') AS w2, sum(c) AS c
         FROM (SELECT window(at, '10 seconds') AS w, count(*) AS c FROM clicks GROUP BY window(at, '10 seconds'))
         GROUP BY window(w, '1 minute')",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: window(w,Utf8("1 minute"))@0 AS w2, sum(c)@1 AS c
                Aggregate #1 emits=append
                  | time: window of 1 minute over window_time(w)
                  | calls: sum(c) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | project: window_time(window(clicks.at,Utf8("10 seconds"))@0) AS window_time(w), count(Int64(1))@1 AS c
                    Aggregate #0 emits=append
                      | time: window of 10 seconds over clicks.at
                      | calls: count(*) BIGINT
                      | state: one row a key and window, removed when the watermark reaches the window's end
                      Chain
                        | mark: clicks.at delay 10 seconds
                        | project: at@0 AS clicks.at, 1 AS Int32(1)
                        Source clicks connector=memory
                          | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, changes
        "#]],
    );
}

#[test]
fn the_raw_time_column_is_a_key() {
    check(
        Append,
        "SELECT t, count(*) AS c FROM (SELECT at AS t FROM clicks) GROUP BY t",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: t, count(Int64(1))@1 AS c
                Aggregate #0 emits=append
                  | time: t
                  | calls: count(*) BIGINT
                  | state: one row a key and instant, removed when the watermark reaches the instant
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS t, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn a_window_of_one_row_outside_group_by() {
    check(
        Append,
        "SELECT window(at, '10 seconds') AS w, n FROM clicks",
        &expect![[r#"
            Sink mode=append
              Chain
                | mark: clicks.at delay 10 seconds
                | filter: at@0 IS NOT NULL
                | project: window(at@0, 10 seconds) AS w, n
                Source clicks connector=memory
                  | columns: at TIMESTAMP, n INT
            watermark: clicks.at delay 10 seconds
            modes: append, update, changes
        "#]],
    );
    check(
        Append,
        "SELECT w, count(*) AS c FROM (SELECT window(at, '10 seconds') AS w FROM clicks) GROUP BY w",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: w, count(Int64(1))@1 AS c
                Aggregate #0 emits=append
                  | time: window w
                  | calls: count(*) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | filter: at@0 IS NOT NULL
                    | project: window(at@0, 10 seconds) AS w
                    | project: w, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn filters_without_the_time_column_go_below_the_mark() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, count(*) AS c FROM clicks
         WHERE n < 100 AND at < TIMESTAMP '2024-10-05 12:00:00' AND rand() < 0.5
         GROUP BY window(at, '10 seconds')",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(window(clicks.at,Utf8("10 seconds"))@0, start) AS s, count(Int64(1))@1 AS c
                Aggregate #0 emits=append
                  | time: window of 10 seconds over clicks.at
                  | calls: count(*) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | filter: n@1 < 100
                    | mark: clicks.at delay 10 seconds
                    | project: at
                    | filter: at@0 < 1728129600000000
                    | filter: rand() < 0.5
                    | project: at@0 AS clicks.at, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP, n INT
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn the_clock_is_not_folded() {
    check(
        Append,
        "SELECT who, current_timestamp() AS now, current_date AS today FROM clicks
         WHERE current_date() > DATE '2020-01-01'",
        &expect![[r#"
            Sink mode=append
              Chain
                | filter: current_date() > 2020-01-01
                | mark: clicks.at delay 10 seconds
                | project: who, current_timestamp() AS now, current_date() AS today
                Source clicks connector=memory
                  | columns: at TIMESTAMP, who STRING
            watermark: clicks.at delay 10 seconds
            modes: append, update, changes
        "#]],
    );
}

#[test]
fn a_union_takes_the_mark_of_all() {
    check(
        Append,
        "SELECT window(at, '10 seconds').start AS s, who, sum(n) AS n
         FROM (SELECT at, who, n FROM clicks WHERE n > 0 UNION ALL SELECT at, 'all' AS who, n FROM clicks)
         GROUP BY window(at, '10 seconds'), who",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(window(at,Utf8("10 seconds"))@0, start) AS s, who, sum(n)@2 AS n
                Aggregate #0 emits=append
                  | time: window of 10 seconds over at
                  | keys: who
                  | calls: sum(n) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | project: at, who, CAST(n@2 AS Int64) AS n
                    Union
                      Chain
                        | filter: n@2 > 0
                        | mark: clicks.at delay 10 seconds
                        Source clicks connector=memory
                          | columns: at TIMESTAMP, who STRING, n INT
                      Chain
                        | mark: clicks.at delay 10 seconds
                        | project: at, all AS who, n
                        | project: at, who, n
                        Source clicks connector=memory
                          | columns: at TIMESTAMP, n INT
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn distinct_is_an_aggregation() {
    check(
        Update,
        "SELECT DISTINCT k, v FROM plain",
        &expect![[r#"
        Sink mode=update
          Aggregate #0 emits=update
            | keys: plain.k, plain.v
            | state: one row a key, never removed
            Chain
              | project: k@0 AS plain.k, v@1 AS plain.v
              Source plain connector=memory
                | columns: k STRING, v BIGINT
        watermark: none
        modes: update, complete, changes
    "#]],
    );
}

#[test]
fn having_filters_above() {
    check(
        Update,
        "SELECT k, count(*) AS c FROM plain GROUP BY k HAVING count(*) > 3 AND k <> 'x'",
        &expect![[r#"
            Sink mode=update
              Chain
                | filter: count(Int64(1))@1 > 3
                | project: k, count(Int64(1))@1 AS c
                Aggregate #0 emits=update
                  | keys: plain.k
                  | calls: count(*) BIGINT
                  | state: one row a key, never removed
                  Chain
                    | filter: k@0 != x
                    | project: k@0 AS plain.k, 1 AS Int32(1)
                    Source plain connector=memory
                      | columns: k STRING
            watermark: none
            modes: update, complete, changes
        "#]],
    );
}

#[test]
fn filters_and_literals_of_functions_are_columns() {
    check(
        Update,
        "SELECT k, count(*) FILTER (WHERE v > 1) AS c, percentile_approx(v, 0.5) AS p, first(v, true) AS f,
                avg(price) AS a FROM plain GROUP BY k",
        &expect![[r#"
            Sink mode=update
              Chain
                | project: k, count(Int64(1)) FILTER (WHERE plain.v > Int64(1))@1 AS c, percentile_approx(plain.v,Decimal128(0.5,1,1))@2 AS p, first_value(plain.v) IGNORE NULLS@3 AS f, avg(plain.price)@4 AS a
                Aggregate #0 emits=update
                  | keys: plain.k
                  | calls: count(*) FILTER (WHERE plain.v > Int64(1)) BIGINT, percentile_approx(plain.v,Decimal128(0.5,1,1)) BIGINT, first_value(plain.v) IGNORE NULLS BIGINT, avg(plain.price) DECIMAL(11,6)
                  | state: one row a key, never removed
                  Chain
                    | project: k@0 AS plain.k, 1 AS Int32(1), v@1 > 1 AS plain.v > Int64(1), v@1 AS plain.v, 0.5 AS Float64(0.5), price@2 AS plain.price
                    Source plain connector=memory
                      | columns: k STRING, v BIGINT, price DECIMAL(7,2)
            watermark: none
            modes: update, complete, changes
        "#]],
    );
}

#[test]
fn sparks_watermark_clause() {
    check(
        Append,
        "SELECT window(ts, '10 seconds').start AS s, count(*) AS c
         FROM plain WATERMARK ts DELAY OF INTERVAL 10 SECONDS AS p GROUP BY window(p.ts, '10 seconds')",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: get_field(window(p.ts,Utf8("10 seconds"))@0, start) AS s, count(Int64(1))@1 AS c
                Aggregate #0 emits=append
                  | time: window of 10 seconds over p.ts
                  | calls: count(*) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | mark: plain.ts delay 10 seconds
                    | project: ts@0 AS p.ts, 1 AS Int32(1)
                    Source plain connector=memory
                      | columns: ts TIMESTAMP
            watermark: plain.ts delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn changes_allows_chains_that_spark_refuses() {
    check(
        Changes,
        "SELECT c, count(*) AS keys FROM (SELECT k, count(*) AS c FROM plain GROUP BY k) GROUP BY c",
        &expect![[r#"
            Sink mode=changes
              Chain
                | project: c, count(Int64(1))@1 AS keys
                Aggregate #1 emits=changes
                  | keys: c
                  | calls: count(*) BIGINT
                  | state: one row a key, never removed
                  Chain
                    | project: count(Int64(1))@1 AS c, 1 AS Int32(1)
                    Aggregate #0 emits=changes
                      | keys: plain.k
                      | calls: count(*) BIGINT
                      | state: one row a key, never removed
                      Chain
                        | project: k@0 AS plain.k, 1 AS Int32(1)
                        Source plain connector=memory
                          | columns: k STRING
            watermark: none
            modes: changes
        "#]],
    );
}

#[test]
fn names_ignore_case_and_keep_their_spelling() {
    let mut fixture = Fixture::new();
    assert_eq!(
        fixture.run("CREATE TABLE Orders (userId INT, Total DOUBLE) WITH (connector = 'memory')"),
        ""
    );
    let text = fixture.plan(
        Update,
        "SELECT USERID, SUM(total) AS Sum_Total FROM ORDERS GROUP BY userid HAVING SUM_TOTAL > 1",
        ExplainFormat::Tree,
    );
    expect![[r#"
        Sink mode=update
          Chain
            | filter: sum(Orders.Total)@1 > 1
            | project: userId@0 AS USERID, sum(Orders.Total)@1 AS Sum_Total
            Aggregate #0 emits=update
              | keys: Orders.userId
              | calls: sum(Orders.Total) DOUBLE
              | state: one row a key, never removed
              Chain
                | project: userId@0 AS Orders.userId, Total@1 AS Orders.Total
                Source Orders connector=memory
                  | columns: userId INT, Total DOUBLE
        watermark: none
        modes: update, complete, changes
    "#]]
    .assert_eq(&text);
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
    let columns: String = text
        .lines()
        .filter(|line| line.contains("\"type\""))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    expect![[r#"
        "type": "DOUBLE"
        "type": "INT"
        "type": "BIGINT"
        "type": "DOUBLE"
        "type": "DECIMAL(11,4)"
        "type": "DECIMAL(13,2)"
        "type": "DECIMAL(16,6)"
        "type": "DECIMAL(20,13)"
        "type": "DECIMAL(5,2)"
        "type": "DECIMAL(13,1)"
        "type": "DECIMAL(17,6)"
        "type": "DECIMAL(6,2)"
        "type": "DOUBLE"
        "type": "DECIMAL(5,2)"
        "type": "DECIMAL(13,2)"
        "type": "INT"
        "type": "DOUBLE"
    "#]]
    .assert_eq(&columns);
}

#[test]
fn the_other_forms() {
    let fixture = Fixture::with_tables();
    let sql = "SELECT k, count(*) AS c FROM plain GROUP BY k";
    expect![[r#"
        digraph plan {
          node [shape=box];
          n0 [label="Source plain connector=memory\lcolumns: k STRING\l"];
          n1 [label="Chain\lproject: k@0 AS plain.k, 1 AS Int32(1)\l"];
          n0 -> n1;
          n2 [label="Aggregate #0 emits=update\lkeys: plain.k\lcalls: count(*) BIGINT\lstate: one row a key, never removed\l"];
          n1 -> n2;
          n3 [label="Chain\lproject: k, count(Int64(1))@1 AS c\l"];
          n2 -> n3;
          sink [label="Sink mode=update"];
          n3 -> sink;
        }
    "#]].assert_eq(&fixture.plan(Update, sql, ExplainFormat::Dot));
    expect![[r#"
        {
          "columns": [
            {
              "name": "k",
              "type": "STRING"
            },
            {
              "name": "c",
              "type": "BIGINT"
            }
          ],
          "mode": "update",
          "modes": [
            "update",
            "complete",
            "changes"
          ],
          "nodes": [
            {
              "details": [
                "columns: k STRING"
              ],
              "id": 0,
              "inputs": [],
              "operator": "Source plain connector=memory"
            },
            {
              "details": [
                "project: k@0 AS plain.k, 1 AS Int32(1)"
              ],
              "id": 1,
              "inputs": [
                0
              ],
              "operator": "Chain"
            },
            {
              "details": [
                "keys: plain.k",
                "calls: count(*) BIGINT",
                "state: one row a key, never removed"
              ],
              "id": 2,
              "inputs": [
                1
              ],
              "operator": "Aggregate #0 emits=update"
            },
            {
              "details": [
                "project: k, count(Int64(1))@1 AS c"
              ],
              "id": 3,
              "inputs": [
                2
              ],
              "operator": "Chain"
            }
          ],
          "watermarkPolicy": "min",
          "watermarks": []
        }
    "#]]
    .assert_eq(&fixture.plan(Update, sql, ExplainFormat::Json));
}

#[test]
fn a_condition_on_the_clock_alone_stays_above_the_groups() {
    check(
        Update,
        "SELECT k, count_if(v > 1) FROM plain GROUP BY k
         HAVING current_timestamp() > TIMESTAMP '2020-01-01 00:00:00'",
        &expect![[r#"
            Sink mode=update
              Chain
                | filter: current_timestamp() > 1577836800000000
                | project: k, count(Int64(1)) FILTER (WHERE plain.v > Int64(1))@1 AS count_if((v > 1))
                Aggregate #0 emits=update
                  | keys: plain.k
                  | calls: count(*) FILTER (WHERE plain.v > Int64(1)) BIGINT
                  | state: one row a key, never removed
                  Chain
                    | project: k@0 AS plain.k, 1 AS Int32(1), v@1 > 1 AS plain.v > Int64(1)
                    Source plain connector=memory
                      | columns: k STRING, v BIGINT
            watermark: none
            modes: update, complete
        "#]],
    );
}

#[test]
fn a_filter_on_a_sliding_window_stays_above_it() {
    check(
        Append,
        "SELECT window(at, '10 seconds', '5 seconds').start s, count(*) c FROM clicks
         GROUP BY window(at, '10 seconds', '5 seconds') HAVING window.start > TIMESTAMP '2020-01-01 00:00:00'",
        &expect![[r#"
            Sink mode=append
              Chain
                | filter: get_field(window(clicks.at,Utf8("10 seconds"),Utf8("5 seconds"))@0, start) > 1577836800000000
                | project: get_field(window(clicks.at,Utf8("10 seconds"),Utf8("5 seconds"))@0, start) AS s, count(Int64(1))@1 AS c
                Aggregate #0 emits=append
                  | time: window of 10 seconds over clicks.at every 5 seconds
                  | calls: count(*) BIGINT
                  | state: one row a key and window, removed when the watermark reaches the window's end
                  Chain
                    | mark: clicks.at delay 10 seconds
                    | project: at@0 AS clicks.at, 1 AS Int32(1)
                    Source clicks connector=memory
                      | columns: at TIMESTAMP
            watermark: clicks.at delay 10 seconds
            modes: append, update, complete, changes
        "#]],
    );
}

#[test]
fn subscripts_count_from_zero_and_rlike_is_a_pattern() {
    check(
        Append,
        "SELECT tags[0] AS t FROM plain WHERE k RLIKE '^x+'",
        &expect![[r#"
            Sink mode=append
              Chain
                | filter: k@0 ~ ^x+
                | project: __subscript(tags@1, 0) AS t
                Source plain connector=memory
                  | columns: k STRING, tags ARRAY<STRING>
            watermark: none
            modes: append, update, changes
        "#]],
    );
}
