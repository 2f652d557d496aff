//! Functions of DataFusion with Spark's coercion around them: arguments are cast to what Spark's
//! function takes, overflow and division by zero are errors, and a text is a plain text, no view.
//!
//! The table says what each takes; what is computed is DataFusion's.

use std::{
    hash::Hash,
    sync::{Arc, LazyLock},
};

use arrow::{
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, config::ConfigOptions},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
    },
};

use super::simple::{Want, all_wanted, as_wanted};
use crate::SqlError;

/// A function of DataFusion and what Spark's function of this name takes.
pub(super) struct Line {
    pub(super) name: &'static str,
    wants: &'static [Want],
    /// How many arguments may be left out at the end, or come more of the last kind.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counts {
    All,
    /// The last one may be left out.
    LastOptional,
    /// Any number of the last one.
    LastMany,
}

const fn line(name: &'static str, wants: &'static [Want]) -> Line {
    Line {
        name,
        wants,
        counts: Counts::All,
    }
}

const fn optional(name: &'static str, wants: &'static [Want]) -> Line {
    Line {
        name,
        wants,
        counts: Counts::LastOptional,
    }
}

const fn many(name: &'static str, wants: &'static [Want]) -> Line {
    Line {
        name,
        wants,
        counts: Counts::LastMany,
    }
}

const TEXT: &[Want] = &[Want::Text];
const TWO: &[Want] = &[Want::Text, Want::Text];
const THREE: &[Want] = &[Want::Text, Want::Text, Want::Text];
const DOUBLE: &[Want] = &[Want::Double];
const DOUBLES: &[Want] = &[Want::Double, Want::Double];
const NUMBER: &[Want] = &[Want::Number];

/// All of them, by the first of their names.
pub(super) const TABLE: &[Line] = &[
    line("abs", NUMBER),
    line("acos", DOUBLE),
    line("acosh", DOUBLE),
    line("ascii", TEXT),
    line("asin", DOUBLE),
    line("asinh", DOUBLE),
    line("atan", DOUBLE),
    line("atan2", DOUBLES),
    line("atanh", DOUBLE),
    optional("btrim", TWO),
    line("cbrt", DOUBLE),
    line("ceil", NUMBER),
    line("cos", DOUBLE),
    line("cosh", DOUBLE),
    line("cot", DOUBLE),
    line("degrees", DOUBLE),
    many("elt", &[Want::Int, Want::Text]),
    line("exp", DOUBLE),
    line("expm1", DOUBLE),
    line("factorial", &[Want::Int]),
    line("find_in_set", TWO),
    line("floor", NUMBER),
    line("hypot", DOUBLES),
    line("lower", TEXT),
    optional("ltrim", TWO),
    line("luhn_check", TEXT),
    line("md5", &[Want::Binary]),
    optional("parse_url", THREE),
    line("power", DOUBLES),
    line("quote", TEXT),
    line("radians", DOUBLE),
    line("repeat", &[Want::Text, Want::Long]),
    line("replace", THREE),
    line("rint", DOUBLE),
    optional("rtrim", TWO),
    line("signum", DOUBLE),
    line("sin", DOUBLE),
    line("sinh", DOUBLE),
    line("substring_index", &[Want::Text, Want::Text, Want::Long]),
    line("tan", DOUBLE),
    line("tanh", DOUBLE),
    line("translate", THREE),
    optional("try_parse_url", THREE),
    line("try_url_decode", TEXT),
    line("unhex", TEXT),
    line("upper", TEXT),
    line("url_decode", TEXT),
    line("url_encode", TEXT),
];

/// Errors instead of nulls and wrapped numbers.
static STRICT: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::new();
    options.execution.enable_ansi_mode = true;
    Arc::new(options)
});

/// The function with what the line says around it.
pub(super) fn adapted(line: &Line, inner: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Adapted {
        inner: Arc::clone(inner),
        wants: line.wants,
        counts: line.counts,
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Adapted {
    inner: Arc<ScalarUDF>,
    wants: &'static [Want],
    counts: Counts,
    signature: Signature,
}

/// A text that is a view for DataFusion is a text.
fn plain(found: DataType) -> DataType {
    match found {
        DataType::Utf8View => DataType::Utf8,
        other => other,
    }
}

impl ScalarUDFImpl for Adapted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (most, found) = (self.wants.len(), arg_types.len());
        let fits = match self.counts {
            Counts::All => found == most,
            Counts::LastOptional => found == most || found + 1 == most,
            Counts::LastMany => found >= most,
        };
        if !fits {
            let message = format!(
                "{} does not take {} arguments",
                self.name(),
                arg_types.len()
            );
            return Err(SqlError::Types { message }.into_datafusion());
        }
        Ok(all_wanted(&self.wants(arg_types.len()), arg_types))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(SqlError::internal("the type depends on the arguments").into_datafusion())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let inner = self.inner_field(args.arg_fields, args.scalar_arguments)?;
        let data_type = plain(inner.data_type().clone());
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let wanted = args.return_field.data_type().clone();
        let literals: Vec<Option<ScalarValue>> = args
            .args
            .iter()
            .map(|arg| match arg {
                ColumnarValue::Scalar(value) => Some(value.clone()),
                ColumnarValue::Array(_) => None,
            })
            .collect();
        let literals: Vec<Option<&ScalarValue>> = literals.iter().map(Option::as_ref).collect();
        args.return_field = self.inner_field(&args.arg_fields, &literals)?;
        let wants = self.wants(args.args.len());
        args.arg_fields = inner_fields(&wants, &args.arg_fields);
        args.args = as_wanted(&wants, args.args)?;
        args.config_options = Arc::clone(&STRICT);
        let out = self.inner.invoke_with_args(args)?;
        if out.data_type() == wanted {
            return Ok(out);
        }
        Ok(match out {
            ColumnarValue::Array(values) => ColumnarValue::Array(cast(&values, &wanted)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.cast_to(&wanted)?),
        })
    }
}

impl Adapted {
    /// What so many arguments are to be.
    fn wants(&self, count: usize) -> Vec<Want> {
        let last = self.wants.last().copied();
        let rest = std::iter::repeat_n(last, count.saturating_sub(self.wants.len()));
        let all = self.wants.iter().copied().map(Some).chain(rest);
        all.flatten().take(count).collect()
    }

    /// What the function itself gives.
    fn inner_field(
        &self,
        fields: &[FieldRef],
        literals: &[Option<&ScalarValue>],
    ) -> Result<FieldRef> {
        self.inner.return_field_from_args(ReturnFieldArgs {
            arg_fields: &inner_fields(&self.wants(fields.len()), fields),
            scalar_arguments: literals,
        })
    }
}

/// What the function itself gets: a binary that stands for a text is one by then.
fn inner_fields(wants: &[Want], fields: &[FieldRef]) -> Vec<FieldRef> {
    let of = |(want, field): (&Want, &FieldRef)| match want {
        Want::Text => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    };
    wants.iter().zip(fields).map(of).collect()
}
