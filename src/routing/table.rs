//! Routes compiled for speed: per country and channel the lines in order, everything by index.
//!
//! Made by `config` from files that were found good, so that nothing here can point into the void. Knows nothing of
//! health, and nothing of a challenge.

use std::{collections::BTreeSet, sync::Arc};

pub use super::sender::{Scope, Sender, SenderKind};
use serde_json::json;

use crate::{
    challenge::Channel,
    number::Country,
    schema::{
        ValueKind, described,
        kinds::{self, FLAG, Read, int},
    },
};

/// The place of a carrier in [`Table::carriers`]. Holds for one table only: over a reload, names hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CarrierIx(pub u16);

/// The place of a sender in [`Table::senders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderIx(pub u16);

/// The place of a line in [`Table::lines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteEntryIx(pub u32);

/// All routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    carriers: Vec<Arc<str>>,
    senders: Vec<Sender>,
    lines: Vec<RouteEntry>,
    /// By [`slot`]: the lines of each country that has a file, `[sms, voice]`; None: the default serves it.
    countries: Vec<[Option<Span>; 2]>,
    default: [Span; 2],
}

/// One entry of a route: a carrier, its senders there, its terms.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteEntry {
    /// `us.sms[0]`: file, channel, place in the file.
    pub name: Arc<str>,
    pub carrier: CarrierIx,
    /// Used evenly. Not empty.
    pub senders: Vec<SenderIx>,
    /// `enabled` is false, too, where the carrier's file says so.
    pub terms: EntryTerms,
}

described! {
    /// What a line of a route says beside its carrier and its senders, of texts and of calls alike.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EntryTerms {
        /// Share among neighbours of the tier.
        pub weight: u32, WEIGHT, live, default(1);
        /// The next one serves when this one has failed or is suspended.
        pub tier: u8, int(1..=100), live, default(1);
        /// `false`: drained.
        pub enabled: bool, FLAG, live, default(true);
    }
}

/// 0 is what somebody writes who wants to drain.
const WEIGHT: Read<u32> = kinds::read(
    "1 to 1,000,000",
    || json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000 }),
    |value| match value.is_int_of(0) {
        true => value.refuse("must not be 0: to drain a line write enabled = false"),
        false => int(1..=1_000_000).read(value),
    },
);

/// A stretch of [`Table::lines`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    first: u32,
    count: u32,
}

impl Table {
    /// A table without routes over these carriers and senders.
    pub fn new(carriers: Vec<Arc<str>>, senders: Vec<Sender>) -> Table {
        Table {
            carriers,
            senders,
            lines: Vec::new(),
            countries: vec![[None; 2]; SLOTS],
            default: [Span::default(); 2],
        }
    }

    /// Puts the lines of a country's channel in; None: the default route. Lines are put in order of tiers.
    pub fn put(&mut self, country: Option<Country>, channel: Channel, mut lines: Vec<RouteEntry>) {
        lines.sort_by_key(|line| line.terms.tier);
        let span = Span {
            first: index(self.lines.len()),
            count: index(lines.len()),
        };
        self.lines.append(&mut lines);
        match country {
            Some(country) => self.countries[slot(country)][place(channel)] = Some(span),
            None => self.default[place(channel)] = span,
        }
    }

    /// The routes that have lines: `us.sms`, `default.voice`.
    pub fn routed(&self) -> BTreeSet<&str> {
        let names = self.lines.iter().map(|line| &*line.name);
        names
            .map(|name| name.split('[').next().unwrap_or(name))
            .collect()
    }

    /// The lines that serve a country, in order of tiers, with the index of the first. Falls back to the default
    /// route where the country's file says nothing about the channel.
    pub fn route(&self, country: Country, channel: Channel) -> (RouteEntryIx, &[RouteEntry]) {
        let own = self
            .countries
            .get(slot(country))
            .and_then(|both| both[place(channel)]);
        let span = own.unwrap_or(self.default[place(channel)]);
        let (first, count) = (span.first as usize, span.count as usize);
        (
            RouteEntryIx(span.first),
            self.lines.get(first..first + count).unwrap_or(&[]),
        )
    }

    pub fn line(&self, line: RouteEntryIx) -> Option<&RouteEntry> {
        self.lines.get(line.0 as usize)
    }

    pub fn lines(&self) -> &[RouteEntry] {
        &self.lines
    }

    /// Does any route carry calls?
    pub fn has_calls(&self) -> bool {
        let own = self
            .countries
            .iter()
            .filter_map(|both| both[place(Channel::Voice)]);
        own.chain([self.default[place(Channel::Voice)]])
            .any(|span| span.count > 0)
    }

    pub fn carriers(&self) -> &[Arc<str>] {
        &self.carriers
    }

    pub fn carrier(&self, name: &str) -> Option<CarrierIx> {
        let at = self.carriers.iter().position(|c| **c == *name)?;
        u16::try_from(at).ok().map(CarrierIx)
    }

    /// A carrier's name; empty for an index of another table.
    pub fn carrier_name(&self, carrier: CarrierIx) -> &str {
        self.carriers
            .get(usize::from(carrier.0))
            .map_or("", |name| name)
    }

    /// The same, to keep.
    pub fn carrier_arc(&self, carrier: CarrierIx) -> Option<&Arc<str>> {
        self.carriers.get(usize::from(carrier.0))
    }

    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    pub fn sender(&self, sender: SenderIx) -> Option<&Sender> {
        self.senders.get(usize::from(sender.0))
    }

    pub fn sender_named(&self, id: &str) -> Option<SenderIx> {
        let at = self.senders.iter().position(|s| *s.id == *id)?;
        u16::try_from(at).ok().map(SenderIx)
    }
}

/// How often each line has been used: dispatch keeps one beside the table, and its senders take turns by it.
#[derive(Clone, Debug, Default)]
pub struct SenderRotation(Vec<u32>);

impl SenderRotation {
    pub fn of(table: &Table) -> SenderRotation {
        SenderRotation(vec![0; table.lines.len()])
    }

    pub fn get(&self, line: RouteEntryIx) -> u32 {
        self.0.get(line.0 as usize).copied().unwrap_or(0)
    }

    /// A candidate of this line was taken: the next one gets the next sender.
    pub fn used(&mut self, line: RouteEntryIx) {
        if let Some(turn) = self.0.get_mut(line.0 as usize) {
            *turn = turn.wrapping_add(1);
        }
    }
}

/// Two letters each, and one for `001`.
const SLOTS: usize = 26 * 26 + 1;

fn slot(country: Country) -> usize {
    match country.as_str().as_bytes() {
        [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => usize::from(a - b'A') * 26 + usize::from(b - b'A'),
        _ => SLOTS - 1,
    }
}

fn place(channel: Channel) -> usize {
    match channel {
        Channel::Sms => 0,
        Channel::Voice => 1,
    }
}

/// Lines are bounded far below this by the configuration (`config::routes_file`).
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
