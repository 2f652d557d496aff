//! What happens to files between a listing, a plan, a reading and the next one.

use millstream_connectors_api::Prefetch;

use super::*;

#[test]
fn what_is_no_file_is_passed_over_and_said_once() {
    let world = World::new();
    world.put("a", "a\n", 1);
    world.put("sub/b", "b\n", 2);
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).expect("socket");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, world.path(name)).expect("link");
    };
    link("round", "round");
    link(".", "here");
    link("..", "sub/up");
    link("sub", "sub2");
    link("nowhere", "dangling");
    link("socket", "to-socket");
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.json");
    fs::write(world.dir.path().join::<&std::ffi::OsStr>(odd), "x\n").expect("write");
    let mut source = world.open(&[("recursiveFileLookup", "true")]);
    // By one name of its directory and by the other, as they were found.
    assert_eq!(planned(source.as_mut()), ["a", "b", "b"]);
    let said = notices(source.as_mut());
    assert_eq!(
        said.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
        ["CON-015"; 3]
    );
    assert!(
        said[0].1.contains("count=2") && said[0].1.contains("no regular file"),
        "{said:?}"
    );
    assert!(
        said[1].1.contains("count=1") && said[1].1.contains("UTF-8"),
        "{said:?}"
    );
    assert!(
        said[2].1.contains("count=4") && said[2].1.contains("circle"),
        "{said:?}"
    );
    assert_eq!(planned(source.as_mut()), [""; 0]);
    assert_eq!(notices(source.as_mut()), []);
}

#[test]
fn a_file_that_still_grows_is_left_alone() {
    let world = World::new();
    world.put("done", "x\n", 1);
    world.put("slow", "x\n", WRITTEN_S);
    let mut source = world.open(&[("settleTime", "5s")]);
    assert_eq!(planned(source.as_mut()), ["done"]);
    let mut at =
        |ms: i64| plan_at(source.as_mut(), NOW_MS + ms).map(|range| names(source.as_ref(), &range));
    assert_eq!(at(4_000), None);
    world.put("slow", "xy\n", WRITTEN_S + 4);
    assert_eq!(at(8_000), None);
    // A clock ahead of ours: it must stand still by ours.
    world.put("ahead", "x\n", WRITTEN_S + 3_600);
    assert_eq!(at(9_000), Some(vec!["slow".to_owned()]));
    assert_eq!(at(13_999), None);
    world.put("ahead", "yx\n", WRITTEN_S + 3_600);
    assert_eq!(at(14_001), None);
    assert_eq!(at(19_000), None);
    assert_eq!(at(19_001), Some(vec!["ahead".to_owned()]));
    assert_eq!(at(30_000), None);
}

#[test]
fn what_is_gone_before_it_is_planned_is_not_planned() {
    let world = World::new();
    for name in ["1", "2", "3"] {
        world.put(name, "x\n", 1);
    }
    let mut source = world.open(&[("maxFilesPerTrigger", "1")]);
    assert_eq!(planned(source.as_mut()), ["1"]);
    fs::remove_file(world.path("2")).expect("remove");
    world.put("3", "longer\n", 1);
    let range = plan(source.as_mut()).expect("the third");
    assert_eq!(names(source.as_ref(), &range), ["3"]);
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "longer\n");
}

#[test]
fn a_file_from_the_future_hides_nothing() {
    let world = World::new();
    world.put("future", "x\n", 365 * 86_400);
    let mut source = world.open(&[("maxFileAge", "10s")]);
    let first = plan(source.as_mut()).expect("first");
    assert_eq!(names(source.as_ref(), &first), ["future"]);
    world.put("now", "x\n", WRITTEN_S);
    world.put("too old", "x\n", WRITTEN_S - 11);
    drop(source);
    // A replay decides alike, whatever the clock says by then.
    let mut source = world.open(&[("maxFileAge", "10s")]);
    source.replay(&first).expect("own range");
    assert_eq!(planned(source.as_mut()), ["now"]);
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

#[test]
fn what_was_added_after_the_plan_is_not_read() {
    let world = World::new();
    world.put("a", "one\n", 1);
    let mut source = world.open(&[]);
    let range = plan(source.as_mut()).expect("a file");
    world.put("a", "one\ntwo\n", 9);
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
    let said = notices(source.as_mut());
    assert!(said.len() == 1 && said[0].0 == "CON-016", "{said:?}");
    rest(source.as_ref());
    drop(source);
    // Read again after a restart: what was read is still there, what follows does not matter.
    let mut source = world.open(&[]);
    source.replay(&range).expect("own range");
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
    assert_eq!(planned(source.as_mut()), [""; 0]);
}

/// Plans and reads one file, and starts again.
fn read_once(world: &World, options: &[(&str, &str)]) -> (Box<dyn Source>, PlannedRange) {
    let mut source = world.open(options);
    let range = plan(source.as_mut()).expect("a file");
    read(source.as_ref(), &range).expect("reads");
    rest(source.as_ref());
    drop(source);
    let mut source = world.open(options);
    source.replay(&range).expect("own range");
    (source, range)
}

#[test]
fn other_bytes_of_the_same_size_and_time_are_con_011() {
    let world = World::new();
    world.put("a", "one\n", 1);
    let (source, range) = read_once(&world, &[]);
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
    world.put("a", "two\n", 1);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    world.put("a", "on", 1);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    fs::remove_file(world.path("a")).expect("remove");
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    // Back as it was, though by another time: the bytes count.
    world.put("a", "one\n", 50);
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
}

#[test]
fn without_a_record_size_and_time_must_agree() {
    let world = World::new();
    world.put("a", "one\n", 1);
    let mut source = world.open(&[]);
    let range = plan(source.as_mut()).expect("a file");
    drop(source);
    let mut source = world.open(&[]);
    source.replay(&range).expect("own range");
    world.put("a", "one\ntwo\n", 1);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    world.put("a", "one\n", 2);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    world.put("a", "one\n", 1);
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "one\n");
}

#[test]
fn a_missing_file_is_passed_over_for_good() {
    let world = World::new();
    world.put("a", "a\n", 1);
    world.put("b", "b\n", 2);
    let strict = &[][..];
    let lenient = &[("ignoreMissingFiles", "true")][..];
    let mut source = world.open(strict);
    let range = plan(source.as_mut()).expect("files");
    fs::remove_file(world.path("a")).expect("remove");
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    drop(source);
    let mut source = world.open(lenient);
    source.replay(&range).expect("own range");
    assert_eq!(read(source.as_ref(), &range).expect("reads"), "b\n");
    let said = notices(source.as_mut());
    assert!(
        said.len() == 1 && said[0].0 == "CON-016" && said[0].1.contains("gone"),
        "{said:?}"
    );
    drop(source);
    // It is back; the epoch may have been committed without it.
    world.put("a", "a\n", 1);
    for options in [strict, lenient] {
        let mut source = world.open(options);
        source.replay(&range).expect("own range");
        assert_eq!(read(source.as_ref(), &range).expect("reads"), "b\n");
        rest(source.as_ref());
    }
    // What was read is not passed over: rows of it may be out.
    fs::remove_file(world.path("b")).expect("remove");
    assert_eq!(
        code(read(source_of(&world, lenient, &range).as_ref(), &range)),
        "CON-011"
    );
}

fn source_of(world: &World, options: &[(&str, &str)], range: &PlannedRange) -> Box<dyn Source> {
    let mut source = world.open(options);
    source.replay(range).expect("own range");
    source
}

#[test]
fn the_rest_of_an_unreadable_file_is_left_for_good() {
    let world = World::new();
    let text = format!("{}\nlonger than ten bytes\nz\n", "x\n".repeat(600_000));
    world.put("a", &text, 1);
    world.put("b", "b\n", 2);
    let options = [("maxLineBytes", "10"), ("ignoreCorruptFiles", "true")];
    let (source, range) = read_once(&world, &options);
    let strict = [("maxLineBytes", "10")];
    let first = read(source.as_ref(), &range).expect("reads");
    // A piece of a mebibyte was good; the one with the long line is left whole.
    assert_eq!(first, format!("{}b\n", "x\n".repeat(1 << 19)));
    drop(source);
    // The same with a longer limit: what was given is what is given.
    let again = source_of(&world, &[("maxLineBytes", "1000")], &range);
    assert_eq!(read(again.as_ref(), &range).expect("reads"), first);

    let other = World::new();
    other.put("a", &text, 1);
    let mut source = other.open(&strict);
    let range = plan(source.as_mut()).expect("a file");
    assert_eq!(code(read(source.as_ref(), &range)), "CON-012");
}

#[test]
fn changes_may_be_accepted() {
    let world = World::new();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        world.put(name, &format!("{name}\n"), at);
    }
    let (mut source, range) = read_once(&world, &[]);
    fs::remove_file(world.path("1")).expect("remove");
    world.put("2", "two and more\n", 9);
    world.put("3", "\n", 9);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
    source.accept_changes(&range).expect("can be accepted");
    let accepted = "two and more\n\n4\n";
    assert_eq!(read(source.as_ref(), &range).expect("reads"), accepted);
    assert_eq!(notices(source.as_mut()).len(), 1);
    drop(source);
    // What was taken then is what counts from now on, also without the user's word.
    let source = source_of(&world, &[], &range);
    assert_eq!(
        read(source.as_ref(), &range)
            .err()
            .map(|error| error.code().0),
        None
    );
    world.put("2", "Two and more\n", 9);
    assert_eq!(code(read(source.as_ref(), &range)), "CON-011");
}

#[test]
fn what_comes_next_is_read_ahead() {
    let world = World::new();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        world.put(name, &format!("{name}\n"), at);
    }
    let mut source = world.open(&[("maxFilesPerTrigger", "1")]);
    let mut reader = source.reader().expect("a reader");
    assert_eq!(reader.prefetch(1 << 24), Prefetch::Nothing);
    let first = plan(source.as_mut()).expect("first");
    // No room for a piece.
    assert_eq!(reader.prefetch(1 << 10), Prefetch::Nothing);
    let mut steps = 0;
    while reader.prefetch(1 << 24) == Prefetch::Some {
        steps += 1;
    }
    // Each file and its end.
    assert_eq!(steps, 6);
    // What was read ahead counts as long as size and time agree.
    world.put("2", "B\n", 2);
    world.put("3", "C\n", 30);
    fs::remove_file(world.path("4")).expect("remove");
    assert_eq!(read(source.as_ref(), &first).expect("reads"), "1\n");
    for expected in ["2\n", "C\n"] {
        let range = plan(source.as_mut()).expect("a file");
        assert_eq!(read(source.as_ref(), &range).expect("reads"), expected);
    }
    assert_eq!(plan(source.as_mut()), None);
}

#[test]
fn reading_ahead_keeps_to_its_room_and_goes_on_where_it_was() {
    let world = World::new();
    let long = "some line\n".repeat(400_000);
    world.put("1", "one\n", 1);
    world.put("2", &long, 2);
    let mut source = world.open(&[("maxFilesPerTrigger", "1")]);
    plan(source.as_mut()).expect("first");
    let mut reader = source.reader().expect("a reader");
    let mut steps = 0;
    while reader.prefetch(3 << 20) == Prefetch::Some {
        steps += 1;
    }
    assert_eq!(steps, 2);
    let range = plan(source.as_mut()).expect("second");
    assert!(read(source.as_ref(), &range).expect("reads") == long);
    // What was found is what a file read in one go gives.
    assert!(read(source.as_ref(), &range).expect("reads again") == long);
}
