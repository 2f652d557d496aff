//! `cargo xtask ratchet --write`: tightens `tidy.toml`, line by line, so that its comments stay.

use crate::lengths;
use crate::repo::Repo;
use crate::traces;

/// Writes the tightened list; answers what changed.
pub(crate) fn write(repo: &Repo) -> Result<String, String> {
    let have = repo.file("tidy.toml").map_or("", |f| f.text.as_str());
    let want = tightened(repo, have);
    if want == have {
        return Ok("tidy.toml is as tight as the code".to_owned());
    }
    std::fs::write(repo.root.join("tidy.toml"), &want)
        .map_err(|e| format!("cannot write tidy.toml: {e}"))?;
    let gone = have.lines().count() - want.lines().count();
    Ok(format!("tidy.toml is tighter; {gone} lines are gone"))
}

fn tightened(repo: &Repo, have: &str) -> String {
    let mut section = "";
    let mut out = String::new();
    for line in have.lines() {
        let bare = line.trim();
        if bare.starts_with('[') {
            section = bare.trim_matches(['[', ']']);
        }
        let keep = match section {
            lengths::FILES | lengths::FUNCTIONS => length(repo, section, line),
            traces::OWED => owed(repo, bare).then(|| line.to_owned()),
            _ => Some(line.to_owned()),
        };
        if let Some(kept) = keep {
            out.push_str(&kept);
            out.push('\n');
        }
    }
    out
}

/// The line of a length, with the smaller of both numbers; gone when it is within the limit.
fn length(repo: &Repo, section: &str, line: &str) -> Option<String> {
    let Some((path, allowed)) = line.split_once('=') else {
        return Some(line.to_owned());
    };
    let path = path.trim().trim_matches('"');
    let allowed: usize = allowed.trim().parse().unwrap_or(0);
    let file = repo.file(path)?;
    let rust = file.rust.as_ref()?;
    let (is, limit) = if section == lengths::FILES {
        (lengths::file_lines(file, rust), lengths::FILE_LINES_MAX)
    } else {
        let worst = lengths::worst_function(file, rust);
        (worst.map_or(0, |w| w.2), lengths::FUNCTION_LINES_MAX)
    };
    (is > limit).then(|| format!("\"{path}\" = {}", is.min(allowed)))
}

/// Whether a line of the list of debts stays: it names nothing, or something without a test.
fn owed(repo: &Repo, bare: &str) -> bool {
    let id = bare.trim_matches(['"', ',']);
    let is_item = bare.starts_with('"') && bare.ends_with("\",");
    let paid =
        traces::tested_codes(repo).contains(id) || traces::tested_invariants(repo).contains_key(id);
    !(is_item && paid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::example;

    #[test]
    fn numbers_fall_and_debts_go() {
        let tidy = "# why\n[length.files]\n\"a/src/lib.rs\" = 900\n\"b.rs\" = 801\n[owed]\ncodes = [\n    \"SQL-001\",\n    \"SQL-002\",\n]\n";
        let long = "fn a() {}\n".repeat(850);
        let script = "statement error SQL-002\n";
        let repo = example(&[("a/src/lib.rs", &long), ("b.rs", ""), ("s.stream", script)]);
        assert_eq!(
            tightened(&repo, tidy),
            "# why\n[length.files]\n\"a/src/lib.rs\" = 850\n[owed]\ncodes = [\n    \"SQL-001\",\n]\n"
        );
    }
}
