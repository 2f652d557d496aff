//! Every example prints what its first comment shows.

use std::process::Command;

fn check(program: &str, source: &str) {
    let output = Command::new(program).output().expect("the example starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let shown: Vec<&str> = source
        .lines()
        .skip_while(|line| *line != "//! ```text")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.strip_prefix("//!").map_or(line, str::trim_start))
        .collect();
    let printed = String::from_utf8_lossy(&output.stdout);
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    assert!(!shown.is_empty(), "the example shows its output");
    assert_eq!(printed, shown);
}

#[test]
fn website_traffic() {
    check(
        env!("CARGO_BIN_EXE_website_traffic"),
        include_str!("../src/bin/website_traffic.rs"),
    );
}

#[test]
fn hot_pages() {
    check(
        env!("CARGO_BIN_EXE_hot_pages"),
        include_str!("../src/bin/hot_pages.rs"),
    );
}

#[test]
fn ad_attribution() {
    check(
        env!("CARGO_BIN_EXE_ad_attribution"),
        include_str!("../src/bin/ad_attribution.rs"),
    );
}
