//! A worker's way to the committer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::mpsc::Sender,
};

use millstream_types::{Epoch, WorkerId};

use crate::{
    frame,
    message::{Said, ToCommitter, WorkerMessage},
    settings::Channels,
};

/// A worker's way to the committer. Lives on the worker and counts what it says.
#[derive(Debug)]
pub(crate) struct Speaker {
    worker: WorkerId,
    channels: Channels,
    out: Sender<ToCommitter>,
    counts: RefCell<BTreeMap<Epoch, u64>>,
    /// Words of all epochs, for a schedule.
    total: Cell<u64>,
}

impl Speaker {
    pub(crate) fn new(worker: WorkerId, channels: Channels, out: Sender<ToCommitter>) -> Speaker {
        Speaker {
            worker,
            channels,
            out,
            counts: RefCell::default(),
            total: Cell::default(),
        }
    }

    /// How many words were said so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// Says something of an epoch that is not closed.
    pub(crate) fn say(&self, epoch: Epoch, said: Said) {
        self.total.set(self.total.get() + 1);
        if said.is_counted() {
            *self.counts.borrow_mut().entry(epoch).or_default() += 1;
        }
        let worker = self.worker;
        let word = WorkerMessage {
            worker,
            epoch,
            said,
        };
        let message = match self.channels {
            Channels::Typed => ToCommitter::Said(word),
            Channels::Bytes => match frame::encode(&word) {
                Ok(bytes) => ToCommitter::Framed(bytes),
                Err(_) => ToCommitter::Said(word),
            },
        };
        // A committer that is gone has told everybody to stop.
        let _gone = self.out.send(message);
    }

    /// Says the last word of an epoch.
    pub(crate) fn close(&self, epoch: Epoch) {
        let messages = self.counts.borrow_mut().remove(&epoch).unwrap_or(0);
        self.say(epoch, Said::Closed { messages });
    }
}
