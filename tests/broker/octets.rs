//! Any octets in any field of a message: it is taken or dead-lettered, and everything behind it goes on.

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use ringback::intake::{Answer, Job};

use crate::{
    raw::{CORRELATION_ID, HEADERS, Message, REPLY_TO, Raw, long, short},
    world::{Client, World, in_an_hour, report, run},
};

pub const TESTS: &[(&str, fn())] = &[
    ("a_correlation_id_of_any_octets_is_echoed_as_it_is", echoed),
    ("any_octets_in_any_field_hold_up_nobody", anything),
];

fn job(id: &str) -> Vec<u8> {
    format!(r#"{{"id":"{id}","to":"+14255550100","method":"sms_code"}}"#).into_bytes()
}

/// A binary id comes back octet for octet, with an error message and with a report. A name for answers that no queue
/// can have is a fault of the job.
fn echoed() {
    run(async {
        let mut world = World::new("echoed").await;
        let url = world.url.clone();
        let id = &b"\x8f\x10\xff\xfe\0\x01"[..];
        let sent = tokio::task::spawn_blocking(move || {
            let mut raw = Raw::at(&url);
            raw.queue(b"answers");
            for (queue, body) in [
                (&b"answers"[..], job("o-1")),
                (b"answers", b"no job".to_vec()),
                (b"answers-\xff\xe9", job("o-2")),
            ] {
                let properties = [short(id), short(queue)].concat();
                let flags = CORRELATION_ID | REPLY_TO;
                let message = Message { properties, body };
                raw.publish("ringback", b"challenge", flags, &message);
            }
            raw
        });
        let mut raw = sent.await.unwrap();
        let arrival = world.job().await;
        let Job::Challenge(challenge) = &arrival.job else {
            panic!("a challenge");
        };
        assert_eq!(&*challenge.id, "o-1");
        let to = challenge.reply_to.clone().expect("where to");
        arrival.ticket.answer(Answer::Taken);
        let mut told = report(1, &to.queue, in_an_hour());
        if let ringback::ledger::Target::ReplyTo { correlation_id, .. } = &mut told.target {
            correlation_id.clone_from(&to.correlation_id);
        }
        world.write(std::slice::from_ref(&told)).await;
        world.publisher.handle().offer(told);
        world.published(1).await;
        let read = tokio::task::spawn_blocking(move || {
            for _ in 0..2 {
                let (flags, answer) = raw.get(b"answers");
                assert_eq!(flags & HEADERS, 0, "nothing of ours stays in it");
                let id = short(id);
                let found = answer.properties.windows(id.len()).any(|part| part == id);
                assert!(found, "{:?}", answer.properties);
            }
        });
        read.await.unwrap();
        let client = Client::at(&world.url).await;
        let mut faults = Vec::new();
        for dead in client.take("ringback.dead", 2).await {
            let record: serde_json::Value = serde_json::from_slice(&dead.data).unwrap();
            assert_eq!(record["reason"], "bad_job");
            faults.push(record["faults"][0]["field"].as_str().unwrap().to_owned());
        }
        faults.sort();
        assert_eq!(faults, ["body", "reply_to"]);
        assert!(world.status.connected());
    });
}

/// Which property, and what it is to hold; `expiration` and `user_id` are checked by the broker, and left out.
fn field() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let octets = || proptest::collection::vec(any::<u8>(), 0..=255);
    let value = prop_oneof![
        octets().prop_map(|octets| [b"S".to_vec(), long(&octets)].concat()),
        octets().prop_map(|octets| [b"x".to_vec(), long(&octets)].concat()),
        any::<[u8; 8]>().prop_map(|octets| [&b"l"[..], &octets].concat()),
        Just(b"V".to_vec()),
    ];
    let value = value.prop_recursive(4, 16, 3, move |inner| {
        (
            proptest::collection::vec((octets(), inner), 0..3),
            any::<bool>(),
        )
            .prop_map(|(all, named)| {
                let inside = all.into_iter().map(|(name, value)| match named {
                    true => [short(&name), value].concat(),
                    false => value,
                });
                let kind = if named { b"F" } else { b"A" };
                [kind.to_vec(), long(&inside.collect::<Vec<_>>().concat())].concat()
            })
    });
    let table = proptest::collection::vec((octets(), value), 0..3).prop_map(|entries| {
        let entries = entries
            .iter()
            .flat_map(|(name, value)| [short(name), value.clone()].concat());
        (HEADERS, long(&entries.collect::<Vec<_>>()))
    });
    let strings = proptest::sample::select(vec![15, 14, 10, 9, 7, 5, 3]);
    let string = (strings, octets()).prop_map(|(bit, octets)| (1 << bit, short(&octets)));
    prop_oneof![3 => string, 1 => table]
}

fn anything() {
    run(async {
        let mut world = World::new("octets").await;
        let client = Client::at(&world.url).await;
        let url = world.url.clone();
        let sent = tokio::task::spawn_blocking(move || {
            let mut raw = Raw::at(&url);
            let mut runner = TestRunner::new(Config::default());
            let mut deep = b"V".to_vec();
            for _ in 0..5_000 {
                deep = [b"A".to_vec(), long(&deep)].concat();
            }
            let deep = (HEADERS, long(&[short(b"deep"), deep].concat()));
            for n in 0..MESSAGES {
                let (flags, properties) = match n {
                    0 => deep.clone(),
                    _ => field().new_tree(&mut runner).expect("a field").current(),
                };
                let body = job(&format!("x-{n}"));
                raw.publish(
                    "ringback",
                    b"challenge",
                    flags,
                    &Message { properties, body },
                );
            }
            // Answered once all before it is in the queue.
            raw.queue(b"sync");
            raw
        });
        let raw = sent.await.unwrap();
        client.challenge("behind").await;
        let mut taken = 0;
        loop {
            let arrival = world.job().await;
            let Job::Challenge(challenge) = &arrival.job else {
                panic!("only challenges were sent");
            };
            let last = &*challenge.id == "behind";
            arrival.ticket.answer(Answer::Taken);
            if last {
                break;
            }
            taken += 1;
        }
        // The others had a type that is none, or a queue for answers that can't be; each has its dead letter.
        client.take("ringback.dead", MESSAGES - taken).await;
        assert!(taken > 0 && world.status.connected());
        drop(raw);
    });
}

const MESSAGES: usize = 400;
