//! The `millstream` command.
//!
//! Data go to the standard output, everything else to the standard error. Owns: arguments, what is
//! printed, exit codes. Everything it does is done by the library. Tests: `tests/it`.

mod arguments;
mod checkpoint;
mod demo;
mod exit;
mod explain;
mod info;
mod progress;
mod run;
mod script;
mod signals;
mod terminal;

use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    exit::{Exit, Failure},
    signals::Signals,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("millstream-async")
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = Signals::take_over()
                .map_err(|error| Failure::Usage(format!("signals cannot be heeded: {error}")))
                .and_then(|signals| runtime.block_on(dispatch(arguments.command, &signals)));
            // A word to people may be stuck in a pipe; it is not waited for.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::Usage(format!("no async runtime: {error}"))),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::complain(&failure.to_string());
            failure.exit().into()
        }
    }
}

async fn dispatch(command: Command, signals: &Signals) -> Result<Exit, Failure> {
    match command {
        Command::Demo(arguments) => demo::demo(arguments, signals).await,
        Command::Run(arguments) => run::run(arguments, signals).await,
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Test(arguments) => script::test(&arguments),
        Command::Checkpoint(arguments) => checkpoint::checkpoint(&arguments),
        Command::Errors(arguments) => info::errors(arguments.code.as_deref()),
        Command::Options(arguments) => info::options(arguments.connector.as_deref()),
        Command::Functions => info::functions(),
    }
}
