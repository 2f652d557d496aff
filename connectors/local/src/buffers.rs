//! Buffers that readers fill and decoders empty, used again and again.
//!
//! A chunk's memory is freed on another thread than the one that made it, and asking the system for
//! zeroed pages a thousand times a second was a tenth of the time of a query over files.

use std::sync::{Mutex, PoisonError};

/// Buffers kept at most.
const KEPT_MAX: usize = 8;

/// Larger ones, made for a long line, are not kept.
const CAPACITY_MAX: usize = 4 << 20;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer with at least this capacity.
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut buffer = kept.unwrap_or_default();
    buffer.reserve(capacity);
    buffer
}

/// Gives a buffer back.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > CAPACITY_MAX {
        return;
    }
    buffer.clear();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT_MAX {
        kept.push(buffer);
    }
}
