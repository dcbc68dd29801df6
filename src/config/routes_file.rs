//! Reads the files of `routes/` against the carriers and senders that there are: lines of routes, by index.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    sync::Arc,
};

use super::values::TEXTS;
use crate::{
    challenge::Channel,
    number::Country,
    routing::table::{CarrierIx, EntryTerms, RouteEntry, Scope, Sender, SenderIx, SenderKind},
    schema::{
        Applies, Described, Key, Presence, TableView, Value, described,
        kinds::{TEXT, list, section},
        value::{nearest, quoted},
    },
};

/// Lines of one route at most: a choice walks over all of them.
pub const MAX_LINES: usize = 256;
/// Senders at most: an index has sixteen bits.
pub const MAX_SENDERS: usize = 10_000;

described! {
    /// Where a line of `[[sms]]` leads; its other keys are [`EntryTerms`].
    #[derive(Clone, Debug, PartialEq)]
    struct SmsEnds {
        /// A file of `carriers/`, SMPP or HTTP.
        carrier: Arc<str>, TEXT, live, needed("northwind");
        /// Senders that may be shown there; used evenly.
        senders: Vec<Arc<str>>, TEXTS, live, needed(["97671"]);
    }
}

described! {
    /// The same for `[[voice]]`.
    #[derive(Clone, Debug, PartialEq)]
    struct VoiceEnds {
        /// A file of `carriers/`, SIP.
        carrier: Arc<str>, TEXT, live, needed("fabrikam");
        /// Senders with `voice = true`; used evenly.
        caller_ids: Vec<Arc<str>>, TEXTS, live, needed(["+18553308653"]);
    }
}

/// The keys of a country's file.
pub fn keys() -> Vec<Key> {
    let lines = Presence::Absent("`default.toml` serves the channel", "");
    vec![
        Key::of(
            "sms",
            "",
            Applies::Inside,
            lines,
            &list(section::<(SmsEnds, EntryTerms)>()),
            PhantomData,
        ),
        Key::of(
            "voice",
            "",
            Applies::Inside,
            lines,
            &list(section::<(VoiceEnds, EntryTerms)>()),
            PhantomData,
        ),
    ]
}

/// The keys of `senders.toml`.
pub fn sender_keys() -> Vec<Key> {
    let none = Presence::Absent("no route can be written", "");
    let senders = list(section::<Sender>());
    vec![Key::of(
        "sender",
        "",
        Applies::Inside,
        none,
        &senders,
        PhantomData,
    )]
}

/// A carrier as far as routes must know it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub index: CarrierIx,
    /// None: its file is faulty, so that nothing can be said against its use.
    pub voice: Option<bool>,
    pub enabled: bool,
}

/// What the lines of a route may name.
pub struct Names<'a> {
    pub carriers: &'a BTreeMap<Arc<str>, Known>,
    pub senders: &'a [Sender],
    pub ids: &'a SenderIds,
}

/// The lines of one file; None where it says nothing about a channel.
#[derive(Debug, Default)]
pub struct Route {
    pub sms: Option<Vec<RouteEntry>>,
    pub voice: Option<Vec<RouteEntry>>,
    /// Carriers that it names.
    pub named: BTreeSet<Arc<str>>,
}

/// Sender ids, good or faulty, by place; None: it stands in the file, but is faulty.
pub type SenderIds = BTreeMap<Arc<str>, Option<SenderIx>>;

/// Reads `senders.toml`: the good ones, and every id that stands in it.
pub fn senders(root: &TableView<'_>) -> (Vec<Sender>, SenderIds) {
    let mut good = Vec::new();
    let mut ids = SenderIds::new();
    let value = root.get("sender");
    let items = value.as_ref().and_then(Value::list).unwrap_or_default();
    for item in &items {
        let Some(table) = item.table() else { continue };
        let read = Sender::read(&table);
        if let Some(id) = table.value("id").as_ref().and_then(Value::str) {
            if ids.contains_key(id) {
                let reason = format!("the sender {} stands here twice", quoted(id));
                table.fault("id", reason);
            } else {
                let place = u16::try_from(good.len()).ok();
                let place = place.filter(|n| usize::from(*n) < MAX_SENDERS);
                if place.is_none() {
                    table.fault("id", format!("more than {MAX_SENDERS} senders"));
                }
                ids.insert(id.into(), place.filter(|_| read.is_some()).map(SenderIx));
                good.extend(read.filter(|_| place.is_some()));
            }
        }
        table.finish();
    }
    (good, ids)
}

/// Reads the route of a country, or the default (None).
pub fn route(stem: &str, place: Option<Country>, names: &Names<'_>, root: &TableView<'_>) -> Route {
    let mut route = Route::default();
    for channel in [Channel::Sms, Channel::Voice] {
        let Some(value) = root.get(channel.name()) else {
            continue;
        };
        let Some(items) = value.list() else {
            continue;
        };
        if items.len() > MAX_LINES {
            value.fault(format!("more than {MAX_LINES} lines"));
            continue;
        }
        let mut lines = Vec::new();
        let mut pairs = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let Some(table) = item.table() else { continue };
            let name = format!("{stem}.{}[{index}]", channel.name());
            let line = EntryReader {
                channel,
                place,
                names,
                table: &table,
            };
            let read = line.read(name, &mut route.named);
            table.finish();
            let Some(read) = read else { continue };
            let mut twice = read.senders.iter();
            if let Some(twice) = twice.find(|s| !pairs.insert((read.terms.tier, read.carrier, **s)))
            {
                let id = names
                    .senders
                    .get(usize::from(twice.0))
                    .map_or("", |s| &s.id);
                item.fault(format!(
                    "this carrier stands in tier {} with the sender {} twice",
                    read.terms.tier,
                    quoted(id)
                ));
                continue;
            }
            lines.push(read);
        }
        match channel {
            Channel::Sms => route.sms = Some(lines),
            Channel::Voice => route.voice = Some(lines),
        }
    }
    route
}

/// One line of a file.
struct EntryReader<'a> {
    channel: Channel,
    place: Option<Country>,
    names: &'a Names<'a>,
    table: &'a TableView<'a>,
}

impl EntryReader<'_> {
    fn read(&self, name: String, named: &mut BTreeSet<Arc<str>>) -> Option<RouteEntry> {
        let (key, other) = match self.channel {
            Channel::Sms => ("senders", "caller_ids"),
            Channel::Voice => ("caller_ids", "senders"),
        };
        if let Some(value) = self.table.get(other) {
            let channel = self.channel.name();
            value.fault(format!("does not belong to {channel}: write {key}"));
        }
        let ends = match self.channel {
            Channel::Sms => SmsEnds::read(self.table).map(drop),
            Channel::Voice => VoiceEnds::read(self.table).map(drop),
        };
        let terms = EntryTerms::read(self.table);
        // What one key has wrong doesn't hide what another names.
        let carrier = self
            .table
            .value("carrier")
            .as_ref()
            .and_then(|v| self.carrier(v, named));
        let senders = self.table.value(key).as_ref().and_then(|v| self.senders(v));
        let ((), mut terms, carrier) = (ends?, terms?, carrier?);
        terms.enabled &= carrier.enabled;
        Some(RouteEntry {
            name: name.into(),
            carrier: carrier.index,
            senders: senders?,
            terms,
        })
    }

    fn carrier(&self, value: &Value<'_>, named: &mut BTreeSet<Arc<str>>) -> Option<Known> {
        let text = value.str()?;
        named.insert(text.into());
        let Some(known) = self.names.carriers.get(text) else {
            let all: Vec<&str> = self.names.carriers.keys().map(|name| &**name).collect();
            return value.refuse(match nearest(text, &all) {
                Some(near) => format!(
                    "there is no carrier {}; did you mean \"{near}\"?",
                    quoted(text)
                ),
                None => format!(
                    "there is no carrier {}: it would be a file in the carriers' folder",
                    quoted(text)
                ),
            });
        };
        match (self.channel, known.voice) {
            (Channel::Sms, Some(true)) => {
                value.refuse(format!("{} carries calls (sip), not texts", quoted(text)))
            }
            (Channel::Voice, Some(false)) => value.refuse(format!(
                "{} carries texts, not calls: calls need a sip carrier",
                quoted(text)
            )),
            _ => Some(*known),
        }
    }

    fn senders(&self, value: &Value<'_>) -> Option<Vec<SenderIx>> {
        let items = value.list()?;
        if items.is_empty() {
            return value.refuse("names no sender");
        }
        let mut found: Vec<SenderIx> = Vec::with_capacity(items.len());
        for item in &items {
            let Some(id) = item.str() else { continue };
            let index = match self.names.ids.get(id) {
                None => {
                    let id = quoted(id);
                    item.fault(format!("the sender {id} does not stand in senders.toml"));
                    continue;
                }
                // Its own fault has been said where it stands.
                Some(None) => continue,
                Some(Some(index)) => *index,
            };
            if found.contains(&index) {
                item.fault(format!("the sender {} stands here twice", quoted(id)));
            } else if let Some(reason) = self.unfit(index) {
                item.fault(reason);
            } else {
                found.push(index);
            }
        }
        (found.len() == items.len()).then_some(found)
    }

    /// Why a sender can't stand in this line.
    fn unfit(&self, index: SenderIx) -> Option<String> {
        let sender = self.names.senders.get(usize::from(index.0))?;
        if let Some(reason) = self.place.and_then(|country| foreign(sender, country)) {
            return Some(reason);
        }
        (self.channel == Channel::Voice && !sender.voice).then(|| {
            format!(
                "the sender {} may not be a caller ID: it has no voice = true in senders.toml",
                quoted(&sender.id)
            )
        })
    }
}

fn foreign(sender: &Sender, country: Country) -> Option<String> {
    if sender.serves(country) {
        return None;
    }
    let Scope::Only(set) = &sender.countries else {
        return None;
    };
    let places: Vec<&str> = set.iter().map(Country::as_str).collect();
    let what = match sender.kind {
        SenderKind::ShortCode => "the short code",
        SenderKind::LongCode | SenderKind::TollFree | SenderKind::Alphanumeric => "the sender",
    };
    Some(format!(
        "{what} {} may be used in {} only, not in {country}",
        quoted(&sender.id),
        places.join(", ")
    ))
}
