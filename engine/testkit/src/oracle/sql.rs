//! The query of a case as the engine reads it.

use std::fmt::Write as _;

use super::{
    case::{Branch, Case, Groups, Having, Inner, Query, Shape, TABLES, TimeKey, WindowField},
    expr::{Column, Dialect, Expr, Predicate, literal, sql_name},
};

/// `CREATE TABLE` of one table, with the columns that the query needs.
#[must_use]
pub fn create_table(case: &Case, table: usize) -> String {
    let mut columns: Vec<String> = case
        .query
        .table_columns(table)
        .into_iter()
        .map(|column| {
            format!(
                "{} {}",
                column.name(),
                sql_name(column.ty(), Dialect::Spark)
            )
        })
        .collect();
    match case.delays[table] {
        Some(0) => columns.push("WATERMARK FOR ts AS ts".to_owned()),
        Some(delay) => {
            columns.push(format!(
                "WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND"
            ));
        }
        None => {}
    }
    format!(
        "CREATE TABLE {} ({})\nWITH (connector = 'memory')",
        TABLES[table],
        columns.join(", ")
    )
}

/// The query.
#[must_use]
pub fn select(query: &Query) -> String {
    let mut text = match &query.shape {
        Shape::Rows(items) => format!("SELECT {}", named(items)),
        Shape::Distinct(items) => format!("SELECT DISTINCT {}", named(items)),
        Shape::Groups(groups) => format!("SELECT {}", group_items(groups)),
    };
    let _ = write!(text, "\nFROM {}", source(query));
    let inline = if query.is_nested() {
        &[]
    } else {
        query.branches[0].filters.as_slice()
    };
    text += &conditions(
        "\nWHERE ",
        &inline.iter().chain(&query.filters).collect::<Vec<_>>(),
    );
    if let Shape::Groups(groups) = &query.shape {
        let keys: Vec<String> = time_key(groups.time)
            .into_iter()
            .chain(groups.keys.iter().map(|key| key.sql(Dialect::Spark)))
            .collect();
        if !keys.is_empty() {
            let _ = write!(text, "\nGROUP BY {}", keys.join(", "));
        }
        if let Some(having) = &groups.having {
            let condition = match having {
                Having::Compare(idx, op, value) => {
                    let call = &groups.calls[*idx];
                    let value = literal(call.ty(), value, Dialect::Spark);
                    format!("{} {op} {value}", call.spark())
                }
                Having::Null(idx) => format!("{} IS NULL", groups.calls[*idx].spark()),
                Having::Key(..) => groups.key_condition(Dialect::Spark).unwrap_or_default(),
            };
            let _ = write!(text, "\nHAVING {condition}");
        }
    }
    text + &top(query)
}

/// ORDER BY, LIMIT and OFFSET.
fn top(query: &Query) -> String {
    let Some(top) = &query.top else {
        return String::new();
    };
    let mut text = String::new();
    let columns: Vec<String> = top
        .order
        .iter()
        .map(|order| {
            format!(
                "c{}{}",
                order.column,
                if order.descending { " DESC" } else { "" }
            )
        })
        .collect();
    if !columns.is_empty() {
        let _ = write!(text, "\nORDER BY {}", columns.join(", "));
    }
    if let Some(limit) = top.limit {
        let _ = write!(text, "\nLIMIT {limit}");
    }
    if top.offset > 0 {
        let _ = write!(text, "\nOFFSET {}", top.offset);
    }
    text
}

/// The table of late rows.
pub const DROPPED: &str = "dropped";

/// What makes a query keep its late rows, if it does.
#[must_use]
pub fn late_rows(case: &Case) -> Vec<String> {
    if !case.keeps_late {
        return Vec::new();
    }
    let columns = case.query.columns();
    let typed: Vec<String> = columns
        .iter()
        .map(|column| {
            format!(
                "{} {}",
                column.name(),
                sql_name(column.ty(), Dialect::Spark)
            )
        })
        .collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    vec![
        format!(
            "CREATE TABLE {DROPPED} ({})\nWITH (connector = 'memory')",
            typed.join(", ")
        ),
        format!(
            "INSERT INTO {DROPPED} SELECT {} FROM late_rows('q')",
            names.join(", ")
        ),
    ]
}

fn named(items: &[Expr]) -> String {
    let named = items.iter().enumerate();
    let named = named.map(|(idx, item)| format!("{} AS c{idx}", item.sql(Dialect::Spark)));
    named.collect::<Vec<_>>().join(", ")
}

fn group_items(groups: &Groups) -> String {
    let time = time_key(groups.time).map(|key| match groups.time.shown() {
        Some(WindowField::Start) => format!("{key}.start"),
        Some(WindowField::End) => format!("{key}.end"),
        Some(WindowField::Both) | None => key,
    });
    let keys = groups.keys.iter().map(|key| key.sql(Dialect::Spark));
    let calls = groups.calls.iter().map(super::call::Call::spark);
    let items = time.into_iter().chain(keys).chain(calls).enumerate();
    items
        .map(|(idx, item)| format!("{item} AS c{idx}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn time_key(time: TimeKey) -> Option<String> {
    match time {
        TimeKey::None => None,
        TimeKey::Instant => Some("ts".to_owned()),
        TimeKey::Counted(rows) => Some(format!("count_window({rows})")),
        TimeKey::Session { gap, .. } => {
            Some(format!("session_window(ts, {})", gap.sql(Dialect::Spark)))
        }
        TimeKey::Window {
            length,
            slide,
            start,
            ..
        } => {
            let mut text = format!("window(ts, '{length} seconds'");
            if slide != length || start != 0 {
                let _ = write!(text, ", '{slide} seconds'");
            }
            if start != 0 {
                let _ = write!(text, ", '{start} seconds'");
            }
            Some(text + ")")
        }
    }
}

fn source(query: &Query) -> String {
    if !query.is_nested() {
        return TABLES[query.branches[0].table].to_owned();
    }
    let branches: Vec<String> = query
        .branches
        .iter()
        .map(|branch| branch_select(query, branch))
        .collect();
    format!("({}) AS r", branches.join("\n  UNION ALL "))
}

fn branch_select(query: &Query, branch: &Branch) -> String {
    if let Some(inner) = &branch.inner {
        return inner_select(query, branch, inner);
    }
    let item = |column: Column| {
        let computed = branch
            .computed
            .iter()
            .find(|(computed, _)| *computed == column);
        match computed {
            Some((_, expr)) => format!("{} AS {}", expr.sql(Dialect::Spark), column.name()),
            None if query.shifted && column == Column::Time => {
                "ts + INTERVAL '1' SECOND AS ts".to_owned()
            }
            None => column.name().to_owned(),
        }
    };
    let items: Vec<String> = query.columns().into_iter().map(item).collect();
    let filters = conditions(" WHERE ", &branch.filters.iter().collect::<Vec<_>>());
    format!(
        "SELECT {} FROM {}{filters}",
        items.join(", "),
        TABLES[branch.table]
    )
}

fn inner_select(query: &Query, branch: &Branch, inner: &Inner) -> String {
    let window = inner
        .window
        .map(|length| format!("window(ts, '{length} seconds')"));
    let item = |column: Column| match (inner.call(column), &window) {
        (Some(call), _) => format!("{} AS {}", call.spark(), column.name()),
        (None, Some(window)) if column == Column::Time => format!("window_time({window}) AS ts"),
        (None, _) => column.name().to_owned(),
    };
    let items: Vec<String> = query.columns().into_iter().map(item).collect();
    let filters = conditions(" WHERE ", &branch.filters.iter().collect::<Vec<_>>());
    let names = inner.keys.iter().map(|key| key.name().to_owned());
    let keys: Vec<String> = window.iter().cloned().chain(names).collect();
    format!(
        "SELECT {} FROM {}{filters} GROUP BY {}",
        items.join(", "),
        TABLES[branch.table],
        keys.join(", ")
    )
}

fn conditions(word: &str, parts: &[&Predicate]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = parts.iter().map(|part| part.sql(Dialect::Spark)).collect();
    format!("{word}{}", parts.join(" AND "))
}
