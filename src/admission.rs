//! Admission: may this challenge be tried at all?
//!
//! Between intake and routing. Looks at the number (what it is, where it is), the methods, the countries that are
//! on, and the limits; says yes (and for which of the methods), or the one reason why not. Pure: time is an argument.

use crate::{
    challenge::{Challenge, Channel},
    number::{self, Analysis, Detail, NumberPolicy, Reach},
};

pub mod alarm;
pub mod countries;
mod full;
mod settings;
mod windows;

pub use full::FullWindows;
pub use settings::{Countries, CountrySet, Guard, Limits};
pub use windows::{Forgotten, Kind, LimitHasher, LimitKeys, Taken, Windows, limited, longest};

/// What admission says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Go on; true for each method that can't be used for this number (the others can).
    Yes { refused: Vec<bool> },
    /// No, with the reason for the final report.
    No { reason: &'static str },
}

/// Is there any route for this number's country on this channel?
pub trait Routes {
    fn serves(&self, ch: &Challenge, channel: Channel) -> bool;
}

impl<F: Fn(&Challenge, Channel) -> bool> Routes for F {
    fn serves(&self, ch: &Challenge, channel: Channel) -> bool {
        self(ch, channel)
    }
}

/// What admission goes by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub countries: &'a Countries,
    pub numbers: &'a NumberPolicy,
}

/// Which numbers a call may be led to: what is asked of the number of a challenge, for numbers that come up later.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallRules {
    pub numbers: NumberPolicy,
    pub countries: CountrySet,
}

impl CallRules {
    /// The reason why no call goes there, if so.
    pub fn refuse(&self, analysis: &Analysis) -> Option<&'static str> {
        if let Some(refusal) = analysis.refused_for(Reach::Call, &self.numbers) {
            return Some(refusal.reason.as_str());
        }
        let blocked = analysis
            .country
            .is_some_and(|country| !countries::on(&self.countries, country));
        blocked.then_some("country_blocked")
    }
}

/// The whole question but the limits, of which the ledger has the last word ([`Windows::take`]): each new id counts once,
/// whatever else is wrong with it.
pub fn admit(ch: &Challenge, rules: Rules<'_>, routes: &impl Routes) -> Admitted {
    let no = |reason| Admitted::No { reason };
    if ch.methods().any(|method| !method.served()) {
        return no("method_disabled");
    }
    let Some(number) = ch.to else {
        let reason = ch.refused.map_or("invalid_number", |r| r.reason.as_str());
        return no(reason);
    };
    let analysis = number::analyse(number.e164(), None);
    let mut refused = Vec::with_capacity(1 + ch.fallback.len());
    let mut first = None;
    for method in ch.methods() {
        let no = refuse(ch, &analysis, rules, routes, method.channel());
        first = first.or(no);
        refused.push(no.is_some());
    }
    match first {
        Some(reason) if refused.iter().all(|no| *no) => no(reason),
        _ => Admitted::Yes { refused },
    }
}

/// Why this channel can't be used for this number, if so.
fn refuse(
    ch: &Challenge,
    analysis: &Analysis,
    rules: Rules<'_>,
    routes: &impl Routes,
    channel: Channel,
) -> Option<&'static str> {
    if let Some(refusal) = ch.refused.filter(|r| r.detail == Detail::Emergency) {
        return Some(refusal.reason.as_str());
    }
    let (reach, countries) = match channel {
        Channel::Sms => (Reach::Text, &rules.countries.sms),
        Channel::Voice => (Reach::Call, &rules.countries.voice),
    };
    if let Some(refusal) = analysis.refused_for(reach, rules.numbers) {
        return Some(refusal.reason.as_str());
    }
    if ch
        .country
        .is_some_and(|country| !countries::on(countries, country))
    {
        return Some("country_blocked");
    }
    (!routes.serves(ch, channel)).then_some("no_route")
}
