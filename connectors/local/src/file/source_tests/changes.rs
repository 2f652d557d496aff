//! Files and directories that change under a query: what is not read is said.

use super::*;
use crate::files;

/// What is said at a look that lists again, some seconds after the one before.
fn said_at(source: &mut dyn Source, looks: i64) -> Vec<(&'static str, String)> {
    assert_eq!(plan_at(source, NOW_MS + looks * 5_000), None);
    notices(source)
}

fn metrics(source: &dyn Source) -> Vec<(&'static str, u64)> {
    source.metrics()
}

#[test]
fn what_changes_after_it_was_read_is_said_once_a_file() {
    let world = World::new();
    for name in ["appended", "cut", "replaced", "same"] {
        world.put(name, "one\ntwo\n", 1);
    }
    let mut source = world.open(&[]);
    let range = plan(source.as_mut()).expect("files");
    read(source.as_ref(), &range).expect("reads");
    assert_eq!(said_at(source.as_mut(), 1), []);
    world.put("appended", "one\ntwo\nthree\n", 2);
    world.put("cut", "one\n", 1);
    world.put(".new", "six\nten\n", 3);
    files::rename(&world.path(".new"), &world.path("replaced")).expect("renames");
    let said = said_at(source.as_mut(), 2);
    assert_eq!(said.len(), 1, "{said:?}");
    let (code, text) = &said[0];
    assert_eq!(*code, "CON-016");
    for name in ["appended", "cut", "replaced", "count=3"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("same"), "{text}");
    // It goes on changing: that was said.
    world.put("appended", "one\ntwo\nthree\nfour\n", 4);
    assert_eq!(said_at(source.as_mut(), 3), []);
    world.put("same", "now it is not\n", 5);
    let said = said_at(source.as_mut(), 4);
    assert!(said.len() == 1 && said[0].1.contains("same") && !said[0].1.contains("/cut"));
    assert_eq!(metrics(source.as_ref()), [("filesChanged", 4)]);
    drop(source);
    // A restart knows what was read, and says once more what differs.
    let mut source = world.open(&[]);
    source.replay(&range).expect("own range");
    let said = said_at(source.as_mut(), 5);
    assert!(said.len() == 1 && said[0].1.contains("count=4"), "{said:?}");
    // Where the name alone counts that is how it is meant.
    let mut by_name = world.open(&[("fileNameOnly", "true")]);
    by_name.replay(&range).expect("own range");
    assert_eq!(said_at(by_name.as_mut(), 6), []);
}

#[test]
fn of_very_many_changes_the_count_is_said() {
    let world = World::new();
    for number in 0..40 {
        world.put(&format!("{number:02}"), "one\n", 1);
    }
    let mut source = world.open(&[]);
    plan(source.as_mut()).expect("files");
    let mut said = Vec::new();
    for number in 0..40 {
        world.put(&format!("{number:02}"), "one\ntwo\n", 1);
        said.extend(said_at(source.as_mut(), 1 + number));
    }
    let counts: Vec<&str> = said
        .iter()
        .map(|(_, text)| {
            let (_, rest) = text.split_once("count=").expect("a count");
            rest.split_once(' ').expect("more").0
        })
        .collect();
    assert_eq!(counts, ["1", "2", "3", "4", "5", "6", "7", "8", "16", "32"]);
    assert_eq!(metrics(source.as_ref()), [("filesChanged", 40)]);
}

#[test]
fn a_directory_of_very_many_files_is_compared_in_turns() {
    let world = World::new();
    for number in 0..3_000 {
        world.put(&format!("{number}"), "x\n", 1);
    }
    let mut source = world.open(&[]);
    plan(source.as_mut()).expect("files");
    for number in 0..3_000 {
        world.put(&format!("{number}"), "xy\n", 1);
    }
    let mut counts = Vec::new();
    for look in 1..4 {
        said_at(source.as_mut(), look);
        counts.push(metrics(source.as_ref())[0].1);
    }
    assert!(counts[0] < 2_000 && counts[0] > 0, "{counts:?}");
    assert_eq!(counts.last(), Some(&3_000));
}

#[test]
fn a_file_that_comes_too_old_is_said() {
    let world = World::new();
    world.put("new", "x\n", 1_000_000);
    let mut source = world.open(&[("maxFileAge", "1h")]);
    plan_at(source.as_mut(), NOW_MS + 2_000_000_000).expect("a file");
    world.put("old", "x\n", 1);
    let at = NOW_MS + 2_000_010_000;
    assert_eq!(plan_at(source.as_mut(), at), None);
    let said = notices(source.as_mut());
    assert!(said.len() == 1 && said[0].0 == "CON-015", "{said:?}");
    assert!(
        said[0].1.contains("/old") && said[0].1.contains("maxFileAge"),
        "{said:?}"
    );
    assert_eq!(plan_at(source.as_mut(), at + 10_000), None);
    assert_eq!(notices(source.as_mut()), []);
    assert_eq!(metrics(source.as_ref()), [("filesTooOld", 1)]);
}

#[test]
fn a_directory_that_vanishes_is_said() {
    let world = World::new();
    world.put("in/a", "x\n", 1);
    let mut source = world.try_open(&world.path("in"), &[]).expect("opens");
    plan(source.as_mut()).expect("a file");
    files::rename(&world.path("in"), &world.path("away")).expect("renames");
    let said = said_at(source.as_mut(), 1);
    assert!(said.len() == 1 && said[0].0 == "CON-005", "{said:?}");
    assert_eq!(said_at(source.as_mut(), 2), []);
    files::rename(&world.path("away"), &world.path("in")).expect("renames");
    world.put("in/b", "x\n", 2);
    let range = plan_at(source.as_mut(), NOW_MS + 60_000).expect("the other");
    assert_eq!(names(source.as_ref(), &range), ["b"]);
    files::rename(&world.path("in"), &world.path("away")).expect("renames");
    assert_eq!(said_at(source.as_mut(), 20).len(), 1);
}

#[test]
fn what_still_changes_when_the_input_is_fixed_is_said() {
    let world = World::new();
    world.put("ready", "x\n", 1);
    world.put("growing", "x\n", WRITTEN_S);
    let mut source = world.open(&[("settleTime", "10s")]);
    source.freeze(NOW_MS + 1_000).expect("lists");
    assert_eq!(planned(source.as_mut()), ["ready"]);
    let said = notices(source.as_mut());
    assert!(
        said.len() == 1 && said[0].1.contains("/growing"),
        "{said:?}"
    );
    assert!(said[0].1.contains("settleTime"), "{said:?}");
}

#[test]
fn an_archived_name_that_comes_again_is_said() {
    let world = World::new();
    world.put("in/a", "x\n", 1);
    let archive = world.path("archive");
    let options = [
        ("cleanSource", "archive"),
        ("sourceArchiveDir", archive.to_str().expect("UTF-8")),
    ];
    let mut source = world.try_open(&world.path("in"), &options).expect("opens");
    let range = plan(source.as_mut()).expect("a file");
    read(source.as_ref(), &range).expect("reads");
    source.settled(&range).expect("cleans");
    assert!(!world.path("in/a").exists());
    // As in Spark a path counts as seen, whatever became of the file.
    world.put("in/a", "y\n", 2);
    let said = said_at(source.as_mut(), 1);
    assert!(said.len() == 1 && said[0].0 == "CON-016", "{said:?}");
}

#[test]
fn a_source_knows_where_it_reads() {
    let world = World::new();
    world.put("in/x=1/a", "x\n", 1);
    let reads = |path: &str, place: &str| {
        let source = world.try_open(&world.path(path), &[]).expect("opens");
        source.reads_from(&world.path(place)).expect("looks")
    };
    for (path, place, expected) in [
        ("in", "in", true),
        ("in", "in/out", true),
        ("in", ".", true),
        ("in", "in/../in", true),
        ("in", "out", false),
        ("in", "inner", false),
        ("in/x=*", "in/x=2", true),
        ("in/x=*", "in/y", false),
    ] {
        assert_eq!(reads(path, place), expected, "{path} {place}");
    }
}
