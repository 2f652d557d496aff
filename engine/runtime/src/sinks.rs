//! The sinks of a query: one for its result, and one for its late rows if somebody wants them.
//!
//! They commit together, the late rows first. Each is asked by itself what it has and is given the
//! rest: after a crash in between, the late rows' sink has one epoch more than the other.

use millstream_connectors_api::{
    ConnectorError, EpochWrite, Guarantee, Sink, SinkContext, SinkEncoder, SinkReceipt, Source,
};
use millstream_epoch::{Facts, Output, Refusal, Resume, SinkPosition, resume};
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
    result: End,
    late: Option<End>,
}

/// A sink and what it has.
struct End {
    sink: Box<dyn Sink>,
    is_open: bool,
    /// What it has, by its own word.
    position: SinkPosition,
    /// The newest epoch that it is not given, because it has it from before this start.
    has: Option<Epoch>,
}

/// The sinks hold all rows of an epoch and nobody sees them: without this nothing is committed.
#[must_use]
pub(crate) struct Staged {
    epoch: Epoch,
}

/// An epoch is visible in every sink: without this the log is not told of it.
#[must_use]
pub(crate) struct Visible {
    pub(crate) epoch: Epoch,
    /// What became visible of the result; nothing if the sink only counts or had the epoch before.
    pub(crate) receipt: Option<SinkReceipt>,
}

/// What runs on a worker for each sink.
#[derive(Default)]
pub(crate) struct Encoders {
    pub(crate) result: Option<Box<dyn SinkEncoder>>,
    pub(crate) late: Option<Box<dyn SinkEncoder>>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks")
            .field("result", &self.result.sink.description())
            .field("late", &self.late.is_some())
            .finish()
    }
}

impl End {
    fn new(sink: Box<dyn Sink>) -> End {
        End {
            sink,
            is_open: false,
            position: SinkPosition::CannotTell,
            has: None,
        }
    }

    fn open(&mut self, context: &SinkContext) -> Result<(), ConnectorError> {
        if !self.is_open {
            self.sink.open(context)?;
            self.is_open = true;
        }
        Ok(())
    }

    /// What it answers to "which epoch did you commit last?".
    fn ask(&mut self) -> Result<SinkPosition, ConnectorError> {
        let last = self.sink.last_committed()?;
        self.position = match (self.sink.guarantee(), last) {
            (Guarantee::AtLeastOnce, _) => SinkPosition::CannotTell,
            (Guarantee::ExactlyOnce, None) => SinkPosition::Nothing,
            (Guarantee::ExactlyOnce, Some(epoch)) => SinkPosition::Committed(epoch),
        };
        Ok(self.position)
    }

    /// Decides how the query goes on as far as this sink is concerned.
    fn resume(&mut self, facts: impl Fn(SinkPosition) -> Facts) -> Result<Resume, Refusal> {
        let resumed = resume(facts(self.position))?;
        let silent = resumed.replay.iter();
        self.has = silent
            .filter(|step| step.output == Output::Suppress)
            .map(|step| step.epoch)
            .max();
        Ok(resumed)
    }

    fn wants(&self, epoch: Epoch) -> bool {
        self.has < Some(epoch)
    }

    /// The first epoch that it will be given.
    fn first(&self, resume: &Resume) -> Epoch {
        match (self.position, resume.replay.first()) {
            (SinkPosition::Committed(last), _) => last.next(),
            (SinkPosition::Nothing | SinkPosition::CannotTell, Some(step)) => step.epoch,
            (SinkPosition::Nothing | SinkPosition::CannotTell, None) => resume.next,
        }
    }
}

impl Sinks {
    /// A sink for the result, and one for late rows if the plan makes any.
    #[must_use]
    pub fn new(result: Box<dyn Sink>, late: Option<Box<dyn Sink>>) -> Sinks {
        Sinks {
            result: End::new(result),
            late: late.map(End::new),
        }
    }

    /// Takes the places for this query, when its checkpoint is locked: a process that is refused there
    /// must not have touched anything of the one that runs. May be repeated after a full disk: who has
    /// its place keeps it.
    pub(crate) fn open(&mut self, plan: &StreamPlan, query_id: &str) -> Result<(), ConnectorError> {
        self.result.open(&SinkContext {
            query_id: query_id.to_owned(),
            schema: plan.schema.clone(),
            mode: plan.mode,
        })?;
        if let (Some(late), Some(output)) = (&mut self.late, &plan.late) {
            late.open(&SinkContext {
                query_id: query_id.to_owned(),
                schema: output.schema.clone(),
                mode: OutputMode::Append,
            })?;
        }
        Ok(())
    }

    /// Asks the sinks what they have.
    pub(crate) fn ask(&mut self) -> Result<Vec<SinkPosition>, ConnectorError> {
        let ends = [Some(&mut self.result), self.late.as_mut()];
        ends.into_iter().flatten().map(End::ask).collect()
    }

    /// Decides how the query goes on, once the sinks were asked. A sink of late rows that is of
    /// another life, ahead of the checkpoint or behind what it can replay is refused like the sink
    /// of the result.
    pub(crate) fn resume(
        &mut self,
        facts: impl Fn(SinkPosition) -> Facts,
    ) -> Result<Resume, Refusal> {
        if let Some(late) = &mut self.late {
            late.resume(&facts)?;
        }
        self.result.resume(&facts)
    }

    /// Fails if a source would read what a sink writes.
    pub(crate) fn check_apart(&self, sources: &[Box<dyn Source>]) -> Result<(), ConnectorError> {
        for end in [Some(&self.result), self.late.as_ref()]
            .into_iter()
            .flatten()
        {
            let Some(place) = end.sink.place() else {
                continue;
            };
            for source in sources {
                if source.reads_from(&place)? {
                    return Err(ConnectorError::WritesWhatItReads {
                        sink: place.display().to_string(),
                        source_of: source.description(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The query goes on as was decided: from here on the sinks may change what is there. A
    /// [`Resume`] is needed for it, and only a decision gives one.
    pub(crate) fn begin(&mut self, resume: &Resume) -> Result<(), ConnectorError> {
        let ends = [self.late.as_mut(), Some(&mut self.result)];
        for end in ends.into_iter().flatten() {
            let first = end.first(resume);
            end.sink.begin(first)?;
        }
        Ok(())
    }

    /// The sink of the result.
    pub(crate) fn result(&self) -> &dyn Sink {
        self.result.sink.as_ref()
    }

    /// What a worker needs to encode rows.
    pub(crate) fn encoders(&self) -> Encoders {
        Encoders {
            result: self.result.sink.encoder(),
            late: self.late.as_ref().and_then(|late| late.sink.encoder()),
        }
    }

    /// Whether a sink is to be given an epoch.
    pub(crate) fn wants(&self, port: Port, epoch: Epoch) -> bool {
        match port {
            Port::Result => self.result.wants(epoch),
            Port::Late => self.late.as_ref().is_some_and(|late| late.wants(epoch)),
        }
    }

    fn wanting(&mut self, port: Port, epoch: Epoch) -> Option<&mut dyn Sink> {
        let end = match port {
            Port::Result => Some(&mut self.result),
            Port::Late => self.late.as_mut(),
        };
        let end = end.filter(|end| end.wants(epoch))?;
        Some(end.sink.as_mut())
    }

    pub(crate) fn write(&mut self, port: Port, write: &EpochWrite) -> Result<(), ConnectorError> {
        match self.wanting(port, write.epoch) {
            Some(sink) => sink.write(write),
            None => Ok(()),
        }
    }

    /// Has the rows of an epoch written where nobody sees them. May be repeated after a full disk.
    pub(crate) fn stage(&mut self, epoch: Epoch) -> Result<Staged, ConnectorError> {
        for port in [Port::Late, Port::Result] {
            if let Some(sink) = self.wanting(port, epoch) {
                sink.stage(epoch)?;
            }
        }
        Ok(Staged { epoch })
    }

    /// Makes an epoch visible. May be repeated after a full disk: a sink that has the epoch says so.
    pub(crate) fn commit(&mut self, staged: &Staged) -> Result<Visible, ConnectorError> {
        let epoch = staged.epoch;
        if let Some(late) = &mut self.late
            && late.wants(epoch)
        {
            late.sink.commit(epoch)?;
            late.has = Some(epoch);
        }
        if !self.result.wants(epoch) {
            return Ok(Visible {
                epoch,
                receipt: None,
            });
        }
        let receipt = self.result.sink.commit(epoch)?;
        Ok(Visible {
            epoch,
            receipt: (!self.result.sink.discards_rows()).then_some(receipt),
        })
    }
}
