//! `millstream test`.

use millstream::Channels;
use millstream_testkit::{
    host::SessionHost,
    script::{Answers, ScriptHost, run_paths},
};

use crate::{
    arguments::TestArguments,
    exit::{Exit, Failure, coded},
    terminal::print,
};

/// Plays scripts and prints a line a file.
pub(crate) fn test(arguments: &TestArguments) -> Result<Exit, Failure> {
    let channels = if arguments.byte_channels {
        Channels::Bytes
    } else {
        Channels::Typed
    };
    let answers = if arguments.update {
        Answers::Update
    } else {
        Answers::Check
    };
    let report = run_paths(
        &arguments.paths,
        &arguments.workers,
        answers,
        &mut |_case| Ok(Box::new(SessionHost::new(channels)?) as Box<dyn ScriptHost>),
    )
    .map_err(|error| coded(&error))?;
    print(report.to_string().trim_end());
    let counts = report.counts();
    if counts.passed + counts.failed == 0 {
        return Err(Failure::Usage("no script was found".to_owned()));
    }
    Ok(if counts.failed == 0 {
        Exit::Done
    } else {
        Exit::Mismatch
    })
}
