//! Spark's answers for texts and instants by pattern.

use super::*;
use crate::civil::{Civil, DAY};

fn write(pattern: &str, micros: i64) -> String {
    let mut out = Vec::new();
    match Pattern::new(pattern) {
        Ok(pattern) => pattern.write(micros, &Zone::utc(), &mut out),
        Err(error) => return error.to_string(),
    }
    String::from_utf8(out).expect("text")
}

fn read(pattern: &str, text: &str) -> Option<String> {
    let micros = Pattern::new(pattern).ok()?.read(text, &Zone::utc())?;
    Some(write("yyyy-MM-dd HH:mm:ss.SSSSSS", micros))
}

#[test]
fn writing() {
    let at = 1_710_115_199_500_000;
    assert_eq!(
        write("yyyy-MM-dd HH:mm:ss.SSS", at),
        "2024-03-10 23:59:59.500"
    );
    assert_eq!(
        write("EEEE, d MMM yy h:mm a", at),
        "Sunday, 10 Mar 24 11:59 PM"
    );
    assert_eq!(
        write("yyyy-MM-dd'T'HH:mm:ssXXX", at),
        "2024-03-10T23:59:59Z"
    );
    assert_eq!(write("D Q QQQ E ''", at), "70 1 Q1 Sun '");
    assert_eq!(write("YYYY", at), "unknown pattern letter \"Y\"");
    assert_eq!(write("HH", -1), "23");
}

#[test]
fn reading() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        read("dd.MM.yyyy HH:mm", "01.02.2023 14:05"),
        some("2023-02-01 14:05:00.000000")
    );
    assert_eq!(read("dd.MM.yyyy", "30.02.2023"), None);
    assert_eq!(read("dd.MM.yyyy", "01.02.2023 "), None);
    assert_eq!(
        read("yyyyMMddHHmm", "202302011405"),
        some("2023-02-01 14:05:00.000000")
    );
    assert_eq!(read("d/M/yy", "1/2/23"), some("2023-02-01 00:00:00.000000"));
    assert_eq!(read("h a", "12 AM"), some("1970-01-01 00:00:00.000000"));
    assert_eq!(
        read("MMM d yyyy", "Feb 29 2024"),
        some("2024-02-29 00:00:00.000000")
    );
    assert_eq!(
        read("yyyy-MM-dd[ HH:mm]", "2024-02-29"),
        some("2024-02-29 00:00:00.000000")
    );
    assert_eq!(
        read(
            "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
            "2024-02-29T10:00:00.250+01:00"
        ),
        some("2024-02-29 09:00:00.250000")
    );
}

/// Texts as Spark reads them.
#[test]
fn reading_is_strict() {
    let cases = [
        (
            "yyyy-MM-dd HH:mm:ss.SSS",
            "2024-01-02 03:04:05.1",
            "2024-01-02 03:04:05.100000",
        ),
        (
            "yyyyMMddHHmmss",
            "20240102030405",
            "2024-01-02 03:04:05.000000",
        ),
        ("yyyy-MM-dd", "+12024-01-02", "+12024-01-02 00:00:00.000000"),
        ("y-M-d", "12024-01-02", "+12024-01-02 00:00:00.000000"),
        ("yyyy-MM-dd", "-0044-01-02", "-0044-01-02 00:00:00.000000"),
        ("yy-MM-dd", "99-01-02", "2099-01-02 00:00:00.000000"),
        ("yyy-MM-dd", "024-01-02", "0024-01-02 00:00:00.000000"),
        ("y-M-d", "2024-001-002", "2024-01-02 00:00:00.000000"),
        ("d MMM yyyy", "2 JAN 2024", "2024-01-02 00:00:00.000000"),
        (
            "d MMMM yyyy",
            "2 january 2024",
            "2024-01-02 00:00:00.000000",
        ),
        (
            "yyyy-MM-dd'T'HH:mm",
            "2024-01-02t03:04",
            "2024-01-02 03:04:00.000000",
        ),
        ("h", "3", "1970-01-01 03:00:00.000000"),
        ("h a", "3 pm", "1970-01-01 15:00:00.000000"),
        ("K a", "0 pm", "1970-01-01 12:00:00.000000"),
        ("a", "PM", "1970-01-01 12:00:00.000000"),
        ("k", "24", "1970-01-01 00:00:00.000000"),
        ("yyyy-DDD", "2024-060", "2024-02-29 00:00:00.000000"),
        ("yyyy-D", "2024-60", "2024-02-29 00:00:00.000000"),
        (
            "yyyy-MM-dd G",
            "2024-01-02 AD",
            "2024-01-02 00:00:00.000000",
        ),
        ("y-MM-dd G", "44-01-02 BC", "-0043-01-02 00:00:00.000000"),
        ("HH:mm Z", "03:04 +0100", "1970-01-01 02:04:00.000000"),
        ("HH:mm X", "03:04 +01", "1970-01-01 02:04:00.000000"),
        ("HH:mm X", "03:04 +0130", "1970-01-01 01:34:00.000000"),
        ("HH:mm X", "03:04 z", "1970-01-01 03:04:00.000000"),
        ("HH:mm XXX", "03:04 +01:00", "1970-01-01 02:04:00.000000"),
        (
            "HH:mm:ss XXXXX",
            "03:04:05 +01:00:30",
            "1970-01-01 02:03:35.000000",
        ),
        (
            "HH:mm VV",
            "03:04 Europe/Berlin",
            "1970-01-01 02:04:00.000000",
        ),
        ("HH:mm VV", "03:04 +01:00", "1970-01-01 02:04:00.000000"),
        ("HH:mm z", "03:04 CEST", "1970-01-01 02:04:00.000000"),
        ("HH:mm z", "03:04 PST", "1970-01-01 11:04:00.000000"),
        ("HH:mm O", "03:04 GMT+1", "1970-01-01 02:04:00.000000"),
        (
            "HH:mm OOOO",
            "03:04 GMT+01:00",
            "1970-01-01 02:04:00.000000",
        ),
        ("HH:mm O", "03:04 GMT", "1970-01-01 03:04:00.000000"),
        ("yyyy[-MM[-dd", "2024-02", "2024-02-01 00:00:00.000000"),
    ];
    for (pattern, text, want) in cases {
        assert_eq!(
            read(pattern, text).as_deref(),
            Some(want),
            "{pattern} {text}"
        );
    }
    for (pattern, text) in [
        ("yyyy-MM-dd HH:mm:ss.SSS", "2024-01-02 03:04:05.1234"),
        ("yyyyMMddHHmmssSSS", "20240102030405678"),
        ("yyyyMMdd", "120240102"),
        ("yyyy-MM-dd", "12024-01-02"),
        ("yyyy-MM-dd", "2024-1-2"),
        ("d MMM yyyy", "2 january 2024"),
        ("H", "24"),
        ("h", "13"),
        ("K", "12"),
        ("yyyy-DDD", "2023-366"),
        ("MM-dd", "02-29"),
        ("HH:mm Z", "03:04 +01:00"),
        ("HH:mm X", "03:04 +01:30"),
        ("HH:mm x", "03:04 Z"),
        ("HH:mm Z", "03:04 Z"),
        ("HH:mm XXX", "03:04 +0100"),
        ("yyyy-MM-dd", " 2024-01-02"),
        ("", "2024"),
        ("s", "61"),
        ("m", "60"),
    ] {
        assert_eq!(read(pattern, text), None, "{pattern} {text}");
    }
}

#[test]
fn what_is_no_pattern() {
    for pattern in [
        "YYYY",
        "uuuu",
        "ddd",
        "yyyyyyy",
        "MMMMM",
        "{yyyy}",
        "A",
        "yyyy'x",
        "HH]",
        "EEEEE",
        "aa",
        "QQQQQ",
        "W",
        "n",
        "b",
        "SSSSSSSSSS",
        "DDDD",
        "V",
        "OO",
        "XXXXXX",
        "#",
    ] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    for pattern in ["yyyy E", "yyyy Q", "[q]", "F"] {
        assert!(
            !Pattern::new(pattern).expect("a pattern").can_read(),
            "{pattern}"
        );
    }
}

/// Instants as Spark writes them.
#[test]
fn writing_every_letter() {
    let at = 1_710_083_045_678_901;
    let letters = "G GGGG y yy yyy yyyyy yyyyyy M MM MMM MMMM L LLLL d dd D DDD Q QQ QQQ QQQQ qq E EEE EEEE a h hh K KK k kk H HH m mm s ss S SS SSS SSSSSSSSS F";
    assert_eq!(
        write(letters, at),
        "AD Anno Domini 2024 24 2024 02024 002024 3 03 Mar March 3 March 10 10 70 070 1 01 Q1 1st quarter 01 Sun Sun Sunday PM 3 03 3 03 15 15 15 15 4 04 5 05 6 67 678 678901000 3"
    );
    assert_eq!(write("[yyyy][ 'x''y']''é", at), "2024 x'y'é");
    let far = Civil {
        year: 12_024,
        month: 3,
        day: 10,
    }
    .days()
        * DAY;
    assert_eq!(
        write("y yy yyyy yyyyy yyyyyy", far),
        "12024 24 +12024 12024 012024"
    );
    let old = Civil {
        year: -44,
        month: 3,
        day: 10,
    }
    .days()
        * DAY;
    assert_eq!(
        write("y yy yyy yyyy yyyyy", old),
        "-44 44 -044 -0044 -00044"
    );
    assert_eq!(write("G y yyyy", old), "BC 45 0045");
}

#[test]
fn writing_zones() {
    let all = "z|Z|ZZZ|ZZZZ|ZZZZZ|X|XX|XXX|XXXX|XXXXX|x|xx|xxx|xxxx|xxxxx|VV|O|OOOO";
    let summer = Civil {
        year: 2024,
        month: 7,
        day: 1,
    }
    .days()
        * DAY;
    let old = Civil {
        year: 1800,
        month: 7,
        day: 1,
    }
    .days()
        * DAY;
    for (zone, at, want) in [
        (
            "Europe/Berlin",
            summer,
            "CEST|+0200|+0200|GMT+02:00|+02:00|+02|+0200|+02:00|+0200|+02:00|+02|+0200|+02:00|+0200|+02:00|Europe/Berlin|GMT+2|GMT+02:00",
        ),
        (
            "+02:30",
            summer,
            "+02:30|+0230|+0230|GMT+02:30|+02:30|+0230|+0230|+02:30|+0230|+02:30|+0230|+0230|+02:30|+0230|+02:30|+02:30|GMT+2:30|GMT+02:30",
        ),
        (
            "UTC",
            summer,
            "UTC|+0000|+0000|GMT|Z|Z|Z|Z|Z|Z|+00|+0000|+00:00|+0000|+00:00|UTC|GMT|GMT",
        ),
        (
            "GMT+1",
            summer,
            "GMT+01:00|+0100|+0100|GMT+01:00|+01:00|+01|+0100|+01:00|+0100|+01:00|+01|+0100|+01:00|+0100|+01:00|GMT+01:00|GMT+1|GMT+01:00",
        ),
        // The sun's time of a place has no short name in the tables.
        (
            "Europe/Berlin",
            old,
            "LMT|+0053|+0053|GMT+00:53:28|+00:53:28|+0053|+0053|+00:53|+005328|+00:53:28|+0053|+0053|+00:53|+005328|+00:53:28|Europe/Berlin|GMT+0:53:28|GMT+00:53:28",
        ),
    ] {
        let mut out = Vec::new();
        let zone = zone.parse().expect("a zone");
        Pattern::new(all)
            .expect("a pattern")
            .write(at, &zone, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}
