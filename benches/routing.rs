//! How long one choice takes with 250 countries and 40 carriers, and how long all routes take to be read again.

use std::{fmt::Write, fs, path::Path, sync::Arc};

use divan::{Bencher, black_box};
use ringback::{
    challenge::{Channel, Method},
    config::Config,
    number::Country,
    routing::{
        CarrierIx, EntryTerms, PlanRequest, RouteEntry, SenderIx, Table, View,
        plan::{self, Tried},
        table::{Scope, Sender, SenderKind, SenderRotation},
    },
};

fn main() {
    divan::main();
}

const CARRIERS: u16 = 40;

fn countries() -> Vec<Country> {
    let letters = || (b'A'..=b'Z').map(char::from);
    let all = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
    all.filter_map(|code| Country::parse(&code))
        .take(250)
        .collect()
}

/// Every country with all forty carriers: four tiers of ten, four senders each.
fn table() -> Table {
    let senders: Vec<Sender> = (0..16)
        .map(|n| Sender {
            id: Arc::from(format!("+1202555010{n}")),
            kind: SenderKind::LongCode,
            countries: Scope::All,
            two_way: false,
            voice: true,
            programme: "mfa".into(),
            tenants: None,
        })
        .collect();
    let carriers = (0..CARRIERS)
        .map(|n| Arc::from(format!("carrier-{n}")))
        .collect();
    let mut table = Table::new(carriers, senders);
    for country in countries() {
        let lines = (0..CARRIERS)
            .map(|n| RouteEntry {
                name: Arc::from(format!("{country}.sms[{n}]")),
                carrier: CarrierIx(n),
                senders: (0..4).map(|s| SenderIx((n + s) % 16)).collect(),
                terms: EntryTerms {
                    weight: 10 + u32::from(n),
                    tier: 1 + (n / 10) as u8,
                    enabled: true,
                },
            })
            .collect();
        table.put(Some(country), Channel::Sms, lines);
    }
    table
}

fn ask(country: Country, roll: u64) -> PlanRequest<'static> {
    PlanRequest {
        country,
        method: Method::SmsCode,
        tenant: "default",
        caller_id: None,
        tried: &[],
        avoid: None,
        hedge: false,
        roll,
    }
}

fn choices(bencher: Bencher<'_, '_>, tried: &[Tried]) {
    let (table, countries) = (table(), countries());
    let turns = SenderRotation::of(&table);
    let view = View {
        standing: &[],
        turns: &turns,
        refusals: &[],
    };
    let mut n = 0u64;
    bencher.bench_local(|| {
        n += 1;
        let country = countries[n as usize % countries.len()];
        black_box(plan::first(
            &table,
            view,
            &PlanRequest {
                tried,
                ..ask(country, n)
            },
        ))
    });
}

#[divan::bench]
fn first_choice(bencher: Bencher<'_, '_>) {
    choices(bencher, &[]);
}

#[divan::bench]
fn choice_after_a_failure(bencher: Bencher<'_, '_>) {
    let tried = Tried {
        carrier: "carrier-3".into(),
        sender: None,
        cause: None,
    };
    choices(bencher, &[tried]);
}

/// 250 files of ten lines, forty carriers.
#[divan::bench(sample_count = 20)]
fn reload_of_all_routes(bencher: Bencher<'_, '_>) {
    let folder = std::env::temp_dir().join(format!("ringback-bench-routes-{}", std::process::id()));
    write(&folder).expect("a folder to write to");
    let file = folder.join("ringback.toml");
    bencher.bench_local(|| Config::load(black_box(&file)).map_err(|f| f.len()));
    let _ = fs::remove_dir_all(&folder);
}

fn write(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("routes"))?;
    fs::create_dir_all(folder.join("carriers"))?;
    fs::write(folder.join("ringback.toml"), "")?;
    for n in 0..CARRIERS {
        let text = format!(
            "transport = \"smpp\"\nendpoints = [\"127.0.0.1:{}\"]\nsystem_id = \"mfa\"\n",
            3000 + n
        );
        fs::write(folder.join(format!("carriers/carrier-{n}.toml")), text)?;
    }
    let sender = "[[sender]]\nid = \"+12025550143\"\nkind = \"long_code\"\ncountries = \"all\"\n";
    fs::write(folder.join("routes/senders.toml"), sender)?;
    let mut route = String::new();
    for n in 0..10 {
        let _ = write!(
            route,
            "[[sms]]\ncarrier = \"carrier-{}\"\nsenders = [\"+12025550143\"]\ntier = {}\n",
            n * 4,
            1 + n / 5
        );
    }
    for code in include_str!("countries.txt").split_whitespace() {
        fs::write(
            folder.join(format!("routes/{}.toml", code.to_lowercase())),
            &route,
        )?;
    }
    Ok(())
}
