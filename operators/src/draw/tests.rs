//! Draws are functions of their places, even and without a pattern.

use arrow::array::{Int32Builder, Int64Array, ListBuilder};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, CaseExpr, Literal};

use super::*;

fn rows(values: &[i64], origins: &[u64]) -> Delta {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let field = Field::new("n", DataType::Int64, true);
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).expect("one column");
    Delta::insertions(batch).with_origin(Some(UInt64Array::from(origins.to_vec())))
}

fn drawn(draw: Arc<dyn PhysicalExpr>, delta: &Delta, epoch: u64) -> ArrayRef {
    let bound = bind(draw, 7, delta.batch().num_columns()).expect("it binds");
    let keys = row_keys(delta, Epoch(epoch), false).expect("rows have keys");
    let batch = with_keys(delta.batch(), &keys).expect("a key a row");
    let value = bound.evaluate(&batch).expect("it draws");
    value.into_array(batch.num_rows()).expect("an array")
}

fn unit(site: u32) -> Arc<dyn PhysicalExpr> {
    let of = (DrawKind::Unit, DrawSeed::Site(site));
    Arc::new(Draw::new("rand", of, DataType::Float64, Vec::new()))
}

fn doubles(array: &ArrayRef) -> Vec<f64> {
    array.as_primitive::<Float64Type>().values().to_vec()
}

/// What a row draws does not depend on the rows beside it.
#[test]
fn a_row_draws_the_same_in_any_batch() {
    let origins: Vec<u64> = (0..100).map(|row| row << 20 | 5).collect();
    let values: Vec<i64> = (0..100).collect();
    let whole = doubles(&drawn(unit(0), &rows(&values, &origins), 3));
    for cut in [1, 7, 50, 99] {
        let mut parts = doubles(&drawn(unit(0), &rows(&values[..cut], &origins[..cut]), 3));
        parts.extend(doubles(&drawn(
            unit(0),
            &rows(&values[cut..], &origins[cut..]),
            3,
        )));
        assert_eq!(parts, whole, "cut at {cut}");
    }
    let other_epoch = doubles(&drawn(unit(0), &rows(&values, &origins), 4));
    let other_call = doubles(&drawn(unit(1), &rows(&values, &origins), 3));
    for row in 0..100 {
        assert_ne!(whole[row].to_bits(), other_epoch[row].to_bits());
        assert_ne!(whole[row].to_bits(), other_call[row].to_bits());
    }
}

/// A branch of CASE sees only its rows, and parameters of lambdas make way for the keys.
#[test]
fn parts_of_an_expression_draw_for_their_own_rows() {
    let delta = rows(&[0, 1, 0, 1, 1], &[10, 11, 12, 13, 14]);
    let plain = doubles(&drawn(unit(0), &delta, 1));
    let one: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
    let column = Arc::new(Column::new("n", 0));
    let when = Arc::new(BinaryExpr::new(column, Operator::Eq, one));
    let case = CaseExpr::try_new(None, vec![(when, unit(0))], Some(unit(1))).expect("a CASE");
    let other = doubles(&drawn(unit(1), &delta, 1));
    let chosen = doubles(&drawn(Arc::new(case), &delta, 1));
    assert_eq!(chosen, [other[0], plain[1], other[2], plain[3], plain[4]]);
    let parameter: Arc<dyn PhysicalExpr> = Arc::new(LambdaVariable::new(
        1,
        Arc::new(Field::new("x", DataType::Int64, true)),
    ));
    let moved = bind(parameter, 7, 1).expect("it binds");
    let moved = moved
        .downcast_ref::<LambdaVariable>()
        .map(LambdaVariable::index);
    assert_eq!(moved, Some(2));
}

#[test]
fn rows_without_origin_and_rows_that_change_draw_by_their_values() {
    let at = |origin: u64, epoch: u64, changing: bool| {
        row_keys(&rows(&[7], &[origin]), Epoch(epoch), changing).expect("a key")
    };
    assert_eq!(at(1, 5, true), at(2, 9, true));
    assert_ne!(at(1, 5, false), at(2, 5, false));
    assert_ne!(at(1, 5, false), at(1, 9, false));
    let made = rows(&[7], &[1]).with_origin(None);
    assert_eq!(
        row_keys(&made, Epoch(3), false).expect("a key"),
        at(1, 5, true)
    );
}

#[test]
fn rows_of_one_list_have_keys_of_their_own() {
    let keys = row_keys(&rows(&[1, 2, 3, 4], &[8, 8, 8, 9]), Epoch(1), false);
    let keys = keys.expect("keys").values().to_vec();
    let first = row_keys(&rows(&[1], &[8]), Epoch(1), false).expect("a key");
    assert_eq!(keys[0], first.value(0));
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key));
    }
}

/// Values that checkpoints depend on: a row that is taken back must draw as it did.
#[test]
fn the_values_are_fixed() {
    let mut numbers = Numbers { state: 0 };
    // SplitMix64 of seed 0 as published.
    let first: Vec<u64> = (0..3).map(|_| numbers.next()).collect();
    assert_eq!(
        first,
        [
            0xE220_A839_7B1D_CDAF,
            0x6E78_9E6A_A1B9_65F4,
            0x06C4_5D18_8009_454F
        ]
    );
    let delta = rows(&[0, 0], &[1, 2]);
    let given = (DrawKind::Unit, DrawSeed::Given(42));
    let draw = Draw::new("rand", given, DataType::Float64, Vec::new());
    let values = doubles(&drawn(Arc::new(draw), &delta, 1));
    expect_test::expect!["[0.7437573123802025, 0.7053916657549727]"]
        .assert_eq(&format!("{values:?}"));
    let uuid = (DrawKind::Uuid, DrawSeed::Site(0));
    let draw = Draw::new("uuid", uuid, DataType::Utf8, Vec::new());
    let values = drawn(Arc::new(draw), &delta, 1);
    expect_test::expect![[r#"
        StringArray
        [
          "435d1cea-ffeb-4049-b00b-7c62fa6f9fee",
          "6dba92af-aba5-456e-a094-40ff6a3c16cf",
        ]"#]]
    .assert_eq(&format!("{:?}", values.as_string::<i32>()));
}

/// Pearson's statistic of values in cells that are alike.
#[expect(clippy::cast_precision_loss, reason = "a statistic of few cells")]
fn chi_squared(cells: &[f64]) -> f64 {
    let mean = cells.iter().sum::<f64>() / cells.len() as f64;
    cells.iter().map(|seen| (seen - mean).powi(2) / mean).sum()
}

/// Origins are small numbers in a row: what they draw must be even all the same, alone and in
/// pairs of neighbours, calls and epochs.
#[test]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of a hundred thousand rows"
)]
fn draws_are_even() {
    const ROWS: u64 = 100_000;
    let origins: Vec<u64> = (0..ROWS).collect();
    let delta = rows(&vec![0; origins.len()], &origins);
    let (one, two) = (
        doubles(&drawn(unit(0), &delta, 1)),
        doubles(&drawn(unit(1), &delta, 1)),
    );
    let later = doubles(&drawn(unit(0), &delta, 2));
    let cell = |value: f64, cells: usize| ((value * cells as f64) as usize).min(cells - 1);
    let mut alone = vec![0.0; 1000];
    let mut pairs = [vec![0.0; 1024], vec![0.0; 1024], vec![0.0; 1024]];
    for row in 0..one.len() {
        alone[cell(one[row], 1000)] += 1.0;
        let next = one[(row + 1) % one.len()];
        for (pair, other) in pairs.iter_mut().zip([next, two[row], later[row]]) {
            pair[cell(one[row], 32) * 32 + cell(other, 32)] += 1.0;
        }
    }
    // Five standard deviations: the statistic has mean `cells - 1` and variance twice that.
    let limit = |cells: f64| cells + 5.0 * (2.0 * cells).sqrt();
    assert!(
        chi_squared(&alone) < limit(999.0),
        "{}",
        chi_squared(&alone)
    );
    for pair in &pairs {
        assert!(chi_squared(pair) < limit(1023.0), "{}", chi_squared(pair));
    }
    let normal = (DrawKind::Normal, DrawSeed::Site(2));
    let normal = Draw::new("randn", normal, DataType::Float64, Vec::new());
    let normal = doubles(&drawn(Arc::new(normal), &delta, 1));
    let mean = normal.iter().sum::<f64>() / ROWS as f64;
    let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / ROWS as f64;
    let beyond = normal.iter().filter(|x| x.abs() > 1.96).count() as f64 / ROWS as f64;
    assert!(
        mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
        "{mean} {variance}"
    );
    assert!((beyond - 0.05).abs() < 0.005, "{beyond}");
}

#[test]
fn shuffled_lists_keep_their_elements() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    for length in [3, 0, 5, 1] {
        lists
            .values()
            .append_slice(&(0..length).collect::<Vec<_>>());
        lists.append(true);
    }
    lists.append(false);
    let lists: ArrayRef = Arc::new(lists.finish());
    let field = Field::new("l", lists.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![lists.clone()]);
    let delta = Delta::insertions(batch.expect("one column").slice(1, 4));
    let delta = delta.with_origin(Some(UInt64Array::from(vec![1, 2, 3, 4])));
    let of = (DrawKind::Shuffle, DrawSeed::Site(0));
    let argument: Arc<dyn PhysicalExpr> = Arc::new(Column::new("l", 0));
    let draw = Draw::new("shuffle", of, lists.data_type().clone(), vec![argument]);
    let shuffled = drawn(Arc::new(draw), &delta, 1);
    let shuffled = shuffled.as_list::<i32>();
    let elements = |row: usize| {
        let list = shuffled.value(row);
        let list = list.as_primitive::<arrow::datatypes::Int32Type>();
        list.values().to_vec()
    };
    assert_eq!((elements(0), elements(2)), (vec![], vec![0]));
    assert_ne!(
        elements(1),
        [0, 1, 2, 3, 4],
        "the seed is one that moves some"
    );
    let mut sorted = elements(1);
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    assert!(shuffled.is_null(3));
}
