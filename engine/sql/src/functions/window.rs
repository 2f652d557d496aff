//! `window`, `session_window`, `count_window` and `window_time`.
//!
//! In GROUP BY the first three become the time key of an aggregation; the lowering reads their
//! arguments with [`time_window`]. Elsewhere a tumbling `window` is a plain function of one row.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StructArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{
        DataType, Field, FieldRef, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
};
use millstream_operators::aggregate::WindowSpec;
use millstream_types::EventTime;

use super::{
    calendar,
    window_values::{beyond, event_times, time_of, window_fields, window_type, with_zone},
};
use crate::{SqlError, ddl::parse_interval, types::timestamp};

/// Which of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Window,
    Session,
    Count,
    WindowTime,
    GapMicros,
}

/// One of the functions about windows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    kind: Kind,
    signature: Signature,
}

/// A time key as it stands in GROUP BY.
pub(crate) enum TimeWindow<'a> {
    /// Windows of one length.
    Regular {
        /// A timestamp, or a window of an operator below.
        time: &'a Expr,
        /// Which windows.
        spec: WindowSpec,
    },
    /// Sessions.
    Session {
        /// A timestamp, or a window of an operator below.
        time: &'a Expr,
        /// A literal or an expression.
        gap: &'a Expr,
    },
    /// So many rows of a key.
    Counted {
        /// How many.
        rows: i64,
    },
}

/// The functions that users see.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let kinds = [Kind::Window, Kind::Session, Kind::Count, Kind::WindowTime];
    let calendar = std::iter::once(calendar::function());
    kinds.into_iter().map(udf).chain(calendar).collect()
}

fn udf(kind: Kind) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(WindowFunction {
        kind,
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// `window_time(expr)`.
pub(crate) fn window_time(expr: Expr) -> Expr {
    call(Kind::WindowTime, expr)
}

/// The end of a window.
pub(crate) fn window_end(window: Expr) -> Expr {
    datafusion::functions::core::expr_fn::get_field(window, "end")
}

/// A session's gap as microseconds.
pub(crate) fn gap_micros(expr: Expr) -> Expr {
    call(Kind::GapMicros, expr)
}

fn call(kind: Kind, expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(udf(kind), vec![expr]))
}

fn function(expr: &Expr) -> Option<(Kind, &[Expr])> {
    match expr {
        Expr::Alias(alias) => function(&alias.expr),
        Expr::ScalarFunction(call) => call
            .func
            .inner()
            .downcast_ref::<WindowFunction>()
            .map(|function| (function.kind, call.args.as_slice())),
        _ => None,
    }
}

/// Whether the expression is `window(…)`, `session_window(…)` or `count_window(…)`.
pub(crate) fn is_window(expr: &Expr) -> bool {
    matches!(
        function(expr),
        Some((Kind::Window | Kind::Session | Kind::Count, _))
    )
}

/// The argument of `window_time(…)`, or of a function that makes one window of it.
pub(crate) fn carried(expr: &Expr) -> Option<(&Expr, bool)> {
    if let Some(time) = calendar::time(expr) {
        return Some((time, true));
    }
    match function(expr)? {
        (Kind::WindowTime, [inner]) => Some((inner, false)),
        (Kind::Window, [inner, ..]) => Some((inner, true)),
        _ => None,
    }
}

/// Reads `window(…)`, `session_window(…)` or `count_window(…)`.
///
/// # Errors
/// [`SqlError::Window`], [`SqlError::Interval`].
pub(crate) fn time_window(expr: &Expr) -> Result<Option<TimeWindow<'_>>, SqlError> {
    match function(expr) {
        Some((Kind::Window, [time, durations @ ..])) => {
            let literals: Option<Vec<&ScalarValue>> = durations.iter().map(literal).collect();
            let literals = literals.ok_or_else(|| SqlError::Window {
                reason: "durations must be literals".to_owned(),
            })?;
            Ok(Some(TimeWindow::Regular {
                time,
                spec: window_spec(&literals)?,
            }))
        }
        Some((Kind::Session, [time, gap])) => Ok(Some(TimeWindow::Session { time, gap })),
        Some((Kind::Count, [rows])) => {
            let rows = literal(rows).and_then(|rows| rows.cast_to(&DataType::Int64).ok());
            match rows {
                Some(ScalarValue::Int64(Some(rows))) if rows > 0 => {
                    Ok(Some(TimeWindow::Counted { rows }))
                }
                _ => Err(SqlError::Window {
                    reason: "count_window takes a number of rows more than 0".to_owned(),
                }),
            }
        }
        _ => Ok(None),
    }
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

/// Reads and checks `duration [, slide [, start]]`.
fn window_spec(durations: &[&ScalarValue]) -> Result<WindowSpec, SqlError> {
    let mut micros = Vec::new();
    for duration in durations {
        micros.push(duration_micros(duration)?);
    }
    let impossible = |reason: &str| {
        Err(SqlError::Window {
            reason: reason.to_owned(),
        })
    };
    let (size, slide, start) = match micros.as_slice() {
        [size] => (*size, *size, 0),
        [size, slide] => (*size, *slide, 0),
        [size, slide, start] => (*size, *slide, *start),
        _ => return impossible("window takes a time, a duration, a slide and a start"),
    };
    if size <= 0 {
        return impossible("the duration must be positive");
    }
    if slide <= 0 {
        return impossible("the slide must be positive");
    }
    if slide > size {
        return impossible("the slide must be at most the duration");
    }
    if start.checked_abs().is_none_or(|start| start >= slide) {
        return impossible("the start must be less than the slide");
    }
    let spec = WindowSpec { size, slide, start };
    if spec.overlap() > OVERLAP_MAX {
        return impossible("a row would be in more than a million windows");
    }
    Ok(spec)
}

/// Windows that may hold one row: each may become a row of the result. [INV-07]
const OVERLAP_MAX: i64 = 1_000_000;

/// Fails if a time is not among those whose windows can all be written.
pub(crate) fn check_instants(times: &TimestampMicrosecondArray, spec: WindowSpec) -> Result<()> {
    let instants = spec.instants();
    if times.iter().flatten().all(|at| instants.contains(&at)) {
        Ok(())
    } else {
        Err(beyond())
    }
}

/// A duration without months, in microseconds.
pub(crate) fn duration_micros(value: &ScalarValue) -> Result<i64, SqlError> {
    let months = SqlError::Window {
        reason: "intervals of months or years have no fixed length".to_owned(),
    };
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => {
            let interval = parse_interval(text)?;
            if interval.months() == 0 {
                Ok(interval.micros())
            } else {
                Err(months)
            }
        }
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 => {
            days_and_micros(value.days, value.nanoseconds / 1000)
        }
        ScalarValue::IntervalMonthDayNano(Some(_)) | ScalarValue::IntervalYearMonth(Some(_)) => {
            Err(months)
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            days_and_micros(value.days, i64::from(value.milliseconds) * 1000)
        }
        other => Err(SqlError::Interval {
            text: other.to_string(),
        }),
    }
}

fn days_and_micros(days: i32, micros: i64) -> Result<i64, SqlError> {
    let whole = i64::from(days).checked_mul(86_400_000_000);
    let whole = whole.and_then(|whole| whole.checked_add(micros));
    whole.ok_or_else(|| SqlError::Interval {
        text: format!("{days} days {micros} microseconds"),
    })
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Window => "window",
            Kind::Session => "session_window",
            Kind::Count => "count_window",
            Kind::WindowTime => "window_time",
            Kind::GapMicros => "__gap_micros",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        // What does not fit stays as it is: `return_field_from_args` refuses it with our error,
        // while an error from here would reach the user inside DataFusion's words.
        let Some(first) = arg_types
            .first()
            .filter(|_| !matches!(self.kind, Kind::GapMicros | Kind::Count))
        else {
            return Ok(arg_types.to_vec());
        };
        let time = match first {
            DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(_, Some(_))
            | DataType::Date32
            | DataType::Utf8
            | DataType::Utf8View
            | DataType::LargeUtf8 => timestamp(),
            other => other.clone(),
        };
        Ok(std::iter::once(time)
            .chain(arg_types[1..].iter().cloned())
            .collect())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let time = arg_types
            .first()
            .map_or_else(timestamp, |t| time_of(t).clone());
        Ok(match self.kind {
            Kind::Window | Kind::Session => window_type(&time),
            Kind::WindowTime => time,
            Kind::GapMicros | Kind::Count => DataType::Int64,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.check(args.arg_fields)
            .map_err(SqlError::into_datafusion)?;
        if self.kind == Kind::Window {
            let literals: Option<Vec<&ScalarValue>> =
                args.scalar_arguments.iter().skip(1).copied().collect();
            if let Some(literals) = literals.filter(|literals| !literals.is_empty()) {
                window_spec(&literals).map_err(SqlError::into_datafusion)?;
            }
        }
        if let (Kind::Session, [_, Some(gap)]) = (self.kind, args.scalar_arguments) {
            duration_micros(gap).map_err(SqlError::into_datafusion)?;
        }
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        Ok(Arc::new(Field::new(
            self.name(),
            self.return_type(&types)?,
            true,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        if self.kind == Kind::Count {
            return Err(not_alone("count_window").into_datafusion());
        }
        if self.kind == Kind::GapMicros {
            return gaps(&args.args[0], rows);
        }
        let input = args.args[0].to_array(rows)?;
        let time = event_times(&input)?;
        let zone = match args.return_field.data_type() {
            DataType::Struct(fields) => fields[0].data_type().clone(),
            other => other.clone(),
        };
        match self.kind {
            Kind::WindowTime | Kind::GapMicros | Kind::Count => {
                Ok(ColumnarValue::Array(cast(&time, &zone)?))
            }
            Kind::Session => Err(not_alone("session_window").into_datafusion()),
            Kind::Window => {
                let literals: Option<Vec<&ScalarValue>> = args.args[1..]
                    .iter()
                    .map(|arg| match arg {
                        ColumnarValue::Scalar(value) => Some(value),
                        ColumnarValue::Array(_) => None,
                    })
                    .collect();
                let spec = window_spec(&literals.unwrap_or_default())
                    .map_err(SqlError::into_datafusion)?;
                if !spec.is_tumbling() {
                    return Err(not_alone("a sliding window").into_datafusion());
                }
                windows(&time, spec, &zone).map(ColumnarValue::Array)
            }
        }
    }
}

impl WindowFunction {
    /// Number of arguments, and a time in front.
    fn check(&self, arguments: &[FieldRef]) -> Result<(), SqlError> {
        let name = self.name();
        let allowed = match self.kind {
            Kind::Window => 2..=4,
            Kind::Session => 2..=2,
            Kind::WindowTime | Kind::GapMicros | Kind::Count => 1..=1,
        };
        let count = arguments.len();
        if !allowed.contains(&count) {
            return Err(SqlError::Types {
                message: format!("{name} does not take {count} arguments"),
            });
        }
        let found = arguments[0].data_type();
        let is_time = matches!(time_of(found), DataType::Timestamp(_, _));
        if is_time || matches!(self.kind, Kind::GapMicros | Kind::Count) {
            return Ok(());
        }
        Err(SqlError::EventTimeType {
            column: arguments[0].name().clone(),
            found: crate::types::spark_name(found),
        })
    }
}

/// The refusal of what makes several rows of one.
pub(crate) fn not_alone(what: &str) -> SqlError {
    SqlError::NotOnStream {
        what: format!("{what} outside GROUP BY is not supported"),
        hint: "put it into GROUP BY",
    }
}

fn windows(
    time: &TimestampMicrosecondArray,
    spec: WindowSpec,
    zone: &DataType,
) -> Result<ArrayRef> {
    check_instants(time, spec)?;
    // What stands where there is no time counts for nothing, so it may be anything.
    let start = time
        .unary::<_, TimestampMicrosecondType>(|at| spec.last_start(EventTime(at)).unwrap_or(at));
    let end = start.unary::<_, TimestampMicrosecondType>(|start| start.wrapping_add(spec.size));
    let columns: Vec<ArrayRef> = vec![with_zone(start, zone)?, with_zone(end, zone)?];
    let nulls = time.nulls().cloned();
    Ok(Arc::new(StructArray::try_new(
        window_fields(zone),
        columns,
        nulls,
    )?))
}

/// Gaps in microseconds; what is no interval is null, and its row makes no session.
fn gaps(value: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    if let ColumnarValue::Scalar(value) = value {
        if value.is_null() {
            return Ok(ColumnarValue::Scalar(ScalarValue::Int64(None)));
        }
        let micros = duration_micros(value).map_err(SqlError::into_datafusion)?;
        return Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(micros))));
    }
    let array = value.to_array(rows)?;
    let micros: arrow::array::Int64Array = if let DataType::Interval(_) = array.data_type() {
        let array = cast(
            &array,
            &DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        )?;
        let array = array.as_primitive::<IntervalMonthDayNanoType>();
        array
            .iter()
            .map(|gap| {
                gap.and_then(|gap| {
                    duration_micros(&ScalarValue::IntervalMonthDayNano(Some(gap))).ok()
                })
            })
            .collect()
    } else {
        let array = cast(&array, &DataType::Utf8)?;
        array
            .as_string::<i32>()
            .iter()
            .map(|gap| {
                gap.and_then(|gap| parse_interval(gap).ok())
                    .map(|gap| gap.micros())
            })
            .collect()
    };
    Ok(ColumnarValue::Array(Arc::new(micros)))
}
