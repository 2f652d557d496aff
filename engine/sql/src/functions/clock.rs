//! `current_timestamp()`, `now()`, `current_date()`: the clock of the epoch's plan.
//!
//! Volatile, so that no rule folds them when the query is planned; the lowering puts an
//! [`EpochClock`](millstream_operators::clock::EpochClock) in their place.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use crate::{SqlError, types::timestamp};

/// A function that reads the clock.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClockFunction {
    name: &'static str,
    aliases: Vec<String>,
    data_type: DataType,
    signature: Signature,
}

impl ClockFunction {
    fn udf(name: &'static str, aliases: &[&str], data_type: DataType) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(ClockFunction {
            name,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            data_type,
            signature: Signature::nullary(Volatility::Volatile),
        }))
    }

    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

/// All of them.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        ClockFunction::udf("current_timestamp", &["now"], timestamp()),
        ClockFunction::udf(
            "localtimestamp",
            &[],
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        ClockFunction::udf("current_date", &["curdate", "today"], DataType::Date32),
    ]
}

/// Whether the function reads the clock.
pub(crate) fn is_clock(function: &ScalarUDF) -> bool {
    clock(function).is_some()
}

/// The function, if it reads the clock.
pub(crate) fn clock(function: &ScalarUDF) -> Option<&ClockFunction> {
    function.inner().downcast_ref::<ClockFunction>()
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(SqlError::internal("the epoch's clock was asked for while planning").into_datafusion())
    }
}
