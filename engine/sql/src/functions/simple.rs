//! Functions of one row that are written as one line of a table and one Rust function.
//!
//! Arguments are cast to the wanted types before; a null argument gives null.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field, FieldRef, TimeUnit},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
    },
};

use millstream_values::zone::Zone;

use super::{
    misfit::{failed, refused},
    values,
};
use crate::{
    SqlError,
    types::{item_of, timestamp},
};

/// The type that an argument is cast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    /// As it comes.
    Any,
    Timestamp,
    /// A time without a zone.
    Naive,
    /// An interval as it comes, anything else as a timestamp.
    TimeOrInterval,
    Date,
    Text,
    /// A binary if all arguments that want this are binaries, else a text.
    Units,
    Binary,
    /// A number as it comes; a text is a double.
    Number,
    /// A decimal that holds what a number of the argument's type is written with.
    Decimal,
    Int,
    Long,
    Double,
    Boolean,
    /// The type of the elements of the argument at this place.
    ItemOf(usize),
    /// The type of the argument at this place.
    SameAs(usize),
}

/// The literals among the arguments.
type Literals<'a> = [Option<&'a ScalarValue>];
/// A type that depends on the arguments.
type TypeOf = fn(&[DataType], &Literals<'_>) -> Result<DataType, SqlError>;
/// A look at the literals.
type Check = fn(&Literals<'_>) -> Result<(), SqlError>;

/// The type of the result.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    Timestamp,
    Naive,
    Date,
    Text,
    Int,
    Long,
    Double,
    Boolean,
    Texts,
    /// Depends on the arguments.
    Of(TypeOf),
}

/// A call: arguments as arrays of equal length, and the type to give.
pub(super) struct Call<'a> {
    pub(super) arguments: Vec<ArrayRef>,
    pub(super) rows: usize,
    pub(super) gives: &'a DataType,
}

impl Call<'_> {
    /// The zone that the argument at a place names, which is the same in all rows.
    ///
    /// # Errors
    /// It names none.
    pub(super) fn zone(&self, at: usize) -> Result<Zone> {
        let names = self.arguments[at].as_string::<i32>();
        if names.is_empty() || names.is_null(0) {
            return Ok(Zone::utc());
        }
        names.value(0).parse().map_err(refused)
    }
}

/// What a function does with a batch.
pub(super) type Run = fn(&Call<'_>) -> Result<ArrayRef>;

/// A line of a table of functions.
#[derive(Clone, Copy)]
pub(super) struct Simple {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) wants: &'static [Want],
    /// How many arguments may be left out at the end.
    pub(super) optional: usize,
    pub(super) gives: Gives,
    pub(super) run: Run,
    /// Looks at the literals among the arguments while the query is planned.
    pub(super) check: Option<Check>,
}

impl Simple {
    pub(super) const fn new(
        name: &'static str,
        wants: &'static [Want],
        gives: Gives,
        run: Run,
    ) -> Simple {
        Simple {
            name,
            aliases: &[],
            wants,
            optional: 0,
            gives,
            run,
            check: None,
        }
    }

    pub(super) const fn optional(mut self, optional: usize) -> Simple {
        self.optional = optional;
        self
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Simple {
        self.aliases = aliases;
        self
    }

    pub(super) const fn checked(mut self, check: Check) -> Simple {
        self.check = Some(check);
        self
    }

    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(SimpleFunction {
            aliases: self.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
            simple: self,
        }))
    }
}

/// The literal text at a place, if it is one.
pub(super) fn text_of<'a>(literals: &[Option<&'a ScalarValue>], at: usize) -> Option<&'a str> {
    literals.get(at).copied().flatten()?.try_as_str().flatten()
}

/// The condition that stands for a watermark until a query is planned.
pub(super) fn mark() -> Arc<ScalarUDF> {
    Simple::new(
        crate::text::MARK_FUNCTION,
        &[Want::Any, Want::Text],
        Gives::Boolean,
        |_| Err(failed("a watermark is no condition")),
    )
    .udf()
}

struct SimpleFunction {
    simple: Simple,
    aliases: Vec<String>,
    signature: Signature,
}

impl std::fmt::Debug for SimpleFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.simple.name)
    }
}

impl PartialEq for SimpleFunction {
    fn eq(&self, other: &SimpleFunction) -> bool {
        self.simple.name == other.simple.name
    }
}

impl Eq for SimpleFunction {}

impl Hash for SimpleFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.simple.name.hash(state);
    }
}

/// The types that arguments are cast to.
pub(super) fn all_wanted(wants: &[Want], found: &[DataType]) -> Vec<DataType> {
    let units = || {
        wants
            .iter()
            .zip(found)
            .filter(|(want, _)| **want == Want::Units)
    };
    let is_binary = |found: &DataType| matches!(found, DataType::Binary | DataType::BinaryView);
    let fits = |found: &DataType| is_binary(found) || *found == DataType::Null;
    let binary = units().all(|(_, found)| fits(found)) && units().any(|(_, f)| is_binary(f));
    let of = |(want, one): (&Want, &DataType)| match want {
        Want::Units if binary => DataType::Binary,
        want => wanted(*want, one, found),
    };
    wants.iter().zip(found).map(of).collect()
}

fn is_text(found: &DataType) -> bool {
    matches!(
        found,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The arguments with texts where texts are wanted and binaries came.
pub(super) fn as_wanted(
    wants: &[Want],
    mut arguments: Vec<ColumnarValue>,
) -> Result<Vec<ColumnarValue>> {
    for (want, argument) in wants.iter().zip(&mut arguments) {
        if *want != Want::Text || argument.data_type() != DataType::Binary {
            continue;
        }
        *argument = match &*argument {
            ColumnarValue::Array(values) => ColumnarValue::Array(values::texts(values)?),
            ColumnarValue::Scalar(value) => {
                let texts = values::texts(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)
            }
        };
    }
    Ok(arguments)
}

fn wanted(want: Want, found: &DataType, all: &[DataType]) -> DataType {
    match want {
        Want::Number if is_text(found) || *found == DataType::Null => DataType::Float64,
        Want::Any | Want::Number => found.clone(),
        Want::ItemOf(place) => all
            .get(place)
            .and_then(|list| item_of(list).ok())
            .unwrap_or_else(|| found.clone()),
        Want::SameAs(place) => all.get(place).unwrap_or(found).clone(),
        // Both kinds of timestamps count microseconds from the same instant.
        Want::Timestamp if matches!(found, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            found.clone()
        }
        Want::Timestamp => timestamp(),
        Want::Naive => DataType::Timestamp(TimeUnit::Microsecond, None),
        Want::TimeOrInterval => match found {
            DataType::Interval(_)
            | DataType::Duration(_)
            | DataType::Timestamp(TimeUnit::Microsecond, _) => found.clone(),
            _ => timestamp(),
        },
        Want::Date => DataType::Date32,
        // Bytes that are no text become one when the function runs.
        Want::Text if *found == DataType::Binary => DataType::Binary,
        Want::Text | Want::Units => DataType::Utf8,
        Want::Decimal => match found {
            DataType::Int8 => DataType::Decimal128(3, 0),
            DataType::Int16 => DataType::Decimal128(5, 0),
            DataType::Int32 => DataType::Decimal128(10, 0),
            DataType::Int64 => DataType::Decimal128(20, 0),
            DataType::Float32 => DataType::Decimal128(14, 7),
            DataType::Float64 => DataType::Decimal128(30, 15),
            found if is_text(found) => DataType::Decimal128(38, 18),
            found => found.clone(),
        },
        Want::Binary => DataType::Binary,
        Want::Int => DataType::Int32,
        Want::Long => DataType::Int64,
        Want::Double => DataType::Float64,
        Want::Boolean => DataType::Boolean,
    }
}

impl ScalarUDFImpl for SimpleFunction {
    fn name(&self) -> &str {
        self.simple.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let most = self.simple.wants.len();
        let least = most - self.simple.optional;
        if arg_types.len() < least || arg_types.len() > most {
            return Err(SqlError::Types {
                message: format!(
                    "{} does not take {} arguments",
                    self.simple.name,
                    arg_types.len()
                ),
            }
            .into_datafusion());
        }
        Ok(all_wanted(self.simple.wants, arg_types))
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.result(arg_types, &[])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let Some(check) = self.simple.check {
            check(args.scalar_arguments).map_err(SqlError::into_datafusion)?;
        }
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let data_type = self.result(&types, args.scalar_arguments)?;
        Ok(Arc::new(Field::new(self.simple.name, data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = as_wanted(self.simple.wants, args.args)?
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let call = Call {
            arguments,
            rows,
            gives: args.return_field.data_type(),
        };
        let out = (self.simple.run)(&call)?;
        assert_eq!(out.len(), rows, "one value a row");
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

impl SimpleFunction {
    fn result(
        &self,
        arguments: &[DataType],
        literals: &[Option<&ScalarValue>],
    ) -> Result<DataType> {
        Ok(match self.simple.gives {
            Gives::Timestamp => timestamp(),
            Gives::Naive => DataType::Timestamp(TimeUnit::Microsecond, None),
            Gives::Date => DataType::Date32,
            Gives::Text => DataType::Utf8,
            Gives::Int => DataType::Int32,
            Gives::Long => DataType::Int64,
            Gives::Double => DataType::Float64,
            Gives::Boolean => DataType::Boolean,
            Gives::Texts => DataType::new_list(DataType::Utf8, true),
            Gives::Of(of) => of(arguments, literals).map_err(SqlError::into_datafusion)?,
        })
    }
}
