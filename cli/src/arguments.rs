//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Spark Structured Streaming's programs in one native binary.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Data go to the standard output, everything else to the standard error.
Every flag has an environment twin: --workers is MILLSTREAM_WORKERS.

Exit codes: 0 done, 1 a query failed, 2 usage, 3 SQL or plan error, 4 script mismatch,
65 bad data under a policy that stops, 70 a defect of Millstream, 78 bad configuration or a
checkpoint that cannot serve this query.";

/// Each worker is a thread; more than these are a slip of the finger.
fn worker_count() -> impl clap::builder::TypedValueParser<Value = usize> {
    clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024)
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// An auction stream, windows over it, a live table: the example of the README
    Demo(DemoArguments),
    /// Run SQL statements; stays until their queries end or Ctrl-C
    Run(Box<RunArguments>),
    /// Show plans with watermarks, state and output modes
    Explain(ExplainArguments),
    /// Run stream scripts
    Test(TestArguments),
    /// Show or verify a checkpoint; give up plans or accept changed input
    Checkpoint(CheckpointArguments),
    /// Explain error codes
    Errors(ErrorsArguments),
    /// List connectors, or the options of one
    Options(OptionsArguments),
    /// List functions
    Functions,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How long to run
    #[arg(long, env = "MILLSTREAM_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Worker threads; all cores without it
    #[arg(long, env = "MILLSTREAM_WORKERS", value_parser = worker_count())]
    pub(crate) workers: Option<usize>,
    /// Auction events a second
    #[arg(long, env = "MILLSTREAM_RATE", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: u64,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A status line where people watch, nothing else
    Auto,
    /// Nothing
    None,
    /// One line an epoch
    Line,
    /// One JSON object an epoch
    Json,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// File with SQL statements; - reads the standard input
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    pub(crate) file: Option<PathBuf>,
    /// SQL statements
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub(crate) command: Option<String>,
    /// Worker threads of each query; all cores without it
    #[arg(long, env = "MILLSTREAM_WORKERS", value_name = "N", value_parser = worker_count())]
    pub(crate) workers: Option<usize>,
    /// When epochs run: default, "processing-time 2 seconds", available-now, once
    #[arg(long, env = "MILLSTREAM_TRIGGER")]
    pub(crate) trigger: Option<String>,
    /// Checkpoint directory; with several queries, each has a folder in it
    #[arg(long, env = "MILLSTREAM_CHECKPOINT", value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Output mode: append, update, complete, changes
    #[arg(long, env = "MILLSTREAM_OUTPUT_MODE", value_name = "MODE")]
    pub(crate) output_mode: Option<String>,
    /// How progress is shown
    #[arg(long, env = "MILLSTREAM_PROGRESS", value_enum, default_value_t = ProgressStyle::Auto)]
    pub(crate) progress: ProgressStyle,
    /// Append one progress object a line to this file
    #[arg(long, env = "MILLSTREAM_PROGRESS_FILE", value_name = "FILE")]
    pub(crate) progress_file: Option<PathBuf>,
    /// A setting, as SET takes it; may be repeated
    #[arg(
        long = "set",
        env = "MILLSTREAM_SET",
        value_name = "KEY=VALUE",
        value_delimiter = ';'
    )]
    pub(crate) settings: Vec<String>,
}

/// The form of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Tree,
    /// For graphviz
    Dot,
    /// For programs
    Json,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// File with SQL statements; - reads the standard input
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    pub(crate) file: Option<PathBuf>,
    /// SQL statements
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub(crate) command: Option<String>,
    /// In which form
    #[arg(long, env = "MILLSTREAM_FORMAT", value_enum, default_value_t = Format::Tree)]
    pub(crate) format: Format,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Scripts, or folders that are searched for *.stream
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// With how many workers each script runs
    #[arg(long, env = "MILLSTREAM_WORKERS", value_delimiter = ',', default_values_t = [1, 2, 3], value_parser = worker_count())]
    pub(crate) workers: Vec<usize>,
    /// Write the answers into the scripts
    #[arg(long)]
    pub(crate) update: bool,
    /// Encode every batch between workers, as between processes
    #[arg(long, env = "MILLSTREAM_BYTE_CHANNELS")]
    pub(crate) byte_channels: bool,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArguments {
    #[command(subcommand)]
    pub(crate) what: CheckpointCommand,
}

/// What to do with a checkpoint.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// What it holds
    Show {
        /// The checkpoint
        dir: PathBuf,
    },
    /// Whether every file in it is whole
    Verify {
        /// The checkpoint
        dir: PathBuf,
    },
    /// Give up epochs that were planned and never committed; their numbers are planned anew
    #[command(name = "drop-plan")]
    DropPlan {
        /// The checkpoint of a query that does not run
        dir: PathBuf,
        /// The first epoch to give up; the oldest without a commit if absent
        #[arg(long, value_name = "EPOCH")]
        from: Option<u64>,
        /// Why; kept in the log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Accept that input which a restart reads again was changed or removed
    Accept {
        /// The checkpoint of a query that does not run
        dir: PathBuf,
        /// Only this epoch; all that will run again if absent
        #[arg(long, value_name = "EPOCH")]
        epoch: Option<u64>,
        /// Only this source, counted from 0 in the order of the query; all if absent
        #[arg(long, value_name = "N")]
        source: Option<u32>,
        /// Why; kept in the log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// Arguments of `errors`.
#[derive(Debug, Args)]
pub(crate) struct ErrorsArguments {
    /// A code such as SQL-020, or Spark's name of a condition
    pub(crate) code: Option<String>,
}

/// Arguments of `options`.
#[derive(Debug, Args)]
pub(crate) struct OptionsArguments {
    /// The connector
    pub(crate) connector: Option<String>,
}
