//! Whole operators, and what they hold.

use std::alloc::System;

use cap::Cap;

mod harness;
mod windows;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);
