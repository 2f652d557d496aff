//! Which impressions of an ad led to clicks within an hour: a left outer join of two streams. An
//! impression without a click leaves as soon as the watermark says that none can come.
//!
//! Output:
//! ```text
//! 10:00 ad 1 clicked after 20 min, cost 5
//! 10:00 ad 1 clicked after 59 min, cost 7
//! 10:05 ad 2 not clicked
//! 10:10 ad 3 not clicked
//! 12:00 ad 4 clicked after 0 min, cost 11
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use arrow::array::AsArray;
use millstream::prelude::*;

const IMPRESSIONS: &str = concat!(
    "CREATE TABLE impressions (ad INT, shown TIMESTAMP,
       WATERMARK FOR shown AS shown - INTERVAL '2' MINUTE)
     WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '",
    env!("CARGO_MANIFEST_DIR"),
    "/data/ad_attribution/impressions')"
);

const CLICKS: &str = concat!(
    "CREATE TABLE clicks (ad INT, clicked TIMESTAMP, cost INT,
       WATERMARK FOR clicked AS clicked - INTERVAL '3' MINUTE)
     WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '",
    env!("CARGO_MANIFEST_DIR"),
    "/data/ad_attribution/clicks')"
);

const ATTRIBUTED: &str = "SELECT date_format(shown, 'HH:mm') || ' ad ' || i.ad || CASE
    WHEN clicked IS NULL THEN ' not clicked'
    ELSE ' clicked after ' || timestampdiff(MINUTE, shown, clicked) || ' min, cost ' || cost END AS line
  FROM impressions i LEFT JOIN clicks c
    ON i.ad = c.ad AND clicked BETWEEN shown AND shown + INTERVAL '1' HOUR";

#[tokio::main]
async fn main() -> millstream::Result<()> {
    let session = Session::builder()
        .app_name("AdAttribution")
        .workers(2)
        .build()?;
    session.execute(IMPRESSIONS)?;
    session.execute(CLICKS)?;
    let query = session
        .sql(ATTRIBUTED)?
        .write_stream()
        .query_name("attributed")
        .trigger(Trigger::AvailableNow)
        .format("memory")
        .start()
        .await?;
    query.await_termination().await?;
    let mut lines = Vec::new();
    for rows in session.memory().read("attributed") {
        let column = rows.rows.column(0).as_string::<i32>();
        lines.extend(column.iter().flatten().map(str::to_owned));
    }
    // Within an epoch, rows have no order of their own.
    lines.sort();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}
