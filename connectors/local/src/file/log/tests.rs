//! That readers of Spark find every entry, that the log stays short, and what damage is.

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use millstream_connectors_api::ConnectorError;
use millstream_types::Epoch;

use super::{DIRECTORY, Followed, LogWriter, LoggedFile, follow, schedule::Schedule};
use crate::{
    file::tests::{code, dir},
    files::{Stat, fault},
};

/// How Spark's readers find the entries to read, from the names alone.
mod spark {
    use std::collections::BTreeSet;

    /// The interval of a log: the distance of the two newest compact entries; with only one, the
    /// first divisor of its number plus one that is not below the reader's setting.
    pub(super) fn interval(compacts: &[u64], default: u64) -> u64 {
        match compacts {
            [] => default,
            [only] => {
                let count = only + 1;
                if count <= default || default >= count / 2 {
                    return count;
                }
                let divisors = (default..=count / 2).find(|divisor| count.is_multiple_of(*divisor));
                divisors.unwrap_or(count)
            }
            [.., older, newest] => newest - older,
        }
    }

    /// The names of the entries that are read.
    pub(super) fn entries(names: &BTreeSet<String>, default: u64) -> Vec<String> {
        let compacts = names
            .iter()
            .filter_map(|name| name.strip_suffix(".compact"));
        let mut compacts: Vec<u64> = compacts.filter_map(|name| name.parse().ok()).collect();
        compacts.sort_unstable();
        let interval = interval(&compacts, default);
        let plain = names.iter().filter_map(|name| name.parse().ok());
        let Some(latest) = plain.chain(compacts).max() else {
            return Vec::new();
        };
        let first = ((latest + 1) / interval * interval).saturating_sub(1);
        let is_compact = |epoch: u64| (epoch + 1).is_multiple_of(interval);
        (first..=latest)
            .map(|epoch| {
                let suffix = if is_compact(epoch) { ".compact" } else { "" };
                format!("{epoch}{suffix}")
            })
            .collect()
    }
}

/// The lines of an epoch with a file named after it.
fn lines(root: &Path, epoch: u64, modified_ms: i64) -> Vec<u8> {
    let stat = Stat {
        size: 10,
        modified_ms,
        modified_ns: modified_ms.saturating_mul(1_000_000),
        changed_ms: 0,
        is_dir: false,
        is_regular: true,
        id: crate::files::FileId {
            device: 1,
            inode: 1,
        },
    };
    let mut lines = Vec::new();
    LoggedFile::added(&root.join(epoch.to_string()), stat, &mut lines).expect("a line");
    lines
}

fn log(root: &Path) -> LogWriter {
    fs::create_dir_all(root.join(DIRECTORY)).expect("directory");
    LogWriter::open(root, None).expect("opens")
}

fn fill(root: &Path, epochs: Range<u64>) {
    let mut log = log(root);
    for epoch in epochs {
        log.append(Epoch(epoch), &lines(root, epoch, 0))
            .expect("appends");
    }
}

fn names(root: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join(DIRECTORY)).expect("lists");
    let names = entries.map(|entry| entry.expect("lists").file_name());
    names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect()
}

/// The epochs whose files our reader finds.
fn found(root: &Path, after: Option<u64>) -> Result<Vec<u64>, ConnectorError> {
    let mut found = Vec::new();
    follow(root, after.map(Epoch), &mut |path| {
        let name = path.file_name().and_then(|name| name.to_str());
        found.push(name.expect("a name").parse().expect("a number"));
        Ok(())
    })?;
    Ok(found)
}

/// The epochs whose files a reader of Spark finds.
fn spark_found(root: &Path, default: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for name in spark::entries(&names(root), default) {
        let path = root.join(DIRECTORY).join(&name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut lines = text.split('\n');
        assert_eq!(lines.next(), Some("v1"));
        for line in lines {
            let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let path = entry["path"].as_str().expect("a path");
            found.push(
                path.rsplit('/')
                    .next()
                    .unwrap_or("")
                    .parse()
                    .expect("a number"),
            );
        }
    }
    found
}

#[test]
fn spark_and_we_find_every_entry_of_a_log_of_any_length() {
    fault::without(|| {
        for first in [0, 1, 8, 9, 10, 57, 100, 1_000_002] {
            check_log_from(first);
        }
    });
}

fn check_log_from(first: u64) {
    let dir = dir();
    let mut log = log(dir.path());
    let mut reading = None;
    for epoch in first..first + 170 {
        log.append(Epoch(epoch), &lines(dir.path(), epoch, 0))
            .expect("appends");
        let expected: Vec<u64> = (first..=epoch).collect();
        assert_eq!(spark_found(dir.path(), 10), expected, "{first} {epoch}");
        assert_eq!(found(dir.path(), None).expect("reads"), expected);
        // One that reads on gets what is new, and perhaps more.
        let news = found(dir.path(), reading).expect("reads");
        assert!(news.contains(&epoch), "{first} {epoch}");
        reading = Some(epoch);
        if epoch % 37 == 0 {
            drop(log);
            log = LogWriter::open(dir.path(), None).expect("opens");
            assert_eq!(log.latest(), Some(Epoch(epoch)));
        }
    }
    let left = names(dir.path()).len();
    assert!(left < 40, "{first}: {left} entries left");
}

#[test]
fn the_schedule_doubles_and_stays_readable() {
    for first in [9, 57, 63, 1_000_002] {
        let mut schedule = Schedule::default();
        let mut kept = BTreeSet::new();
        let (mut latest, mut copied, mut count) = (None, 0_u64, 0_u64);
        for epoch in if first == 9 { 0 } else { first }..first + 12_000 {
            count += 1;
            let name = if schedule.is_compact(epoch, latest) {
                copied += count;
                for old in schedule.added(epoch, count) {
                    kept.remove(&format!("{old}.compact"));
                }
                format!("{epoch}.compact")
            } else {
                epoch.to_string()
            };
            kept.insert(name);
            latest = Some(epoch);
            if epoch % 331 == 0 {
                // Before the first compact entry Spark knows nothing but its own setting.
                let is_young = first == 9 && epoch < 9;
                for default in if is_young { vec![10] } else { vec![1, 10, 25] } {
                    let needed = spark::entries(&kept, default);
                    assert!(
                        needed.iter().all(|name| kept.contains(name)),
                        "{first} {epoch}"
                    );
                }
            }
        }
        let interval = schedule.interval();
        assert!((180..=800).contains(&interval), "{first}: {interval}");
        assert!(
            copied / count < 64,
            "{first}: each line copied {}",
            copied / count
        );
    }
}

#[test]
fn what_a_compact_entry_makes_superfluous_goes() {
    let dir = dir();
    fill(dir.path(), 0..30);
    let left: Vec<String> = names(dir.path()).into_iter().collect();
    let plain = (20..29).map(|epoch| epoch.to_string());
    let mut expected: Vec<String> = plain
        .chain(["19.compact", "29.compact"].map(str::to_owned))
        .collect();
    // Those before the older compact entry go some an epoch.
    let mut log = LogWriter::open(dir.path(), None).expect("opens");
    for epoch in 30..36 {
        log.append(Epoch(epoch), b"").expect("appends");
        expected.push(epoch.to_string());
    }
    expected.sort();
    let now: Vec<String> = names(dir.path()).into_iter().collect();
    assert_eq!(now, expected);
    assert!(left.len() > 11 && left.len() < 30, "{left:?}");
    assert_eq!(
        found(dir.path(), None).expect("reads"),
        (0..30).collect::<Vec<u64>>()
    );
}

#[test]
fn a_reader_that_is_overtaken_begins_again() {
    fault::without(|| {
        let dir = dir();
        fill(dir.path(), 0..15);
        let mut log = LogWriter::open(dir.path(), None).expect("opens");
        let mut found = BTreeSet::new();
        let end = follow(dir.path(), None, &mut |path| {
            // The plain entries that it is about to read go away meanwhile.
            for epoch in log.latest().map_or(0, |Epoch(latest)| latest + 1)..60 {
                log.append(Epoch(epoch), &lines(dir.path(), epoch, 0))?;
            }
            found.insert(path);
            Ok(())
        });
        assert_eq!(end.expect("reads"), Followed::UpTo(Epoch(59)));
        assert_eq!(found.len(), 60);
        assert!(!names(dir.path()).contains("10"));
    });
}

#[test]
fn a_long_log_is_written_ahead() {
    fault::without(check_written_ahead);
}

fn check_written_ahead() {
    let dir = dir();
    let mut log = log(dir.path());
    // Long enough for compact entries beyond the size from which on they are written ahead.
    let mut expected = Vec::new();
    let mut ahead = false;
    for epoch in 0..260 {
        let many: Vec<u8> = (0..20)
            .flat_map(|idx| lines(dir.path(), epoch * 100 + idx, 0))
            .collect();
        expected.extend((0..20).map(|idx| epoch * 100 + idx));
        log.append(Epoch(epoch), &many).expect("appends");
        ahead |= names(dir.path()).iter().any(|name| name.ends_with(".tmp"));
        if epoch % 50 == 49 {
            drop(log);
            log = LogWriter::open(dir.path(), None).expect("opens");
            log.clear().expect("removes");
            assert!(!names(dir.path()).iter().any(|name| name.ends_with(".tmp")));
        }
    }
    assert!(ahead);
    assert_eq!(found(dir.path(), None).expect("reads"), expected);
    assert_eq!(spark_found(dir.path(), 10), expected);
}

#[test]
fn retention_leaves_old_files_out() {
    let dir = dir();
    fs::create_dir_all(dir.path().join(DIRECTORY)).expect("directory");
    let mut log = LogWriter::open(dir.path(), Some(86_400_000)).expect("opens");
    for epoch in 0..10 {
        let old = if epoch % 2 == 0 { 0 } else { i64::MAX / 2 };
        log.append(Epoch(epoch), &lines(dir.path(), epoch, old))
            .expect("appends");
    }
    assert_eq!(found(dir.path(), None).expect("reads"), [1, 3, 5, 7, 9]);
    assert_eq!(log.latest(), Some(Epoch(9)));
}

#[test]
fn what_is_missing_or_damaged_is_con_014() {
    let damage = |change: &dyn Fn(&Path)| {
        let dir = dir();
        fault::without(|| fill(dir.path(), 0..25));
        change(&dir.path().join(DIRECTORY));
        let read = found(dir.path(), None).map(|_| ());
        let opened = LogWriter::open(dir.path(), None).map(|_| ());
        (read, opened)
    };
    for gone in ["20", "23"] {
        let (read, opened) = damage(&|log| fs::remove_file(log.join(gone)).expect("remove"));
        assert_eq!(code(read), "CON-014");
        assert_eq!(code(opened), "CON-014");
    }
    for text in ["", "v2\n", "v1\nnonsense", "v1\n{\"path\":\"/x\"}"] {
        let (read, opened) = damage(&|log| fs::write(log.join("22"), text).expect("write"));
        assert_eq!(code(read), "CON-014", "{text}");
        assert_eq!(code(opened), "CON-014", "{text}");
    }
    let other = String::from_utf8(lines(Path::new("/"), 1, 0)).expect("text");
    let other = format!("v1{}", other.replace("\"add\"", "\"delete\""));
    let (read, _) = damage(&|log| fs::write(log.join("22"), &other).expect("write"));
    assert_eq!(code(read), "CON-014");
    let long = format!("v1\n{}", "x".repeat(1 << 17));
    let (read, _) = damage(&|log| fs::write(log.join("22"), &long).expect("write"));
    assert_eq!(code(read), "CON-014");
    // The compact entries are gone: what they held cannot be found elsewhere.
    let (read, opened) = damage(&|log| {
        fs::remove_file(log.join("9.compact")).expect("remove");
        fs::remove_file(log.join("19.compact")).expect("remove");
    });
    assert_eq!(code(read), "CON-014");
    assert_eq!(code(opened), "CON-014");
}

#[test]
fn a_directory_without_a_log_is_no_sinks() {
    let dir = dir();
    let none = follow(dir.path(), None, &mut |_| Ok(())).expect("looks");
    assert_eq!(none, Followed::NoLog);
    fs::create_dir_all(dir.path().join(DIRECTORY)).expect("directory");
    // Nor is one with a log that says nothing: a query may have been refused here.
    fs::write(dir.path().join(DIRECTORY).join("_owner"), "").expect("write");
    let empty = follow(dir.path(), None, &mut |_| Ok(())).expect("looks");
    assert_eq!(empty, Followed::NoLog);
}
