//! Reports out: confirms, what is returned, what the ledger still holds.

use std::time::Duration;

use ringback::{clock, ledger::ReportKey};

use crate::world::{Client, World, in_an_hour, report, run, until};

pub const TESTS: &[(&str, fn())] = &[
    ("reports_come_with_their_properties_and_once", published),
    ("what_waits_in_the_ledger_goes_first", resumed),
    (
        "a_returned_report_waits_for_its_queue_and_holds_up_nobody",
        returned,
    ),
    ("too_late_it_is_dead_without_its_secrets", unroutable),
    (
        "told_to_stop_it_publishes_what_is_at_hand_though_dispatch_has_ended",
        stopped,
    ),
];

fn published() {
    run(async {
        let mut world = World::new("published").await;
        let client = Client::at(&world.url).await;
        client.queue("answers").await;
        let reports: Vec<_> = (1..=2_000)
            .map(|key| report(key, "answers", in_an_hour()))
            .collect();
        world.write(&reports).await;
        let handle = world.publisher.handle();
        for report in &reports {
            handle.offer(report.clone());
        }
        let mut done = world.published(2_000).await;
        done.sort();
        assert_eq!(done, reports.iter().map(|r| r.report).collect::<Vec<_>>());
        assert_eq!(client.depth("answers").await, 2_000);
        let first = client.take("answers", 1).await.remove(0);
        let properties = &first.properties;
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "report");
        assert_eq!(
            properties.content_type().as_ref().unwrap().as_str(),
            "application/json"
        );
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert!(properties.correlation_id().is_some() && properties.message_id().is_some());
        assert!(properties.timestamp().is_some());
    });
}

fn resumed() {
    run(async {
        let (url, folder) = crate::world::fresh("resumed");
        let client = Client::at(&url).await;
        client.queue("answers").await;
        let (ledger, mut written) = crate::world::open_ledger(&folder);
        let ops = (1..=1_500)
            .map(|key| ringback::ledger::Op::Report(Box::new(report(key, "answers", in_an_hour()))))
            .collect();
        ledger
            .submit(ringback::ledger::Batch { number: 1, ops })
            .await
            .unwrap();
        written.recv().await.unwrap();
        ledger.close().await;
        let mut world = World::at(url, folder, |_| {}).await;
        let mut done = world.published(1_500).await;
        done.sort();
        done.dedup();
        assert_eq!(done.len(), 1_500);
    });
}

fn returned() {
    run(async {
        let mut world = World::new("returned").await;
        let client = Client::at(&world.url).await;
        client.queue("here").await;
        let reports: Vec<_> = (1..=600)
            .map(|key| {
                report(
                    key,
                    if key % 3 == 0 { "later" } else { "here" },
                    in_an_hour(),
                )
            })
            .collect();
        world.write(&reports).await;
        let handle = world.publisher.handle();
        for report in &reports {
            handle.offer(report.clone());
        }
        let done = world.published(400).await;
        assert!(
            done.iter().all(|key| key.0 % 3 != 0),
            "told as done although no queue took it"
        );
        until("the others to be told of", || {
            world.status.unroutable() == 200
        })
        .await;
        client.queue("later").await;
        let mut rest = world.published(200).await;
        rest.sort();
        assert_eq!(
            rest,
            (1..=200).map(|n| ReportKey(n * 3)).collect::<Vec<_>>()
        );
        assert_eq!(
            (client.depth("here").await, client.depth("later").await),
            (400, 200)
        );
    });
}

fn unroutable() {
    run(async {
        let mut world = World::new("unroutable").await;
        let client = Client::at(&world.url).await;
        let late = report(7, "nowhere", clock::now() + Duration::from_secs(2));
        world.write(std::slice::from_ref(&late)).await;
        world.publisher.handle().offer(late);
        assert_eq!(world.published(1).await, [ReportKey(7)]);
        let dead = client.take("ringback.dead", 1).await.remove(0);
        let text = String::from_utf8(dead.data).unwrap();
        assert!(
            text.contains("unroutable") && text.contains("ch-7"),
            "{text}"
        );
        assert!(!text.contains("482913"), "{text}");
    });
}

fn stopped() {
    run(async {
        let mut world = World::new("stopped").await;
        let client = Client::at(&world.url).await;
        client.queue("answers").await;
        let reports: Vec<_> = (1..=4_000)
            .map(|key| report(key, "answers", in_an_hour()))
            .collect();
        world.write(&reports).await;
        // As at the gateway's stop: dispatch ends first, and nobody hears any more what is done.
        world.done.close();
        let handle = world.publisher.handle();
        for report in &reports {
            handle.offer(report.clone());
        }
        world.publisher.stop(Duration::from_secs(20)).await;
        assert_eq!(client.depth("answers").await, 4_000);
    });
}
