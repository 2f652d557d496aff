//! Functions of any number of arguments whose types depend on these: `concat`, `arrays_zip`, `reverse`,
//! `try_element_at`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder},
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, type_coercion::binary::comparison_coercion,
    },
};

use super::arrays::{self, ZIP};
use crate::SqlError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Texts, binaries or arrays behind each other; null if one of them is.
    Concat,
    /// Names and arrays by turns.
    Zip,
    /// A text or an array from its end.
    Reverse,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Several {
    kind: Kind,
    signature: Signature,
}

fn udf(kind: Kind) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Several {
        kind,
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// Those that users call.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![udf(Kind::Concat), udf(Kind::Reverse)]
}

/// The others.
pub(super) fn hidden() -> Vec<Arc<ScalarUDF>> {
    vec![udf(Kind::Zip)]
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

impl ScalarUDFImpl for Several {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Concat => "concat",
            Kind::Zip => ZIP,
            Kind::Reverse => "reverse",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if self.kind == Kind::Zip {
            return Ok(arg_types.to_vec());
        }
        let one = joined_type(arg_types)?;
        Ok(vec![one; arg_types.len()])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        joined_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let data_type = if self.kind == Kind::Zip {
            let names: Vec<String> = args
                .scalar_arguments
                .iter()
                .step_by(2)
                .map(|name| name.and_then(|name| name.try_as_str().flatten()))
                .map(|name| name.unwrap_or_default().to_owned())
                .collect();
            let lists: Vec<DataType> = types.into_iter().skip(1).step_by(2).collect();
            arrays::zipped_type(&names, &lists).map_err(SqlError::into_datafusion)?
        } else {
            joined_type(&types)?
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let gives = args.return_field.data_type();
        let columns = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(
                Some(String::new()),
            )));
        }
        let out = match (self.kind, gives) {
            (Kind::Zip, _) => {
                let lists: Vec<ArrayRef> = columns.into_iter().skip(1).step_by(2).collect();
                arrays::zipped(&lists, gives)?
            }
            (Kind::Reverse, list) if is_list(list) => arrays::reversed(&columns[0], gives)?,
            (Kind::Reverse, DataType::Binary) => {
                let values = columns[0].as_binary::<i32>().iter();
                let turned = values.map(|value| {
                    value.map(|value| value.iter().rev().copied().collect::<Vec<u8>>())
                });
                let turned: Vec<Option<Vec<u8>>> = turned.collect();
                let turned = turned.iter().map(Option::as_deref);
                Arc::new(turned.collect::<arrow::array::BinaryArray>())
            }
            (Kind::Reverse, _) => {
                let texts = cast(&columns[0], &DataType::Utf8)?;
                let texts = texts.as_string::<i32>().iter();
                let turned =
                    texts.map(|text| text.map(|text| text.chars().rev().collect::<String>()));
                Arc::new(turned.collect::<arrow::array::StringArray>())
            }
            (Kind::Concat, list) if is_list(list) => arrays::concatenated(&columns, gives)?,
            (Kind::Concat, DataType::Binary) => binaries(&columns)?,
            (Kind::Concat, _) => texts(&columns)?,
        };
        Ok(ColumnarValue::Array(out))
    }
}

/// The type that all arguments are cast to.
fn joined_type(arg_types: &[DataType]) -> Result<DataType> {
    let mut known = arg_types.iter().filter(|found| **found != DataType::Null);
    let Some(first) = known.next() else {
        return Ok(DataType::Utf8);
    };
    if is_list(first) {
        return known.try_fold(first.clone(), |so_far, next| {
            comparison_coercion(&so_far, next).ok_or_else(|| {
                SqlError::Types {
                    message: format!(
                        "{} and {} are not joined",
                        crate::types::spark_name(&so_far),
                        crate::types::spark_name(next)
                    ),
                }
                .into_datafusion()
            })
        });
    }
    let binary = |found: &DataType| matches!(found, DataType::Binary | DataType::BinaryView);
    if binary(first) && known.all(binary) {
        return Ok(DataType::Binary);
    }
    Ok(DataType::Utf8)
}

fn texts(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = columns
        .iter()
        .map(|column| cast(column, &DataType::Utf8))
        .collect::<Result<Vec<_>, _>>()?;
    let columns: Vec<_> = columns
        .iter()
        .map(|column| column.as_string::<i32>())
        .collect();
    let mut out = StringBuilder::new();
    for row in 0..columns[0].len() {
        if columns.iter().any(|column| column.is_null(row)) {
            out.append_null();
            continue;
        }
        let joined: String = columns.iter().map(|column| column.value(row)).collect();
        out.append_value(joined);
    }
    Ok(Arc::new(out.finish()))
}

fn binaries(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = columns
        .iter()
        .map(|column| cast(column, &DataType::Binary))
        .collect::<Result<Vec<_>, _>>()?;
    let columns: Vec<_> = columns
        .iter()
        .map(|column| column.as_binary::<i32>())
        .collect();
    let mut out = BinaryBuilder::new();
    for row in 0..columns[0].len() {
        if columns.iter().any(|column| column.is_null(row)) {
            out.append_null();
            continue;
        }
        let joined: Vec<u8> = columns
            .iter()
            .flat_map(|column| column.value(row))
            .copied()
            .collect();
        out.append_value(joined);
    }
    Ok(Arc::new(out.finish()))
}
