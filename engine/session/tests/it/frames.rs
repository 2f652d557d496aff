//! What is wrong with a frame is said as SQL says it.

use millstream::{Coded, DataFrame, Result, Session, functions::*};

fn plain() -> Result<DataFrame> {
    let session = Session::builder().build()?;
    session.execute(
        "CREATE TABLE plain (k STRING, V BIGINT, tags ARRAY<STRING>) WITH (connector = 'memory')",
    )?;
    session.table("plain")
}

fn told(frame: Result<DataFrame>) -> String {
    match frame {
        Ok(frame) => format!("{:?}", frame.columns()),
        Err(error) => error.fault().to_string(),
    }
}

#[test]
fn mistakes_have_codes() -> Result<()> {
    let plain = plain()?;
    let cases = [
        (
            plain.select([col("kk")]),
            "error SQL-003 [UNRESOLVED_COLUMN.WITH_SUGGESTION]: no column is named kk\nhint: did you mean k?",
        ),
        (
            plain.select([call_function("uper", ["k"])]),
            "error SQL-004 [UNRESOLVED_ROUTINE]: no function is named uper\nhint: did you mean upper?",
        ),
        (
            plain.select_expr(["k +"]),
            "error SQL-001 [PARSE_SYNTAX_ERROR]: expected: an expression, found: EOF",
        ),
        (
            plain.select([col("k").cast("STRNG")]),
            "error SQL-016: unknown data type \"STRNG\"\nhint: did you mean STRING?",
        ),
        (
            plain.select([col("k").otherwise(1)]),
            "error SQL-001 [PARSE_SYNTAX_ERROR]: otherwise follows when, and nothing else",
        ),
        (
            plain.select([upper("*")]),
            "error SQL-001 [PARSE_SYNTAX_ERROR]: * is no single column",
        ),
        (
            plain.cross_join(&plain).and_then(|both| both.select(["k"])),
            "error SQL-017 [AMBIGUOUS_REFERENCE]: k is ambiguous: it may be plain.k or k\nhint: write the table's name before it, or give one an alias",
        ),
        (
            plain.to_df(&["a"]),
            "error SQL-016: \"1\" is no number of column names",
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(told(frame), expected);
    }
    Ok(())
}

#[test]
fn names_are_shown_as_they_are_written() -> Result<()> {
    let plain = plain()?;
    let twice = plain.select([col("K"), col("k"), col("v")])?;
    assert_eq!(twice.columns(), ["K", "k", "v"]);
    assert_eq!(
        plain.select([col("v") + 1, lit(2i64)])?.columns(),
        ["(v + 1)", "2"]
    );
    assert_eq!(
        plain.group_by(["k"]).sum(&["V"])?.columns(),
        ["k", "sum(V)"]
    );
    let nested =
        plain.select([
            transform("tags", lambda(|x| exists("tags", lambda(|y| y.eq(x))))).alias("t"),
        ])?;
    assert_eq!(nested.columns(), ["t"]);
    Ok(())
}
