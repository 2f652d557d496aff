//! What a syntax tree means only once types are known: `column.*` of a struct, `explode` of a map,
//! `inline`.
//!
//! Where one of these stands, the expression is planned alone, over the same FROM, to learn its type.
//! Then it is written so that its type is no longer needed. Inner queries come first: the outer ones
//! see their columns.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of other crates, with many variants and more to come"
)]

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    Cte, Expr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, Value, With,
};

use super::{
    called,
    generate::{self, MAP_POSITIONS, MAP_ROWS, STRUCT_ROWS},
};

/// The type of the only column of a query, if it can be planned.
pub(crate) type TypeOf<'a> = &'a dyn Fn(Query) -> Option<DataType>;

/// Resolves a whole query.
pub(crate) fn resolve(query: &mut Query, type_of: TypeOf<'_>) {
    in_query(query, &[], type_of);
}

fn in_query(query: &mut Query, outside: &[Cte], type_of: TypeOf<'_>) {
    let mut known = outside.to_vec();
    if let Some(with) = &mut query.with {
        for cte in &mut with.cte_tables {
            in_query(&mut cte.query, &known, type_of);
            known.push(cte.clone());
        }
    }
    in_body(&mut query.body, &known, type_of);
}

fn in_body(body: &mut SetExpr, known: &[Cte], type_of: TypeOf<'_>) {
    match body {
        SetExpr::Select(select) => in_select(select, known, type_of),
        SetExpr::Query(query) => in_query(query, known, type_of),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left, known, type_of);
            in_body(right, known, type_of);
        }
        _ => {}
    }
}

fn in_select(select: &mut Select, known: &[Cte], type_of: TypeOf<'_>) {
    for item in &mut select.from {
        let joined = item.joins.iter_mut().map(|join| &mut join.relation);
        for relation in std::iter::once(&mut item.relation).chain(joined) {
            if let TableFactor::Derived { subquery, .. } = relation {
                in_query(subquery, known, type_of);
            }
        }
    }
    for nth in 0..select.lateral_views.len() {
        let mut view = select.lateral_views[nth].lateral_view.clone();
        let probe = |expr: Expr| type_of(probe(select, nth, known, expr));
        generator(&mut view, &probe);
        select.lateral_views[nth].lateral_view = view;
    }
    let items = std::mem::take(&mut select.projection);
    let views = select.lateral_views.len();
    let mut projection = Vec::with_capacity(items.len());
    for mut item in items {
        let probe = |expr: Expr| type_of(probe(select, views, known, expr));
        match &mut item {
            SelectItem::UnnamedExpr(expr)
            | SelectItem::ExprWithAlias { expr, .. }
            | SelectItem::ExprWithAliases { expr, .. } => generator(expr, &probe),
            SelectItem::QualifiedWildcard(kind, _) => {
                if let Some(fields) = fields(select, kind, &probe) {
                    projection.extend(fields);
                    continue;
                }
            }
            SelectItem::Wildcard(_) => {}
        }
        projection.push(item);
    }
    select.projection = projection;
}

/// A query of one expression over the FROM of a SELECT, up to one of its lateral views.
fn probe(select: &Select, views: usize, known: &[Cte], expr: Expr) -> Query {
    let mut probe = select.clone();
    let alias = Ident::new("probe");
    probe.projection = vec![SelectItem::ExprWithAlias { expr, alias }];
    probe.lateral_views.truncate(views);
    probe.selection = None;
    probe.having = None;
    probe.distinct = None;
    probe.group_by = datafusion::sql::sqlparser::ast::GroupByExpr::Expressions(vec![], vec![]);
    let with = (!known.is_empty()).then(|| With {
        with_token: datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty(
        ),
        recursive: false,
        cte_tables: known.to_vec(),
    });
    Query {
        with,
        body: Box::new(SetExpr::Select(Box::new(probe))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Writes the type of its argument into a generator's name.
fn generator(expr: &mut Expr, type_of: &dyn Fn(Expr) -> Option<DataType>) {
    let Expr::Function(call) = &*expr else { return };
    let FunctionArguments::List(list) = &call.args else {
        return;
    };
    let name = call.name.to_string().to_lowercase();
    let (base, outer) = match name.strip_suffix("_outer") {
        Some(base) => (base, "_outer"),
        None => (name.as_str(), ""),
    };
    let of_map = match base {
        "explode" => MAP_ROWS,
        "posexplode" => MAP_POSITIONS,
        "inline" => STRUCT_ROWS,
        _ => return,
    };
    let Some(mut arguments) = generate::plain(&list.args).filter(|all| all.len() == 1) else {
        return;
    };
    let Some(data_type) = type_of(arguments[0].clone()) else {
        return;
    };
    match (base, data_type) {
        ("inline", DataType::List(item) | DataType::LargeList(item)) => {
            let DataType::Struct(fields) = item.data_type() else {
                return;
            };
            let name = |name: &str| Value::SingleQuotedString(name.to_owned()).with_empty_span();
            let names = fields.iter().map(|field| Expr::Value(name(field.name())));
            arguments.splice(0..0, names);
        }
        ("explode" | "posexplode", DataType::Map(..)) => {}
        _ => return,
    }
    *expr = called(&format!("{of_map}{outer}"), arguments);
}

/// The fields of a struct before a star; nothing if it is a table.
fn fields(
    select: &Select,
    kind: &SelectItemQualifiedWildcardKind,
    type_of: &dyn Fn(Expr) -> Option<DataType>,
) -> Option<Vec<SelectItem>> {
    let value = match kind {
        SelectItemQualifiedWildcardKind::ObjectName(name) => {
            let parts: Vec<Ident> = name
                .0
                .iter()
                .map(|part| part.as_ident().cloned())
                .collect::<Option<_>>()?;
            match parts.as_slice() {
                [single] if is_relation(select, single) => return None,
                [single] => Expr::Identifier(single.clone()),
                _ => Expr::CompoundIdentifier(parts),
            }
        }
        SelectItemQualifiedWildcardKind::Expr(expr) => expr.clone(),
    };
    let DataType::Struct(fields) = type_of(value.clone())? else {
        return None;
    };
    let field = |name: &String| {
        let text = Value::SingleQuotedString(name.clone()).with_empty_span();
        SelectItem::ExprWithAlias {
            expr: called("get_field", vec![value.clone(), Expr::Value(text)]),
            alias: Ident::with_quote('`', name),
        }
    };
    Some(fields.iter().map(|of| field(of.name())).collect())
}

fn is_relation(select: &Select, wanted: &Ident) -> bool {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident().cloned());
    let views = select.lateral_views.iter();
    let mut names: Vec<Ident> = views
        .filter_map(|view| last(&view.lateral_view_name))
        .collect();
    for item in &select.from {
        let joined = item.joins.iter().map(|join| &join.relation);
        for relation in std::iter::once(&item.relation).chain(joined) {
            let name = match relation {
                TableFactor::Table { name, alias, .. } => alias
                    .as_ref()
                    .map(|alias| alias.name.clone())
                    .or_else(|| last(name)),
                TableFactor::Derived { alias, .. }
                | TableFactor::TableFunction { alias, .. }
                | TableFactor::Function { alias, .. }
                | TableFactor::UNNEST { alias, .. } => {
                    alias.as_ref().map(|alias| alias.name.clone())
                }
                _ => None,
            };
            names.extend(name);
        }
    }
    names
        .iter()
        .any(|name| name.value.eq_ignore_ascii_case(&wanted.value))
}
