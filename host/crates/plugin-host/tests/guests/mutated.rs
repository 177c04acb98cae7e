//! Whatever bytes a file holds, the host says what is wrong with it and lives on.

use plugin_host::{Limits, check_file};
use proptest::prelude::*;

use crate::bench::Bench;
use crate::guest::Guest;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_048)) {
        let checked = check_file(Limits::small(), &bytes).unwrap();
        prop_assert!(!checked.passed);
    }

    #[test]
    fn a_mutated_plugin_never_harms_the_host(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Guest::new("num").build();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let bench = Bench::new();
        let host = bench.start(&[bytes, Guest::new("other").build()]);
        let opened = host.open("other", "{}");
        prop_assert!(opened.is_ok(), "{opened:?}");
    }

    #[test]
    fn a_cut_plugin_is_refused(keep in any::<prop::sample::Index>()) {
        let bytes = Guest::new("num").build();
        let keep = keep.index(bytes.len());
        let checked = check_file(Limits::small(), &bytes[..keep]).unwrap();
        prop_assert!(!checked.passed);
    }
}
