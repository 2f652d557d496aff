//! Workers, pacer, coordinator, snapshots; a StreamPlan becomes one timely dataflow.

pub mod plan;
