//! A case on the real engine, through the host of scripts.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use millstream::Channels;
use millstream_types::{Code, Fault};

use super::{
    batch::array,
    case::{Case, Row, TABLES},
    expr::Dialect,
    sql,
};
use crate::{
    host::SessionHost,
    script::{ScriptHost, rows_of_batch},
};

/// What the engine did in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Rows with how often each was added.
    pub rows: Vec<(i64, Row)>,
    /// (Row, window) pairs dropped as late.
    pub late: u64,
    /// Groups held afterwards; `None` where nothing is said about it.
    pub state: Option<u64>,
    /// Late rows that were kept.
    pub dropped: Vec<Row>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Played {
    /// The planner refuses it.
    Refused(Fault),
    /// It failed in a step.
    Failed(usize, Fault),
    /// It ran.
    Ran(SchemaRef, Vec<Seen>),
}

/// Plays a case; a panic of the engine is a failure.
#[must_use]
pub fn play(case: &Case) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| try_play(case)));
    let played = played.unwrap_or_else(|_| {
        let message = "the engine panicked".to_owned();
        let fault = Fault {
            code: Code("EXE-003"),
            sub_condition: None,
            message,
            hint: None,
            position: None,
        };
        Err((0, fault))
    });
    played.unwrap_or_else(|(step, fault)| Played::Failed(step, fault))
}

fn try_play(case: &Case) -> Result<Played, (usize, Fault)> {
    let at = |step: usize| move |fault: Fault| (step, fault);
    let channels = if case.bytes {
        Channels::Bytes
    } else {
        Channels::Typed
    };
    let mut host = SessionHost::new(channels).map_err(at(0))?;
    prepare(&mut host, case).map_err(at(0))?;
    if let Err(fault) = host.start("q", case.mode, &sql::select(&case.query), case.workers) {
        return Ok(Played::Refused(fault));
    }
    let mut seen = Vec::new();
    let mut schema = None;
    for (idx, step) in case.steps.iter().enumerate() {
        if let Some(restart) = step.restart {
            host.restart("q", restart.workers, restart.after)
                .map_err(at(idx))?;
        }
        for table in case.tables() {
            let rows = step.rows.iter().filter(|(of, _)| *of == table);
            let rows: Vec<&Row> = rows.map(|(_, row)| row).collect();
            if !rows.is_empty() {
                let batch = batch(&mut host, case, table, &rows).map_err(at(idx))?;
                host.add(TABLES[table], batch).map_err(at(idx))?;
            }
        }
        host.run().map_err(at(idx))?;
        let taken = host.take("q").map_err(at(idx))?;
        let mut rows = Vec::new();
        for (batch, weights) in &taken.rows {
            for (place, row) in rows_of_batch(batch).into_iter().enumerate() {
                rows.push((
                    weights.as_ref().map_or(1, |weights| weights.value(place)),
                    row,
                ));
            }
        }
        schema = Some(taken.schema);
        let mut dropped = Vec::new();
        if case.keeps_late {
            let taken = host.take(sql::DROPPED).map_err(at(idx))?;
            dropped.extend(
                taken
                    .rows
                    .iter()
                    .flat_map(|(batch, _)| rows_of_batch(batch)),
            );
        }
        seen.push(Seen {
            rows,
            late: taken.late,
            state: Some(taken.state),
            dropped,
        });
    }
    let schema = schema.unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
    Ok(Played::Ran(schema, seen))
}

/// Everything before the query.
fn prepare(host: &mut SessionHost, case: &Case) -> Result<(), Fault> {
    if !case.no_data_epochs {
        host.statement(NO_DATA_EPOCHS_OFF)?;
    }
    if case.fastest {
        host.statement(FASTEST)?;
    }
    for table in case.tables() {
        host.statement(&sql::create_table(case, table))?;
    }
    for statement in sql::late_rows(case) {
        host.statement(&statement)?;
    }
    Ok(())
}

/// Switches epochs without data off.
pub const NO_DATA_EPOCHS_OFF: &str =
    "SET 'spark.sql.streaming.noDataMicroBatches.enabled' = 'false'";

/// Lets the fastest of several watermarks count.
pub const FASTEST: &str = "SET 'spark.sql.streaming.multipleWatermarkPolicy' = 'max'";

fn batch(
    host: &mut SessionHost,
    case: &Case,
    table: usize,
    rows: &[&Row],
) -> Result<RecordBatch, Fault> {
    let schema = host.table_schema(TABLES[table])?;
    let columns = case.query.table_columns(table).into_iter();
    let arrays = columns
        .map(|column| array(column, rows, Dialect::Spark))
        .collect();
    RecordBatch::try_new(schema, arrays).map_err(|error| Fault {
        code: Code("EXE-003"),
        sub_condition: None,
        message: error.to_string(),
        hint: None,
        position: None,
    })
}
