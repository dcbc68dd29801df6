//! Plans held to their word: tiers, shares, senders, and what is left out with its reason.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    challenge::Channel,
    routing::{
        health::Reason,
        table::{EntryTerms, Scope, Sender, SenderKind},
    },
};

fn country(code: &str) -> Country {
    Country::parse(code).unwrap()
}

fn sender(id: &str, kind: SenderKind, places: &[&str]) -> Sender {
    Sender {
        id: id.into(),
        kind,
        countries: match places {
            [] => Scope::All,
            _ => Scope::Only(places.iter().map(|c| country(c)).collect()),
        },
        two_way: kind == SenderKind::ShortCode,
        voice: kind == SenderKind::TollFree,
        programme: "mfa".into(),
        tenants: None,
    }
}

fn line(name: &str, carrier: u16, senders: &[u16], weight: u32, tier: u8) -> RouteEntry {
    RouteEntry {
        name: name.into(),
        carrier: CarrierIx(carrier),
        senders: senders.iter().map(|s| SenderIx(*s)).collect(),
        terms: EntryTerms {
            weight,
            tier,
            enabled: true,
        },
    }
}

const NORTHWIND: u16 = 0;
const TAILSPIN: u16 = 1;
const LITWARE: u16 = 2;
const TOLL_FREE: u16 = 4;

/// The United States as shipped, and a default that names a short code and two numbers.
fn table() -> Table {
    let short = |id| sender(id, SenderKind::ShortCode, &["US"]);
    let mut own = sender("+12025550199", SenderKind::TollFree, &[]);
    own.tenants = Some(BTreeSet::from(["acme".into()]));
    let mut table = Table::new(
        ["northwind", "tailspin", "litware"].map(Arc::from).to_vec(),
        vec![
            short("97671"),
            short("69829"),
            short("51789"),
            short("99399"),
            sender("+18553308653", SenderKind::TollFree, &[]),
            own,
        ],
    );
    let us = vec![
        line("us.sms[2]", LITWARE, &[TOLL_FREE], 1, 2),
        line("us.sms[0]", NORTHWIND, &[0, 1, 2, 3], 70, 1),
        line("us.sms[1]", TAILSPIN, &[0, 1], 30, 1),
    ];
    table.put(Some(country("US")), Channel::Sms, us);
    table.put(
        None,
        Channel::Sms,
        vec![line("default.sms[0]", LITWARE, &[0, TOLL_FREE], 1, 1)],
    );
    table.put(
        None,
        Channel::Voice,
        vec![line("default.voice[0]", LITWARE, &[0, TOLL_FREE], 1, 1)],
    );
    table
}

fn ask(place: &str) -> PlanRequest<'static> {
    PlanRequest {
        country: country(place),
        method: Method::SmsCode,
        tenant: "default",
        caller_id: None,
        tried: &[],
        avoid: None,
        hedge: false,
        roll: 1,
    }
}

fn view<'a>(standing: &'a [Availability], turns: &'a SenderRotation) -> View<'a> {
    View {
        standing,
        turns,
        refusals: &[],
    }
}

fn take(table: &Table, standing: &[Availability], ask: &PlanRequest<'_>) -> Candidate {
    match first(table, view(standing, &SenderRotation::of(table)), ask) {
        Choice::Take(candidate) => candidate,
        other => panic!("{other:?}"),
    }
}

fn tried(carrier: &str, sender: Option<&str>) -> Tried {
    Tried {
        carrier: carrier.into(),
        sender: sender.map(Arc::from),
        cause: Some(Cause::CarrierFault),
    }
}

#[test]
fn shares_converge_to_weights_and_senders_are_used_exactly_evenly() {
    let table = table();
    let mut turns = SenderRotation::of(&table);
    let mut used: BTreeMap<(u16, u16), u32> = BTreeMap::new();
    let rounds = 20_000;
    for n in 0..rounds {
        let ask = PlanRequest {
            roll: roll(&format!("challenge-{n}"), 1),
            ..ask("US")
        };
        let Choice::Take(c) = first(&table, view(&[], &turns), &ask) else {
            panic!()
        };
        assert_eq!((c.tier, c.why), (1, Why::Weighted));
        turns.used(c.line);
        *used.entry((c.carrier.0, c.sender.0)).or_default() += 1;
    }
    let of = |carrier: u16| -> Vec<u32> {
        used.iter()
            .filter(|((c, _), _)| *c == carrier)
            .map(|(_, n)| *n)
            .collect()
    };
    let share = f64::from(of(NORTHWIND).iter().sum::<u32>()) / f64::from(rounds);
    assert!((share - 0.70).abs() < 0.01, "{share}");
    for (carrier, senders) in [(NORTHWIND, 4), (TAILSPIN, 2)] {
        let counts = of(carrier);
        assert_eq!(counts.len(), senders);
        assert!(
            counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1,
            "{counts:?}"
        );
    }
    assert!(of(LITWARE).is_empty());
}

#[test]
fn the_plan_begins_with_the_choice_and_has_every_pair_once() {
    let table = table();
    for roll in 0..50 {
        let ask = PlanRequest { roll, ..ask("US") };
        let turns = SenderRotation::of(&table);
        let plan = plan(&table, view(&[], &turns), &ask);
        let Choice::Take(first) = first(&table, view(&[], &turns), &ask) else {
            panic!()
        };
        let head = plan.candidates[0];
        assert_eq!(
            (head.carrier, head.sender, head.why),
            (first.carrier, first.sender, first.why)
        );
        let pairs: BTreeSet<_> = plan
            .candidates
            .iter()
            .map(|c| (c.carrier, c.sender))
            .collect();
        assert_eq!(
            (plan.candidates.len(), pairs.len(), plan.left_out.len()),
            (7, 7, 0)
        );
        assert_ne!(
            plan.candidates[0].carrier, plan.candidates[1].carrier,
            "another carrier before another sender"
        );
        assert_eq!(plan.candidates[6].why, Why::NextTier);
        let share = |tier| {
            plan.candidates
                .iter()
                .filter(|c| c.tier == tier)
                .map(|c| c.share)
                .sum::<f32>()
        };
        assert!((share(1) - 100.0).abs() < 0.01 && (share(2) - 100.0).abs() < 0.01);
    }
}

#[test]
fn a_suspended_carrier_is_left_out_and_a_full_one_is_waited_for() {
    let table = table();
    let mut standing = [
        Availability::Suspended(Reason::LinkDown),
        Availability::Healthy,
        Availability::Healthy,
    ];
    let c = take(&table, &standing, &ask("US"));
    assert_eq!((c.carrier.0, c.why), (TAILSPIN, Why::Preferred));
    let all = plan(
        &table,
        view(&standing, &SenderRotation::of(&table)),
        &ask("US"),
    );
    assert_eq!(all.left_out.len(), 4);
    assert_eq!(all.left_out[0].why.to_string(), "suspended: link_down");
    standing[1] = Availability::Suspended(Reason::Silent);
    assert_eq!(take(&table, &standing, &ask("US")).why, Why::NextTier);
    standing[1] = Availability::Full;
    assert_eq!(
        first(
            &table,
            view(&standing, &SenderRotation::of(&table)),
            &ask("US")
        ),
        Choice::Wait
    );
    standing[0] = Availability::Healthy;
    assert_eq!(take(&table, &standing, &ask("US")).carrier.0, NORTHWIND);
    let none = [Availability::Suspended(Reason::Faults); 3];
    assert_eq!(
        first(&table, view(&none, &SenderRotation::of(&table)), &ask("US")),
        Choice::Nothing
    );
}

#[test]
fn a_probing_carrier_gets_its_one_attempt() {
    let table = table();
    let standing = [
        Availability::Probing { free: true },
        Availability::Suspended(Reason::Faults),
        Availability::Healthy,
    ];
    assert_eq!(take(&table, &standing, &ask("US")).why, Why::Probe);
    let busy = [
        Availability::Probing { free: false },
        standing[1],
        standing[2],
    ];
    assert_eq!(take(&table, &busy, &ask("US")).carrier.0, LITWARE);
}

#[test]
fn what_was_tried_is_not_tried_again_and_the_next_says_why() {
    let table = table();
    let whole = [tried("northwind", None), tried("tailspin", Some("97671"))];
    let c = take(
        &table,
        &[],
        &PlanRequest {
            tried: &whole,
            ..ask("US")
        },
    );
    assert_eq!(
        (c.carrier.0, c.sender.0, c.why),
        (TAILSPIN, 1, Why::Failover)
    );
    let c = take(
        &table,
        &[],
        &PlanRequest {
            tried: &whole,
            hedge: true,
            ..ask("US")
        },
    );
    assert_eq!(c.why, Why::Hedge);
    let all = [
        tried("northwind", None),
        tried("tailspin", None),
        tried("litware", None),
    ];
    let ask = PlanRequest {
        tried: &all,
        ..ask("US")
    };
    assert_eq!(
        first(&table, view(&[], &SenderRotation::of(&table)), &ask),
        Choice::Nothing
    );
    let plan = plan(&table, view(&[], &SenderRotation::of(&table)), &ask);
    assert_eq!(plan.left_out[0].why.to_string(), "tried: carrier_fault");
}

#[test]
fn asking_again_takes_another_carrier_and_another_sender() {
    let table = table();
    let avoid = Some(Avoid {
        carrier: "northwind",
        sender: "97671",
    });
    for roll in 0..100 {
        let c = take(
            &table,
            &[],
            &PlanRequest {
                avoid,
                roll,
                ..ask("US")
            },
        );
        assert_eq!(
            (c.carrier.0, c.sender.0, c.why),
            (TAILSPIN, 1, Why::RetryAvoids)
        );
    }
    // With nothing else left, the last way again, by another sender.
    let only = [
        Availability::Healthy,
        Availability::Suspended(Reason::Faults),
        Availability::Suspended(Reason::Faults),
    ];
    let c = take(&table, &only, &PlanRequest { avoid, ..ask("US") });
    assert!(c.carrier.0 == NORTHWIND && c.sender.0 != 0 && c.why == Why::RetryAvoids);
    let abroad = PlanRequest {
        avoid: Some(Avoid {
            carrier: "litware",
            sender: "+18553308653",
        }),
        ..ask("SE")
    };
    assert_eq!(take(&table, &[], &abroad).why, Why::OnlyCandidate);
}

#[test]
fn a_short_code_stays_in_its_country_even_in_the_default_route() {
    let table = table();
    let plan = plan(&table, view(&[], &SenderRotation::of(&table)), &ask("SE"));
    assert_eq!(plan.candidates.len(), 1);
    assert_eq!(plan.candidates[0].sender.0, TOLL_FREE);
    assert_eq!(plan.left_out[0].why, LeftOut::NotLeasedHere);
}

#[test]
fn a_wished_caller_id_is_used_if_it_is_ours_and_the_tenants() {
    let table = table();
    let voice = |caller_id, tenant| PlanRequest {
        method: Method::VoiceConfirm,
        caller_id,
        tenant,
        ..ask("US")
    };
    let c = take(&table, &[], &voice(None, "acme"));
    assert_eq!(c.sender.0, TOLL_FREE);
    let c = take(&table, &[], &voice(Some("+12025550199"), "acme"));
    assert_eq!((c.sender.0, c.why), (5, Why::AskedCallerId));
    for (wish, tenant, why) in [
        ("+12025550199", "other", LeftOut::Tenant),
        ("+12025550000", "acme", LeftOut::NotRegistered),
        ("97671", "acme", LeftOut::NoVoice),
    ] {
        let plan = plan(
            &table,
            view(&[], &SenderRotation::of(&table)),
            &voice(Some(wish), tenant),
        );
        assert_eq!(
            (plan.candidates[0].sender.0, plan.left_out[0].why),
            (TOLL_FREE, why),
            "{wish}"
        );
        assert_eq!(plan.left_out[0].carrier, None);
    }
    let reply = PlanRequest {
        method: Method::SmsReply,
        ..ask("SE")
    };
    assert_eq!(
        first(&table, view(&[], &SenderRotation::of(&table)), &reply),
        Choice::Nothing
    );
}

proptest! {
    /// Whatever the health, the past and the dice: never a short code abroad, never what was tried, never a carrier
    /// that is shut, each pair once, and the same again for the same question.
    #[test]
    fn the_plan_keeps_its_word(
        place in prop::sample::select(vec!["US", "CA", "SE", "JM", "001"]),
        roll: u64,
        health in prop::collection::vec(0u8..5, 3),
        past in prop::collection::vec((0u16..3, prop::option::of(0u16..6)), 0..5),
        last in prop::option::of((0u16..3, 0u16..6)),
        hedge: bool,
    ) {
        let table = table();
        let standing: Vec<Availability> = health.iter().map(|h| match h {
            0 => Availability::Suspended(Reason::Silent),
            1 => Availability::Probing { free: false },
            2 => Availability::Probing { free: true },
            3 => Availability::Full,
            _ => Availability::Healthy,
        }).collect();
        let id = |s: u16| table.sender(SenderIx(s)).unwrap().id.clone();
        let tried: Vec<Tried> = past.iter().map(|(c, s)| Tried {
            carrier: table.carriers()[usize::from(*c)].clone(),
            sender: s.map(id),
            cause: None,
        }).collect();
        let last = last.map(|(c, s)| (table.carriers()[usize::from(c)].clone(), id(s)));
        let ask = PlanRequest {
            roll, hedge, tried: &tried,
            avoid: last.as_ref().map(|(carrier, sender)| Avoid { carrier, sender }),
            ..ask(place)
        };
        let turns = SenderRotation::of(&table);
        let found = plan(&table, view(&standing, &turns), &ask);
        prop_assert_eq!(&found, &plan(&table, view(&standing, &turns), &ask));
        let mut pairs = BTreeSet::new();
        for c in &found.candidates {
            let sender = table.sender(c.sender).unwrap();
            let carrier = &table.carriers()[usize::from(c.carrier.0)];
            prop_assert!(sender.kind != SenderKind::ShortCode || place == "US");
            prop_assert!(!tried.iter().any(|t| t.carrier == *carrier && t.sender.as_ref().is_none_or(|s| *s == sender.id)));
            prop_assert!(health[usize::from(c.carrier.0)] >= 2);
            prop_assert!(pairs.insert((c.carrier, c.sender)));
        }
        // Every pair of the route is either a candidate or left out with a reason.
        let (_, lines) = table.route(ask.country, Channel::Sms);
        let whole: usize = lines.iter().map(|l| l.senders.len()).sum();
        prop_assert_eq!(found.candidates.len() + found.left_out.len(), whole);
        if let Choice::Take(c) = first(&table, view(&standing, &turns), &ask) {
            prop_assert!(found.candidates.iter().any(|f| (f.carrier, f.sender) == (c.carrier, c.sender)));
        }
    }
}

/// A caller ID that the job wishes for takes all of every tier: the others only stand in for it.
#[test]
fn shares_of_a_wished_caller_id_add_up_in_each_tier() {
    let mut table = table();
    let (own, toll_free) = (5, TOLL_FREE);
    let lines = vec![
        line("us.voice[0]", NORTHWIND, &[own, toll_free], 60, 1),
        line("us.voice[1]", TAILSPIN, &[own], 40, 1),
        line("us.voice[2]", LITWARE, &[toll_free], 1, 2),
    ];
    table.put(Some(country("US")), Channel::Voice, lines);
    let ask = PlanRequest {
        method: Method::VoiceConfirm,
        caller_id: Some("+12025550199"),
        tenant: "acme",
        ..ask("US")
    };
    let plan = plan(&table, view(&[], &SenderRotation::of(&table)), &ask);
    let shares: Vec<(u8, u16, f32)> = plan
        .candidates
        .iter()
        .map(|c| (c.tier, c.sender.0, c.share))
        .collect();
    let sum = |tier| -> f32 { shares.iter().filter(|s| s.0 == tier).map(|s| s.2).sum() };
    assert!((sum(1) - 100.0).abs() < 0.01, "{shares:?}");
    assert!((sum(2) - 100.0).abs() < 0.01, "{shares:?}");
    for (_, sender, share) in &shares {
        assert_eq!(*share == 0.0, *sender == toll_free, "{shares:?}");
    }
}

#[test]
fn where_everybody_is_out_for_missing_receipts_it_is_sent_all_the_same_and_marked() {
    let table = table();
    let lacks = Availability::NoReceipts { free: true };
    let down = Availability::Suspended(Reason::LinkDown);
    // One that is well goes first, whatever its tier.
    let chosen = take(&table, &[lacks, lacks, Availability::Healthy], &ask("US"));
    assert_eq!(
        (chosen.carrier, chosen.why),
        (CarrierIx(LITWARE), Why::NextTier)
    );
    for others in [lacks, down] {
        let standing = [lacks, others, others];
        let chosen = take(&table, &standing, &ask("US"));
        assert_eq!(chosen.why, Why::ReceiptsMissing);
        let turns = SenderRotation::of(&table);
        let all = plan(&table, view(&standing, &turns), &ask("US"));
        assert_eq!(all.candidates[0].why, Why::ReceiptsMissing);
    }
    let full = [Availability::NoReceipts { free: false }, down, down];
    let turns = SenderRotation::of(&table);
    assert_eq!(first(&table, view(&full, &turns), &ask("US")), Choice::Wait);
}

#[test]
fn a_sender_that_a_carrier_refuses_in_a_country_is_left_out_there_and_tried_alone() {
    let (table, turns) = (table(), SenderRotation::default());
    let refusal = |sender, free| Refusal {
        carrier: CarrierIx(NORTHWIND),
        sender,
        country: country("US"),
        free,
    };
    let chosen = |refusals: &[Refusal], roll| {
        let view = View {
            standing: &[],
            turns: &turns,
            refusals,
        };
        match first(&table, view, &PlanRequest { roll, ..ask("US") }) {
            Choice::Take(candidate) => candidate,
            other => panic!("{other:?}"),
        }
    };
    for roll in 0..200 {
        let by = chosen(&[refusal(Some(SenderIx(0)), false)], roll);
        assert_ne!((by.carrier, by.sender), (CarrierIx(NORTHWIND), SenderIx(0)));
        assert_ne!(
            chosen(&[refusal(None, false)], roll).carrier,
            CarrierIx(NORTHWIND)
        );
        let by = chosen(&[refusal(Some(SenderIx(0)), true)], roll);
        if by.carrier == CarrierIx(NORTHWIND) {
            assert_eq!((by.sender, by.why), (SenderIx(0), Why::Probe));
        }
    }
}
