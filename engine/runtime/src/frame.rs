//! The form of a worker's word between processes; between threads only in tests.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "MSW1"
//!      4     4  crc32c of everything after it, little-endian
//!      8     8  worker
//!     16     8  epoch
//!     24     1  kind
//!     25     n  fields of the kind; numbers little-endian, bytes behind their length
//! ```
//!
//! Rows travel as [`wire`] frames. Nothing here panics on foreign bytes: what cannot be read is no
//! word. [INV-10]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use arrow::{
    array::{Int64Array, RecordBatch},
    error::ArrowError,
};
use millstream_connectors_api::{Encoded, SinkRows, WriteBody};
use millstream_epoch::checksum;
use millstream_operators::{
    delta::Delta,
    driver::OperatorReport,
    state::{Addition, Bucket, BucketChange},
    watermark::{EventTimes, MarkReport, MarkState},
    wire,
};
use millstream_types::{Code, Epoch, Fault, OperatorId, SourceId, WorkerId, errors::CATALOGUE};

use crate::{
    message::{Said, WorkerMessage},
    sinks::Port,
};

const MAGIC: [u8; 4] = *b"MSW1";

/// Writes numbers and bytes.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Out, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads them again.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.u64()?).ok()
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// An option; the outer one is whether it could be read.
    #[expect(clippy::option_option, reason = "readable, and there or not")]
    fn option<T>(&mut self, read: impl FnOnce(&mut In<'a>) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }
}

/// The bytes of a word.
///
/// # Errors
/// When rows cannot be written as Arrow IPC.
pub(crate) fn encode(word: &WorkerMessage) -> Result<Vec<u8>, ArrowError> {
    let mut out = Out::default();
    out.u64(word.worker.0 as u64);
    out.u64(word.epoch.0);
    match &word.said {
        Said::Failed(fault) => {
            out.u8(0);
            out.bytes(fault.code.0.as_bytes());
            out.bytes(fault.message.as_bytes());
            out.option(fault.hint.as_ref(), |out, hint| out.bytes(hint.as_bytes()));
        }
        Said::Built { givers } => {
            out.u8(1);
            out.u64(*givers);
        }
        Said::Rows { port, body, held } => {
            out.u8(2);
            out.u8(u8::from(*port == Port::Late));
            out.u64(*held as u64);
            write_body(&mut out, body)?;
        }
        Said::Counted { rows } => {
            out.u8(3);
            out.u64(*rows);
        }
        Said::Closed { messages } => {
            out.u8(4);
            out.u64(*messages);
        }
        Said::Operator { operator, report } => {
            out.u8(5);
            out.u64(u64::from(operator.0));
            write_report(&mut out, report);
        }
        Said::Tapped { operator, changes } => {
            out.u8(6);
            out.u64(u64::from(operator.0));
            out.u64(changes.len() as u64);
            for change in changes {
                write_change(&mut out, change)?;
            }
        }
        Said::Marked(report) => {
            out.u8(7);
            write_marks(&mut out, report);
        }
        Said::Read {
            source,
            rows,
            malformed,
        } => {
            out.u8(8);
            out.u64(u64::from(source.0));
            out.u64(*rows);
            out.u64(*malformed);
        }
    }
    let mut frame = MAGIC.to_vec();
    frame.extend_from_slice(&checksum(&out.0).to_le_bytes());
    frame.append(&mut out.0);
    Ok(frame)
}

fn write_body(out: &mut Out, body: &WriteBody) -> Result<(), ArrowError> {
    match body {
        WriteBody::Encoded(encoded) => {
            out.u8(0);
            out.u64(encoded.rows);
            out.bytes(&encoded.bytes);
        }
        WriteBody::Rows(rows) => {
            out.u8(1);
            let signs = rows.signs.clone();
            let delta = Delta::signed(rows.rows.clone(), signs);
            out.bytes(&wire::encode(&delta)?);
        }
    }
    Ok(())
}

fn write_report(out: &mut Out, report: &OperatorReport) {
    out.u64(report.rows_total);
    out.u64(report.rows_updated);
    out.u64(report.rows_removed);
    out.u64(report.rows_late);
    out.u64(report.bytes);
    out.option(report.oldest_end, Out::i64);
}

fn write_change(out: &mut Out, change: &BucketChange) -> Result<(), ArrowError> {
    out.u64(u64::from(change.table));
    out.i64(change.bucket.0);
    out.u8(match change.addition {
        Addition::Overwrites => 0,
        Addition::AddsUp => 1,
        Addition::Replaces => 2,
    });
    out.u64(change.rows.len() as u64);
    for rows in &change.rows {
        out.bytes(&wire::encode(&Delta::insertions(rows.clone()))?);
    }
    Ok(())
}

fn write_marks(out: &mut Out, report: &MarkReport) {
    let state = &report.state;
    out.u64(report.epoch.0);
    out.u64(state.definitions_ms.len() as u64);
    out.bytes(&state.encode());
    out.bytes(
        &state
            .idle
            .iter()
            .map(|idle| u8::from(*idle))
            .collect::<Vec<_>>(),
    );
    out.option(report.times, |out, times| {
        out.i64(times.max_ms);
        out.i64(times.min_ms);
        out.u64(times.avg_ms.to_bits());
    });
}

/// The word in these bytes; `None` if there is none.
pub(crate) fn decode(frame: &[u8]) -> Option<WorkerMessage> {
    let mut from = In(frame);
    if from.take(4)? != MAGIC {
        return None;
    }
    let crc = u32::from_le_bytes(from.take(4)?.try_into().ok()?);
    if crc != checksum(from.0) {
        return None;
    }
    let worker = WorkerId(usize::try_from(from.u64()?).ok()?);
    let epoch = Epoch(from.u64()?);
    let said = read_said(&mut from)?;
    from.0.is_empty().then_some(WorkerMessage {
        worker,
        epoch,
        said,
    })
}

fn read_said(from: &mut In<'_>) -> Option<Said> {
    Some(match from.u8()? {
        0 => {
            let code = from.text()?;
            let code = CATALOGUE.iter().find(|entry| entry.code == code)?.code;
            Said::Failed(Fault {
                code: Code(code),
                sub_condition: None,
                message: from.text()?,
                hint: from.option(In::text)?,
                position: None,
            })
        }
        1 => Said::Built {
            givers: from.u64()?,
        },
        2 => Said::Rows {
            port: match from.u8()? {
                0 => Port::Result,
                1 => Port::Late,
                _ => return None,
            },
            held: usize::try_from(from.u64()?).ok()?,
            body: read_body(from)?,
        },
        3 => Said::Counted { rows: from.u64()? },
        4 => Said::Closed {
            messages: from.u64()?,
        },
        5 => Said::Operator {
            operator: OperatorId(from.u32()?),
            report: read_report(from)?,
        },
        6 => {
            let operator = OperatorId(from.u32()?);
            // Changes are read one by one, so that the count alone takes no memory.
            let count = from.u64()?;
            let mut changes = Vec::new();
            for _ in 0..count {
                changes.push(read_change(from)?);
            }
            Said::Tapped { operator, changes }
        }
        7 => Said::Marked(read_marks(from)?),
        8 => Said::Read {
            source: SourceId(from.u32()?),
            rows: from.u64()?,
            malformed: from.u64()?,
        },
        _ => return None,
    })
}

fn read_rows(from: &mut In<'_>) -> Option<(RecordBatch, Option<Int64Array>)> {
    let delta = wire::decode(from.bytes()?)?;
    Some(delta.into_parts())
}

fn read_body(from: &mut In<'_>) -> Option<WriteBody> {
    match from.u8()? {
        0 => {
            let rows = from.u64()?;
            let bytes = from.bytes()?.to_vec();
            Some(WriteBody::Encoded(Encoded { bytes, rows }))
        }
        1 => {
            let (rows, signs) = read_rows(from)?;
            Some(WriteBody::Rows(SinkRows { rows, signs }))
        }
        _ => None,
    }
}

fn read_report(from: &mut In<'_>) -> Option<OperatorReport> {
    Some(OperatorReport {
        rows_total: from.u64()?,
        rows_updated: from.u64()?,
        rows_removed: from.u64()?,
        rows_late: from.u64()?,
        bytes: from.u64()?,
        oldest_end: from.option(In::i64)?,
    })
}

fn read_change(from: &mut In<'_>) -> Option<BucketChange> {
    let mut change = BucketChange {
        table: from.u32()?,
        bucket: Bucket(from.i64()?),
        addition: match from.u8()? {
            0 => Addition::Overwrites,
            1 => Addition::AddsUp,
            2 => Addition::Replaces,
            _ => return None,
        },
        rows: Vec::new(),
    };
    // Pieces are read one by one, so that the count alone takes no memory.
    for _ in 0..from.u64()? {
        change.rows.push(read_rows(from)?.0);
    }
    Some(change)
}

fn read_marks(from: &mut In<'_>) -> Option<MarkReport> {
    let epoch = Epoch(from.u64()?);
    let definitions = usize::try_from(from.u64()?).ok()?;
    let mut state = MarkState::decode(from.bytes()?, definitions)?;
    let idle = from.bytes()?;
    if idle.len() != definitions {
        return None;
    }
    state.idle = idle.iter().map(|idle| *idle != 0).collect();
    let times = from.option(|from| {
        Some(EventTimes {
            max_ms: from.i64()?,
            min_ms: from.i64()?,
            avg_ms: f64::from_bits(from.u64()?),
        })
    })?;
    Some(MarkReport {
        epoch,
        state,
        times,
    })
}

#[cfg(test)]
mod tests;
