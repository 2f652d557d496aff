//! Functions for expressions that DataFusion does not have: event-time windows.

use datafusion::logical_expr::{Expr, lit};
use millstream_sql::functions::scalar;

/// Tumbling windows over a timestamp: a struct of `start` and `end`, as column `window`.
#[must_use]
pub fn window(time: Expr, duration: &str) -> Expr {
    call("window", vec![time, lit(duration)]).alias("window")
}

/// Sliding windows over a timestamp: every `slide` one of length `duration` begins.
#[must_use]
pub fn sliding_window(time: Expr, duration: &str, slide: &str) -> Expr {
    call("window", vec![time, lit(duration), lit(slide)]).alias("window")
}

/// Sessions over a timestamp: rows of a group that lie closer than `gap`.
#[must_use]
pub fn session_window(time: Expr, gap: &str) -> Expr {
    call("session_window", vec![time, lit(gap)]).alias("session_window")
}

/// The last instant of a window, for windows over windows.
#[must_use]
pub fn window_time(window: Expr) -> Expr {
    call("window_time", vec![window])
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    scalar(name).map_or_else(|| lit(format!("no function {name}")), |f| f.call(arguments))
}
