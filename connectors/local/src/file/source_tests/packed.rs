//! Compressed files: read as what is packed in them, again after a restart, and as far as they are good.

use super::*;
use crate::packing::Packing;

fn put(world: &World, name: &str, bytes: &[u8]) {
    world.put(name, "", 1);
    let path = world.path(name);
    fs::write(&path, bytes).expect("write");
    set_time(&path, Duration::from_millis(NOW_MS.unsigned_abs()));
}

/// So many lines, several pieces of a mebibyte.
fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line}\n")).collect()
}

fn pack(packing: Packing, text: &str) -> Vec<u8> {
    packing.pack(text.as_bytes()).expect("memory")
}

/// Reads everything there is in one epoch.
fn read_all(world: &World, options: &[(&str, &str)]) -> Result<String, ConnectorError> {
    let mut source = world.open(options);
    let range = plan(source.as_mut()).expect("a file");
    read(source.as_ref(), &range)
}

#[test]
fn files_are_unpacked_by_their_names() {
    let text = lines(300_000);
    for (name, packing) in [
        ("a.json.gz", Packing::Gzip),
        ("a.json.GZ", Packing::Gzip),
        ("a.bz2", Packing::Bzip2),
        ("a.zst", Packing::Zstd),
    ] {
        let world = World::new();
        // Two members, of which the first ends within a line.
        let mut bytes = pack(packing, &text);
        bytes.extend(pack(packing, "last"));
        put(&world, name, &bytes);
        put(&world, &format!("empty{name}"), b"");
        let mut source = world.open(&[]);
        let range = plan(source.as_mut()).expect("files");
        let expected = format!("{text}last");
        assert_eq!(
            read(source.as_ref(), &range).expect("reads"),
            expected,
            "{name}"
        );
        rest(source.as_ref());
        drop(source);
        // A restart reads the same, and knows it by the digest of what was packed.
        let mut source = world.open(&[]);
        source.replay(&range).expect("own range");
        assert_eq!(
            read(source.as_ref(), &range).expect("reads"),
            expected,
            "{name}"
        );
        put(&world, name, &pack(packing, "other\n"));
        let error = read(source.as_ref(), &range).expect_err("other bytes");
        assert_eq!(error.code().0, "CON-011", "{name}");
    }
    // zlib, which is written by others only: "a\n".
    let world = World::new();
    let zlib = [0x78, 0x9c, 0x4b, 0xe4, 0x02, 0x00, 0x00, 0xce, 0x00, 0x6c];
    put(&world, "a.deflate", &zlib);
    assert_eq!(read_all(&world, &[]).expect("reads"), "a\n");
}

#[test]
fn damage_ends_the_query_or_the_file() {
    let text = lines(300_000);
    let whole = pack(Packing::Gzip, &text);
    let mut flipped = whole.clone();
    let end = flipped.len();
    flipped[end - 8] ^= 1;
    for (name, bytes) in [
        ("cut.gz", &whole[..end / 2]),
        ("flipped.gz", &flipped),
        ("plain.gz", b"no member at all\n"),
        ("plain.bz2", b"no member at all\n"),
        ("plain.zst", b"no member at all\n"),
    ] {
        let world = World::new();
        put(&world, name, bytes);
        put(&world, "z", b"after\n");
        let error = read_all(&world, &[]).expect_err("damaged");
        assert_eq!(error.code().0, "CON-021", "{name}");

        let world = World::new();
        put(&world, name, bytes);
        put(&world, "z", b"after\n");
        let options = [("ignoreCorruptFiles", "true")];
        let mut source = world.open(&options);
        let range = plan(source.as_mut()).expect("files");
        let first = read(source.as_ref(), &range).expect("reads what is good");
        let good = first
            .strip_suffix("after\n")
            .expect("the next file is read");
        assert!(text.starts_with(good), "{name}: only what was packed");
        assert!(
            good.is_empty() || good.ends_with('\n'),
            "{name}: whole lines"
        );
        assert_eq!(
            name == "cut.gz" || name == "flipped.gz",
            !good.is_empty(),
            "{name}"
        );
        rest(source.as_ref());
        drop(source);
        // What was left stays left, although the file is whole now.
        put(&world, name, &whole);
        let mut source = world.open(&options);
        source.replay(&range).expect("own range");
        assert_eq!(
            read(source.as_ref(), &range).expect("reads"),
            first,
            "{name}"
        );
    }
}

/// A line without an end would grow without bound: a mebibyte packs into a kilobyte.
#[test]
fn what_is_packed_has_bounds() {
    let world = World::new();
    put(&world, "a.gz", &pack(Packing::Gzip, &"x".repeat(32 << 20)));
    let mut source = world.open(&[("maxLineBytes", "1048576")]);
    let range = plan(source.as_mut()).expect("a file");
    let held = allocation_counter::measure(|| {
        let error = read(source.as_ref(), &range).expect_err("too long");
        assert_eq!(error.code().0, "CON-012");
    });
    assert!(held.bytes_max < 8 << 20, "{} bytes", held.bytes_max);
}

#[test]
fn framings_of_hadoop_are_refused_before_they_are_planned() {
    for name in ["a.json.snappy", "a.LZ4"] {
        let world = World::new();
        put(&world, name, b"x\n");
        let mut source = world.open(&[]);
        let error = source
            .plan(ReadLimit::Configured, NOW_MS)
            .expect_err("refused");
        assert_eq!(error.code().0, "CON-008", "{error}");
    }
}
