//! Random cases from a seed: the same number gives the same case on every machine.

use millstream_types::OutputMode;

use super::{
    case::{Branch, Case, Groups, Having, Query, Restart, Row, Shape, Step, TimeKey, WindowField},
    dice::Dice,
    expr::{Call, Column, DECIMAL, Expr, Function, Predicate, Type},
};
use crate::script::{KillPoint, Value};

/// What may be in a case; operators that the engine does not have yet are switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// Windows that overlap.
    pub sliding: bool,
    /// SELECT DISTINCT in other modes than changes.
    pub distinct: bool,
    /// Aggregates without keys over epochs of which no row is left.
    pub nothing_left: bool,
    /// Whole numbers as columns of a union.
    pub numbers_in_unions: bool,
}

impl Grammar {
    /// What the engine can do today.
    pub const TODAY: Grammar = Grammar {
        sliding: true,
        distinct: false,
        nothing_left: true,
        numbers_in_unions: true,
    };
    /// Everything that the oracle can answer.
    pub const ALL: Grammar = Grammar {
        sliding: true,
        distinct: true,
        nothing_left: true,
        numbers_in_unions: true,
    };
}

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// The case of a seed.
#[must_use]
pub fn case(seed: u64, grammar: Grammar) -> Case {
    let dice = &mut Dice::new(seed);
    let query = query(dice, grammar);
    let modes = [
        OutputMode::Append,
        OutputMode::Update,
        OutputMode::Complete,
        OutputMode::Changes,
    ];
    let mut mode = dice.pick(&modes);
    let is_distinct = matches!(query.shape, Shape::Distinct(_));
    if is_distinct && mode != OutputMode::Changes && !grammar.distinct {
        mode = OutputMode::Changes;
    }
    let mut delays = [delay(dice), delay(dice)];
    if let Shape::Groups(groups) = &query.shape {
        // Refusals are worth a look, but not as often as answers.
        if mode == OutputMode::Append && groups.time != TimeKey::None && dice.chance(80) {
            delays = delays.map(|delay| Some(delay.unwrap_or(5)));
        } else if mode == OutputMode::Append && groups.time == TimeKey::None && dice.chance(80) {
            mode = OutputMode::Update;
        }
        // Whether a union of a marked and an unmarked time is marked is not said anywhere.
        if groups.time != TimeKey::None && delays.contains(&None) {
            delays = [None, None];
        }
    }
    Case {
        delays,
        steps: steps(dice, &query),
        query,
        mode,
        workers: 1 + dice.below(3),
        bytes: dice.chance(30),
        no_data_epochs: dice.chance(80),
    }
}

fn delay(dice: &mut Dice) -> Option<i64> {
    dice.chance(75).then(|| dice.pick(&[0, 0, 1, 5, 10, 30]))
}

fn query(dice: &mut Dice, grammar: Grammar) -> Query {
    let count = if dice.chance(30) { 2 } else { 1 };
    let branches: Vec<Branch> = (0..count)
        .map(|idx| Branch {
            table: if dice.chance(80) { idx } else { 0 },
            filters: if dice.chance(25) {
                vec![predicate(dice, 1)]
            } else {
                Vec::new()
            },
            computed: computed(dice, count == 1 || grammar.numbers_in_unions),
        })
        .collect();
    let filters = match dice.below(10) {
        0..=5 => Vec::new(),
        6..=8 => vec![predicate(dice, 2)],
        _ => vec![predicate(dice, 1), predicate(dice, 1)],
    };
    let shape = match dice.below(10) {
        0 | 1 => Shape::Rows((0..=dice.below(4)).map(|_| any(dice, 2)).collect()),
        2 => Shape::Distinct((0..=dice.below(2)).map(|_| key(dice)).collect()),
        _ => Shape::Groups(groups(dice, grammar)),
    };
    let mut query = Query {
        branches,
        nested: dice.chance(20),
        shifted: dice.chance(5),
        filters,
        shape,
    };
    let is_global = matches!(&query.shape, Shape::Groups(groups)
        if groups.time == TimeKey::None && groups.keys.is_empty());
    if is_global && !grammar.nothing_left {
        query.filters.clear();
        query
            .branches
            .iter_mut()
            .for_each(|branch| branch.filters.clear());
    }
    query
}

fn computed(dice: &mut Dice, numbers: bool) -> Vec<(Column, Expr)> {
    let mut computed = Vec::new();
    for column in [Column::Int, Column::Long, Column::Text, Column::Bool] {
        if dice.chance(10) && (numbers || column != Column::Int) {
            computed.push((column, of_type(dice, column.ty(), 2)));
        }
    }
    computed
}

fn groups(dice: &mut Dice, grammar: Grammar) -> Groups {
    let time = match dice.below(10) {
        0..=3 => TimeKey::None,
        4 => TimeKey::Instant,
        _ => {
            let length = dice.pick(&[5, 10, 10, 60]);
            let slide = if grammar.sliding && dice.chance(40) {
                dice.pick(&[length / 5, length * 2 / 5, length / 5 * 3])
            } else {
                length
            };
            let start = if dice.chance(20) {
                dice.pick(&[3, -3, 1])
            } else {
                0
            };
            let start = if start < slide && -start < slide {
                start
            } else {
                0
            };
            let shown = dice.pick(&[WindowField::Start, WindowField::End, WindowField::Both]);
            TimeKey::Window {
                length,
                slide,
                start,
                shown,
            }
        }
    };
    let keys = (0..dice.pick(&[0, 0, 1, 1, 1, 2, 2, 3]))
        .map(|_| key(dice))
        .collect();
    let calls: Vec<Call> = (0..=dice.below(4)).map(|_| call(dice)).collect();
    let having = dice.chance(20).then(|| having(dice, &calls));
    Groups {
        time,
        keys,
        calls,
        having,
    }
}

fn key(dice: &mut Dice) -> Expr {
    match dice.below(12) {
        0..=3 => Expr::Column(Column::Int),
        4 | 5 => Expr::Column(Column::Text),
        6 => Expr::Column(Column::Bool),
        7 => Expr::Column(Column::Long),
        8 => Expr::Column(Column::Decimal),
        9 => Expr::Column(Column::Double),
        10 => not_a_literal(of_type(dice, Type::Int, 2)),
        _ => not_a_literal(of_type(dice, Type::Text, 2)),
    }
}

/// A number as a key would be the number of a column.
fn not_a_literal(expr: Expr) -> Expr {
    if matches!(expr, Expr::Literal(..)) {
        Expr::Column(Column::Int)
    } else {
        expr
    }
}

fn call(dice: &mut Dice) -> Call {
    use Function::{Avg, Count, CountAll, Max, Min, Sum};
    let function = dice.pick(&[CountAll, CountAll, Count, Sum, Sum, Min, Max, Avg]);
    let argument = match function {
        CountAll | Count | Min | Max => any(dice, 1),
        Sum | Avg => {
            let ty = dice.pick(&[Type::Int, Type::Long, DECIMAL, Type::Double]);
            let argument = of_type(dice, ty, 1);
            if ty == DECIMAL && dice.chance(30) {
                let op = dice.pick(&["+", "-", "*"]);
                Expr::Arithmetic(
                    op,
                    Box::new(argument),
                    Box::new(Expr::Column(Column::Decimal)),
                )
            } else {
                argument
            }
        }
    };
    let filter = dice.chance(20).then(|| predicate(dice, 1));
    Call {
        function,
        argument,
        filter,
        or_zero: dice.chance(15),
    }
}

fn having(dice: &mut Dice, calls: &[Call]) -> Having {
    let call = dice.below(calls.len());
    let ty = calls[call].ty();
    // What is never NULL would make the condition a constant, and the aggregation go away.
    let is_nullable = !calls[call].or_zero
        && !matches!(calls[call].function, Function::CountAll | Function::Count);
    if is_nullable && (dice.chance(15) || ty == Type::Bool) {
        return Having::Null(call);
    }
    let value = match ty {
        Type::Int | Type::Long => Value::Int(dice.pick(&[0, 1, 2, 3])),
        Type::Decimal(_, s) => decimal(150, s),
        Type::Double => Value::Float(dice.pick(&[0.0, 2.5])),
        Type::Text => Value::Text("a".to_owned()),
        Type::Bool => Value::Bool(true),
        Type::Time | Type::Window => Value::Timestamp(20_000_000_000),
    };
    Having::Compare(call, dice.pick(&COMPARISONS), value)
}

/// `hundredths / 100` at a scale of at least two.
fn decimal(hundredths: i128, scale: i8) -> Value {
    let up = u32::try_from(scale - 2).unwrap_or(0);
    let digits = hundredths * 10_i128.pow(up);
    Value::Decimal(arrow::datatypes::i256::from_i128(digits), scale)
}

fn any(dice: &mut Dice, depth: usize) -> Expr {
    let column = dice.pick(&Column::ALL);
    of_type(dice, column.ty(), depth)
}

/// An expression of a type of a column.
fn of_type(dice: &mut Dice, ty: Type, depth: usize) -> Expr {
    let column = Column::ALL.into_iter().find(|column| column.ty() == ty);
    let column = Expr::Column(column.unwrap_or(Column::Time));
    if depth == 0 || dice.chance(60) {
        return if dice.chance(10) && ty != Type::Time {
            Expr::Literal(ty, constant(dice, ty))
        } else {
            column
        };
    }
    let inner = |dice: &mut Dice| Box::new(of_type(dice, ty, depth - 1));
    match (ty, dice.below(4)) {
        (_, 0) => {
            let when = Box::new(predicate(dice, depth - 1));
            let otherwise = dice.chance(70).then(|| inner(dice));
            Expr::Case(when, inner(dice), otherwise)
        }
        (_, 1) => Expr::Coalesce(inner(dice), inner(dice)),
        (Type::Int, 2) => Expr::Length(Box::new(of_type(dice, Type::Text, depth - 1))),
        (Type::Int | Type::Long, 3) if dice.chance(40) => {
            let by = Expr::Literal(ty, Value::Int(dice.pick(&[2, 3])));
            Expr::Arithmetic("%", inner(dice), Box::new(by))
        }
        (Type::Int | Type::Long | Type::Double, _) => {
            let op = dice.pick(&["+", "-", "*"]);
            let by = Expr::Literal(ty, constant(dice, ty));
            Expr::Arithmetic(op, inner(dice), Box::new(by))
        }
        (Type::Bool, _) => Expr::Is(Box::new(predicate(dice, depth - 1))),
        (Type::Text | Type::Time | Type::Decimal(..) | Type::Window, _) => column,
    }
}

fn constant(dice: &mut Dice, ty: Type) -> Value {
    match ty {
        Type::Int => Value::Int(dice.pick(&[-2, 0, 1, 2, 3])),
        Type::Long => Value::Int(dice.pick(&[-1, 0, 2, 10])),
        Type::Decimal(_, scale) => decimal(dice.pick(&[-150, 0, 1, 150, 1_000]), scale),
        Type::Double => Value::Float(dice.pick(&[0.0, 0.25, -1.5, 2.0])),
        Type::Text => Value::Text(dice.pick(&["", "a", "b", "ä€", "日本"]).to_owned()),
        Type::Bool => Value::Bool(dice.chance(50)),
        Type::Time | Type::Window => {
            let second = dice.pick(&[-10, 0, 10, 20, 30, 60]);
            Value::Timestamp(second * 1_000_000_000)
        }
    }
}

/// A condition that any query may have.
#[must_use]
pub fn condition(seed: u64) -> Predicate {
    predicate(&mut Dice::new(seed), 2)
}

/// A condition; time is never mixed with other columns, so that one rule says where it stands.
fn predicate(dice: &mut Dice, depth: usize) -> Predicate {
    if depth > 0 && dice.chance(25) {
        let left = predicate(dice, depth - 1);
        if dice.chance(50) {
            return Predicate::Not(Box::new(left));
        }
        let right = predicate(dice, depth - 1);
        if left.uses_time() == right.uses_time() {
            return Predicate::Or(Box::new(left), Box::new(right));
        }
        return left;
    }
    let column = dice.pick(&Column::ALL);
    let ty = column.ty();
    match dice.below(10) {
        0 | 1 => Predicate::Null(Expr::Column(column)),
        2 if ty != Type::Double => {
            let values = (0..=dice.below(2)).map(|_| constant(dice, ty)).collect();
            Predicate::In(Expr::Column(column), values)
        }
        3 => Predicate::Like(
            Expr::Column(Column::Text),
            dice.pick(&["a%", "%", "_", "%本"]),
        ),
        4 => Predicate::True(Column::Bool),
        5 => Predicate::Compare(
            dice.pick(&COMPARISONS),
            Expr::Column(Column::Int),
            Expr::Arithmetic(
                "%",
                Box::new(Expr::Column(Column::Int)),
                Box::new(Expr::Literal(Type::Int, Value::Int(2))),
            ),
        ),
        _ => Predicate::Compare(
            dice.pick(&COMPARISONS),
            Expr::Column(column),
            Expr::Literal(ty, constant(dice, ty)),
        ),
    }
}

fn steps(dice: &mut Dice, query: &Query) -> Vec<Step> {
    let count = dice.pick(&[0, 1, 3, 6, 10, 20, 20, 40]);
    // Near the beginning of time the first rows are late; far from it none is.
    let mut clock = dice.pick(&[-15, 0, 0, 0, 40, 1_600_000_000]);
    let mut rows = Vec::new();
    for _ in 0..count {
        let table = if query.branches.len() > 1 {
            dice.below(2)
        } else {
            0
        };
        rows.push((table, row(dice, clock)));
        clock += dice.pick(&[0, 0, 1, 2, 5, 12]);
    }
    let mut steps = vec![Step::default()];
    let split = dice.below(4);
    for row in rows {
        let cut = match split {
            0 => false,
            1 => true,
            _ => dice.chance(30),
        };
        while cut && steps.len() < 10 {
            steps.push(Step::default());
            // Empty steps now and then.
            if dice.chance(90) {
                break;
            }
        }
        if let Some(step) = steps.last_mut() {
            step.rows.push(row);
        }
    }
    let points = [
        None,
        Some(KillPoint::Plan),
        Some(KillPoint::Stage),
        Some(KillPoint::Commit),
        Some(KillPoint::Snapshot),
    ];
    for _ in 0..dice.pick(&[0, 0, 1, 2, 3]) {
        let step = dice.below(steps.len());
        let restart = Restart {
            workers: 1 + dice.below(3),
            after: dice.pick(&points),
        };
        steps[step].restart = Some(restart);
    }
    steps
}

fn row(dice: &mut Dice, clock: i64) -> Row {
    let second = clock + dice.pick(&[0, 0, 0, 1, 3, -1, -4, -11, -25]);
    let exact = if dice.chance(15) {
        second - second.rem_euclid(5)
    } else {
        second
    };
    let micros = exact * 1_000_000 + dice.pick(&[0, 0, 0, 0, 1, -1, 999, 1_000, 500_000]);
    let long = "lang ".repeat(60);
    let texts = [
        "",
        "a",
        "a",
        "b",
        "ä€",
        "日本",
        " a",
        "null",
        "it's|so",
        long.as_str(),
    ];
    let values = vec![
        Value::Timestamp(i128::from(micros) * 1_000),
        Value::Int(dice.pick(&[-2, -1, 0, 0, 1, 1, 2, 3])),
        Value::Int(dice.pick(&[-1_000_000_000_000, -1, 0, 1, 7, 1_000_000_000_000])),
        decimal(
            dice.pick(&[-150, 0, 1, 5, 150, 333, 1_000, 9_999_999_999]),
            2,
        ),
        Value::Float(dice.pick(&[0.0, -0.0, 0.25, -1.5, 2.5, 1_024.0, f64::NAN])),
        Value::Text(dice.pick(&texts).to_owned()),
        Value::Bool(dice.chance(50)),
    ];
    values
        .into_iter()
        .map(|value| if dice.chance(20) { Value::Null } else { value })
        .collect()
}
