//! What a reload takes over, and what waits for a restart.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::config::carrier::Pace;

#[test]
fn what_can_change_does_and_what_cannot_is_named_and_kept() {
    let running = Settings::default();
    let mut read = running.clone();
    read.node.name = "gw-2".into();
    read.node.drain = Duration::from_secs(3);
    read.limits.per_user = Some(Pace {
        count: 9,
        per: Duration::from_secs(60),
    });
    read.jobs.max_segments = 2;
    read.jobs.amqp = Some(Amqp::at("amqp://localhost"));
    read.ledger.retention = Duration::from_secs(60);
    read.ledger.url = LedgerUrl::Sqlite("elsewhere.db".into());
    read.http.token = Some(Secret::Env(Arc::from("TOKEN")));
    read.admin.listen.set_port(9);
    read.admin.hosts = vec!["panel".into()];
    let (now, waiting) = running.adopted(read.clone());
    assert_eq!(
        waiting,
        ["node.name", "jobs.amqp", "ledger.url", "admin.listen"]
    );
    assert_eq!((&now.limits, &now.http), (&read.limits, &read.http));
    assert_eq!(now.node.drain, read.node.drain);
    assert_eq!(now.ledger.retention, read.ledger.retention);
    assert_eq!((now.jobs.max_segments, &now.jobs.amqp), (2, &None));
    assert_eq!(
        (&now.admin, &now.node.name),
        (&running.admin, &running.node.name)
    );
    // Back again: nothing waits.
    assert_eq!(now.adopted(running.clone()), (running, vec![]));
}

#[test]
fn of_the_broker_the_keys_are_named() {
    let mut running = Settings::default();
    running.jobs.amqp = Some(Amqp::at("amqp://one"));
    let mut read = running.clone();
    let amqp = read.jobs.amqp.as_mut().expect("a broker");
    amqp.prefetch = 7;
    let (now, waiting) = running.adopted(read);
    assert_eq!(
        (waiting.as_slice(), now),
        (&["jobs.amqp.prefetch"][..], running)
    );
}

#[test]
fn what_the_broker_is_sent_changes_at_once() {
    let mut running = Settings::default();
    running.jobs.amqp = Some(Amqp::at("amqp://one"));
    let mut read = running.clone();
    let amqp = read.jobs.amqp.as_mut().expect("a broker");
    amqp.exchange_copy = false;
    let (now, waiting) = running.adopted(read.clone());
    assert_eq!((waiting, now), (vec![], read));
}
