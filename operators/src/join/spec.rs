//! What a join is asked to do.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use millstream_types::Watermark;

/// Which rows leave a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs, and rows of the left side that match nothing, with nulls.
    Left,
    /// Pairs, and rows of the right side that match nothing, with nulls.
    Right,
    /// Pairs, and rows of both sides that match nothing, with nulls.
    Full,
    /// Rows of the left side that match something, once.
    LeftSemi,
    /// Rows of the left side that match nothing.
    LeftAnti,
}

impl JoinKind {
    /// Whether a row of a side leaves, with nulls or alone, because it matches nothing.
    #[must_use]
    pub fn keeps_unmatched(self, side: usize) -> bool {
        match self {
            JoinKind::Inner | JoinKind::LeftSemi => false,
            JoinKind::Left | JoinKind::LeftAnti => side == 0,
            JoinKind::Right => side == 1,
            JoinKind::Full => true,
        }
    }

    /// Whether pairs leave.
    #[must_use]
    pub fn gives_pairs(self) -> bool {
        !matches!(self, JoinKind::LeftSemi | JoinKind::LeftAnti)
    }

    /// Whether it is of account how often a row of a side is matched.
    #[must_use]
    pub fn counts_matches(self, side: usize) -> bool {
        self.keeps_unmatched(side) || (self == JoinKind::LeftSemi && side == 0)
    }
}

/// A column of one of the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideColumn {
    /// 0 for the left side, 1 for the right.
    pub side: usize,
    /// Which of its columns.
    pub column: usize,
}

/// When a kept row cannot match any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The row's time: a column of timestamps in microseconds.
    pub column: usize,
    /// The row goes when its time is at or before the watermark and this many milliseconds.
    pub shift_ms: i64,
    /// How many microseconds of event time are kept together.
    pub bucket: i64,
    /// Whether a row without a time matches nothing, because the condition compares it.
    pub is_compared: bool,
}

impl Expiry {
    /// The last instant, in microseconds, at which a row is gone.
    #[must_use]
    pub fn bound(&self, mark: Watermark) -> i64 {
        let ms = mark.ms().saturating_add(self.shift_ms);
        ms.saturating_mul(1000)
    }
}

/// One side of a join.
#[derive(Clone, Debug)]
pub struct SideSpec {
    /// The columns that arrive and are kept.
    pub schema: SchemaRef,
    /// The columns that must be equal, in the order of the other side's.
    pub keys: Vec<usize>,
    /// A condition on this side alone: a row that fails it matches nothing.
    pub alone: Option<Arc<dyn PhysicalExpr>>,
    /// The column of timestamps by which a row is late.
    pub late: Option<usize>,
    /// When a row goes; never if there is none.
    pub expiry: Option<Expiry>,
    /// Whether rows are taken back.
    pub retracting: bool,
}

/// What must hold of a pair beside equal keys.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The columns that the predicate is over.
    pub columns: Vec<SideColumn>,
    /// Their names and types.
    pub schema: SchemaRef,
    /// The predicate.
    pub predicate: Arc<dyn PhysicalExpr>,
}

/// A join of two streams on equal keys.
#[derive(Clone, Debug)]
pub struct JoinSpec {
    /// Which rows leave.
    pub kind: JoinKind,
    /// The sides: left, right.
    pub sides: [SideSpec; 2],
    /// Whether nulls in keys are equal to each other.
    pub nulls_match: bool,
    /// What must hold beside equal keys.
    pub residual: Option<Residual>,
    /// What leaves, in this order.
    pub columns: Vec<SideColumn>,
    /// Names and types of what leaves.
    pub output: SchemaRef,
    /// Whether every change leaves, instead of what is final.
    pub changes: bool,
    /// Whether there is one epoch, after which nothing will come: a batch.
    pub is_once: bool,
}

impl JoinSpec {
    /// How far its rows may be behind the watermark: a kept row leaves with a younger partner.
    #[must_use]
    pub fn mark_delay_ms(&self) -> i64 {
        let kept = self.sides.iter().filter_map(|side| side.expiry);
        let delays = kept.map(|expiry| expiry.shift_ms.saturating_neg());
        delays.max().unwrap_or(0).max(0)
    }

    /// Whether it must look at every change: at rows that are taken back, or at rows without a partner
    /// that may still get one.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        self.changes
            && (self.kind != JoinKind::Inner || self.sides.iter().any(|side| side.retracting))
    }
}
