//! Admission: may this challenge be tried at all?
//!
//! Between intake and routing. Looks at the number (what it is, where it is), the methods, the countries that are
//! on, and the limits; says yes (and for which of the methods), or the one reason why not. Pure: time is an argument.

use crate::{
    challenge::{Challenge, Channel, Millis},
    config::Settings,
};

mod countries;
mod windows;

pub use windows::Windows;

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

/// The whole question. The windows are asked last, so that what is refused anyway counts by its id all the same:
/// each new id counts once, but for those that the limiter itself refuses.
pub fn admit(ch: &Challenge, settings: &Settings, windows: &mut Windows, routes: &impl Routes, now: Millis) -> Admitted {
    if let Some(reason) = windows.take(ch, &settings.limits, now) {
        return Admitted::No { reason };
    }
    if ch.methods().any(|method| !method.served()) {
        return Admitted::No { reason: "method_disabled" };
    }
    if ch.to.is_none() {
        return Admitted::No { reason: "invalid_number" };
    }
    let mut refused = Vec::with_capacity(1 + ch.fallback.len());
    let mut first = None;
    for method in ch.methods() {
        let no = refuse(ch, settings, routes, method.channel());
        first = first.or(no);
        refused.push(no.is_some());
    }
    match first {
        Some(reason) if refused.iter().all(|no| *no) => Admitted::No { reason },
        _ => Admitted::Yes { refused },
    }
}

/// Why this channel can't be used for this number, if so.
fn refuse(ch: &Challenge, settings: &Settings, routes: &impl Routes, channel: Channel) -> Option<&'static str> {
    let to = ch.to.as_ref()?;
    if let Some(refusal) = to.refused(channel, &settings.numbers.allow) {
        return Some(refusal.reason());
    }
    if !countries::on(settings.countries.of(channel), to.country()) {
        return Some("country_blocked");
    }
    (!routes.serves(ch, channel)).then_some("no_route")
}
