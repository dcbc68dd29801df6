//! Receipts as carriers write them.

use proptest::prelude::*;

use super::*;

fn text(esm_class: u8, text: &str) -> Receipt {
    read(&Incoming {
        esm_class,
        short_message: text.as_bytes(),
        ..Incoming::default()
    })
}

fn with_tlvs(esm_class: u8, text: &str, tlvs: &[(u16, &[u8])]) -> Receipt {
    read(&Incoming {
        esm_class,
        short_message: text.as_bytes(),
        tlvs,
        ..Incoming::default()
    })
}

#[test]
fn the_text_of_the_appendix() {
    let receipt = text(
        0x04,
        "id:0123456789 sub:001 dlvrd:001 submit date:2311241530 done date:2311241531 stat:DELIVRD err:000 text:Your code is",
    );
    assert_eq!(receipt.kind, ReceiptKind::Receipt);
    assert_eq!(receipt.id.as_deref(), Some("0123456789"));
    assert_eq!(receipt.sub.as_deref(), Some("001"));
    assert_eq!(receipt.dlvrd.as_deref(), Some("001"));
    assert_eq!(receipt.submit.as_deref(), Some("2311241530"));
    assert_eq!(receipt.done.as_deref(), Some("2311241531"));
    assert_eq!(receipt.stat.as_deref(), Some("DELIVRD"));
    assert_eq!(receipt.state, Some(MessageState::Delivered));
    assert_eq!(receipt.err.as_deref(), Some("000"));
    assert_eq!(receipt.text.as_deref(), Some("Your code is"));
}

/// What is written, then kind, id, state, err, text.
type Shape = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<MessageState>,
    Option<&'static str>,
    Option<&'static str>,
);

#[rustfmt::skip]
const SHAPES: [Shape; 18] = [
    ("id:9 stat:DELIVRD err:000 nnn:24001 imsi:x text:hi", "receipt", Some("9"), Some(MessageState::Delivered), Some("000"), Some("hi")),
    ("id:9 stat:UNDELIV err:absent subscriber", "receipt", Some("9"), Some(MessageState::Undeliverable), Some("absent subscriber"), None),
    ("id:7 stat:UNDELIV err:0x1F", "receipt", Some("7"), Some(MessageState::Undeliverable), Some("0x1F"), None),
    ("ID: abc-1 SUB: 001 STAT: expired ERR: ABSENT Text:", "receipt", Some("abc-1"), Some(MessageState::Expired), Some("ABSENT"), None),
    ("stat:REJECTD id:9 err:011", "receipt", Some("9"), Some(MessageState::Rejected), Some("011"), None),
    ("id:9 stat:ACCEPTD", "intermediate", Some("9"), Some(MessageState::Accepted), None, None),
    ("id:9 stat:ENROUTE err:000", "intermediate", Some("9"), Some(MessageState::Enroute), Some("000"), None),
    ("id:9 stat:DELIVERED_TO_HANDSET", "receipt", Some("9"), Some(MessageState::Delivered), None, None),
    ("id:9 stat:WHATEVER", "receipt", Some("9"), Some(MessageState::Unknown), None, None),
    ("id:9 stat:UNDELIVERABLE text:a:b c id:8 err:5", "receipt", Some("9"), Some(MessageState::Undeliverable), None, Some("a:b c id:8 err:5")),
    ("text:hello id:8 stat:DELETED", "receipt", Some("8"), Some(MessageState::Deleted), None, Some("hello")),
    ("id:a b c sub:1 stat:DELIVRD", "receipt", Some("a b c"), Some(MessageState::Delivered), None, None),
    ("id:9", "receipt", Some("9"), None, None, None),
    ("stat:DELIVRD", "receipt", None, Some(MessageState::Delivered), None, None),
    ("id:9,stat:DELIVRD,err:000", "receipt", Some("9"), Some(MessageState::Delivered), Some("000"), None),
    ("id:9\nstat:DELIVRD\r\nerr:000\n", "receipt", Some("9"), Some(MessageState::Delivered), Some("000"), None),
    ("id:9 submit_date:20231124153000 done date :231124153001 stat :UNKNOWN", "receipt", Some("9"), Some(MessageState::Unknown), None, None),
    ("message_id:9 status:Delivered error:0", "receipt", Some("9"), Some(MessageState::Delivered), Some("0"), None),
];

#[test]
fn shapes_that_carriers_send() {
    for (written, kind, id, state, err, own) in SHAPES {
        let receipt = text(0x04, written);
        assert_eq!(receipt.kind.as_str(), kind, "{written}");
        assert_eq!(receipt.id.as_deref(), id, "{written}");
        assert_eq!(receipt.state, state, "{written}");
        assert_eq!(receipt.err.as_deref(), err, "{written}");
        assert_eq!(receipt.text.as_deref(), own, "{written}");
    }
    let dates = text(
        0x04,
        "id:9 submit_date:20231124153000 done date :231124153001 stat :UNKNOWN",
    );
    assert_eq!(dates.submit.as_deref(), Some("20231124153000"));
    assert_eq!(dates.done.as_deref(), Some("231124153001"));
}

#[test]
fn tlvs_win() {
    let tlvs: [(u16, &[u8]); 3] = [(0x001e, b"TLVID\0"), (0x0427, &[5]), (0x0423, &[3, 0, 27])];
    let receipt = with_tlvs(0x04, "id:1 stat:DELIVRD err:000", &tlvs);
    assert_eq!(receipt.id.as_deref(), Some("TLVID"));
    assert_eq!(receipt.state, Some(MessageState::Undeliverable));
    assert_eq!(receipt.stat.as_deref(), Some("DELIVRD"));
    assert_eq!(receipt.err.as_deref(), Some("027"));
    assert_eq!(
        receipt.network_error,
        Some(NetworkError {
            network: 3,
            code: 27
        })
    );
    let only = with_tlvs(0x04, "", &tlvs);
    assert_eq!(
        (only.kind, only.id.as_deref()),
        (ReceiptKind::Receipt, Some("TLVID"))
    );
    let short = with_tlvs(
        0x04,
        "id:1 stat:DELIVRD",
        &[(0x001e, b"\0"), (0x0427, &[]), (0x0423, &[1])],
    );
    assert_eq!(
        (short.id.as_deref(), short.state),
        (Some("1"), Some(MessageState::Delivered))
    );
}

#[test]
fn kinds() {
    assert_eq!(
        text(0x00, "id:1 stat:DELIVRD err:000").kind,
        ReceiptKind::Receipt
    );
    assert_eq!(
        text(0x00, "My id:1 stat:DELIVRD err:000").kind,
        ReceiptKind::MobileOriginated
    );
    assert_eq!(text(0x00, "YES").kind, ReceiptKind::MobileOriginated);
    assert_eq!(text(0x00, "YES").text.as_deref(), Some("YES"));
    assert_eq!(text(0x00, "").kind, ReceiptKind::MobileOriginated);
    assert_eq!(text(0x04, "").kind, ReceiptKind::Unparsable);
    assert_eq!(text(0x04, "whatever this is").kind, ReceiptKind::Unparsable);
    assert_eq!(
        text(0x20, "id:1 stat:DELIVRD").kind,
        ReceiptKind::Intermediate
    );
    assert_eq!(text(0x44, "id:1 stat:DELIVRD").kind, ReceiptKind::Receipt);
    assert_eq!(
        with_tlvs(0x00, "", &[(0x001e, b"1"), (0x0427, &[2])]).kind,
        ReceiptKind::Receipt
    );
}

#[test]
fn other_carriages() {
    let wide: Vec<u8> = "id:1 stat:DELIVRD"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let receipt = read(&Incoming {
        esm_class: 4,
        data_coding: 8,
        short_message: &wide,
        tlvs: &[],
    });
    assert_eq!(
        (receipt.id.as_deref(), receipt.state),
        (Some("1"), Some(MessageState::Delivered))
    );
    let ascii = read(&Incoming {
        esm_class: 4,
        data_coding: 8,
        short_message: b"id:1 stat:DELIVRD",
        tlvs: &[],
    });
    assert_eq!(ascii.id.as_deref(), Some("1"));
    let payload = with_tlvs(0x04, "", &[(0x0424, b"id:1 stat:DELIVRD")]);
    assert_eq!(payload.id.as_deref(), Some("1"));
    let padded = read(&Incoming {
        esm_class: 4,
        short_message: b"id:a\x11b stat:DELIVRD\0\0",
        ..Incoming::default()
    });
    assert_eq!(
        (padded.id.as_deref(), padded.stat.as_deref()),
        (Some("a_b"), Some("DELIVRD"))
    );
    let headed = read(&Incoming {
        esm_class: 0x44,
        short_message: b"\x02\x70\x00id:1 stat:DELIVRD",
        ..Incoming::default()
    });
    assert_eq!(headed.id.as_deref(), Some("1"));
}

#[test]
fn debug_says_nothing_of_the_text() {
    let shown = format!("{:?}", text(0x04, "id:1 stat:DELIVRD text:code 123456"));
    assert!(!shown.contains("123456"), "{shown}");
}

proptest! {
    #[test]
    fn any_octets_are_survived(
        message in proptest::collection::vec(any::<u8>(), 0..260),
        esm_class: u8,
        data_coding: u8,
        value in proptest::collection::vec(any::<u8>(), 0..9),
        tag in prop_oneof![Just(0x001eu16), Just(0x0423), Just(0x0424), Just(0x0427)],
    ) {
        let tlvs = [(tag, value.as_slice())];
        let receipt = read(&Incoming { esm_class, data_coding, short_message: &message, tlvs: &tlvs });
        let named = receipt.id.is_some() || receipt.state.is_some();
        prop_assert_eq!(named, matches!(receipt.kind, ReceiptKind::Receipt | ReceiptKind::Intermediate));
    }

    #[test]
    fn any_order_of_fields_reads_the_same(
        order in Just(["id:77", "sub:001", "dlvrd:000", "submit date:2311241530", "done date:2311241531", "stat:EXPIRED", "err:abc"]).prop_shuffle(),
        upper: bool,
    ) {
        let written = order.join(" ");
        let written = if upper { written.to_ascii_uppercase() } else { written };
        let receipt = text(0x04, &written);
        prop_assert_eq!(receipt.id.as_deref(), Some("77"));
        prop_assert_eq!(receipt.sub.as_deref(), Some("001"));
        prop_assert_eq!(receipt.dlvrd.as_deref(), Some("000"));
        prop_assert_eq!(receipt.submit.as_deref(), Some("2311241530"));
        prop_assert_eq!(receipt.done.as_deref(), Some("2311241531"));
        prop_assert_eq!(receipt.state, Some(MessageState::Expired));
        prop_assert_eq!(receipt.err.map(|e| e.to_ascii_lowercase()), Some("abc".to_owned()));
    }
}
