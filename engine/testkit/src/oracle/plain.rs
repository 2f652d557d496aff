//! The texts of the oracle: plain SQL for DataFusion.
//!
//! `p_` is the step after which a row is looked at, `e_` the step in which it came, `r_` its place in
//! its table, `ws_` and `we_` its window. One query answers for all prefixes of the input, because
//! everything is grouped by `p_`, too.

use super::{
    call::Call,
    case::{Branch, Case, Groups, Having, Inner, Query, TABLES, TimeKey},
    expr::{Column, Dialect, Expr, Predicate, all_of, literal},
};

const PLAIN: Dialect = Dialect::Plain;

/// Which rows reach the watermark and the aggregation on which path, with key and gap for sessions.
pub(super) fn arrivals(case: &Case) -> String {
    let query = &case.query;
    let below = |filters: &[Predicate]| {
        let below = filters.iter().filter(|filter| !filter.uses_time());
        all_of(below, PLAIN)
    };
    let all = |filters: &[Predicate]| all_of(filters.iter(), PLAIN);
    let branches: Vec<String> = query
        .branches
        .iter()
        .enumerate()
        .map(|(idx, branch)| {
            let flags = format!(
                "coalesce({}, false) AS below_, coalesce({}, false) AS reach_, ",
                below(&branch.filters),
                all(&branch.filters)
            );
            if query.is_chained() {
                let table = TABLES[branch.table];
                return format!("SELECT CAST({idx} AS BIGINT) AS br_, r_, {flags}ts FROM {table}");
            }
            branch_select(query, idx, branch, &flags)
        })
        .collect();
    // Above another aggregation conditions decide about groups, not about rows.
    let filters = if query.is_chained() {
        &[]
    } else {
        query.filters.as_slice()
    };
    let of_keys = case.groups().filter(|_| !query.is_chained());
    let of_keys = of_keys.and_then(|groups| groups.key_condition(PLAIN));
    let of_keys = of_keys.unwrap_or_else(|| "true".to_owned());
    format!(
        "SELECT br_, r_, ts, below_ AND coalesce({} AND {of_keys}, false) AS seen_, \
         reach_ AND coalesce({} AND {of_keys}, false) AS counted_, {} FROM ({}) AS r",
        below(filters),
        all(filters),
        session_parts(case),
        branches.join(" UNION ALL ")
    )
}

/// A number for the key of each row, and its gap.
fn session_parts(case: &Case) -> String {
    let sessions = case.groups().and_then(|groups| match groups.time {
        TimeKey::Session { gap, .. } if !case.query.is_chained() => Some((groups, gap)),
        TimeKey::Session { .. }
        | TimeKey::None
        | TimeKey::Instant
        | TimeKey::Window { .. }
        | TimeKey::Counted(_) => None,
    });
    let Some((groups, gap)) = sessions else {
        return "CAST(0 AS BIGINT) AS key_, CAST(NULL AS BIGINT) AS gap_".to_owned();
    };
    let keys = texts(&groups.keys);
    let key = if keys.is_empty() {
        "0".to_owned()
    } else {
        format!("dense_rank() OVER (ORDER BY {})", keys.join(", "))
    };
    format!("CAST({key} AS BIGINT) AS key_, {} AS gap_", gap.sql(PLAIN))
}

/// Projected rows, each with its step; above an aggregation all rows after each step.
pub(super) fn rows(case: &Case, items: &[Expr]) -> String {
    let items = named(&texts(items), "c");
    let accepted = accepted(case);
    if case.query.is_chained() {
        return format!("SELECT p_, {items} FROM {accepted}");
    }
    format!("SELECT e_, {items} FROM {accepted} WHERE p_ = e_ ORDER BY e_, r_")
}

/// Rows that were dropped as late, with their steps.
pub(super) fn dropped(query: &Query) -> String {
    let columns = names(&query.columns());
    format!(
        "SELECT de_, {columns} FROM ({}) AS r JOIN d_ ON r.br_ = d_.db_ AND r.r_ = d_.dr_",
        all_branches(query)
    )
}

/// For each aggregation below the groups that it has after each step.
pub(super) fn below(case: &Case) -> Vec<String> {
    let branches = case.query.branches.iter().enumerate();
    let inner = branches.filter_map(|(idx, branch)| branch.inner.as_ref().map(|it| (idx, it)));
    inner
        .map(|(idx, inner)| {
            let table = TABLES[case.query.branches[idx].table];
            let time = if inner.window.is_some() {
                "we_"
            } else if inner.keys.contains(&Column::Time) {
                "ts"
            } else {
                "CAST(NULL AS BIGINT)"
            };
            let keys: String = inner
                .keys
                .iter()
                .map(|key| format!(", {}", key.name()))
                .collect();
            format!(
                "SELECT p_, t_ FROM (SELECT DISTINCT p_, ws_, {time} AS t_{keys} \
                 FROM {table} JOIN m_ ON m_.mb_ = {idx} AND {table}.r_ = m_.mr_) AS g"
            )
        })
        .collect()
}

fn all_branches(query: &Query) -> String {
    let branches = query.branches.iter().enumerate();
    let branches: Vec<String> = branches
        .map(|(idx, branch)| branch_select(query, idx, branch, ""))
        .collect();
    branches.join(" UNION ALL ")
}

/// The accepted rows, once for each step after which they count.
fn accepted(case: &Case) -> String {
    let query = &case.query;
    let columns = names(&query.columns());
    if !query.is_chained() {
        let branches = all_branches(query);
        return format!(
            "(SELECT {columns}, r_, p_, e_, ws_, we_ FROM ({branches}) AS r \
             JOIN m_ ON r.br_ = m_.mb_ AND r.r_ = m_.mr_) AS x"
        );
    }
    let branches: Vec<String> = query
        .branches
        .iter()
        .enumerate()
        .map(|(idx, branch)| match &branch.inner {
            Some(inner) => inner_select(query, idx, branch, inner),
            None => {
                let rows = branch_select(query, idx, branch, "");
                format!(
                    "SELECT {columns}, p_, r_ FROM ({rows}) AS r \
                     JOIN (SELECT DISTINCT p_, mb_, mr_ FROM m_) AS m ON m.mb_ = {idx} AND r.r_ = m.mr_"
                )
            }
        })
        .collect();
    let mut filters = vec![format!("({})", all_of(query.filters.iter(), PLAIN))];
    filters.extend(case.groups().and_then(|groups| groups.key_condition(PLAIN)));
    format!(
        "(SELECT {columns}, p_, p_ AS e_, r_ FROM ({}) AS r WHERE {}) AS x",
        branches.join(" UNION ALL "),
        filters.join(" AND ")
    )
}

/// An aggregation below, after each step.
fn inner_select(query: &Query, idx: usize, branch: &Branch, inner: &Inner) -> String {
    let table = TABLES[branch.table];
    let mut items = Vec::new();
    let mut arguments = Vec::new();
    for column in query.columns() {
        let name = column.name();
        match inner.call(column) {
            Some(call) => {
                arguments.push(format!(", {} AS a_{name}", call.plain_argument()));
                items.push(format!("{} AS {name}", call.plain(&format!("a_{name}"))));
            }
            None if column == Column::Time && inner.window.is_some() => {
                items.push("we_ - 1 AS ts".to_owned());
            }
            None => items.push(name.to_owned()),
        }
    }
    let keys: String = inner
        .keys
        .iter()
        .map(|key| format!(", {}", key.name()))
        .collect();
    format!(
        "SELECT {}, p_, CAST(NULL AS BIGINT) AS r_ FROM (SELECT p_, ws_, we_, r_{keys}{} FROM {table} \
         JOIN m_ ON m_.mb_ = {idx} AND {table}.r_ = m_.mr_) AS i GROUP BY p_, ws_, we_{keys}",
        items.join(", "),
        arguments.concat()
    )
}

/// The accepted rows with their windows.
fn windowed(case: &Case, groups: &Groups) -> String {
    let accepted = accepted(case);
    let columns = names(&case.query.columns());
    let keys: String = texts(&groups.keys)
        .iter()
        .map(|key| format!(", {key}"))
        .collect();
    let none = "CAST(NULL AS BIGINT)";
    match groups.time {
        TimeKey::Counted(rows) => format!(
            "(SELECT {columns}, r_, p_, e_, {none} AS we_, \
             CAST((row_number() OVER (PARTITION BY p_{keys} ORDER BY r_) - 1) / {rows} AS BIGINT) AS ws_ \
             FROM {accepted}) AS y"
        ),
        TimeKey::None | TimeKey::Instant if case.query.is_chained() => {
            format!("(SELECT *, {none} AS ws_, {none} AS we_ FROM {accepted}) AS y")
        }
        TimeKey::Window {
            length,
            slide,
            start,
            ..
        } if case.query.is_chained() => {
            let second = 1_000_000;
            let (length, slide, start) = (length * second, slide * second, start * second);
            let first =
                format!("ts - ((ts - {start}) % {slide} + {slide}) % {slide} - n_ * {slide}");
            format!(
                "(SELECT *, ws_ + {length} AS we_ FROM (SELECT *, {first} AS ws_ FROM {accepted} \
                 CROSS JOIN o_ WHERE ts IS NOT NULL) AS w WHERE ts < ws_ + {length}) AS y"
            )
        }
        TimeKey::Session { gap, .. } if case.query.is_chained() => {
            let ends = format!("ts + ({})", gap.sql(PLAIN));
            format!(
                "(SELECT *, min(ts) OVER (PARTITION BY p_, no_{keys}) AS ws_, \
                 max(end_) OVER (PARTITION BY p_, no_{keys}) AS we_ FROM (\
                 SELECT *, sum(new_) OVER (PARTITION BY p_{keys} ORDER BY ts) AS no_ FROM (\
                 SELECT *, CASE WHEN ts <= max(end_) OVER (PARTITION BY p_{keys} ORDER BY ts \
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS new_ FROM (\
                 SELECT *, {ends} AS end_ FROM {accepted}) AS a WHERE end_ > ts) AS b) AS c) AS y"
            )
        }
        TimeKey::None | TimeKey::Instant | TimeKey::Window { .. } | TimeKey::Session { .. } => {
            accepted
        }
    }
}

/// Groups: step, last step that touched, window, what closes it, whether it is shown, and its row.
pub(super) fn groups(case: &Case, groups: &Groups) -> String {
    let (inner, shown, having) = parts(case, groups);
    let mut group_by = "p_, ws_, we_".to_owned();
    let time = if let TimeKey::Counted(_) = groups.time {
        "count(*) AS t_"
    } else {
        group_by += ", t_";
        "t_"
    };
    for idx in 0..groups.keys.len() {
        group_by += &format!(", g{idx}");
    }
    format!(
        "SELECT p_, max(e_), ws_, we_, {time}, {having} AS h_{shown} FROM ({inner}) AS i \
         GROUP BY {group_by}"
    )
}

/// The row of an aggregation without keys over no rows.
pub(super) fn nothing(case: &Case, groups: &Groups) -> String {
    let (inner, shown, having) = parts(case, groups);
    format!(
        "SELECT 0 AS p_, NULL AS e_, NULL AS ws_, NULL AS we_, NULL AS t_, {having} AS h_{shown} \
         FROM ({inner}) AS i WHERE p_ < 0"
    )
}

/// The rows with keys and arguments, the shown columns, the condition.
fn parts(case: &Case, groups: &Groups) -> (String, String, String) {
    let time = match groups.time {
        TimeKey::None | TimeKey::Counted(_) => "CAST(NULL AS BIGINT)",
        TimeKey::Instant => "ts",
        TimeKey::Window { .. } | TimeKey::Session { .. } => "we_",
    };
    let mut inner = format!("SELECT p_, e_, r_, ws_, we_, {time} AS t_");
    let mut shown = String::new();
    for (idx, key) in texts(&groups.keys).iter().enumerate() {
        inner += &format!(", {key} AS g{idx}");
        shown += &format!(", g{idx}");
    }
    let mut results = Vec::new();
    for (idx, call) in groups.calls.iter().enumerate() {
        inner += &format!(", {} AS a{idx}", Call::plain_argument(call));
        results.push(call.plain(&format!("a{idx}")));
        shown += &format!(", {} AS v{idx}", results[idx]);
    }
    inner += &format!(" FROM {}", windowed(case, groups));
    (inner, shown, having(groups, &results))
}

fn branch_select(query: &Query, idx: usize, branch: &Branch, flags: &str) -> String {
    let item = |column: Column| {
        let computed = branch
            .computed
            .iter()
            .find(|(computed, _)| *computed == column);
        match computed {
            Some((_, expr)) => format!("{} AS {}", expr.sql(PLAIN), column.name()),
            None if query.shifted && column == Column::Time => "ts + 1000000 AS ts".to_owned(),
            None => column.name().to_owned(),
        }
    };
    let items: Vec<String> = query.columns().into_iter().map(item).collect();
    let table = TABLES[branch.table];
    format!(
        "SELECT CAST({idx} AS BIGINT) AS br_, r_, {flags}{} FROM {table}",
        items.join(", ")
    )
}

fn texts(items: &[Expr]) -> Vec<String> {
    items.iter().map(|item| item.sql(PLAIN)).collect()
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    names.join(", ")
}

fn named(items: &[String], prefix: &str) -> String {
    let named = items
        .iter()
        .enumerate()
        .map(|(idx, item)| format!("{item} AS {prefix}{idx}"));
    named.collect::<Vec<_>>().join(", ")
}

fn having(groups: &Groups, results: &[String]) -> String {
    match &groups.having {
        // A condition on a key is one on the rows.
        None | Some(Having::Key(..)) => "true".to_owned(),
        Some(Having::Null(call)) => format!("({} IS NULL)", results[*call]),
        Some(Having::Compare(call, op, value)) => {
            let value = literal(groups.calls[*call].ty(), value, PLAIN);
            format!("coalesce(({}) {op} {value}, false)", results[*call])
        }
    }
}
