//! Every aggregate function of the catalogue gives the same bytes in every run.
//!
//! Which worker takes which chunk, who merges first and where a query is started again are drawn from
//! seeds; numbers are of many sizes, with NaN, infinities, both zeros and nulls among them. A name of
//! the catalogue without a call here fails the test. `MILLSTREAM_RUNS` says how many runs are compared,
//! `MILLSTREAM_CALLS` which calls, with a semicolon between them, to look at one alone.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array,
        Int64Array, RecordBatch, StringArray,
    },
    compute::cast,
};
use millstream::{Channels, FunctionKind, OutputMode};
use millstream_testkit::{
    baton::Random,
    host::{Batons, SessionHost},
    script::{ScriptHost, Value, rows_of_batch},
};

/// Epochs of a run.
const STEPS: usize = 3;
/// Blocks of an epoch, each a chunk that some worker takes.
const BLOCKS: usize = 9;
/// Rows of a block.
const ROWS: usize = 20;
/// Groups of rows with numbers of one kind.
const GROUPS: usize = 6;

const TABLE: &str = "CREATE TABLE t (g INT, x DOUBLE, y DOUBLE, f FLOAT, n INT, l BIGINT, \
                     d DECIMAL(38, 4), s STRING, b BOOLEAN) WITH (connector = 'memory')";

/// Names of the catalogue with calls of them. `x` and `y` are of any size, the others ordinary.
const CALLS: &[(&str, &[&str])] = &[
    ("any", &["any(b)"]),
    ("any_value", &["any_value(x)", "any_value(s, true)"]),
    (
        "approx_count_distinct",
        &["approx_count_distinct(l)", "approx_count_distinct(s)"],
    ),
    ("approx_distinct", &["approx_distinct(l)"]),
    ("approx_median", &["approx_median(f)"]),
    (
        "approx_percentile",
        &["approx_percentile(l, 0.5, 2)", "approx_percentile(d, 0.1)"],
    ),
    (
        "approx_percentile_cont",
        &["approx_percentile_cont(f, 0.3)"],
    ),
    (
        "approx_percentile_cont_with_weight",
        &["approx_percentile_cont_with_weight(f, abs(n) + 1, 0.3)"],
    ),
    ("array_agg", &["array_agg(x)"]),
    (
        "avg",
        &[
            "avg(x)",
            "avg(f)",
            "avg(n)",
            "avg(CAST(l AS DECIMAL(20, 0)))",
        ],
    ),
    ("bit_and", &["bit_and(l)"]),
    ("bit_or", &["bit_or(l)"]),
    ("bit_xor", &["bit_xor(l)"]),
    ("bitmap_and_agg", &["bitmap_and_agg(CAST(s AS BINARY))"]),
    (
        "bitmap_construct_agg",
        &["bitmap_construct_agg(bitmap_bit_position(l))"],
    ),
    ("bitmap_or_agg", &["bitmap_or_agg(CAST(s AS BINARY))"]),
    ("bool_and", &["bool_and(b)"]),
    ("bool_or", &["bool_or(b)"]),
    ("collect_list", &["collect_list(y)", "collect_list(s)"]),
    ("collect_set", &["collect_set(y)", "collect_set(s)"]),
    ("collect_union", &["collect_union(array(n, 7))"]),
    ("corr", &["corr(x, y)", "corr(f, n)"]),
    ("count", &["count(*)", "count(x)", "count(x, y)"]),
    ("count_if", &["count_if(b)"]),
    ("covar", &["covar(f, x)"]),
    ("covar_pop", &["covar_pop(x, y)"]),
    ("covar_samp", &["covar_samp(f, n)"]),
    ("every", &["every(b)"]),
    ("first", &["first(x)", "first(s, true)"]),
    ("first_value", &["first_value(y)"]),
    ("grouping", &[]),
    ("grouping_id", &[]),
    ("histogram_numeric", &["histogram_numeric(f, 3)"]),
    ("kurtosis", &["kurtosis(x)", "kurtosis(f)"]),
    ("last", &["last(x)", "last(s, true)"]),
    ("last_value", &["last_value(y)"]),
    (
        "listagg",
        &[
            "listagg(s, ',')",
            "listagg(DISTINCT s, ',')",
            "listagg(s, ',') WITHIN GROUP (ORDER BY n)",
        ],
    ),
    ("max", &["max(x)", "max(s)", "max(d)"]),
    (
        "max_by",
        &["max_by(x, n)", "max_by(s, x)", "max_by(s, n, 2)"],
    ),
    ("mean", &["mean(y)"]),
    ("median", &["median(x)"]),
    ("min", &["min(x)", "min(s)", "min(b)"]),
    ("min_by", &["min_by(x, n)", "min_by(s, y)"]),
    ("mode", &["mode(n)", "mode(s)", "mode(x)"]),
    ("nth_value", &["nth_value(x, CAST(3 AS BIGINT))"]),
    (
        "percentile",
        &["percentile(x, 0.3)", "percentile(f, array(0.1, 0.9))"],
    ),
    (
        "percentile_approx",
        &[
            "percentile_approx(x, 0.5, 3)",
            "percentile_approx(f, array(0.1, 0.9), 2)",
        ],
    ),
    (
        "percentile_cont",
        &["percentile_cont(0.3) WITHIN GROUP (ORDER BY f)"],
    ),
    (
        "percentile_disc",
        &["percentile_disc(0.3) WITHIN GROUP (ORDER BY f)"],
    ),
    ("quantile_cont", &["quantile_cont(f, 0.3)"]),
    ("regr_avgx", &["regr_avgx(x, y)"]),
    ("regr_avgy", &["regr_avgy(x, y)"]),
    ("regr_count", &["regr_count(x, y)"]),
    ("regr_intercept", &["regr_intercept(f, n)"]),
    ("regr_r2", &["regr_r2(f, n)"]),
    ("regr_slope", &["regr_slope(x, y)", "regr_slope(f, n)"]),
    ("regr_sxx", &["regr_sxx(x, y)"]),
    ("regr_sxy", &["regr_sxy(f, n)"]),
    ("regr_syy", &["regr_syy(x, y)"]),
    ("skewness", &["skewness(x)", "skewness(f)"]),
    ("some", &["some(b)"]),
    ("std", &["std(x)"]),
    ("stddev", &["stddev(x)"]),
    ("stddev_pop", &["stddev_pop(f)"]),
    ("stddev_samp", &["stddev_samp(n)"]),
    ("string_agg", &["string_agg(s, '-')"]),
    (
        "sum",
        &[
            "sum(x)",
            "sum(y)",
            "sum(f)",
            "sum(n)",
            "sum(CAST(n AS DECIMAL(10, 4)))",
            "sum(x) FILTER (WHERE b)",
        ],
    ),
    ("try_avg", &["try_avg(x)"]),
    ("try_sum", &["try_sum(l)", "try_sum(x)", "try_sum(d)"]),
    ("var", &["var(x)"]),
    ("var_pop", &["var_pop(f)"]),
    ("var_population", &["var_population(n)"]),
    ("var_samp", &["var_samp(f)"]),
    ("var_sample", &["var_sample(f)"]),
    ("variance", &["variance(f)"]),
];

/// What only mode `changes` has.
const DISTINCT: &[&str] = &[
    "sum(DISTINCT x)",
    "avg(DISTINCT f)",
    "count(DISTINCT x)",
    "count(DISTINCT s, n)",
    "var_pop(DISTINCT f)",
    "max(DISTINCT x)",
];

fn number(random: &mut Random, kind: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "any double will do")]
    let share = (random.draw() >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
    let power = i32::try_from(random.below(560)).expect("small") - 280;
    let specials = [
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        1.5,
        -0.0,
    ];
    match kind {
        0 => Some(share * 1000.0),
        1 => Some(share * 10f64.powi(power)),
        2 => Some(specials[random.below(specials.len())]),
        3 => Some([0.0, -0.0, 1.0, -1.0][random.below(4)]),
        4 => None,
        _ => Some(share + [1e16, -1e16, 0.0][random.below(3)]),
    }
}

/// A block of rows.
fn block(random: &mut Random) -> Vec<ArrayRef> {
    let groups: Vec<usize> = (0..ROWS).map(|_| random.below(GROUPS)).collect();
    let chance = |random: &mut Random| random.below(10) > 0;
    let doubles = |random: &mut Random| -> ArrayRef {
        let values = groups.iter().map(|group| number(random, *group));
        Arc::new(values.collect::<Float64Array>())
    };
    let (x, y) = (doubles(random), doubles(random));
    let small = |random: &mut Random| i64::try_from(random.below(40)).expect("small") - 20;
    let mut whole = |of: fn(i64, &mut Random) -> i64| -> Vec<Option<i64>> {
        let value = |_| {
            let value = of(small(random), random);
            chance(random).then_some(value)
        };
        groups.iter().map(value).collect()
    };
    let ints = whole(|small, _| small);
    // Their sums pass the ends of their types and come back.
    let longs =
        whole(|small, random| (i64::MAX - 100 - small) * if random.below(2) == 0 { 1 } else { -1 });
    let singles = whole(|small, random| small * 1000 + i64::from(random.below(1000) < 500));
    let texts = whole(|small, _| small / 3);
    let most = 10i128.pow(38) - 1;
    let decimals = longs
        .iter()
        .zip(&ints)
        .map(|(long, int)| match (long, int) {
            (Some(long), Some(_)) => Some(if *long > 0 { most } else { -most }),
            (_, int) => int.map(i128::from),
        });
    #[expect(clippy::cast_precision_loss, reason = "any float will do")]
    let floats = singles
        .iter()
        .map(|value| value.map(|value| value as f32 / 7.0));
    let texts = texts
        .iter()
        .map(|value| value.map(|value| format!("s{value}")));
    let bools = ints.iter().map(|value| value.map(|value| value % 2 == 0));
    let int = |value: &i64| i32::try_from(*value).expect("small");
    vec![
        Arc::new(
            groups
                .iter()
                .map(|group| i32::try_from(*group).ok())
                .collect::<Int32Array>(),
        ),
        x,
        y,
        Arc::new(floats.collect::<Float32Array>()),
        Arc::new(
            ints.iter()
                .map(|value| value.as_ref().map(int))
                .collect::<Int32Array>(),
        ),
        Arc::new(longs.iter().copied().collect::<Int64Array>()),
        Arc::new(
            decimals
                .collect::<Decimal128Array>()
                .with_precision_and_scale(38, 4)
                .expect("38 digits"),
        ),
        Arc::new(texts.collect::<StringArray>()),
        Arc::new(bools.collect::<BooleanArray>()),
    ]
}

/// A value with the bits of its doubles.
fn text(value: &Value) -> String {
    let all = |values: &mut dyn Iterator<Item = &Value>| -> String {
        values.map(|value| text(value) + " ").collect()
    };
    if let Value::Float(number) = value {
        return format!("{:x}", number.to_bits());
    }
    if let Value::Single(number) = value {
        return format!("{:x}", number.to_bits());
    }
    if let Value::List(values) = value {
        return format!("[{}]", all(&mut values.iter()));
    }
    if let Value::Struct(fields) = value {
        return format!("{{{}}}", all(&mut fields.iter().map(|(_, value)| value)));
    }
    format!("{value:?}")
}

/// A query that is run again and again.
struct Question<'a> {
    mode: OutputMode,
    sql: &'a str,
    columns: &'a [String],
}

/// What reached the sink in each step, in order: rows with their counts.
type Answer = Vec<Vec<(Vec<String>, i64)>>;

fn answer(question: &Question<'_>, seed: u64) -> Answer {
    let mut chances = Random::new(seed);
    let mut workers = 1 + usize::try_from(seed % 3).expect("small");
    let channels = [Channels::Typed, Channels::Bytes][chances.below(2)];
    let batons = Batons::new(chances.draw());
    let mut host = SessionHost::with_batons(channels, batons).expect("it starts");
    host.statement(TABLE).expect("a table");
    host.start("q", question.mode, question.sql, workers)
        .unwrap_or_else(|fault| unreachable!("{fault:?}: {}", question.sql));
    let schema = host.table_schema("t").expect("a table");
    let mut data = Random::new(11);
    let mut steps = Vec::new();
    for step in 0..STEPS {
        for _block in 0..BLOCKS {
            let columns = block(&mut data).into_iter().zip(schema.fields());
            let columns = columns
                .map(|(column, field)| cast(&column, field.data_type()).expect("a column"))
                .collect();
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a block");
            host.add("t", batch).expect("it takes rows");
        }
        host.run()
            .unwrap_or_else(|fault| unreachable!("step {step}: {fault:?}"));
        let mut rows = Vec::new();
        for (batch, weights) in &host.take("q").expect("it is there").rows {
            for (place, row) in rows_of_batch(batch).iter().enumerate() {
                let weight = weights.as_ref().map_or(1, |weights| weights.value(place));
                rows.push((row.iter().map(text).collect(), weight));
            }
        }
        rows.sort();
        steps.push(rows);
        if seed > 0 && chances.below(2) == 0 {
            workers = 1 + chances.below(3);
            host.restart("q", workers, None).expect("it comes back");
        }
    }
    steps
}

/// In mode `changes`: what is there after each step was given, and what was taken back had been there.
fn check_changes(question: &Question<'_>, answer: &Answer) {
    let mut held: BTreeMap<&[String], i64> = BTreeMap::new();
    for (step, rows) in answer.iter().enumerate() {
        for (row, weight) in rows {
            *held.entry(row).or_default() += weight;
        }
        for (row, count) in &held {
            assert!(
                (0..=1).contains(count),
                "step {step}: a row is there {count} times: {}",
                shown(question, row)
            );
        }
    }
}

fn shown(question: &Question<'_>, row: &[String]) -> String {
    let cells = question.columns.iter().zip(row);
    cells
        .map(|(name, cell)| format!("\n  {name} = {cell}"))
        .collect()
}

/// The cells in which two answers differ.
fn difference(question: &Question<'_>, one: &Answer, other: &Answer) -> String {
    let mut found = String::new();
    for (step, (one, other)) in one.iter().zip(other).enumerate() {
        if one.len() != other.len() {
            found += &format!("\n  step {step}: {} rows, {} rows", one.len(), other.len());
        }
        let rows = one.iter().filter(|row| !other.contains(row));
        let others = other.iter().filter(|row| !one.contains(row));
        for ((a, _), (b, _)) in rows.zip(others) {
            let cells = question.columns.iter().zip(a.iter().zip(b));
            for (name, (a, b)) in cells.filter(|(_, (a, b))| a != b) {
                found += &format!(
                    "\n  step {step}: {name} of group {:?}: {a} {b}",
                    one[0].0[0]
                );
            }
        }
    }
    found
}

fn same_in_every_run(mode: OutputMode, from: &str, calls: &[&str]) {
    let only = std::env::var("MILLSTREAM_CALLS").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|calls| calls.split(';').collect());
    let calls = only.as_deref().unwrap_or(calls);
    let given = std::env::var("MILLSTREAM_RUNS").ok();
    let runs = given.and_then(|text| text.parse().ok()).unwrap_or(20u64);
    let columns: Vec<String> = std::iter::once("g")
        .chain(calls.iter().copied())
        .map(ToOwned::to_owned)
        .collect();
    let named = calls
        .iter()
        .enumerate()
        .map(|(at, call)| format!(", {call} AS c{at}"));
    let sql = format!(
        "SELECT g{} FROM {from} GROUP BY g",
        named.collect::<String>()
    );
    let question = Question {
        mode,
        sql: &sql,
        columns: &columns,
    };
    let first = answer(&question, 0);
    if mode == OutputMode::Changes {
        check_changes(&question, &first);
    }
    let rows: usize = first.iter().map(Vec::len).sum();
    assert!(rows > STEPS, "there are rows");
    for seed in 1..=runs {
        let other = answer(&question, seed);
        assert!(
            other == first,
            "run {seed} in mode {mode} differs:{}",
            difference(&question, &first, &other)
        );
    }
}

fn all_calls() -> Vec<&'static str> {
    CALLS
        .iter()
        .flat_map(|(_, calls)| calls.iter().copied())
        .collect()
}

#[test]
fn every_name_of_the_catalogue_has_a_call() {
    let names = millstream::list_functions()
        .into_iter()
        .filter(|function| function.kind == FunctionKind::Aggregate)
        .map(|function| function.name);
    let missing: Vec<String> = names
        .filter(|name| !CALLS.iter().any(|(known, _)| known == name))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// proves P3, INV-02
#[test]
fn every_function_gives_the_same_bytes_in_mode_update() {
    same_in_every_run(OutputMode::Update, "t", &all_calls());
}

/// proves P3, INV-02
#[test]
fn every_function_gives_the_same_bytes_in_mode_changes() {
    let mut calls = all_calls();
    calls.extend(DISTINCT);
    same_in_every_run(OutputMode::Changes, "t", &calls);
}

/// Rows that are taken back leave what would be there without them.
#[test]
fn every_function_gives_the_same_bytes_over_rows_that_change() {
    let inner = "(SELECT g % 3 AS g, sum(x) AS x, max(y) AS y, max(f) AS f, max(n) AS n, max(l) AS l, \
                 max(d) AS d, max(s) AS s, bool_or(b) AS b FROM t GROUP BY g, n)";
    let mut calls = all_calls();
    calls.extend(DISTINCT);
    same_in_every_run(OutputMode::Changes, inner, &calls);
}

#[test]
fn grouping_sets_give_the_same_bytes() {
    let sets = "(SELECT grouping(g) * 10 + coalesce(g, 0) AS g, grouping_id(g) AS i, sum(x) AS x, \
                kurtosis(f) AS f FROM t GROUP BY ROLLUP (g))";
    same_in_every_run(OutputMode::Changes, sets, &["sum(i)", "sum(x)", "max(f)"]);
}
