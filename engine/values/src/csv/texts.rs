//! Columns of CSV lines into structs, and back: `from_csv`, `to_csv`, `schema_of_csv`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, NullBufferBuilder, StringArray, StructArray},
    datatypes::{DataType, Field, Fields, TimeUnit},
};

use super::{Fields as Parts, options::CsvOptions, write};
use crate::{
    ValueError,
    cell::Cell,
    column::{self, Column, Values, children},
    error::{arrow_failed, checked_size},
    instant,
    options::Mode,
    plain, scalar,
    texts::Texts,
};

/// Why a line is malformed.
type Wrong = Option<&'static str>;

/// Reads each text as a line of fields; missing fields are null.
///
/// # Errors
/// A malformed line in mode FAILFAST; a field of a type that no field of a line can have.
pub fn decode(
    texts: &StringArray,
    fields: &Fields,
    options: &CsvOptions,
) -> Result<ArrayRef, ValueError> {
    checked_size(texts.value_data().len())?;
    let unreadable = |field: &&Arc<Field>| children(field.data_type()).is_some();
    if let Some(field) = fields.iter().find(unreadable) {
        return Err(no_column(field.data_type()));
    }
    let mut columns = fields
        .iter()
        .map(|field| Column::new(field.data_type()).ok_or_else(|| no_column(field.data_type())))
        .collect::<Result<Vec<Column>, ValueError>>()?;
    let corrupt = fields
        .iter()
        .position(|f| *f.name() == options.corrupt_name && *f.data_type() == DataType::Utf8);
    let mut nulls = NullBufferBuilder::new(texts.len());
    let mut scratch = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else {
            nulls.append_null();
            continue;
        };
        nulls.append_non_null();
        let wrong = line(
            text.as_bytes(),
            &mut columns,
            (row, corrupt),
            options,
            &mut scratch,
        );
        if let Some(reason) = wrong {
            if options.mode == Mode::FailFast {
                return Err(ValueError::Malformed { reason });
            }
            if let Some(column) = corrupt.and_then(|idx| columns.get_mut(idx)) {
                column.settle(row);
                column.push_text(text.as_bytes());
            }
        }
    }
    let arrays = column::finish(&mut columns, texts.len()).map_err(arrow_failed)?;
    StructArray::try_new_with_length(fields.clone(), arrays, nulls.finish(), texts.len())
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(arrow_failed)
}

fn no_column(data_type: &DataType) -> ValueError {
    ValueError::Type {
        what: "CSV",
        data_type: data_type.to_string(),
    }
}

fn is_record(line: &[u8], options: &CsvOptions) -> bool {
    let comment = options.dialect.comment;
    !line.trim_ascii().is_empty() && (comment.is_none() || line.first().copied() != comment)
}

/// Appends the fields of a line as a row.
fn line(
    line: &[u8],
    columns: &mut [Column],
    (row, corrupt): (usize, Option<usize>),
    options: &CsvOptions,
    scratch: &mut Vec<u8>,
) -> Wrong {
    if !is_record(line, options) {
        return None;
    }
    let mut parts = Parts::new(line, &options.dialect);
    let mut targets = (0..columns.len()).filter(|idx| Some(*idx) != corrupt);
    let mut wrong = None;
    while let Some((text, quoted)) = parts.next(scratch) {
        let Some(column) = targets.next().and_then(|idx| columns.get_mut(idx)) else {
            wrong = Some("too many fields");
            continue;
        };
        column.settle(row);
        let text = if quoted {
            text
        } else {
            options.reads_blanks.drop_from(text)
        };
        let text = match text {
            [] if quoted => options.empty_read.as_bytes(),
            text => text,
        };
        if text == options.dialect.null_value.as_bytes() || (text.is_empty() && !quoted) {
            column.push_null();
        } else if !plain::push(column, meant(column, text, options), &options.forms) {
            wrong = Some("a value has another type");
        }
    }
    if wrong.is_none() && targets.next().is_some() {
        wrong = Some("too few fields");
    }
    wrong
}

/// The text that stands for a number that is none, whatever the options call it.
fn meant<'a>(column: &Column, text: &'a [u8], options: &CsvOptions) -> &'a [u8] {
    if !matches!(column.values, Values::Float32(_) | Values::Float64(_)) {
        return text;
    }
    let named = options
        .special
        .iter()
        .position(|name| name.as_bytes() == text);
    match named {
        Some(0) => b"NaN",
        Some(1) => b"Infinity",
        Some(_) => b"-Infinity",
        None => text,
    }
}

/// Writes each struct as a line without its end; null is null.
///
/// # Errors
/// The column holds no structs; more text than a column holds.
pub fn encode(values: &ArrayRef, options: &CsvOptions) -> Result<StringArray, ValueError> {
    let Some(structs) = values.as_struct_opt() else {
        return Err(no_column(values.data_type()));
    };
    let forms = &options.forms;
    let cells = structs.columns().iter();
    let cells = cells
        .map(|column| Cell::new(column, &forms.zone).map_err(arrow_failed))
        .collect::<Result<Vec<Cell>, ValueError>>()?;
    let mut out = Texts::with_capacity(values.len());
    let mut shown = Vec::new();
    let style = write::Style {
        dialect: &options.dialect,
        forms,
        blanks: options.writes_blanks,
    };
    for row in 0..values.len() {
        if values.is_null(row) {
            out.push_null();
            continue;
        }
        style.record(&cells, row, &mut shown, out.bytes());
        out.close()?;
    }
    out.finish()
}

/// The type of a line: fields `_c0`, `_c1` … of the narrowest types; `None` for a text that is no record.
#[must_use]
pub fn schema_of(text: &str, options: &CsvOptions) -> Option<DataType> {
    if !is_record(text.as_bytes(), options) {
        return None;
    }
    let mut parts = Parts::new(text.as_bytes(), &options.dialect);
    let mut scratch = Vec::new();
    let mut fields = Vec::new();
    while let Some((text, quoted)) = parts.next(&mut scratch) {
        let text = if quoted {
            text
        } else {
            options.reads_blanks.drop_from(text)
        };
        let data_type = type_of(text, options);
        fields.push(Field::new(format!("_c{}", fields.len()), data_type, true));
    }
    Some(DataType::Struct(fields.into()))
}

fn type_of(text: &[u8], options: &CsvOptions) -> DataType {
    let is_null = text.is_empty() || text == options.dialect.null_value.as_bytes();
    if is_null {
        return DataType::Utf8;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if let Some(number) = scalar::integer(text) {
        return if i32::try_from(number).is_ok() {
            DataType::Int32
        } else {
            DataType::Int64
        };
    }
    if digits.iter().all(u8::is_ascii_digit) && digits.len() <= 38 {
        let precision = u8::try_from(digits.len()).unwrap_or(38);
        return DataType::Decimal128(precision, 0);
    }
    let special = options.special.iter().any(|name| name.as_bytes() == text);
    let time = |pattern: &Option<crate::pattern::Pattern>| match pattern {
        Some(pattern) => pattern.parse(text).is_some(),
        None => instant::timestamp(text).is_some(),
    };
    let date = || match &options.forms.date {
        Some(pattern) => pattern.parse(text).is_some(),
        None => text.len() <= 10 && instant::date(text).is_some(),
    };
    if special || scalar::double(text).is_some() {
        DataType::Float64
    } else if options.prefers_date && date() {
        DataType::Date32
    } else if time(&options.forms.timestamp) {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    } else if scalar::boolean(text).is_some() {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}
