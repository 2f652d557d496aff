//! The house's own tool: `cargo xtask tidy`, `cargo xtask ratchet --write`, `cargo xtask errors --write`.
//!
//! Owns: the rules that no compiler checks. Never: builds, network, or anything that takes longer
//! than reading the repository once. Each check is one function from [`Repo`] to findings; the lists
//! they read are in `tidy.toml`. Tests: beside each module, and [`tests::the_house_is_tidy`].

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people: findings go to stdout, refusals to stderr"
)]

mod crates;
mod errors_page;
mod lengths;
mod mask;
mod prose;
mod ratchet;
mod repo;
mod table;
mod traces;

use repo::{Repo, Report};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy              checks the rules of the house; prints file:line for each finding
  ratchet --write   tightens tidy.toml to what the code has reached; never loosens it
  errors            prints the page of error codes
  errors --write    writes it to docs/errors.md";

/// Runs every check.
fn tidy(repo: &Repo) -> Report {
    let mut report = Report::default();
    lengths::check(repo, &mut report);
    crates::check(repo, &mut report);
    traces::check(repo, &mut report);
    prose::check(repo, &mut report);
    errors_page::check(repo, &mut report);
    report.sort();
    report
}

fn run(arguments: &[&str]) -> Result<ExitCode, String> {
    match arguments {
        ["tidy"] => {
            let report = tidy(&Repo::load()?);
            print!("{report}");
            Ok(if report.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        ["ratchet", "--write"] => {
            println!("{}", ratchet::write(&Repo::load()?)?);
            Ok(ExitCode::SUCCESS)
        }
        ["errors"] => {
            print!("{}", errors_page::render());
            Ok(ExitCode::SUCCESS)
        }
        ["errors", "--write"] => {
            errors_page::write(&Repo::load()?)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&arguments).unwrap_or_else(|refusal| {
        eprintln!("xtask: {refusal}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // INV-09: the lists [heavy] and [names] hold for the whole repository.
    #[test]
    fn the_house_is_tidy() {
        let report = tidy(&Repo::load().expect("the repository can be read"));
        assert!(report.is_clean(), "\n{report}");
    }

    #[test]
    fn the_scanner_understands_every_file() {
        let repo = Repo::load().expect("the repository can be read");
        for (file, rust) in repo.rust() {
            let count = |brace| rust.code.matches(brace).count();
            assert_eq!(count('{'), count('}'), "{}", file.path);
        }
    }
}
