//! The broker in trouble: out of memory, gone and back.

use ringback::intake::{Answer, Job};

use crate::{
    rabbit,
    world::{Client, World, in_an_hour, report, run, until},
};

pub const TESTS: &[(&str, fn())] = &[
    ("a_blocked_broker_is_waited_for", blocked),
    ("a_restarted_broker_loses_nothing", restarted),
    ("two_gateways_at_one_exchange_notice_each_other", two),
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
