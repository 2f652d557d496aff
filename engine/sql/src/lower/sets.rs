//! ROLLUP, CUBE and GROUPING SETS: each row once for each set, then one aggregation.
//!
//! The rows of a set have null in the keys that the set leaves out, and the set's number beside
//! them, so that a key that is null by itself stays apart.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, GroupingSet, utils::grouping_set_to_exprlist},
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, Literal},
    },
};
use millstream_operators::chain::{ChainSpec, Step};
use millstream_runtime::plan::{Node, NodeId};

use super::Lowering;
use crate::{SqlError, error::from_datafusion};

/// Sets most of one grouping.
const SETS_MAX: usize = 64;
/// Columns most of a CUBE: as many sets as there may be.
const CUBE_MAX: usize = 6;

/// The sets of a grouping.
pub(super) struct Sets {
    /// All grouping expressions, each once.
    pub(super) groups: Vec<Expr>,
    /// For each set, which of them it has.
    members: Vec<Vec<bool>>,
}

impl Sets {
    /// The sets, if the grouping has any.
    pub(super) fn of(group_expr: &[Expr]) -> Result<Option<Sets>, SqlError> {
        let [Expr::GroupingSet(set)] = group_expr else {
            return Ok(None);
        };
        let groups: Vec<Expr> = grouping_set_to_exprlist(group_expr)
            .map_err(from_datafusion)?
            .into_iter()
            .cloned()
            .collect();
        let count = groups.len();
        let members: Vec<Vec<bool>> = match set {
            GroupingSet::Rollup(_) => (0..=count)
                .rev()
                .map(|len| (0..count).map(|at| at < len).collect())
                .collect(),
            GroupingSet::Cube(_) if count <= CUBE_MAX => (0..1usize << count)
                .map(|bits| (0..count).map(|at| bits >> at & 1 == 0).collect())
                .collect(),
            GroupingSet::Cube(_) => return Err(too_many()),
            GroupingSet::GroupingSets(sets) => sets
                .iter()
                .map(|set| groups.iter().map(|group| set.contains(group)).collect())
                .collect(),
        };
        if members.len() > SETS_MAX {
            return Err(too_many());
        }
        let twice = (1..members.len()).any(|at| members[..at].contains(&members[at]));
        if twice {
            return Err(SqlError::unsupported("a grouping set that is there twice"));
        }
        Ok(Some(Sets { groups, members }))
    }

    /// Whether every set has this expression.
    pub(super) fn always(&self, at: usize) -> bool {
        self.members.iter().all(|set| set[at])
    }

    /// The sets without the expression at a place, but with their numbers as they are.
    pub(super) fn without(&self, place: Option<usize>) -> Others<'_> {
        Others { sets: self, place }
    }

    /// The number of a set, as DataFusion's `grouping` reads it: a bit for each missing key.
    fn number(&self, set: &[bool], data_type: &DataType) -> Result<ScalarValue, SqlError> {
        let bits = set
            .iter()
            .fold(0u64, |bits, has| bits << 1 | u64::from(!has));
        ScalarValue::UInt64(Some(bits))
            .cast_to(data_type)
            .map_err(from_datafusion)
    }
}

/// Sets, and the place of the time key, which is in all of them.
pub(super) struct Others<'a> {
    sets: &'a Sets,
    place: Option<usize>,
}

fn too_many() -> SqlError {
    SqlError::TooLarge {
        what: "too many grouping sets",
        limit: SETS_MAX,
    }
}

/// What an aggregation over sets reads.
pub(super) struct Expanded {
    pub(super) node: NodeId,
    pub(super) schema: SchemaRef,
    /// The columns of the keys, and last that of the set's number.
    pub(super) keys: Vec<usize>,
}

impl Lowering {
    /// Gives each row of a node once for each set. The keys get columns of their own, because a
    /// key may be an argument as well.
    pub(super) fn expand(
        &mut self,
        input: NodeId,
        schema: &SchemaRef,
        (others, keys): (&Others<'_>, &[usize]),
        number_type: &DataType,
    ) -> Result<Expanded, SqlError> {
        let width = schema.fields().len();
        let column = |idx: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(schema.field(idx).name(), idx))
        };
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        for key in keys {
            let field = schema.field(*key);
            let name = format!("__set_{}", field.name());
            fields.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
        }
        fields.push(Arc::new(Field::new("__set", number_type.clone(), false)));
        let wide = Arc::new(Schema::new(fields));
        let mut inputs = Vec::new();
        for set in &others.sets.members {
            let kept = set.iter().enumerate();
            let kept = kept.filter(|(at, _)| Some(*at) != others.place);
            let mut expressions: Vec<Arc<dyn PhysicalExpr>> = (0..width).map(column).collect();
            for (key, (_, has)) in keys.iter().zip(kept) {
                expressions.push(if *has {
                    column(*key)
                } else {
                    let null = ScalarValue::try_from(schema.field(*key).data_type())
                        .map_err(from_datafusion)?;
                    Arc::new(Literal::new(null))
                });
            }
            let number = others.sets.number(set, number_type)?;
            expressions.push(Arc::new(Literal::new(number)));
            inputs.push(self.push(Node::Chain {
                input,
                spec: ChainSpec {
                    steps: vec![Step::Project {
                        expressions,
                        schema: Arc::clone(&wide),
                    }],
                    output: Arc::clone(&wide),
                },
            }));
        }
        let node = self.push(Node::Union { inputs });
        Ok(Expanded {
            node,
            schema: wide,
            keys: (width..=width + keys.len()).collect(),
        })
    }
}
