//! Programs a stranger runs first
