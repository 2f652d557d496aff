//! Every combination of facts is a right decision or a justified refusal.

use expect_test::expect;
use millstream_epoch::{Facts, Output, Refusal, Replays, SinkPosition, resume};
use millstream_types::{Coded, Epoch};

fn epochs() -> impl Iterator<Item = Option<Epoch>> + Clone {
    std::iter::once(None).chain((0..=4).map(|number| Some(Epoch(number))))
}

fn sinks() -> impl Iterator<Item = SinkPosition> + Clone {
    let told = (0..=4).map(|number| SinkPosition::Committed(Epoch(number)));
    [SinkPosition::CannotTell, SinkPosition::Nothing]
        .into_iter()
        .chain(told)
}

fn all_facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for plan_last in epochs() {
        for commit_last in epochs() {
            for snapshot_last in epochs() {
                for sink in sinks() {
                    for open_plans_max in 0..=4 {
                        let facts = |replays| Facts {
                            plan_last,
                            commit_last,
                            snapshot_last,
                            sink,
                            replays,
                            open_plans_max,
                            generation: 7,
                        };
                        all.extend([Replays::Everything, Replays::Unrecorded].map(facts));
                    }
                }
            }
        }
    }
    all
}

fn count(last: Option<Epoch>) -> u64 {
    last.map_or(0, |epoch| epoch.0 + 1)
}

/// What the sink has, as a number of epochs; `None` if it cannot tell.
fn sink_count(facts: &Facts) -> Option<u64> {
    match facts.sink {
        SinkPosition::CannotTell => None,
        SinkPosition::Nothing => Some(0),
        SinkPosition::Committed(epoch) => Some(epoch.0 + 1),
    }
}

/// Every reason to refuse, by name, each written down once more and independently.
fn reasons(facts: &Facts) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if sink_count(facts).is_some_and(|sink| sink > count(facts.plan_last)) {
        reasons.push("sink ahead");
    }
    if count(facts.commit_last).max(count(facts.snapshot_last)) > count(facts.plan_last) {
        reasons.push("plan missing");
    }
    if count(facts.snapshot_last) > count(facts.commit_last) {
        reasons.push("commit missing");
    }
    if count(facts.plan_last) > count(facts.commit_last) + facts.open_plans_max {
        reasons.push("too many open");
    }
    if sink_count(facts).is_some_and(|sink| sink < count(facts.commit_last)) {
        reasons.push("sink behind");
    }
    reasons
}

fn name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::SinkAhead { .. } => "sink ahead",
        Refusal::PlanMissing { .. } => "plan missing",
        Refusal::CommitMissing { .. } => "commit missing",
        Refusal::TooManyOpen { .. } => "too many open",
        Refusal::SinkBehind { .. } => "sink behind",
        other => unreachable!("a new refusal needs a reason: {other}"),
    }
}

/// [INV-04] No decision gives a sink an epoch twice or leaves one out.
#[test]
fn every_combination_is_decided_or_refused_for_a_reason() {
    let (mut decided, mut refused) = (0, std::collections::BTreeMap::new());
    for facts in all_facts() {
        let reasons = reasons(&facts);
        let decision = match resume(facts) {
            Err(refusal) => {
                assert!(reasons.contains(&name(&refusal)), "{facts:?} {refusal}");
                *refused
                    .entry((refusal.code().0, name(&refusal)))
                    .or_insert(0) += 1;
                continue;
            }
            Ok(decision) => decision,
        };
        assert!(reasons.is_empty(), "{facts:?} {reasons:?}");
        decided += 1;
        assert_eq!(decision.generation, 7);
        assert_eq!(decision.restore, facts.snapshot_last);
        assert_eq!(decision.next.0, count(facts.plan_last));
        let mut state = count(decision.restore);
        if facts.replays == Replays::Unrecorded {
            state = count(facts.commit_last);
        }
        assert_eq!(decision.start().0, state, "{facts:?}");
        let mut sink = sink_count(&facts);
        for replay in &decision.replay {
            let number = replay.epoch.0;
            assert_eq!(number, state, "{facts:?}: state misses an epoch");
            state += 1;
            let is_recorded = number < count(facts.commit_last);
            assert_eq!(replay.is_recorded, is_recorded, "{facts:?}");
            let must_run = facts.replays == Replays::Everything || !is_recorded;
            assert!(must_run, "{facts:?}: runs for nothing");
            match &mut sink {
                Some(has) if replay.output == Output::Emit => {
                    assert_eq!(number, *has, "{facts:?}: twice, or a hole");
                    *has += 1;
                }
                Some(has) => assert!(number < *has, "{facts:?}: never sent"),
                None => assert_eq!(replay.output == Output::Emit, !is_recorded, "{facts:?}"),
            }
        }
        assert_eq!(state, decision.next.0, "{facts:?}");
        assert!(sink.is_none_or(|has| has == decision.next.0), "{facts:?}");
    }
    expect![[r#"
        decided 1176
        {
            (
                "CKP-006",
                "sink ahead",
            ): 5400,
            (
                "CKP-008",
                "commit missing",
            ): 2100,
            (
                "CKP-008",
                "plan missing",
            ): 4400,
            (
                "CKP-008",
                "sink behind",
            ): 1176,
            (
                "CKP-008",
                "too many open",
            ): 868,
        }
    "#]]
    .assert_eq(&format!("decided {decided}\n{refused:#?}\n"));
}

#[test]
fn a_refusal_names_both_numbers() {
    let refusal = resume(Facts {
        plan_last: Some(Epoch(3)),
        commit_last: Some(Epoch(3)),
        snapshot_last: None,
        sink: SinkPosition::Committed(Epoch(9)),
        replays: Replays::Everything,
        open_plans_max: 2,
        generation: 1,
    })
    .expect_err("the sink has epochs that were never planned");
    assert_eq!(refusal.code().0, "CKP-006");
    expect!["the sink is ahead of the checkpoint sink_epoch=9 last_planned_epoch=3"]
        .assert_eq(&refusal.to_string());
}
