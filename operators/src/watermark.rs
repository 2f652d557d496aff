//! Watermarks: a value per epoch, folded by one small operator and broadcast.
//!
//! Chains send statistics of event time per definition; this operator folds those of epoch *e*
//! into E(e+1) and sends it at time e+1. Its output summary is `+1`, so timely itself guarantees
//! that nobody closes e+1 without E(e+1), and E(e+1) is known as soon as e has been read, while e
//! is still being aggregated and written. The frontier could not be the mark: what has arrived
//! "at the frontier" depends on timing, a mark must not. [INV-02]

use std::collections::BTreeMap;

use millstream_types::{Epoch, EventTime, Watermark};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Stream,
        channels::pact::Exchange,
        operators::{
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
            vec::Broadcast,
        },
    },
    progress::Antichain,
};

use crate::driver::{MarkStream, epoch_of};

/// Definition, newest and oldest event time in microseconds, their sum in milliseconds, their count.
pub type EventStatistics = (u32, i64, i64, f64, u64);

/// Statistics on their way to the fold.
pub type StatisticsStream<'s> = Stream<'s, u64, Vec<EventStatistics>>;

/// A definition and how definitions combine, as the fold needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRules {
    /// Delay of each definition in milliseconds.
    pub delays_ms: Vec<i64>,
    /// Whether the fastest definition counts instead of the slowest.
    pub fastest: bool,
    /// After how many milliseconds without a row a definition no longer holds the others back.
    pub idle_ms: Option<i64>,
}

/// Where the marks stand between two epochs: all that must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkState {
    /// Each definition's own mark in milliseconds; 0 until it has seen a row.
    pub definitions_ms: Vec<i64>,
    /// E of the next epoch.
    pub evict: Watermark,
    /// L of the next epoch, E of the last one.
    pub late: Watermark,
    /// The plan's clock when each definition last had a row, or first could have.
    pub active_ms: Vec<i64>,
    /// Which definitions are not waited for at the moment.
    pub idle: Vec<bool>,
}

/// A clock that no plan has shown yet.
const NEVER: i64 = i64::MIN;

/// Event times of one epoch, over all definitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventTimes {
    /// Newest, milliseconds.
    pub max_ms: i64,
    /// Oldest, milliseconds.
    pub min_ms: i64,
    /// Mean, milliseconds.
    pub avg_ms: f64,
}

/// What an epoch did to the marks.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkReport {
    /// The epoch that was folded in.
    pub epoch: Epoch,
    /// The marks for the epoch after it.
    pub state: MarkState,
    /// Event times seen, if any.
    pub times: Option<EventTimes>,
}

impl MarkState {
    /// The state before the first epoch.
    #[must_use]
    pub fn new(definitions: usize) -> MarkState {
        MarkState {
            definitions_ms: vec![0; definitions],
            active_ms: vec![NEVER; definitions],
            idle: vec![false; definitions],
            ..MarkState::default()
        }
    }

    /// Bytes for a checkpoint: E, L, each definition, when each was active; little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fixed = [self.evict.ms(), self.late.ms()];
        fixed
            .iter()
            .chain(&self.definitions_ms)
            .chain(&self.active_ms)
            .flat_map(|ms| ms.to_le_bytes())
            .collect()
    }

    /// Reads [`encode`](MarkState::encode); `None` for other bytes or another number of
    /// definitions.
    #[must_use]
    pub fn decode(bytes: &[u8], definitions: usize) -> Option<MarkState> {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut values = words.iter().map(|word| i64::from_le_bytes(*word));
        let state = MarkState {
            evict: Watermark::from_ms(values.next()?),
            late: Watermark::from_ms(values.next()?),
            definitions_ms: values.by_ref().take(definitions).collect(),
            active_ms: values.by_ref().take(definitions).collect(),
            idle: vec![false; definitions],
        };
        let is_whole = rest.is_empty() && values.next().is_none();
        (is_whole && state.active_ms.len() == definitions).then_some(state)
    }

    /// The definition that decides the mark, if there is one.
    #[must_use]
    pub fn holder(&self, fastest: bool) -> Option<usize> {
        let all = self.definitions_ms.iter().enumerate();
        if fastest {
            return all.max_by_key(|(_, ms)| **ms).map(|(index, _)| index);
        }
        all.filter(|(index, _)| !self.idle[*index])
            .min_by_key(|(_, ms)| **ms)
            .map(|(index, _)| index)
    }

    /// Notes who was active and who has been silent for too long by the plan's clock.
    fn note_silence(
        &mut self,
        rules: &MarkRules,
        newest: &BTreeMap<u32, EventTime>,
        clock_ms: i64,
    ) {
        for (definition, index) in (0u32..).zip(0..self.active_ms.len()) {
            let active = &mut self.active_ms[index];
            if *active == NEVER || newest.contains_key(&definition) {
                *active = clock_ms;
            }
            let silent_ms = clock_ms.saturating_sub(*active);
            self.idle[index] = rules.idle_ms.is_some_and(|limit| silent_ms > limit);
        }
    }

    /// Folds an epoch's newest event times in and moves to the next epoch.
    fn fold(&mut self, rules: &MarkRules, newest: &BTreeMap<u32, EventTime>, clock_ms: i64) {
        self.note_silence(rules, newest, clock_ms);
        for (definition, at) in newest {
            let index = *definition as usize;
            let own = at.floor_ms().saturating_sub(rules.delays_ms[index]);
            let mark = &mut self.definitions_ms[index];
            *mark = own.max(*mark);
        }
        // Where everybody is silent the mark stays.
        let holder = self.holder(rules.fastest);
        let global = holder.map_or(0, |holder| self.definitions_ms[holder]);
        self.late = self.evict;
        self.evict = self.evict.max(Watermark::from_ms(global));
    }
}

#[derive(Clone, Copy)]
struct Seen {
    max: i64,
    min: i64,
    sum_ms: f64,
    count: u64,
}

/// Folds statistics into marks and gives them to every worker. `told` runs on worker 0.
pub fn watermark<'s>(
    statistics: StatisticsStream<'s>,
    rules: MarkRules,
    (start, state): (Epoch, MarkState),
    clock_ms: impl Fn(Epoch) -> i64 + 'static,
    told: impl Fn(MarkReport) + 'static,
) -> MarkStream<'s> {
    let scope = statistics.scope();
    let is_first = scope.index() == 0;
    let mut builder = OperatorBuilder::new("Watermark".to_owned(), scope);
    let to_first = Exchange::new(|_: &EventStatistics| 0);
    let mut input = builder.new_input_connection(statistics, to_first, []);
    let next_epoch = [(0, Antichain::from_elem(1u64))];
    let (output, stream) = builder.new_output_connection::<Vec<(i64, i64)>, _>(next_epoch);
    let mut output = OutputBuilder::<u64, CapacityContainerBuilder<Vec<(i64, i64)>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop().filter(|_| is_first);
        let mut state = state;
        let mut epoch = start;
        let mut greeted = false;
        let mut seen: BTreeMap<Epoch, BTreeMap<u32, Seen>> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|time, statistics| {
                let of_epoch = seen.entry(epoch_of(&time)).or_default();
                statistics.drain(..).for_each(|one| merge(of_epoch, one));
            });
            let Some(held) = capability.as_mut() else {
                return;
            };
            let mut output = output.activate();
            if !greeted {
                greeted = true;
                held.downgrade(&start.0);
                output
                    .session(held)
                    .give((state.evict.ms(), state.late.ms()));
                held.downgrade(&start.next().0);
            }
            // An empty frontier means that the query is stopping: no epoch is to be closed.
            let passed = frontiers[0].frontier().first().copied();
            while passed.is_some_and(|passed| passed > epoch.0) {
                let of_epoch = seen.remove(&epoch).unwrap_or_default();
                let newest = of_epoch
                    .iter()
                    .map(|(d, seen)| (*d, EventTime(seen.max)))
                    .collect();
                state.fold(&rules, &newest, clock_ms(epoch));
                output
                    .session(held)
                    .give((state.evict.ms(), state.late.ms()));
                told(MarkReport {
                    epoch,
                    state: state.clone(),
                    times: times(&of_epoch),
                });
                epoch = epoch.next();
                held.downgrade(&epoch.next().0);
            }
            if passed.is_none() {
                capability = None;
            }
        }
    });
    stream.broadcast()
}

fn merge(
    of_epoch: &mut BTreeMap<u32, Seen>,
    (definition, max, min, sum_ms, count): EventStatistics,
) {
    of_epoch
        .entry(definition)
        .and_modify(|seen| {
            seen.max = seen.max.max(max);
            seen.min = seen.min.min(min);
            seen.sum_ms += sum_ms;
            seen.count += count;
        })
        .or_insert(Seen {
            max,
            min,
            sum_ms,
            count,
        });
}

#[expect(clippy::cast_precision_loss, reason = "a mean for people")]
fn times(of_epoch: &BTreeMap<u32, Seen>) -> Option<EventTimes> {
    let count: u64 = of_epoch.values().map(|seen| seen.count).sum();
    let sum: f64 = of_epoch.values().map(|seen| seen.sum_ms).sum();
    Some(EventTimes {
        max_ms: EventTime(of_epoch.values().map(|seen| seen.max).max()?).floor_ms(),
        min_ms: EventTime(of_epoch.values().map(|seen| seen.min).min()?).floor_ms(),
        avg_ms: sum / count as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(state: &mut MarkState, rules: &MarkRules, newest: &[(u32, i64)]) -> (i64, i64) {
        let newest = newest
            .iter()
            .map(|(d, s)| (*d, EventTime(s * 1_000_000)))
            .collect();
        state.fold(rules, &newest, 0);
        (state.evict.ms() / 1000, state.late.ms() / 1000)
    }

    #[test]
    fn the_slowest_definition_holds_the_mark_and_a_silent_one_holds_it_at_zero() {
        let rules = MarkRules {
            delays_ms: vec![10_000, 5_000],
            fastest: false,
            idle_ms: None,
        };
        let mut state = MarkState::new(2);
        assert_eq!(fold(&mut state, &rules, &[(0, 1)]), (0, 0));
        assert_eq!(fold(&mut state, &rules, &[(0, 50)]), (0, 0));
        assert_eq!(fold(&mut state, &rules, &[(1, 20)]), (15, 0));
        assert_eq!(fold(&mut state, &rules, &[(1, 40)]), (35, 15));
        assert_eq!(fold(&mut state, &rules, &[]), (35, 35));
    }

    #[test]
    fn the_fastest_may_count_and_marks_never_fall() {
        let rules = MarkRules {
            delays_ms: vec![10_000, 5_000],
            fastest: true,
            idle_ms: None,
        };
        let mut state = MarkState::new(2);
        assert_eq!(fold(&mut state, &rules, &[(0, 50)]), (40, 0));
        assert_eq!(fold(&mut state, &rules, &[(1, 20), (0, 30)]), (40, 40));
    }

    #[test]
    fn a_silent_definition_is_waited_for_until_it_is_idle() {
        let rules = MarkRules {
            delays_ms: vec![0, 0],
            fastest: false,
            idle_ms: Some(30),
        };
        let mut state = MarkState::new(2);
        let mut at = |clock: i64, newest: &[(u32, i64)]| {
            let newest = newest
                .iter()
                .map(|(d, ms)| (*d, EventTime(ms * 1000)))
                .collect();
            state.fold(&rules, &newest, clock);
            state.evict.ms()
        };
        assert_eq!(at(1000, &[(0, 50)]), 0);
        assert_eq!(at(1030, &[(0, 60)]), 0);
        assert_eq!(at(1031, &[(0, 70)]), 70);
        // It comes back behind the others: the mark stays, then follows it.
        assert_eq!(at(1032, &[(0, 90), (1, 20)]), 70);
        assert_eq!(at(1033, &[(0, 95), (1, 80)]), 80);
        // Everybody is silent: nothing moves.
        assert_eq!(at(2000, &[]), 80);
    }

    #[test]
    fn survives_a_checkpoint() {
        let rules = MarkRules {
            delays_ms: vec![0],
            fastest: false,
            idle_ms: None,
        };
        let mut state = MarkState::new(1);
        fold(&mut state, &rules, &[(0, 7)]);
        assert_eq!(MarkState::decode(&state.encode(), 1), Some(state.clone()));
        assert_eq!(MarkState::decode(&state.encode(), 2), None);
        assert_eq!(MarkState::decode(&state.encode()[1..], 1), None);
    }
}
