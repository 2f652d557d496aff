//! Wire formats over the same rows: what one worker would send another.
//!
//! Two shapes: bids (numbers and text) and groups (three numbers, what a pre-aggregation sends), in
//! batches of 8 192 rows. Every format starts from its own form of the rows in memory, since that
//! is what a program built on it would hold: Arrow columns, a vector of rows, or columnar's
//! containers. *Decode* ends when every value has been read, so that a format that only points into
//! the bytes pays for looking. MB are those of the values alone (8 bytes a number, texts their
//! length), the same for all formats.
//!
//! abomonation is measured by a program of its own (`examples/abomonation`): it can be called only
//! through `unsafe`, which this workspace forbids.

mod formats;
pub(crate) mod rows;

use rows::{BidRow, GroupRow};

use crate::{error::Result, measure::float};

/// One line of the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) encode_s: f64,
    pub(crate) decode_s: f64,
    pub(crate) wire_bytes: u64,
    /// Of all values read while decoding; every format must read the same.
    pub(crate) digest: u64,
}

/// The command `codecs`.
pub(crate) fn run(print: &mut dyn FnMut(String)) -> Result<()> {
    table::<BidRow>("bids", &rows::bids(), print)?;
    table::<GroupRow>("groups", &rows::groups(), print)
}

fn table<R: formats::Row>(
    shape: &str,
    batches: &[Vec<R>],
    print: &mut dyn FnMut(String),
) -> Result<()> {
    let count: usize = batches.iter().map(Vec::len).sum();
    let payload: u64 = batches.iter().flatten().map(rows::Plain::bytes).sum();
    let (count, megabytes) = (float(count as u64), float(payload) / 1e6);
    print(format!(
        "{shape}: {count} rows of {:.1} bytes; MB/s of values and thread CPU, bytes a row on the wire",
        float(payload) / count
    ));
    print(format!(
        "  {:<22} {:>12} {:>12} {:>12}",
        "format", "encode MB/s", "decode MB/s", "bytes a row"
    ));
    for (name, measure) in formats::all::<R>() {
        let figures = measure(batches)?;
        let wanted = rows::digest(batches);
        assert_eq!(figures.digest, wanted, "{name} reads other values");
        print(format!(
            "  {name:<22} {:>12.0} {:>12.0} {:>12.1}",
            megabytes / figures.encode_s,
            megabytes / figures.decode_s,
            float(figures.wire_bytes) / count
        ));
    }
    Ok(())
}
