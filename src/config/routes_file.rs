//! Reads `routes/`: the senders, one file per country, the default. Every name is looked up, so that the table that
//! comes out can't point into the void; a short code outside its country is refused here, before any traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    table::{Cursor, Value, quoted},
    values,
};
use crate::{
    challenge::Channel,
    number::Country,
    routing::table::{CarrierIx, RouteEntry, Scope, Sender, SenderIx, SenderKind},
};

/// Lines of one route at most: a choice walks over all of them.
pub const MAX_LINES: usize = 256;
/// Senders at most: an index has sixteen bits.
pub const MAX_SENDERS: usize = 10_000;
/// Where a line says no weight: equal shares.
const DEFAULT_WEIGHT: u32 = 1;
const DEFAULT_PROGRAMME: &str = "mfa";

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
pub fn senders(root: Cursor<'_>) -> (Vec<Sender>, SenderIds) {
    let mut good = Vec::new();
    let mut ids = SenderIds::new();
    let items = root
        .get("sender")
        .map_or(Some(Vec::new()), |v| v.list())
        .unwrap_or_default();
    for item in items {
        let Some(table) = item.table() else { continue };
        let id = table
            .need("id", "\"97671\"")
            .and_then(|v| v.text().map(|text| (text, v)));
        let read = sender(&table, id.as_ref());
        table.finish();
        let Some((id, value)) = id else { continue };
        if ids.contains_key(id) {
            value.fault(format!("the sender {} stands here twice", quoted(id)));
            continue;
        }
        let place = u16::try_from(good.len())
            .ok()
            .filter(|n| usize::from(*n) < MAX_SENDERS);
        if place.is_none() {
            value.fault(format!("more than {MAX_SENDERS} senders"));
        }
        ids.insert(
            id.into(),
            read.is_some().then_some(place).flatten().map(SenderIx),
        );
        good.extend(read.filter(|_| place.is_some()));
    }
    root.finish();
    (good, ids)
}

fn sender(table: &Cursor<'_>, id: Option<&(&str, Value<'_>)>) -> Option<Sender> {
    let kind = table.need("kind", "\"short_code\"").and_then(|v| {
        v.word(&[
            ("short_code", SenderKind::ShortCode),
            ("long_code", SenderKind::LongCode),
            ("toll_free", SenderKind::TollFree),
            ("alphanumeric", SenderKind::Alphanumeric),
        ])
    });
    let countries = table
        .need("countries", "[\"US\"] or \"all\"")
        .and_then(|v| scope(&v, kind));
    let two_way = table.get("two_way").map_or(Some(false), |v| v.bool());
    let voice = table.get("voice").map_or(Some(false), |v| {
        let word = v.bool()?;
        let number = matches!(
            kind,
            Some(SenderKind::LongCode | SenderKind::TollFree) | None
        );
        if word && !number {
            v.fault("only a long code or a toll-free number can be a caller ID");
        }
        Some(word)
    });
    let programme = table
        .get("programme")
        .map_or(Some(DEFAULT_PROGRAMME), |v| v.text());
    let tenants = table.get("tenants").map_or(Some(None), |v| {
        let words = values::texts(&v)?;
        if words.is_empty() {
            v.fault("is empty: nobody could use this sender; leave it out for everybody");
        }
        Some(Some(words.into_iter().collect()))
    });
    let (kind, (id, value)) = (kind?, id?);
    if let Some(reason) = misnamed(kind, id) {
        value.fault(format!("{} {reason}", quoted(id)));
        return None;
    }
    Some(Sender {
        id: Arc::from(*id),
        kind,
        countries: countries?,
        two_way: two_way?,
        voice: voice?,
        programme: programme?.into(),
        tenants: tenants?,
    })
}

/// Why this can't be the id of a sender of that kind.
fn misnamed(kind: SenderKind, id: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match kind {
        SenderKind::ShortCode => (!digits(id) || !(3..=8).contains(&id.len()))
            .then_some("is no short code: 3 to 8 digits"),
        SenderKind::LongCode | SenderKind::TollFree => {
            let number = id
                .strip_prefix('+')
                .is_some_and(|d| digits(d) && (7..=15).contains(&d.len()) && !d.starts_with('0'));
            (!number).then_some("is no number in E.164: a plus and 7 to 15 digits")
        }
        // TS 23.040, 9.1.2.5: eleven characters of the 7-bit alphabet.
        SenderKind::Alphanumeric => {
            let good = (1..=11).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b" -_.&+".contains(&b))
                && id.bytes().any(|b| b.is_ascii_alphabetic());
            (!good).then_some("is no alphanumeric sender: 1 to 11 letters, digits and spaces, at least one letter")
        }
    }
}

fn scope(value: &Value<'_>, kind: Option<SenderKind>) -> Option<Scope> {
    if value.is_str() {
        value.word(&[("all", ())])?;
        if kind == Some(SenderKind::ShortCode) {
            value.fault("a short code is leased country by country: name them, like [\"US\"]");
            return None;
        }
        return Some(Scope::All);
    }
    let items = value.list()?;
    if items.is_empty() {
        value.fault("names no country");
        return None;
    }
    let mut found = BTreeSet::new();
    for item in &items {
        let country = country(item.str()?);
        if country.is_none() {
            item.fault(format!(
                "{} is no country: write ISO 3166 letters like \"US\"",
                quoted(item.str()?)
            ));
        }
        if !found.insert(country?) {
            item.fault("stands here twice");
        }
    }
    Some(Scope::Only(found))
}

/// Reads the route of a country, or the default (None).
pub fn route(
    stem: &str,
    place: Option<Country>,
    names: &Names<'_>,
    root: Cursor<'_>,
) -> Option<Route> {
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
        for (index, item) in items.into_iter().enumerate() {
            let Some(table) = item.table() else { continue };
            let name = format!("{stem}.{}[{index}]", channel.name());
            let read = line(name, channel, place, names, &table, &mut route.named);
            table.finish();
            let Some(read) = read else { continue };
            if let Some(twice) = read
                .senders
                .iter()
                .find(|s| !pairs.insert((read.tier, read.carrier, **s)))
            {
                let id = names
                    .senders
                    .get(usize::from(twice.0))
                    .map_or("", |s| &s.id);
                item.fault(format!(
                    "this carrier stands in tier {} with the sender {} twice",
                    read.tier,
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
    root.finish();
    Some(route)
}

fn line(
    name: String,
    channel: Channel,
    place: Option<Country>,
    names: &Names<'_>,
    table: &Cursor<'_>,
    named: &mut BTreeSet<Arc<str>>,
) -> Option<RouteEntry> {
    let carrier = table.need("carrier", "\"northwind\"").and_then(|v| {
        let text = v.text()?;
        named.insert(text.into());
        carrier(&v, text, channel, names)
    });
    let (key, other) = match channel {
        Channel::Sms => ("senders", "caller_ids"),
        Channel::Voice => ("caller_ids", "senders"),
    };
    if table.is_there(other)
        && let Some(value) = table.get(if channel == Channel::Sms {
            "caller_ids"
        } else {
            "senders"
        })
    {
        value.fault(format!(
            "does not belong to {}: write {key}",
            channel.name()
        ));
    }
    let example = match channel {
        Channel::Sms => "[\"97671\"]",
        Channel::Voice => "[\"+18553308653\"]",
    };
    let senders = table
        .need(key, example)
        .and_then(|v| line_senders(&v, channel, place, names));
    let weight = table
        .get("weight")
        .map_or(Some(i64::from(DEFAULT_WEIGHT)), |v| {
            if v.is_int() && v.int(0..=i64::MAX) == Some(0) {
                v.fault("must not be 0: to drain a line write enabled = false");
                return None;
            }
            v.int(1..=1_000_000)
        });
    let tier = table.get("tier").map_or(Some(1), |v| v.int(1..=100));
    let enabled = table.get("enabled").map_or(Some(true), |v| v.bool());
    let carrier = carrier?;
    Some(RouteEntry {
        name: name.into(),
        carrier: carrier.index,
        senders: senders?,
        weight: u32::try_from(weight?).ok()?,
        tier: u8::try_from(tier?).ok()?,
        enabled: enabled? && carrier.enabled,
    })
}

fn carrier(value: &Value<'_>, text: &str, channel: Channel, names: &Names<'_>) -> Option<Known> {
    let Some(known) = names.carriers.get(text) else {
        let all: Vec<&str> = names.carriers.keys().map(|name| &**name).collect();
        match super::table::nearest(text, &all) {
            Some(near) => value.fault(format!(
                "there is no carrier {}; did you mean \"{near}\"?",
                quoted(text)
            )),
            None => value.fault(format!(
                "there is no carrier {}: it would be a file in the carriers' folder",
                quoted(text)
            )),
        }
        return None;
    };
    match (channel, known.voice) {
        (Channel::Sms, Some(true)) => {
            value.fault(format!("{} carries calls (sip), not texts", quoted(text)));
            None
        }
        (Channel::Voice, Some(false)) => {
            value.fault(format!(
                "{} carries texts, not calls: calls need a sip carrier",
                quoted(text)
            ));
            None
        }
        _ => Some(*known),
    }
}

fn line_senders(
    value: &Value<'_>,
    channel: Channel,
    place: Option<Country>,
    names: &Names<'_>,
) -> Option<Vec<SenderIx>> {
    let items = value.list()?;
    if items.is_empty() {
        value.fault("names no sender");
        return None;
    }
    let mut found: Vec<SenderIx> = Vec::new();
    for item in &items {
        let Some(id) = item.text() else { continue };
        let index = match names.ids.get(id) {
            None => {
                item.fault(format!(
                    "the sender {} does not stand in senders.toml",
                    quoted(id)
                ));
                continue;
            }
            // Its own fault has been said where it stands.
            Some(None) => continue,
            Some(Some(index)) => *index,
        };
        let Some(sender) = names.senders.get(usize::from(index.0)) else {
            continue;
        };
        if found.contains(&index) {
            item.fault(format!("the sender {} stands here twice", quoted(id)));
        } else if let Some(reason) = place.and_then(|country| foreign(sender, country)) {
            item.fault(reason);
        } else if channel == Channel::Voice && !sender.voice {
            item.fault(format!(
                "the sender {} may not be a caller ID: it has no voice = true in senders.toml",
                quoted(id)
            ));
        } else {
            found.push(index);
        }
    }
    (found.len() == items.len()).then_some(found)
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

/// A country by its letters, if there is one.
pub fn country(text: &str) -> Option<Country> {
    is_country(text).then(|| Country::parse(text)).flatten()
}

/// Is it a code of ISO 3166-1 alpha-2 (with XK, AC and TA as numbering plans use them), or 001?
pub fn is_country(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    text == "001" || (upper.len() == 2 && COUNTRIES.split(' ').any(|code| code == upper))
}

/// All of them.
pub fn countries() -> impl Iterator<Item = Country> {
    COUNTRIES.split_whitespace().filter_map(Country::parse)
}

const COUNTRIES: &str = "AC AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO \
    BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER \
    ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN \
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH \
    MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN \
    PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TF TG TH \
    TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_those_of_iso_3166() {
        assert_eq!(COUNTRIES.split_whitespace().count(), 249 + 3);
        assert!(is_country("se") && is_country("001") && !is_country("UK") && !is_country("all"));
    }
}
