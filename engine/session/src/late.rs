//! INSERTs of late rows: each runs with the query that drops them.

use datafusion::logical_expr::LogicalPlan;
use millstream_sql::{Catalog, QueryText};

use crate::{
    assign::assign,
    error::{Error, Result},
    query::StreamingQuery,
    session::{LateInsert, Session, Target, label},
};

impl Session {
    /// Notes an INSERT of late rows for the query that will drop them.
    pub(crate) fn keep_late(&self, of: &str, sink: &str, query: &QueryText) -> Result<()> {
        let catalog = self.catalog();
        self.sink_table(&catalog, sink)?;
        let runs = self
            .queries()
            .get(of)
            .is_some_and(StreamingQuery::is_active);
        if runs {
            return Err(Error::Started {
                query: of.to_owned(),
            });
        }
        let mut lates = self.lates();
        if lates.iter().any(|late| late.of.eq_ignore_ascii_case(of)) {
            return Err(Error::NotYet {
                what: "a second INSERT of late rows of one query",
            });
        }
        lates.push(LateInsert {
            of: of.to_owned(),
            sink: sink.to_owned(),
            query: query.clone(),
            taken: false,
        });
        Ok(())
    }

    /// Fails if an INSERT of late rows names a query that was not started: a slip of the name, most
    /// likely. Whoever runs a whole script asks at its end.
    ///
    /// # Errors
    /// [`Error::NoQuery`].
    pub fn check_late_rows(&self) -> Result<()> {
        let lates = self.lates();
        let Some(late) = lates.iter().find(|late| !late.taken) else {
            return Ok(());
        };
        let queries = self.queries();
        Err(Error::NoQuery {
            name: late.of.clone(),
            active: queries
                .values()
                .filter(|q| q.is_active())
                .map(label)
                .collect(),
        })
    }

    /// The INSERT of late rows of the query that goes by one of these names.
    pub(crate) fn late_insert(&self, names: &[Option<&str>]) -> Option<LateInsert> {
        let mut lates = self.lates();
        let mut names = names.iter().flatten();
        names.find_map(|name| {
            let is_of = |late: &&mut LateInsert| late.of.eq_ignore_ascii_case(name);
            let late = lates.iter_mut().find(is_of)?;
            late.taken = true;
            Some(late.clone())
        })
    }

    pub(crate) fn late_plan(
        &self,
        catalog: &Catalog,
        late: &LateInsert,
        of: &LogicalPlan,
    ) -> Result<LogicalPlan> {
        let plan = self.inner.planner.logical_late(catalog, &late.query, of)?;
        let table = self.sink_table(catalog, &late.sink)?;
        Ok(match &table.columns {
            Some(columns) => assign(&table.name, columns, plan)?,
            None => plan,
        })
    }

    pub(crate) fn late_target(&self, catalog: &Catalog, sink: &str) -> Result<Target> {
        let table = self.sink_table(catalog, sink)?;
        Ok(Target {
            factory: table.factory.clone(),
            request: table.sink_request(),
        })
    }
}
