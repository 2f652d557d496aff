//! `millstream checkpoint`: what a checkpoint holds, and whether it is whole.

use millstream_epoch::{CheckpointReport, FileState, RealDisk, inspect, verify};
use millstream_types::Epoch;

use crate::{
    arguments::{CheckpointArguments, CheckpointCommand},
    exit::{Exit, Failure, coded},
    terminal::{print, table},
};

/// Shows or verifies a checkpoint. Reads only; takes no lock.
pub(crate) fn checkpoint(arguments: &CheckpointArguments) -> Result<Exit, Failure> {
    let (CheckpointCommand::Show { dir } | CheckpointCommand::Verify { dir }) = &arguments.what;
    if !dir.is_dir() {
        return Err(Failure::Usage(format!("{} is no directory", dir.display())));
    }
    let disk = RealDisk::new(dir);
    let report = match &arguments.what {
        CheckpointCommand::Show { .. } => inspect(&disk),
        CheckpointCommand::Verify { .. } => verify(&disk),
    };
    let report = report.map_err(|error| coded(&error))?;
    show(&report);
    if let Some(problem) = &report.problem {
        return Err(problem.clone().into());
    }
    Ok(if report.is_whole() {
        Exit::Done
    } else {
        Exit::QueryFailed
    })
}

fn show(report: &CheckpointReport) {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    if let Some(metadata) = &report.metadata {
        print(&format!("query       {}", metadata.query_id));
        print(&format!(
            "engine      {}",
            or_unknown(report.engine.clone())
        ));
        print(&format!(
            "generation  {}",
            or_unknown(report.generation.map(|g| g.to_string()))
        ));
        for line in metadata.plan_text.lines() {
            print(&format!("plan        {line}"));
        }
    }
    print(&format!(
        "plans       {}",
        range(report.plans.iter().map(|plan| plan.epoch))
    ));
    print(&format!(
        "commits     {}",
        range(report.commits.iter().map(|commit| commit.epoch))
    ));
    for snapshot in &report.snapshots {
        let rows: u64 = snapshot.pieces.iter().map(|piece| piece.rows).sum();
        print(&format!(
            "snapshot    after epoch {}: {} pieces, {rows} rows, {} workers",
            snapshot.epoch,
            snapshot.pieces.len(),
            snapshot.workers
        ));
    }
    let rows: Vec<_> = report
        .files
        .iter()
        .map(|file| {
            vec![
                file.file.to_string(),
                file.bytes.to_string(),
                state(&file.state),
            ]
        })
        .collect();
    print("");
    print(&table(&["file", "bytes", "state"], &rows));
}

fn range(epochs: impl Iterator<Item = Epoch> + Clone) -> String {
    match (epochs.clone().next(), epochs.clone().last()) {
        (Some(first), Some(last)) => format!("{} (epochs {first} to {last})", epochs.count()),
        _ => "none".to_owned(),
    }
}

fn state(state: &FileState) -> String {
    match state {
        FileState::Whole => "whole".to_owned(),
        FileState::TornTail { bytes } => {
            format!("whole but for {bytes} bytes of an unfinished append")
        }
        FileState::Damaged { reason } => format!("damaged: {reason}"),
        FileState::Unneeded => "unneeded".to_owned(),
        FileState::Foreign => "foreign".to_owned(),
    }
}
