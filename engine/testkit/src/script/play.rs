//! One script in one case.

use super::{
    arrays::batch_of_rows,
    compare::{Signs, differences, rows_of_taken},
    error::ScriptError,
    host::{KillPoint, Restarts, RunCase, ScriptHost},
    parse::{Counters, Order, Row, Script, Sign, Step},
    report::{Failure, Problem},
};
use millstream_types::{Coded, Fault, OutputMode};

/// What came out of playing a script once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// What each `expect` paragraph saw, in order.
    pub observations: Vec<Observation>,
    /// What was wrong, in order; empty for a pass.
    pub failures: Vec<Failure>,
}

/// What one `expect` paragraph saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The line of the paragraph.
    pub line: u64,
    /// The rows as lines of a script, in the order of their arrival.
    pub rows: Vec<(Option<Sign>, String)>,
    /// Whether these are the rows that the script expects.
    pub as_expected: bool,
    /// Whether the script gives the rows in order.
    pub order: Order,
    /// Both counters.
    pub late: u64,
    /// Rows held.
    pub state: u64,
}

/// Plays a script on a fresh host. Another answer is noted and the play goes on; a fault that the script
/// does not expect ends it, because everything after would only be its echo.
#[must_use]
pub fn run_script(script: &Script, case: RunCase, host: &mut dyn ScriptHost) -> Played {
    let mut play = Play {
        host,
        case,
        queries: Vec::new(),
        pending: Vec::new(),
        played: Played::default(),
    };
    for paragraph in &script.paragraphs {
        if let Err(problem) = play.step(paragraph.line, &paragraph.step) {
            play.fail(paragraph.line, problem);
            return play.played;
        }
    }
    // A query that must fail and has seen no epoch yet.
    if let Some(line) = play.pending.last().map(|pending| pending.line)
        && let Err(problem) = play.run()
    {
        play.fail(line, problem);
    }
    play.played
}

struct Play<'a> {
    host: &'a mut dyn ScriptHost,
    case: RunCase,
    queries: Vec<Live>,
    pending: Vec<Pending>,
    played: Played,
}

/// A query that runs.
struct Live {
    name: String,
    mode: OutputMode,
    workers: usize,
}

/// A query that started although it must fail: its first epoch decides.
struct Pending {
    line: u64,
    name: String,
    wanted: String,
}

impl Play<'_> {
    fn fail(&mut self, line: u64, problem: Problem) {
        self.played.failures.push(Failure { line, problem });
    }

    fn step(&mut self, line: u64, step: &Step) -> Result<(), Problem> {
        match step {
            Step::Statement { sql, error } => {
                let result = self.host.statement(sql);
                self.verdict(line, result, error.as_deref())
            }
            Step::Query {
                name,
                mode,
                sql,
                error,
            } => self.start(line, name, *mode, sql, error.as_deref()),
            Step::Input { table, rows } => self.input(table, rows),
            Step::Run => {
                self.run()?;
                self.restart_all()
            }
            Step::Expect {
                query,
                order,
                counters,
                rows,
            } => {
                self.run()?;
                self.expect(line, query, *order, *counters, rows.as_deref())?;
                self.restart_all()
            }
            Step::Restart {
                query,
                workers,
                after,
            } => self.restart(query, *workers, *after),
            Step::Advance { interval } => {
                self.host.advance(interval.micros()).map_err(Problem::Fault)
            }
        }
    }

    /// Holds a result against the error that was asked for, if one was.
    fn verdict(
        &mut self,
        line: u64,
        result: Result<(), Fault>,
        wanted: Option<&str>,
    ) -> Result<(), Problem> {
        match (result, wanted) {
            (Ok(()), None) => Ok(()),
            (Err(fault), None) => Err(Problem::Fault(fault)),
            (Ok(()), Some(wanted)) => {
                self.fail(
                    line,
                    Problem::NoError {
                        wanted: wanted.to_owned(),
                    },
                );
                Ok(())
            }
            (Err(fault), Some(wanted)) => {
                if !fault.is(wanted) {
                    self.fail(
                        line,
                        Problem::OtherError {
                            wanted: wanted.to_owned(),
                            fault,
                        },
                    );
                }
                Ok(())
            }
        }
    }

    fn start(
        &mut self,
        line: u64,
        name: &str,
        mode: OutputMode,
        sql: &str,
        error: Option<&str>,
    ) -> Result<(), Problem> {
        let workers = self.case.workers;
        let result = self.host.start(name, mode, sql, workers);
        match (&result, error) {
            (Ok(()), Some(wanted)) => {
                let (name, wanted) = (name.to_owned(), wanted.to_owned());
                self.pending.push(Pending { line, name, wanted });
                Ok(())
            }
            (Ok(()), None) => {
                self.queries.retain(|live| live.name != name);
                self.queries.push(Live {
                    name: name.to_owned(),
                    mode,
                    workers,
                });
                Ok(())
            }
            (Err(_), _) => self.verdict(line, result, error),
        }
    }

    fn input(&mut self, table: &str, rows: &[Row]) -> Result<(), Problem> {
        let schema = self.host.table_schema(table).map_err(Problem::Fault)?;
        let malformed = |error: ScriptError| Problem::Fault(error.fault());
        let batch = batch_of_rows(rows, &schema).map_err(malformed)?;
        self.host.add(table, batch).map_err(Problem::Fault)
    }

    fn run(&mut self) -> Result<(), Problem> {
        // Each fault must be one that a query is waiting for, so this ends.
        while let Err(fault) = self.host.run() {
            let awaited = self
                .pending
                .iter()
                .position(|pending| fault.is(&pending.wanted));
            match awaited {
                Some(index) => drop(self.pending.remove(index)),
                None => return Err(Problem::Fault(fault)),
            }
        }
        for Pending { line, name, wanted } in std::mem::take(&mut self.pending) {
            self.fail(line, Problem::QueryRuns { name, wanted });
        }
        Ok(())
    }

    fn expect(
        &mut self,
        line: u64,
        query: &str,
        order: Order,
        counters: Counters,
        rows: Option<&[Row]>,
    ) -> Result<(), Problem> {
        let taken = self.host.take(query).map_err(Problem::Fault)?;
        let mode = self
            .queries
            .iter()
            .find(|live| live.name == query)
            .map(|live| live.mode);
        let signs = if mode == Some(OutputMode::Changes) {
            Signs::Shown
        } else {
            Signs::Hidden
        };
        let got = rows_of_taken(&taken, signs);
        let diff = differences(rows.unwrap_or_default(), &got, &taken.schema, order);
        self.played.observations.push(Observation {
            line,
            as_expected: rows.is_some() && diff.is_empty(),
            rows: got.into_iter().map(|got| (got.sign, got.text)).collect(),
            order,
            late: taken.late,
            state: taken.state,
        });
        if rows.is_none() {
            self.fail(line, Problem::Unwritten);
        } else if !diff.is_empty() {
            self.fail(
                line,
                Problem::Rows {
                    query: query.to_owned(),
                    diff,
                },
            );
        }
        let pairs = [
            ("late", counters.late, taken.late),
            ("state", counters.state, taken.state),
        ];
        for (counter, wanted, got) in pairs {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != got) {
                self.fail(
                    line,
                    Problem::Counter {
                        counter,
                        wanted,
                        got,
                    },
                );
            }
        }
        Ok(())
    }

    fn restart(
        &mut self,
        query: &str,
        workers: Option<usize>,
        after: Option<KillPoint>,
    ) -> Result<(), Problem> {
        let live = self.queries.iter_mut().find(|live| live.name == query);
        let workers = match live {
            Some(live) => {
                live.workers = workers.unwrap_or(live.workers);
                live.workers
            }
            None => workers.unwrap_or(self.case.workers),
        };
        self.host
            .restart(query, workers, after)
            .map_err(Problem::Fault)
    }

    fn restart_all(&mut self) -> Result<(), Problem> {
        if self.case.restarts == Restarts::EveryEpoch {
            for live in &self.queries {
                self.host
                    .restart(&live.name, live.workers, None)
                    .map_err(Problem::Fault)?;
            }
        }
        Ok(())
    }
}
