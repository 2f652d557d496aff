//! The words every crate of Millstream shares.
//!
//! Owns: [`Epoch`], [`EventTime`], [`Watermark`], [`Marks`], [`OutputMode`], [`Interval`] and the
//! catalogue of error codes. Does no IO and has no heavy dependency, so that the protocol and the
//! operators build in seconds. Tests: beside each module.

mod epoch;
pub mod errors;
mod interval;
mod marks;
mod mode;
mod suggest;

pub use epoch::{Epoch, OperatorId, SourceId, WorkerId};
pub use errors::{Class, Code, Coded, ErrorEntry, Fault, SubCondition, TextPosition};
pub use interval::{Interval, IntervalError};
pub use marks::{EventTime, Marks, Watermark};
pub use mode::{OutputMode, UnknownOutputMode};
pub use suggest::did_you_mean;
