//! Packs as streams, and what a full disk leaves.

use std::sync::Arc;

use millstream_epoch::{
    CheckpointStore, Disk, EpochError, Manifest, PackWriter, Piece, RelPath, RewriteRule, checksum,
    pieces_to_copy, read_piece,
    sim::{Failure, SimDisk, Survival},
};
use millstream_types::Coded;

use crate::{
    store::{chosen, manifest, open, pass, sunk},
    toy::piece,
};

fn packs_on(disk: &SimDisk) -> Vec<String> {
    let names = disk.files().into_iter().map(|file| file.to_string());
    names
        .filter(|name| name.starts_with("state/pack-"))
        .collect()
}

fn part(pack: &RelPath, offset: u64, bytes: &[u8]) -> Piece {
    Piece {
        offset,
        ..piece(pack.as_str(), bytes)
    }
}

#[test]
fn a_pack_is_written_piece_by_piece_and_copied() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    let writer = store.pack_writer();
    let mut first = writer.begin().expect("a good disk");
    assert!(first.is_empty());
    let (short, long) = (b"short".to_vec(), vec![7; 3_000_000]);
    assert_eq!(first.append(&short).expect("a good disk"), 0);
    assert_eq!(first.append(&long).expect("a good disk"), 5);
    assert_eq!(first.len(), 3_000_005);
    let first = first.finish().expect("a good disk");
    let pieces = [part(&first, 0, &short), part(&first, 5, &long)];

    let mut second = writer.begin().expect("a good disk");
    second.append(b"new").expect("a good disk");
    let read = disk.bytes_read();
    let copied: Vec<Piece> = pieces
        .iter()
        .map(|piece| second.copy_piece(piece).expect("whole"))
        .collect();
    assert_eq!(disk.bytes_read() - read, 3_000_005, "once");
    let second = second.finish().expect("a good disk");
    assert_eq!(copied, [part(&second, 3, &short), part(&second, 8, &long)]);
    for (piece, bytes) in copied.iter().zip([&short, &long]) {
        assert_eq!(&read_piece(&disk, piece).expect("whole"), bytes);
    }
    let named = Manifest {
        pieces: copied,
        ..manifest(&store, 0, second.as_str(), b"")
    };
    store.write_manifest(&named).expect("durable");
    drop(store);
    let (_, recovered) = open(&disk.survivor(Survival::Synced));
    assert_eq!(recovered.snapshot, Some(named));
}

/// A large piece is checked in parts at a start.
#[test]
fn a_start_reads_pieces_in_chunks() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    pass(&store, 0).expect("a good disk");
    let bytes = vec![3; 5 << 20];
    let pack = store.pack_writer().write(&bytes).expect("a good disk");
    let named = manifest(&store, 0, pack.as_str(), &bytes);
    store.write_manifest(&named).expect("durable");
    drop(store);
    let reads = disk.reads();
    let (_, recovered) = open(&disk);
    assert!(recovered.snapshot.is_some());
    assert!(disk.reads() - reads >= 5 + 5, "five chunks and the files");
    let mut changed = bytes;
    changed[4 << 20] = 4;
    disk.tamper(&pack, Some(changed));
    let error = read_piece(&disk, &named.pieces[0]).expect_err("changed");
    assert_eq!(error.code().0, "CKP-001");
    let disk = disk.survivor(Survival::Synced);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.damaged.len(), 1);
}

#[test]
fn a_pack_that_is_not_finished_is_removed() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let writer = store.pack_writer();
    let mut pack = writer.begin().expect("a good disk");
    pack.append(b"half").expect("a good disk");
    assert_eq!(packs_on(&disk), ["state/pack-1-0-0"]);
    drop(pack);
    assert_eq!(packs_on(&disk), [""; 0]);
    let kept = writer.write(b"whole").expect("a good disk");
    assert_eq!(kept.as_str(), "state/pack-1-0-1", "a name is used once");
    assert_eq!(
        store.pack_writer().write(b"").expect("empty").name(),
        "pack-1-0-2"
    );
}

/// Whatever fails, the name is used up, the next pack is a good one, and only a failed sync closes
/// the writer.
#[test]
fn a_failed_pack_burns_its_name() {
    for failure in [Failure::Eio, Failure::Enospc, Failure::ShortWrite] {
        for op in 1..=4 {
            let disk = SimDisk::new();
            let (store, _) = open(&disk);
            let writer = store.pack_writer();
            disk.fail_at(disk.ops() + op, failure);
            let error = writer.write(b"bytes").expect_err("it fails");
            let is_sync = op > 2;
            assert_eq!(error.code().0, "CKP-005");
            let is_full = failure != Failure::Eio && !is_sync;
            assert_eq!(error.is_disk_full(), is_full, "{failure:?} {op}");
            match writer.write(b"bytes") {
                Ok(pack) => {
                    assert!(!is_sync);
                    assert_eq!(packs_on(&disk), ["state/pack-1-0-1"]);
                    let piece = piece(pack.as_str(), b"bytes");
                    assert_eq!(read_piece(&disk, &piece).expect("whole"), b"bytes");
                }
                Err(error) => {
                    assert!(is_sync, "{error}");
                    assert!(matches!(error, EpochError::Poisoned { .. }));
                    pass(&store, 0).expect_err("the store is closed with it");
                }
            }
        }
    }
}

#[test]
fn a_piece_that_is_damaged_is_not_copied() {
    let disk = SimDisk::new();
    let writer = PackWriter::new(Arc::new(disk.clone()), 1, 3);
    disk.create_dir_all(&RelPath::new("state").expect("a good path"))
        .expect("a good disk");
    let pack = writer.write(b"0123456789").expect("a good disk");
    assert_eq!(pack.as_str(), "state/pack-1-3-0");
    let whole = part(&pack, 2, b"23456");
    let wrong = [
        Piece {
            crc: 1,
            ..whole.clone()
        },
        Piece {
            len: 50,
            ..whole.clone()
        },
        Piece {
            offset: u64::MAX,
            ..whole.clone()
        },
        Piece {
            pack: "state/pack-9-9-9".to_owned(),
            ..whole
        },
    ];
    for piece in wrong {
        let mut next = writer.begin().expect("a good disk");
        let error = next.copy_piece(&piece).expect_err("damaged");
        assert_eq!(error.code().0, "CKP-001", "{error}");
        let error = next.append(b"more").expect_err("half a piece is in it");
        assert_eq!(error.code().0, "EXE-003");
        next.finish().expect_err("half a piece is in it");
    }
    let outside = Piece {
        pack: "../lock".to_owned(),
        ..whole
    };
    let mut next = writer.begin().expect("a good disk");
    let error = next.copy_piece(&outside).expect_err("no pack");
    assert_eq!(error.code().0, "EXE-003");
    drop(next);
    let mut next = writer.begin().expect("a good disk");
    let copied = next.copy_piece(&whole).expect("whole");
    assert_eq!(copied.crc, checksum(b"23456"));
    assert_eq!(packs_on(&disk).len(), 2, "the others are gone");
}

/// One epoch with everything that writes: a plan, a commit, a pack, a manifest, a journal.
fn life(store: &CheckpointStore, epoch: u64) -> Result<(), EpochError> {
    let again = |call: &mut dyn FnMut() -> Result<(), EpochError>| match call() {
        // The very same call, as somebody who waits for space would.
        Err(error) if error.is_disk_full() => {
            call().map_err(|error| unreachable!("it was to be repeated: {error}"))
        }
        other => other,
    };
    let (mut sunks, mut plans, mut planned) = (vec![], vec![chosen(epoch)], vec![]);
    again(&mut || {
        planned = store.advance(&mut vec![], &mut plans)?.1;
        Ok(())
    })?;
    sunks.extend(planned.into_iter().map(sunk));
    again(&mut || store.advance(&mut sunks, &mut vec![]).map(drop))?;
    let mut pack = None;
    again(&mut || {
        pack = Some(store.pack_writer().write(&epoch.to_le_bytes())?);
        Ok(())
    })?;
    let pack = pack.expect("written");
    let named = manifest(store, epoch, pack.as_str(), &epoch.to_le_bytes());
    again(&mut || store.write_manifest(&named))?;
    again(&mut || store.collect_garbage().map(drop))
}

/// A disk that is full at any operation harms nothing but the call, which may be repeated; only
/// where a sync or a rename fails does the process have to start anew. proves P9
#[test]
fn a_full_disk_at_any_operation_pauses() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let first = disk.ops() + 1;
    for epoch in 0..4 {
        life(&store, epoch).expect("a good disk");
    }
    let journal = disk.journal();
    let (mut paused, mut ended) = (0, 0);
    for (k, line) in (1..)
        .zip(&journal)
        .skip(usize::try_from(first).expect("small") - 1)
    {
        for failure in [Failure::Enospc, Failure::ShortWrite] {
            let disk = SimDisk::new();
            let (store, _) = open(&disk);
            disk.fail_at(k, failure);
            let ran = (0..4).try_for_each(|epoch| life(&store, epoch));
            drop(store);
            let is_final = line.starts_with("sync") || line.starts_with("rename");
            assert_eq!(ran.is_err(), is_final, "{k} {line}: {ran:?}");
            if let Err(error) = ran {
                assert!(!error.is_disk_full(), "{k} {line}");
                ended += 1;
            } else {
                paused += 1;
                let unfinished = |file: &RelPath| file.as_str().ends_with(".tmp");
                assert!(!disk.files().iter().any(unfinished), "{k} {line}");
                assert_eq!(packs_on(&disk).len(), 2, "{k} {line}");
            }
            let (_, recovered) = open(&disk.survivor(Survival::Synced));
            assert_eq!(recovered.damaged, [], "{k} {line}");
        }
    }
    assert!(paused >= 40 && ended >= 40, "{paused} {ended}");
}

/// A query of which a little of each snapshot lives for ever: few packs, little more than what is
/// alive, and after each restart every byte of it.
#[test]
fn packs_are_rewritten_while_a_query_runs() {
    let rule = RewriteRule {
        budget_bytes: 2_000,
        small_bytes: 50,
        large_bytes: 1_000,
        packs_per_tier: 4,
    };
    let disk = SimDisk::new();
    let mut store = open(&disk).0;
    let mut lasting: Vec<Piece> = Vec::new();
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for epoch in 0..150_u64 {
        pass(&store, epoch).expect("a good disk");
        let bytes = store.pack_bytes(&lasting).expect("all are there");
        let copies = pieces_to_copy(&lasting, &bytes, 107, &rule);
        let mut pack = store.pack_writer().begin().expect("a good disk");
        for place in copies {
            lasting[place] = pack.copy_piece(&lasting[place]).expect("whole");
        }
        let fresh = epoch.to_le_bytes()[..7].to_vec();
        let mut next = Vec::new();
        for bytes in [&fresh, &vec![9; 100]] {
            let offset = pack.append(bytes).expect("a good disk");
            next.push(part(pack.path(), offset, bytes));
        }
        pack.finish().expect("a good disk");
        let named = Manifest {
            pieces: [lasting.as_slice(), &next].concat(),
            ..manifest(&store, epoch, "", b"")
        };
        store.write_manifest(&named).expect("durable");
        store.collect_garbage().expect("a good disk");
        lasting.extend(next.into_iter().take(1));
        contents.push(fresh);
        if epoch % 40 == 0 {
            drop(store);
            let (again, recovered) = open(&disk);
            assert_eq!(recovered.snapshot, Some(named));
            assert_eq!(recovered.damaged, []);
            store = again;
        }
        assert!(packs_on(&disk).len() < 30, "{:#?}", packs_on(&disk));
    }
    for (piece, bytes) in lasting.iter().zip(&contents) {
        assert_eq!(&read_piece(&disk, piece).expect("whole"), bytes);
    }
    let missing = part(
        &RelPath::new("state/pack-7-7-7").expect("a good path"),
        0,
        b"",
    );
    let error = store.pack_bytes(&[missing]).expect_err("missing");
    assert_eq!(error.code().0, "CKP-001");
}
