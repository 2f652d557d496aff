//! Progress on its way to people and files.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
};

use millstream::{Fault, Progress, StreamingQueryListener};

use crate::{
    arguments::ProgressStyle,
    exit::Failure,
    terminal::{complain, is_watched, status},
};

/// Shows and writes the progress of all queries of a process.
#[derive(Debug)]
pub(crate) struct Reporter {
    style: ProgressStyle,
    file: Option<Mutex<File>>,
}

impl Reporter {
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn new(style: ProgressStyle, file: Option<&Path>) -> Result<Reporter, Failure> {
        let open = |path: &Path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| {
                    Failure::Usage(format!(
                        "cannot write progress to {}: {error}",
                        path.display()
                    ))
                })
        };
        let file = file.map(open).transpose()?.map(Mutex::new);
        let style = match style {
            ProgressStyle::Auto if !is_watched() => ProgressStyle::None,
            ProgressStyle::Auto
            | ProgressStyle::None
            | ProgressStyle::Line
            | ProgressStyle::Json => style,
        };
        Ok(Reporter { style, file })
    }
}

impl StreamingQueryListener for Reporter {
    fn on_query_notice(&self, _id: &str, notice: &Fault) {
        complain(&format!("note {}: {}", notice.code, notice.message));
    }

    fn on_query_paused(&self, _id: &str, reason: &Fault) {
        complain(&format!(
            "paused: {} ({}); the query goes on by itself when that is mended",
            reason.message, reason.code
        ));
    }

    fn on_query_resumed(&self, _id: &str) {
        complain("goes on: what was in the way is gone");
    }

    fn on_query_progress(&self, progress: &Progress) {
        let json = || serde_json::to_string(progress).unwrap_or_default();
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writeln!(file, "{}", json()) {
                complain(&format!("cannot write progress: {error}"));
            }
        }
        match self.style {
            ProgressStyle::None => {}
            ProgressStyle::Auto => status(&line(progress)),
            ProgressStyle::Line => complain(&line(progress)),
            ProgressStyle::Json => complain(&json()),
        }
    }
}

/// One epoch in one line.
fn line(progress: &Progress) -> String {
    let name = progress.name.as_deref().unwrap_or("query");
    let rate = progress.processed_rows_per_second.unwrap_or(0.0);
    let state: u64 = progress
        .state_operators
        .iter()
        .map(|one| one.num_rows_total)
        .sum();
    let late: u64 = progress
        .state_operators
        .iter()
        .map(|one| one.num_rows_dropped_by_watermark)
        .sum();
    let bad: u64 = progress
        .sources
        .iter()
        .map(|one| one.num_malformed_rows)
        .sum();
    let bad = if bad > 0 {
        format!(" ({bad} malformed)")
    } else {
        String::new()
    };
    // Whoever sees no row come out wants to know what is waited for.
    let mark = match &progress.event_time {
        None => String::new(),
        Some(time) if progress.sink.num_output_rows == 0 => {
            format!("  mark {} ({})", time.watermark, time.held_by)
        }
        Some(time) => format!("  mark {}", time.watermark),
    };
    format!(
        "{name}  epoch {}  in {}{bad}  out {}  {rate:.0} rows/s  state {state}  late {late}{mark}",
        progress.batch_id, progress.num_input_rows, progress.sink.num_output_rows,
    )
}
