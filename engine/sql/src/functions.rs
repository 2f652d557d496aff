//! The functions of the dialect: DataFusion's, Spark's where both exist, and ours.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    execution::SessionStateDefaults,
    functions_aggregate::first_last,
    logical_expr::{
        AggregateUDF, HigherOrderUDF, ScalarUDF, Volatility, WindowUDF, planner::ExprPlanner,
    },
};
use datafusion_spark::planner::SparkFunctionPlanner;

use crate::{names::NamedCasts, rewrite::macros};

mod adapted;
pub(crate) mod arrays;
mod bitmaps;
mod bits;
mod buckets;
mod calendar;
pub(crate) mod casts;
pub(crate) mod clock;
mod codes;
pub(crate) mod csv;
pub(crate) mod date_parts;
pub(crate) mod datetime;
pub(crate) mod divide;
pub(crate) mod fields;
mod formatted;
mod hash;
mod higher;
pub(crate) mod interval_operators;
pub(crate) mod intervals;
pub(crate) mod json;
mod json_tuple;
mod lambdas;
pub(crate) mod lists;
mod maps;
mod math;
pub(crate) mod misfit;
mod nested;
mod number_format;
pub(crate) mod ordered;
pub(crate) mod patterned;
pub(crate) mod percentile;
pub(crate) mod random;
pub(crate) mod ranks;
pub(crate) mod rounding;
mod sequences;
mod several;
pub(crate) mod simple;
mod sort_by;
pub(crate) mod spans;
mod split;
pub(crate) mod statistics;
mod strings;
mod subscript;
mod text;
mod units;
mod values;
mod vectors;
pub(crate) mod window;
pub(crate) mod window_values;
pub(crate) mod zones;

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FunctionKind {
    /// A value for each row.
    Scalar,
    /// A value for each group.
    Aggregate,
    /// A value for each row over a frame.
    Window,
}

/// Whose function it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FunctionOrigin {
    /// DataFusion's own.
    DataFusion,
    /// DataFusion's package of Spark's functions.
    Spark,
    /// Written here.
    Millstream,
}

/// One line of `millstream functions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The name, or one of its names.
    pub name: String,
    /// What it is.
    pub kind: FunctionKind,
    /// Whose it is.
    pub origin: FunctionOrigin,
    /// Whether its value depends on more than its arguments: on the epoch's clock or on the row.
    pub volatile: bool,
}

/// All functions by name.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) scalar: BTreeMap<String, Arc<ScalarUDF>>,
    pub(crate) higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    pub(crate) aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    pub(crate) window: BTreeMap<String, Arc<WindowUDF>>,
    pub(crate) planners: Vec<Arc<dyn ExprPlanner>>,
    origins: BTreeMap<(String, FunctionKind), FunctionOrigin>,
}

/// Spark's package has these for doubles or with other results than Spark 4; DataFusion's are right.
const NOT_FROM_SPARK: &[&str] = &["avg", "modulus", "negative"];

/// DataFusion knows these only in plans that it runs itself, here they would fail at the first row;
/// or they are of TIMEs, which Spark 4.3 refuses unless it is told otherwise.
const NOT_FROM_DATAFUSION: &[&str] = &[
    "current_time",
    "file_row_index",
    "input_file_name",
    "make_time",
    "to_time",
];

/// Spark's names of functions that DataFusion has under another one.
const SCALAR_ALIASES: &[(&str, &str)] = &[
    ("char_length", "character_length"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("sign", "signum"),
    ("date", "to_date"),
    ("timestamp", "to_timestamp"),
];

/// Functions that are written in terms of others before a query is planned.
const REWRITTEN: &[(&str, FunctionKind)] = &[
    ("approx_count_distinct", FunctionKind::Aggregate),
    ("count_if", FunctionKind::Aggregate),
    ("decode", FunctionKind::Scalar),
    ("arrays_zip", FunctionKind::Scalar),
    ("explode", FunctionKind::Scalar),
    ("explode_outer", FunctionKind::Scalar),
    ("grouping_id", FunctionKind::Aggregate),
    ("inline", FunctionKind::Scalar),
    ("inline_outer", FunctionKind::Scalar),
    ("isnotnull", FunctionKind::Scalar),
    ("isnull", FunctionKind::Scalar),
    ("max_by", FunctionKind::Aggregate),
    ("min_by", FunctionKind::Aggregate),
    ("percentile_cont", FunctionKind::Aggregate),
    ("posexplode", FunctionKind::Scalar),
    ("posexplode_outer", FunctionKind::Scalar),
    ("timestampadd", FunctionKind::Scalar),
    ("timestampdiff", FunctionKind::Scalar),
    ("stack", FunctionKind::Scalar),
    ("unnest", FunctionKind::Scalar),
];

/// Spark's names of functions that take functions.
const HIGHER_ORDER_ALIASES: &[(&str, &str)] = &[("exists", "array_any_match")];

impl Registry {
    pub(crate) fn new() -> Registry {
        let mut registry = Registry {
            scalar: BTreeMap::new(),
            higher_order: BTreeMap::new(),
            aggregate: BTreeMap::new(),
            window: BTreeMap::new(),
            planners: SessionStateDefaults::default_expr_planners(),
            origins: BTreeMap::new(),
        };
        registry.planners.insert(0, Arc::new(SparkFunctionPlanner));
        registry.planners.insert(0, Arc::new(NamedCasts));
        registry
            .planners
            .insert(0, Arc::new(subscript::SparkSubscripts));
        registry
            .planners
            .insert(0, Arc::new(interval_operators::SparkIntervals));
        registry.add_data_fusions();
        registry.add_sparks();
        registry.adapt();
        registry.add_ours();
        registry.add_aliases();
        registry
    }

    fn add_data_fusions(&mut self) {
        for function in SessionStateDefaults::default_scalar_functions() {
            if !NOT_FROM_DATAFUSION.contains(&function.name()) {
                self.add_scalar(&function, FunctionOrigin::DataFusion);
            }
        }
        for function in SessionStateDefaults::default_aggregate_functions() {
            self.add_aggregate(&function, FunctionOrigin::DataFusion);
        }
        for function in SessionStateDefaults::default_window_functions() {
            let name = function.name().to_owned();
            self.note(&name, FunctionKind::Window, FunctionOrigin::DataFusion);
            self.window.insert(name, ranks::ranked(function));
        }
        for function in SessionStateDefaults::default_higher_order_functions() {
            let name = function.name().to_owned();
            self.note(&name, FunctionKind::Scalar, FunctionOrigin::DataFusion);
            self.higher_order.insert(name, function);
        }
    }

    fn add_sparks(&mut self) {
        for function in datafusion_spark::all_default_scalar_functions() {
            if !NOT_FROM_SPARK.contains(&function.name()) {
                self.add_scalar(&function, FunctionOrigin::Spark);
            }
        }
        for function in datafusion_spark::all_default_aggregate_functions() {
            if !NOT_FROM_SPARK.contains(&function.name()) {
                self.add_aggregate(&function, FunctionOrigin::Spark);
            }
        }
    }

    /// Puts Spark's coercion around functions, under all their names.
    fn adapt(&mut self) {
        for line in adapted::TABLE {
            let Some(inner) = self.scalar.get(line.name).cloned() else {
                continue;
            };
            let outer = adapted::adapted(line, &inner);
            let same = self.scalar.values_mut().filter(|known| **known == inner);
            same.for_each(|known| *known = Arc::clone(&outer));
        }
        for side in ["ltrim", "rtrim"] {
            if let Some(function) = self.scalar.get(side).cloned() {
                self.scalar.insert(format!("__{side}"), function);
            }
        }
    }

    fn add_ours(&mut self) {
        let ours = FunctionOrigin::Millstream;
        let of_context = [window::functions(), clock::functions(), random::functions()];
        for function in of_context.iter().flatten() {
            self.add_scalar(function, ours);
        }
        for function in higher::functions() {
            let name = function.name().to_owned();
            self.note(&name, FunctionKind::Scalar, ours);
            self.higher_order.insert(name, function);
        }
        let of_rows = [
            maps::functions(),
            arrays::functions(),
            math::functions(),
            strings::functions(),
            csv::functions(),
            spans::functions(),
            intervals::functions(),
            date_parts::functions(),
            sequences::functions(),
            zones::functions(),
            buckets::functions(),
            vec![hash::function(), json_tuple::function()],
            split::functions(),
            rounding::functions(),
            several::functions(),
            datetime::functions(),
            text::functions(),
            units::functions(),
            codes::functions(),
            formatted::functions(),
            vectors::functions(),
            json::functions(),
            lists::visible(),
        ];
        for function in of_rows.iter().flatten() {
            self.add_scalar(function, ours);
        }
        for function in percentile::functions()
            .iter()
            .chain(&statistics::functions())
            .chain(&bitmaps::functions())
        {
            self.add_aggregate(function, ours);
        }
        // Only our rewriting calls these: they are in no list.
        for function in lists::functions()
            .into_iter()
            .chain([simple::mark(), ordered::function(), fields::function()])
            .chain(arrays::hidden())
            .chain(bits::hidden())
            .chain(rounding::hidden())
            .chain(casts::hidden())
            .chain(spans::hidden())
            .chain(intervals::hidden())
            .chain(zones::hidden())
            .chain(patterned::hidden())
            .chain(json::hidden())
            .chain(csv::hidden())
            .chain(several::hidden())
        {
            self.scalar.insert(function.name().to_owned(), function);
        }
        for (name, kind) in REWRITTEN {
            self.note(name, *kind, ours);
        }
        self.note_short();
    }

    /// Names that are short for an expression.
    fn note_short(&mut self) {
        let ours = FunctionOrigin::Millstream;
        for (name, _, body) in macros::DEFINITIONS {
            // What a call with DISTINCT is short for has the name of the call without.
            if !name.contains(' ') {
                let kind = if macros::is_grouped(body) {
                    FunctionKind::Aggregate
                } else {
                    FunctionKind::Scalar
                };
                self.note(name, kind, ours);
            }
        }
        for name in macros::CASTS {
            self.note(name, FunctionKind::Scalar, ours);
        }
    }

    fn add_aliases(&mut self) {
        let ours = FunctionOrigin::Millstream;
        for (alias, name) in HIGHER_ORDER_ALIASES {
            if let Some(function) = self.higher_order.get(*name).cloned() {
                self.higher_order.insert((*alias).to_owned(), function);
                self.note(alias, FunctionKind::Scalar, ours);
            }
        }
        for (alias, name) in SCALAR_ALIASES {
            if let (Some(function), false) = (
                self.scalar.get(*name).cloned(),
                self.scalar.contains_key(*alias),
            ) {
                self.scalar.insert((*alias).to_owned(), function);
                self.note(alias, FunctionKind::Scalar, ours);
            }
        }
        let aggregates = [
            ("first", first_last::first_value_udaf()),
            ("any_value", first_last::first_value_udaf()),
            ("last", first_last::last_value_udaf()),
        ];
        for (alias, function) in aggregates {
            self.aggregate.insert(alias.to_owned(), function);
            self.note(alias, FunctionKind::Aggregate, ours);
        }
        for (alias, name) in [
            ("every", "bool_and"),
            ("some", "bool_or"),
            ("any", "bool_or"),
            ("std", "stddev"),
            ("listagg", "string_agg"),
            ("try_avg", "avg"),
            ("__regr_count", "regr_count"),
            ("array_agg", "collect_list"),
            ("variance", "var_samp"),
        ] {
            if let Some(function) = self.aggregate.get(name).cloned() {
                self.aggregate.insert(alias.to_owned(), function);
                self.note(alias, FunctionKind::Aggregate, ours);
            }
        }
    }

    fn add_scalar(&mut self, function: &Arc<ScalarUDF>, origin: FunctionOrigin) {
        let names =
            std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
        for name in names {
            self.note(name, FunctionKind::Scalar, origin);
            self.scalar.insert(name.to_owned(), Arc::clone(function));
        }
    }

    fn add_aggregate(&mut self, function: &Arc<AggregateUDF>, origin: FunctionOrigin) {
        let names =
            std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
        for name in names {
            self.note(name, FunctionKind::Aggregate, origin);
            self.aggregate.insert(name.to_owned(), Arc::clone(function));
        }
    }

    fn note(&mut self, name: &str, kind: FunctionKind, origin: FunctionOrigin) {
        if name.starts_with("__") {
            return;
        }
        self.origins.insert((name.to_owned(), kind), origin);
    }

    pub(crate) fn list(&self) -> Vec<FunctionInfo> {
        self.origins
            .iter()
            .map(|((name, kind), origin)| FunctionInfo {
                name: name.clone(),
                kind: *kind,
                origin: *origin,
                volatile: self.is_volatile(name, *kind),
            })
            .collect()
    }

    fn is_volatile(&self, name: &str, kind: FunctionKind) -> bool {
        let of_rows = || {
            let scalar = self.scalar.get(name).map(|f| f.signature().volatility);
            scalar.or_else(|| Some(self.higher_order.get(name)?.signature().volatility))
        };
        let volatility = match kind {
            FunctionKind::Scalar => of_rows(),
            FunctionKind::Aggregate => {
                let function = self.aggregate.get(name);
                function.map(|function| function.signature().volatility)
            }
            FunctionKind::Window => {
                let function = self.window.get(name);
                function.map(|function| function.signature().volatility)
            }
        };
        volatility == Some(Volatility::Volatile)
    }

    /// Names of functions for hints.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(|(name, _)| name.as_str())
    }
}

/// All functions of the dialect, by name.
#[must_use]
pub fn list() -> Vec<FunctionInfo> {
    Registry::new().list()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that answers as it likes would give other rows when an epoch runs again: each one
    /// must be known here, and lowered to the clock or to a draw. [INV-02]
    #[test]
    fn what_depends_on_more_than_its_arguments_is_the_clock_or_a_draw() {
        let registry = Registry::new();
        let mut others: Vec<&str> = Vec::new();
        for (name, function) in &registry.scalar {
            let known = clock::is_clock(function) || random::is_random(function);
            if function.signature().volatility != Volatility::Immutable && !known {
                others.push(name);
            }
        }
        let signature = |f: &HigherOrderUDF| f.signature().volatility;
        let of_lists = registry
            .higher_order
            .iter()
            .map(|(name, f)| (name, signature(f)));
        let signature = |f: &AggregateUDF| f.signature().volatility;
        let of_groups = registry
            .aggregate
            .iter()
            .map(|(name, f)| (name, signature(f)));
        let signature = |f: &WindowUDF| f.signature().volatility;
        let of_frames = registry.window.iter().map(|(name, f)| (name, signature(f)));
        let all = of_lists.chain(of_groups).chain(of_frames);
        let moving = all.filter(|(_, volatility)| *volatility != Volatility::Immutable);
        others.extend(moving.map(|(name, _)| name.as_str()));
        // It reads the time zone of the session, which is always UTC.
        assert_eq!(others, ["spark_cast"]);
    }
}
