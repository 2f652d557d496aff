//! What stateless queries compute: the chain of a plan over a few rows, as Spark prints them.

use std::{fmt::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    compute::{cast, filter_record_batch},
    datatypes::SchemaRef,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::physical_expr::PhysicalExpr;
use expect_test::{Expect, expect};
use millstream_operators::chain::Step;
use millstream_runtime::plan::Node;
use millstream_sql::QueryText;
use millstream_types::OutputMode;

use crate::fixture::{Fixture, show};

type Failure = Box<dyn std::error::Error>;

/// Cells between bars, `null` for null, as text columns cast to the schema's types.
fn rows(schema: &SchemaRef, text: &str) -> Result<RecordBatch, Failure> {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(idx, field)| {
            let cells: StringArray = lines
                .iter()
                .map(|line| line.get(idx).copied().filter(|cell| *cell != "null"))
                .collect();
            Ok(cast(&cells, field.data_type())?)
        })
        .collect::<Result<Vec<ArrayRef>, Failure>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn column(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, Failure> {
    Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)
}

fn step(batch: RecordBatch, step: &Step) -> Result<RecordBatch, Failure> {
    match step {
        Step::Mark { .. } => Ok(batch),
        Step::Unnest(_) => Err("unnesting is shown by scripts".into()),
        Step::Filter(predicate) => {
            let keep = column(predicate, &batch)?;
            Ok(filter_record_batch(
                &batch,
                arrow::array::AsArray::as_boolean(&keep),
            )?)
        }
        Step::Project {
            expressions,
            schema,
        } => {
            let columns: Result<Vec<ArrayRef>, Failure> = expressions
                .iter()
                .map(|expr| column(expr, &batch))
                .collect();
            Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
        }
    }
}

fn print(batch: &RecordBatch) -> Result<String, Failure> {
    let options = FormatOptions::default()
        .with_null("null")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = formatters
            .iter()
            .map(|formatter| formatter.value(row).to_string())
            .collect();
        writeln!(text, "{}", cells.join(" | "))?;
    }
    Ok(text)
}

fn try_evaluate(fixture: &Fixture, sql: &str, input: &str) -> Result<String, Failure> {
    let query = QueryText::new(sql)?;
    let plan = fixture.planner.plan_sql(
        &fixture.catalog,
        &query,
        OutputMode::Append,
        &fixture.settings,
    )?;
    let source = plan.sources.first().ok_or("no source")?;
    let full = fixture_schema(fixture, &source.table)?;
    let mut batch = rows(&full, input)?.project(&source.projection)?;
    for node in &plan.nodes {
        if let Node::Chain { spec, .. } = node {
            for one in &spec.steps {
                batch = step(batch, one)?;
            }
        }
    }
    print(&batch)
}

fn fixture_schema(fixture: &Fixture, table: &str) -> Result<SchemaRef, Failure> {
    let millstream_sql::catalog::Entry::Table(table) = fixture.catalog.get(table)? else {
        return Err(format!("{table} is no table").into());
    };
    Ok(table.describe())
}

/// The rows that a query without state makes of `input`, or why not.
pub(crate) fn evaluate(ddl: &str, sql: &str, input: &str) -> String {
    let mut fixture = Fixture::new();
    let error = fixture.run(ddl);
    if !error.is_empty() {
        return error;
    }
    match try_evaluate(&fixture, sql, input) {
        Ok(text) => text,
        Err(error) => match error.downcast::<millstream_sql::SqlError>() {
            Ok(error) => show(&error),
            Err(error) => format!("failed: {error}\n"),
        },
    }
}

fn check(columns: &str, sql: &str, input: &str, expected: &Expect) {
    let ddl = format!("CREATE TABLE v ({columns}) WITH (connector = 'memory')");
    expected.assert_eq(&evaluate(&ddl, sql, input));
}

#[test]
fn division() {
    check(
        "a INT, b INT, x DECIMAL(5,2), y DECIMAL(10,4)",
        "SELECT a / b AS q, x / y AS z, a / 4.0 AS f, x / 3 AS t FROM v",
        "7 | 2 | 10.25 | 3.3333\n-7 | 2 | -0.05 | 0.0001\n1 | 3 | 999.99 | 123456.7891\nnull | 3 | null | 1.0000",
        &expect![[r#"
            3.5 | 3.0750307503075 | 1.750000 | 3.416667
            -3.5 | -500.0000000000000 | -1.750000 | -0.016667
            0.3333333333333333 | 0.0080999190671 | 0.250000 | 333.330000
            null | null | null | null
        "#]],
    );
    check(
        "a INT, b INT",
        "SELECT a / b AS q FROM v",
        "1 | 0",
        &expect![[r#"
        failed: Arrow error: Divide by zero error
    "#]],
    );
    check(
        "a INT, b INT",
        "SELECT a * b AS q FROM v",
        "2000000000 | 2",
        &expect![[r#"
        failed: Arrow error: Arithmetic overflow: Overflow happened on: 2000000000 * 2
    "#]],
    );
}

#[test]
fn windows_before_1970_and_window_time() {
    check(
        "at TIMESTAMP",
        "SELECT window(at, '10 seconds').start AS s, window_time(window(at, '10 seconds')) AS t,
                window(at, '10 seconds', '10 seconds', '3 seconds').end AS e FROM v",
        "1970-01-01 00:00:07\n1969-12-31 23:59:55\nnull",
        &expect![[r#"
            1970-01-01 00:00:00 | 1970-01-01 00:00:09.999999 | 1970-01-01 00:00:13
            1969-12-31 23:59:50 | 1969-12-31 23:59:59.999999 | 1970-01-01 00:00:03
            null | null | null
        "#]],
    );
}

#[test]
fn strings_in_double_quotes_and_backslashes() {
    check(
        "s STRING",
        r#"SELECT concat("<", s, '\t>') AS a, s <=> NULL AS n, `s` AS b FROM v WHERE s != "y""#,
        "x\ny",
        &expect![[r#"
            <x	> | false | x
        "#]],
    );
}
