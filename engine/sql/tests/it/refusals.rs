//! What is refused: code, place and hint.

use expect_test::{Expect, expect};
use millstream_types::OutputMode::{self, Append, Complete, Update};

use crate::fixture::{Fixture, plan};

fn check(mode: OutputMode, sql: &str, expected: Expect) {
    expected.assert_eq(&plan(mode, sql));
}

#[test]
fn unknown_names() {
    check(Append, "SELECT who\nFROM clickz", expect![[""]]);
    check(Append, "SELECT wo FROM clicks", expect![[""]]);
    check(Append, "SELECT who,\n  uper(who) FROM clicks", expect![[""]]);
}

#[test]
fn syntax_and_types() {
    check(Append, "SELECT FROM clicks WHERE", expect![[""]]);
    check(Append, "SELECT who + tags FROM plain, clicks", expect![[""]]);
    check(Append, "SELECT CAST(n AS STRNG) FROM clicks", expect![[""]]);
}

#[test]
fn output_modes() {
    check(Append, "SELECT k, count(*) FROM plain GROUP BY k", expect![[""]]);
    check(
        Append,
        "SELECT window(at + INTERVAL '1' SECOND, '10 seconds').start AS s, sum(n) FROM clicks
         GROUP BY window(at + INTERVAL '1' SECOND, '10 seconds')",
        expect![[""]],
    );
    check(Complete, "SELECT k FROM plain", expect![[""]]);
    check(
        Update,
        "SELECT who, count(*) FROM clicks GROUP BY session_window(at, '5 seconds'), who",
        expect![[""]],
    );
    check(
        Update,
        "SELECT c, count(*) FROM (SELECT k, count(*) AS c FROM plain GROUP BY k) GROUP BY c",
        expect![[""]],
    );
}

#[test]
fn windows() {
    check(Append, "SELECT count(*) FROM clicks GROUP BY window(at, '10 seconds', '20 seconds')", expect![[""]]);
    check(Append, "SELECT count(*) FROM clicks GROUP BY window(at, '1 month')", expect![[""]]);
    check(Append, "SELECT count(*) FROM clicks GROUP BY window(at, '10')", expect![[""]]);
    check(Append, "SELECT count(*) FROM clicks GROUP BY window(at, '10 seconds'), window(at, '20 seconds')", expect![[""]]);
    check(Append, "SELECT count(*) FROM clicks GROUP BY window(n, '10 seconds')", expect![[""]]);
    check(Append, "SELECT window(at, '10 seconds', '5 seconds') FROM clicks", expect![[""]]);
    check(Append, "SELECT session_window(at, '10 seconds') FROM clicks", expect![[""]]);
}

#[test]
fn operations() {
    check(Append, "SELECT who FROM clicks ORDER BY who", expect![[""]]);
    check(Append, "SELECT who FROM clicks LIMIT 3", expect![[""]]);
    check(Append, "SELECT who, row_number() OVER (PARTITION BY who ORDER BY at) FROM clicks", expect![[""]]);
    check(Update, "SELECT k, count(DISTINCT v) FROM plain GROUP BY k", expect![[""]]);
    check(Update, "SELECT k, count(*) FROM plain GROUP BY ROLLUP(k)", expect![[""]]);
    check(Append, "SELECT c.who FROM clicks c JOIN plain p ON c.who = p.k", expect![[""]]);
    check(Append, "SELECT k FROM dim", expect![[""]]);
    check(Append, "SELECT k FROM plain UNION ALL SELECT k FROM dim", expect![[""]]);
}

#[test]
fn limits() {
    let chain = format!("SELECT {} FROM clicks", vec!["n"; 400].join(" + "));
    check(Append, &chain, expect![[""]]);
    let nested = format!("SELECT {}n{} FROM clicks", "(".repeat(60), ")".repeat(60));
    check(Append, &nested, expect![[""]]);
    let list = format!("SELECT n IN ({}) FROM clicks", vec!["1"; 2000].join(", "));
    assert!(plan(Append, &list).starts_with("Sink"));
}

#[test]
fn tables() {
    let check = |sql: &str, expected: Expect| {
        expected.assert_eq(&Fixture::with_tables().run(sql));
    };
    check("CREATE TABLE t (a INT) WITH (connector = 'memry')", expect![[""]]);
    check("CREATE TABLE t (a INT) WITH (connector = 'memory', maxRowPerTrigger = '1')", expect![[""]]);
    check("CREATE TABLE t (a INT)", expect![[""]]);
    check("CREATE TABLE CLICKS (a INT) WITH (connector = 'memory')", expect![[""]]);
    check("CREATE TABLE t (a INT, WATERMARK FOR b AS b) WITH (connector = 'memory')", expect![[""]]);
    check("CREATE TABLE t (at INT, WATERMARK FOR at AS at) WITH (connector = 'memory')", expect![[""]]);
    check("CREATE TABLE t (s STRUCT<at TIMESTAMP>, WATERMARK FOR s.at AS s.at) WITH (connector = 'memory')", expect![[""]]);
    check(
        "CREATE TABLE t (at TIMESTAMP,\n WATERMARK FOR at AS at + INTERVAL '1' SECOND) WITH (connector = 'memory')",
        expect![[""]],
    );
    check("CREATE TABLE t (at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' PARSEC) WITH (connector = 'memory')", expect![[""]]);
    check("CREATE TABLE t (a INTT) WITH (connector = 'memory')", expect![[""]]);
    check("CREATE TABLE t (a INT) WITH (connector = 'memory', output_mode = 'upsert')", expect![[""]]);
    check("SET 'spark.sql.streaming.multipleWatermarkPolicy' = 'mean'", expect![[""]]);
    check("DROP TABLE clikcs", expect![[""]]);
}
