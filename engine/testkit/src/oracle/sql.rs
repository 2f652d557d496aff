//! The query of a case as the engine reads it.

use std::fmt::Write as _;

use super::{
    case::{Branch, Case, Groups, Having, Query, Shape, TABLES, TimeKey, WindowField},
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
            let call = groups.calls[having.call()].spark();
            let _ = match having {
                Having::Compare(idx, op, value) => {
                    let value = literal(groups.calls[*idx].ty(), value, Dialect::Spark);
                    write!(text, "\nHAVING {call} {op} {value}")
                }
                Having::Null(_) => write!(text, "\nHAVING {call} IS NULL"),
            };
        }
    }
    text
}

fn named(items: &[Expr]) -> String {
    let named = items.iter().enumerate();
    let named = named.map(|(idx, item)| format!("{} AS c{idx}", item.sql(Dialect::Spark)));
    named.collect::<Vec<_>>().join(", ")
}

fn group_items(groups: &Groups) -> String {
    let time = time_key(groups.time).map(|key| match groups.time {
        TimeKey::Window {
            shown: WindowField::Start,
            ..
        } => format!("{key}.start"),
        TimeKey::Window {
            shown: WindowField::End,
            ..
        } => format!("{key}.end"),
        TimeKey::None | TimeKey::Instant | TimeKey::Window { .. } => key,
    });
    let keys = groups.keys.iter().map(|key| key.sql(Dialect::Spark));
    let calls = groups.calls.iter().map(super::expr::Call::spark);
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

fn conditions(word: &str, parts: &[&Predicate]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = parts.iter().map(|part| part.sql(Dialect::Spark)).collect();
    format!("{word}{}", parts.join(" AND "))
}
