//! Faults for tests: operations of this thread that fail, counted from the first one.
//!
//! The place where every writing operation passes. In the product it is nothing but the call.

/// Runs an operation of the disk, or fails in its stead if a test said so.
#[cfg(not(test))]
pub(super) fn pass<T>(operation: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    operation()
}

#[cfg(test)]
pub(super) use seam::pass;
#[cfg(test)]
pub(crate) use seam::{Effect, Faults, WRITE_BYTES_MAX, planned, with, without};

#[cfg(test)]
mod seam {
    use std::{cell::Cell, io, ops::Range};

    /// Bytes that one write takes while faults are planned, so that writes are cut, too.
    pub(crate) const WRITE_BYTES_MAX: usize = 100;

    /// Whether a failed operation did nothing, or did what it should and only failed to say so.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Effect {
        Nothing,
        Done,
    }

    /// Which operations fail.
    #[derive(Clone, Debug)]
    pub(crate) struct Faults {
        pub(crate) at: Range<u64>,
        pub(crate) kind: io::ErrorKind,
        pub(crate) effect: Effect,
    }

    thread_local! {
        static PLANNED: std::cell::RefCell<Option<Faults>> = const { std::cell::RefCell::new(None) };
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }

    /// Runs `work` with faults and says how many operations it made.
    pub(crate) fn with<T>(faults: Faults, work: impl FnOnce() -> T) -> (T, u64) {
        PLANNED.with(|planned| *planned.borrow_mut() = Some(faults));
        COUNT.with(|count| count.set(0));
        let result = work();
        PLANNED.with(|planned| *planned.borrow_mut() = None);
        (result, COUNT.with(Cell::get))
    }

    /// Runs `work` without faults, and without waiting for the disk.
    pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
        let none = Faults {
            at: 0..0,
            kind: io::ErrorKind::Other,
            effect: Effect::Nothing,
        };
        with(none, work).0
    }

    /// Whether faults are planned on this thread.
    pub(crate) fn planned() -> bool {
        PLANNED.with(|planned| planned.borrow().is_some())
    }

    pub(crate) fn pass<T>(operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !planned() {
            return operation();
        }
        let number = COUNT.with(|count| count.replace(count.get() + 1));
        let fault = PLANNED.with(|planned| planned.borrow().clone());
        match fault.filter(|faults| faults.at.contains(&number)) {
            None => operation(),
            Some(Faults { kind, effect, .. }) => {
                if effect == Effect::Done {
                    operation()?;
                }
                Err(kind.into())
            }
        }
    }
}
