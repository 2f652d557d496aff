//! The suite of scripts on the real engine: 1, 2 and 3 workers, each plain and with a restart after
//! every epoch; and once more with every batch encoded between workers.

use std::path::PathBuf;

use millstream::Channels;
use millstream_testkit::{
    host::SessionHost,
    script::{Answers, ScriptHost, run_paths},
};

fn play(folders: &[&str], workers: &[usize], channels: Channels) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/stream");
    let paths: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let report = run_paths(&paths, workers, Answers::Check, &mut |_case| {
        Ok(Box::new(SessionHost::new(channels)?) as Box<dyn ScriptHost>)
    })
    .expect("scripts can be read");
    let counts = report.counts();
    assert!(counts.passed > 0 && counts.failed == 0, "{report}");
}

/// proves P1, P3, P4: accepted rows change state once, and the answers are the same for any number of
/// workers and any restart. [INV-02] [INV-03] [INV-04]
#[test]
fn windows_and_watermarks() {
    play(
        &[
            "window",
            "watermark",
            "sliding",
            "count_window",
            "calendar",
            "late",
            "chain",
        ],
        &[1, 2, 3],
        Channels::Typed,
    );
}

#[test]
fn aggregates_modes_and_types() {
    play(
        &[
            "aggregate",
            "changes",
            "modes",
            "types",
            "sql",
            "union",
            "order",
            "explode",
            "functions",
        ],
        &[1, 2, 3],
        Channels::Typed,
    );
}

#[test]
fn sessions() {
    play(&["session"], &[1, 2, 3], Channels::Typed);
}

/// proves P1, P6: a kill at any named step needs no hand. [INV-01]
#[test]
fn restarts() {
    play(&["restart"], &[1, 2, 3], Channels::Typed);
}

#[test]
fn answers_of_spark() {
    play(&["spark/now"], &[1, 2, 3], Channels::Typed);
}

/// Every batch in its wire form, as between processes.
#[test]
fn with_byte_channels() {
    play(
        &[
            "window",
            "sliding",
            "session",
            "aggregate",
            "changes",
            "order",
            "restart",
        ],
        &[2, 3],
        Channels::Bytes,
    );
}
