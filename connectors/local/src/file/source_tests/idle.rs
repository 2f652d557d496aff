//! What a source does while nothing comes.

use std::time::Duration;

use millstream_connectors_api::Ask;

use super::*;

fn set_directory_time(world: &World, name: &str, before_now_s: u64) {
    let since_1970 = Duration::from_millis(NOW_MS.unsigned_abs()) - seconds(before_now_s);
    set_time(&world.path(name), since_1970);
}

#[test]
fn a_directory_is_listed_again_only_when_it_may_have_changed() {
    let world = World::new();
    world.put("in/1", "x\n", 1);
    set_directory_time(&world, "in", 50);
    let mut source = world.try_open(&world.path("in"), &[]).expect("opens");
    let mut at = |ms: i64| {
        let range = plan_at(source.as_mut(), NOW_MS + ms);
        range
            .map(|range| names(source.as_ref(), &range))
            .unwrap_or_default()
    };
    assert_eq!(at(0), ["1"]);
    // The directory says that nothing came, so nobody looks; soon somebody does all the same.
    world.put("in/2", "x\n", 2);
    set_directory_time(&world, "in", 50);
    assert_eq!(at(999), [""; 0]);
    assert_eq!(at(1_000), ["2"]);
    // It says that something came.
    world.put("in/3", "x\n", 3);
    set_directory_time(&world, "in", 40);
    assert_eq!(at(1_010), ["3"]);
    // Listed in the second in which it changed: more may have come since.
    world.put("in/4", "x\n", 4);
    set_directory_time(&world, "in", 0);
    assert_eq!(at(1_020), ["4"]);
    world.put("in/5", "x\n", 5);
    set_directory_time(&world, "in", 0);
    assert_eq!(at(1_999), ["5"]);
    assert_eq!(at(2_000), [""; 0]);
    world.put("in/6", "x\n", 6);
    set_directory_time(&world, "in", 0);
    assert_eq!(at(2_001), [""; 0]);
    assert_eq!(at(3_000), ["6"]);
}

#[test]
fn each_directory_of_a_tree_speaks_for_itself() {
    let world = World::new();
    world.put("in/a/1", "x\n", 1);
    world.put("in/b/2", "x\n", 2);
    for name in ["in", "in/a", "in/b"] {
        set_directory_time(&world, name, 50);
    }
    for (path, options) in [
        ("in", &[("recursiveFileLookup", "true")][..]),
        ("i?/*", &[]),
    ] {
        let other = World::new();
        let mut source = other.try_open(&world.path(path), options).expect("opens");
        assert_eq!(planned(source.as_mut()), ["1", "2"], "{path}");
    }
    let mut source = world
        .try_open(&world.path("in"), &[("recursiveFileLookup", "true")])
        .expect("opens");
    assert_eq!(planned(source.as_mut()), ["1", "2"]);
    world.put("in/a/3", "x\n", 3);
    set_directory_time(&world, "in/a", 50);
    world.put("in/b/4", "x\n", 4);
    set_directory_time(&world, "in/b", 49);
    assert_eq!(planned(source.as_mut()), ["4"]);
    // A new directory changes the one above it; one that goes takes its files along.
    fs::remove_dir_all(world.path("in/b")).expect("remove");
    world.put("in/c/5", "x\n", 5);
    assert_eq!(planned(source.as_mut()), ["5"]);
    world.put("in/b/6", "x\n", 6);
    assert_eq!(planned(source.as_mut()), ["6"]);
}

#[test]
fn the_longer_nothing_comes_the_less_often_somebody_looks() {
    let world = World::new();
    world.put("1", "x\n", 1);
    let mut source = world.open(&[]);
    planned(source.as_mut());
    let mut asked = 0;
    let mut now_ms = NOW_MS;
    let mut waits = Vec::new();
    while now_ms < NOW_MS + 10_000 {
        assert_eq!(plan_at(source.as_mut(), now_ms), None);
        let Ask::After(wait) = source.ask_again(now_ms) else {
            unreachable!("a directory does not call");
        };
        waits.push(wait);
        now_ms += i64::try_from(wait.as_millis()).expect("short");
        asked += 1;
    }
    assert_eq!(waits.first(), Some(&Duration::from_millis(10)));
    assert_eq!(waits.last(), Some(&Duration::from_millis(250)));
    assert!(waits.is_sorted() && asked < 80, "{asked} {waits:?}");
    world.put("2", "x\n", 2);
    assert!(plan_at(source.as_mut(), now_ms).is_some());
    assert_eq!(
        source.ask_again(now_ms),
        Ask::After(Duration::from_millis(10))
    );
    // A clock that was set back does not put it to sleep.
    assert_eq!(source.ask_again(0), Ask::After(Duration::from_millis(10)));
}
