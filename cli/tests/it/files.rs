//! Files that are read by a real process: what is cleaned behind it, what else lies in a directory.

use millstream_testkit::baton::Random;

use crate::process::Place;

const NOW: &str = "available-now";

/// proves P1: cleaning takes no file that a restart still needs.
#[test]
fn a_killed_process_cleans_behind_itself() {
    const FILES: u64 = 24;
    let whole = Place::new("uncleaned", FILES);
    let (code, said) = whole.start(&whole.sql(10), NOW, 2).end();
    assert_eq!(code, Some(0), "{said}");
    let expected = whole.output();
    let place = Place::new("cleaned", FILES);
    let sql = place.sql(10).replace(
        "maxFilesPerTrigger",
        "cleanSource = 'delete', maxFilesPerTrigger",
    );
    let mut random = Random::new(7);
    for start in 0.. {
        let mut running = place.start(&sql, NOW, 1 + random.below(3));
        let epochs = if start < 8 {
            1 + random.below(6)
        } else {
            usize::MAX
        };
        if running.wait_for_epochs(epochs) < epochs {
            let (code, said) = running.end();
            assert_eq!(code, Some(0), "{said}");
            break;
        }
        running.kill();
    }
    assert_eq!(place.output(), expected);
    let left = place.inputs();
    assert!(left.len() < 24, "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_directory_may_hold_other_things_and_have_other_names() {
    let place = Place::new("odd", 3);
    let root = place.root();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("in/socket.json"));
    std::os::unix::fs::symlink(".", root.join("in/here")).expect("links work");
    std::os::unix::fs::symlink("in", root.join("link")).expect("links work");
    let sql = |path: &str| {
        let here = format!("path = '{}/in'", root.display());
        let there = format!(
            "path = '{}/{path}', recursiveFileLookup = 'true'",
            root.display()
        );
        place.sql(10).replace(&here, &there)
    };
    let (code, said) = place.start(&sql("in"), NOW, 1).end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("CON-015"), "{said}");
    let once = place.output();
    for path in ["link", "in/../in/", "link/here"] {
        let (code, said) = place.start(&sql(path), NOW, 2).end();
        assert_eq!(code, Some(0), "{path} {said}");
        assert_eq!(place.output(), once, "{path}");
    }
}

/// Rows as they come: no epoch needs another.
fn stateless(place: &Place) -> String {
    let root = place.root().display();
    format!(
        "CREATE TABLE e (at TIMESTAMP, k STRING, n BIGINT)
         WITH (connector = 'file', format = 'json', maxFilesPerTrigger = '1', path = '{root}/in');
         CREATE TABLE o WITH (connector = 'file', format = 'json', path = '{root}/out');
         INSERT INTO o SELECT at, k, n FROM e WHERE n > 5;"
    )
}

/// Removes the first of the input, as far as it is there.
fn remove_first(place: &Place, files: usize) {
    for file in 0..files {
        let path = place.root().join(format!("in/{file:04}.json"));
        if path.exists() {
            std::fs::remove_file(path).expect("it is ours");
        }
    }
}

/// After a crash without a snapshot a query whose epochs stand alone needs no committed input; one that
/// counts does.
#[test]
fn committed_input_is_needed_for_state_only() {
    // So many that a process is not through them before it is killed.
    const FILES: u64 = 300;
    let whole = Place::new("stateless-whole", FILES);
    let (code, said) = whole.start(&stateless(&whole), NOW, 2).end();
    assert_eq!(code, Some(0), "{said}");

    let place = Place::new("stateless", FILES);
    let sql = stateless(&place);
    for start in 1..4 {
        let mut running = place.start_with(&sql, NOW, 2, "1 day");
        assert_eq!(running.wait_for_epochs(3), 3);
        running.kill();
        // Each epoch is reported after the record of the one before it.
        let reported = 3 * start;
        remove_first(&place, reported - 1);
    }
    let (code, said) = place.start(&sql, NOW, 1).end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(place.output(), whole.output());

    let place = Place::new("stateful", FILES);
    let mut running = place.start_with(&place.sql(10), NOW, 2, "1 day");
    assert_eq!(running.wait_for_epochs(3), 3);
    running.kill();
    remove_first(&place, 2);
    let (code, said) = place.start(&place.sql(10), NOW, 1).end();
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("CON-011"), "{said}");
}

/// When nothing comes any more, the last files are cleaned, too: an epoch without rows makes the second
/// snapshot.
#[cfg(unix)]
#[test]
fn an_idle_query_cleans_its_last_files() {
    const FILES: u64 = 5;
    let place = Place::new("idle-cleaning", FILES);
    let sql = stateless(&place).replace(
        "maxFilesPerTrigger = '1'",
        "cleanSource = 'delete', maxFilesPerTrigger = '1'",
    );
    let mut running = place.start(&sql, "default", 1);
    // One epoch a file, and one that has none.
    assert_eq!(running.wait_for_epochs(6), 6);
    running.ask_to_end();
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(place.inputs(), [""; 0], "{said}");
    let epochs = said.lines().filter(|line| line.starts_with('{')).count();
    assert_eq!(epochs, 6, "{said}");
}
