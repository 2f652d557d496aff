//! What an epoch did, under the names of Spark's `StreamingQueryProgress`.
//!
//! One source of truth: listeners, `lastProgress`, the terminal line, progress files and metrics
//! all show this value.

use millstream_values::instant;
use serde::{Serialize, Serializer};

/// Progress of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Stable id of the query.
    pub id: String,
    /// Id of this start of it.
    pub run_id: String,
    /// Its name.
    pub name: Option<String>,
    /// When the epoch was planned, ISO 8601 in UTC.
    pub timestamp: String,
    /// The epoch.
    pub batch_id: u64,
    /// From plan to commit, milliseconds.
    pub batch_duration: u64,
    /// Rows read from all sources.
    pub num_input_rows: u64,
    /// Rows read since the epoch before, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_rows_per_second: Option<f64>,
    /// Rows read by the duration of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processed_rows_per_second: Option<f64>,
    /// Where the time went.
    pub duration_ms: Durations,
    /// Watermark and event times; absent without a watermark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<EventTimeProgress>,
    /// Stateful operators, the one nearest to the sink first.
    pub state_operators: Vec<StateOperatorProgress>,
    /// Sources in the order of the query.
    pub sources: Vec<SourceProgress>,
    /// The sink.
    pub sink: SinkProgress,
}

/// Where the time of an epoch went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Durations {
    /// Asking the sources.
    pub latest_offset: u64,
    /// Writing the plan.
    pub wal_commit: u64,
    /// Running the epoch and writing to the sink.
    pub add_batch: u64,
    /// Writing the commit.
    pub commit_offsets: u64,
    /// All of it.
    pub trigger_execution: u64,
}

/// Event times of an epoch, ISO 8601 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventTimeProgress {
    /// The mark that this epoch evicted by.
    pub watermark: String,
    /// Newest time seen in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// Oldest time seen in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// Mean of the times seen in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avg: Option<String>,
    /// In one sentence: which input holds the mark, and which window waits for it.
    pub held_by: String,
}

/// One stateful operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateOperatorProgress {
    /// Number of the operator in the plan, as `explain` shows it; stable across restarts.
    pub operator_id: u32,
    /// Spark's name for its kind.
    pub operator_name: String,
    /// Logical rows held.
    pub num_rows_total: u64,
    /// Rows touched.
    pub num_rows_updated: u64,
    /// Rows removed.
    pub num_rows_removed: u64,
    /// (row, window) pairs dropped as late.
    pub num_rows_dropped_by_watermark: u64,
    /// Bytes held.
    pub memory_used_bytes: u64,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProgress {
    /// The source's line.
    pub description: String,
    /// Where the epoch began; null in the first.
    #[serde(serialize_with = "offset")]
    pub start_offset: Option<String>,
    /// Where it ended.
    #[serde(serialize_with = "offset")]
    pub end_offset: Option<String>,
    /// The newest position known.
    #[serde(serialize_with = "offset")]
    pub latest_offset: Option<String>,
    /// Rows read.
    pub num_input_rows: u64,
    /// Records that could not be parsed.
    pub num_malformed_rows: u64,
    /// Rows since the epoch before, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_rows_per_second: Option<f64>,
    /// Rows by the duration of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processed_rows_per_second: Option<f64>,
}

/// An offset as the object or number that its text is, as Spark shows it; else as the text.
fn offset<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let parsed = text
        .as_deref()
        .map(serde_json::from_str::<serde_json::Value>);
    match parsed {
        Some(Ok(value)) => value.serialize(serializer),
        Some(Err(_)) | None => text.serialize(serializer),
    }
}

/// The sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkProgress {
    /// The sink's line.
    pub description: String,
    /// Rows written.
    pub num_output_rows: u64,
}

/// Milliseconds since 1970 as ISO 8601 with milliseconds and `Z`.
#[must_use]
pub fn iso_ms(ms: i64) -> String {
    let mut text = Vec::new();
    // A count of milliseconds beyond the years of microseconds is shown as their end.
    let micros = instant::write_seconds(ms.saturating_mul(1000), 'T', &mut text);
    let seconds = String::from_utf8_lossy(&text);
    format!("{seconds}.{:03}Z", micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::iso_ms;

    #[test]
    fn prints_iso() {
        assert_eq!(iso_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_ms(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(iso_ms(1_709_164_800_123), "2024-02-29T00:00:00.123Z");
        assert_eq!(iso_ms(1_600_000_000_000), "2020-09-13T12:26:40.000Z");
    }
}
