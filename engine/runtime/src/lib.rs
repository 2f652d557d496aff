//! Workers, pacer, coordinator, snapshots; a [`StreamPlan`](plan::StreamPlan) becomes one timely
//! dataflow.
//!
//! Owns the life of a query: threads, channels, what is written when. Knows no SQL; decides nothing
//! about rows. Tests: whole queries run as scripts; here are unit tests of what scripts do not reach.

pub mod clock;
mod coordinator;
mod dataflow;
pub mod error;
mod feed;
mod message;
mod pacer;
pub mod plan;
pub mod progress;
pub mod query;
mod report;
pub mod schedule;
pub mod settings;
pub mod sinks;
mod snapshot;
mod threads;

pub use threads::Channels;
