//! Lists made ready for unnesting, which knows one way only: a row for each element.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int32Array, ListArray, StringArray, StructArray, UInt32Array,
        new_null_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{cast, concat, take},
    datatypes::{DataType, Field, FieldRef, Fields, Int64Type},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use super::{
    misfit::failed,
    nested::{as_list, item},
    simple::{Call, Gives, Simple, Want},
};
use crate::SqlError;

/// A list with one null where there was nothing.
pub(crate) const OUTER: &str = "__outer";
/// The elements with their positions.
pub(crate) const POSITIONS: &str = "__positions";
/// The entries of a map.
pub(crate) const ENTRIES: &str = "__entries";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Outer,
    Positions,
    Entries,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    kind: Kind,
    signature: Signature,
}

/// All of them; no user sees these.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Kind::Outer, Kind::Positions, Kind::Entries]
        .into_iter()
        .map(|kind| {
            Arc::new(ScalarUDF::from(ListFunction {
                kind,
                signature: Signature::any(1, Volatility::Immutable),
            }))
        })
        .collect()
}

const TABLE: &[Simple] = &[
    Simple::new(
        "element_at",
        &[Want::Any, Want::Any],
        Gives::Of(|types, _| match types.first() {
            Some(DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Ok(fields[1].data_type().clone()),
                other => Ok(other.clone()),
            },
            Some(DataType::List(item) | DataType::LargeList(item)) => Ok(item.data_type().clone()),
            other => Err(SqlError::Types {
                message: format!("element_at needs an array or a map, not {other:?}"),
            }),
        }),
        element_at,
    ),
    Simple::new("typeof", &[Want::Any], Gives::Text, |call| {
        let name = crate::types::simple_name(call.arguments[0].data_type());
        Ok(Arc::new(StringArray::from(vec![name; call.rows])))
    }),
];

/// Functions of lists that users call.
pub(super) fn visible() -> Vec<Arc<ScalarUDF>> {
    TABLE.iter().map(|simple| simple.udf()).collect()
}

/// From 1, or from the end; a map's value by its key.
fn element_at(call: &Call<'_>) -> Result<ArrayRef> {
    let input = &call.arguments[0];
    if let DataType::Map(..) = input.data_type() {
        let (map, keys) = (input.as_map(), &call.arguments[1]);
        let found = (0..map.len()).map(|row| {
            if map.is_null(row) || keys.is_null(row) {
                return Ok(None);
            }
            let wanted = cast(&keys.slice(row, 1), map.keys().data_type())?;
            let wanted = ScalarValue::try_from_array(&wanted, 0)?;
            for at in map.value_offsets()[row]..map.value_offsets()[row + 1] {
                let at = usize::try_from(at).unwrap_or(0);
                if ScalarValue::try_from_array(map.keys(), at)? == wanted {
                    return Ok(u32::try_from(at).ok());
                }
            }
            Ok(None)
        });
        let picks = found.collect::<Result<UInt32Array>>()?;
        return Ok(take(map.values(), &picks, None)?);
    }
    let list = as_list(input)?;
    let positions = cast(&call.arguments[1], &DataType::Int64)?;
    let positions = positions.as_primitive::<Int64Type>();
    let picks = (0..list.len()).map(|row| {
        if list.is_null(row) || positions.is_null(row) {
            return Ok(None);
        }
        let (start, len) = (
            i64::from(list.value_offsets()[row]),
            i64::from(list.value_length(row)),
        );
        let at = match positions.value(row) {
            0 => return Err(failed("[INVALID_INDEX_OF_ZERO] element_at counts from 1")),
            at if at > 0 => at - 1,
            at => len + at,
        };
        if !(0..len).contains(&at) {
            return Err(failed("[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] element_at is outside the array; try_element_at gives null"));
        }
        Ok(u32::try_from(start + at).ok())
    });
    let picks = picks.collect::<Result<UInt32Array>>()?;
    Ok(take(list.values(), &picks, None)?)
}

fn with_positions(item: &FieldRef) -> Fields {
    Fields::from(vec![
        Field::new("pos", DataType::Int32, true),
        Field::new("col", item.data_type().clone(), true),
    ])
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(data_type, true)))
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Outer => OUTER,
            Kind::Positions => POSITIONS,
            Kind::Entries => ENTRIES,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let item = item(&arg_types[0])?;
        Ok(list_of(match self.kind {
            Kind::Outer | Kind::Entries => item.data_type().clone(),
            Kind::Positions => DataType::Struct(with_positions(&item)),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let input = args.args[0].to_array(args.number_rows)?;
        let list = as_list(&input)?;
        let out = match self.kind {
            Kind::Entries => list,
            Kind::Positions => positions(&list)?,
            Kind::Outer => outer(&list)?,
        };
        Ok(ColumnarValue::Array(Arc::new(out)))
    }
}

fn positions(list: &ListArray) -> Result<ListArray> {
    let mut pos = vec![0i32; list.values().len()];
    for bounds in list.offsets().windows(2) {
        let range =
            usize::try_from(bounds[0]).unwrap_or(0)..usize::try_from(bounds[1]).unwrap_or(0);
        for (value, at) in pos[range].iter_mut().zip(0i32..) {
            *value = at;
        }
    }
    let fields = with_positions(&item(list.data_type())?);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(pos)), Arc::clone(list.values())];
    let values = StructArray::try_new(fields, columns, None)?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let nulls = list.nulls().cloned();
    Ok(ListArray::try_new(
        item,
        list.offsets().clone(),
        Arc::new(values),
        nulls,
    )?)
}

fn outer(list: &ListArray) -> Result<ListArray> {
    let null = u32::try_from(list.values().len()).unwrap_or(u32::MAX);
    let mut picks = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let bounds = &list.offsets()[row..row + 2];
        if list.is_null(row) || bounds[0] == bounds[1] {
            picks.push(null);
            lengths.push(1);
        } else {
            let before = picks.len();
            picks.extend((bounds[0]..bounds[1]).filter_map(|at| u32::try_from(at).ok()));
            lengths.push(picks.len() - before);
        }
    }
    let nothing = new_null_array(list.values().data_type(), 1);
    let values = concat(&[list.values().as_ref(), nothing.as_ref()])?;
    let values = take(&values, &UInt32Array::from(picks), None)?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(
        item,
        offsets,
        values,
        None::<NullBuffer>,
    )?)
}
