//! `millstream demo`: an auction stream, windows over it, a live table.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream::{
    OutputMode, Progress, Session, SignedRows, StreamingQuery, StreamingQueryListener,
};

use crate::{
    arguments::DemoArguments,
    exit::{Exit, Failure},
    signals::Signals,
    terminal::{complain, is_watched, print, table},
};

/// The query of the demo, as a user would write it.
const QUERY: &str = "SELECT substring(CAST(window.start AS STRING), 12, 8) AS window, auction,
       count(*) AS bids, max(price) AS highest, CAST(avg(price) AS BIGINT) AS average
FROM bids GROUP BY window(date_time, '10 seconds', '5 seconds'), auction";

/// Rows of the live table.
const SHOWN: usize = 10;

/// What the epochs did.
#[derive(Debug, Default)]
struct Totals {
    rows: Mutex<(u64, Vec<u64>)>,
}

impl StreamingQueryListener for Totals {
    fn on_query_progress(&self, progress: &Progress) {
        let mut totals = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        totals.0 += progress.num_input_rows;
        if progress.num_input_rows > 0 {
            totals.1.push(progress.batch_duration);
        }
    }
}

/// Runs the demo for its time, or until a signal.
pub(crate) async fn demo(arguments: DemoArguments, signals: &Signals) -> Result<Exit, Failure> {
    let mut builder = Session::builder().app_name("millstream demo");
    if let Some(workers) = arguments.workers {
        builder = builder.workers(workers);
    }
    let session = builder.build()?;
    let workers = session.settings().workers;
    let totals = Arc::new(Totals::default());
    session.add_listener(totals.clone());
    session.execute(&format!(
        "CREATE TABLE bids (WATERMARK FOR date_time AS date_time - INTERVAL '5' SECOND)
         WITH (connector = 'nexmark', 'table' = 'bid', rowsPerSecond = '{}',
               maxRowsPerTrigger = '1000000')",
        arguments.rate
    ))?;
    complain(&format!(
        "{} auction events a second for {} s on {workers} workers; each window closes 5 s after its end\n\n{QUERY}\n",
        arguments.rate, arguments.seconds
    ));
    let clock = session.settings().clock;
    let started = clock.monotonic();
    let query = session
        .sql(QUERY)?
        .write_stream()
        .format("memory")
        .query_name("demo")
        .output_mode(OutputMode::Append)
        .start_now()?;
    let mut board = Board::default();
    let limit = Duration::from_secs(arguments.seconds);
    let interrupted = watch((&session, &query), limit, &mut board, signals).await?;
    query.stop().await?;
    board.take(&session);
    let took = clock.monotonic().saturating_sub(started);
    print(&board.show());
    print(&summary(&totals, &board, took, workers));
    if interrupted {
        complain("stopped by a signal");
    }
    Ok(Exit::Done)
}

/// Redraws the table until the time is over; says whether a signal came first.
async fn watch(
    (session, query): (&Session, &StreamingQuery),
    limit: Duration,
    board: &mut Board,
    signals: &Signals,
) -> Result<bool, Failure> {
    let over = tokio::time::sleep(limit);
    let interrupt = signals.wait();
    tokio::pin!(over, interrupt);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut over => return Ok(false),
            () = &mut interrupt => return Ok(true),
            _ = ticks.tick() => {
                if let Some(fault) = query.exception() {
                    return Err(fault.into());
                }
                if board.take(session) && is_watched() {
                    complain(&format!("\x1b[2J\x1b[H{}", board.show()));
                }
            }
        }
    }
}

/// The newest window that is closed, as text.
#[derive(Debug, Default)]
struct Board {
    windows: u64,
    rows: u64,
    newest: BTreeMap<String, Vec<Vec<String>>>,
}

impl Board {
    /// Takes what has come; says whether anything has.
    fn take(&mut self, session: &Session) -> bool {
        let fresh = session.memory().take("demo");
        let came = !fresh.is_empty();
        for signed in fresh {
            self.add(&signed);
        }
        while self.newest.len() > 1 {
            self.newest.pop_first();
        }
        came
    }

    fn add(&mut self, signed: &SignedRows) {
        let options = FormatOptions::default();
        let columns: Vec<ArrayFormatter<'_>> = signed
            .rows
            .columns()
            .iter()
            .filter_map(|column| ArrayFormatter::try_new(column.as_ref(), &options).ok())
            .collect();
        for row in 0..signed.rows.num_rows() {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            let window = cells.first().cloned().unwrap_or_default();
            self.rows += 1;
            if !self.newest.contains_key(&window) {
                self.windows += 1;
            }
            self.newest.entry(window).or_default().push(cells);
        }
    }

    fn show(&self) -> String {
        let Some((_, rows)) = self.newest.last_key_value() else {
            return "no window was closed in this time".to_owned();
        };
        let bids = |row: &Vec<String>| row.get(2).and_then(|cell| cell.parse::<u64>().ok());
        let mut rows = rows.clone();
        rows.sort_by_key(|row| std::cmp::Reverse(bids(row)));
        rows.truncate(SHOWN);
        table(&["window", "auction", "bids", "highest", "average"], &rows)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn summary(totals: &Totals, board: &Board, took: Duration, workers: usize) -> String {
    let totals = totals.rows.lock().unwrap_or_else(PoisonError::into_inner);
    let (rows, mut epochs) = (totals.0, totals.1.clone());
    epochs.sort_unstable();
    let at =
        |part: usize| epochs.get((epochs.len() * part / 100).min(epochs.len().saturating_sub(1)));
    format!(
        "\n{rows} bids in {:.1} s: {:.0} rows/s on {workers} workers, in {} epochs (p50 {} ms, p99 {} ms \
         from plan to commit).\n{} windows (10 s, every 5 s) were closed with {} rows, each once.",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64(),
        epochs.len(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
        board.windows,
        board.rows,
    )
}
