//! Operators over epochs of Arrow batches.

pub mod aggregate;
pub mod chain;
