//! Random values that can be drawn again.
//!
//! `rand()` must give a row the value that it had before when its epoch runs again, whatever worker
//! has the row and however its input was cut: otherwise a filter would keep other rows after a crash
//! than before, and a row would be taken back that was never given [INV-02]. So nothing here has a
//! state that goes from row to row. A value is a function of two numbers:
//!
//! - the **stream**: which call of the query this is, or the seed that the user wrote;
//! - the **row key**: for a row of a source, its epoch and its origin; for a row that an aggregation
//!   made, its values. A row that is taken back has the same values, so it has the same draw.
//!
//! The planner leaves a [`Draw`] where the function stood; a worker binds it with [`bind`] to a column
//! of row keys that the chain puts beside the others. A column, because parts of an expression see only
//! some of the rows: `CASE` hands on those of its branch.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, ListArray, StringArray, StringBuilder, UInt32Array,
        UInt64Array,
    },
    buffer::OffsetBuffer,
    compute::{cast, take},
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, UInt64Type},
    error::ArrowError,
    record_batch::RecordBatch,
};
use datafusion_common::{
    Result, exec_err, internal_err,
    tree_node::{Transformed, TransformedResult, TreeNode},
};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{Column, LambdaVariable},
};
use millstream_types::Epoch;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    delta::Delta,
    keyhash::{has_hash, hash_keys},
};

/// Name of the column of row keys; no query can name it.
const COLUMN: &str = "__row_key";

/// What separates the streams of a query from those of users' seeds.
const SITES: u64 = 0x0073_6974_6573;

/// Characters of a random text at most: what one row may take.
const TEXT_MAX: i64 = 1 << 20;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrawKind {
    /// A double of `[0, 1)`.
    Unit,
    /// A double of the standard normal distribution.
    Normal,
    /// A number between the two arguments.
    Between,
    /// A UUID of version 4 as text.
    Uuid,
    /// A text of as many letters and digits as the argument says.
    Text,
    /// The argument's elements in another order.
    Shuffle,
}

/// Which stream of values a call reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrawSeed {
    /// The user's number: the same values in every query.
    Given(i64),
    /// The how manyth call of the query this is; every query has streams of its own.
    Site(u32),
}

impl DrawSeed {
    fn stream(self, query_seed: u64) -> u64 {
        match self {
            DrawSeed::Given(seed) => xxh3_64_with_seed(&seed.to_le_bytes(), 0),
            DrawSeed::Site(site) => xxh3_64_with_seed(&site.to_le_bytes(), query_seed ^ SITES),
        }
    }
}

/// A random value as an expression.
#[derive(Clone, Debug)]
pub struct Draw {
    name: String,
    kind: DrawKind,
    seed: DrawSeed,
    data_type: DataType,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    bound: Option<Bound>,
}

/// What a draw reads on a worker.
#[derive(Clone, Debug)]
struct Bound {
    stream: u64,
    keys: Arc<dyn PhysicalExpr>,
}

impl Draw {
    /// A draw that is bound to nothing yet. `name` is for people.
    #[must_use]
    pub fn new(
        name: &str,
        (kind, seed): (DrawKind, DrawSeed),
        data_type: DataType,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Draw {
        Draw {
            name: name.to_owned(),
            kind,
            seed,
            data_type,
            arguments,
            bound: None,
        }
    }

    /// The name for people and the arguments, the seed not among them.
    #[must_use]
    pub fn call(&self) -> (&str, &[Arc<dyn PhysicalExpr>]) {
        (&self.name, &self.arguments)
    }

    /// Which stream of values it reads.
    #[must_use]
    pub fn seed(&self) -> DrawSeed {
        self.seed
    }

    fn argument(&self, at: usize, batch: &RecordBatch) -> Result<ArrayRef> {
        match self.arguments.get(at) {
            Some(argument) => argument.evaluate(batch)?.into_array(batch.num_rows()),
            None => internal_err!("{} lacks an argument", self.name),
        }
    }

    fn between(&self, rows: &Numbered, batch: &RecordBatch) -> Result<ArrayRef> {
        let ends = [self.argument(0, batch)?, self.argument(1, batch)?];
        let low = cast(&ends[0], &DataType::Float64)?;
        let high = cast(&ends[1], &DataType::Float64)?;
        let ends = low.as_primitive::<Float64Type>().iter();
        let ends = ends.zip(high.as_primitive::<Float64Type>());
        let drawn: Float64Array = ends
            .zip(rows.each())
            .map(|((low, high), mut numbers)| {
                let unit = numbers.unit();
                low.zip(high).map(|(low, high)| low + (high - low) * unit)
            })
            .collect();
        Ok(cast(&drawn, &self.data_type)?)
    }

    fn text(&self, rows: &Numbered, batch: &RecordBatch) -> Result<ArrayRef> {
        let lengths = cast(&self.argument(0, batch)?, &DataType::Int64)?;
        let lengths = lengths.as_primitive::<Int64Type>();
        let mut texts = StringBuilder::new();
        for (length, mut numbers) in lengths.iter().zip(rows.each()) {
            let Some(length) = length else {
                texts.append_null();
                continue;
            };
            if !(0..=TEXT_MAX).contains(&length) {
                return exec_err!(
                    "{}: a text of so many characters length={length}",
                    self.name
                );
            }
            for _ in 0..length {
                let character = CHARACTERS[numbers.below(CHARACTERS.len())];
                write_text(&mut texts, format_args!("{}", char::from(character)))?;
            }
            texts.append_value("");
        }
        Ok(Arc::new(texts.finish()))
    }

    fn shuffled(&self, rows: &Numbered, batch: &RecordBatch) -> Result<ArrayRef> {
        let lists = self.argument(0, batch)?;
        let Some(lists) = lists.as_list_opt::<i32>() else {
            return internal_err!("{} of {}", self.name, lists.data_type());
        };
        let mut picks: Vec<u32> = Vec::with_capacity(lists.values().len());
        let mut lengths = Vec::with_capacity(lists.len());
        for (row, mut numbers) in rows.each().enumerate() {
            let first = picks.len();
            if lists.is_valid(row) {
                let offsets = lists.value_offsets();
                picks.extend(offsets[row].unsigned_abs()..offsets[row + 1].unsigned_abs());
            }
            let own = &mut picks[first..];
            for last in (1..own.len()).rev() {
                own.swap(last, numbers.below(last + 1));
            }
            lengths.push(own.len());
        }
        let values = take(lists.values(), &UInt32Array::from(picks), None)?;
        let DataType::List(field) = &self.data_type else {
            return internal_err!("{} gives {}", self.name, self.data_type);
        };
        let field = Arc::clone(field);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls = lists.nulls().cloned();
        Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
    }
}

/// Letters and digits of a random text, as in Spark.
const CHARACTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn write_text(texts: &mut StringBuilder, what: fmt::Arguments<'_>) -> Result<()> {
    match texts.write_fmt(what) {
        Ok(()) => Ok(()),
        Err(fmt::Error) => internal_err!("a text that cannot be written"),
    }
}

fn uuids(rows: &Numbered) -> Result<StringArray> {
    let mut texts = StringBuilder::new();
    for mut numbers in rows.each() {
        // Version 4, and the variant of RFC 9562.
        let high = (numbers.next() & !0xF000) | 0x4000;
        let low = (numbers.next() & !(0b11 << 62)) | (0b10 << 62);
        let (time, middle, version) = (high >> 32, (high >> 16) & 0xFFFF, high & 0xFFFF);
        let (variant, node) = (low >> 48, low & 0xFFFF_FFFF_FFFF);
        let text = format_args!("{time:08x}-{middle:04x}-{version:04x}-{variant:04x}-{node:012x}");
        write_text(&mut texts, text)?;
        texts.append_value("");
    }
    Ok(texts.finish())
}

/// The rows of a batch and the stream that they read.
struct Numbered {
    stream: u64,
    keys: UInt64Array,
}

impl Numbered {
    fn each(&self) -> impl Iterator<Item = Numbers> + '_ {
        let keys = self.keys.values().iter();
        keys.map(|key| Numbers {
            state: mixed(self.stream ^ mixed(*key)),
        })
    }
}

/// The numbers of one row: SplitMix64, whose every number is a function of its state alone.
struct Numbers {
    state: u64,
}

/// How far the state of SplitMix64 goes on at each number.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64: every bit of the input moves half the bits of the output.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mixed(self.state)
    }

    /// Of `[0, 1)`, all multiples of 2⁻⁵³ alike.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are what a double holds"
    )]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// By the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        // Of (0, 1]: zero has no logarithm.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A number less than `bound`, which is more than 0.
    fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

// Two draws are the same expression if they read one stream, whatever they are bound to.
impl PartialEq for Draw {
    fn eq(&self, other: &Draw) -> bool {
        (self.kind, self.seed) == (other.kind, other.seed)
            && self.data_type == other.data_type
            && self.arguments == other.arguments
    }
}

impl Eq for Draw {}

impl Hash for Draw {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.seed).hash(state);
        self.data_type.hash(state);
        self.arguments.hash(state);
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, argument) in self.arguments.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{argument}")?;
        }
        let comma = if self.arguments.is_empty() { "" } else { ", " };
        match self.seed {
            DrawSeed::Given(seed) => write!(f, "{comma}{seed})"),
            DrawSeed::Site(_) => f.write_str(")"),
        }
    }
}

impl PhysicalExpr for Draw {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        let mut nullable = false;
        for argument in &self.arguments {
            nullable |= argument.nullable(input_schema)?;
        }
        Ok(nullable)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let Some(bound) = &self.bound else {
            return internal_err!("{self} was asked for while planning");
        };
        let keys = bound.keys.evaluate(batch)?.into_array(batch.num_rows())?;
        let Some(keys) = keys.as_primitive_opt::<UInt64Type>() else {
            return internal_err!("{self} finds no row keys");
        };
        let rows = Numbered {
            stream: bound.stream,
            keys: keys.clone(),
        };
        let doubles = |draw: fn(&mut Numbers) -> f64| {
            Float64Array::from_iter_values(rows.each().map(|mut numbers| draw(&mut numbers)))
        };
        Ok(ColumnarValue::Array(match self.kind {
            DrawKind::Unit => Arc::new(doubles(Numbers::unit)),
            DrawKind::Normal => Arc::new(doubles(Numbers::normal)),
            DrawKind::Between => self.between(&rows, batch)?,
            DrawKind::Uuid => Arc::new(uuids(&rows)?),
            DrawKind::Text => self.text(&rows, batch)?,
            DrawKind::Shuffle => self.shuffled(&rows, batch)?,
        }))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        let keys = self.bound.as_ref().map(|bound| &bound.keys);
        self.arguments.iter().chain(keys).collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let mut draw = Draw::clone(&self);
        if let Some(bound) = &mut draw.bound
            && let Some(keys) = children.pop()
        {
            bound.keys = keys;
        }
        draw.arguments = children;
        Ok(Arc::new(draw))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether the expression draws.
#[must_use]
pub fn draws(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|part| Ok(part.downcast_ref::<Draw>().is_some()))
        .unwrap_or(false)
}

/// Where the draws of a chain come from.
#[derive(Clone, Copy, Debug)]
pub struct DrawSource {
    /// What separates this query from others; the same at each start.
    pub query_seed: u64,
    /// Columns of the rows that come in.
    pub columns: usize,
    /// Whether rows that come in are taken back later.
    pub changing: bool,
}

/// The same expression with every draw in it reading the row keys behind `columns` columns.
///
/// # Errors
/// When an expression cannot be rebuilt.
pub fn bind(
    expr: Arc<dyn PhysicalExpr>,
    query_seed: u64,
    columns: usize,
) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform(|part| {
        if let Some(draw) = part.downcast_ref::<Draw>() {
            let mut draw = draw.clone();
            draw.bound = Some(Bound {
                stream: draw.seed.stream(query_seed),
                keys: Arc::new(Column::new(COLUMN, columns)),
            });
            return Ok(Transformed::yes(Arc::new(draw)));
        }
        // Parameters of lambdas are counted on from the last column, which now is the keys'.
        if let Some(parameter) = part.downcast_ref::<LambdaVariable>()
            && parameter.index() >= columns
        {
            let field = Arc::clone(parameter.field());
            let moved = LambdaVariable::new(parameter.index() + 1, field);
            return Ok(Transformed::yes(Arc::new(moved)));
        }
        Ok(Transformed::no(part))
    })
    .data()
}

/// A number for each row, from which its draws are made.
///
/// # Errors
/// When a value has no hash.
pub fn row_keys(delta: &Delta, epoch: Epoch, changing: bool) -> crate::error::Result<UInt64Array> {
    let Some(origins) = delta.origin().filter(|_| !changing) else {
        // No epoch in here: a row is taken back in another epoch than it was given in.
        let columns = delta.batch().columns();
        let columns: Vec<_> = columns
            .iter()
            .filter(|column| has_hash(column.data_type()))
            .cloned()
            .collect();
        return hash_keys(0, &columns, delta.rows()).map(UInt64Array::from);
    };
    let of_epoch = mixed(epoch.0.wrapping_add(GOLDEN));
    // Rows of one exploded list have its origin, and stand together in its order.
    let (mut before, mut nth) = (None, 0);
    let keys = origins.values().iter().map(|origin| {
        nth = if before == Some(*origin) { nth + 1 } else { 0 };
        before = Some(*origin);
        nested(mixed(of_epoch ^ origin), nth)
    });
    Ok(UInt64Array::from_iter_values(keys))
}

/// The key of the nth row that an element of a list becomes; the first has that of its row.
pub(crate) fn nested(key: u64, nth: u64) -> u64 {
    if nth == 0 {
        key
    } else {
        mixed(key.wrapping_add(nth.wrapping_mul(GOLDEN)))
    }
}

/// The columns of a batch and the row keys behind them.
///
/// # Errors
/// When there are not as many keys as rows.
pub(crate) fn with_keys(
    batch: &RecordBatch,
    keys: &UInt64Array,
) -> std::result::Result<RecordBatch, ArrowError> {
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(COLUMN, DataType::UInt64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(keys.clone()));
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns)
}

#[cfg(test)]
mod tests;
