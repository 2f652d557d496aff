//! `write_stream`: where a frame's rows go and when.

use millstream_connectors_api::{Options, SinkRequest};
use millstream_runtime::settings::Trigger;
use millstream_types::OutputMode;

use crate::{
    dataframe::DataFrame,
    error::{Error, Result},
    query::StreamingQuery,
    session::Target,
    settings::{Checkpoint, SessionSettings},
};

/// Describes a sink; [`start`](DataStreamWriter::start) begins the query.
#[derive(Debug)]
pub struct DataStreamWriter {
    frame: DataFrame,
    format: String,
    options: Options,
    mode: Option<OutputMode>,
    name: Option<String>,
    trigger: Option<Trigger>,
    checkpoint: Option<Checkpoint>,
    late: Option<String>,
}

impl DataStreamWriter {
    pub(crate) fn new(frame: DataFrame) -> DataStreamWriter {
        DataStreamWriter {
            frame,
            format: "file".to_owned(),
            options: Options::new(),
            mode: None,
            name: None,
            trigger: None,
            checkpoint: None,
            late: None,
        }
    }

    /// A table of the session that takes the rows which the query drops as late, with the columns of
    /// the aggregation's input. It commits with the query.
    #[must_use]
    pub fn late_rows_into(mut self, table: impl Into<String>) -> Self {
        self.late = Some(table.into());
        self
    }

    /// The connector: `console`, `file`, `memory`, `noop` …
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = format.into();
        self
    }

    /// One option of the connector; `checkpointLocation` is the query's.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write literals")]
    pub fn option(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        let key = key.into();
        if key.eq_ignore_ascii_case("checkpointLocation") {
            self.checkpoint = Some(Checkpoint::Directory(value.to_string().into()));
        } else {
            self.options.set(key, value.to_string());
        }
        self
    }

    /// What reaches the sink in each epoch; append without it.
    #[must_use]
    pub fn output_mode(mut self, mode: OutputMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The name, unique among active queries.
    #[must_use]
    pub fn query_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// When epochs run.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    /// Where the query keeps its checkpoint.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Starts the query.
    ///
    /// # Errors
    /// Everything that is refused before the first row: unknown sinks and options, output modes
    /// that the query or the sink cannot have, checkpoints of other queries.
    #[expect(
        clippy::unused_async,
        reason = "sinks that must connect will await here"
    )]
    pub async fn start(self) -> Result<StreamingQuery> {
        self.start_now()
    }

    /// Starts the query into a path.
    ///
    /// # Errors
    /// As [`start`](DataStreamWriter::start).
    pub async fn start_path(self, path: impl ToString) -> Result<StreamingQuery> {
        self.option("path", path).start().await
    }

    /// As [`start`](DataStreamWriter::start), without async.
    ///
    /// # Errors
    /// As [`start`](DataStreamWriter::start).
    pub fn start_now(self) -> Result<StreamingQuery> {
        let settings = self.frame.session().settings();
        self.start_with(settings)
    }

    /// As [`start_now`](DataStreamWriter::start_now), with other settings than the session's.
    ///
    /// # Errors
    /// As [`start`](DataStreamWriter::start).
    pub fn start_with(self, mut settings: SessionSettings) -> Result<StreamingQuery> {
        let session = self.frame.session().clone();
        settings.query_name = self.name.or(settings.query_name);
        settings.trigger = self.trigger.unwrap_or(settings.trigger);
        settings.checkpoint = self.checkpoint.unwrap_or(settings.checkpoint);
        let factory = session.catalog().connector(&self.format)?.clone();
        if factory.name() == "memory" && settings.query_name.is_none() {
            let what = "name for a memory sink: queryName must be specified for memory sink";
            return Err(Error::BadValue {
                what,
                value: String::new(),
            });
        }
        let table = settings.query_name.clone().unwrap_or_default();
        let specs = factory.options();
        self.options.check(factory.name(), &[&specs])?;
        let target = Target {
            factory,
            request: SinkRequest {
                table,
                options: self.options,
            },
        };
        let mode = self.mode.or(settings.output_mode).unwrap_or_default();
        let plan = self.frame.logical_plan().clone();
        session.start_logical(plan, mode, (&target, self.late.as_deref()), settings)
    }
}

impl DataFrame {
    /// Says where the rows go.
    #[must_use]
    pub fn write_stream(&self) -> DataStreamWriter {
        DataStreamWriter::new(self.clone())
    }
}
