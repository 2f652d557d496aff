//! `Pressure`: whether what operators emit comes faster than the sink takes it.
//!
//! The runtime says so when the rows that wait for the sink pass its bound. Drivers then close nothing,
//! so that a window with a million groups does not pile up in memory, and are woken when there is room.
//! What it does *not* do: count, or hold back rows on their way between operators. [INV-07]

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Rings for one operator of a worker.
type Bell = Box<dyn Fn() + Send>;

/// Shared by the drivers of all workers of a query and its runtime.
#[derive(Default)]
pub struct Pressure {
    high: AtomicBool,
    bells: Mutex<Vec<Bell>>,
}

impl std::fmt::Debug for Pressure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pressure")
            .field("high", &self.is_high())
            .finish_non_exhaustive()
    }
}

impl Pressure {
    /// Whether operators should emit no more for now.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::SeqCst)
    }

    /// The sink is behind.
    pub fn raise(&self) {
        self.high.store(true, Ordering::SeqCst);
    }

    /// There is room again: wakes everybody who may have held back. The flag falls before the bells
    /// ring, so whoever saw it up is woken after it.
    pub fn release(&self) {
        if self.high.swap(false, Ordering::SeqCst) {
            let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
            bells.iter().for_each(|bell| bell());
        }
    }

    /// Registers whoever is to be woken. Called once an operator.
    pub(crate) fn on_release(&self, bell: impl Fn() + Send + 'static) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.push(Box::new(bell));
    }
}
