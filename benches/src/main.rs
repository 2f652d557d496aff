//! Benchmarks: Nexmark, operators, the hand-written bound.
//!
//! Owns what Millstream's speed is measured with; `README.md` beside this crate says how to read
//! it. Asserts nothing about speed: a benchmark has a goal, not a test.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its figures"
)]

mod arguments;
mod batch;
mod bounds;
mod checksum;
mod codecs;
mod data;
mod engine;
mod error;
mod growth;
mod measure;
mod micro;
mod numbers;
mod queries;
mod suite;

use std::{error::Error, process::ExitCode};

use crate::{
    arguments::Arguments,
    error::{BenchError, Result},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
millstream-benches COMMAND

  data [--dir DIR] [--events N] [--small] [--words]      make the input
  nexmark [QUERY…] [--workers 2] [--engine bound|bound-serde|datafusion|millstream|both|all] [--runs 3] [--dir DIR] [--small]
  growth [--workers 2] [--runs 3]                        CPU time a row with ten times the state or history
  queries                                                their texts, one JSON line each
  micro [arrange|aggregate|keys|hash|exchange]           operators, M rows/s of thread CPU
  codecs                                                 wire formats over the same rows
";

fn command(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let name = arguments.next().unwrap_or_default();
    let mut print = |line: String| println!("{line}");
    match name.as_str() {
        "data" => {
            let known = ["dir", "events", "small", "words"];
            let lines = data::run(&Arguments::parse(arguments, &known)?)?;
            lines.into_iter().for_each(print);
        }
        "nexmark" => {
            let known = ["workers", "engine", "runs", "dir", "small"];
            suite::run(&Arguments::parse(arguments, &known)?, &mut print)?;
        }
        "run-once" => {
            let known = ["workers", "engine", "dir"];
            print(suite::run_once(&Arguments::parse(arguments, &known)?)?);
        }
        "growth" => growth::run(
            &Arguments::parse(arguments, &["workers", "runs"])?,
            &mut print,
        )?,
        "queries" => queries::print(&mut print),
        "micro" => micro::run(Arguments::parse(arguments, &[])?.words(), &mut print)?,
        "codecs" => codecs::run(&mut print)?,
        _ => return Err(BenchError::Usage(format!("what shall I run?\n\n{HELP}"))),
    }
    Ok(())
}

fn main() -> ExitCode {
    match command(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
