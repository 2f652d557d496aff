//! Crates: who may depend on whom, who may name a heavy library, features, modules, licences.

use crate::mask;
use crate::repo::{self, File, Repo, Report};
use crate::table::{self, Entry};
use std::collections::BTreeSet;

/// A package of the workspace.
struct Package<'a> {
    manifest: &'a File,
    /// With `/` at its end.
    folder: &'a str,
    name: String,
    entries: Vec<Entry>,
}

impl Package<'_> {
    /// Names of dependencies in the tables that `tables` picks, with their lines.
    fn dependencies(&self, tables: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for entry in &self.entries {
            let first_of_key = entry.key.split('.').next().unwrap_or_default();
            if tables(&entry.section) {
                found.push((first_of_key.to_owned(), entry.line));
            } else if let Some((table, name)) = entry.section.rsplit_once('.')
                && tables(table)
            {
                found.push((name.to_owned(), entry.line));
            }
        }
        found
    }

    fn has(&self, section: &str, key: &str) -> bool {
        let mut entries = self.entries.iter();
        entries
            .any(|e| e.section == section && (e.key == key || e.key == format!("{key}.workspace")))
    }
}

fn packages(repo: &Repo) -> Vec<Package<'_>> {
    let mut found = Vec::new();
    for manifest in &repo.files {
        let Some(folder) = manifest.path.strip_suffix("Cargo.toml") else {
            continue;
        };
        let entries = table::entries(&manifest.text);
        let name = entries
            .iter()
            .find(|e| e.section == "package" && e.key == "name")
            .and_then(|e| e.texts().pop());
        if let Some(name) = name {
            found.push(Package {
                manifest,
                folder,
                name,
                entries,
            });
        }
    }
    found
}

/// Checks every package.
pub(crate) fn check(repo: &Repo, report: &mut Report) {
    let packages = packages(repo);
    let ours: BTreeSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    for package in &packages {
        arrows(repo, &ours, package, report);
        heavy(repo, package, report);
        features(repo, package, report);
        modules(repo, package, report);
        fields(package, report);
    }
    names(repo, report);
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        if !repo.root.as_os_str().is_empty() && !repo.root.join(file).is_file() {
            report.find(file, 1, "the licence text is missing");
        }
    }
}

/// Edges between our crates are those of `[arrows]`; development dependencies are free.
fn arrows(repo: &Repo, ours: &BTreeSet<&str>, package: &Package<'_>, report: &mut Report) {
    let Some(entry) = repo.list("arrows").find(|e| e.key == package.name) else {
        report.find(
            &package.manifest.path,
            1,
            format!(
                "crate {} is not listed in tidy.toml, [arrows]",
                package.name
            ),
        );
        return;
    };
    let allowed = entry.texts();
    for (name, line) in package.dependencies(|t| t == "dependencies" || t == "build-dependencies") {
        if ours.contains(name.as_str()) && !allowed.iter().any(|a| *a == name || a == "*") {
            report.find(
                &package.manifest.path,
                line,
                format!(
                    "{} must not depend on {name}: see the map in docs/ARCHITECTURE.md (edges: tidy.toml, [arrows])",
                    package.name
                ),
            );
        }
    }
}

/// A heavy library is a dependency of the crates that `[heavy]` lists for it and of no other.
fn heavy(repo: &Repo, package: &Package<'_>, report: &mut Report) {
    for (name, line) in package.dependencies(|t| t.ends_with("dependencies")) {
        let Some(entry) = repo.list("heavy").find(|e| e.key == name) else {
            continue;
        };
        if !entry.texts().contains(&package.name) {
            report.find(
                &package.manifest.path,
                line,
                format!(
                    "{} must not depend on {name} (tidy.toml, [heavy])",
                    package.name
                ),
            );
        }
    }
}

/// A word of `[names]` stands only in the modules listed for it, and in tests.
fn names(repo: &Repo, report: &mut Report) {
    for entry in repo.list("names") {
        let allowed = entry.texts();
        for (file, rust) in repo.rust() {
            if allowed.iter().any(|a| file.path.starts_with(a.as_str())) {
                continue;
            }
            for at in mask::words(&rust.code, &entry.key) {
                let line = mask::line_of(&rust.code, at);
                if file.is_test_line(line) {
                    continue;
                }
                report.find(
                    &file.path,
                    line,
                    format!(
                        "`{}` is named outside its modules {allowed:?} (tidy.toml, [names])",
                        entry.key
                    ),
                );
            }
        }
    }
}

/// A feature is read by code or switches something else on.
fn features(repo: &Repo, package: &Package<'_>, report: &mut Report) {
    for entry in package.entries.iter().filter(|e| e.section == "features") {
        let wanted = format!("feature = \"{}\"", entry.key);
        let is_read = repo.rust().any(|(file, rust)| {
            file.path.starts_with(package.folder) && rust.code_and_texts.contains(&wanted)
        });
        if !is_read && entry.texts().is_empty() && entry.key != "default" {
            report.find(
                &package.manifest.path,
                entry.line,
                format!("nobody reads feature {}", entry.key),
            );
        }
    }
}

/// Every Rust file is reached by `mod` from a root of its package.
fn modules(repo: &Repo, package: &Package<'_>, report: &mut Report) {
    let inside = |path: &str| {
        path.strip_prefix(package.folder)
            .is_some_and(|rest| rest.ends_with(".rs"))
    };
    let mut reached: BTreeSet<String> = repo
        .rust()
        .map(|(file, _)| file.path.clone())
        .filter(|path| inside(path) && is_root(package, path))
        .collect();
    let mut open: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let Some(file) = repo.file(&path) else {
            continue;
        };
        for child in children(file) {
            if repo.file(&child).is_some() && reached.insert(child.clone()) {
                open.push(child);
            }
        }
    }
    for (file, _) in repo.rust().filter(|(f, _)| inside(&f.path)) {
        if !reached.contains(&file.path) {
            report.find(&file.path, 1, "no `mod` includes this file");
        }
    }
}

fn is_root(package: &Package<'_>, path: &str) -> bool {
    let rest = &path[package.folder.len()..];
    let named = package
        .entries
        .iter()
        .any(|e| e.key == "path" && e.texts().iter().any(|t| t == rest));
    let parts: Vec<&str> = rest.split('/').collect();
    named
        || matches!(
            parts.as_slice(),
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
                | ["fuzz_targets", _]
        )
}

/// Files that a file may mean by its `mod x;` and `#[path = "…"]`.
fn children(file: &File) -> Vec<String> {
    let Some(rust) = &file.rust else {
        return Vec::new();
    };
    let folder = repo::module_folder(&file.path);
    let beside = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for at in mask::words(&rust.code, "mod") {
        if let Some(name) = mask::module_name(&rust.code[at..]) {
            found.push(format!("{folder}{name}.rs"));
            found.push(format!("{folder}{name}/mod.rs"));
        }
    }
    for (at, lead) in rust.code_and_texts.match_indices("#[path = \"") {
        let rest = &rust.code_and_texts[at + lead.len()..];
        let path = rest.split('"').next().unwrap_or_default();
        found.push(format!("{beside}/{path}"));
    }
    found
}

/// Fields that every manifest has.
fn fields(package: &Package<'_>, report: &mut Report) {
    let wanted = [
        ("package", "license"),
        ("package", "description"),
        ("package", "rust-version"),
        ("lints", "workspace"),
    ];
    for (section, key) in wanted {
        if !package.has(section, key) {
            report.find(
                &package.manifest.path,
                1,
                format!("[{section}] has no `{key}`"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::example;

    const TIDY: &str =
        "[arrows]\na = []\nb = [\"a\"]\n[heavy]\nbig = [\"b\"]\n[names]\nbig = [\"b/src/edge.rs\"]";

    fn manifest(name: &str, rest: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\nlicense = \"MIT\"\ndescription = \"\"\nrust-version = \"1\"\n[lints]\nworkspace = true\n{rest}"
        )
    }

    fn findings(a: &str, b: &str, lib: &str, edge: &str) -> Vec<String> {
        let mut report = Report::default();
        let repo = example(&[
            ("a/Cargo.toml", &manifest("a", a)),
            ("b/Cargo.toml", &manifest("b", b)),
            ("b/src/lib.rs", lib),
            ("b/src/edge.rs", edge),
            ("tidy.toml", TIDY),
        ]);
        check(&repo, &mut report);
        report.texts()
    }

    #[test]
    fn edges_point_one_way() {
        let up = "[dependencies]\nb.workspace = true";
        let down = "[dependencies]\na.workspace = true\nbig = \"1\"\n[dev-dependencies]\nb = \"1\"";
        assert_eq!(findings("", down, "mod edge;", "use big::x;"), [""; 0]);
        let found = findings(up, "", "mod edge;", "");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a/Cargo.toml:9: a must not depend on b"));
    }

    #[test]
    fn heavy_libraries_stay_at_their_edge() {
        assert_eq!(
            findings("[dev-dependencies]\nbig = \"1\"", "", "mod edge;", "").len(),
            1
        );
        assert_eq!(findings("", "", "mod edge; use big::x;", "").len(), 1);
        assert_eq!(findings("", "", "mod edge; // big", "").len(), 0);
    }

    #[test]
    fn orphans_and_dead_features_are_found() {
        let found = findings("[features]\nf = []", "[features]\nf = [\"dep:x\"]", "", "");
        assert!(found[0].contains("nobody reads feature f"));
        assert!(found[1].contains("b/src/edge.rs:1: no `mod`"));
        assert_eq!(found.len(), 2);
    }
}
