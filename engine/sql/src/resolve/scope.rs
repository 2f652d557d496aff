//! The columns that names may mean at one place of a query.
//!
//! Names are compared without case, as Spark compares them. A column may be shown under another name
//! than it has in the plan: a plan has no two columns of one name, a query may ask for them.

use crate::SqlError;
use arrow::datatypes::{DataType, Fields};
use datafusion::{
    common::{Column, DFSchema},
    logical_expr::LogicalPlan,
    sql::sqlparser::ast::Ident,
};

/// Stands between the name that is shown and the number that tells columns of one name apart.
const APART: char = '\u{1f}';

/// The name of a column as a query shows it.
pub(crate) fn shown(name: &str) -> &str {
    name.split_once(APART).map_or(name, |(shown, _)| shown)
}

/// Another name that is shown as `name`.
pub(crate) fn apart(name: &str, number: usize) -> String {
    format!("{}{APART}{number}", shown(name))
}

/// One column that a name may mean.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    /// The relation by which it may be qualified.
    pub(crate) relation: Option<String>,
    /// What the plan calls it.
    pub(crate) column: Column,
    pub(crate) data_type: DataType,
}

impl ScopeColumn {
    /// Its name as a query shows it.
    pub(crate) fn name(&self) -> &str {
        shown(&self.column.name)
    }
}

/// All columns that names may mean, and the schema in which expressions are planned.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) schema: DFSchema,
    pub(crate) columns: Vec<ScopeColumn>,
    /// Columns that joins make of one of each side: the bare name means that.
    joined: Vec<Merged>,
}

/// What a join makes of a column of each side: a column, or the first of several that is not null.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub(crate) name: String,
    pub(crate) of: Vec<ScopeColumn>,
}

/// What a path of names means.
pub(crate) enum Found<'s> {
    /// A column, and how many names of the path it took.
    Column(&'s ScopeColumn, usize),
    /// A common column of a join; it took one name.
    Merged(&'s Merged),
    /// Several columns, as they would be told apart.
    Several(Vec<String>),
    /// Nothing.
    None,
}

impl Scope {
    /// No columns.
    pub(crate) fn empty() -> Scope {
        Scope {
            schema: DFSchema::empty(),
            columns: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// The columns of a plan.
    pub(crate) fn of(plan: &LogicalPlan) -> Scope {
        Scope::over(plan.schema())
    }

    /// The columns of a schema.
    pub(crate) fn over(schema: &DFSchema) -> Scope {
        let schema = schema.clone();
        let columns = schema.iter().map(|(relation, field)| ScopeColumn {
            relation: relation.map(|relation| relation.table().to_owned()),
            column: Column::new(relation.cloned(), field.name()),
            data_type: field.data_type().clone(),
        });
        Scope {
            columns: columns.collect(),
            schema,
            joined: Vec::new(),
        }
    }

    /// The columns of both. `joined` are those that a join makes one.
    pub(crate) fn beside(mut self, other: Scope, joined: Vec<Merged>) -> Scope {
        self.schema.merge(&other.schema);
        self.columns.extend(other.columns);
        let is_new = |old: &Merged| !joined.iter().any(|new| same_name(&new.name, &old.name));
        self.joined.extend(other.joined);
        self.joined.retain(is_new);
        self.joined.extend(joined);
        self
    }

    /// The names that two scopes share, each once, as a NATURAL join takes them.
    pub(crate) fn shared(&self, other: &Scope) -> Vec<Ident> {
        let mut shared: Vec<Ident> = Vec::new();
        for column in &self.columns {
            let is_known = |known: &Ident| same_name(&known.value, column.name());
            if other.has(column.name()) && !shared.iter().any(is_known) {
                shared.push(Ident::new(column.name()));
            }
        }
        shared
    }

    fn named<'s, 'n>(
        &'s self,
        name: &'n str,
    ) -> impl Iterator<Item = &'s ScopeColumn> + use<'s, 'n> {
        let same = move |column: &&ScopeColumn| same_name(column.name(), name);
        self.columns.iter().filter(same)
    }

    /// Whether there is a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// The columns of a relation; none if there is no such relation.
    pub(crate) fn of_relation<'s, 'n>(
        &'s self,
        name: &'n str,
    ) -> impl Iterator<Item = &'s ScopeColumn> + use<'s, 'n> {
        let same = move |column: &&ScopeColumn| {
            let relation = column.relation.as_deref();
            relation.is_some_and(|relation| same_name(relation, name))
        };
        self.columns.iter().filter(same)
    }

    /// Whether a column is shown under another name than it has, or is qualified by another relation.
    pub(crate) fn hides(&self) -> bool {
        self.columns.iter().any(|column| {
            let relation = column.column.relation.as_ref();
            column.name() != column.column.name
                || relation.map(|relation| relation.table()) != column.relation.as_deref()
        })
    }

    /// Whether a join has columns of both sides in common.
    pub(crate) fn joins(&self) -> bool {
        !self.joined.is_empty()
    }

    /// The common column of a join that has this name.
    pub(crate) fn merged(&self, name: &str) -> Option<&Merged> {
        let mut joined = self.joined.iter();
        joined.find(|merged| same_name(&merged.name, name))
    }

    /// What a path of names means: a qualified column before a column with fields, as in Spark.
    pub(crate) fn find(&self, path: &[Ident]) -> Found<'_> {
        for qualifiers in (0..path.len().min(4)).rev() {
            let (before, rest) = path.split_at(qualifiers);
            let Some(name) = rest.first() else { continue };
            if let (0, Some(merged)) = (qualifiers, self.merged(&name.value)) {
                return Found::Merged(merged);
            }
            let found: Vec<&ScopeColumn> = match before.last() {
                // What stands before a relation is a catalog or a database, and there is one.
                Some(relation) => self
                    .of_relation(&relation.value)
                    .filter(|column| same_name(column.name(), &name.value))
                    .collect(),
                None => self.named(&name.value).collect(),
            };
            match found.as_slice() {
                [] => {}
                [column] => return Found::Column(column, qualifiers + 1),
                several => {
                    let told = several.iter().map(|column| match &column.relation {
                        Some(relation) => format!("{relation}.{}", column.name()),
                        None => column.name().to_owned(),
                    });
                    return Found::Several(told.collect());
                }
            }
        }
        Found::None
    }

    /// The column of a path that is spelled as the plan spells it.
    pub(crate) fn find_exact(&self, path: &[Ident]) -> Found<'_> {
        let (relation, name) = match path {
            [name] => (None, name),
            [relation, name] => (Some(relation.value.as_str()), name),
            _ => return Found::None,
        };
        let found = self.columns.iter().find(|column| {
            let of = column.column.relation.as_ref().map(|of| of.table());
            column.column.name == name.value && (relation.is_none() || relation == of)
        });
        found.map_or(Found::None, |column| Found::Column(column, path.len()))
    }

    /// The error of a path that means nothing.
    pub(crate) fn unknown(&self, path: &[Ident]) -> SqlError {
        let parts: Vec<&str> = path.iter().map(|part| part.value.as_str()).collect();
        let name = parts.join(".");
        let last = parts.last().copied().unwrap_or_default();
        let known = self.columns.iter().map(|column| column.name().to_owned());
        SqlError::no_column(name, last, known.collect())
    }
}

/// Whether two names are the same without case.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

/// The field of a struct by its name; the one of the same case if there are several.
pub(crate) fn field_named<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    let exact = fields.iter().find(|field| field.name() == name);
    let any = || fields.iter().find(|field| same_name(field.name(), name));
    exact.or_else(any).map(|field| field.name().as_str())
}
