//! Workers, pacer, coordinator, snapshots; a [`StreamPlan`](plan::StreamPlan) becomes one timely
//! dataflow.
//!
//! Owns the life of a query: threads, channels, what is written when. Knows no SQL; decides nothing
//! about rows. Tests: whole queries run as scripts; here are unit tests of what scripts do not reach.

mod capture;
pub mod clock;
mod committer;
mod control;
mod dataflow;
mod desk;
mod edge;
mod ends;
mod epochs;
pub mod error;
pub mod events;
mod frame;
mod intake;
mod journals;
mod log;
mod message;
mod pacer;
pub mod plan;
mod planner;
pub mod progress;
pub mod query;
mod report;
mod restore;
pub mod schedule;
pub mod settings;
mod shared;
pub mod sinks;
mod snapshot;
mod speaker;
mod start;
mod statics;
mod threads;

pub use settings::Channels;
