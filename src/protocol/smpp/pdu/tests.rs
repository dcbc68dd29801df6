//! PDUs octet by octet, with another codec as the second opinion.

use super::*;
use crate::protocol::smpp::receipt;
use proptest::prelude::*;
use rusmpp::{Command, Pdu, decode::DecodeWithLength};

fn deliver(short_message: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x01\x0112025550123\0\x03\097671\0".to_vec();
    body.extend([4, 0, 0, 0, 0, 0, 0, 8, 0, short_message.len() as u8]);
    body.extend(short_message);
    body.extend(tail);
    body
}

fn whole(command: u32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    pdu(&mut out, command, 0, 7, |out| out.put_slice(body));
    out
}

/// What another SMPP library makes of our octets.
fn foreign(octets: &[u8]) -> Result<Command, String> {
    let mut body = BytesMut::from(&octets[4..]);
    let length = body.len();
    Command::decode(&mut body, length)
        .map(|(command, _)| command)
        .map_err(|e| format!("{e:?}"))
}

#[test]
fn a_submit_is_read_by_a_foreign_library() {
    let submit = Submit {
        source: Sender {
            ton: 5,
            npi: 0,
            address: "Ringback",
        },
        destination: "12025550123",
        esm_class: 0x40,
        data_coding: 8,
        validity_s: 179,
        message: &[0x05, 0x00, 0x03, 9, 2, 1, 0x04, 0x1F],
    };
    let mut out = BytesMut::new();
    submit.write(42, &mut out);
    let command = foreign(&out).unwrap();
    assert_eq!(command.sequence_number, 42);
    let Some(Pdu::SubmitSm(read)) = command.pdu() else {
        panic!("{command:?}")
    };
    assert_eq!(read.source_addr.as_str(), "Ringback");
    assert_eq!(u8::from(read.source_addr_ton), 5);
    assert_eq!(read.destination_addr.as_str(), "12025550123");
    assert_eq!(read.validity_period.as_str(), "000000000259000R");
    assert_eq!(u8::from(read.esm_class), 0x40);
    assert_eq!(u8::from(read.registered_delivery), 1);
    assert_eq!(u8::from(read.data_coding), 8);
    assert_eq!(read.short_message().as_ref(), submit.message);
}

#[test]
fn a_bind_is_read_by_a_foreign_library() {
    let mut out = BytesMut::new();
    write_bind_transceiver("mfa", "secret", "sms", 1, &mut out);
    let command = foreign(&out).unwrap();
    let Some(Pdu::BindTransceiver(bind)) = command.pdu() else {
        panic!("{command:?}")
    };
    assert_eq!(
        (
            bind.system_id.as_str(),
            bind.password.as_str(),
            bind.system_type.as_str()
        ),
        ("mfa", "secret", "sms")
    );
}

/// Why the codec is ours: each of these is common in the field, and the foreign library refuses the whole PDU.
#[test]
fn untidy_dialect_is_read_where_a_foreign_library_refuses_it() {
    let long_id = [&[b'a'; 70][..], b"\0"].concat();
    for (body, id) in [
        (&b"4711"[..], "4711".to_owned()),
        (&long_id, "a".repeat(70)),
        (b"\xE9A\0", "\u{E9}A".to_owned()),
    ] {
        let octets = whole(command::SUBMIT_SM | command::RESPONSE, body);
        assert!(foreign(&octets).is_err(), "{id}");
        assert_eq!(message_id(&Bytes::copy_from_slice(body)), id);
    }
}

#[test]
fn an_id_is_read_out_of_its_padding_and_out_of_the_tlv() {
    for (body, id) in [
        (&b"4711  \0"[..], "4711"),
        (b" 4711\r\n\0", "4711"),
        (b"\0\x00\x1E\x00\x05A1b2\0", "A1b2"),
        (b"\0\x00\x1E\x00\x06A1b2\r\n", "A1b2"),
        (b"\0\x04\x27\x00\x01\x02\x00\x1E\x00\x04A1b2", "A1b2"),
        (b"\x00\x1E\x00\x04A1b2", "A1b2"),
        (b"4711\0\x00\x1E\x00\x04A1b2", "4711"),
        (b"\0", ""),
        (b"", ""),
        (b"\0\x00\x1E\x00\x40A1b2", ""),
        (b"  \r\n\0", ""),
    ] {
        assert_eq!(message_id(&Bytes::copy_from_slice(body)), id, "{body:?}");
    }
}

#[test]
fn a_receipt_gives_its_fields_and_tlvs() {
    let tail = [&[0x00, 0x1E, 0, 4][..], b"A1b\0", &[0x04, 0x27, 0, 1, 2]].concat();
    let read = Deliver::parse_deliver_sm(deliver(b"id:A1b stat:DELIVRD", &tail).into()).unwrap();
    assert_eq!(
        read.source,
        SmppAddress {
            ton: 1,
            npi: 1,
            digits: "12025550123".into()
        }
    );
    assert_eq!(read.destination.digits, "97671");
    assert_eq!((read.esm_class, read.data_coding), (4, 8));
    assert_eq!(&read.message[..], b"id:A1b stat:DELIVRD");
    assert_eq!(
        &read.tlv(receipt::TAG_RECEIPTED_MESSAGE_ID).unwrap()[..],
        b"A1b\0"
    );
    assert_eq!(&read.tlv(receipt::TAG_MESSAGE_STATE).unwrap()[..], [2]);
    assert!(!format!("{read:?}").contains("2025550123"));
}

#[test]
fn lengths_inside_a_pdu_are_not_trusted() {
    let mut body = deliver(b"short", &[]);
    let length_at = body.len() - 6;
    body[length_at] = 250;
    assert_eq!(
        &Deliver::parse_deliver_sm(body.into()).unwrap().message[..],
        b"short"
    );

    let broken_tlv = [0x04, 0x24, 0xFF, 0xFF, 1];
    let read = Deliver::parse_deliver_sm(deliver(b"x", &broken_tlv).into()).unwrap();
    assert!(read.tlvs.is_empty());

    let payload = [0x04, 0x24, 0, 2, b'h', b'i'];
    assert_eq!(
        &Deliver::parse_deliver_sm(deliver(b"", &payload).into())
            .unwrap()
            .message[..],
        b"hi"
    );
}

#[test]
fn frames_come_whole_or_not_at_all() {
    let mut stream = whole(command::ENQUIRE_LINK, &[]);
    stream.extend_from_slice(&whole(command::DELIVER_SM, b"abc")[..10]);
    let first = take_frame(&mut stream).unwrap().unwrap();
    assert_eq!(
        (first.command, first.sequence, first.body.len()),
        (command::ENQUIRE_LINK, 7, 0)
    );
    assert_eq!(take_frame(&mut stream), Ok(None));

    let mut short = BytesMut::from(&[0, 0, 0, 15, 0][..]);
    assert_eq!(take_frame(&mut short), Err(FrameError::TooShort(15)));
    let mut long = BytesMut::from(&[0, 1, 0, 1][..]);
    assert_eq!(take_frame(&mut long), Err(FrameError::TooLong(65_537)));
}

#[test]
fn a_submit_that_does_not_fit_says_so() {
    let fitting = Submit {
        source: Sender {
            ton: 3,
            npi: 0,
            address: "97671",
        },
        destination: "12025550123",
        esm_class: 0,
        data_coding: 0,
        validity_s: 60,
        message: b"hello",
    };
    assert!(fitting.fits());
    assert!(
        !Submit {
            message: &[0; 255],
            ..fitting.clone()
        }
        .fits()
    );
    assert!(
        !Submit {
            destination: "123456789012345678901",
            ..fitting.clone()
        }
        .fits()
    );
    let inner_nul = Sender {
        ton: 5,
        npi: 0,
        address: "A\0B",
    };
    assert!(
        !Submit {
            source: inner_nul,
            ..fitting
        }
        .fits()
    );
}

proptest! {
    #[test]
    fn random_octets_never_break_the_reader(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut stream = BytesMut::from(&octets[..]);
        while let Ok(Some(frame)) = take_frame(&mut stream) {
            prop_assert!(frame.body.len() + HEADER <= octets.len());
        }
        if let Some(read) = Deliver::parse_deliver_sm(octets.clone().into()) {
            prop_assert!(read.message.len() <= octets.len());
        }
        let _ = Deliver::parse_data_sm(octets.clone().into());
        prop_assert!(message_id(&octets.into()).chars().count() <= MAX_ID);
    }

    #[test]
    fn what_fits_is_read_back_by_a_foreign_library(
        address in "[A-Za-z0-9]{1,11}",
        to in "[1-9][0-9]{6,14}",
        message in proptest::collection::vec(any::<u8>(), 0..=254),
        validity_s in 5u32..100_000,
    ) {
        let submit = Submit {
            source: Sender { ton: 5, npi: 0, address: &address },
            destination: &to,
            esm_class: 0,
            data_coding: 0,
            validity_s,
            message: &message,
        };
        let mut out = BytesMut::new();
        submit.write(3, &mut out);
        let command = foreign(&out).map_err(TestCaseError::fail)?;
        let Some(Pdu::SubmitSm(read)) = command.pdu() else { panic!("not a submit") };
        prop_assert_eq!(read.source_addr.as_str(), &address);
        prop_assert_eq!(read.destination_addr.as_str(), &to);
        prop_assert_eq!(read.short_message().as_ref(), &message[..]);
    }
}
