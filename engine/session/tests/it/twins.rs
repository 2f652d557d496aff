//! Queries of SQL and their twins in calls of a DataFrame: the same stream plan.

use millstream::{
    DataFrame,
    OutputMode::{self, Append, Changes, Complete, Update},
    Result, Session,
    functions::*,
};

fn session() -> Result<Session> {
    let session = Session::builder().build()?;
    session.execute(
        "CREATE TABLE clicks (at TIMESTAMP, who STRING, page STRING, n INT,
           WATERMARK FOR at AS at - INTERVAL '10' SECOND) WITH (connector = 'memory');
         CREATE TABLE plain (ts TIMESTAMP, k STRING, v BIGINT, price DECIMAL(7,2), tags ARRAY<STRING>,
           st STRUCT<Aa: INT, b: STRING>, m MAP<STRING, INT>) WITH (connector = 'memory')",
    )?;
    Ok(session)
}

/// A query and the same in calls.
type Twin = (
    &'static str,
    OutputMode,
    fn(&DataFrame, &DataFrame) -> Result<DataFrame>,
);

#[test]
fn calls_plan_as_texts_do() -> Result<()> {
    let session = session()?;
    let (clicks, plain) = (session.table("clicks")?, session.table("plain")?);
    let mut wrong = Vec::new();
    for (sql, mode, calls) in TWINS {
        let text = session.sql(sql)?.explain(Some(*mode))?;
        let calls = match calls(&clicks, &plain).and_then(|frame| frame.explain(Some(*mode))) {
            Ok(plan) => plan,
            Err(error) => format!("{error}"),
        };
        if text != calls {
            wrong.push(format!("{sql}\n--- SQL\n{text}\n--- calls\n{calls}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    Ok(())
}

const TWINS: &[Twin] = &[
    ("SELECT page, n * 2 AS twice FROM clicks WHERE n > 10", Append, |clicks, _| {
        clicks.filter(col("n").gt(10))?.select([col("page"), (col("n") * 2).alias("twice")])
    }),
    ("SELECT * FROM plain", Append, |_, plain| plain.select(["*"])),
    ("SELECT *, v + 1 AS w FROM plain", Append, |_, plain| plain.with_column("w", col("v") + 1)),
    ("SELECT ts, upper(k) AS k, v, price, tags, st, m FROM plain", Append, |_, plain| {
        plain.with_column("K", upper("k"))?.with_column_renamed("K", "k")
    }),
    ("SELECT ts AS a, k AS b, v AS c, price AS d, tags AS e, st AS f, m AS g FROM plain", Append, |_, plain| {
        plain.to_df(&["a", "b", "c", "d", "e", "f", "g"])
    }),
    ("SELECT ts, k, v FROM plain", Append, |_, plain| plain.drop(&["PRICE", "tags", "st", "m", "nobody"])),
    ("SELECT WHO, st.aa, st.*, tags[0] AS t, m['x'] AS x, element_at(m, 'y') AS y FROM (SELECT k AS who, st, tags, m FROM plain)",
        Append, |_, plain| {
        plain.with_column_renamed("k", "who")?.select([
            col("WHO"), col("st.aa"), col("st.*"), col("tags").get_item(0).alias("t"),
            col("m").get_item(lit("x")).alias("x"), element_at("m", lit("y")).alias("y"),
        ])
    }),
    ("SELECT 1 AS i, 2L AS l, 1.5D AS d, 'x' AS s, true AS b, NULL AS z, -3 AS m FROM plain", Append, |_, plain| {
        plain.select([
            lit(1).alias("i"), lit(2i64).alias("l"), lit(1.5).alias("d"), lit("x").alias("s"),
            lit(true).alias("b"), lit(None::<i32>).alias("z"), lit(-3).alias("m"),
        ])
    }),
    ("SELECT CAST(v AS STRING) AS s, TRY_CAST(k AS INT) AS i, CAST(v AS DECIMAL(12,2)) AS d, price / 3 AS q, v / 2 AS h, v % 7 AS r FROM plain",
        Append, |_, plain| {
        plain.select([
            col("v").cast("STRING").alias("s"), col("k").try_cast("INT").alias("i"),
            col("v").cast("DECIMAL(12,2)").alias("d"), (col("price") / 3).alias("q"),
            (col("v") / 2).alias("h"), (col("v") % 7).alias("r"),
        ])
    }),
    ("SELECT CASE WHEN v > 10 THEN 'many' WHEN v > 5 THEN 'some' ELSE 'few' END AS c FROM plain", Append, |_, plain| {
        plain.select([when(col("v").gt(10), lit("many")).when(col("v").gt(5), lit("some")).otherwise(lit("few")).alias("c")])
    }),
    ("SELECT k FROM plain WHERE k LIKE 'a%' AND k IN ('ab', 'ac') OR k RLIKE '^x' OR v BETWEEN 1 AND 3 OR k <=> NULL OR NOT (k IS NULL)",
        Append, |_, plain| {
        let named = col("k").like("a%").and(col("k").is_in([lit("ab"), lit("ac")]));
        let rest = col("k").rlike("^x").or(col("v").between(1, 3)).or(col("k").eq_null_safe(lit(None::<&str>)));
        plain.filter(named.or(rest).or(!col("k").is_null()))?.select(["k"])
    }),
    ("SELECT coalesce(k, 'none') AS k, concat_ws('-', k, CAST(v AS STRING)) AS c, substring(k, 1, 2) AS s FROM plain",
        Append, |_, plain| {
        plain.select([
            coalesce([col("k"), lit("none")]).alias("k"),
            concat_ws([lit("-"), col("k"), col("v").cast("STRING")]).alias("c"),
            substring("k", 1, 2).alias("s"),
        ])
    }),
    ("SELECT explode(tags) AS tag, v FROM plain", Append, |_, plain| {
        plain.select([explode("tags").alias("tag"), col("v")])
    }),
    ("SELECT posexplode(tags) AS (at, tag), v FROM plain", Append, |_, plain| {
        plain.select([posexplode("tags").aliases(&["at", "tag"]), col("v")])
    }),
    ("SELECT explode(m) AS (key, value) FROM plain", Append, |_, plain| {
        plain.select([explode("m").aliases(&["key", "value"])])
    }),
    ("SELECT word, count(*) AS count FROM (SELECT explode(split(k, ' ')) AS word FROM plain) GROUP BY word", Update, |_, plain| {
        plain.select([explode(split("k", lit(" "))).alias("word")])?.group_by(["word"]).count()
    }),
    ("SELECT transform(tags, x_0 -> upper(x_0)) AS t, filter(tags, x_0 -> x_0 > 'a') AS f FROM plain", Append, |_, plain| {
        plain.select([
            transform("tags", lambda(upper)).alias("t"),
            filter("tags", lambda(|x| x.gt(lit("a")))).alias("f"),
        ])
    }),
    ("SELECT aggregate(transform(tags, x_0 -> length(x_0)), 0, (x_0, y_0) -> x_0 + y_0) AS n FROM plain", Append, |_, plain| {
        let lengths = transform("tags", lambda(length));
        plain.select([aggregate(lengths, 0, lambda2(|sum, one| sum + one)).alias("n")])
    }),
    ("SELECT struct(k, v) AS s, named_struct('a', v) AS n, array(v, v) AS l, map('a', v) AS m FROM plain", Append, |_, plain| {
        plain.select([
            struct_of(["k", "v"]).alias("s"), named_struct([lit("a"), col("v")]).alias("n"),
            array(["v", "v"]).alias("l"), map([lit("a"), col("v")]).alias("m"),
        ])
    }),
    ("SELECT k, sum(v) AS `sum(v)` FROM plain GROUP BY k", Update, |_, plain| plain.group_by(["k"]).sum(&["v"])),
    ("SELECT k, count(*) AS count FROM plain GROUP BY k", Changes, |_, plain| plain.group_by(["k"]).count()),
    ("SELECT k, avg(v) AS a, min(price) AS b, max(price) AS c, count(v) AS d, count(*) FILTER (WHERE v > 3) AS e FROM plain GROUP BY k",
        Update, |_, plain| {
        plain.group_by(["k"]).agg([
            avg("v").alias("a"), min("price").alias("b"), max("price").alias("c"), count("v").alias("d"),
            count_all().filter(col("v").gt(3)).alias("e"),
        ])
    }),
    ("SELECT k, count(DISTINCT v) AS d FROM plain GROUP BY k", Changes, |_, plain| {
        plain.group_by(["k"]).agg([count_distinct("v").alias("d")])
    }),
    ("SELECT sum(v) AS s, stddev(v) AS d FROM plain", Complete, |_, plain| {
        plain.agg([sum("v").alias("s"), stddev("v").alias("d")])
    }),
    ("SELECT upper(k) AS u, sum(v) + 1 AS s FROM plain GROUP BY upper(k)", Update, |_, plain| {
        plain.group_by([upper("k").alias("u")]).agg([(sum("v") + 1).alias("s")])
    }),
    ("SELECT k, sum(v) AS s FROM plain GROUP BY k HAVING sum(v) > 10", Update, |_, plain| {
        plain.group_by(["k"]).agg([sum("v").alias("s")])?.filter(col("s").gt(10))
    }),
    ("SELECT k, v, count(*) AS count FROM plain GROUP BY ROLLUP (k, v)", Update, |_, plain| plain.rollup(["k", "v"]).count()),
    ("SELECT k, v, count(*) AS count FROM plain GROUP BY CUBE (k, v)", Update, |_, plain| plain.cube(["k", "v"]).count()),
    ("SELECT window(at, '10 seconds') AS window, who, sum(n) AS n FROM clicks GROUP BY window(at, '10 seconds'), who", Append, |clicks, _| {
        clicks.group_by([window("at", "10 seconds"), col("who")]).agg([sum("n").alias("n")])
    }),
    ("SELECT window(at, '10 seconds', '5 seconds') AS window, count(*) AS count FROM clicks GROUP BY window(at, '10 seconds', '5 seconds')",
        Append, |clicks, _| clicks.group_by([sliding_window("at", "10 seconds", "5 seconds")]).count()),
    ("SELECT session_window(at, '5 seconds') AS session_window, who, count(*) AS count FROM clicks GROUP BY session_window(at, '5 seconds'), who",
        Append, |clicks, _| clicks.group_by([session_window("at", lit("5 seconds")), col("who")]).count()),
    ("SELECT count_window(3) AS count_window, who, sum(n) AS n FROM clicks GROUP BY count_window(3), who", Append, |clicks, _| {
        clicks.group_by([count_window(3), col("who")]).agg([sum("n").alias("n")])
    }),
    ("SELECT w.start AS s, w.end AS e, n FROM (SELECT window(at, '10 seconds') AS w, count(*) AS n FROM clicks GROUP BY window(at, '10 seconds'))",
        Append, |clicks, _| {
        let counted = clicks.group_by([window("at", "10 seconds").alias("w")]).agg([count_all().alias("n")])?;
        counted.select([col("w.start").alias("s"), col("w").get_field("end").alias("e"), col("n")])
    }),
    ("SELECT window(window_time(w), '1 minute') AS window, sum(n) AS n
      FROM (SELECT window(at, '10 seconds') AS w, count(*) AS n FROM clicks GROUP BY window(at, '10 seconds'))
      GROUP BY window(window_time(w), '1 minute')", Append, |clicks, _| {
        let inner = clicks.group_by([window("at", "10 seconds").alias("w")]).agg([count_all().alias("n")])?;
        inner.group_by([window(window_time("w"), "1 minute")]).agg([sum("n").alias("n")])
    }),
    ("SELECT ts, k FROM plain WATERMARK ts DELAY OF INTERVAL 10 SECONDS", Append, |_, plain| {
        plain.with_watermark("ts", "10 seconds")?.select(["ts", "k"])
    }),
    ("SELECT DISTINCT k FROM plain", Update, |_, plain| plain.select(["k"])?.distinct()),
    ("SELECT who AS k, n AS v FROM clicks UNION ALL SELECT k, v FROM plain", Append, |clicks, plain| {
        let first = clicks.select([col("who").alias("k"), col("n").alias("v")])?;
        first.union(&plain.select(["k", "v"])?)
    }),
    ("SELECT who AS k, n AS v FROM clicks UNION ALL BY NAME SELECT v, k FROM plain", Append, |clicks, plain| {
        let first = clicks.select([col("who").alias("k"), col("n").alias("v")])?;
        first.union_by_name(&plain.select(["v", "k"])?, false)
    }),
    ("SELECT who AS k, n AS v FROM clicks UNION ALL BY NAME SELECT k, price FROM plain", Append, |clicks, plain| {
        let first = clicks.select([col("who").alias("k"), col("n").alias("v")])?;
        first.union_by_name(&plain.select(["k", "price"])?, true)
    }),
    ("SELECT k, count(*) AS count FROM plain GROUP BY k ORDER BY count DESC, k LIMIT 3", Complete, |_, plain| {
        plain.group_by(["k"]).count()?.order_by([col("count").desc(), col("k").asc()])?.limit(3)
    }),
    ("SELECT k, count(*) AS count FROM plain GROUP BY k ORDER BY k OFFSET 2", Changes, |_, plain| {
        plain.group_by(["k"]).count()?.order_by(["k"])?.offset(2)
    }),
    ("SELECT k FROM plain LIMIT 3", Append, |_, plain| plain.select(["k"])?.limit(3)),
    ("SELECT x.k FROM (SELECT k FROM plain) AS x", Append, |_, plain| {
        plain.select(["k"])?.alias("x")?.select(["X.k"])
    }),
    ("SELECT * FROM plain WHERE k IS NOT NULL AND v IS NOT NULL", Append, |_, plain| plain.na().drop(&["k", "v"])),
    ("SELECT * FROM plain WHERE CASE WHEN k IS NOT NULL THEN 1 ELSE 0 END + CASE WHEN v IS NOT NULL THEN 1 ELSE 0 END >= 1",
        Append, |_, plain| plain.na().drop_all_null(&["k", "v"])),
    ("SELECT ts, coalesce(k, CAST('?' AS STRING)) AS k, v, price, tags, st, m FROM plain", Append, |_, plain| plain.na().fill("?", &[])),
    ("SELECT ts, k, CASE WHEN v <=> 1L THEN CAST(10L AS BIGINT) WHEN v <=> 2L THEN CAST(20L AS BIGINT) ELSE v END AS v, price, tags, st, m FROM plain",
        Append, |_, plain| plain.na().replace(&[(1i64, 10i64), (2, 20)], &["V"])),
    ("SELECT k, first(v) AS f, last(v) AS l, collect_list(v) AS c, collect_set(v) AS s, max_by(v, price) AS m FROM plain GROUP BY k",
        Update, |_, plain| {
        plain.group_by(["k"]).agg([
            first("v").alias("f"), last("v").alias("l"), collect_list("v").alias("c"),
            collect_set("v").alias("s"), max_by("v", "price").alias("m"),
        ])
    }),
    ("SELECT k, percentile_approx(v, 0.5D) AS p, approx_count_distinct(v) AS a, bool_and(v > 1) AS b FROM plain GROUP BY k",
        Update, |_, plain| {
        plain.group_by(["k"]).agg([
            percentile_approx("v", 0.5).alias("p"), approx_count_distinct("v").alias("a"),
            bool_and(col("v").gt(1)).alias("b"),
        ])
    }),
    ("SELECT year(ts) AS y, date_format(ts, 'yyyy-MM') AS m, date_trunc('HOUR', ts) AS h, to_date(k, 'yyyy') AS d, ts + INTERVAL 1 DAY AS t FROM plain",
        Append, |_, plain| {
        plain.select([
            year("ts").alias("y"), date_format("ts", lit("yyyy-MM")).alias("m"),
            date_trunc(lit("HOUR"), "ts").alias("h"), to_date("k", lit("yyyy")).alias("d"),
            expr("ts + INTERVAL 1 DAY AS t"),
        ])
    }),
    ("SELECT from_json(k, 'a INT') AS j, to_json(st) AS t, get_json_object(k, '$.a') AS g FROM plain", Append, |_, plain| {
        plain.select([
            from_json("k", lit("a INT")).alias("j"), to_json("st").alias("t"),
            get_json_object("k", lit("$.a")).alias("g"),
        ])
    }),
    ("SELECT k, n + 1 AS n FROM (SELECT k, length(k) AS n FROM plain WHERE v > 1) WHERE n < 5", Append, |_, plain| {
        plain.filter_expr("v > 1")?.select_expr(["k", "length(k) AS n"])?.filter_expr("n < 5")?.select_expr(["k", "n + 1 AS n"])
    }),
    ("SELECT k, c, count(*) AS count FROM (SELECT k, count(*) AS c FROM plain GROUP BY k) GROUP BY k, c", Changes, |_, plain| {
        plain.group_by(["k"]).agg([count_all().alias("c")])?.group_by(["k", "c"]).count()
    }),
];
