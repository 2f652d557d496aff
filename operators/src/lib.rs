//! Operators over epochs of Arrow batches, on timely and differential dataflow.
//!
//! Owns what happens to rows between a source and a sink: [`delta`] and its wire form, routing by
//! key, fused stateless [`chain`]s, the epoch [`driver`] that owns all capabilities, watermarks,
//! [`state`] tables and [`aggregate`]. Does no IO, reads no clock, knows no SQL and no tokio; of
//! DataFusion it uses physical expressions and accumulators only.
//! Tests: beside each module; whole operators on real workers in `tests/it`.

pub mod aggregate;
pub mod board;
pub mod chain;
pub mod clock;
mod dd;
pub mod delta;
pub mod draw;
pub mod driver;
pub mod error;
pub mod join;
pub mod keyhash;
pub mod keys;
pub mod late;
pub mod pressure;
pub mod route;
pub mod rows;
pub mod sort;
pub mod state;
pub mod top;
pub mod unnest;
pub mod watermark;
pub mod width;
pub mod wire;
