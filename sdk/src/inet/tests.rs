use proptest::prelude::*;

use super::*;

fn block(family: Family, text: &str) -> Block {
    Block::read(family, text).unwrap()
}

#[test]
fn a_fault_in_a_block_says_what_would_be_right() {
    for (family, text, want) in [
        (Family::V4, "10.0.0.5/24", "\"10.0.0.5/24\" has host bits set; the block is 10.0.0.0/24"),
        (Family::V4, "10.0.0.0", "\"10.0.0.0\" is not a CIDR; add the prefix length, as in 10.0.0.0/32"),
        (Family::V4, "foo", "\"foo\" is not a CIDR such as 192.0.2.0/24"),
        (Family::V6, "", "\"\" is not a CIDR such as 2001:db8::/32"),
        (Family::V4, "10.0.0.0/33", "the prefix length of \"10.0.0.0/33\" must be a number from 0 to 32"),
        (Family::V4, "10.0.0.0/+8", "the prefix length of \"10.0.0.0/+8\" must be a number from 0 to 32"),
        (Family::V4, "10.0.0.01/32", "\"10.0.0.01\" is not an IPv4 address such as 192.0.2.1"),
        (Family::V4, "::/0", "\"::\" is an IPv6 address; this needs an IPv4 one, as in 192.0.2.1"),
        (Family::V6, "2001:db8::1/64", "\"2001:db8::1/64\" has host bits set; the block is 2001:db8::/64"),
        (Family::V6, "fe80::1%eth0/64", "\"fe80::1%eth0\" is not an IPv6 address such as 2001:db8::1"),
    ] {
        assert_eq!(Block::read(family, text).unwrap_err(), want);
    }
}

#[test]
fn runs_are_read_in_three_forms() {
    for (text, start, len) in
        [("10.0.0.1", 0x0a00_0001, 1), ("10.0.0.0/30", 0x0a00_0000, 4), ("10.0.0.1 - 10.0.0.3", 0x0a00_0001, 3)]
    {
        assert_eq!(Family::V4.read_run(text), Ok(Span::new(start, len)));
    }
    assert_eq!(
        Family::V4.read_run("10.0.0.9-10.0.0.1").unwrap_err(),
        "\"10.0.0.9-10.0.0.1\" runs backwards; write 10.0.0.1-10.0.0.9"
    );
    assert!(Family::V6.read_run("::/0").is_err(), "the whole line has no length");
    assert_eq!(Family::V4.read_run("0.0.0.0/0"), Ok(Span::new(0, 1 << 32)));
}

#[test]
fn covers_and_masks() {
    let cover = |low: &str, high: &str| {
        let span = Span::between(Family::V4.read(low).unwrap(), Family::V4.read(high).unwrap()).unwrap();
        Block::cover(Family::V4, span).unwrap().to_string()
    };
    assert_eq!(cover("10.0.0.10", "10.0.0.20"), "10.0.0.0/27");
    assert_eq!(cover("10.0.0.10", "10.0.0.10"), "10.0.0.10/32");
    assert_eq!(cover("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
    assert_eq!(block(Family::V4, "100.64.0.0/10").netmask(), "255.192.0.0");
    assert_eq!(block(Family::V4, "0.0.0.0/0").netmask(), "0.0.0.0");
    assert_eq!(Block::cover(Family::V6, Span::between(1, u128::MAX).unwrap()).unwrap().to_string(), "::/0");
}

#[test]
fn addresses_are_written_as_rfc_5952_says() {
    for (any, canonical) in [
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ] {
        assert_eq!(Family::V6.write(Family::V6.read(any).unwrap()), canonical);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f:./ -]{0,40}") {
        for family in [Family::V4, Family::V6] {
            if let Ok(span) = family.read_run(&text) {
                prop_assert!(span.last().is_some());
            }
            if let Ok(block) = Block::read(family, &text) {
                prop_assert_eq!(Block::read(family, &block.to_string()), Ok(block));
            }
        }
    }

    #[test]
    fn blocks_are_exactly_the_run(start in any::<u128>(), len in 1_u128..1 << 40) {
        let run = Span::new(start.min(u128::MAX - len), len);
        let mut next = run.start;
        for block in blocks(Family::V6, run) {
            prop_assert_eq!(block.first(), next);
            next = next.wrapping_add(block.span().unwrap().len);
        }
        prop_assert_eq!(next, run.start.wrapping_add(run.len));
    }

    #[test]
    fn a_cover_is_the_smallest(start in any::<u32>(), len in 1_u32..100_000) {
        let span = Span::new(u128::from(start.min(u32::MAX - len)), u128::from(len));
        let cover = Block::cover(Family::V4, span).unwrap();
        prop_assert!(cover.span().unwrap().contains(span));
        if cover.prefix() < 32 {
            prop_assert!(!Block::around(Family::V4, span.start, cover.prefix() + 1).span().unwrap().contains(span));
        }
    }
}
