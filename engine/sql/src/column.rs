//! `Column`: an expression that nobody has resolved, as programs write it.
//!
//! It is the same piece of syntax tree that the parser makes of a text, so it means the same. Nothing is
//! looked up here: names, types and functions are when a frame takes the column.

mod literal;
mod operators;

use std::cell::Cell;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax,
    OneOrManyWithParens, OrderByExpr, OrderByOptions, SelectItem, Value,
    helpers::attached_token::AttachedToken,
};
use millstream_types::{Coded, Fault};

use crate::{QueryText, SqlError, calls::called, error::from_parser, text};
use literal::value;
pub use literal::{Literal, lit};

/// An expression with the names that it is given.
#[derive(Clone, Debug)]
pub struct Column {
    item: Item,
    /// What was wrong with a text that it was made of; said when a frame takes the column.
    wrong: Option<Box<Fault>>,
}

#[derive(Clone, Debug)]
enum Item {
    /// Columns of a SELECT as they are: stars, and what a text said.
    Select(Box<SelectItem>),
    /// An expression without a name.
    Plain(Box<Expr>),
}

/// A column to sort by.
#[derive(Clone, Debug)]
pub struct SortColumn {
    column: Column,
    descends: bool,
    nulls_first: Option<bool>,
}

/// A column by its name; parts of a path stand between dots, `*` are all columns.
#[must_use]
pub fn col(name: &str) -> Column {
    let path = path(name);
    match path.as_slice() {
        [single] if single.value == "*" => expr(name),
        [.., last] if last.value == "*" => expr(name),
        [single] => Column::of(Expr::Identifier(single.clone())),
        _ => Column::of(Expr::CompoundIdentifier(path)),
    }
}

/// `a.b`.c`` as its parts: dots divide, except between backquotes.
fn path(name: &str) -> Vec<Ident> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in name.chars() {
        match letter {
            '`' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            other => {
                if let Some(last) = parts.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    let parts = parts.into_iter();
    parts.map(|part| Ident::with_quote('`', part)).collect()
}

/// An expression as SQL text, with its alias if it has one: `n * 2 AS twice`, `*`, `st.*`.
#[must_use]
pub fn expr(text: &str) -> Column {
    match select_item(text) {
        Ok(SelectItem::UnnamedExpr(expr)) => Column::of(expr),
        Ok(item) => Column {
            item: Item::Select(Box::new(item)),
            wrong: None,
        },
        Err(error) => Column {
            item: Item::Plain(Box::new(Expr::Value(Value::Null.with_empty_span()))),
            wrong: Some(Box::new(error.fault())),
        },
    }
}

fn select_item(text: &str) -> Result<SelectItem, SqlError> {
    let query = QueryText::new(text)?;
    let tokens = text::prepare(&query.tokens)?;
    let mut parser = text::parser(tokens);
    let item = parser.parse_select_item().map_err(from_parser)?;
    let next = parser.peek_token();
    if next.token == datafusion::sql::sqlparser::tokenizer::Token::EOF {
        return Ok(item);
    }
    Err(SqlError::Syntax {
        message: format!("unexpected {} after an expression", next.token),
    }
    .at(Some(text::place(next.span.start))))
}

/// A call of a function by its name. Any function that `millstream functions` lists can be called; whether
/// it takes these arguments is said when a frame takes the column.
#[must_use]
pub fn call_function<C: Into<Column>>(
    name: &str,
    arguments: impl IntoIterator<Item = C>,
) -> Column {
    let mut wrong = None;
    let arguments = arguments
        .into_iter()
        .map(|argument| argument.into().into_expr(&mut wrong))
        .collect();
    Column {
        item: Item::Plain(Box::new(called(name, arguments))),
        wrong,
    }
}

thread_local! {
    /// How many functions are being written around, on this thread.
    static LAMBDAS: Cell<usize> = const { Cell::new(0) };
}

/// A function of one value, for `transform`, `filter` and their kin.
#[must_use]
pub fn lambda(body: impl FnOnce(Column) -> Column) -> Column {
    Column::lambda(&["x"], |mut parameters| body(parameters.remove(0)))
}

/// A function of two values, for `aggregate`, `zip_with` and their kin.
#[must_use]
pub fn lambda2(body: impl FnOnce(Column, Column) -> Column) -> Column {
    Column::lambda(&["x", "y"], |mut parameters| {
        let second = parameters.remove(1);
        body(parameters.remove(0), second)
    })
}

/// A function of three values, for `map_zip_with`.
#[must_use]
pub fn lambda3(body: impl FnOnce(Column, Column, Column) -> Column) -> Column {
    Column::lambda(&["x", "y", "z"], |mut parameters| {
        let (third, second) = (parameters.remove(2), parameters.remove(1));
        body(parameters.remove(0), second, third)
    })
}

/// `CASE WHEN condition THEN value`; more cases and [`otherwise`](Column::otherwise) may follow.
#[must_use]
pub fn when(condition: impl Into<Column>, value: impl Into<Column>) -> Column {
    let mut wrong = None;
    let condition = condition.into().into_expr(&mut wrong);
    let result = value.into().into_expr(&mut wrong);
    Column {
        item: Item::Plain(Box::new(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition, result }],
            else_result: None,
        })),
        wrong,
    }
}

impl Column {
    pub(crate) fn of(expr: Expr) -> Column {
        Column {
            item: Item::Plain(Box::new(expr)),
            wrong: None,
        }
    }

    /// The columns of a SELECT that it stands for.
    ///
    /// # Errors
    /// What was wrong with a text that it was made of.
    pub(crate) fn into_item(self) -> Result<SelectItem, SqlError> {
        if let Some(fault) = self.wrong {
            return Err(SqlError::Earlier(fault));
        }
        Ok(match self.item {
            Item::Select(item) => *item,
            Item::Plain(expr) => SelectItem::UnnamedExpr(*expr),
        })
    }

    /// The expression alone, for places where a name means nothing.
    ///
    /// # Errors
    /// What was wrong with a text that it was made of.
    pub(crate) fn into_bare(self) -> Result<Expr, SqlError> {
        let mut wrong = None;
        let expr = self.into_expr(&mut wrong);
        match wrong {
            Some(fault) => Err(SqlError::Earlier(fault)),
            None => Ok(expr),
        }
    }

    /// The expression inside another one; the first thing that is wrong is kept.
    fn into_expr(self, wrong: &mut Option<Box<Fault>>) -> Expr {
        if let Some(fault) = self.wrong {
            wrong.get_or_insert(fault);
        }
        match self.item {
            Item::Plain(expr) => *expr,
            Item::Select(item) => match *item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => expr,
                star @ (SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)) => {
                    let error = SqlError::Syntax {
                        message: format!("{star} is no single column"),
                    };
                    wrong.get_or_insert_with(|| Box::new(error.fault()));
                    value(Value::Null)
                }
            },
        }
    }

    fn map(self, change: impl FnOnce(Expr) -> Expr) -> Column {
        let mut wrong = None;
        let expr = change(self.into_expr(&mut wrong));
        Column {
            item: Item::Plain(Box::new(expr)),
            wrong,
        }
    }

    fn binary(self, op: BinaryOperator, right: impl Into<Column>) -> Column {
        let mut wrong = None;
        let left = Box::new(nested(self.into_expr(&mut wrong)));
        let right = Box::new(nested(right.into().into_expr(&mut wrong)));
        Column {
            item: Item::Plain(Box::new(Expr::BinaryOp { left, op, right })),
            wrong,
        }
    }

    fn lambda(names: &[&str], body: impl FnOnce(Vec<Column>) -> Column) -> Column {
        // A function inside a function has other names, so that it can see those around it.
        let depth = LAMBDAS.with(|lambdas| lambdas.replace(lambdas.get() + 1));
        let name = |name: &&str| Ident::new(format!("{name}_{depth}"));
        let parameters = names
            .iter()
            .map(|parameter| Column::of(Expr::Identifier(name(parameter))));
        let mut wrong = None;
        let body = body(parameters.collect()).into_expr(&mut wrong);
        LAMBDAS.with(|lambdas| lambdas.set(depth));
        let params = names.iter().map(|parameter| LambdaFunctionParameter {
            name: name(parameter),
            data_type: None,
        });
        Column {
            item: Item::Plain(Box::new(Expr::Lambda(LambdaFunction {
                params: OneOrManyWithParens::Many(params.collect()),
                body: Box::new(body),
                syntax: LambdaSyntax::Arrow,
            }))),
            wrong,
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn alias(self, name: &str) -> Column {
        let mut wrong = None;
        let expr = self.into_expr(&mut wrong);
        let alias = Ident::with_quote('`', name);
        Column {
            item: Item::Select(Box::new(SelectItem::ExprWithAlias { expr, alias })),
            wrong,
        }
    }

    /// The columns that a generator makes, under these names.
    #[must_use]
    pub fn aliases(self, names: &[&str]) -> Column {
        let mut wrong = None;
        let expr = self.into_expr(&mut wrong);
        let names = names.iter().map(|name| Ident::with_quote('`', *name));
        Column {
            item: Item::Select(Box::new(SelectItem::ExprWithAliases {
                expr,
                aliases: names.collect(),
            })),
            wrong,
        }
    }

    /// The value as another type, written as in SQL; an error of a row that cannot be cast.
    #[must_use]
    pub fn cast(self, data_type: &str) -> Column {
        self.cast_by(CastKind::Cast, data_type)
    }

    /// The value as another type; null where it cannot be cast.
    #[must_use]
    pub fn try_cast(self, data_type: &str) -> Column {
        self.cast_by(CastKind::TryCast, data_type)
    }

    fn cast_by(self, kind: CastKind, data_type: &str) -> Column {
        let parsed = expr(&format!("CAST(NULL AS {data_type})"));
        let mut wrong = None;
        let value = self.into_expr(&mut wrong);
        let of_type = parsed.into_expr(&mut wrong);
        let cast = match of_type {
            Expr::Cast { data_type, .. } => Expr::Cast {
                kind,
                expr: Box::new(value),
                data_type,
                array: false,
                format: None,
            },
            other => other,
        };
        Column {
            item: Item::Plain(Box::new(cast)),
            wrong,
        }
    }

    /// One more case of [`when`].
    #[must_use]
    pub fn when(self, condition: impl Into<Column>, value: impl Into<Column>) -> Column {
        let mut wrong = None;
        let mut case = self.into_expr(&mut wrong);
        let condition = condition.into().into_expr(&mut wrong);
        let result = value.into().into_expr(&mut wrong);
        if let Expr::Case { conditions, .. } = &mut case {
            conditions.push(CaseWhen { condition, result });
        } else {
            wrong.get_or_insert_with(|| not_a_case("when"));
        }
        Column {
            item: Item::Plain(Box::new(case)),
            wrong,
        }
    }

    /// What [`when`] gives where no case holds.
    #[must_use]
    pub fn otherwise(self, value: impl Into<Column>) -> Column {
        let mut wrong = None;
        let mut case = self.into_expr(&mut wrong);
        let value = value.into().into_expr(&mut wrong);
        if let Expr::Case { else_result, .. } = &mut case {
            *else_result = Some(Box::new(value));
        } else {
            wrong.get_or_insert_with(|| not_a_case("otherwise"));
        }
        Column {
            item: Item::Plain(Box::new(case)),
            wrong,
        }
    }

    /// Whether both are equal; null if one is null.
    #[must_use]
    pub fn eq(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::Eq, other)
    }

    /// Whether both differ; null if one is null.
    #[must_use]
    pub fn not_eq(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::NotEq, other)
    }

    /// Whether both are equal or both null.
    #[must_use]
    pub fn eq_null_safe(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::Spaceship, other)
    }

    /// `<`.
    #[must_use]
    pub fn lt(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::Lt, other)
    }

    /// `<=`.
    #[must_use]
    pub fn lt_eq(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::LtEq, other)
    }

    /// `>`.
    #[must_use]
    pub fn gt(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::Gt, other)
    }

    /// `>=`.
    #[must_use]
    pub fn gt_eq(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::GtEq, other)
    }

    /// Whether both hold.
    #[must_use]
    pub fn and(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::And, other)
    }

    /// Whether one holds.
    #[must_use]
    pub fn or(self, other: impl Into<Column>) -> Column {
        self.binary(BinaryOperator::Or, other)
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(self) -> Column {
        self.map(|expr| Expr::IsNull(Box::new(nested(expr))))
    }

    /// Whether it is not null.
    #[must_use]
    pub fn is_not_null(self) -> Column {
        self.map(|expr| Expr::IsNotNull(Box::new(nested(expr))))
    }

    /// Whether it is one of these.
    #[must_use]
    pub fn is_in<C: Into<Column>>(self, values: impl IntoIterator<Item = C>) -> Column {
        let mut wrong = None;
        let expr = Box::new(nested(self.into_expr(&mut wrong)));
        let list = values
            .into_iter()
            .map(|value| value.into().into_expr(&mut wrong));
        let list = list.collect();
        Column {
            item: Item::Plain(Box::new(Expr::InList {
                expr,
                list,
                negated: false,
            })),
            wrong,
        }
    }

    /// Whether it is at least `low` and at most `high`.
    #[must_use]
    pub fn between(self, low: impl Into<Column>, high: impl Into<Column>) -> Column {
        let mut wrong = None;
        let expr = Box::new(nested(self.into_expr(&mut wrong)));
        let low = Box::new(nested(low.into().into_expr(&mut wrong)));
        let high = Box::new(nested(high.into().into_expr(&mut wrong)));
        Column {
            item: Item::Plain(Box::new(Expr::Between {
                expr,
                negated: false,
                low,
                high,
            })),
            wrong,
        }
    }

    /// Whether it matches a pattern with `%` and `_`.
    #[must_use]
    pub fn like(self, pattern: &str) -> Column {
        let pattern = Box::new(pattern.literal());
        self.map(|expr| Expr::Like {
            negated: false,
            any: false,
            expr: Box::new(nested(expr)),
            pattern,
            escape_char: None,
        })
    }

    /// As [`like`](Column::like), without regard to case.
    #[must_use]
    pub fn ilike(self, pattern: &str) -> Column {
        let pattern = Box::new(pattern.literal());
        self.map(|expr| Expr::ILike {
            negated: false,
            any: false,
            expr: Box::new(nested(expr)),
            pattern,
            escape_char: None,
        })
    }

    /// Whether a regular expression is found in it.
    #[must_use]
    pub fn rlike(self, pattern: &str) -> Column {
        let pattern = Box::new(pattern.literal());
        self.map(|expr| Expr::RLike {
            negated: false,
            expr: Box::new(nested(expr)),
            pattern,
            regexp: false,
        })
    }

    /// Whether a text begins with another.
    #[must_use]
    pub fn starts_with(self, other: impl Into<Column>) -> Column {
        call_function("startswith", [self, other.into()])
    }

    /// Whether a text ends with another.
    #[must_use]
    pub fn ends_with(self, other: impl Into<Column>) -> Column {
        call_function("endswith", [self, other.into()])
    }

    /// Whether a text has another inside.
    #[must_use]
    pub fn contains(self, other: impl Into<Column>) -> Column {
        call_function("contains", [self, other.into()])
    }

    /// Letters of a text from a position, counted from 1.
    #[must_use]
    pub fn substr(self, position: impl Into<Column>, length: impl Into<Column>) -> Column {
        call_function("substr", [self, position.into(), length.into()])
    }

    /// The field of a struct, or of each struct of a list.
    #[must_use]
    pub fn get_field(self, name: &str) -> Column {
        let field = Ident::with_quote('`', name);
        self.map(|expr| match expr {
            Expr::Identifier(root) => Expr::CompoundIdentifier(vec![root, field]),
            Expr::CompoundIdentifier(mut path) => {
                path.push(field);
                Expr::CompoundIdentifier(path)
            }
            other => Expr::CompoundFieldAccess {
                root: Box::new(nested(other)),
                access_chain: vec![datafusion::sql::sqlparser::ast::AccessExpr::Dot(
                    Expr::Identifier(field),
                )],
            },
        })
    }

    /// The element of a list by its place, counted from 0, or of a map by its key.
    #[must_use]
    pub fn get_item(self, key: impl Into<Column>) -> Column {
        let mut wrong = None;
        let root = nested(self.into_expr(&mut wrong));
        let index = key.into().into_expr(&mut wrong);
        Column {
            item: Item::Plain(Box::new(Expr::CompoundFieldAccess {
                root: Box::new(root),
                access_chain: vec![datafusion::sql::sqlparser::ast::AccessExpr::Subscript(
                    datafusion::sql::sqlparser::ast::Subscript::Index { index },
                )],
            })),
            wrong,
        }
    }

    /// An aggregate over different values only.
    #[must_use]
    pub fn distinct(self) -> Column {
        self.map(|mut expr| {
            if let Expr::Function(call) = &mut expr
                && let FunctionArguments::List(list) = &mut call.args
            {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
            expr
        })
    }

    /// An aggregate over the rows for which a condition holds.
    #[must_use]
    pub fn filter(self, condition: impl Into<Column>) -> Column {
        let mut wrong = None;
        let mut expr = self.into_expr(&mut wrong);
        let condition = condition.into().into_expr(&mut wrong);
        if let Expr::Function(call) = &mut expr {
            call.filter = Some(Box::new(condition));
        }
        Column {
            item: Item::Plain(Box::new(expr)),
            wrong,
        }
    }

    /// From the least, nulls first.
    #[must_use]
    pub fn asc(self) -> SortColumn {
        self.sort(false, None)
    }

    /// From the greatest, nulls last.
    #[must_use]
    pub fn desc(self) -> SortColumn {
        self.sort(true, None)
    }

    /// From the least or the greatest, with nulls where they are wanted.
    #[must_use]
    pub fn sort(self, descends: bool, nulls_first: Option<bool>) -> SortColumn {
        SortColumn {
            column: self,
            descends,
            nulls_first,
        }
    }
}

impl SortColumn {
    pub(crate) fn into_order(self) -> Result<OrderByExpr, SqlError> {
        Ok(OrderByExpr {
            expr: self.column.into_bare()?,
            options: OrderByOptions {
                asc: Some(!self.descends),
                nulls_first: self.nulls_first,
            },
            with_fill: None,
        })
    }
}

fn not_a_case(what: &str) -> Box<Fault> {
    let error = SqlError::Syntax {
        message: format!("{what} follows when, and nothing else"),
    };
    Box::new(error.fault())
}

fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::RLike { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_) => Expr::Nested(Box::new(expr)),
        // The rest binds more tightly than any operator.
        other => other,
    }
}

/// `count(*)`.
#[must_use]
pub fn count_all() -> Column {
    let mut call = called("count", Vec::new());
    if let Expr::Function(call) = &mut call
        && let FunctionArguments::List(list) = &mut call.args
    {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    }
    Column::of(call)
}

impl From<&str> for Column {
    /// The column of this name.
    fn from(name: &str) -> Column {
        col(name)
    }
}

impl From<&Column> for Column {
    fn from(column: &Column) -> Column {
        column.clone()
    }
}

impl From<Column> for SortColumn {
    fn from(column: Column) -> SortColumn {
        column.asc()
    }
}

impl From<&str> for SortColumn {
    fn from(name: &str) -> SortColumn {
        col(name).asc()
    }
}
