//! How large and how deep a text may be: a text from a user must not exhaust memory or the stack.

/// Bytes of one text.
pub(crate) const TEXT_MAX: usize = 1 << 20;
/// Parentheses and subqueries inside each other.
pub(crate) const DEPTH_MAX: usize = 40;
/// Operators in one chain such as `a + b + c`, which makes a tree as deep as it is long.
pub(crate) const CHAIN_MAX: usize = 200;
/// Types inside each other.
pub(crate) const TYPE_DEPTH_MAX: usize = 32;
