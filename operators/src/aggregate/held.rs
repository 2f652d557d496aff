//! What an aggregation by buckets hands over for a snapshot.

use arrow::array::ArrayRef;

use super::groups::Groups;
use crate::{
    error::Result,
    state::{Bucket, StateTable},
};

/// Notes what changed of the groups of a bucket: the keys and states of groups that have rows; of the
/// others, that they are gone.
pub(super) fn tap(
    state: &mut StateTable,
    bucket: Bucket,
    groups: &Groups,
    changed: Vec<u32>,
    keys_of: impl Fn(&[u32]) -> Result<Vec<ArrayRef>>,
) -> Result<()> {
    let (alive, gone): (Vec<u32>, Vec<u32>) = changed
        .into_iter()
        .partition(|group| groups.rows_of(*group) != 0);
    for gone in groups.portions(&gone) {
        state.remove(bucket, &keys_of(gone)?, gone.len())?;
    }
    for alive in groups.portions(&alive) {
        let (keys, states) = (keys_of(alive)?, groups.states(alive)?);
        state.upsert(bucket, &keys, &states, alive.len())?;
    }
    Ok(())
}
