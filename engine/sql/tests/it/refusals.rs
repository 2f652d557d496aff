//! What is refused: code, place and hint.

use expect_test::{Expect, expect};
use millstream_types::OutputMode::{self, Append, Changes, Complete, Update};

use crate::fixture::{Fixture, plan};

fn check(mode: OutputMode, sql: &str, expected: &Expect) {
    expected.assert_eq(&plan(mode, sql));
}

#[test]
fn unknown_names() {
    check(
        Append,
        "SELECT who\nFROM clickz",
        &expect![[r#"
        error SQL-002 [TABLE_OR_VIEW_NOT_FOUND]: no table or view is named clickz (line 2, column 6)
        hint: did you mean clicks?
    "#]],
    );
    check(
        Append,
        "SELECT wo FROM clicks",
        &expect![[r#"
            error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named wo (line 1, column 8)
            hint: the columns are: at, who, page, n
        "#]],
    );
    check(
        Append,
        "SELECT who,\n  uper(who) FROM clicks",
        &expect![[r#"
        error SQL-004 [UNRESOLVED_ROUTINE]: no function is named uper (line 2, column 3)
        hint: did you mean upper?
    "#]],
    );
}

#[test]
fn syntax_and_types() {
    check(
        Append,
        "SELECT FROM clicks WHERE",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: expected an expression, found: FROM (line 1, column 13)
    "#]],
    );
    check(
        Append,
        "SELECT who + tags FROM plain, clicks",
        &expect![[r#"
        error SQL-005 [DATATYPE_MISMATCH]: Cannot coerce arithmetic expression Utf8 + List(Utf8) to valid types (line 1, column 8)
    "#]],
    );
    check(
        Append,
        "SELECT CAST(n AS STRNG) FROM clicks",
        &expect![[r#"
        error SQL-016: unknown data type "STRNG" (line 1, column 18)
        hint: did you mean STRING?
    "#]],
    );
}

#[test]
fn what_the_planner_refuses() {
    check(
        Append,
        "SELECT who LIKE 'a' ESCAPE '!!' FROM clicks",
        &expect![[r#"
            error SQL-006: ESCAPE takes one character (line 1, column 1)
        "#]],
    );
    check(
        Append,
        "SELECT x.a FROM (SELECT n, page FROM clicks) AS x(a)",
        &expect![[r#"
            error SQL-006: x has 2 columns and is given 1 names (line 1, column 1)
        "#]],
    );
}

#[test]
fn names() {
    let mut answers = String::new();
    for sql in [
        "SELECT clicks.n FROM clicks AS c",
        "SELECT n FROM clicks c, clicks d",
        "SELECT a FROM (SELECT n AS a, who AS A FROM clicks)",
        "SELECT n FROM clicks GROUP BY whom",
        "SELECT n FROM clicks ORDER BY\n  pag",
        "SELECT transform(tags, x -> y) FROM plain",
        "SELECT *, explode(tag) FROM plain",
        "SELECT p.* FROM plain",
        "SELECT k.* FROM plain",
        "SELECT v FROM plain LATERAL VIEW explode(tagz) t AS v",
        "SELECT explode(v) FROM plain",
        "SELECT (SELECT max(nn) FROM clicks) FROM plain",
        "WITH a AS (SELECT n FROM clicks) SELECT who FROM a",
        "SELECT n FROM clicks UNION ALL SELECT v FROM plain ORDER BY z",
    ] {
        answers.push_str(sql);
        answers.push('\n');
        answers.push_str(&plan(Append, sql));
    }
    expect![[r#"
        SELECT clicks.n FROM clicks AS c
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named clicks.n (line 1, column 8)
        hint: did you mean n?
        SELECT n FROM clicks c, clicks d
        error SQL-017 [AMBIGUOUS_REFERENCE]: n is ambiguous: it may be c.n or d.n (line 1, column 8)
        hint: write the table's name before it, or give one an alias
        SELECT a FROM (SELECT n AS a, who AS A FROM clicks)
        error SQL-017 [AMBIGUOUS_REFERENCE]: a is ambiguous: it may be a or A (line 1, column 8)
        hint: write the table's name before it, or give one an alias
        SELECT n FROM clicks GROUP BY whom
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named whom (line 1, column 31)
        hint: did you mean who?
        SELECT n FROM clicks ORDER BY
          pag
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named pag (line 2, column 3)
        hint: did you mean page?
        SELECT transform(tags, x -> y) FROM plain
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named y (line 1, column 29)
        hint: the columns are: ts, k, v, price, tags
        SELECT *, explode(tag) FROM plain
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named tag (line 1, column 19)
        hint: did you mean tags?
        SELECT p.* FROM plain
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named p (line 1, column 8)
        hint: the columns are: ts, k, v, price, tags
        SELECT k.* FROM plain
        error SQL-005 [DATATYPE_MISMATCH]: k.* needs a relation or a struct (line 1, column 8)
        SELECT v FROM plain LATERAL VIEW explode(tagz) t AS v
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named tagz (line 1, column 42)
        hint: did you mean tags?
        SELECT explode(v) FROM plain
        error SQL-005 [DATATYPE_MISMATCH]: explode(v) needs an array or a map, not BIGINT (line 1, column 8)
        SELECT (SELECT max(nn) FROM clicks) FROM plain
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named nn (line 1, column 20)
        hint: did you mean n?
        WITH a AS (SELECT n FROM clicks) SELECT who FROM a
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named who (line 1, column 41)
        hint: the columns are: n
        SELECT n FROM clicks UNION ALL SELECT v FROM plain ORDER BY z
        error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named z (line 1, column 61)
        hint: the columns are: n
    "#]].assert_eq(&answers);
}

#[test]
fn output_modes() {
    check(
        Append,
        "SELECT k, count(*) FROM plain GROUP BY k",
        &expect![[r#"
        error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode append is not supported for streaming aggregations without watermark (line 1, column 31)
        hint: this query can run in: update, complete, changes
    "#]],
    );
    check(
        Append,
        "SELECT window(at + INTERVAL '1' SECOND, '10 seconds').start AS s, sum(n) FROM clicks
         GROUP BY window(at + INTERVAL '1' SECOND, '10 seconds')",
        &expect![[r#"
            error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode append is not supported for streaming aggregations without watermark (line 2, column 10)
            hint: this query can run in: update, complete, changes
        "#]],
    );
    check(
        Complete,
        "SELECT k FROM plain",
        &expect![[r#"
        error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode complete is not supported for a query with no streaming aggregations (line 1, column 1)
        hint: this query can run in: append, update, changes
    "#]],
    );
    check(
        Update,
        "SELECT who, count(*) FROM clicks GROUP BY session_window(at, '5 seconds'), who",
        &expect![[r#"
            error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode update is not supported for session window streaming aggregations (line 1, column 34)
            hint: this query can run in: append, complete, changes
        "#]],
    );
    check(
        Update,
        "SELECT c, count(*) FROM (SELECT k, count(*) AS c FROM plain GROUP BY k) GROUP BY c",
        &expect![[r#"
            error SQL-032: a stateful operator above an aggregation may see rows that change or come late in output mode update (line 1, column 61)
            hint: this query can run in: changes
        "#]],
    );
}

#[test]
fn windows() {
    check(
        Append,
        "SELECT count(*) FROM clicks GROUP BY window(at, '10 seconds', '20 seconds')",
        &expect![[r#"
        error SQL-013: impossible window: the slide must be at most the duration (line 1, column 38)
    "#]],
    );
    check(
        Append,
        "SELECT count(*) FROM clicks GROUP BY window(at, '1 month')",
        &expect![[r#"
        error SQL-013: impossible window: intervals of months or years have no fixed length (line 1, column 38)
    "#]],
    );
    check(
        Append,
        "SELECT count(*) FROM clicks GROUP BY window(at, '10')",
        &expect![[r#"
        error SQL-010 [CANNOT_PARSE_INTERVAL]: cannot parse interval "10" (line 1, column 38)
        hint: write it like '10 seconds' or INTERVAL '1' MINUTE
    "#]],
    );
    check(
        Append,
        "SELECT count(*) FROM clicks GROUP BY window(at, '10 seconds'), window(at, '20 seconds')",
        &expect![[r#"
        error SQL-014: multiple time or session windows in one grouping would multiply rows (line 1, column 38)
        hint: group by one window, or aggregate twice
    "#]],
    );
    check(
        Append,
        "SELECT count(*) FROM clicks GROUP BY window(n, '10 seconds')",
        &expect![[r#"
        error SQL-011 [EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE]: event time must be a TIMESTAMP column=n type=INT (line 1, column 38)
        hint: cast it first: CAST(n AS TIMESTAMP)
    "#]],
    );
    check(
        Append,
        "SELECT window(at, '10 seconds', '5 seconds') AS w, window(at, '10 seconds') AS v FROM clicks",
        &expect![[r#"
            error SQL-014: multiple time or session windows in one grouping would multiply rows (line 1, column 8)
            hint: group by one window, or aggregate twice
        "#]],
    );
    check(
        Append,
        "SELECT n FROM clicks WHERE window(at, '10 seconds', '5 seconds').start IS NULL",
        &expect![[r#"
            error SQL-030: a sliding window outside GROUP BY is not supported (line 1, column 28)
            hint: put it into GROUP BY
        "#]],
    );
    check(
        Append,
        "SELECT session_window(at, '10 seconds') FROM clicks",
        &expect![[r#"
        error SQL-030: session_window outside GROUP BY is not supported (line 1, column 8)
        hint: put it into GROUP BY
    "#]],
    );
}

#[test]
fn operations() {
    check(
        Append,
        "SELECT who FROM clicks ORDER BY who",
        &expect![[r#"
            error SQL-030: Sorting is not supported on streaming DataFrames/Datasets, unless it is on aggregated DataFrame/Dataset in Complete output mode (line 1, column 24)
            hint: sort where the result is read, or use output mode changes
        "#]],
    );
    check(
        Update,
        "SELECT who FROM clicks LIMIT 3",
        &expect![[r#"
            error SQL-030: Limits are not supported on streaming DataFrames/Datasets in Update output mode (line 1, column 24)
            hint: use append or changes, or complete above an aggregation
        "#]],
    );
    check(
        Append,
        "SELECT who FROM clicks LIMIT 3 OFFSET 1",
        &expect![[r#"
            error SQL-030: Offset is not supported on streaming DataFrames/Datasets (line 1, column 32)
        "#]],
    );
    check(
        Changes,
        "SELECT who, count(*) AS c FROM clicks GROUP BY who ORDER BY c",
        &expect![[r#"
            Sink mode=changes
              Sort
                | order: c ASC NULLS FIRST
                Chain
                  | project: who, count(Int64(1))@1 AS c
                  Aggregate #0 emits=changes
                    | keys: clicks.who
                    | calls: count(*) BIGINT
                    | state: one row a key, never removed
                    Chain
                      | mark: clicks.at delay 10 seconds
                      | project: who@1 AS clicks.who, 1 AS Int32(1)
                      Source clicks connector=memory
                        | columns: at TIMESTAMP, who STRING
            watermark: clicks.at delay 10 seconds
            modes: complete, changes
        "#]],
    );
    check(
        Append,
        "SELECT who, row_number() OVER (PARTITION BY who ORDER BY at) FROM clicks",
        &expect![[r#"
            error SQL-031 [NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING]: windows over rows (OVER) are not supported on a stream function=row_number (line 1, column 26)
            hint: group by window(time, duration) instead, or use output mode changes
        "#]],
    );
    check(
        Update,
        "SELECT k, count(DISTINCT v) FROM plain GROUP BY k",
        &expect![[r#"
            error SQL-030: Distinct aggregations are not supported on streaming DataFrames/Datasets (line 1, column 17)
            hint: consider using approx_count_distinct() instead, or output mode changes
        "#]],
    );
    check(
        Update,
        "SELECT k, count(*) FROM plain GROUP BY ROLLUP(k)",
        &expect![[r#"
            Sink mode=update
              Chain
                | project: k, count(Int64(1))@2 AS count(1)
                Aggregate #0 emits=update
                  | keys: __set_plain.k, __set
                  | calls: count(*) BIGINT
                  | state: one row a key, never removed
                  Union
                    Chain
                      | project: plain.k, Int32(1), plain.k@0 AS __set_plain.k, 0 AS __set
                      Chain
                        | project: k@0 AS plain.k, 1 AS Int32(1)
                        Source plain connector=memory
                          | columns: k STRING
                    Chain
                      | project: plain.k, Int32(1), NULL AS __set_plain.k, 1 AS __set
                      Chain
                        | project: k@0 AS plain.k, 1 AS Int32(1)
                        Source plain connector=memory
                          | columns: k STRING
            watermark: none
            modes: update, complete, changes
        "#]],
    );
    check(
        Append,
        "SELECT c.who FROM clicks c JOIN plain p ON c.who = p.k",
        &expect![[r#"
            Sink mode=append
              Chain
                | project: who
                InnerJoin #0
                  | keys: who = k
                  | state: rows of the left side, never removed
                  | state: rows of the right side, never removed
                  Chain
                    | filter: who@1 IS NOT NULL
                    | mark: clicks.at delay 10 seconds
                    | project: who
                    Source clicks connector=memory
                      | columns: at TIMESTAMP, who STRING
                  Chain
                    | filter: k@0 IS NOT NULL
                    Source plain connector=memory
                      | columns: k STRING
            watermark: clicks.at delay 10 seconds
            modes: append, update, changes
        "#]],
    );
    check(
        Append,
        "SELECT k FROM dim",
        &expect![[r#"
            error SQL-007: a query that reads no stream, where a stream is wanted (its tables have mode = 'batch') is not supported (line 1, column 1)
        "#]],
    );
    check(
        Append,
        "SELECT k FROM plain UNION ALL SELECT k FROM dim",
        &expect![[r#"
        error SQL-030: Union between streaming and batch DataFrames/Datasets is not supported (line 1, column 21)
        hint: read the static table as a stream, or join with it
    "#]],
    );
}

#[test]
fn limits() {
    let chain = format!("SELECT {} FROM clicks", vec!["n"; 400].join(" + "));
    check(
        Append,
        &chain,
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: the statement is too large: operators in one chain limit=200 (line 1, column 810)
    "#]],
    );
    let nested = format!("SELECT {}n{} FROM clicks", "(".repeat(60), ")".repeat(60));
    check(
        Append,
        &nested,
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: the statement is too large: parentheses are nested too deeply limit=40 (line 1, column 47)
    "#]],
    );
    let list = format!("SELECT n IN ({}) FROM clicks", vec!["1"; 2000].join(", "));
    assert!(plan(Append, &list).starts_with("Sink"));
}

#[test]
fn tables() {
    let check = |sql: &str, expected: &Expect| {
        expected.assert_eq(&Fixture::with_tables().run(sql));
    };
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'memry')",
        &expect![[r#"
        error CON-001 [DATA_SOURCE_NOT_FOUND]: unknown connector name="memry" known=memory (line 1, column 14)
        hint: did you mean "memory"?
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'memory', maxRowPerTrigger = '1')",
        &expect![[r#"
        error CON-002: connector memory has no option "maxRowPerTrigger" (line 1, column 14)
        hint: did you mean "maxRowsPerTrigger"?
    "#]],
    );
    check(
        "CREATE TABLE t (a INT)",
        &expect![[r#"
        error CON-004: option connector is not specified for connector table (line 1, column 14)
    "#]],
    );
    check(
        "CREATE TABLE CLICKS (a INT) WITH (connector = 'memory')",
        &expect![[r#"
        error SQL-008 [TABLE_OR_VIEW_ALREADY_EXISTS]: a table or view named CLICKS exists (line 1, column 14)
    "#]],
    );
    check(
        "CREATE TABLE t (a INT, WATERMARK FOR b AS b) WITH (connector = 'memory')",
        &expect![[r#"
            error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named b (line 1, column 24)
            hint: the columns are: a
        "#]],
    );
    check(
        "CREATE TABLE t (at INT, WATERMARK FOR at AS at) WITH (connector = 'memory')",
        &expect![[r#"
        error SQL-011 [EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE]: event time must be a TIMESTAMP column=at type=INT (line 1, column 25)
        hint: cast it first: CAST(at AS TIMESTAMP)
    "#]],
    );
    check(
        "CREATE TABLE t (s STRUCT<at TIMESTAMP>, WATERMARK FOR s.at AS s.at) WITH (connector = 'memory')",
        &expect![[r#"
        error SQL-012 [EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN]: a watermark must be defined on a top-level column, not on s.at (line 1, column 41)
    "#]],
    );
    check(
        "CREATE TABLE t (at TIMESTAMP,\n WATERMARK FOR at AS at + INTERVAL '1' SECOND) WITH (connector = 'memory')",
        &expect![[r#"
            error SQL-015: the delay of a watermark must not be negative delay=-1 second (line 2, column 2)
        "#]],
    );
    check(
        "CREATE TABLE t (at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1' PARSEC) WITH (connector = 'memory')",
        &expect![[r#"
        error SQL-001 [PARSE_SYNTAX_ERROR]: unexpected PARSEC after WATERMARK (line 1, column 69)
    "#]],
    );
    check(
        "CREATE TABLE t (a INTT) WITH (connector = 'memory')",
        &expect![[r#"
        error SQL-016: unknown data type "INTT" (line 1, column 19)
        hint: did you mean INT?
    "#]],
    );
    check(
        "CREATE TABLE t (a INT) WITH (connector = 'memory', output_mode = 'upsert')",
        &expect![[r#"
        error SQL-021 [STREAMING_OUTPUT_MODE.INVALID]: unknown output mode "upsert" (line 1, column 14)
        hint: use append, update, complete or changes
    "#]],
    );
    check(
        "SET 'spark.sql.streaming.multipleWatermarkPolicy' = 'mean'",
        &expect![[r#"
        error SQL-016: unknown watermark policy "mean"
        hint: known are: min, max
    "#]],
    );
    check(
        "DROP TABLE clikcs",
        &expect![[r#"
        error SQL-002 [TABLE_OR_VIEW_NOT_FOUND]: no table or view is named clikcs
        hint: did you mean clicks?
    "#]],
    );
}

#[test]
fn what_differs_from_run_to_run() {
    check(
        Append,
        "SELECT spark_partition_id() FROM clicks",
        &expect![[r#"
            error SQL-030: Expression(s): spark_partition_id is not supported with streaming (line 1, column 8)
            hint: rows are in no partition; group by a key
        "#]],
    );
    check(
        Append,
        "SELECT rand(n) FROM clicks",
        &expect![[r#"
            error SQL-005 [DATATYPE_MISMATCH]: the seed of rand must be a constant (line 1, column 1)
        "#]],
    );
    check(
        Append,
        "SELECT rand('a') FROM clicks",
        &expect![[r#"
            error SQL-005 [DATATYPE_MISMATCH]: Function 'rand' user-defined coercion failed with: External error: rand takes a BIGINT as its seed, not STRING. No function matches the given name and argument types 'rand(Utf8)'. You might need to add explicit type casts. (line 1, column 8)
        "#]],
    );
    check(
        Append,
        "SELECT rand(1, 2) FROM clicks",
        &expect![[r#"
            error SQL-005 [DATATYPE_MISMATCH]: Function 'rand' user-defined coercion failed with: External error: rand does not take so many arguments. No function matches the given name and argument types 'rand(Int64, Int64)'. You might need to add explicit type casts. (line 1, column 8)
        "#]],
    );
    check(
        Append,
        "SELECT uniform(1, who) FROM clicks",
        &expect![[r#"
            error SQL-005 [DATATYPE_MISMATCH]: Function 'uniform' user-defined coercion failed with: External error: uniform does not take STRING. No function matches the given name and argument types 'uniform(Int64, Utf8)'. You might need to add explicit type casts. (line 1, column 8)
        "#]],
    );
    check(
        Append,
        "SELECT shuffle(who) FROM clicks",
        &expect![[r#"
            error SQL-005 [DATATYPE_MISMATCH]: Function 'shuffle' user-defined coercion failed with: External error: shuffle does not take STRING. No function matches the given name and argument types 'shuffle(Utf8)'. You might need to add explicit type casts. (line 1, column 8)
        "#]],
    );
    check(
        Append,
        "SELECT transform(tags, x -> rand()) FROM plain",
        &expect![[r#"
            error SQL-007: rand inside a lambda is not supported (line 1, column 1)
        "#]],
    );
    check(
        Append,
        "SELECT current_time() FROM clicks",
        &expect![[r#"
            error SQL-004 [UNRESOLVED_ROUTINE]: no function is named current_time (line 1, column 8)
            hint: did you mean current_timezone?
        "#]],
    );
    check(
        Append,
        "SELECT input_file_name() FROM clicks",
        &expect![[r#"
            error SQL-004 [UNRESOLVED_ROUTINE]: no function is named input_file_name (line 1, column 8)
            hint: `millstream functions` lists them
        "#]],
    );
    check(
        Changes,
        "SELECT who, count(*) AS c, now() AS at FROM clicks GROUP BY who",
        &expect![[r#"
            error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode changes is not supported for the clock above rows that are taken back (line 1, column 52)
            hint: this query can run in: update, complete
        "#]],
    );
    check(
        Changes,
        "SELECT who FROM (SELECT * FROM clicks ORDER BY n LIMIT 3) WHERE at < now()",
        &expect![[r#"
            error SQL-020 [STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION]: output mode changes is not supported for the clock above rows that are taken back (line 1, column 1)
        "#]],
    );
}

#[test]
fn clauses_that_would_be_passed_over() {
    check(
        Append,
        "SELECT who FROM clicks TABLESAMPLE (10 PERCENT)",
        &expect![[r#"
            error SQL-030: Sampling is not supported on streaming DataFrames/Datasets (line 1, column 24)
            hint: filter with rand() < fraction
        "#]],
    );
    check(
        Append,
        "SELECT monotonically_increasing_id() FROM clicks",
        &expect![[r#"
            error SQL-030: Expression(s): monotonically_increasing_id is not supported with streaming (line 1, column 8)
            hint: use uuid()
        "#]],
    );
    check(
        Append,
        "SELECT explode(tags), explode(tags) AS again, explode(array(1, 2)) AS other FROM plain",
        &expect![[r#"
            error SQL-007: more than one explode in a SELECT is not supported (line 1, column 8)
        "#]],
    );
    check(
        Append,
        "SELECT date_format(ts, 'YYYY') FROM plain",
        &expect![[r#"
            error SQL-016: unknown pattern letter "Y" (line 1, column 1)
            hint: did you mean y?
        "#]],
    );
    check(
        Append,
        "SELECT (SELECT max(v) FROM plain) AS m, who FROM clicks",
        &expect![[r#"
            error SQL-030: Stream-stream LeftOuter join between two streaming DataFrame/Datasets is not supported without a watermark in the join keys, or a watermark on the nullable side and an appropriate range condition (line 1, column 1)
            hint: define watermarks and compare the times of both sides, or use output mode changes
        "#]],
    );
}
