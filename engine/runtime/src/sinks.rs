//! The sinks of a query: one for its result, and one for its late rows if somebody wants them.
//!
//! They commit together. The late rows go first, so an epoch that the result's sink has is in the
//! other one, too; after a crash in between, the late rows' sink says that it has the epoch and is
//! not given it again. Recovery therefore asks the result's sink alone.

use millstream_connectors_api::{ConnectorError, EpochWrite, Guarantee, Sink, SinkReceipt};
use millstream_types::{Epoch, OutputMode};

use crate::plan::StreamPlan;

/// Which of the sinks rows are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The query's result.
    Result,
    /// Rows that it dropped as late.
    Late,
}

/// Where the rows of a query go.
pub struct Sinks {
    result: Box<dyn Sink>,
    late: Option<LateSink>,
}

struct LateSink {
    sink: Box<dyn Sink>,
    /// The newest epoch that it has from before this start.
    has: Option<Epoch>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks")
            .field("result", &self.result.description())
            .field("late", &self.late.is_some())
            .finish()
    }
}

impl Sinks {
    /// A sink for the result, and one for late rows if the plan makes any.
    #[must_use]
    pub fn new(result: Box<dyn Sink>, late: Option<Box<dyn Sink>>) -> Sinks {
        let late = late.map(|sink| LateSink { sink, has: None });
        Sinks { result, late }
    }

    /// Called once before the first write.
    pub(crate) fn open(&mut self, plan: &StreamPlan) -> Result<(), ConnectorError> {
        self.result.open(&plan.schema, plan.mode)?;
        if let (Some(late), Some(output)) = (&mut self.late, &plan.late) {
            late.sink.open(&output.schema, OutputMode::Append)?;
            if late.sink.guarantee() == Guarantee::ExactlyOnce {
                late.has = late.sink.last_committed()?;
            }
        }
        Ok(())
    }

    /// The sink of the result.
    pub(crate) fn result(&self) -> &dyn Sink {
        self.result.as_ref()
    }

    /// The sink of the result.
    pub(crate) fn result_mut(&mut self) -> &mut dyn Sink {
        self.result.as_mut()
    }

    /// The late rows' sink, unless it has the epoch already.
    fn late_for(&mut self, epoch: Epoch) -> Option<&mut dyn Sink> {
        let late = self.late.as_mut()?;
        (late.has < Some(epoch)).then_some(late.sink.as_mut())
    }

    pub(crate) fn write(&mut self, port: Port, write: EpochWrite) -> Result<(), ConnectorError> {
        match port {
            Port::Result => self.result.write(write),
            Port::Late => match self.late_for(write.epoch) {
                Some(late) => late.write(write),
                None => Ok(()),
            },
        }
    }

    pub(crate) fn stage(&mut self, epoch: Epoch) -> Result<(), ConnectorError> {
        if let Some(late) = self.late_for(epoch) {
            late.stage(epoch)?;
        }
        self.result.stage(epoch)
    }

    /// Commits an epoch and says what became visible of the result.
    pub(crate) fn commit(&mut self, epoch: Epoch) -> Result<SinkReceipt, ConnectorError> {
        if let Some(late) = self.late_for(epoch) {
            late.commit(epoch)?;
        }
        self.result.commit(epoch)
    }
}
