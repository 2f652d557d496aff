//! Buffers that readers fill and decoders empty, used again and again.
//!
//! A chunk's memory is freed on another thread than the one that made it, and asking the system for
//! zeroed pages a thousand times a second was a tenth of the time of a query over files.

use std::sync::{Mutex, PoisonError};

/// Buffers kept at most: as many as wait for workers, and those that are being filled and emptied.
const KEPT_MAX: usize = 8;

/// Smaller ones are made anew: kept, they would hand a whole chunk's memory to a line.
const CAPACITY_MIN: usize = 256 << 10;

/// Larger ones, made for a long line, are not kept.
const CAPACITY_MAX: usize = 4 << 20;

/// Capacities are multiples of this, so that a buffer fits again although the line that was left
/// over from the last chunk is longer this time. A vector that has to grow doubles.
const STEP: usize = 128 << 10;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer with at least this capacity.
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    if capacity < CAPACITY_MIN {
        return Vec::with_capacity(capacity);
    }
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    match kept {
        Some(buffer) if buffer.capacity() >= capacity => buffer,
        Some(_) | None => Vec::with_capacity(capacity.next_multiple_of(STEP)),
    }
}

/// Gives a buffer back.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if !(CAPACITY_MIN..=CAPACITY_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT_MAX {
        kept.push(buffer);
    }
}
