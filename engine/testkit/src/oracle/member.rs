//! A row as a member of a group, which is all that the model knows of groups.

use std::ops::Range;

/// A window: its start and its end.
pub type Span = (i64, i64);

/// A row as a member of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which path.
    pub branch: usize,
    /// Which row.
    pub row: i64,
    /// In which step it was accepted.
    pub step: usize,
    /// Its window, if the groups have windows.
    pub window: Option<Span>,
    /// After which steps it is in this group.
    pub during: Range<usize>,
}
