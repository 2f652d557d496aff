//! `cleanSource`: what becomes of files behind the snapshots.

use super::*;

fn left(world: &World, below: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(world.path(below))
        .expect("lists")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn files_go_when_nothing_needs_them() {
    let world = World::new();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        world.put(&format!("in/{name}"), "x\n", at);
    }
    let options = [("maxFilesPerTrigger", "1"), ("cleanSource", "DELETE")];
    let open = || world.try_open(&world.path("in"), &options).expect("opens");
    let mut source = open();
    let first = plan(source.as_mut()).expect("first");
    let second = plan(source.as_mut()).expect("second");
    let third = plan(source.as_mut()).expect("third");
    assert_eq!(left(&world, "in"), ["1", "2", "3", "4"]);
    source.settled(&first).expect("cleans");
    assert_eq!(left(&world, "in"), ["2", "3", "4"]);
    let state = source.state();
    drop(source);
    // A restart does not lose what is still to be cleaned; a file that changed stays.
    world.put("in/2", "x\nmore\n", 2);
    let mut source = open();
    source.restore(&state).expect("own state");
    source.settled(&second).expect("cleans");
    source.settled(&third).expect("cleans");
    assert_eq!(left(&world, "in"), ["2", "4"]);
    let said = notices(source.as_mut());
    assert!(
        said.len() == 1 && said[0].0 == "CON-017" && said[0].1.contains("/in/2"),
        "{said:?}"
    );
    // It counts as seen all the same.
    assert_eq!(planned(source.as_mut()), ["4"]);
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn an_archive_keeps_the_whole_path_and_overwrites_nothing() {
    let world = World::new();
    world.put("in/k=1/a", "a\n", 1);
    world.put("in/b", "b\n", 2);
    let archive = world.path("archive");
    let text = archive.to_str().expect("UTF-8").to_owned();
    let options = [
        ("cleanSource", "archive"),
        ("sourceArchiveDir", text.as_str()),
    ];
    let mut source = world.try_open(&world.path("in"), &options).expect("opens");
    let range = plan(source.as_mut()).expect("files");
    let inside = fs::canonicalize(world.path("in")).expect("is there");
    let target = archive.join(inside.strip_prefix("/").expect("absolute"));
    fs::create_dir_all(&target).expect("directory");
    fs::write(target.join("b"), "older\n").expect("write");
    source.settled(&range).expect("cleans");
    assert_eq!(
        fs::read_to_string(target.join("k=1/a")).expect("archived"),
        "a\n"
    );
    assert_eq!(
        fs::read_to_string(target.join("b")).expect("kept"),
        "older\n"
    );
    assert_eq!(left(&world, "in"), ["b", "k=1"]);
    assert_eq!(
        notices(source.as_mut()).first().map(|(code, _)| *code),
        Some("CON-017")
    );
    // Done again it changes nothing.
    source.settled(&range).expect("cleans");
    assert_eq!(left(&world, "in"), ["b", "k=1"]);

    let inner = format!("{}/in/archive", world.dir.path().display());
    let options = [
        ("cleanSource", "archive"),
        ("sourceArchiveDir", inner.as_str()),
    ];
    assert_eq!(code(world.try_open(&world.path("in"), &options)), "CON-003");
}

#[test]
fn very_many_files_are_cleaned_a_few_at_a_time() {
    let world = World::new();
    for number in 0..5_000 {
        fs::create_dir_all(world.path("in")).expect("directory");
        fs::write(world.path("in").join(number.to_string()), "x").expect("write");
    }
    let options = [("cleanSource", "delete")];
    let mut source = world.try_open(&world.path("in"), &options).expect("opens");
    let range = plan(source.as_mut()).expect("files");
    source.settled(&range).expect("cleans");
    assert_eq!(left(&world, "in").len(), 5_000 - 4_096);
    assert_eq!(planned(source.as_mut()), [""; 0]);
    let some = left(&world, "in").len();
    assert!(0 < some && some < 904, "{some}");
    while !left(&world, "in").is_empty() {
        assert_eq!(planned(source.as_mut()), [""; 0]);
    }
    assert_eq!(notices(source.as_mut()), []);
}

#[test]
fn what_a_snapshot_stands_for_is_cleaned_after_a_restart() {
    let world = World::new();
    world.put("in/1", "x\n", 1);
    world.put("in/2", "x\n", 2);
    let options = [("maxFilesPerTrigger", "1"), ("cleanSource", "delete")];
    let open = || world.try_open(&world.path("in"), &options).expect("opens");
    let mut source = open();
    assert_eq!(source.standing(), None);
    planned(source.as_mut());
    let state = source.state();
    drop(source);
    let mut source = open();
    source.restore(&state).expect("own state");
    let standing = source.standing().expect("a range was planned");
    assert_eq!(names(source.as_ref(), &standing), [""; 0]);
    assert_eq!(planned(source.as_mut()), ["2"]);
    source.settled(&standing).expect("cleans");
    assert_eq!(left(&world, "in"), ["2"]);
}
