//! `errors`, `options`, `functions`: the command explains itself.

use millstream::Session;
use millstream_types::{Code, errors::CATALOGUE};

use crate::{
    exit::{Exit, Failure},
    terminal::{print, table},
};

/// Prints all codes, or what one means.
pub(crate) fn errors(code: Option<&str>) -> Result<Exit, Failure> {
    let Some(wanted) = code else {
        let rows: Vec<_> = CATALOGUE
            .iter()
            .map(|entry| {
                vec![
                    entry.code.to_owned(),
                    entry.class.to_string(),
                    entry.title.to_owned(),
                ]
            })
            .collect();
        print(&table(&["code", "class", "meaning"], &rows));
        return Ok(Exit::Done);
    };
    let wanted = wanted.trim().to_ascii_uppercase();
    let found = CATALOGUE.iter().find(|entry| {
        entry.code == wanted || entry.condition.is_some_and(|condition| condition == wanted)
    });
    let Some(entry) = found else {
        let known = CATALOGUE.iter().map(|entry| entry.code);
        let near = millstream_types::did_you_mean(&wanted, known);
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(Failure::Usage(format!(
            "no error has the code {wanted}{near}"
        )));
    };
    let condition = entry
        .condition
        .map_or_else(String::new, |name| format!(" [{name}]"));
    print(&format!(
        "{}{condition}: {}\n\nclass   {}\nwhy     {}\naction  {}",
        Code(entry.code),
        entry.title,
        entry.class,
        entry.why,
        entry.action
    ));
    Ok(Exit::Done)
}

/// Prints all connectors, or the options of one.
pub(crate) fn options(connector: Option<&str>) -> Result<Exit, Failure> {
    let session = Session::builder().build()?;
    let catalog = session.catalog();
    let Some(name) = connector else {
        let rows: Vec<_> = catalog
            .connectors()
            .iter()
            .map(|connector| {
                let sides = connector.capabilities();
                let side =
                    |has: bool, name: &str| if has { name.to_owned() } else { String::new() };
                vec![
                    connector.name().to_owned(),
                    side(sides.source, "source"),
                    side(sides.sink, "sink"),
                ]
            })
            .collect();
        print(&table(&["connector", "reads", "writes"], &rows));
        let rows: Vec<_> = millstream::SETTINGS
            .iter()
            .map(|s| vec![s.key.to_owned(), s.default.to_owned(), s.help.to_owned()])
            .collect();
        print("");
        print(&table(
            &["setting (SET key = value)", "default", "meaning"],
            &rows,
        ));
        return Ok(Exit::Done);
    };
    let connector = catalog
        .connector(name)
        .map_err(|error| Failure::from(millstream::Error::from(error)))?;
    let rows: Vec<_> = connector
        .options()
        .iter()
        .map(|spec| {
            vec![
                spec.name.to_owned(),
                spec.default.to_owned(),
                spec.help.to_owned(),
            ]
        })
        .collect();
    print(&table(&["option", "default", "meaning"], &rows));
    Ok(Exit::Done)
}

/// Prints all functions.
pub(crate) fn functions() -> Result<Exit, Failure> {
    let rows: Vec<_> = millstream::list_functions()
        .into_iter()
        .map(|function| {
            vec![
                function.name,
                format!("{:?}", function.kind),
                format!("{:?}", function.origin),
            ]
        })
        .collect();
    print(&table(&["function", "kind", "from"], &rows));
    Ok(Exit::Done)
}
