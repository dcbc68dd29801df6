//! Over real sockets, against the simulated SMSC.

use std::collections::HashMap;

use simulators::{
    record::{Encoding, TextResult},
    script::{Faults, IdBase, Often},
    smsc::{Smsc, SmscConfig},
};
use tokio::io::AsyncReadExt;

use super::*;
use crate::{
    carrier::{AttemptEvent, Finish, Incoming, Link, ReceiptState, reference::other_forms},
    cause::{Cause, Verdict},
    config::carrier::{Carry, ReceiptId, Tls},
};
use rig::{LIMIT, Rig, Setting, bound, config, phone, rig, smsc, wall};

pub mod rig;

#[tokio::test]
async fn a_text_is_read_and_its_receipt_finds_it() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = bound(&smsc, Setting::default()).await;
    assert_eq!(rig.handle.slots.get(), 10);
    rig.submit(1, "Your code is 482913");
    let references = rig.accepted(1).await;
    assert_eq!(references.len(), 1);
    let receipt = rig.receipt().await;
    assert_eq!(
        (receipt.state, &receipt.references[0]),
        (ReceiptState::Delivered, &references[0])
    );
    assert_eq!(receipt.phone.as_deref(), Some(&phone(1)[1..]));
    assert_eq!(receipt.sender.as_deref(), Some("97671"));

    let read = &smsc.record().texts_to(&phone(1))[0];
    assert_eq!(
        (&*read.text, &*read.from, read.parts),
        ("Your code is 482913", "97671", 1)
    );
    assert!(read.receipt_wanted);
    assert!(
        (170..=181).contains(&read.validity_s.unwrap()),
        "{:?}",
        read.validity_s
    );
    assert_eq!(smsc.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn long_and_foreign_texts_arrive_whole_with_a_reference_for_each_part() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = bound(
        &smsc,
        Setting {
            binds: 2,
            window: 2,
            ..Setting::default()
        },
    )
    .await;
    let texts = [
        "{€} ".repeat(120),
        "Ваш код 482913 😀 ".repeat(15),
        "Grüße".into(),
    ];
    for (n, text) in texts.iter().enumerate() {
        rig.submit(n as i64, text);
    }
    for (n, text) in texts.iter().enumerate() {
        let n = n as i64;
        let references = rig.accepted(n).await;
        let read = &smsc.record().texts_to(&phone(n))[0];
        assert_eq!(&read.text, text);
        assert_eq!(references.len(), read.parts as usize);
        assert_eq!(read.encoding == Encoding::Ucs2, n == 1);
    }
    assert_eq!(smsc.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn early_receipts_pass_through_with_the_reference_as_they_write_it() {
    let smsc = smsc(Faults {
        early_receipts: Often::ALWAYS,
        id_base: IdBase::HexDec,
        ..Faults::default()
    })
    .await;
    let mut rig = bound(&smsc, Setting::default()).await;
    rig.submit(1, "Your code is 482913");
    let receipt = rig.receipt().await;
    assert!(
        !rig.heard
            .iter()
            .any(|what| matches!(what, CarrierEvent::Attempt(..))),
        "the receipt came before the answer"
    );
    let references = rig.accepted(1).await;
    assert_eq!(receipt.references.len(), 1);
    let forms = other_forms(&receipt.references[0], ReceiptId::RespHexDlrDec);
    assert!(
        forms.contains(&references[0]),
        "{references:?} not in {forms:?}"
    );
    assert_ne!(receipt.references[0], references[0]);
}

#[tokio::test]
async fn the_window_is_kept_and_everything_given_is_answered() {
    let smsc = smsc(Faults {
        response_delay_ms: 30,
        ..Faults::default()
    })
    .await;
    let mut rig = bound(
        &smsc,
        Setting {
            binds: 2,
            window: 3,
            ..Setting::default()
        },
    )
    .await;
    assert_eq!(rig.handle.slots.get(), 6);
    let began = Instant::now();
    for n in 0..60 {
        rig.submit(n, "Your code is 482913");
    }
    for n in 0..60 {
        rig.accepted(n).await;
    }
    // Sixty texts, six at a time, 30 ms each: a window that leaks would be quicker.
    assert!(
        began.elapsed() >= Duration::from_millis(290),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn what_waits_for_the_window_past_its_deadline_is_never_sent() {
    let slow = Faults {
        response_delay_ms: 600,
        ..Faults::default()
    };
    let smsc = smsc(slow).await;
    let window = Setting {
        window: 1,
        ..Setting::default()
    };
    let mut rig = bound(&smsc, window).await;
    rig.submit(1, "Your code is 482913");
    rig.submit_until(
        2,
        "Your code is 482913",
        wall() + Duration::from_millis(200),
    );
    rig.submit(3, "Your code is 482913");
    assert_eq!(rig.failed(2).await.cause, Cause::Expired);
    rig.accepted(1).await;
    rig.accepted(3).await;
    assert!(smsc.record().texts_to(&phone(2)).is_empty());
    assert_eq!(smsc.record().summary().texts_read, 2);
}

#[tokio::test]
async fn throttling_takes_slots_and_gives_them_back() {
    let smsc = smsc(Faults {
        throttle: Often::ALWAYS,
        ..Faults::default()
    })
    .await;
    let mut rig = bound(
        &smsc,
        Setting {
            window: 16,
            ..Setting::default()
        },
    )
    .await;
    assert_eq!(rig.handle.slots.get(), 16);
    rig.submit(1, "Your code is 482913");
    let failure = rig.failed(1).await;
    assert_eq!(
        (failure.cause, failure.verdict),
        (Cause::Throttled, Verdict::Later)
    );
    assert_eq!(failure.carrier_code.as_deref(), Some("0x00000058"));
    assert_eq!(rig.handle.slots.get(), 8);
    smsc.faults().set(Faults::default());
    rig.link(&Link::Room).await;
    assert_eq!(rig.handle.slots.get(), 9);
}

#[tokio::test]
async fn a_lost_session_leaves_doubt_then_comes_back() {
    let smsc = smsc(Faults {
        drop_after_send: Often::ALWAYS,
        ..Faults::default()
    })
    .await;
    let mut rig = bound(&smsc, Setting::default()).await;
    rig.submit(1, "Your code is 482913");
    assert!(matches!(rig.event(1).await, AttemptEvent::InDoubt { .. }));
    assert!(!rig.down().await.is_empty());
    assert_eq!(rig.handle.slots.get(), 0);
    let read = &smsc.record().texts_to(&phone(1))[0];
    assert_eq!(
        read.result,
        TextResult::Read,
        "doubt was right: the person has it"
    );

    rig.submit(2, "while down");
    let failure = rig.failed(2).await;
    assert_eq!(
        (failure.cause, failure.verdict),
        (Cause::CarrierFault, Verdict::NextCandidate)
    );

    smsc.faults().set(Faults::default());
    rig.link(&Link::Up).await;
    assert_eq!(rig.handle.slots.get(), 10);
    rig.submit(3, "back again");
    rig.accepted(3).await;
}

#[tokio::test]
async fn silence_is_doubt_and_then_the_end_of_the_session() {
    let smsc = smsc(Faults::default()).await;
    let setting = Setting {
        response_timeout: Duration::from_millis(300),
        ..Setting::default()
    };
    let mut rig = bound(&smsc, setting).await;
    smsc.faults().change(|f| f.silent = true);
    rig.submit(1, "Your code is 482913");
    assert!(matches!(rig.event(1).await, AttemptEvent::InDoubt { .. }));
    rig.link(&Link::Probe { ok: false }).await;
    assert_eq!(rig.down().await, "enquire_link not answered");
    assert_eq!(rig.down().await, "bind not answered");
}

#[tokio::test]
async fn refused_connections_say_why_and_another_endpoint_takes_over() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut alone = rig(&[closed_port], Setting::default());
    assert_eq!(
        alone.down().await,
        format!("127.0.0.1:{closed_port}: connection refused")
    );
    alone.submit(1, "to nobody");
    assert_eq!(alone.failed(1).await.verdict, Verdict::NextCandidate);

    let smsc = smsc(Faults::default()).await;
    let mut rig = rig(
        &[closed_port, smsc.address().port()],
        Setting {
            binds: 2,
            ..Setting::default()
        },
    );
    rig.link(&Link::Up).await;
    rig.link(&Link::Room).await;
    assert_eq!(rig.handle.slots.get(), 20);
}

#[tokio::test]
async fn a_refused_bind_names_its_status() {
    let config = SmscConfig {
        credentials: Some(("mfa".into(), "other".into())),
        ..SmscConfig::default()
    };
    let smsc = Smsc::start(config).await.unwrap();
    let mut rig = rig(&[smsc.address().port()], Setting::default());
    let reason = rig.down().await;
    assert!(
        reason.starts_with("bind refused: 0x0000000e")
            || reason.starts_with("bind refused: 0x0000000f"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_refusal_is_read_by_the_carriers_own_table() {
    let mut faults = Faults::default();
    faults.error.often = Often::ALWAYS;
    faults.error.code = 0x0414;
    let smsc = smsc(faults).await;
    let mut rig = bound(&smsc, Setting::default()).await;
    rig.submit(1, "Your code is 482913");
    let failure = rig.failed(1).await;
    assert_eq!(
        (failure.cause, failure.carrier_code.as_deref()),
        (Cause::BlockedByOperator, Some("0x00000414"))
    );
}

#[tokio::test]
async fn draining_finishes_what_is_in_the_air_and_then_ends() {
    let smsc = smsc(Faults {
        response_delay_ms: 200,
        ..Faults::default()
    })
    .await;
    let mut rig = bound(
        &smsc,
        Setting {
            binds: 2,
            ..Setting::default()
        },
    )
    .await;
    for n in 0..4 {
        rig.submit(n, "Your code is 482913");
    }
    rig.handle.finish(Finish::Drain).await;
    for n in 0..4 {
        rig.accepted(n).await;
    }
    tokio::time::timeout(LIMIT, rig.handle.commands.closed())
        .await
        .unwrap();
    assert_eq!(rig.handle.slots.get(), 0);
    assert_eq!(smsc.record().summary().protocol_errors, 0);
    while let Some(said) = rig.said.recv().await {
        // Nothing of the link either: after a reload the carrier's name is another driver's.
        assert!(
            !matches!(said.what, CarrierEvent::Attempt(..) | CarrierEvent::Link(_)),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_reply_of_a_person_comes_in() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = bound(&smsc, Setting::default()).await;
    assert!(smsc.text_from("+12025550123", "97671", "yes, Grüße"));
    let inbound = |what: &CarrierEvent| match what {
        CarrierEvent::Incoming(Incoming::Text(text), _) => Some((
            text.from.to_string(),
            text.to.to_string(),
            text.body.to_string(),
        )),
        _ => None,
    };
    let wanted = (
        "+12025550123".to_owned(),
        "97671".to_owned(),
        "yes, Grüße".to_owned(),
    );
    assert_eq!(rig.wait(inbound).await, wanted);
}

#[tokio::test]
async fn a_peer_that_speaks_another_protocol_is_left_with_a_reason() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = rig(&[listener.local_addr().unwrap().port()], Setting::default());
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut first = [0; 16];
    peer.read_exact(&mut first).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    assert!(rig.down().await.contains("command_length"));
}

/// Load on one bind, every answer and receipt matched; prints how long it took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bind_carries_many_texts_and_every_receipt() {
    const TEXTS: i64 = 5_000;
    let smsc = smsc(Faults::default()).await;
    let mut rig = bound(
        &smsc,
        Setting {
            window: 500,
            ..Setting::default()
        },
    )
    .await;
    let began = Instant::now();
    let handle = rig.handle.clone();
    let mut given = 0;
    let mut references = HashMap::new();
    let mut delivered = 0;
    while references.len() < TEXTS as usize || delivered < TEXTS {
        while given < TEXTS && given - (references.len() as i64) < i64::from(handle.slots.get()) {
            rig.submit(given, "Your code is 482913");
            given += 1;
        }
        match tokio::time::timeout(LIMIT, rig.said.recv())
            .await
            .unwrap()
            .unwrap()
            .what
            .taken()
        {
            CarrierEvent::Attempt(key, AttemptEvent::Accepted { references: ids }) => {
                assert!(references.insert(ids[0].clone(), key).is_none());
            }
            CarrierEvent::Incoming(Incoming::Receipt(receipt), _) => {
                assert!(references.contains_key(&receipt.references[0]));
                delivered += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    println!("{TEXTS} texts with receipts in {:?}", began.elapsed());
    assert_eq!(smsc.record().summary().texts_read, TEXTS as u64);
    assert_eq!(smsc.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn a_link_over_tls_shows_our_certificate_and_checks_theirs() {
    let smsc = smsc(Faults::default()).await;
    let front = crate::carrier::tls::testing::front(smsc.address()).await;
    let over_tls = |name: &str| {
        let mut config = (*config(&[front.port()], &Setting::default())).clone();
        config.endpoints[0].carry = Carry::Tls;
        config.tls = Tls {
            name: Some(name.into()),
            ..crate::carrier::tls::testing::ours()
        };
        let (to_dispatch, said) = mpsc::channel(crate::carrier::SAID);
        Rig {
            handle: start(Arc::new(config), to_dispatch),
            said,
            heard: Vec::new(),
        }
    };
    let mut rig = over_tls(crate::carrier::tls::testing::NAME);
    rig.link(&Link::Up).await;
    for n in 0..50 {
        rig.submit(n, &"Your code is 482913. ".repeat(15));
    }
    for n in 0..50 {
        rig.accepted(n).await;
    }
    assert_eq!(smsc.record().summary().protocol_errors, 0);

    let mut stranger = over_tls("other.test");
    let reason = stranger.down().await;
    assert!(reason.contains(": tls: "), "{reason}");
}
