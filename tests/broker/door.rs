//! Jobs in: what stands at the broker, bad jobs, acks, suspects.

use std::path::Path;

use lapin::{
    BasicProperties,
    options::{BasicGetOptions, BasicRejectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use ringback::{
    config::{
        carrier::{Secret, Tls},
        settings::Amqp,
    },
    intake::{Answer, Job},
};

use crate::world::{Client, World, fresh, in_an_hour, report, run, until, within};

pub const TESTS: &[(&str, fn())] = &[
    (
        "what_must_stand_is_declared_twice_and_used_where_it_differs",
        topology,
    ),
    ("jobs_and_reports_go_over_tls_with_certificates", tls),
    ("a_bad_job_is_told_buried_and_acked", bad_job),
    ("the_same_id_with_other_content_is_a_duplicate", duplicate),
    ("control_words_have_their_own_way", control),
    ("answers_in_any_order_ack_everything_once", acks),
    ("a_ticket_of_a_cut_connection_moves_nothing", generation),
    ("a_job_without_room_is_offered_again", busy),
    (
        "the_job_that_was_being_parsed_when_the_process_ended_is_poison",
        poison,
    ),
    (
        "after_broken_connections_a_full_prefetch_comes_at_once",
        broken_connections,
    ),
    ("the_second_broker_is_tried_in_its_turn", second_broker),
    ("a_consumer_that_gets_nothing_is_made_anew", stuck),
];

fn topology() {
    run(async {
        let (url, folder) = fresh("topology");
        let client = Client::at(&url).await;
        // Somebody's own queue: classic, where we would declare quorum.
        client.queue("ringback.jobs").await;
        let mut world = World::at(url, folder, |_| {}).await;
        client.challenge("t-1").await;
        assert!(matches!(world.job().await.job, Job::Challenge(ch) if &*ch.id == "t-1"));
        world.restart_consumer().await;
        for queue in ["ringback.control", "ringback.dead"] {
            assert_eq!(client.depth(queue).await, 0);
        }
    });
}

/// The broker's certificate names another host than its address, and it takes nobody without one of ours.
fn tls() {
    run(async {
        let (url, folder) = fresh("tls");
        let (client, by_tls) = (Client::at(&url).await, crate::rabbit::by_tls(&url));
        let folder_of_keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        let file = |name: &str| folder_of_keys.join(name);
        let right = Tls {
            ca: Some(file("ca.pem")),
            cert: Some(file("cert.pem")),
            key: Some(Secret::File(file("key.pem"))),
            name: Some("carrier.test".into()),
        };
        let wrong = Tls {
            name: Some("elsewhere.test".into()),
            ..right.clone()
        };
        let stranger = Tls {
            cert: None,
            key: None,
            ..right.clone()
        };
        for (what, tls) in [
            ("another name", wrong),
            ("no certificate of ours", stranger),
        ] {
            let amqp = Amqp {
                tls,
                ..Amqp::at(&by_tls)
            };
            assert!(
                ringback::broker::client::Client::connect(&amqp, "t")
                    .await
                    .is_err(),
                "{what}"
            );
        }
        let mut world = World::at(by_tls, folder, |amqp| amqp.tls = right).await;
        client.challenge("s-1").await;
        assert!(matches!(world.job().await.job, Job::Challenge(ch) if &*ch.id == "s-1"));
        client.queue("answers").await;
        let report = report(1, "answers", in_an_hour());
        world.write(std::slice::from_ref(&report)).await;
        world.publisher.handle().offer(report);
        world.published(1).await;
        client.take("answers", 1).await;
    });
}

fn bad_job() {
    run(async {
        let world = World::new("bad").await;
        let client = Client::at(&world.url).await;
        client.queue("answers").await;
        let body = br#"{"id":"b-1","to":"+14255550123","method":"fax","code":"987654321x"}"#;
        let properties = BasicProperties::default()
            .with_reply_to("answers".into())
            .with_correlation_id("c-9".into());
        client
            .publish("ringback", "challenge", body, properties)
            .await;
        let error = client.take("answers", 1).await.remove(0);
        assert_eq!(
            error.properties.correlation_id().as_ref().unwrap().as_str(),
            "c-9"
        );
        assert_eq!(error.properties.kind().as_ref().unwrap().as_str(), "error");
        let told: serde_json::Value = serde_json::from_slice(&error.data).unwrap();
        assert_eq!(
            (&told["reason"], &told["challenge"]),
            (&"bad_job".into(), &"b-1".into())
        );
        assert_eq!(told["faults"].as_array().unwrap().len(), 2);
        let dead = client.take("ringback.dead", 1).await.remove(0);
        let text = String::from_utf8(dead.data.clone()).unwrap();
        for secret in ["4255550123", "987654321", "fax"] {
            assert!(!text.contains(secret), "{text}");
        }
        let record: serde_json::Value = serde_json::from_slice(&dead.data).unwrap();
        assert_eq!(record["size"], body.len());
        let sealed = {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(record["sealed"].as_str().unwrap())
                .unwrap()
        };
        assert_eq!(world.opener().open(&sealed).unwrap(), body);
        emptied(world, &client).await;
    });
}

/// While the door is still open, the broker holds no job any more, delivered or not: everything was acked.
async fn emptied(mut world: World, client: &Client) {
    until("every job to be acked", || {
        let all =
            crate::rabbit::ctl(&["-q", "list_queues", "-p", vhost(&world), "name", "messages"]);
        all.lines()
            .any(|line| line.split_whitespace().eq(["ringback.jobs", "0"]))
    })
    .await;
    world.stop_consumer().await;
    assert_eq!(client.depth("ringback.jobs").await, 0);
}

fn duplicate() {
    run(async {
        let mut world = World::new("duplicate").await;
        let client = Client::at(&world.url).await;
        client.challenge("d-1").await;
        world.job().await.ticket.answer(Answer::Conflict);
        let dead = client.take("ringback.dead", 1).await.remove(0);
        let record: serde_json::Value = serde_json::from_slice(&dead.data).unwrap();
        assert_eq!(
            (&record["reason"], &record["challenge"]),
            (&"duplicate".into(), &"d-1".into())
        );
        emptied(world, &client).await;
    });
}

fn control() {
    run(async {
        let mut world = World::new("control").await;
        let client = Client::at(&world.url).await;
        let typed = |kind: &str| BasicProperties::default().with_type(kind.into());
        client
            .publish(
                "ringback",
                "cancel",
                br#"{"id":"x"}"#,
                BasicProperties::default(),
            )
            .await;
        client
            .publish(
                "ringback",
                "challenge",
                br#"{"id":"y","verified":true}"#,
                typed("feedback"),
            )
            .await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let arrival = within("a word", world.control.recv()).await.unwrap();
            match &arrival.job {
                Job::Cancel { id, .. } => seen.push(format!("cancel {id}")),
                Job::Feedback { id, verified, .. } => {
                    seen.push(format!("feedback {id} {verified}"))
                }
                Job::Challenge(_) => panic!("not asked"),
            }
            arrival.ticket.answer(Answer::Unknown);
        }
        seen.sort();
        assert_eq!(seen, ["cancel x", "feedback y true"]);
        emptied(world, &client).await;
        assert_eq!(client.depth("ringback.control").await, 0);
    });
}

fn acks() {
    run(async {
        let mut world = World::new("acks").await;
        let client = Client::at(&world.url).await;
        for n in 0..300 {
            client.challenge(&format!("a-{n}")).await;
        }
        let mut tickets = Vec::new();
        for _ in 0..300 {
            tickets.push(world.job().await.ticket);
        }
        // The oldest last: everything behind it is settled all the same.
        let first = tickets.remove(0);
        tickets.reverse();
        for (n, ticket) in tickets.into_iter().enumerate() {
            ticket.answer(if n % 3 == 0 {
                Answer::Again { last: None }
            } else {
                Answer::Taken
            });
        }
        first.answer(Answer::Taken);
        emptied(world, &client).await;
    });
}

fn generation() {
    run(async {
        let mut world = World::new("generation").await;
        let client = Client::at(&world.url).await;
        client.challenge("g-1").await;
        let old = world.job().await;
        crate::rabbit::ctl(&[
            "-q",
            "close_all_connections",
            "--vhost",
            vhost(&world),
            "test",
        ]);
        until("the cut is noticed", || !world.status.connected()).await;
        world.connected().await;
        let client = Client::at(&world.url).await;
        let again = world.job().await;
        old.ticket.answer(Answer::Taken);
        client.challenge("g-2").await;
        let second = world.job().await;
        assert!(matches!(&second.job, Job::Challenge(ch) if &*ch.id == "g-2"));
        drop((again, second));
        world.stop_consumer().await;
        // An ack by the old ticket would have taken one of them away for good.
        client.take("ringback.jobs", 2).await;
    });
}

fn vhost(world: &World) -> &str {
    world.url.rsplit('/').next().unwrap()
}

fn busy() {
    run(async {
        let mut world = World::new("busy").await;
        let client = Client::at(&world.url).await;
        client.challenge("r-1").await;
        world.job().await.ticket.answer(Answer::Busy);
        drop(world.job().await);
        world.job().await.ticket.answer(Answer::Taken);
        emptied(world, &client).await;
    });
}

fn poison() {
    run(async {
        let mut world = World::new("poison").await;
        world.stop_consumer().await;
        let client = Client::at(&world.url).await;
        for id in ["p-1", "p-2"] {
            client.challenge(id).await;
        }
        for _ in 0..6 {
            let options = BasicGetOptions::default();
            let got = within("a job", async {
                loop {
                    if let Some(got) = client
                        .channel
                        .basic_get("ringback.jobs".into(), options)
                        .await
                        .unwrap()
                    {
                        return got;
                    }
                }
            })
            .await;
            got.delivery
                .reject(BasicRejectOptions { requeue: true })
                .await
                .unwrap();
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            client
                .channel
                .queue_declare("ringback.jobs".into(), passive, FieldTable::default())
                .await
                .unwrap();
        }
        // As a process leaves it that ended while it took the one alone.
        let body = br#"{"id":"p-1","to":"+14255550100","method":"sms_code"}"#;
        let hash = ring::digest::digest(&ring::digest::SHA256, body);
        std::fs::write(world.folder.join("suspect"), hex::encode(hash)).unwrap();
        world.restart_consumer().await;
        let innocent = world.job().await;
        assert!(matches!(&innocent.job, Job::Challenge(ch) if &*ch.id == "p-2"));
        innocent.ticket.answer(Answer::Taken);
        let dead = client.take("ringback.dead", 1).await.remove(0);
        let record: serde_json::Value = serde_json::from_slice(&dead.data).unwrap();
        assert_eq!(record["reason"], "poison");
        emptied(world, &client).await;
    });
}

/// Each loss counts for everything that was prefetched; none of it is a suspect's fault.
fn broken_connections() {
    run(async {
        let mut world = World::new("losses").await;
        let client = Client::at(&world.url).await;
        for n in 0..500 {
            client.challenge(&format!("l-{n}")).await;
        }
        for _ in 0..4 {
            let mut held = Vec::new();
            for _ in 0..500 {
                held.push(world.job().await);
            }
            let vhost = vhost(&world).to_owned();
            crate::rabbit::ctl(&["-q", "close_all_connections", "--vhost", &vhost, "test"]);
            until("the cut is noticed", || !world.status.connected()).await;
            drop(held);
            world.connected().await;
        }
        // Nobody answers: all of them are there at once all the same.
        let mut held = Vec::new();
        for _ in 0..500 {
            held.push(world.job().await);
        }
        let client = Client::at(&world.url).await;
        for arrival in held {
            arrival.ticket.answer(Answer::Taken);
        }
        emptied(world, &client).await;
    });
}

fn second_broker() {
    run(async {
        let (url, folder) = fresh("second");
        let client = Client::at(&url).await;
        let here = Amqp::at(&url).addresses().next().unwrap();
        // A port of nobody's.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = format!("amqp://{}", nobody.local_addr().unwrap());
        drop(nobody);
        let mut world = World::at(url, folder, |amqp| {
            *amqp = Amqp::at(&gone);
            amqp.others = vec![here];
        })
        .await;
        client.challenge("u-1").await;
        assert!(matches!(world.job().await.job, Job::Challenge(ch) if &*ch.id == "u-1"));
    });
}

/// Another consumer is the queue's only active one, and takes nothing more.
fn stuck() {
    run(async {
        let (url, folder) = fresh("stuck");
        let (client, other) = (Client::at(&url).await, Client::at(&url).await);
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-single-active-consumer".into(),
            lapin::types::AMQPValue::Boolean(true),
        );
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = client
            .channel
            .queue_declare("ringback.jobs".into(), options, arguments);
        declared.await.unwrap();
        other
            .channel
            .basic_qos(1, Default::default())
            .await
            .unwrap();
        let active = other.channel.basic_consume(
            "ringback.jobs".into(),
            "".into(),
            Default::default(),
            FieldTable::default(),
        );
        let active = active.await.unwrap();
        let mut world = World::at(url, folder, |_| {}).await;
        for n in 0..3 {
            client.challenge(&format!("k-{n}")).await;
        }
        until("the consumer is given up", || !world.status.connected()).await;
        world.connected().await;
        drop(active);
        other.connection.close(200, "OK".into()).await.unwrap();
        for _ in 0..3 {
            world.job().await.ticket.answer(Answer::Taken);
        }
        emptied(world, &client).await;
    });
}
