//! Whole operators, and what they hold.

use std::{alloc::System, sync::RwLock};

use cap::Cap;

mod extremes;
mod harness;
mod memory;
mod sessions;
mod unnest;
mod windows;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Whoever counts bytes takes all of it, so that no other test allocates meanwhile.
static QUIET: RwLock<()> = RwLock::new(());
