//! Page views a minute, from JSON files, in update mode: each epoch prints the windows it touched.
//!
//! Output:
//! ```text
//! -------------------------------------------
//! Batch: 0
//! -------------------------------------------
//! +--------------------+-----+
//! |              window|count|
//! +--------------------+-----+
//! |{2024-01-01 00:00...|    2|
//! |{2024-01-01 00:01...|    1|
//! +--------------------+-----+
//!
//! -------------------------------------------
//! Batch: 1
//! -------------------------------------------
//! +--------------------+-----+
//! |              window|count|
//! +--------------------+-----+
//! |{2024-01-01 00:00...|    3|
//! |{2024-01-01 00:02...|    1|
//! +--------------------+-----+
//!
//! -------------------------------------------
//! Batch: 2
//! -------------------------------------------
//! +------+-----+
//! |window|count|
//! +------+-----+
//! +------+-----+
//!
//! ```

use millstream::prelude::*;

#[tokio::main]
async fn main() -> millstream::Result<()> {
    let session = Session::builder()
        .app_name("WebsiteTraffic")
        .workers(1)
        .build()?;
    let events = session
        .read_stream()
        .format("json")
        .schema_ddl("timestamp TIMESTAMP, page STRING")
        .option("maxFilesPerTrigger", 1)
        .load_path(concat!(env!("CARGO_MANIFEST_DIR"), "/data/website_traffic"))
        .await?;
    let query = events
        .with_watermark("timestamp", "10 seconds")?
        .group_by([window(col("timestamp"), "1 minute")])
        .count()?
        .write_stream()
        .query_name("traffic")
        .output_mode(OutputMode::Update)
        .trigger(Trigger::AvailableNow)
        .format("console")
        .start()
        .await?;
    query.await_termination().await
}
