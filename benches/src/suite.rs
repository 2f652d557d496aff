//! The command `nexmark`: queries by engine, each run in a process of its own, engines in turn.
//!
//! A child process runs one query once and prints one JSON line about itself, so that its peak
//! memory and CPU time are its own. The parent repeats, takes the run with the middle CPU time,
//! and insists that all runs of a query gave the same rows.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

use crate::{
    arguments::Arguments,
    batch,
    bounds::{self, Parser},
    checksum::Outcome,
    data, engine,
    error::{BenchError, Result},
    measure::{float, memory_mb, timed},
    queries,
};

/// Who runs a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Engine {
    Bound,
    /// The same programs over `serde_json`.
    BoundSerde,
    /// Batch SQL over the same files.
    DataFusion,
    Millstream,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Bound => "bound",
            Engine::BoundSerde => "bound-serde",
            Engine::DataFusion => "datafusion",
            Engine::Millstream => "millstream",
        }
    }

    fn knows(self, query: &str) -> bool {
        match self {
            Engine::Bound => bounds::find(query).is_some(),
            // Words are no JSON: there is nothing to compare.
            Engine::BoundSerde => !queries::is_of_words(query) && bounds::find(query).is_some(),
            Engine::DataFusion | Engine::Millstream => queries::find(query).is_some(),
        }
    }
}

/// One line of output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    query: String,
    engine: String,
    workers: usize,
    events: u64,
    wall_s: f64,
    cpu_s: f64,
    events_per_s: f64,
    events_per_cpu_s: f64,
    peak_rss_mb: f64,
    rows_out: u64,
    /// Hexadecimal: JSON's readers lose the low bits of large numbers.
    checksum: String,
}

/// The options of `nexmark`, also passed on to the children.
struct Options {
    dir: PathBuf,
    workers: usize,
    runs: usize,
    engines: Vec<Engine>,
}

fn options(arguments: &Arguments) -> Result<Options> {
    let engines = match arguments.text("engine").unwrap_or("both") {
        "bound" => vec![Engine::Bound],
        "millstream" => vec![Engine::Millstream],
        "bound-serde" => vec![Engine::BoundSerde],
        "datafusion" => vec![Engine::DataFusion],
        "both" => vec![Engine::Bound, Engine::Millstream],
        "all" => vec![
            Engine::Bound,
            Engine::BoundSerde,
            Engine::DataFusion,
            Engine::Millstream,
        ],
        other => {
            let message = format!(
                "--engine is bound, bound-serde, datafusion, millstream, both or all, not {other}"
            );
            return Err(BenchError::Usage(message));
        }
    };
    Ok(Options {
        dir: data::directory(arguments),
        workers: arguments.number("workers")?.unwrap_or(2),
        runs: arguments.number("runs")?.unwrap_or(3),
        engines,
    })
}

/// The command `nexmark`.
pub(crate) fn run(arguments: &Arguments, print: &mut dyn FnMut(String)) -> Result<()> {
    let options = options(arguments)?;
    let held = data::marker(&options.dir)?;
    let all: Vec<String> = bounds::BOUNDS
        .iter()
        .map(|(query, _)| (*query).to_owned())
        .filter(|query| !queries::is_of_words(query) || held.lines > 0)
        .collect();
    let queries = match arguments.words() {
        [] => &all[..],
        some => some,
    };
    let mut ratios = Vec::new();
    for query in queries {
        let lines = run_query(query, &options)?;
        for line in &lines {
            print(serde_json::json!(line).to_string());
        }
        if let [bounds @ .., ours] = &lines[..]
            && ours.engine == Engine::Millstream.name()
        {
            ratios.extend(bounds.iter().map(|bound| format!(
                "{query}: millstream / {} = {:.2} of wall throughput, {:.2} of CPU throughput, {:.2} of memory",
                bound.engine,
                ours.events_per_s / bound.events_per_s,
                ours.events_per_cpu_s / bound.events_per_cpu_s,
                ours.peak_rss_mb / bound.peak_rss_mb,
            )));
        }
    }
    ratios.into_iter().for_each(print);
    Ok(())
}

/// All runs of one query: engines in turn, so that a busy minute of the machine hits all alike.
fn run_query(query: &str, options: &Options) -> Result<Vec<Line>> {
    let mut engines = options.engines.clone();
    // Asked for by name, an engine must know the query; with both, whoever knows it runs.
    if engines.len() > 1 {
        engines.retain(|engine| engine.knows(query));
    }
    if engines.is_empty() {
        let message = format!("no engine knows query {query}");
        return Err(BenchError::Usage(message));
    }
    let mut runs: BTreeMap<Engine, Vec<Line>> = BTreeMap::new();
    for _ in 0..options.runs.max(1) {
        for engine in &engines {
            runs.entry(*engine)
                .or_default()
                .push(child(query, *engine, options)?);
        }
    }
    let mut results = runs.values().flatten().map(|line| {
        let Line {
            events,
            rows_out,
            checksum,
            ..
        } = line;
        (*events, *rows_out, checksum)
    });
    let first = results.next();
    if results.any(|result| Some(result) != first) {
        return Err(BenchError::Disagree(query.to_owned()));
    }
    Ok(runs.into_values().filter_map(middle).collect())
}

/// The run with the middle CPU time.
fn middle(mut runs: Vec<Line>) -> Option<Line> {
    runs.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

fn child(query: &str, engine: Engine, options: &Options) -> Result<Line> {
    let failed = |what: String| BenchError::Run {
        query: query.to_owned(),
        engine: engine.name(),
        what,
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args(["run-once", query, "--engine", engine.name(), "--workers"])
        .arg(options.workers.to_string())
        .arg("--dir")
        .arg(&options.dir)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The command `run-once`, which the parent runs: one query, one engine, one line.
pub(crate) fn run_once(arguments: &Arguments) -> Result<String> {
    let options = options(arguments)?;
    let [query] = arguments.words() else {
        return Err(BenchError::Usage("run-once takes one query".to_owned()));
    };
    let [engine] = options.engines[..] else {
        return Err(BenchError::Usage("run-once takes one engine".to_owned()));
    };
    let (outcome, wall, cpu_s) = timed(|| outcome(query, engine, &options));
    let outcome = outcome?;
    let wall_s = wall.as_secs_f64();
    let events = float(outcome.events);
    let line = Line {
        query: query.clone(),
        engine: engine.name().to_owned(),
        workers: options.workers,
        events: outcome.events,
        wall_s: rounded(wall_s, 1e4),
        cpu_s: rounded(cpu_s, 1e4),
        events_per_s: (events / wall_s.max(1e-6)).round(),
        // A run shorter than a tick of the CPU clock has no CPU rate.
        events_per_cpu_s: (events / cpu_s.max(0.01)).round(),
        peak_rss_mb: rounded(memory_mb("VmHWM"), 10.0),
        rows_out: outcome.rows_out,
        checksum: format!("{:016x}", outcome.checksum),
    };
    Ok(serde_json::json!(line).to_string())
}

/// Runs one query here.
fn outcome(query: &str, engine: Engine, options: &Options) -> Result<Outcome> {
    let by_hand = |parser: Parser| match bounds::find(query) {
        Some(bound) => bound(&options.dir, options.workers, parser),
        None => Err(BenchError::Usage(format!(
            "no bound is written for query {query}"
        ))),
    };
    match engine {
        Engine::Bound => by_hand(Parser::Hand),
        Engine::BoundSerde => by_hand(Parser::Serde),
        Engine::DataFusion => batch::run(query, &options.dir, options.workers),
        Engine::Millstream => engine::run_engine(query, &options.dir, options.workers),
    }
}

fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_engines_give_the_same_rows() {
        let dir = tempfile::tempdir().expect("makes a directory");
        data::tiny(dir.path()).expect("makes data");
        let options = Options {
            dir: dir.path().to_owned(),
            workers: 2,
            runs: 1,
            engines: Vec::new(),
        };
        let all = [
            Engine::Bound,
            Engine::BoundSerde,
            Engine::DataFusion,
            Engine::Millstream,
        ];
        for query in &queries::SUITE {
            let knowing = all.iter().filter(|engine| engine.knows(query.name));
            let outcomes: Vec<Outcome> = knowing
                .map(|engine| outcome(query.name, *engine, &options).expect("runs"))
                .collect();
            let [first, rest @ ..] = &outcomes[..] else {
                panic!("nobody knows {}", query.name);
            };
            assert!(first.rows_out > 0, "{} has no rows", query.name);
            for other in rest {
                assert_eq!(first, other, "of {}", query.name);
            }
        }
    }
}
