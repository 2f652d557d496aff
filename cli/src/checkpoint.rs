//! `millstream checkpoint`: what a checkpoint holds, whether it is whole, and the user's word about it.

use std::{path::Path, sync::Arc};

use millstream_epoch::{
    Accepted, CheckpointReport, Dropped, EpochError, FileState, RealDisk, accept_input, drop_plans,
    inspect, verify,
};
use millstream_types::Epoch;

use crate::{
    arguments::{CheckpointArguments, CheckpointCommand},
    exit::{Exit, Failure, coded},
    terminal::{print, table},
};

/// Does what was asked for with a checkpoint.
pub(crate) fn checkpoint(arguments: &CheckpointArguments) -> Result<Exit, Failure> {
    match &arguments.what {
        CheckpointCommand::Show { dir } => look(inspect(&disk_of(dir)?)),
        CheckpointCommand::Verify { dir } => look(verify(&disk_of(dir)?)),
        CheckpointCommand::DropPlan { dir, from, reason } => {
            let from = from.map(Epoch);
            drop_plan(disk_of(dir)?, from, reason).map_err(|error| coded(&error))
        }
        CheckpointCommand::Accept {
            dir,
            epoch,
            source,
            reason,
        } => accept(disk_of(dir)?, Epoch(*epoch), *source, reason).map_err(|error| coded(&error)),
    }
}

fn disk_of(dir: &Path) -> Result<RealDisk, Failure> {
    if dir.is_dir() {
        Ok(RealDisk::new(dir))
    } else {
        Err(Failure::Usage(format!("{} is no directory", dir.display())))
    }
}

/// Shows a report. Reads only; takes no lock.
fn look(report: Result<CheckpointReport, EpochError>) -> Result<Exit, Failure> {
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

fn drop_plan(disk: RealDisk, from: Option<Epoch>, reason: &str) -> Result<Exit, EpochError> {
    let from = match from {
        Some(from) => from,
        None => {
            let commits = inspect(&disk)?.commits;
            commits
                .last()
                .map_or(Epoch::FIRST, |last| last.epoch.next())
        }
    };
    let gone = drop_plans(Arc::new(disk), from, reason)?;
    let epochs = range(gone.iter().map(|plan| plan.epoch));
    print(&format!("gave up     {epochs}"));
    Ok(Exit::Done)
}

fn accept(
    disk: RealDisk,
    epoch: Epoch,
    source: Option<u32>,
    reason: &str,
) -> Result<Exit, EpochError> {
    let sources = match source {
        Some(source) => vec![source],
        None => sources_of(&disk, epoch)?,
    };
    let accepted: Vec<Accepted> = sources
        .into_iter()
        .map(|source| Accepted {
            epoch,
            source,
            what: reason.to_owned(),
        })
        .collect();
    accept_input(Arc::new(disk), &accepted)?;
    for Accepted { source, .. } in accepted {
        print(&format!("accepted    epoch {epoch}, source {source}"));
    }
    Ok(Exit::Done)
}

/// The sources with input in an epoch; the first one if there are none, so that the refusal says why.
fn sources_of(disk: &RealDisk, epoch: Epoch) -> Result<Vec<u32>, EpochError> {
    let plans = inspect(disk)?.plans;
    let plan = plans.iter().find(|plan| plan.epoch == epoch);
    let ranges = plan.map_or(&[][..], |plan| &plan.sources);
    let sources: Vec<u32> = (0..)
        .zip(ranges)
        .filter(|(_, range)| range.is_some())
        .map(|(source, _)| source)
        .collect();
    Ok(if sources.is_empty() { vec![0] } else { sources })
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
    show_words(report);
    for journal in &report.journals {
        let entries = &journal.entries;
        print(&format!(
            "journal     source {}, {}: {} entries from {} on",
            journal.source,
            journal.name,
            entries.end.saturating_sub(entries.start),
            entries.start
        ));
    }
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

/// What the user decided.
fn show_words(report: &CheckpointReport) {
    for dropped in &report.dropped {
        let Dropped { from, reason } = dropped;
        print(&format!("gave up     from epoch {from} on: {reason:?}"));
    }
    for accepted in &report.accepted {
        let Accepted {
            epoch,
            source,
            what,
        } = accepted;
        print(&format!(
            "accepted    epoch {epoch}, source {source}: {what:?}"
        ));
    }
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
