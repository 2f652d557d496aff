//! `millstream explain`.

use millstream::{ExplainFormat, Outcome, Session};
use millstream::{ScriptStatement, Statement};

use crate::{
    arguments::{ExplainArguments, Format},
    exit::{Exit, Failure},
    run::statements,
    terminal::print,
};

/// Explains every query of a script; other statements are run, queries are not.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other statements run, other outcomes show nothing"
)]
pub(crate) fn explain(arguments: &ExplainArguments) -> Result<Exit, Failure> {
    let statements = statements(arguments.file.as_deref(), arguments.command.as_deref())?;
    let format = match arguments.format {
        Format::Tree => ExplainFormat::Tree,
        Format::Dot => ExplainFormat::Dot,
        Format::Json => ExplainFormat::Json,
    };
    let session = Session::builder().app_name("millstream explain").build()?;
    for ScriptStatement {
        statement,
        position,
    } in statements
    {
        let statement = match statement {
            // It is shown with the query that drops the rows.
            late @ Statement::Insert { .. } if !late.starts_query() => late,
            Statement::Insert { sink, query } => Statement::Explain {
                format,
                sink: Some(sink),
                query,
            },
            Statement::Select(query) => Statement::Explain {
                format,
                sink: None,
                query,
            },
            Statement::Explain { sink, query, .. } => Statement::Explain {
                format,
                sink,
                query,
            },
            other => other,
        };
        match session.run_statement(&ScriptStatement {
            statement,
            position,
        })? {
            Outcome::Text(text) => print(&text),
            _ => continue,
        }
    }
    Ok(Exit::Done)
}
