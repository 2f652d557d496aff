//! The real process, the real disk: killed at any moment, doubled, given another's checkpoint.
//!
//! `MILLSTREAM_CRASHES` says how many histories of kills are tried, `MILLSTREAM_SEED` with which the
//! first begins.

use millstream_testkit::baton::Random;

use crate::process::Place;

const NOW: &str = "available-now";

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// proves P1, P2, P6: kills lose no row, double none, and need no hand.
#[test]
fn a_killed_process_goes_on_where_it_was() {
    const FILES: u64 = 24;
    let whole = Place::new("undisturbed", FILES);
    let (code, said) = whole.start(&whole.sql(10), NOW, 2).end();
    assert_eq!(code, Some(0), "{said}");
    let expected = whole.output();
    assert!(expected.len() > 30, "windows close: {expected:?}");
    let first = number("MILLSTREAM_SEED", 0);
    let mut kills = 0;
    for seed in first..first + number("MILLSTREAM_CRASHES", 3) {
        let place = Place::new(&format!("killed-{seed}"), FILES);
        let mut random = Random::new(seed);
        for start in 0.. {
            let mut running = place.start(&place.sql(10), NOW, 1 + random.below(3));
            let epochs = if start < 12 {
                random.below(6)
            } else {
                usize::MAX
            };
            if running.wait_for_epochs(epochs) < epochs {
                let (code, said) = running.end();
                assert_eq!(code, Some(0), "seed={seed} {said}");
                break;
            }
            // Not always right after a report.
            (0..random.below(20_000)).for_each(|_| std::thread::yield_now());
            running.kill();
            kills += 1;
        }
        assert_eq!(place.output(), expected, "seed={seed}");
    }
    println!("{kills} kills");
}

/// proves P11: of two processes on one checkpoint the second stops, and the first does not mind.
#[test]
fn a_checkpoint_in_use_is_refused() {
    let place = Place::new("doubled", 2);
    let sql = place.sql(10);
    let mut first = place.start(&sql, "default", 1);
    assert_eq!(first.wait_for_epochs(2), 2);
    let (code, said) = place.start(&sql, NOW, 2).end();
    assert!(said.contains("CKP-003"), "{said}");
    assert_eq!(code, Some(69));
    place.add_file(2);
    assert_eq!(first.wait_for_epochs(1), 1);
    first.kill();
    let (code, said) = place.start(&sql, NOW, 2).end();
    assert_eq!(code, Some(0), "a killed process holds nothing: {said}");
}

#[test]
fn a_checkpoint_of_another_query_is_refused() {
    let place = Place::new("foreign", 2);
    let (code, said) = place.start(&place.sql(10), NOW, 1).end();
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = place.start(&place.sql(20), NOW, 1).end();
    assert!(said.contains("CKP-002"), "{said}");
    assert_eq!(
        code,
        Some(78),
        "a wrong checkpoint is a wrong configuration"
    );
}
