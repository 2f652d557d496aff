//! The same page views in SQL: every change of a running count, with its sign, taken from memory.
//!
//! Output:
//! ```text
//! epoch 0  + /a 1
//! epoch 0  + / 2
//! epoch 1  - / 2
//! epoch 1  + /b 1
//! epoch 1  + / 3
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use arrow::{array::AsArray, datatypes::Int64Type};
use millstream::prelude::*;

const SETUP: &str = concat!(
    "CREATE TABLE views (timestamp TIMESTAMP, page STRING)
     WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '",
    env!("CARGO_MANIFEST_DIR"),
    "/data/website_traffic')"
);

#[tokio::main]
async fn main() -> millstream::Result<()> {
    let session = Session::builder().app_name("HotPages").workers(1).build()?;
    session.execute(SETUP)?;
    let query = session
        .sql("SELECT page, count(*) AS views FROM views GROUP BY page")?
        .write_stream()
        .query_name("hot_pages")
        .output_mode(OutputMode::Changes)
        .trigger(Trigger::AvailableNow)
        .format("memory")
        .start()
        .await?;
    query.await_termination().await?;
    let mut lines = Vec::new();
    for change in session.memory().read("hot_pages") {
        let pages = change.rows.column(0).as_string::<i32>();
        let views = change.rows.column(1).as_primitive::<Int64Type>();
        for row in 0..change.rows.num_rows() {
            let sign = change.signs.as_ref().map_or(1, |signs| signs.value(row));
            let word = if sign < 0 { '-' } else { '+' };
            let (page, views) = (pages.value(row), views.value(row));
            let line = format!("epoch {}  {word} {page} {views}", change.epoch);
            lines.push((change.epoch, sign, views, line));
        }
    }
    // Within an epoch, rows have no order of their own.
    lines.sort();
    lines.iter().for_each(|(.., line)| println!("{line}"));
    Ok(())
}
