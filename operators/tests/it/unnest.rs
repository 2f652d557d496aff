//! Rows made from lists: what a chain holds while it makes them, and that it gives way to others.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, PoisonError},
};

use arrow::{
    array::{ArrayRef, ListArray, RecordBatch, StringArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion_common::ScalarValue;
use datafusion_physical_expr::{
    PhysicalExpr,
    expressions::{Column, Literal},
};
use millstream_operators::{
    board::{EpochBoard, EpochFacts},
    chain::{Chain, ChainSpec, Step, operator::chain_operator, pass::ChainContext},
    delta::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Delta},
    draw::DrawSource,
    driver::OperatorEnvironment,
    unnest::Unnest,
};
use millstream_types::Epoch;
use timely::dataflow::operators::{Input, Probe, inspect::Inspect};

use crate::{ALLOCATOR, QUIET};

fn fields(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn list_of(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

fn texts(count: usize, length: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec!["y".repeat(length); count]))
}

/// One row with a list of short texts.
fn one_list(elements: usize) -> RecordBatch {
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::from_lengths([elements]);
    let list = ListArray::new(item, offsets, texts(elements, 10), None);
    let schema = fields(&[("a", list_of(DataType::Utf8))]);
    RecordBatch::try_new(schema, vec![Arc::new(list)]).expect("has a column")
}

/// `explode(a)` and nothing else.
fn explode() -> ChainSpec {
    let schema = fields(&[("a", DataType::Utf8)]);
    ChainSpec {
        steps: vec![Step::Unnest(Unnest {
            column: 0,
            columns: vec![0],
            schema: schema.clone(),
        })],
        output: schema,
    }
}

/// `s, explode(…)` of a list of numbers that is computed for each row.
fn beside(elements: usize) -> ChainSpec {
    let numbers = vec![ScalarValue::Int64(Some(7)); elements];
    let list = ScalarValue::List(ScalarValue::new_list_nullable(&numbers, &DataType::Int64));
    let expressions: Vec<Arc<dyn PhysicalExpr>> =
        vec![Arc::new(Column::new("s", 0)), Arc::new(Literal::new(list))];
    let output = fields(&[("s", DataType::Utf8), ("x", DataType::Int64)]);
    ChainSpec {
        steps: vec![
            Step::Project {
                expressions,
                schema: fields(&[("s", DataType::Utf8), ("x", list_of(DataType::Int64))]),
            },
            Step::Unnest(Unnest {
                column: 1,
                columns: vec![0, 1],
                schema: output.clone(),
            }),
        ],
        output,
    }
}

fn chain(spec: &ChainSpec) -> Chain {
    let source = DrawSource {
        query_seed: 0,
        columns: 1,
        changing: false,
    };
    Chain::new(spec, source).expect("has no clock")
}

/// What a chain made of a batch.
#[derive(Debug, Default)]
struct Made {
    rows: usize,
    batches: usize,
    /// Bytes allocated meanwhile, however long they were kept.
    bytes: usize,
    /// Bytes kept at most when a batch was out.
    kept: usize,
}

/// Makes all rows, each batch forgotten before the next is made.
fn make(spec: fn() -> ChainSpec, batch: impl FnOnce() -> RecordBatch) -> Made {
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let chain = chain(&spec());
    let batch = batch();
    let mut made = Made::default();
    let context = ChainContext {
        epoch: Epoch::FIRST,
        clock_ms: 0,
    };
    let (before, held) = (ALLOCATOR.total_allocated(), ALLOCATOR.allocated());
    let delta = Delta::insertions(batch);
    let mut pass = chain.pass(delta, context).expect("draws nothing");
    while let Some(delta) = chain.next(&mut pass, |_| ()).expect("goes on") {
        made.rows += delta.rows();
        made.batches += 1;
        made.kept = made.kept.max(ALLOCATOR.allocated().saturating_sub(held));
    }
    made.bytes = ALLOCATOR.total_allocated() - before;
    made
}

#[test]
fn memory_grows_with_a_list_and_not_with_its_square() {
    let small = make(explode, || one_list(100_000));
    let large = make(explode, || one_list(1_000_000));
    assert_eq!((small.rows, large.rows), (100_000, 1_000_000));
    assert_eq!(large.batches, 1_000_000_usize.div_ceil(BATCH_ROWS_MAX));
    // Elements are not copied at all: what is allocated is for the batches, about 1 KiB each.
    assert!(large.bytes <= large.batches * 4096, "{large:?}");
    assert!(large.bytes <= small.bytes * 12, "{small:?} {large:?}");
}

/// Rows of one text.
fn with_text(rows: usize, length: usize) -> RecordBatch {
    let schema = fields(&[("s", DataType::Utf8)]);
    RecordBatch::try_new(schema, vec![texts(rows, length)]).expect("has a column")
}

#[test]
fn a_wide_text_beside_many_elements_is_there_a_few_times_only() {
    // INV-07
    let made = make(|| beside(20_000), || with_text(1, 100_000));
    assert_eq!(made.rows, 20_000);
    assert!(made.kept <= 3 * BATCH_BYTES_MAX, "{made:?}");
}

#[test]
fn lists_are_computed_for_some_rows_at_a_time() {
    // All lists together take 160 MB. INV-07
    let made = make(|| beside(20_000), || with_text(1000, 1));
    assert_eq!(made.rows, 1000 * 20_000);
    assert!(made.kept <= 4 * BATCH_BYTES_MAX, "{made:?}");
}

#[test]
fn a_chain_gives_way_and_says_that_it_is_not_done() {
    let _counted = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let most_a_turn = timely::execute_directly(move |worker| {
        let environment = OperatorEnvironment {
            drivers: Rc::default(),
            start: Epoch::FIRST,
            board: Arc::new(EpochBoard::default()),
            pressure: Arc::default(),
            unfolding: Rc::default(),
            reporter: Rc::new(|event| assert_eq!(format!("{event:?}"), "no event")),
        };
        environment.board.publish(Epoch(0), EpochFacts::default());
        let out = Rc::new(Cell::new(0));
        let (mut input, probe) = worker.dataflow::<u64, _, _>(|scope| {
            let (input, rows) = scope.new_input::<Delta>();
            let (rows, _marks) = chain_operator(rows, chain(&explode()), &environment);
            let seen = out.clone();
            let (probe, _rest) = rows
                .inspect_core(move |event| {
                    let rows = event.map_or(0, |(_, delta)| delta.rows());
                    seen.set(seen.get() + rows);
                })
                .probe();
            (input, probe)
        });
        input.send_batch(&mut Delta::insertions(one_list(1_000_000)));
        input.advance_to(1);
        let (mut all, mut most) = (0, 0);
        while probe.less_than(&1) {
            worker.step();
            let rows = out.replace(0);
            all += rows;
            most = rows.max(most);
            assert_eq!(environment.unfolding.get(), usize::from(all < 1_000_000));
        }
        assert_eq!(all, 1_000_000);
        most
    });
    assert!(most_a_turn <= 64 * 1024 + BATCH_ROWS_MAX, "{most_a_turn}");
}
