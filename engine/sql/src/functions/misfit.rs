//! What happens to a value that cannot be read.

/// See there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The query stops, as ANSI SQL wants it.
    Fails,
    /// There is no value.
    IsNull,
}
