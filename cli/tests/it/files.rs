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
