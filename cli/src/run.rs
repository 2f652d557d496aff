//! `millstream run`.

use std::{io::Read, path::Path, sync::Arc};

use millstream::{
    Checkpoint, DataFrame, Outcome, OutputMode, Session, StreamingQuery, parse_trigger,
};
use millstream::{ScriptStatement, SqlError, parse_script};

use crate::{
    arguments::RunArguments,
    exit::{Exit, Failure, coded},
    progress::Reporter,
    signals::Signals,
    terminal::{complain, print, table},
};

/// Reads statements from a file, the command line or the standard input.
///
/// # Errors
/// When the file cannot be read or is not UTF-8.
pub(crate) fn statements(
    file: Option<&Path>,
    command: Option<&str>,
) -> Result<Vec<ScriptStatement>, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Failure::Usage(format!("cannot read {}: {error}", path.display()))
    };
    let text = match (command, file) {
        (Some(command), _) => command.to_owned(),
        (None, Some(path)) if path == Path::new("-") => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| unreadable(path, error))?;
            text
        }
        (None, Some(path)) => {
            std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?
        }
        (None, None) => return Err(Failure::Usage("no statements were given".to_owned())),
    };
    parse_script(&text).map_err(|error: SqlError| coded(&error))
}

/// Runs statements and waits for their queries.
pub(crate) async fn run(arguments: Box<RunArguments>, signals: &Signals) -> Result<Exit, Failure> {
    let statements = statements(arguments.file.as_deref(), arguments.command.as_deref())?;
    let session = session(&arguments)?;
    let reporter = Reporter::new(arguments.progress, arguments.progress_file.as_deref())?;
    session.add_listener(Arc::new(reporter));
    let queries = start(&session, &statements, arguments.checkpoint.as_deref())?;
    wait(&queries, signals).await
}

fn session(arguments: &RunArguments) -> Result<Session, Failure> {
    let session = Session::builder().app_name("millstream run").build()?;
    session.settings_mut(|settings| {
        if let Some(workers) = arguments.workers {
            settings.workers = workers;
        }
        if let Some(trigger) = &arguments.trigger {
            settings.trigger = parse_trigger(trigger)?;
        }
        if let Some(mode) = &arguments.output_mode {
            settings.set("outputMode", mode)?;
        }
        for pair in arguments.settings.iter().filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair.as_str(), ""));
            settings.set(key.trim(), value.trim())?;
        }
        Ok::<_, millstream::Error>(())
    })?;
    Ok(session)
}

/// Runs all statements; the queries that they started.
fn start(
    session: &Session,
    statements: &[ScriptStatement],
    checkpoint: Option<&Path>,
) -> Result<Vec<StreamingQuery>, Failure> {
    let queries = statements
        .iter()
        .filter(|one| one.statement.starts_query())
        .count();
    let mut started = Vec::new();
    for statement in statements {
        let is_query = statement.statement.starts_query();
        if let Some(root) = checkpoint.filter(|_| is_query) {
            let settings = session.settings();
            let folder = settings
                .query_name
                .unwrap_or_else(|| format!("query-{}", started.len()));
            let own = if queries == 1 {
                root.to_owned()
            } else {
                root.join(folder)
            };
            session.settings_mut(|settings| {
                settings.checkpoint = Checkpoint::Directory(own);
                Ok::<_, millstream::Error>(())
            })?;
        }
        let outcome = match session.run_statement(statement) {
            Ok(Outcome::Frame(frame)) if frame.is_streaming() => {
                select(&frame).map(Outcome::Started)
            }
            // What does not grow is shown whole, once.
            Ok(Outcome::Frame(frame)) => frame.show_text(usize::MAX, false).map(Outcome::Text),
            other => other,
        };
        match outcome {
            Ok(Outcome::Started(query)) => started.push(query),
            Ok(outcome) => show(&outcome),
            Err(error) => {
                started.iter().for_each(StreamingQuery::request_stop);
                return Err(error.into());
            }
        }
    }
    if let Err(error) = session.check_late_rows() {
        started.iter().for_each(StreamingQuery::request_stop);
        return Err(error.into());
    }
    Ok(started)
}

/// A SELECT of its own prints every change of its result.
fn select(frame: &DataFrame) -> millstream::Result<StreamingQuery> {
    let mode = frame
        .session()
        .settings()
        .output_mode
        .unwrap_or(OutputMode::Changes);
    let query = frame
        .write_stream()
        .format("console")
        .output_mode(mode)
        .start_now();
    // The settings of "the next query" hold for one, as they do for INSERT.
    frame.session().settings_mut(|settings| {
        settings.reset(Some("queryName"))?;
        settings.reset(Some("checkpointLocation"))
    })?;
    query
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other outcomes show nothing"
)]
fn show(outcome: &Outcome) {
    match outcome {
        Outcome::Text(text) => print(text),
        Outcome::Listing(header, rows) => print(&table(header, rows)),
        Outcome::Inserted(rows) => print(&format!("{rows} rows inserted\n")),
        _ => {}
    }
}

/// Waits until all queries have ended; a signal asks them to end.
async fn wait(queries: &[StreamingQuery], signals: &Signals) -> Result<Exit, Failure> {
    // Side by side: one that fails is heard of while others go on.
    let mut running = tokio::task::JoinSet::new();
    for query in queries {
        let query = query.clone();
        running.spawn(async move { query.await_termination().await });
    }
    let ended = async {
        let mut failure = None;
        while let Some(ended) = running.join_next().await {
            let failed = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Failure::from(error),
                Err(error) => Failure::Usage(format!("a query cannot be waited for: {error}")),
            };
            failure.get_or_insert(failed);
            queries.iter().for_each(StreamingQuery::request_stop);
        }
        failure
    };
    tokio::pin!(ended);
    let failure = tokio::select! {
        failure = &mut ended => failure,
        () = signals.wait() => {
            queries.iter().for_each(StreamingQuery::request_stop);
            // On a thread of its own: the standard error may be a pipe that nobody empties.
            let _said = tokio::task::spawn_blocking(|| {
                complain("stopping: open epochs are committed; once more to stop at once");
            });
            ended.await
        }
    };
    failure.map_or(Ok(Exit::Done), Err)
}
