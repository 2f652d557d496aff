//! What a program needs, in one line.

pub use datafusion::{
    functions_aggregate::expr_fn::{avg, count, max, min, sum},
    logical_expr::{Expr, cast, col, lit, when},
};

pub use crate::{
    Checkpoint, Coded, DataFrame, OutputMode, Session, StreamingQuery, StreamingQueryListener,
    Trigger,
    functions::{session_window, sliding_window, window, window_time},
};
