//! The two streams of the process.

use std::io::{IsTerminal, Write};

/// Prints a line of data. A reader that has gone away is no error of ours.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a line for people.
pub(crate) fn complain(text: &str) {
    let mut out = std::io::stderr().lock();
    let _gone = writeln!(out, "{text}");
}

/// Replaces the last line for people.
pub(crate) fn status(text: &str) {
    let mut out = std::io::stderr().lock();
    let _gone = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
}

/// Whether people see the standard error as it comes.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// A table with its header, columns as wide as they must be.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| -> String {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |", padded.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.push(format!("|{}|", rule.join("|")));
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}
