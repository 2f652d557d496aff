//! From Spark's SQL, or a logical plan, to a [`StreamPlan`](millstream_runtime::plan::StreamPlan).
//!
//! Owns: the statements of the dialect ([`statement`]), the tables and views of a session
//! ([`catalog`]), the functions and Spark's number rules ([`functions`]), planning ([`planner`]),
//! the rules of output modes ([`modes`]) and the explanation of a plan ([`explain`]). It never
//! opens a connector and never runs anything: the session executes statements, the runtime plans.
//!
//! The way of a query: text → tokens ([`text`]) → syntax tree → DataFusion's logical plan → our
//! list of optimizer rules → nodes of the runtime. Tests: `tests/it`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "this crate reads enums of sqlparser, DataFusion and Arrow, with many variants and more to come"
)]

mod aggregates;
mod calls;
pub mod catalog;
pub mod column;
mod ddl;
mod dedup;
pub mod error;
pub mod explain;
mod folding;
mod frame;
pub mod functions;
mod identity;
pub mod late;
mod limits;
mod literals;
mod lower;
pub mod modes;
mod names;
mod numbers;
mod plan_settings;
pub mod planner;
mod provider;
mod resolve;
mod rewrite;
mod spelling;
pub mod statement;
pub mod text;
mod times;
pub mod types;
mod undetermined;
mod unfold;
pub mod watermark;
mod words;
mod zones;

pub use catalog::{Catalog, Table, TableMode, WatermarkSpec};
pub use column::{Column, SortColumn};
pub use dedup::drop_duplicates;
pub use error::SqlError;
pub use explain::ExplainFormat;
pub use frame::{Grouping, JoinKind, JoinOn, SetKind, aliased};
pub use lower::shown_schema;
pub use plan_settings::PlanSettings;
pub use planner::Planner;
pub use provider::is_streaming;
pub use statement::{ScriptStatement, Statement, parse_script};
pub use text::QueryText;
