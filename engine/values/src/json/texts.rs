//! Columns of JSON texts into columns of values, and back: `from_json` and `to_json`.
//!
//! A text is a record on its own: what follows the record does not count, as in Spark. A text that is no
//! JSON is a struct of nulls, or a null list or map.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, NullBufferBuilder, StringArray, StructArray},
    datatypes::{DataType, Fields},
};

use super::{
    options::{JsonOptions, Layout},
    read::{Typed, object, read},
    scan::{Grammar, Scan, Syntax},
    write,
};
use crate::{
    ValueError,
    cell::Cell,
    column::{Column, Record},
    error::{arrow_failed, checked_size},
    forms::Forms,
    options::Mode,
    texts::Texts,
};

/// Reads each text as a value of a struct, list or map type.
///
/// # Errors
/// A malformed text in mode FAILFAST; a type that [`unsupported`](crate::column::unsupported) names.
pub fn decode(
    texts: &StringArray,
    data_type: &DataType,
    options: &JsonOptions,
) -> Result<ArrayRef, ValueError> {
    checked_size(texts.value_data().len())?;
    if let DataType::Struct(fields) = data_type {
        return structs(texts, fields, options);
    }
    others(texts, data_type, options)
}

fn no_column(data_type: &DataType) -> ValueError {
    ValueError::Type {
        what: "JSON",
        data_type: data_type.to_string(),
    }
}

/// A text without blanks before it; `None` if there is nothing else.
fn begin(text: &str, grammar: Grammar) -> Option<Scan<'_>> {
    let mut scan = Scan::text(text.as_bytes(), grammar);
    scan.skip_blanks();
    (!scan.is_at_end()).then_some(scan)
}

fn structs(
    texts: &StringArray,
    fields: &Fields,
    options: &JsonOptions,
) -> Result<ArrayRef, ValueError> {
    let corrupt = fields
        .iter()
        .position(|f| *f.name() == options.corrupt_name && *f.data_type() == DataType::Utf8);
    let whole = || no_column(&DataType::Struct(fields.clone()));
    let mut record = Record::new(fields, corrupt).ok_or_else(whole)?;
    let mut nulls = NullBufferBuilder::new(texts.len());
    let forms = &options.style.forms;
    for (row, text) in texts.iter().enumerate() {
        let there = text.and_then(|text| Some((text, begin(text, options.grammar)?)));
        let Some((text, mut scan)) = there else {
            nulls.append_null();
            continue;
        };
        nulls.append_non_null();
        let read = if scan.peek() == b'n' && scan.word() == Ok(b"null") {
            Ok(Typed::Well)
        } else {
            object(&mut record, &mut scan, row, 0, forms)
        };
        if read.is_err() {
            record.truncate(row);
        }
        if read != Ok(Typed::Well) {
            if options.mode == Mode::FailFast {
                return Err(malformed(read));
            }
            record.keep_corrupt(row, text.as_bytes());
        }
    }
    let columns = record.finish(texts.len()).map_err(arrow_failed)?;
    let nulls = nulls.finish();
    StructArray::try_new_with_length(fields.clone(), columns, nulls, texts.len())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(arrow_failed)
}

fn malformed(read: Result<Typed, Syntax>) -> ValueError {
    ValueError::Malformed {
        reason: match read {
            Ok(_) => "a value has another type",
            Err(Syntax(reason)) => reason,
        },
    }
}

fn others(
    texts: &StringArray,
    data_type: &DataType,
    options: &JsonOptions,
) -> Result<ArrayRef, ValueError> {
    let mut column = Column::new(data_type).ok_or_else(|| no_column(data_type))?;
    let forms = &options.style.forms;
    for (row, text) in texts.iter().enumerate() {
        let Some(mut scan) = text.and_then(|text| begin(text, options.grammar)) else {
            column.push_null();
            continue;
        };
        let read = value(&mut column, &mut scan, forms);
        if matches!(read, Err(_) | Ok(Typed::Wrong)) {
            column.truncate(row);
            column.push_null();
        }
        if options.mode == Mode::FailFast && read != Ok(Typed::Well) {
            return Err(malformed(read));
        }
    }
    column.finish(texts.len()).map_err(arrow_failed)
}

/// A list or map; an object where a list of structs is wanted is a list of one.
fn value(column: &mut Column, scan: &mut Scan<'_>, forms: &Forms) -> Result<Typed, Syntax> {
    if scan.peek() == b'{'
        && let Some(items) = column.structs()
    {
        let typed = read(items, scan, 0, forms)?;
        column.close_items();
        return Ok(typed);
    }
    read(column, scan, 0, forms)
}

/// Writes each value of a column as JSON; null is null.
///
/// # Errors
/// More text than a column holds.
pub fn encode(values: &ArrayRef, options: &JsonOptions) -> Result<StringArray, ValueError> {
    let style = &options.style;
    let cell = Cell::new(values, &style.forms.zone).map_err(arrow_failed)?;
    let mut out = Texts::with_capacity(values.len());
    let mut compact = Vec::new();
    for row in 0..values.len() {
        if cell.is_null(row) {
            out.push_null();
            continue;
        }
        match options.layout {
            Layout::OneLine => style.value(&cell, row, out.bytes()),
            Layout::Pretty => {
                compact.clear();
                style.value(&cell, row, &mut compact);
                write::pretty(&compact, out.bytes());
            }
        }
        out.close()?;
    }
    out.finish()
}
