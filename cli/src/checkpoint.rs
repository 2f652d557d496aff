//! `millstream checkpoint`: what a checkpoint holds, whether it is whole, and the user's word about
//! epochs that a restart would run again.

use std::{path::Path, sync::Arc};

use millstream_epoch::{
    Accepted, CheckpointReport, Dropped, EpochError, FileState, Plan, RealDisk, accept_input,
    drop_plans, inspect, verify,
};
use millstream_types::Epoch;

use crate::{
    arguments::{CheckpointArguments, CheckpointCommand},
    exit::{Exit, Failure, coded},
    terminal::{print, table},
};

/// Does what was asked. Showing and verifying read only and take no lock; a word about an epoch
/// is a record in the log, and is refused while the query runs.
pub(crate) fn checkpoint(arguments: &CheckpointArguments) -> Result<Exit, Failure> {
    match &arguments.what {
        CheckpointCommand::Show { dir } => look(inspect(&disk(dir)?)),
        CheckpointCommand::Verify { dir } => look(verify(&disk(dir)?)),
        CheckpointCommand::DropPlan { dir, from, reason } => drop_plan(disk(dir)?, *from, reason),
        CheckpointCommand::Accept {
            dir,
            epoch,
            source,
            reason,
        } => accept(disk(dir)?, (*epoch, *source), reason),
    }
}

fn disk(dir: &Path) -> Result<RealDisk, Failure> {
    if dir.is_dir() {
        Ok(RealDisk::new(dir))
    } else {
        Err(Failure::Usage(format!("{} is no directory", dir.display())))
    }
}

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

/// Epochs that are planned and that no snapshot contains, and whether each has its commit.
fn open_plans(disk: &RealDisk) -> Result<Vec<(Plan, bool)>, Failure> {
    let report = inspect(disk).map_err(|error| coded(&error))?;
    if let Some(problem) = report.problem {
        return Err(problem.into());
    }
    let captured = report.snapshots.last().map(|snapshot| snapshot.epoch);
    let committed = report.commits.last().map(|commit| commit.epoch);
    let open = report
        .plans
        .into_iter()
        .filter(|plan| Some(plan.epoch) > captured);
    let with_commit = open.map(|plan| {
        let is_committed = Some(plan.epoch) <= committed;
        (plan, is_committed)
    });
    Ok(with_commit.collect())
}

fn drop_plan(disk: RealDisk, from: Option<u64>, reason: &str) -> Result<Exit, Failure> {
    let oldest = || -> Result<Option<Epoch>, Failure> {
        let mut plans = open_plans(&disk)?.into_iter();
        let found = plans.find(|(_, is_committed)| !is_committed);
        Ok(found.map(|(plan, _)| plan.epoch))
    };
    let Some(from) = from.map_or_else(oldest, |from| Ok(Some(Epoch(from))))? else {
        print("every planned epoch is committed: nothing to give up");
        return Ok(Exit::Done);
    };
    let gone = drop_plans(Arc::new(disk), from, reason).map_err(|error| coded(&error))?;
    for plan in gone {
        print(&format!(
            "epoch {} is given up; its input is planned anew",
            plan.epoch
        ));
    }
    Ok(Exit::Done)
}

fn accept(
    disk: RealDisk,
    (epoch, source): (Option<u64>, Option<u32>),
    reason: &str,
) -> Result<Exit, Failure> {
    let mut accepted = Vec::new();
    for (plan, _) in open_plans(&disk)? {
        if epoch.is_some_and(|epoch| plan.epoch != Epoch(epoch)) {
            continue;
        }
        for (index, range) in (0u32..).zip(&plan.sources) {
            if range.is_some() && source.is_none_or(|source| source == index) {
                accepted.push(Accepted {
                    epoch: plan.epoch,
                    source: index,
                    what: reason.to_owned(),
                });
            }
        }
    }
    if accepted.is_empty() {
        return Err(Failure::Usage(
            "no epoch that a restart runs again has such input; see `millstream checkpoint show`"
                .to_owned(),
        ));
    }
    accept_input(Arc::new(disk), &accepted).map_err(|error| coded(&error))?;
    for one in accepted {
        print(&format!(
            "input of source {} in epoch {} is taken as it is now",
            one.source, one.epoch
        ));
    }
    Ok(Exit::Done)
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
    for Dropped { from, reason } in &report.dropped {
        print(&format!("gave up     from epoch {from} on: {reason:?}"));
    }
    for accepted in &report.accepted {
        print(&format!(
            "accepted    epoch {}, source {}: {:?}",
            accepted.epoch, accepted.source, accepted.what
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
