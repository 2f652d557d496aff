//! Ranks as Spark has them: INT where the library counts without sign.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::ArrayRef,
    compute,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        Documentation, PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl,
        function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs},
    },
    physical_expr::PhysicalExpr,
};

/// A function of the library whose result is an INT.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ranked {
    inner: Arc<WindowUDF>,
}

/// The same function, with Spark's type where that is another.
pub(crate) fn ranked(function: Arc<WindowUDF>) -> Arc<WindowUDF> {
    match function.name() {
        "row_number" | "rank" | "dense_rank" | "ntile" => {
            Arc::new(WindowUDF::from(Ranked { inner: function }))
        }
        _ => function,
    }
}

impl WindowUDFImpl for Ranked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(Box::new(AsInt { inner }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.inner.field(args)?;
        let field = field.as_ref().clone().with_data_type(DataType::Int32);
        Ok(Arc::new(field))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Gives the ranks of another as INT.
#[derive(Debug)]
struct AsInt {
    inner: Box<dyn PartitionEvaluator>,
}

fn as_int(ranks: &ArrayRef) -> Result<ArrayRef> {
    Ok(compute::cast(ranks, &DataType::Int32)?)
}

impl PartitionEvaluator for AsInt {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        as_int(&self.inner.evaluate_all(values, rows)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner
            .evaluate(values, range)?
            .cast_to(&DataType::Int32)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        as_int(&self.inner.evaluate_all_with_rank(rows, ranks)?)
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
