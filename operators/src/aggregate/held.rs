//! What an aggregation by buckets hands over for a snapshot, and how it starts from one.

use arrow::array::ArrayRef;
use millstream_types::Epoch;

use super::{Seed, groups::Groups};
use crate::{
    error::Result,
    state::{Bucket, Ownership, StateTable},
};

/// Writes what changed of the groups of a bucket into its state table: the keys and states of groups
/// that have rows; of the others, that they are gone.
pub(super) fn tap(
    state: &mut StateTable,
    (bucket, epoch): (Bucket, Epoch),
    groups: &Groups,
    changed: Vec<u32>,
    keys_of: impl Fn(&[u32]) -> Result<Vec<ArrayRef>>,
) -> Result<()> {
    let (alive, gone): (Vec<u32>, Vec<u32>) = changed
        .into_iter()
        .partition(|group| groups.rows_of(*group) != 0);
    for gone in groups.portions(&gone) {
        state.remove(bucket, epoch, &keys_of(gone)?, gone.len())?;
    }
    for alive in groups.portions(&alive) {
        let (keys, states) = (keys_of(alive)?, groups.states(alive)?);
        state.upsert(bucket, epoch, &keys, &states, alive.len())?;
    }
    Ok(())
}

/// Seeds a state table and shows what it holds, some groups of a bucket at a time: key columns, state
/// columns, number of groups.
pub(super) fn restore(
    state: &mut StateTable,
    seed: Option<&Seed>,
    ownership: Ownership,
    key_columns: usize,
    mut each: impl FnMut(Bucket, &[ArrayRef], &[ArrayRef], usize) -> Result<()>,
) -> Result<()> {
    let Some(seed) = seed else { return Ok(()) };
    for ((_, bucket), pieces) in &seed.pieces {
        for held in state.seed(*bucket, seed.epoch, pieces, ownership)? {
            let (keys, rest) = held.columns().split_at(key_columns);
            if held.num_rows() > 0 {
                each(*bucket, keys, &rest[..rest.len() - 1], held.num_rows())?;
            }
        }
    }
    Ok(())
}
