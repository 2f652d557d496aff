//! Functions that take lambdas: `transform`, `filter`, `zip_with`, `aggregate`, and those of maps.
//!
//! A lambda is computed over the elements of all rows of a batch, in portions where it captures wide columns;
//! `aggregate` computes it once for each position, over the rows that have an element there.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int32Array, ListArray, MapArray, UInt32Array, new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{cast, concat, take},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, utils::take_function_args},
    logical_expr::{
        ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
        HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress,
        ValueOrLambda, Volatility,
    },
};

use super::{
    lambdas::call,
    maps::{self, Keys},
    misfit::failed,
    nested::as_list,
    sort_by,
};
use crate::{SqlError, types::spark_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
enum Kind {
    Transform,
    Filter,
    ZipWith,
    Aggregate,
    MapFilter,
    TransformKeys,
    TransformValues,
    MapZipWith,
    Try,
    SortBy,
}

/// Gives null where its lambda fails.
pub(super) const TRY: &str = "__try";

const ALL: [(&str, Kind); 11] = [
    (TRY, Kind::Try),
    (SORT_BY, Kind::SortBy),
    ("transform", Kind::Transform),
    ("filter", Kind::Filter),
    ("zip_with", Kind::ZipWith),
    ("aggregate", Kind::Aggregate),
    ("reduce", Kind::Aggregate),
    ("map_filter", Kind::MapFilter),
    ("transform_keys", Kind::TransformKeys),
    ("transform_values", Kind::TransformValues),
    ("map_zip_with", Kind::MapZipWith),
];

/// What `array_sort` with a comparator is.
const SORT_BY: &str = "__array_sort_by";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Higher {
    name: &'static str,
    kind: Kind,
    signature: HigherOrderSignature,
}

/// All of them.
pub(super) fn functions() -> Vec<Arc<HigherOrderUDF>> {
    ALL.iter()
        .map(|(name, kind)| {
            Arc::new(HigherOrderUDF::new_from_impl(Higher {
                name,
                kind: *kind,
                signature: HigherOrderSignature::user_defined(Volatility::Immutable),
            }))
        })
        .collect()
}

fn types(message: String) -> datafusion::common::DataFusionError {
    SqlError::Types { message }.into_datafusion()
}

fn item(list: &FieldRef) -> Result<FieldRef> {
    match list.data_type() {
        DataType::List(item) => Ok(Arc::clone(item)),
        other => Err(types(format!(
            "expected an array, not {}",
            spark_name(other)
        ))),
    }
}

fn named(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn values(fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>]) -> Vec<FieldRef> {
    let value = |field: &ValueOrLambda<FieldRef, Option<FieldRef>>| match field {
        ValueOrLambda::Value(field) => Some(Arc::clone(field)),
        ValueOrLambda::Lambda(_) => None,
    };
    fields.iter().filter_map(value).collect()
}

impl HigherOrderUDFImpl for Higher {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = match self.kind {
            Kind::ZipWith | Kind::Aggregate | Kind::MapZipWith => 2,
            Kind::Transform
            | Kind::Filter
            | Kind::MapFilter
            | Kind::TransformKeys
            | Kind::TransformValues
            | Kind::SortBy
            | Kind::Try => 1,
        };
        if arg_types.len() != wanted {
            return Err(types(format!(
                "{} does not take these arguments",
                self.name
            )));
        }
        let plain = |data_type: &DataType| match data_type {
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                DataType::List(Arc::clone(item))
            }
            DataType::Null => DataType::new_list(DataType::Null, true),
            other => other.clone(),
        };
        let mut out: Vec<DataType> = arg_types.iter().map(plain).collect();
        if self.kind == Kind::Aggregate {
            out[1] = arg_types[1].clone();
        }
        if self.kind == Kind::MapZipWith {
            // Both have the key of the first.
            let (key, _) = maps::entry_types(&out[0])?;
            let (_, value) = maps::entry_types(&out[1])?;
            out[1] = maps::map_type(key, value);
        }
        Ok(out)
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let values = values(fields);
        let entry = |at: usize| maps::entry_types(values[at].data_type());
        let parameters = match self.kind {
            Kind::Transform | Kind::Filter => {
                vec![vec![item(&values[0])?, named("i", DataType::Int32)]]
            }
            Kind::SortBy => vec![vec![item(&values[0])?, item(&values[0])?]],
            Kind::ZipWith => {
                let nullable = |field: FieldRef| named("x", field.data_type().clone());
                vec![vec![
                    nullable(item(&values[0])?),
                    nullable(item(&values[1])?),
                ]]
            }
            Kind::Aggregate => {
                let so_far = named("acc", values[1].data_type().clone());
                let mut all = vec![vec![Arc::clone(&so_far), item(&values[0])?]];
                if fields.len() > 3 {
                    all.push(vec![so_far]);
                }
                all
            }
            Kind::MapFilter | Kind::TransformKeys | Kind::TransformValues => {
                let (key, value) = entry(0)?;
                vec![vec![named("k", key), named("v", value)]]
            }
            Kind::Try => vec![vec![Arc::clone(&values[0])]],
            Kind::MapZipWith => {
                let ((key, first), (_, second)) = (entry(0)?, entry(1)?);
                vec![vec![
                    named("k", key),
                    named("v1", first),
                    named("v2", second),
                ]]
            }
        };
        Ok(LambdaParametersProgress::Complete(parameters))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let field = |at: usize| match args.arg_fields.get(at) {
            Some(ValueOrLambda::Value(field) | ValueOrLambda::Lambda(field)) => {
                Ok(field.data_type().clone())
            }
            None => Err(types(format!("{} lacks an argument", self.name))),
        };
        let data_type = match self.kind {
            Kind::Try => field(1)?,
            Kind::Transform => DataType::new_list(field(1)?, true),
            Kind::ZipWith => DataType::new_list(field(2)?, true),
            Kind::Filter | Kind::MapFilter => {
                if !matches!(field(1)?, DataType::Boolean | DataType::Null) {
                    return Err(types(format!("{} wants a condition", self.name)));
                }
                field(0)?
            }
            Kind::Aggregate => {
                let (so_far, merged) = (field(1)?, field(2)?);
                let same = so_far.equals_datatype(&merged)
                    || (so_far.is_integer() && merged.is_integer())
                    || merged == DataType::Null;
                if !same {
                    return Err(types(format!(
                        "{} begins with {} and goes on with {}: cast the first",
                        self.name,
                        spark_name(&so_far),
                        spark_name(&merged)
                    )));
                }
                if args.arg_fields.len() > 3 {
                    field(3)?
                } else {
                    so_far
                }
            }
            Kind::SortBy => {
                if !(field(1)?.is_integer() || field(1)? == DataType::Null) {
                    return Err(types(
                        "array_sort wants a whole number of its comparator".to_owned(),
                    ));
                }
                field(0)?
            }
            Kind::TransformKeys => maps::map_type(field(1)?, maps::entry_types(&field(0)?)?.1),
            Kind::TransformValues => maps::map_type(maps::entry_types(&field(0)?)?.0, field(1)?),
            Kind::MapZipWith => maps::map_type(maps::entry_types(&field(0)?)?.0, field(2)?),
        };
        Ok(named("", data_type))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let mut values = Vec::new();
        let mut lambdas = Vec::new();
        for arg in &args.args {
            match arg {
                ValueOrLambda::Value(value) => values.push(value.to_array(args.number_rows)?),
                ValueOrLambda::Lambda(lambda) => lambdas.push(lambda),
            }
        }
        let out = match self.kind {
            Kind::Try => tried(&values[0], lambdas[0], args.return_type()),
            Kind::Transform => transform(&values[0], lambdas[0], args.return_type()),
            Kind::Filter => filter(&values[0], lambdas[0]),
            Kind::SortBy => sort_by::sorted(&values[0], lambdas[0], args.return_type()),
            Kind::ZipWith => {
                let [left, right] = take_function_args(self.name, values)?;
                zip_with(&left, &right, lambdas[0], args.return_type())
            }
            Kind::Aggregate => aggregate(&values, &lambdas),
            Kind::MapFilter => map_filter(values[0].as_map(), lambdas[0]),
            Kind::TransformKeys | Kind::TransformValues => {
                let keys = self.kind == Kind::TransformKeys;
                transform_map(values[0].as_map(), lambdas[0], keys, args.return_type())
            }
            Kind::MapZipWith => {
                let maps = (values[0].as_map(), values[1].as_map());
                map_zip_with(maps, lambdas[0], args.return_type())
            }
        }?;
        assert_eq!(out.len(), args.number_rows, "one value a row");
        Ok(ColumnarValue::Array(out))
    }
}

/// The elements of the rows that are not null: where they are, and of which row.
struct Elements {
    picks: Vec<u32>,
    rows: Vec<u32>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
}

impl Elements {
    fn of(offsets: &OffsetBuffer<i32>, nulls: Option<&NullBuffer>) -> Result<Elements> {
        let mut elements = Elements {
            picks: Vec::new(),
            rows: Vec::new(),
            lengths: Vec::new(),
            nulls: nulls.cloned(),
        };
        for (row, bounds) in offsets.windows(2).enumerate() {
            let there = nulls.is_none_or(|nulls| nulls.is_valid(row));
            let before = elements.picks.len();
            if there {
                let row = u32::try_from(row).map_err(|_| failed("too many rows"))?;
                for at in bounds[0]..bounds[1] {
                    elements.picks.push(u32::try_from(at).unwrap_or(0));
                    elements.rows.push(row);
                }
            }
            elements.lengths.push(elements.picks.len() - before);
        }
        Ok(elements)
    }

    fn picked(&self, values: &dyn Array) -> Result<ArrayRef> {
        Ok(take(values, &UInt32Array::from(self.picks.clone()), None)?)
    }

    /// The position of each element in its row.
    fn positions(&self) -> ArrayRef {
        let counted = self.lengths.iter().flat_map(|length| 0..*length);
        let positions = counted.map(|at| i32::try_from(at).unwrap_or(i32::MAX));
        Arc::new(positions.collect::<Int32Array>())
    }

    fn call(&self, lambda: &LambdaArgument, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        call(lambda, arguments, &UInt32Array::from(self.rows.clone()))
    }

    fn list(self, values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
        let DataType::List(item) = data_type else {
            return Err(failed("a list became something else"));
        };
        let values = cast(values, item.data_type())?;
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        let list = ListArray::try_new(Arc::clone(item), offsets, values, self.nulls)?;
        Ok(Arc::new(list))
    }

    /// Leaves out the elements whose test is not true.
    fn keep(&mut self, tests: &ArrayRef) -> Result<()> {
        let tests = cast(tests, &DataType::Boolean)?;
        let tests = tests.as_boolean();
        let kept = |at: usize| tests.is_valid(at) && tests.value(at);
        let mut at = 0;
        for length in &mut self.lengths {
            let end = at + *length;
            *length = (at..end).filter(|at| kept(*at)).count();
            at = end;
        }
        let picks = std::mem::take(&mut self.picks);
        let kept_picks = picks.iter().enumerate().filter(|(at, _)| kept(*at));
        self.picks = kept_picks.map(|(_, pick)| *pick).collect();
        Ok(())
    }
}

/// The lambda over all rows at once, or, if that fails, over each alone, where a failure is null.
fn tried(rows: &ArrayRef, lambda: &LambdaArgument, gives: &DataType) -> Result<ArrayRef> {
    let all: UInt32Array = (0..rows.len()).map(|row| u32::try_from(row).ok()).collect();
    if let Ok(values) = call(lambda, &[Arc::clone(rows)], &all) {
        return Ok(values);
    }
    let one = |row: usize| {
        let value = call(lambda, &[rows.slice(row, 1)], &all.slice(row, 1));
        value.unwrap_or_else(|_| new_null_array(gives, 1))
    };
    let values: Vec<ArrayRef> = (0..rows.len()).map(one).collect();
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(concat(&values)?)
}

fn transform(list: &ArrayRef, lambda: &LambdaArgument, gives: &DataType) -> Result<ArrayRef> {
    let list = as_list(list)?;
    let elements = Elements::of(list.offsets(), list.nulls())?;
    let arguments = [elements.picked(list.values())?, elements.positions()];
    let values = elements.call(lambda, &arguments)?;
    elements.list(&values, gives)
}

fn filter(input: &ArrayRef, lambda: &LambdaArgument) -> Result<ArrayRef> {
    let list = as_list(input)?;
    let mut elements = Elements::of(list.offsets(), list.nulls())?;
    let arguments = [elements.picked(list.values())?, elements.positions()];
    let tests = elements.call(lambda, &arguments)?;
    elements.keep(&tests)?;
    let values = elements.picked(list.values())?;
    elements.list(&values, input.data_type())
}

fn zip_with(
    left: &ArrayRef,
    right: &ArrayRef,
    lambda: &LambdaArgument,
    gives: &DataType,
) -> Result<ArrayRef> {
    let (left, right) = (as_list(left)?, as_list(right)?);
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let mut picks: [Vec<Option<u32>>; 2] = [Vec::new(), Vec::new()];
    let mut rows = Vec::new();
    let mut lengths = Vec::new();
    for row in 0..left.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let sides = [&left, &right];
        let length = left.value_length(row).max(right.value_length(row));
        for (picks, side) in picks.iter_mut().zip(sides) {
            let start = side.value_offsets()[row];
            let own = side.value_length(row);
            picks.extend((0..length).map(|at| u32::try_from(start + at).ok().filter(|_| at < own)));
        }
        let length = usize::try_from(length).unwrap_or(0);
        rows.extend(std::iter::repeat_n(u32::try_from(row).unwrap_or(0), length));
        lengths.push(length);
    }
    let [first, second] = picks.map(UInt32Array::from);
    let arguments = [
        take(left.values(), &first, None)?,
        take(right.values(), &second, None)?,
    ];
    let values = call(lambda, &arguments, &UInt32Array::from(rows))?;
    let elements = Elements {
        picks: Vec::new(),
        rows: Vec::new(),
        lengths,
        nulls,
    };
    elements.list(&values, gives)
}

/// Goes through all lists at once, position by position. The longest stand in front, so that those which
/// go on are the first.
fn aggregate(values: &[ArrayRef], lambdas: &[&LambdaArgument]) -> Result<ArrayRef> {
    let list = as_list(&values[0])?;
    let data_type = values[1].data_type().clone();
    let rows = 0..u32::try_from(list.len()).map_err(|_| failed("too many rows"))?;
    let mut order: Vec<u32> = rows.filter(|row| list.is_valid(*row as usize)).collect();
    order.sort_by_key(|row| std::cmp::Reverse(list.value_length(*row as usize)));
    let all = UInt32Array::from(order.clone());
    let mut so_far = take(&values[1], &all, None)?;
    let mut ended = Vec::new();
    let mut going = order.len();
    for at in 0.. {
        let goes_on = |row: &u32| list.value_length(*row as usize) > at;
        let left = order[..going].partition_point(goes_on);
        if left < going {
            // Copied: a slice would keep all others alive.
            let places = u32::try_from(left).unwrap_or(0)..u32::try_from(going).unwrap_or(0);
            ended.push(take(&so_far, &UInt32Array::from_iter_values(places), None)?);
            so_far = so_far.slice(0, left);
            going = left;
        }
        if going == 0 {
            break;
        }
        let place =
            |row: &u32| u32::try_from(list.value_offsets()[*row as usize] + at).unwrap_or(0);
        let picks = UInt32Array::from_iter_values(order[..going].iter().map(place));
        let arguments = [so_far, take(list.values(), &picks, None)?];
        let merged = call(lambdas[0], &arguments, &all.slice(0, going))?;
        so_far = cast(&merged, &data_type)?;
    }
    // The longest ended last.
    let ended: Vec<&dyn Array> = ended.iter().rev().map(AsRef::as_ref).collect();
    let mut results = match ended.as_slice() {
        [] => so_far,
        ended => concat(ended)?,
    };
    if let Some(finish) = lambdas.get(1) {
        results = call(finish, &[results], &all)?;
    }
    let mut places: Vec<Option<u32>> = vec![None; list.len()];
    for (place, row) in (0u32..).zip(&order) {
        places[*row as usize] = Some(place);
    }
    Ok(take(&results, &UInt32Array::from(places), None)?)
}

fn map_filter(map: &MapArray, lambda: &LambdaArgument) -> Result<ArrayRef> {
    let mut elements = Elements::of(map.offsets(), map.nulls())?;
    let arguments = [elements.picked(map.keys())?, elements.picked(map.values())?];
    let tests = elements.call(lambda, &arguments)?;
    elements.keep(&tests)?;
    let (keys, values) = (elements.picked(map.keys())?, elements.picked(map.values())?);
    let (lengths, nulls) = (elements.lengths, elements.nulls);
    maps::build(&keys, &values, lengths, nulls, map.data_type(), Keys::Known)
}

fn transform_map(
    map: &MapArray,
    lambda: &LambdaArgument,
    of_keys: bool,
    gives: &DataType,
) -> Result<ArrayRef> {
    let elements = Elements::of(map.offsets(), map.nulls())?;
    let (keys, values) = (elements.picked(map.keys())?, elements.picked(map.values())?);
    let out = elements.call(lambda, &[Arc::clone(&keys), Arc::clone(&values)])?;
    let (lengths, nulls) = (elements.lengths, elements.nulls);
    if of_keys {
        return maps::build(&out, &values, lengths, nulls, gives, Keys::New);
    }
    maps::build(&keys, &out, lengths, nulls, gives, Keys::Known)
}

fn map_zip_with(
    maps: (&MapArray, &MapArray),
    lambda: &LambdaArgument,
    gives: &DataType,
) -> Result<ArrayRef> {
    let joined = maps::full_join(maps.0, maps.1)?;
    let rows = UInt32Array::from(joined.rows);
    let keys = joined.keys;
    let arguments = [Arc::clone(&keys), joined.first, joined.second];
    let values = call(lambda, &arguments, &rows)?;
    let (lengths, nulls) = (joined.lengths, joined.nulls);
    maps::build(&keys, &values, lengths, nulls, gives, Keys::Known)
}
