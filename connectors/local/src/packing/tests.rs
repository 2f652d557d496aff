//! What was packed is read again, whole, and not one damaged byte of it.

use proptest::prelude::*;

use super::*;

const WRITTEN: [Packing; 3] = [Packing::Gzip, Packing::Bzip2, Packing::Zstd];

fn unpack(packing: Packing, packed: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = packing.unpack(io::Cursor::new(packed))?;
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

proptest! {
    #[test]
    fn members_in_a_row_are_a_file(
        parts in proptest::collection::vec("[a-c\n]{0,300}", 1..5),
        which in 0_usize..3,
    ) {
        let packing = WRITTEN[which];
        let mut packed = Vec::new();
        for part in &parts {
            packed.extend(packing.pack(part.as_bytes()).expect("memory"));
        }
        prop_assert_eq!(unpack(packing, packed).expect("whole"), parts.concat().into_bytes());
    }

    /// INV-10: bytes from outside are an error, or the bytes that were packed.
    #[test]
    fn damage_is_an_error(
        part in "[a-z\n]{1,400}",
        which in 0_usize..3,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
        is_cut in any::<bool>(),
    ) {
        let packing = WRITTEN[which];
        let mut packed = packing.pack(part.as_bytes()).expect("memory");
        let at = at.index(packed.len());
        if is_cut {
            packed.truncate(at.max(1));
        } else {
            packed[at] ^= flip;
        }
        if let Ok(bytes) = unpack(packing, packed) {
            prop_assert_eq!(bytes, part.into_bytes());
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, packing) in KNOWN {
            let _unpacked = unpack(packing, bytes.clone());
        }
    }
}

#[test]
fn names_say_the_form() {
    let of = |name| of_name(name).map(Packing::end);
    assert_eq!(of("a.json.gz"), Some(".gz"));
    assert_eq!(of("a.Gz"), Some(".gz"), "as in Spark");
    assert_eq!(of("a.gzip"), Some(".gz"), "as in Spark");
    assert_eq!(of("a.é.bz2"), Some(".bz2"));
    assert_eq!(of("gz"), None);
    assert_eq!(of("a.gz.json"), None);
    assert_eq!(foreign("x.json.snappy"), Some(".snappy"));
    assert_eq!(foreign("x.json.gz"), None);
}
