//! Millstream: Spark Structured Streaming's programs, native.
//!
//! A [`Session`] holds tables, settings and queries. Frames come from
//! [`read_stream`](Session::read_stream), [`sql`](Session::sql) or [`table`](Session::table), are
//! shaped with Spark's methods, and start with [`write_stream`](DataFrame::write_stream):
//!
//! ```
//! use millstream::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> millstream::Result<()> {
//! let session = Session::builder().app_name("Ticks").workers(1).build()?;
//! let ticks = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 10).load().await?;
//! let query = ticks
//!     .with_watermark("timestamp", "10 seconds")?
//!     .group_by([window(col("timestamp"), "1 minute")])
//!     .count()?
//!     .write_stream()
//!     .query_name("ticks")
//!     .output_mode(OutputMode::Update)
//!     .trigger(Trigger::Once)
//!     .format("memory")
//!     .start()
//!     .await?;
//! query.await_termination().await?;
//! assert_eq!(session.memory().read("ticks").len(), 1);
//! # Ok(())
//! # }
//! ```

mod assign;
mod batch;
mod builder;
mod dataframe;
mod error;
mod frames;
pub mod functions;
mod grouped;
mod late;
mod na;
pub mod prelude;
mod query;
mod reader;
mod session;
mod settings;
mod start;
mod statements;
mod writer;

pub use builder::SessionBuilder;
pub use dataframe::DataFrame;
pub use error::{Error, Result};
pub use grouped::GroupedData;
pub use millstream_connectors::{MemoryHub, SignedRows};
pub use millstream_runtime::{
    Channels,
    clock::{Clock, SystemClock, VirtualClock},
    progress::Progress,
    schedule,
    settings::{KillPoint, Trigger},
};
pub use millstream_sql::{
    Column, ExplainFormat, JoinKind, ScriptStatement, SortColumn, SqlError, Statement,
    catalog::Entry,
    functions::{FunctionInfo, FunctionKind, list as list_functions},
    parse_script,
};
pub use millstream_types::{Coded, Fault, OutputMode};
pub use na::{Fill, NaFunctions};
pub use query::{QueryStatus, StreamingQuery, StreamingQueryListener};
pub use reader::{DataFrameReader, DataStreamReader};
pub use session::{Session, fault};
pub use settings::{Checkpoint, SETTINGS, SessionSettings, SettingInfo, parse_trigger};
pub use statements::Outcome;
pub use writer::DataStreamWriter;
