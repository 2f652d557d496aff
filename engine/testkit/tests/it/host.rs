//! A host for tests of the runner itself: tables of text and numbers, queries that pass rows on.
//!
//! The SQL of a query is one word and a table: `pass t` gives the rows, `count t` their number so far,
//! `fail t` fails in its first epoch, `doubled t` gives each row once for every worker it runs with.

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use millstream_testkit::script::{KillPoint, RunCase, ScriptHost, Taken};
use millstream_types::{Code, Fault, OutputMode};
use std::{collections::BTreeMap, sync::Arc};

/// What a host was asked to do, in order.
#[derive(Default)]
pub(crate) struct Toy {
    tables: BTreeMap<String, Vec<RecordBatch>>,
    queries: Vec<Query>,
    pub(crate) calls: Vec<String>,
}

struct Query {
    name: String,
    word: String,
    table: String,
    mode: OutputMode,
    workers: usize,
    count: i64,
    out: Vec<(RecordBatch, Option<Int64Array>)>,
}

pub(crate) fn hosts(_: &RunCase) -> Result<Box<dyn ScriptHost>, Fault> {
    Ok(Box::new(Toy::default()))
}

pub(crate) fn fault(code: &'static str, message: &str) -> Fault {
    Fault {
        code: Code(code),
        sub_condition: None,
        message: message.to_owned(),
        hint: None,
        position: None,
    }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("n", DataType::Float64, true),
    ]))
}

fn numbers(values: Vec<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("c", Arc::new(Int64Array::from(values)) as _)])
        .expect("invariant: one column has one length")
}

impl Toy {
    fn query(&mut self, name: &str) -> Result<&mut Query, Fault> {
        let found = self.queries.iter_mut().find(|query| query.name == name);
        found.ok_or_else(|| fault("QRY-003", "no query has this name"))
    }
}

impl ScriptHost for Toy {
    fn statement(&mut self, sql: &str) -> Result<(), Fault> {
        match sql.trim().strip_prefix("table ") {
            Some(name) => {
                self.tables.insert(name.to_owned(), Vec::new());
                Ok(())
            }
            None => Err(fault("SQL-001", "the toy knows tables only")),
        }
    }

    fn table_schema(&mut self, table: &str) -> Result<SchemaRef, Fault> {
        match self.tables.contains_key(table) {
            true => Ok(columns()),
            false => Err(fault("SQL-002", "no table has this name")),
        }
    }

    fn start(
        &mut self,
        query: &str,
        mode: OutputMode,
        sql: &str,
        workers: usize,
    ) -> Result<(), Fault> {
        self.calls
            .push(format!("start {query} {mode} workers={workers}"));
        let unknown = || fault("SQL-007", "the toy knows pass, count, fail and doubled");
        let (word, table) = sql.trim().split_once(' ').ok_or_else(unknown)?;
        if word == "pass" && mode == OutputMode::Complete {
            return Err(fault("SQL-020", "pass is no aggregation"));
        }
        let (name, word, table) = (query.to_owned(), word.to_owned(), table.to_owned());
        self.queries.push(Query {
            name,
            word,
            table,
            mode,
            workers,
            count: 0,
            out: Vec::new(),
        });
        Ok(())
    }

    fn add(&mut self, table: &str, rows: RecordBatch) -> Result<(), Fault> {
        self.table_schema(table)?;
        self.tables.entry(table.to_owned()).or_default().push(rows);
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fault> {
        self.calls.push("run".to_owned());
        if let Some(index) = self.queries.iter().position(|query| query.word == "fail") {
            self.queries.remove(index);
            return Err(fault("EXE-001", "division by zero"));
        }
        for query in &mut self.queries {
            let rows = self.tables.get(&query.table).cloned().unwrap_or_default();
            for batch in rows {
                if query.word == "count" {
                    let old = query.count;
                    query.count += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
                    if query.mode == OutputMode::Changes && old > 0 {
                        let signs = Int64Array::from(vec![-1, 1]);
                        query
                            .out
                            .push((numbers(vec![old, query.count]), Some(signs)));
                    } else {
                        query.out.push((numbers(vec![query.count]), None));
                    }
                } else {
                    let copies = if query.word == "doubled" {
                        query.workers
                    } else {
                        1
                    };
                    query.out.extend((0..copies).map(|_| (batch.clone(), None)));
                }
            }
        }
        self.tables.values_mut().for_each(Vec::clear);
        Ok(())
    }

    fn take(&mut self, query: &str) -> Result<Taken, Fault> {
        let query = self.query(query)?;
        let schema = if query.word == "count" {
            numbers(Vec::new()).schema()
        } else {
            columns()
        };
        let state = u64::from(query.word == "count");
        Ok(Taken {
            schema,
            rows: std::mem::take(&mut query.out),
            late: 0,
            state,
        })
    }

    fn restart(
        &mut self,
        query: &str,
        workers: usize,
        after: Option<KillPoint>,
    ) -> Result<(), Fault> {
        let after = after
            .map(|point| format!(" after={point}"))
            .unwrap_or_default();
        self.calls
            .push(format!("restart {query} workers={workers}{after}"));
        self.query(query)?.workers = workers;
        Ok(())
    }

    fn advance(&mut self, micros: i64) -> Result<(), Fault> {
        self.calls.push(format!("advance {micros}"));
        Ok(())
    }
}
