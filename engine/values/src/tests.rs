//! Texts from outside make no reader panic.

use proptest::prelude::*;

use crate::{instant, pattern::Pattern, scalar, zone::Zone};

// INV-10
proptest! {
    #[test]
    fn scalars_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40), pattern in "[yMdDHhkKamsSGLQEzVOZXx'\\[\\]: /-]{0,20}") {
        let _ = (instant::timestamp(&text), instant::date(&text), scalar::integer(&text), scalar::double(&text));
        let _ = (scalar::decimal(&text, 38, 38), scalar::decimal(&text, 1, -3));
        if let Ok(pattern) = Pattern::new(&pattern) {
            let _ = pattern.parse(&text);
        }
    }

    #[test]
    fn instants_never_panic(text in "[+-]?[0-9]{1,7}(-[0-9]{1,3}){0,3}[T ]?([0-9]{1,3}:?){0,4}(\\.[0-9]{0,10})?[Z+ UTC-]{0,4}[0-9:]{0,8}") {
        let _ = instant::timestamp(text.as_bytes()).map(|at| at.micros(&Zone::utc()));
        let _ = instant::date(text.as_bytes());
    }
}
