//! Our own scripts are scripts, and folders are played file by file.

use crate::host::hosts;
use millstream_testkit::script::{Answers, Counts, ScriptError, parse, run_paths};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("invariant: the folder is in the repository")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            scripts(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "stream") {
            found.push(path);
        }
    }
}

#[test]
fn every_script_of_the_suite_can_be_read_and_says_its_idea_first() {
    let mut found = Vec::new();
    scripts(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/stream"),
        &mut found,
    );
    assert!(found.len() > 100, "the suite is there");
    for path in found {
        let text = fs::read_to_string(&path).expect("invariant: scripts are text");
        assert!(
            text.starts_with("# "),
            "{} begins with its idea",
            path.display()
        );
        let script = parse(&text);
        assert!(
            script.is_ok_and(|s| !s.paragraphs.is_empty()),
            "{} is a script",
            path.display()
        );
    }
}

#[test]
fn a_folder_is_played_in_order_and_one_bad_file_does_not_hide_the_others() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("folder");
    fs::create_dir_all(folder.join("below")).expect("invariant: the build folder is ours");
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("invariant: the build folder is ours");
    };
    write(
        "a.stream",
        "statement\ntable t\n\nquery q append\npass t\n\ninput t\nx | 1\n\nexpect q\nx | 2.0\n",
    );
    write("b.stream", "nonsense\n");
    write("below/c.stream", "# nothing yet\n");
    write("below/notes.txt", "nonsense\n");
    let play = |answers| {
        run_paths(
            std::slice::from_ref(&folder),
            &[1, 2, 3],
            answers,
            &mut hosts,
        )
        .expect("invariant: the folder can be read")
    };
    let counts = |passed, failed, skipped| Counts {
        passed,
        failed,
        skipped,
    };
    let report = play(Answers::Check);
    assert_eq!(report.counts(), counts(0, 2, 1));
    assert_eq!(report.files.first().map(|file| file.cases.len()), Some(6));
    assert_eq!(play(Answers::Update).counts(), counts(1, 1, 1));
    assert_eq!(play(Answers::Check).counts(), counts(1, 1, 1));
    let missing = run_paths(&[folder.join("nope")], &[1], Answers::Check, &mut hosts);
    assert!(matches!(missing, Err(ScriptError::Unreadable { .. })));
}
