//! What a source knows after a restart, from its own state and from that of an earlier version.

use millstream_connectors_api::Position;

use super::*;

#[test]
fn state_and_replay_bring_a_source_back() {
    let world = World::new();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        world.put(name, "x\n", at);
    }
    let options = [("maxFilesPerTrigger", "1")];
    let mut source = world.open(&options);
    planned(source.as_mut());
    let state = source.state();
    let second = plan(source.as_mut()).expect("second");
    let latest = source.latest();
    drop(source);
    let mut again = world.open(&options);
    again.restore(&state).expect("own state");
    again.replay(&second).expect("own range");
    assert_eq!(again.latest(), latest);
    assert_eq!(names(again.as_ref(), &second), ["2"]);
    let third = plan(again.as_mut()).expect("third");
    assert_eq!(names(again.as_ref(), &third), ["3"]);
    assert_eq!(third.end.0, "{\"logOffset\":2}");
    let state = again.state();
    drop(again);
    let mut last = world.open(&options);
    last.restore(&state).expect("own state");
    assert_eq!(last.state(), state);
    assert_eq!(planned(last.as_mut()), ["4"]);
    assert_eq!(planned(last.as_mut()), [""; 0]);
    assert_eq!(code(last.restore(b"nonsense")), "EXE-003");
    assert_eq!(code(last.restore(b"[1]")), "EXE-003");
}

#[test]
fn a_plan_that_was_never_written_is_made_again() {
    let world = World::new();
    world.put("1", "one\n", 1);
    world.put("2", "two\n", 2);
    let options = [("maxFilesPerTrigger", "1")];
    let mut source = world.open(&options);
    let first = plan(source.as_mut()).expect("first");
    let lost = plan(source.as_mut()).expect("second");
    // Given up after it was read: what was found must not be held against its successor.
    assert_eq!(read(source.as_ref(), &lost).expect("reads"), "two\n");
    rest(source.as_ref());
    drop(source);
    world.put("0", "null\n", 0);
    let mut again = world.open(&options);
    again.replay(&first).expect("own range");
    let second = plan(again.as_mut()).expect("another second");
    assert_eq!(second.end, lost.end);
    assert_eq!(names(again.as_ref(), &second), ["0"]);
    assert_eq!(read(again.as_ref(), &second).expect("reads"), "null\n");
    assert_eq!(planned(again.as_mut()), ["2"]);
    assert_eq!(planned(again.as_mut()), [""; 0]);
}

#[test]
fn a_directory_has_one_name_however_it_is_spelled() {
    let world = World::new();
    world.put("in/a", "a\n", 1);
    world.put("in/k=1/b", "b\n", 2);
    std::os::unix::fs::symlink(world.path("in"), world.path("link")).expect("link");
    let open = |text: &str| {
        let path = world.dir.path().join(text);
        world.try_open(&path, &[]).expect("opens")
    };
    let mut source = open("in");
    assert_eq!(planned(source.as_mut()), ["a", "b"]);
    let state = source.state();
    for spelling in [
        "in/",
        "other/../in",
        "./in",
        "link",
        "link/../in/.",
        "i*",
        "in/{k=1,*}",
    ] {
        fs::create_dir_all(world.path("other")).expect("directory");
        let mut source = open(spelling);
        source.restore(&state).expect("own state");
        assert_eq!(planned(source.as_mut()), [""; 0], "{spelling}");
    }
    let address = format!("file://{}", world.path("in").display());
    let mut source = world.try_open(Path::new(&address), &[]).expect("opens");
    source.restore(&state).expect("own state");
    assert_eq!(planned(source.as_mut()), [""; 0]);
    world.put("copy/a", "a\n", 1);
    let mut source = open("copy");
    source.restore(&state).expect("own state");
    assert_eq!(planned(source.as_mut()), ["a"]);
}

/// What the version before journals wrote.
fn old_range(world: &World, number: u64, files: &[(&str, u64)]) -> PlannedRange {
    let files: Vec<String> = files
        .iter()
        .map(|(name, at_s)| {
            let path = world.path(name).display().to_string();
            let size = fs::metadata(&path).expect("is there").len();
            let mtime = old_ms(*at_s);
            format!(r#"{{"path":"{path}","size":{size},"mtime":{mtime}}}"#)
        })
        .collect();
    PlannedRange {
        start: None,
        end: Position(format!("{{\"logOffset\":{number}}}")),
        detail: format!(r#"{{"files":[{}]}}"#, files.join(",")).into_bytes(),
    }
}

fn old_ms(at_s: u64) -> i64 {
    NOW_MS - 100_000 + i64::try_from(at_s).expect("small") * 1_000
}

fn old_state(world: &World, files: &[(&str, u64)]) -> Vec<u8> {
    let newest = files.iter().map(|(_, at)| old_ms(*at)).max().expect("some");
    let files: Vec<String> = files
        .iter()
        .map(|(name, at_s)| format!(r#""{}":{}"#, world.path(name).display(), old_ms(*at_s)))
        .collect();
    let horizon = newest - 7 * 86_400_000;
    let seen = format!(
        r#"{{"files":{{{}}},"newest_ms":{newest},"horizon_ms":{horizon},"swept_ms":{horizon}}}"#,
        files.join(",")
    );
    format!("[1,{seen}]").into_bytes()
}

#[test]
fn a_checkpoint_of_the_version_before_journals_goes_on() {
    let world = World::new();
    for (name, at) in [("1", 1), ("2", 2), ("3", 3), ("4", 4)] {
        world.put(name, &format!("{name}\n"), at);
    }
    let options = [("maxFilesPerTrigger", "1")];
    let state = old_state(&world, &[("1", 1)]);
    let second = old_range(&world, 1, &[("2", 2)]);
    let mut source = world.open(&options);
    source.restore(&state).expect("an old state");
    source.replay(&second).expect("an old range");
    assert_eq!(read(source.as_ref(), &second).expect("reads"), "2\n");
    let third = plan(source.as_mut()).expect("third");
    assert_eq!(names(source.as_ref(), &third), ["3"]);
    assert_eq!(third.end.0, "{\"logOffset\":2}");
    drop(source);

    // No snapshot since: the old state once more, and ranges of both forms.
    let mut source = world.open(&options);
    source.restore(&state).expect("an old state");
    source.replay(&second).expect("an old range");
    source.replay(&third).expect("own range");
    assert_eq!(read(source.as_ref(), &third).expect("reads"), "3\n");
    assert_eq!(planned(source.as_mut()), ["4"]);
    let state = source.state();
    drop(source);

    let mut source = world.open(&options);
    source.restore(&state).expect("own state");
    assert_eq!(planned(source.as_mut()), [""; 0]);
    // An old plan is as strict as it was.
    world.put("2", "3\n", 2);
    world.put("1", "1\n", 5);
    assert_eq!(read(source.as_ref(), &second).expect("reads"), "3\n");
    world.put("2", "3\n", 5);
    assert_eq!(code(read(source.as_ref(), &second)), "CON-011");
}
