//! Which queries can go on from each other's checkpoints: those of one identity.

use expect_test::expect;
use millstream_sql::{QueryText, SqlError};
use millstream_types::OutputMode::{self, Append, Changes, Update};

use crate::fixture::Fixture;

fn identity(mode: OutputMode, sql: &str) -> Result<String, SqlError> {
    let fixture = Fixture::with_tables();
    let query = QueryText::new(sql)?;
    let plan = fixture
        .planner
        .plan_sql(&fixture.catalog, &query, mode, &fixture.settings)?;
    Ok(plan.identity)
}

/// Places of columns, names and the order of steps do not count.
#[test]
fn expressions_are_spelled_down_to_columns_of_tables() -> Result<(), SqlError> {
    expect![[r#"
        source 0 clicks connector=memory
        aggregate 0 time=window(clicks.at:TIMESTAMP, 5000000, 5000000, 0) keys=[CASE WHEN (clicks.who LIKE 'a%') THEN lower(clicks.page) ELSE 'it''s' END:STRING, (clicks.who IS NULL):BOOLEAN] calls=[sum(BIGINT) as sum and rounds, percentile_approx(INT, DOUBLE 0.5:DOUBLE) as leading bits]
    "#]].assert_eq(&identity(
        Append,
        "SELECT CASE WHEN who LIKE 'a%' THEN lower(page) ELSE 'it''s' END AS p, who IS NULL AS nobody,
                window(at, '5 seconds').end AS until, sum(n + 1) AS s, approx_percentile(n, 0.5) AS m
         FROM clicks WHERE n IN (1, 2, 3)
         GROUP BY CASE WHEN who LIKE 'a%' THEN lower(page) ELSE 'it''s' END, who IS NULL,
                  window(at, '5 seconds')",
    )?);
    expect![[r#"
        source 0 plain connector=memory
        aggregate 0 time=none keys=[plain.k:STRING] calls=[count(1:INT) as number, sum(BIGINT) as sum and rounds]
        aggregate 1 time=none keys=[#0.1:BIGINT] calls=[max(changing #0.2:BIGINT) as values] over=[(#0.2 > 3)]
        top 2 columns=[#1.0:BIGINT, #1.1:BIGINT] order=[1 desc nulls last] skip=0 rows=2
    "#]].assert_eq(&identity(
        Changes,
        "SELECT c, max(s) AS m FROM (SELECT k, count(*) AS c, sum(v) AS s FROM plain GROUP BY k)
         WHERE s > 3 GROUP BY c ORDER BY m DESC LIMIT 2",
    )?);
    Ok(())
}

#[test]
fn arguments_filters_and_projections_may_change() -> Result<(), SqlError> {
    let first = identity(Update, "SELECT who, sum(n) AS s FROM clicks GROUP BY who")?;
    for other in [
        "SELECT who, sum(n + 1) AS s FROM clicks GROUP BY who",
        "SELECT who, sum(CAST(page AS INT)) AS s FROM clicks GROUP BY who",
        "SELECT who, sum(n) FILTER (WHERE n > 3) AS s FROM clicks GROUP BY who",
        "SELECT who, sum(n) AS s FROM clicks WHERE page = 'a' GROUP BY who HAVING sum(n) > 2",
        "SELECT s + 1 AS t, upper(w) AS w FROM (SELECT w, sum(m) AS s FROM
           (SELECT page, who AS w, n AS m FROM clicks WHERE at < TIMESTAMP '2025-01-01') GROUP BY w)",
    ] {
        assert_eq!(identity(Update, other)?, first, "{other}");
    }
    for other in [
        "SELECT page, sum(n) AS s FROM clicks GROUP BY page",
        "SELECT lower(who) AS who, sum(n) AS s FROM clicks GROUP BY lower(who)",
        "SELECT who, max(n) AS s FROM clicks GROUP BY who",
        "SELECT who, sum(CAST(n AS DOUBLE)) AS s FROM clicks GROUP BY who",
        "SELECT who, sum(3) AS s FROM clicks GROUP BY who",
    ] {
        assert_ne!(identity(Update, other)?, first, "{other}");
    }
    Ok(())
}

/// A spelling does not grow without end.
#[test]
fn long_spellings_are_hashed() -> Result<(), SqlError> {
    let doubled = (0..8).fold("who".to_owned(), |inner, _| {
        let from = if inner == "who" {
            "clicks".to_owned()
        } else {
            format!("({inner})")
        };
        format!("SELECT concat(who, who, page) AS who, page FROM {from}")
    });
    let query = format!("SELECT who, count(*) AS c FROM ({doubled}) GROUP BY who");
    let text = identity(Update, &query)?;
    assert!(text.len() < 1500, "{} bytes", text.len());
    let other = query.replacen(
        "page) AS who, page FROM clicks",
        "who) AS who, page FROM clicks",
        1,
    );
    assert_ne!(query, other);
    assert_ne!(identity(Update, &other)?, text);
    Ok(())
}
