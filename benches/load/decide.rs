//! One choice of a route with 250 countries and 40 carriers, one number on the fast path; in this process.

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use ringback::{
    challenge::{Channel, Method},
    number::{Country, analyse},
    routing::{
        CarrierIx, EntryTerms, PlanRequest, RouteEntry, SenderIx, Table, View, plan,
        table::{Scope, Sender, SenderKind, SenderRotation},
    },
};

use super::{
    World,
    figure::{Figure, Goal},
};

pub fn run(world: &World) -> Vec<Figure> {
    let times = world.count(1_000_000);
    let (large, small) = (decision(250, 40, times), decision(25, 4, times));
    let clean = [
        "+12025550123",
        "+46701234567",
        "+447400123456",
        "+4915123456789",
        "+33612345678",
    ];
    let fast = each(times, |n| {
        black_box(analyse(black_box(clean[n % clean.len()]), None));
    });
    let odd = [
        "+1 (202) 555-0123",
        "+46 70 123 45 67",
        "+44 7400 123456",
        "+49 1512 3456789",
    ];
    let slow = each(times / 50, |n| {
        black_box(analyse(black_box(odd[n % odd.len()]), None));
    });
    vec![
        Figure::new(
            "route decision, 250 countries, 40 carriers",
            "us",
            Goal::AtMost(5.0),
            large,
        )
        .beside(look_up(times)),
        Figure::new(
            "route decision, 25 countries, 4 carriers",
            "us",
            Goal::None,
            small,
        ),
        Figure::new(
            "number on the fast path (floor: the library)",
            "us",
            Goal::AtMost(1.0),
            fast,
        )
        .beside(slow),
    ]
}

/// The least of five runs: what interrupts it is not the code's (us).
fn each(times: usize, mut what: impl FnMut(usize)) -> f64 {
    let mut best = Duration::MAX;
    let times = (times / 5).max(1);
    for _ in 0..5 {
        let begun = Instant::now();
        (0..times).for_each(&mut what);
        best = best.min(begun.elapsed());
    }
    best.as_secs_f64() * 1e6 / times as f64
}

/// What any choice costs at least: the country looked up.
fn look_up(times: usize) -> f64 {
    let countries = countries(250);
    let table: HashMap<Country, usize> = countries.iter().copied().zip(0..).collect();
    each(times, |n| {
        black_box(table.get(black_box(&countries[n % countries.len()])));
    })
}

fn decision(count: usize, carriers: u16, times: usize) -> f64 {
    let countries = countries(count);
    let table = table(&countries, carriers);
    let turns = SenderRotation::of(&table);
    let view = View {
        standing: &[],
        turns: &turns,
        refusals: &[],
    };
    each(times, |n| {
        let ask = PlanRequest {
            country: countries[n % countries.len()],
            method: Method::SmsCode,
            tenant: "default",
            caller_id: None,
            tried: &[],
            avoid: None,
            hedge: false,
            roll: n as u64,
        };
        black_box(plan::first(&table, view, &ask));
    })
}

fn countries(count: usize) -> Vec<Country> {
    let letters = || (b'A'..=b'Z').map(char::from);
    let all = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
    all.filter_map(|code| Country::parse(&code))
        .take(count)
        .collect()
}

/// Every country with all the carriers, in four tiers, four senders each.
fn table(countries: &[Country], carriers: u16) -> Table {
    let sender = |n| Sender {
        id: Arc::from(format!("+1202555010{n}")),
        kind: SenderKind::LongCode,
        countries: Scope::All,
        two_way: false,
        voice: true,
        programme: "mfa".into(),
        tenants: None,
    };
    let names = (0..carriers)
        .map(|n| Arc::from(format!("carrier-{n}")))
        .collect();
    let mut table = Table::new(names, (0..10).map(sender).collect());
    for country in countries {
        let line = |n: u16| RouteEntry {
            name: Arc::from(format!("{country}.sms[{n}]")),
            carrier: CarrierIx(n),
            senders: (0..4).map(|s| SenderIx((n + s) % 10)).collect(),
            terms: EntryTerms {
                weight: 10 + u32::from(n),
                tier: 1 + (n * 4 / carriers) as u8,
                enabled: true,
            },
        };
        table.put(
            Some(*country),
            Channel::Sms,
            (0..carriers).map(line).collect(),
        );
    }
    table
}
