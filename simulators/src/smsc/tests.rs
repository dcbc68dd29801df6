//! The message centre as a machine: octets in, octets out, time in the test's hand.

use super::SmscConfig;
use super::accounts::DELIVERY_PATIENCE;
use crate::record::TextResult;
use crate::script::Dice;
use bench::{Bench, bind_body, has, pdu, submit, submit_body};
use std::time::Duration;

mod bench;

#[test]
fn a_text_is_taken_read_and_receipted() {
    let mut bench = Bench::bound();
    let answers = bench.say(&submit(2, "12025550123", "Your code is 482913"));
    assert_eq!(
        (answers[0].0, answers[0].1, answers[0].2),
        (0x8000_0004, 0, 2)
    );
    let id = String::from_utf8(answers[0].3[..answers[0].3.len() - 1].to_vec()).unwrap();

    assert!(bench.pass(Duration::from_millis(99)).is_empty());
    let receipts = bench.pass(Duration::from_millis(1));
    assert_eq!(receipts.len(), 1);
    let (command, _, sequence, body) = &receipts[0];
    assert_eq!(*command, 0x05);
    assert!(has(body, &format!("id:{id} sub:001 dlvrd:001")));
    assert!(has(body, "stat:DELIVRD err:000 text:Your code is 482913"));
    assert!(has(body, &format!("\x00\x1e\x00\x0b{id}\0")) && body.ends_with(b"\x04\x27\0\x01\x02"));
    bench.say(&pdu(0x8000_0005, 0, *sequence, b"\0"));

    let text = &bench.record.texts_to("+12025550123")[0];
    assert_eq!(text.to, "+12025550123");
    assert_eq!(text.from, "97671");
    assert_eq!(text.text, "Your code is 482913");
    assert_eq!(text.reference, id);
    assert_eq!(text.receipts, ["DELIVRD"]);
    assert_eq!(text.validity_s, Some(180));
    assert_eq!(bench.record.summary().protocol_errors, 0);
    assert!(
        bench
            .pass(DELIVERY_PATIENCE * 2)
            .iter()
            .all(|seen| seen.0 == 0x15),
        "nothing is sent twice"
    );
}

#[test]
fn a_bind_needs_the_right_name_and_secret() {
    let credentials = Some(("mfa".to_owned(), "secret".to_owned()));
    let mut bench = Bench::new(SmscConfig {
        credentials,
        ..SmscConfig::default()
    });
    assert_eq!(
        bench.say(&pdu(0x09, 0, 1, &bind_body("you", "secret")))[0].1,
        0x0F
    );
    assert_eq!(
        bench.say(&pdu(0x09, 0, 2, &bind_body("mfa", "wrong")))[0].1,
        0x0E
    );
    assert_eq!(bench.record.summary().protocol_errors, 0);
    assert_eq!(bench.say(&submit(3, "12025550123", "x"))[0].1, 0x04);
    assert_eq!(bench.record.summary().protocol_errors, 1);
    assert_eq!(
        bench.say(&pdu(0x02, 0, 4, &bind_body("mfa", "secret")))[0].1,
        0
    );
    assert_eq!(
        bench.say(&pdu(0x02, 0, 5, &bind_body("mfa", "secret")))[0].1,
        0x05
    );
}

#[test]
fn receipts_go_to_the_receiver_and_wait_for_one() {
    let mut bench = Bench::new(SmscConfig::default());
    bench.say(&pdu(0x02, 0, 1, &bind_body("mfa", "secret")));
    bench.say(&submit(2, "12025550123", "code 1234"));
    assert!(
        bench.pass(Duration::from_secs(1)).is_empty(),
        "a transmitter gets no receipt"
    );
    let transmitter = bench.session;
    bench.session = bench.centre.connected(bench.now).unwrap();
    let seen = bench.say(&pdu(0x01, 0, 1, &bind_body("mfa", "secret")));
    assert_eq!(
        seen.iter().map(|seen| seen.0).collect::<Vec<_>>(),
        [0x8000_0001, 0x05]
    );

    // The receiver goes without an answer: the next one gets it again, and it is counted once.
    bench.centre.closed(bench.session, bench.now);
    bench.session = bench.centre.connected(bench.now).unwrap();
    assert_eq!(
        bench
            .say(&pdu(0x01, 0, 1, &bind_body("mfa", "secret")))
            .len(),
        2
    );
    assert_eq!(bench.record.summary().receipts["DELIVRD"], 1);
    assert_ne!(bench.session, transmitter);
}

#[test]
fn receipts_keep_to_their_window() {
    let mut bench = Bench::new(SmscConfig {
        receipt_window: 2,
        ..SmscConfig::default()
    });
    bench.say(&pdu(0x09, 0, 1, &bind_body("mfa", "secret")));
    for sequence in 2..7 {
        bench.say(&submit(sequence, "12025550123", "code 1234"));
    }
    let first = bench.pass(Duration::from_millis(100));
    assert_eq!(first.len(), 2);
    let next = bench.say(&pdu(0x8000_0005, 0, first[0].2, b"\0"));
    assert_eq!(next.len(), 1);
    // Busy: the same receipt comes again a little later.
    bench.say(&pdu(0x8000_0005, 0x58, first[1].2, b"\0"));
    assert_eq!(bench.record.summary().receipts["DELIVRD"], 4);
    bench.say(&pdu(0x8000_0005, 0, next[0].2, b"\0"));
    assert_eq!(bench.record.summary().receipts["DELIVRD"], 5);
    assert_eq!(bench.record.summary().protocol_errors, 0);
}

#[test]
fn parts_are_joined_by_header_and_by_parameters() {
    let mut bench = Bench::bound();
    let second = submit_body(
        "12025550123",
        0x40,
        0,
        b"\x05\x00\x03\x07\x02\x02 is 482913",
    );
    let first = submit_body("12025550123", 0x40, 0, b"\x05\x00\x03\x07\x02\x01Your code");
    bench.say(&pdu(0x04, 0, 2, &second));
    assert_eq!(bench.record.summary().texts, 0);
    bench.say(&pdu(0x04, 0, 3, &first));
    let text = bench.record.texts_to("12025550123").remove(0);
    assert_eq!((text.text.as_str(), text.parts), ("Your code is 482913", 2));
    bench.pass(Duration::from_millis(100));
    assert_eq!(
        bench.record.texts_to("12025550123")[0].receipts,
        ["DELIVRD", "DELIVRD"]
    );

    for (number, text) in [(1u8, "код "), (2, "482913")] {
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut body = submit_body("12025550124", 0, 8, &octets);
        body.extend_from_slice(b"\x02\x0c\0\x02\x01\x02\x02\x0e\0\x01\x02\x02\x0f\0\x01");
        body.push(number);
        assert_eq!(
            bench.say(&pdu(0x04, 0, 9 + u32::from(number), &body))[0].1,
            0
        );
    }
    assert_eq!(bench.record.texts_to("12025550124")[0].text, "код 482913");
    assert_eq!(bench.record.summary().protocol_errors, 0);
}

#[test]
fn what_breaks_the_standard_is_refused_and_written_down() {
    let long = "x".repeat(161);
    let bad: &[(&str, Vec<u8>, u32)] = &[
        (
            "161 septets in one part",
            submit_body("12025550123", 0, 0, long.as_bytes()),
            0x01,
        ),
        (
            "a plus sign in the number",
            submit_body("+12025550123", 0, 0, b"x"),
            0x0B,
        ),
        (
            "Latin-1 sold as default alphabet",
            submit_body("12025550123", 0, 0, b"caf\xE9"),
            0x01,
        ),
        (
            "half a surrogate pair",
            submit_body("12025550123", 0, 8, b"\xD8\x3D"),
            0x01,
        ),
        (
            "part 3 of 2",
            submit_body("12025550123", 0x40, 0, b"\x05\x00\x03\x07\x02\x03x"),
            0x43,
        ),
        ("no text", submit_body("12025550123", 0, 0, b""), 0x01),
        (
            "cut",
            submit_body("12025550123", 0, 0, b"x")[..20].to_vec(),
            0x02,
        ),
        (
            "left over",
            [submit_body("12025550123", 0, 0, b"x"), vec![1, 2, 3]].concat(),
            0xC0,
        ),
    ];
    for (what, body, status) in bad {
        let mut bench = Bench::bound();
        let answers = bench.say(&pdu(0x04, 0, 2, body));
        assert_eq!(answers[0].1, *status, "{what}");
        assert_eq!(bench.record.summary().protocol_errors, 1, "{what}");
        assert_eq!(bench.record.summary().texts, 0, "{what}");
    }
    let mut bench = Bench::bound();
    assert_eq!(bench.say(&pdu(0x77, 0, 2, b""))[0].0, 0x8000_0000);
    assert!(bench.say(&pdu(0x8000_0005, 0, 99, b"\0")).is_empty());
    assert_eq!(bench.record.summary().protocol_errors, 2);
}

#[test]
fn each_person_has_their_own_receipts() {
    let cases: &[(&str, &[&str], TextResult)] = &[
        ("12025559001", &["UNDELIV"], TextResult::Unread),
        ("12025559002", &[], TextResult::Read),
        ("12025559005", &["DELIVRD", "DELIVRD"], TextResult::Read),
        ("12025559006", &[], TextResult::Refused),
        ("12025559007", &["REJECTD"], TextResult::Unread),
        ("12025559009", &["EXPIRED"], TextResult::Unread),
        ("12025559011", &["DELIVRD"], TextResult::Read),
        ("12025559013", &["ENROUTE", "DELIVRD"], TextResult::Read),
    ];
    for (to, receipts, result) in cases {
        let mut bench = Bench::bound();
        bench.say(&submit(2, to, "code 1234"));
        bench.pass(Duration::from_secs(2));
        let text = &bench.record.texts_to(to)[0];
        assert_eq!(text.receipts, *receipts, "{to}");
        assert_eq!(text.result, *result, "{to}");
    }
}

#[test]
fn late_early_unanswered_and_answered_by_text() {
    let mut bench = Bench::bound();
    bench.say(&submit(2, "12025559003", "code 1234"));
    assert!(
        bench
            .pass(Duration::from_secs(30))
            .iter()
            .all(|seen| seen.0 != 0x05)
    );
    assert_eq!(
        bench
            .pass(Duration::from_millis(100))
            .iter()
            .filter(|seen| seen.0 == 0x05)
            .count(),
        1
    );

    let mut bench = Bench::bound();
    let early = bench.say(&submit(2, "12025559004", "code 1234"));
    assert_eq!(early.iter().map(|seen| seen.0).collect::<Vec<_>>(), [0x05]);
    assert_eq!(bench.pass(Duration::from_millis(50))[0].0, 0x8000_0004);

    let mut bench = Bench::bound();
    assert!(bench.say(&submit(2, "12025559008", "code 1234")).is_empty());
    assert!(
        bench.centre.output(bench.session, &mut Vec::new()),
        "the session is dropped"
    );
    assert!(!bench.record.texts_to("12025559008")[0].answered);

    let mut bench = Bench::bound();
    bench.say(&submit(2, "12025559012", "code 1234, keep it"));
    let seen = bench.pass(Duration::from_secs(1));
    let reply = seen
        .iter()
        .find(|seen| seen.0 == 0x05 && !has(&seen.3, "stat:"))
        .unwrap();
    assert!(
        reply
            .3
            .starts_with(b"\0\x01\x0112025559012\0\x03\x0097671\0\0")
    );
    assert!(reply.3.ends_with(b"\x041234"));
}

#[test]
fn ids_differ_as_the_script_wants() {
    let mut bench = Bench::bound();
    let hex_dec = bench.say(&submit(2, "12025559010", "code 1234"));
    assert_eq!(hex_dec[0].3, b"A0000001\0");
    assert!(has(
        &bench.pass(Duration::from_millis(100))[0].3,
        "id:2684354561 "
    ));
    bench.say(&submit(3, "12025559011", "code 1234"));
    let tlv_only = bench.pass(Duration::from_millis(100)).remove(0);
    assert!(!has(&tlv_only.3, "id:") && has(&tlv_only.3, "\x00\x1e\x00\x0b2684354562\0"));
    for (base, answer, receipt) in [
        ("dec_hex", "2684354563\0", "id:a0000003 "),
        ("upper", "a0000004\0", "id:A0000004 "),
        ("padded", "2684354565\0", "id:000000000000002684354565 "),
    ] {
        bench
            .script
            .apply(&serde_json::json!({ "id_base": base }))
            .unwrap();
        assert_eq!(
            bench.say(&submit(4, "12025550123", "code 1234"))[0].3,
            answer.as_bytes()
        );
        assert!(
            has(&bench.pass(Duration::from_millis(100))[0].3, receipt),
            "{base}"
        );
    }
}

#[test]
fn faults_strike_as_often_as_they_say() {
    let mut bench = Bench::bound();
    bench
        .script
        .apply(&serde_json::json!({"throttle": {"every": 2}}))
        .unwrap();
    let statuses: Vec<u32> = (0..4)
        .map(|n| bench.say(&submit(2 + n, "12025550123", "code 1234"))[0].1)
        .collect();
    assert_eq!(statuses, [0, 0x58, 0, 0x58]);
    bench
        .script
        .apply(&serde_json::json!({"throttle": null, "error": {"often": 1.0, "code": 0x14}}))
        .unwrap();
    assert_eq!(bench.say(&submit(9, "12025550123", "code 1234"))[0].1, 0x14);
    bench
        .script
        .apply(&serde_json::json!({"error": null, "silent": true}))
        .unwrap();
    assert!(
        bench
            .say(&submit(10, "12025550123", "code 1234"))
            .is_empty()
    );
    let texts = bench.record.summary().texts;
    bench
        .script
        .apply(&serde_json::json!({"silent": false, "response_delay_ms": 700}))
        .unwrap();
    assert!(
        bench
            .say(&submit(11, "12025550123", "code 1234"))
            .is_empty()
    );
    assert_eq!(
        bench.record.summary().texts,
        texts + 1,
        "a silent carrier takes nothing"
    );
    let seen = bench.pass(Duration::from_millis(700));
    assert!(
        seen.iter()
            .any(|seen| seen.0 == 0x8000_0004 && seen.2 == 11)
    );
}

#[test]
fn carriers_write_receipts_in_their_own_ways() {
    let mut bench = Bench::bound();
    bench
        .script
        .apply(&serde_json::json!({"receipts_by_data_sm": 1.0, "receipt_form": "seconds"}))
        .unwrap();
    bench.say(&submit(2, "12025550123", "code 1234"));
    let receipt = bench.pass(Duration::from_millis(100)).remove(0);
    assert_eq!(receipt.0, 0x103);
    assert!(has(
        &receipt.3,
        "submit date:250615150640 done date:250615150640 stat:DELIVRD"
    ));
    bench.say(&pdu(0x8000_0103, 0, receipt.2, b"\0"));
    bench
        .script
        .apply(&serde_json::json!({"receipts_by_data_sm": null, "receipt_form": "no_tlvs"}))
        .unwrap();
    bench.say(&submit(3, "12025550123", "code 1234"));
    let receipt = bench.pass(Duration::from_millis(100)).remove(0);
    assert!(receipt.0 == 0x05 && receipt.3.ends_with(b"text:code 1234"));
    assert_eq!(bench.record.summary().protocol_errors, 0);
}

#[test]
fn a_silent_carrier_keeps_its_receipts_to_itself() {
    let mut bench = Bench::bound();
    bench.say(&submit(2, "12025550123", "code 1234"));
    bench.script.change(|faults| faults.silent = true);
    assert!(bench.pass(Duration::from_secs(5)).is_empty());
    assert!(bench.say(&pdu(0x15, 0, 3, b"")).is_empty());
    bench.script.change(|faults| faults.silent = false);
    let seen = bench.pass(Duration::from_secs(1));
    assert_eq!(seen.iter().map(|seen| seen.0).collect::<Vec<_>>(), [0x05]);
    assert_eq!(bench.record.summary().protocol_errors, 0);
}

#[test]
fn what_is_not_answered_comes_again_and_quiet_sessions_are_asked() {
    let mut bench = Bench::bound();
    bench.say(&submit(2, "12025550123", "code 1234"));
    assert_eq!(bench.pass(Duration::from_millis(100)).len(), 1);
    let seen = bench.pass(DELIVERY_PATIENCE + Duration::from_secs(1));
    assert_eq!(
        seen.iter().map(|seen| seen.0).collect::<Vec<_>>(),
        [0x05, 0x15]
    );
    assert_eq!(bench.record.summary().receipts["DELIVRD"], 1);
    assert_eq!(bench.record.summary().protocol_errors, 1);
    bench.say(&pdu(0x8000_0015, 0, seen[1].2, b""));
    bench.say(&pdu(0x8000_0005, 0, seen[0].2, b"\0"));
    assert_eq!(bench.record.summary().protocol_errors, 1);
}

/// Whatever comes, in whatever pieces, the centre lives and answers the next sound session.
#[test]
fn garbage_never_breaks_it() {
    let seed = 20_260_102;
    let mut dice = Dice::new(seed);
    let mut bench = Bench::bound();
    for round in 0..3_000 {
        let mut octets = match dice.below(4) {
            0 => (0..dice.below(200)).map(|_| dice.bits() as u8).collect(),
            1 => pdu(
                [0x04, 0x103, 0x09, 0x05, 0x8000_0005][dice.below(5) as usize],
                0,
                7,
                &{
                    (0..dice.below(120))
                        .map(|_| dice.bits() as u8)
                        .collect::<Vec<_>>()
                },
            ),
            _ => submit(5, "12025550123", "Your code is 482913"),
        };
        for _ in 0..dice.below(4) {
            let at = dice.below(octets.len() as u64) as usize;
            if let Some(octet) = octets.get_mut(at) {
                *octet = dice.bits() as u8;
            }
        }
        let cut = dice.below(octets.len() as u64 + 1) as usize;
        bench
            .centre
            .received(bench.session, &octets[..cut], bench.now);
        bench
            .centre
            .received(bench.session, &octets[cut..], bench.now);
        bench.pass(Duration::from_millis(dice.below(50)));
        bench.centre.closed(bench.session, bench.now);
        bench.session = bench.centre.connected(bench.now).unwrap();
        let answers = bench.say(&pdu(0x09, 0, 1, &bind_body("mfa", "secret")));
        assert_eq!(answers[0].0, 0x8000_0009, "seed {seed}, round {round}");
    }
    assert!(bench.record.summary().protocol_errors > 500);
}
