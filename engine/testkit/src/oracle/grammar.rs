//! Random cases from a seed: the same number gives the same case on every machine.

use millstream_types::OutputMode;

use super::{
    call::{Call, Function},
    case::{
        Branch, Case, Gap, Groups, Having, Inner, Order, Query, Restart, Row, Shape, Step, TimeKey,
        Top, WindowField,
    },
    check::refusal,
    dice::Dice,
    expr::{Column, DECIMAL, Expr, Predicate, Type},
};
use crate::script::{KillPoint, Value};

/// What may be in a case; operators that the engine does not have yet are switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// Aggregations over aggregations, and unions of them.
    pub chains: bool,
    /// Functions without an inverse, DISTINCT in a function, and what follows the order of the input.
    pub functions: bool,
    /// ORDER BY, LIMIT and OFFSET.
    pub tops: bool,
    /// Sessions.
    pub sessions: bool,
    /// Windows by count.
    pub counted: bool,
    /// HAVING on keys.
    pub key_conditions: bool,
    /// Late rows in a table of their own.
    pub late_rows: bool,
    /// The fastest of several watermarks.
    pub fastest: bool,
}

impl Grammar {
    /// Everything that the oracle can answer.
    pub const ALL: Grammar = Grammar {
        chains: true,
        functions: true,
        tops: true,
        sessions: true,
        counted: true,
        key_conditions: true,
        late_rows: true,
        fastest: true,
    };
    /// What the engine can do today.
    pub const TODAY: Grammar = Grammar::ALL;
}

const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// The case of a seed.
#[must_use]
pub fn case(seed: u64, grammar: Grammar) -> Case {
    let dice = &mut Dice::new(seed);
    let mut query = query(dice, grammar);
    let mode = mode(dice, &query);
    suit(dice, &mut query, mode);
    query.top = if grammar.tops {
        top(dice, &query, mode)
    } else {
        None
    };
    let delays = delays(dice, &query, mode);
    let mut case = Case {
        delays,
        steps: steps(dice, &query),
        query,
        mode,
        workers: 1 + dice.below(3),
        bytes: dice.chance(30),
        no_data_epochs: dice.chance(80),
        fastest: grammar.fastest && dice.chance(15),
        keeps_late: false,
    };
    case.keeps_late = grammar.late_rows && dice.chance(30) && can_keep_late(&case);
    case
}

/// Whether an aggregation over rows drops any.
fn can_keep_late(case: &Case) -> bool {
    let drops = |groups: &Groups| {
        let is_session = matches!(groups.time, TimeKey::Session { .. });
        groups.time.is_time() && (is_session || case.mode != OutputMode::Complete)
    };
    case.groups().is_some_and(drops)
        && case.is_marked()
        && !case.query.is_chained()
        && refusal(case).is_none()
}

/// A mode; refusals are worth a look, but not as often as answers.
fn mode(dice: &mut Dice, query: &Query) -> OutputMode {
    let modes = [
        OutputMode::Append,
        OutputMode::Update,
        OutputMode::Complete,
        OutputMode::Changes,
    ];
    let mode = dice.pick(&modes);
    let outer = match &query.shape {
        Shape::Groups(groups) => groups.time,
        Shape::Rows(_) | Shape::Distinct(_) => TimeKey::None,
    };
    if query.is_chained() {
        let closes = |branch: &Branch| branch.inner.as_ref().is_some_and(Inner::is_timed);
        let all_close = query.branches.iter().all(closes) && outer.is_time();
        let is_session = matches!(outer, TimeKey::Session { .. });
        return if all_close && !is_session && mode == OutputMode::Append {
            mode
        } else {
            OutputMode::Changes
        };
    }
    let has_groups = !matches!(query.shape, Shape::Rows(_));
    let never_closes = has_groups && !outer.is_time() && !matches!(outer, TimeKey::Counted(_));
    if mode == OutputMode::Append && never_closes && dice.chance(80) {
        return OutputMode::Update;
    }
    if mode == OutputMode::Update && matches!(outer, TimeKey::Session { .. }) && dice.chance(80) {
        return OutputMode::Append;
    }
    mode
}

/// Takes away what a mode does not have.
fn suit(dice: &mut Dice, query: &mut Query, mode: OutputMode) {
    let is_timed = query
        .branches
        .iter()
        .any(|branch| branch.inner.as_ref().is_some_and(Inner::is_timed));
    let inner = query
        .branches
        .iter_mut()
        .filter_map(|branch| branch.inner.as_mut());
    let inner = inner.flat_map(|inner| inner.calls.iter_mut().map(|(_, call)| call));
    let outer = match &mut query.shape {
        Shape::Groups(groups) => {
            // What a closed session takes in again no batch would tell.
            if is_timed && matches!(groups.time, TimeKey::Session { .. }) {
                groups.time = TimeKey::None;
            }
            let is_session = matches!(groups.time, TimeKey::Session { .. });
            if is_session
                && groups.keys.is_empty()
                && mode != OutputMode::Changes
                && dice.chance(90)
            {
                groups.keys.push(Expr::Column(Column::Int));
            }
            groups.calls.iter_mut()
        }
        Shape::Rows(_) | Shape::Distinct(_) => [].iter_mut(),
    };
    for call in inner.chain(outer) {
        if mode != OutputMode::Changes && call.function.is_distinct() {
            call.function = call.function.over_all();
        }
    }
}

fn delays(dice: &mut Dice, query: &Query, mode: OutputMode) -> [Option<i64>; 2] {
    let mut delays = [delay(dice), delay(dice)];
    let outer = match &query.shape {
        Shape::Groups(groups) => groups.time.is_time(),
        Shape::Rows(_) | Shape::Distinct(_) => false,
    };
    let inner = |branch: &Branch| branch.inner.as_ref().is_some_and(Inner::is_timed);
    let chained = query.is_chained();
    if mode == OutputMode::Append && outer && (chained || dice.chance(80)) {
        delays = delays.map(|delay| Some(delay.unwrap_or(5)));
    }
    let by_time = outer || query.branches.iter().any(inner);
    // Whether a union of a marked and an unmarked time is marked is not said anywhere.
    if by_time && delays.contains(&None) {
        delays = [None, None];
    }
    let all_inner = query.branches.iter().all(inner);
    if chained && !all_inner {
        delays = [None, None];
    }
    delays
}

/// ORDER BY, LIMIT and OFFSET, where the mode has them.
fn top(dice: &mut Dice, query: &Query, mode: OutputMode) -> Option<Top> {
    let has_groups = !matches!(query.shape, Shape::Rows(_));
    let is_input = !has_groups && query.is_ordered();
    let is_sorted = if mode == OutputMode::Changes {
        !is_input || dice.chance(50)
    } else if mode == OutputMode::Complete && has_groups {
        true
    } else if mode == OutputMode::Append && is_input {
        false
    } else {
        return None;
    };
    if !dice.chance(30) {
        return None;
    }
    let columns = columns_to_sort(query);
    if is_sorted && columns.is_empty() {
        return None;
    }
    let order = |dice: &mut Dice| Order {
        column: dice.pick(&columns),
        descending: dice.chance(50),
    };
    let count = if is_sorted { 1 + dice.below(2) } else { 0 };
    let order: Vec<Order> = (0..count).map(|_| order(dice)).collect();
    let changes = mode == OutputMode::Changes;
    let must_cut = changes || !is_sorted;
    let limit = (must_cut || dice.chance(60)).then(|| dice.pick(&[0, 1, 1, 2, 3, 5]));
    let offset = if changes && is_sorted && dice.chance(30) {
        dice.pick(&[1, 2])
    } else {
        0
    };
    Some(Top {
        order,
        limit,
        offset,
    })
}

/// Columns by which engine and oracle sort alike: computed doubles may differ in their last digits.
fn columns_to_sort(query: &Query) -> Vec<usize> {
    let is_exact = |ty: Type| !matches!(ty, Type::Double | Type::Window | Type::Ints);
    let types: Vec<Type> = match &query.shape {
        Shape::Rows(items) | Shape::Distinct(items) => items.iter().map(Expr::ty).collect(),
        Shape::Groups(groups) => {
            let time = match groups.time {
                TimeKey::None => None,
                TimeKey::Counted(_) => Some(Type::Long),
                TimeKey::Instant => Some(Type::Time),
                TimeKey::Window { shown, .. } | TimeKey::Session { shown, .. } => {
                    let is_both = shown == WindowField::Both;
                    Some(if is_both { Type::Window } else { Type::Time })
                }
            };
            let keys = groups.keys.iter().map(Expr::ty);
            let calls = groups.calls.iter().map(Call::ty);
            time.into_iter().chain(keys).chain(calls).collect()
        }
    };
    let exact = types
        .into_iter()
        .enumerate()
        .filter(|(_, ty)| is_exact(*ty));
    exact.map(|(idx, _)| idx).collect()
}

fn delay(dice: &mut Dice) -> Option<i64> {
    dice.chance(75).then(|| dice.pick(&[0, 0, 1, 5, 10, 30]))
}

fn query(dice: &mut Dice, grammar: Grammar) -> Query {
    let count = if dice.chance(30) { 2 } else { 1 };
    let mut branches: Vec<Branch> = (0..count)
        .map(|idx| Branch {
            table: if dice.chance(80) { idx } else { 0 },
            filters: if dice.chance(25) {
                vec![predicate(dice, 1)]
            } else {
                Vec::new()
            },
            computed: computed(dice),
            inner: None,
        })
        .collect();
    let chain = grammar.chains && dice.chance(30);
    if chain {
        let timed = dice.chance(40);
        for branch in &mut branches {
            if timed || dice.chance(80) {
                branch.inner = Some(inner(dice, grammar, timed));
                branch.computed.clear();
            }
            if timed {
                // Their place above or below the watermark would matter.
                branch.filters.retain(|filter| !filter.uses_time());
            }
        }
    }
    let is_timed = |branch: &Branch| branch.inner.as_ref().is_some_and(Inner::is_timed);
    let filters = match dice.below(10) {
        _ if branches.iter().any(is_timed) => Vec::new(),
        0..=5 => Vec::new(),
        6..=8 => vec![predicate(dice, 2)],
        _ => vec![predicate(dice, 1), predicate(dice, 1)],
    };
    let shape = match dice.below(10) {
        0 | 1 => Shape::Rows((0..=dice.below(4)).map(|_| any(dice, 2)).collect()),
        2 => Shape::Distinct((0..=dice.below(2)).map(|_| key(dice)).collect()),
        _ => Shape::Groups(groups(dice, grammar, count == 1 && !chain)),
    };
    let chained = branches.iter().any(|branch| branch.inner.is_some());
    Query {
        branches,
        nested: dice.chance(20),
        shifted: !chained && dice.chance(5),
        filters,
        shape,
        top: None,
    }
}

/// An aggregation with the columns of a table.
fn inner(dice: &mut Dice, grammar: Grammar, timed: bool) -> Inner {
    let mut keys: Vec<Column> = Vec::new();
    let window = (timed && dice.chance(70)).then(|| dice.pick(&[5, 5, 10]));
    if timed && window.is_none() {
        keys.push(Column::Time);
    }
    for column in [
        Column::Int,
        Column::Text,
        Column::Bool,
        Column::Long,
        Column::Double,
    ] {
        if dice.chance(25) {
            keys.push(column);
        }
    }
    if keys.is_empty() && window.is_none() {
        keys.push(Column::Int);
    }
    let calls = Column::ALL.map(|column| (column, call_of_type(dice, grammar, column.ty())));
    Inner {
        window,
        keys,
        calls: calls.to_vec(),
    }
}

/// A call whose result has a type.
fn call_of_type(dice: &mut Dice, grammar: Grammar, ty: Type) -> Call {
    loop {
        let mut call = call(dice, grammar, true);
        if call.ty() != ty {
            let any: [Function; 4] = [
                Function::Min,
                Function::Max,
                Function::FirstValue,
                Function::LastValue,
            ];
            let any = if grammar.functions {
                &any[..]
            } else {
                &any[..2]
            };
            call.function = dice.pick(any);
            call.argument = of_type(dice, ty, 1);
        }
        if call.ty() == ty && !matches!(call.argument, Expr::Literal(..)) {
            return call;
        }
    }
}

fn computed(dice: &mut Dice) -> Vec<(Column, Expr)> {
    let mut computed = Vec::new();
    for column in [Column::Int, Column::Long, Column::Text, Column::Bool] {
        if dice.chance(10) {
            computed.push((column, of_type(dice, column.ty(), 2)));
        }
    }
    computed
}

fn groups(dice: &mut Dice, grammar: Grammar, ordered: bool) -> Groups {
    let time = match dice.below(12) {
        0..=3 => TimeKey::None,
        4 => TimeKey::Instant,
        5 | 6 if grammar.sessions => TimeKey::Session {
            gap: dice.pick(&[
                Gap::Seconds(5),
                Gap::Seconds(5),
                Gap::Seconds(1),
                Gap::ByRow,
            ]),
            shown: shown(dice),
        },
        7 if grammar.counted && ordered => TimeKey::Counted(dice.pick(&[1, 2, 3, 5])),
        _ => window(dice),
    };
    let keys: Vec<Expr> = (0..dice.pick(&[0, 0, 1, 1, 1, 2, 2, 3]))
        .map(|_| key(dice))
        .collect();
    let count = 1 + dice.below(4);
    let calls: Vec<Call> = (0..count).map(|_| call(dice, grammar, ordered)).collect();
    let having = match dice.below(10) {
        0 | 1 => having(dice, &calls),
        2 if grammar.key_conditions => key_condition(dice, &keys),
        _ => None,
    };
    Groups {
        time,
        keys,
        calls,
        having,
    }
}

fn shown(dice: &mut Dice) -> WindowField {
    dice.pick(&[WindowField::Start, WindowField::End, WindowField::Both])
}

fn window(dice: &mut Dice) -> TimeKey {
    let length = dice.pick(&[5, 10, 10, 60]);
    let slide = if dice.chance(40) {
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
    TimeKey::Window {
        length,
        slide,
        start,
        shown: shown(dice),
    }
}

/// A condition on a key that does not read the time.
fn key_condition(dice: &mut Dice, keys: &[Expr]) -> Option<Having> {
    let of_rows = |key: &Expr| {
        let mut used = Vec::new();
        key.columns(&mut used);
        !used.contains(&Column::Time)
    };
    let idx = keys.iter().position(of_rows)?;
    let ty = keys[idx].ty();
    if matches!(ty, Type::Double) {
        return None;
    }
    Some(Having::Key(
        idx,
        dice.pick(&COMPARISONS),
        constant(dice, ty),
    ))
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

fn call(dice: &mut Dice, grammar: Grammar, ordered: bool) -> Call {
    use Function::{Avg, Count, CountAll, Max, Min, Sum};
    let mut function = dice.pick(&[CountAll, CountAll, Count, Sum, Sum, Min, Max, Avg]);
    if grammar.functions && dice.chance(40) {
        function = dice.pick(if ordered { &ORDERED } else { &UNORDERED });
    }
    let argument = match function.wants() {
        None => any(dice, 1),
        Some(types) => {
            let ty = dice.pick(types);
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
    // What a filter leaves out is null for the oracle, which must not be looked at then.
    let takes_nulls = matches!(function, Function::First | Function::Last);
    let filter = (!takes_nulls && dice.chance(20)).then(|| predicate(dice, 1));
    Call {
        function,
        argument,
        filter,
        or_zero: dice.chance(15),
    }
}

/// Functions besides the simple ones, where rows have no order.
const UNORDERED: [Function; 11] = [
    Function::CountDistinct,
    Function::SumDistinct,
    Function::AvgDistinct,
    Function::Median,
    Function::StddevPop,
    Function::StddevSamp,
    Function::BoolAnd,
    Function::BoolOr,
    Function::CountIf,
    Function::SortedList,
    Function::Set,
];

/// The same, where rows have an order.
const ORDERED: [Function; 14] = [
    Function::CountDistinct,
    Function::SumDistinct,
    Function::Median,
    Function::StddevPop,
    Function::StddevSamp,
    Function::BoolAnd,
    Function::BoolOr,
    Function::CountIf,
    Function::Set,
    Function::List,
    Function::First,
    Function::Last,
    Function::FirstValue,
    Function::LastValue,
];

fn having(dice: &mut Dice, calls: &[Call]) -> Option<Having> {
    let call = dice.below(calls.len());
    let ty = calls[call].ty();
    // What is never NULL would make the condition a constant, and the aggregation go away.
    let is_nullable = !calls[call].or_zero && !calls[call].function.is_total();
    if is_nullable && (dice.chance(15) || ty == Type::Bool) {
        return Some(Having::Null(call));
    }
    let value = match ty {
        Type::Int | Type::Long => Value::Int(dice.pick(&[0, 1, 2, 3])),
        Type::Decimal(_, s) => decimal(150, s),
        Type::Double => Value::Float(dice.pick(&[0.0, 2.5])),
        Type::Text => Value::Text("a".to_owned()),
        Type::Bool => Value::Bool(true),
        Type::Time | Type::Window => Value::Timestamp(20_000_000_000),
        Type::Ints => return None,
    };
    Some(Having::Compare(call, dice.pick(&COMPARISONS), value))
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
        (Type::Text | Type::Time | Type::Decimal(..) | Type::Window | Type::Ints, _) => column,
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
        Type::Ints => Value::Null,
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
