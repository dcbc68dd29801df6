//! What people are told: each state that begins ends before it begins again.

use std::collections::BTreeSet;

use super::*;
use crate::{
    core::{
        OrderId, OverlayOrder, Step,
        notice::{Condition, OverlayNotice},
    },
    ledger::Claim,
    number::Country,
    overlay::OverlayChange,
    routing::health::{Scope, ScopeChange},
};

/// The notices so far; the states that have begun and not ended.
fn told(story: &Story) -> (Vec<Notice>, BTreeSet<Condition>) {
    let (mut notices, mut open) = (Vec::new(), BTreeSet::new());
    for notice in story.notices.try_iter() {
        if let Some(condition) = notice.ends() {
            assert!(open.remove(&condition), "it had not begun: {notice:?}");
        }
        if let Some(condition) = notice.begins() {
            assert!(open.insert(condition), "it had not ended: {notice:?}");
        }
        notices.push(notice);
    }
    (notices, open)
}

fn is_down(story: &mut Story, carrier: &Arc<str>) {
    let reason = "reset".into();
    story.said(carrier, CarrierEvent::Link(Link::Down { reason }));
    story.passes(Duration::from_secs(1));
}

/// Another driver, or another link of the same one.
fn change(story: &mut Story, carrier: &Arc<str>, driver: u64, link: UpdateLink) {
    let config = story.config.clone();
    let update = carrier_update(&config.carriers[carrier], DriverId(driver), 10);
    let update = CarrierUpdate { link, ..update };
    story.core.configure(config, vec![update]);
    story.passes(Duration::from_secs(1));
}

fn first_carrier(story: &Story) -> Arc<str> {
    story.config.used().into_iter().next().expect("a carrier")
}

#[test]
fn a_carrier_that_was_out_when_another_driver_took_over_is_well_before_it_is_out_again() {
    story(|story| {
        let carrier = first_carrier(story);
        is_down(story, &carrier);
        change(story, &carrier, 100, UpdateLink::New);
        story.said(&carrier, CarrierEvent::Link(Link::Up));
        story.passes(Duration::from_secs(70));
        is_down(story, &carrier);
        let (notices, open) = told(story);
        let unhealthy = Condition::Unhealthy(carrier.clone());
        let begins = notices
            .iter()
            .filter(|notice| notice.begins().as_ref() == Some(&unhealthy));
        assert_eq!((begins.count(), open.contains(&unhealthy)), (2, true));
    });
}

#[test]
fn a_driver_of_a_carrier_that_was_well_is_told_of_as_any_that_begins() {
    story(|story| {
        let carrier = first_carrier(story);
        story.passes(Duration::from_secs(1));
        let (before, _) = told(story);
        change(story, &carrier, 100, UpdateLink::New);
        story.said(&carrier, CarrierEvent::Link(Link::Up));
        story.passes(Duration::from_secs(1));
        let (after, _) = told(story);
        assert!(before.len() >= after.len(), "{after:?}");
        assert!(after.iter().all(|notice| notice.ends().is_none()));
    });
}

#[test]
fn receipts_of_others_are_told_once_however_often_the_link_is_made_anew() {
    for (driver, link) in [(0, UpdateLink::Fresh), (100, UpdateLink::New)] {
        story(|story| {
            let carrier = first_carrier(story);
            for round in 0..2 {
                for n in 0..12 {
                    let receipt = Receipt {
                        references: vec![format!("foreign-{round}-{n}").into()],
                        state: ReceiptState::Delivered,
                        carrier_code: None,
                        cause: None,
                        phone: None,
                        sender: None,
                    };
                    let ack = Acknowledgement::Session(story.acks.clone(), n);
                    let receipt = Incoming::Receipt(receipt);
                    story.said(&carrier, CarrierEvent::Incoming(receipt, ack));
                }
                story.passes(Duration::from_secs(5));
                if round == 0 {
                    change(story, &carrier, driver, link);
                }
            }
            let (_, open) = told(story);
            assert!(open.contains(&Condition::ForeignReceipts(carrier)));
            story.passes(Duration::from_secs(70));
        });
    }
}

/// So many foreign receipts of failure: of our own texts far fewer would suspend a carrier.
const FOREIGN: u32 = 200;

#[test]
fn receipts_of_others_raise_the_alarm_and_leave_the_carrier_healthy_and_in_use() {
    story(|story| {
        let carrier = first_carrier(story);
        let view = |story: &Story| {
            let all = story.core.carrier_views();
            let found = all.into_iter().find(|view| view.name == carrier);
            found.expect("it runs")
        };
        let by_it = |story: &mut Story, stem: &str, texts: u32| {
            let delivered = (0..texts).filter(|n| {
                let id = format!("{stem}-{n}");
                story.ask(&id, &format!("+1202555{:04}", 100 + n));
                let (by, order) = story.order();
                let references = vec![id.clone().into()];
                story.answers(&by, &order, AttemptEvent::Accepted { references });
                story.brings(&by, &id, &order, ReceiptState::Delivered);
                story.passes(Duration::from_secs(1));
                by == carrier && story.events(&id).contains(&"delivered".to_owned())
            });
            delivered.count()
        };
        // Good receipts enough to know by them when they collapse.
        assert!(by_it(story, "before", 240) > 60);
        story.passes(Duration::from_secs(130));
        assert_eq!(view(story).state, "healthy");
        for n in 0..FOREIGN {
            let receipt = Receipt {
                references: vec![format!("foreign-{n}").into()],
                state: ReceiptState::Undelivered,
                carrier_code: None,
                cause: None,
                phone: None,
                sender: None,
            };
            let ack = Acknowledgement::Session(story.acks.clone(), 1_000 + n);
            let receipt = Incoming::Receipt(receipt);
            story.said(&carrier, CarrierEvent::Incoming(receipt, ack));
            story.passes(Duration::from_millis(100));
            assert_eq!(view(story).state, "healthy", "after {n}");
        }
        // Each is held for its response, and then counts.
        story.passes(Duration::from_secs(10));
        let (notices, open) = told(story);
        let alarm = Condition::ForeignReceipts(carrier.clone());
        assert!(open.contains(&alarm), "{open:?}");
        let begins = notices.iter().filter_map(Notice::begins);
        let unhealthy = Condition::Unhealthy(carrier.clone());
        assert_eq!(begins.filter(|begun| *begun == unhealthy).count(), 0);
        assert_eq!((view(story).state, view(story).slots), ("healthy", 10));
        assert!(by_it(story, "after", 8) > 0);
    });
}

#[test]
fn what_a_carrier_refuses_ends_with_the_link_by_which_it_refused() {
    for (driver, link) in [(0, UpdateLink::Fresh), (100, UpdateLink::New)] {
        story(|story| {
            let carrier = first_carrier(story);
            let refuses = |story: &mut Story| {
                let running = story.core.placement.carriers.get_mut(&carrier);
                running.expect("it runs").log.scope_changed(ScopeChange {
                    scope: Scope {
                        sender: None,
                        country: Country::parse("US").expect("a country"),
                    },
                    shut_for: Some(Duration::from_secs(5)),
                    why: "0x0000000a".to_owned(),
                });
                story.passes(Duration::from_secs(1));
            };
            refuses(story);
            change(story, &carrier, driver, link);
            let refused = |condition: &Condition| matches!(condition, Condition::ScopeRefused(..));
            let (notices, open) = told(story);
            assert!(!open.iter().any(refused), "{open:?}");
            assert!(
                notices
                    .iter()
                    .any(|n| n.ends().as_ref().is_some_and(refused))
            );
        });
    }
}

#[test]
fn a_change_whose_time_is_over_while_it_is_lifted_ends_once() {
    story(|story| {
        let carrier = first_carrier(story);
        let order = |step| OverlayOrder {
            change: OverlayChange::SuspendCarrier {
                carrier: carrier.clone(),
            },
            owner: "ada".into(),
            reason: "maintenance".into(),
            step,
            claim: Claim::default(),
        };
        let put = order(Step::Put(Some(Duration::from_secs(10))));
        let wall = time(story.now).wall;
        story.core.order_overlay(put, OrderId(1), wall);
        story.passes(Duration::from_secs(9));
        let lift = order(Step::Lift);
        let wall = time(story.now).wall;
        story.core.order_overlay(lift, OrderId(2), wall);
        // The disk is slow: its time is over before it is lifted.
        story.now += Duration::from_secs(2);
        story.turns();
        let (notices, open) = told(story);
        assert_eq!(open.len(), 0, "{open:?}");
        let ended = notices
            .iter()
            .filter(|notice| matches!(notice, Notice::Overlay(OverlayNotice::NoLonger(_))));
        assert_eq!(ended.count(), 1);
    });
}
