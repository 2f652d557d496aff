//! What a program needs, in one line.

pub use crate::{
    Checkpoint, Coded, Column, DataFrame, JoinKind, OutputMode, Session, SortColumn,
    StreamingQuery, StreamingQueryListener, Trigger,
    functions::{
        avg, call_function, col, count, count_all, count_distinct, expr, lambda, lambda2, lit, max,
        min, session_window, sliding_window, sum, when, window, window_time,
    },
};
