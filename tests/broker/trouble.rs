//! The broker in trouble: out of memory, gone and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ringback::{
    config::settings::{Address, Amqp, Text},
    intake::{Answer, Job},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{
    gateway::{Gateway, get},
    rabbit,
    world::{Client, World, in_an_hour, report, run, until, within},
};

pub const TESTS: &[(&str, fn())] = &[
    ("a_blocked_broker_is_waited_for", blocked),
    ("a_restarted_broker_loses_nothing", restarted),
    ("a_silent_broker_is_left_for_the_next", silent),
    ("two_gateways_at_one_exchange_notice_each_other", two),
    (
        "two_gateways_at_one_exchange_say_what_is_not_guaranteed",
        said,
    ),
    (
        "two_gateways_with_one_carrier_account_notice_each_other",
        one_account,
    ),
];

fn blocked() {
    run(async {
        let mut world = World::new("blocked").await;
        let client = Client::at(&world.url).await;
        client.queue("answers").await;
        rabbit::ctl(&["-q", "set_vm_memory_high_watermark", "0.0001"]);
        let reports: Vec<_> = (1..=50)
            .map(|key| report(key, "answers", in_an_hour()))
            .collect();
        world.write(&reports).await;
        let handle = world.publisher.handle();
        for report in &reports {
            handle.offer(report.clone());
        }
        until("the alarm is noticed", || world.status.blocked()).await;
        assert!(world.done.try_recv().is_err());
        rabbit::ctl(&["-q", "set_vm_memory_high_watermark", "0.6"]);
        world.published(50).await;
        assert!(!world.status.blocked());
        assert_eq!(client.depth("answers").await, 50);
    });
}

fn restarted() {
    run(async {
        let mut world = World::new("restarted").await;
        let client = Client::at(&world.url).await;
        client.queue("answers").await;
        for n in 0..20 {
            client.challenge(&format!("r-{n}")).await;
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(world.job().await);
        }
        tokio::task::spawn_blocking(rabbit::restart).await.unwrap();
        drop(held);
        let reports: Vec<_> = (1..=50)
            .map(|key| report(key, "answers", in_an_hour()))
            .collect();
        world.write(&reports).await;
        for report in &reports {
            world.publisher.handle().offer(report.clone());
        }
        world.published(50).await;
        while seen.len() < 20 {
            let arrival = world.job().await;
            if let Job::Challenge(ch) = &arrival.job {
                seen.insert(ch.id.clone());
            }
            arrival.ticket.answer(Answer::Taken);
        }
        world.stop_consumer().await;
        let client = Client::at(&world.url).await;
        assert_eq!(client.depth("ringback.jobs").await, 0);
        assert!(client.depth("answers").await >= 50);
    });
}

/// It takes connections and says nothing. None is kept there, and the gateway is at work with the next one.
fn silent() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let ended = Arc::new(AtomicUsize::new(0));
        let count = ended.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    // However it ends.
                    let _ = socket.read_to_end(&mut Vec::new()).await;
                    count.fetch_add(1, Ordering::Release);
                });
            }
        });
        let (url, folder) = crate::world::fresh("silent");
        let began = Instant::now();
        let world = World::at(url, folder, |amqp| {
            let url = Text::Plain(format!("amqp://guest:guest@{at}").into());
            let second = Address {
                url: std::mem::replace(&mut amqp.url, url),
                tls: amqp.tls.clone(),
            };
            amqp.others.push(second);
        })
        .await;
        assert!(began.elapsed() < Duration::from_secs(20));
        let nodes = world.status.nodes();
        assert!(nodes.jobs.is_some() && nodes.jobs != Some(at.to_string().into()));
        assert_eq!(nodes.reports, nodes.jobs);
        // One for jobs, one for reports.
        until("the silent one to be left", || {
            ended.load(Ordering::Acquire) == 2
        })
        .await;
    });
}

fn two() {
    run(async {
        let one = World::new("two").await;
        let folder = one.folder.join("other");
        std::fs::create_dir_all(&folder).unwrap();
        let other = World::at(one.url.clone(), folder, |_| {}).await;
        for world in [&one, &other] {
            until("the other is noticed", || {
                world.status.neighbours().len() == 1
            })
            .await;
        }
    });
}

/// In the log of each, and at its `/readyz`, for as long as both are there.
fn said() {
    run(async {
        let mut one = Gateway::new("said", "", "").await;
        let mut other = Gateway::new("said", "", "").await;
        other.url.clone_from(&one.url);
        one.start().await;
        other.start().await;
        let met = "another gateway with a ledger of its own";
        for gateway in [&one, &other] {
            until("the other to be told of", || gateway.lines(met) > 0).await;
            let log = gateway.log();
            let told = log.lines().filter(|line| line.contains(met));
            let told: Vec<&str> = told.collect();
            assert_eq!(told.len(), 1, "{told:?}");
            for words in [" WARN ", "node=\"gw-p\"", "same_exchange=true"] {
                assert!(told[0].contains(words), "{words} is not in {told:?}");
            }
            let ready = within("the detail", detail(gateway, met)).await;
            assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
            assert!(ready.contains("(gw-p) shares the job exchange"), "{ready}");
            for words in [
                "where accounts are shared, receipts may reach the wrong one and limits count twice",
                "where the exchange is, repeats of an id may be sent again",
            ] {
                assert!(told[0].contains(words), "{words} is not in {told:?}");
                assert!(ready.contains(words), "{words} is not in {ready}");
            }
        }
        assert_eq!(other.stop().await, Some(0));
        assert_eq!(one.stop().await, Some(0));
    });
}

/// What `/readyz` answers once it holds these words.
async fn detail(gateway: &Gateway, words: &str) -> String {
    loop {
        let ready = get(gateway.admin, "/readyz").await;
        if ready.contains(words) {
            return ready;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Jobs come to each by an exchange of its own; a third one shares nothing.
fn one_account() {
    run(async {
        let (url, folder) = crate::world::fresh("account");
        let gateway = async |name: &str, accounts: &[(&str, &str)]| {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let change = |amqp: &mut Amqp| {
                for what in [
                    &mut amqp.exchange,
                    &mut amqp.reports,
                    &mut amqp.queue,
                    &mut amqp.control,
                    &mut amqp.dead,
                ] {
                    *what = format!("{name}.{what}").into();
                }
            };
            World::with_accounts(url.clone(), folder, change, accounts).await
        };
        let third = gateway("third", &[("m9", "contoso")]).await;
        let one = gateway("one", &[("m1", "northwind"), ("m2", "litware")]).await;
        let other = gateway("other", &[("m2", "their-name-for-it")]).await;
        for world in [&one, &other] {
            until("the other is noticed", || {
                world.status.neighbours().len() == 1
            })
            .await;
        }
        // It has heard of both by now: they were told of each other after they were told of it.
        assert!(third.status.neighbours().is_empty());
    });
}
