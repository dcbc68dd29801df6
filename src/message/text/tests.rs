//! TS 23.038 and 23.040 by tables, and by properties over any text.

use proptest::prelude::*;

use super::*;

fn measure(text: &str) -> (&'static str, usize, Vec<usize>) {
    let encoded = encode(text);
    (
        encoded.encoding.as_str(),
        encoded.units,
        encoded.units_per_segment(),
    )
}

#[test]
fn limits_of_gsm() {
    assert_eq!(measure(""), ("gsm7", 0, vec![0]));
    assert_eq!(measure(&"a".repeat(160)), ("gsm7", 160, vec![160]));
    assert_eq!(measure(&"a".repeat(161)), ("gsm7", 161, vec![153, 8]));
    assert_eq!(measure(&"a".repeat(306)), ("gsm7", 306, vec![153, 153]));
    assert_eq!(measure(&"a".repeat(307)), ("gsm7", 307, vec![153, 153, 1]));
    assert_eq!(measure(&"€".repeat(80)), ("gsm7", 160, vec![160]));
    assert_eq!(measure(&"€".repeat(81)), ("gsm7", 162, vec![152, 10]));
}

#[test]
fn an_escape_pair_stays_together() {
    let text = format!("{}€{}", "a".repeat(152), "b".repeat(10));
    let encoded = encode(&text);
    assert_eq!(encoded.units_per_segment(), [152, 12]);
    assert_eq!(encoded.segments[1].octets[..2], [0x1b, 0x65]);
}

#[test]
fn limits_of_ucs2() {
    assert_eq!(measure(&"я".repeat(70)), ("ucs2", 70, vec![70]));
    assert_eq!(measure(&"я".repeat(71)), ("ucs2", 71, vec![67, 4]));
    assert_eq!(measure(&"я".repeat(135)), ("ucs2", 135, vec![67, 67, 1]));
    assert_eq!(measure(&"😀".repeat(35)), ("ucs2", 70, vec![70]));
    assert_eq!(measure(&"😀".repeat(36)), ("ucs2", 72, vec![66, 6]));
}

#[test]
fn what_makes_a_text_ucs2() {
    for c in [
        "\t", "\u{a0}", "’", "“", "ç", "α", "Α", "`", "á", "\u{1b}", "\0", "\u{fffd}", "–", "…",
        "ê",
    ] {
        assert_eq!(encode(c).encoding, Encoding::Ucs2, "{c:?}");
    }
    for c in [
        "\n", "\r", "\u{c}", "Ç", "Δ", "Φ", "Γ", "Λ", "Ω", "Π", "Ψ", "Σ", "Θ", "Ξ", "@", "_", "¤",
        "§", "à",
    ] {
        assert_eq!(encode(c).encoding, Encoding::Gsm7, "{c:?}");
        assert_eq!(decode_gsm(&encode(c).segments[0].octets), c);
    }
}

#[test]
fn octets_of_the_alphabet() {
    assert_eq!(
        encode("@£$_Δ à").segments[0].octets,
        [0x00, 0x01, 0x02, 0x11, 0x10, 0x20, 0x7f]
    );
    assert_eq!(
        encode("{}[]~\\|^").segments[0].octets,
        *b"\x1b\x28\x1b\x29\x1b\x3c\x1b\x3e\x1b\x3d\x1b\x2f\x1b\x40\x1b\x14"
    );
    assert_eq!(
        encode("я😀").segments[0].octets,
        [0x04, 0x4f, 0xd8, 0x3d, 0xde, 0x00]
    );
}

#[test]
fn several_segments_carry_the_header() {
    let parts = encode(&"a".repeat(200))
        .short_messages(0xab)
        .expect("two segments");
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0][..6], [5, 0, 3, 0xab, 2, 1]);
    assert_eq!(parts[1][..6], [5, 0, 3, 0xab, 2, 2]);
    assert_eq!(parts[0].len(), 159);
    assert_eq!(encode("a").short_messages(1), Some(vec![b"a".to_vec()]));
    assert_eq!(encode(&"a".repeat(153 * 256)).short_messages(1), None);
}

#[test]
fn a_foreign_octet_is_shown_as_unknown() {
    assert_eq!(decode_gsm(&[0x41, 0x80, 0x1b]), "A\u{fffd}\u{fffd}");
    assert_eq!(decode_gsm(&[0x1b, 0x41]), "A");
    assert_eq!(decode_ucs2(&[0xd8, 0x00, 0x41]), "\u{fffd}\u{fffd}");
}

#[test]
fn debug_says_nothing_of_the_text() {
    assert_eq!(
        format!("{:?}", encode("code 123456")),
        "Encoded(gsm7, 11 units, 1 segments)"
    );
}

proptest! {
    #[test]
    fn any_text_comes_back(text in "\\PC{0,400}") {
        let encoded = encode(&text);
        let read: String = encoded.segments.iter().map(|segment| match encoded.encoding {
            Encoding::Gsm7 => decode_gsm(&segment.octets),
            Encoding::Ucs2 => decode_ucs2(&segment.octets),
        }).collect();
        prop_assert_eq!(read, text);
    }

    #[test]
    fn segments_are_full_to_the_last_character(text in "[a-z€{|я😀’]{0,600}") {
        let encoded = encode(&text);
        let units = encoded.units_per_segment();
        prop_assert_eq!(units.iter().sum::<usize>(), encoded.units);
        if units.len() > 1 {
            prop_assert!(encoded.units > encoded.encoding.alone());
            prop_assert!(units.iter().all(|n| *n > 0 && *n <= encoded.encoding.part()));
            // Only a character of two units leaves a unit free.
            prop_assert!(units[..units.len() - 1].iter().all(|n| *n + 1 >= encoded.encoding.part()));
        } else {
            prop_assert!(encoded.units <= encoded.encoding.alone());
        }
    }
}
