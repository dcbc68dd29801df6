//! Was it right? A case, what its reports told and what its phone saw, held against each other. Pure.
//!
//! Whatever a case expects, some things hold for every challenge: one final report and it is the last, the code that
//! was read or heard is the code of the job (or the one that was reported), and the phone shows the very sender that
//! the report names, one that is leased there.

use std::collections::BTreeMap;

use simulators::{
    record::{Call, CallResult, Entry, Line, TextResult, code_in},
    subscriber::digits_of,
};

use super::{
    case::{Case, Phone},
    follow::{Story, Told, Try},
};
use crate::{number::Country, routing::Table};

/// Everything that is wrong with a challenge; empty: it went as it must.
pub fn faults(case: &Case, story: &Story, lines: &[Line], table: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(last) = last(story, &mut faults) else {
        return faults;
    };
    outcome(case, last, &mut faults);
    let code = case
        .code
        .clone()
        .or_else(|| story.reports.iter().find_map(|told| told.code.clone()));
    if lines.iter().any(|line| line.entry.text().is_some()) && code.is_none() {
        faults.push("the code that the gateway made was never reported".to_owned());
    }
    let code = code.unwrap_or_default();
    let told_codes = story.reports.iter().filter_map(|told| told.code.as_ref());
    for told in told_codes.filter(|told| **told != code) {
        faults.push(format!("reported code {told} is not {code}"));
    }
    let mut happened = Vec::new();
    for line in lines {
        match &line.entry {
            Entry::Text(text) => {
                if code_in(&text.text) != Some(code.as_str()) {
                    faults.push(format!("the text does not carry the code {code}"));
                }
                shown(line, &text.from, last, &mut faults);
                if text.result != TextResult::Refused {
                    happened.push(match text.result {
                        TextResult::Read => Phone::Reads { parts: text.parts },
                        TextResult::Unread | TextResult::Refused => Phone::Misses,
                    });
                }
            }
            Entry::Call(call) => {
                shown(line, &call.shown, last, &mut faults);
                happened.extend(call_faults(call, case, &code, &mut faults));
            }
            Entry::ProtocolError(error) => {
                faults.push(format!("broke {}: {}", error.protocol, error.reason));
            }
        }
    }
    let expected = &case.expect.phone;
    // Texts are written down when they come, calls when they end: the order among both says nothing.
    if sorted(&happened) != sorted(expected) {
        faults.push(format!(
            "at the phone: {}; expected: {}",
            words(&happened),
            words(expected)
        ));
    }
    for attempt in &last.attempts {
        leased(attempt, &last.country, table, &mut faults);
    }
    faults
}

/// The one final report, which is the last.
fn last<'a>(story: &'a Story, faults: &mut Vec<String>) -> Option<&'a Told> {
    let finals = story.reports.iter().filter(|told| told.r#final).count();
    if finals != 1 {
        faults.push(format!("{finals} final reports"));
    }
    let seqs: Vec<u32> = story.reports.iter().map(|told| told.seq).collect();
    if !seqs
        .iter()
        .copied()
        .eq(1..=u32::try_from(seqs.len()).unwrap_or(u32::MAX))
    {
        faults.push(format!("reports are numbered {seqs:?}"));
    }
    story.reports.last().filter(|told| told.r#final)
}

/// Event, reason and the way.
fn outcome(case: &Case, last: &Told, faults: &mut Vec<String>) {
    let expect = &case.expect;
    if last.event != expect.event || last.reason.as_deref() != Some(expect.reason) {
        faults.push(format!(
            "ended as {}; expected {}",
            ending(&last.event, last.reason.as_deref()),
            ending(expect.event, Some(expect.reason))
        ));
    }
    let carriers: Vec<&str> = last.attempts.iter().map(|a| a.carrier.as_str()).collect();
    if !expect.carriers.is_empty()
        && !expect
            .carriers
            .iter()
            .map(|c| &**c)
            .eq(carriers.iter().copied())
    {
        faults.push(format!(
            "went by {}; expected {}",
            carriers.join(", "),
            expect.carriers.join(", ")
        ));
    }
    let hedged = last.attempts.iter().any(|a| a.hedge) && last.attempts.iter().any(|a| a.in_doubt);
    if hedged != expect.hedged {
        faults.push(match hedged {
            true => "an attempt was in doubt and hedged".to_owned(),
            false => "no attempt is marked in doubt and hedged".to_owned(),
        });
    }
}

/// `delivered`, `rejected (number_type)`.
pub fn ending(event: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if reason != event => format!("{event} ({reason})"),
        _ => event.to_owned(),
    }
}

/// The phone shows what the report says it shows.
fn shown(line: &Line, sender: &str, last: &Told, faults: &mut Vec<String>) {
    let by_carrier = |a: &&Try| a.carrier == *line.carrier;
    if !last
        .attempts
        .iter()
        .filter(by_carrier)
        .any(|a| same(&a.sender, sender))
    {
        faults.push(format!(
            "the phone shows {sender} by {}, of which no attempt tells",
            line.carrier
        ));
    }
}

fn same(one: &str, other: &str) -> bool {
    let (one_digits, other_digits) = (digits_of(one), digits_of(other));
    match one_digits.is_empty() || other_digits.is_empty() {
        true => one == other,
        false => one_digits == other_digits,
    }
}

/// Is this what is left of a code, some digits lost?
fn is_part_of(heard: &str, code: &str) -> bool {
    let mut left = code.chars();
    heard.chars().all(|digit| left.any(|c| c == digit))
}

/// What happened in a call; None: it never got to the person.
fn call_faults(call: &Call, case: &Case, code: &str, faults: &mut Vec<String>) -> Option<Phone> {
    if call.result != CallResult::Answered {
        return (call.result != CallResult::Refused).then_some(Phone::Rings(call.result));
    }
    let language = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
    if call.locale.as_deref().map(language) != Some(language(case.locale)) {
        faults.push(format!(
            "heard {}; expected the recordings of {}",
            call.locale.as_deref().unwrap_or("nothing that is known"),
            case.locale
        ));
    }
    if !call.digits_heard.is_empty() {
        // The code is read twice. On a busy machine a digit may be lost on the way; who has heard it whole once, and
        // nothing else, knows it.
        let rest = call.digits_heard.replacen(code, "", 1);
        let whole = !code.is_empty() && rest.len() + code.len() == call.digits_heard.len();
        if !whole || !is_part_of(&rest, code) {
            faults.push(format!("heard {}; the code is {code}", call.digits_heard));
        }
        return Some(Phone::Hears);
    }
    Some(match call.pressed.contains('#') {
        true => Phone::Approves,
        false => Phone::Rings(CallResult::Answered),
    })
}

/// A short code never goes where it is not leased, whoever wrote the routes.
fn leased(attempt: &Try, country: &str, table: &Table, faults: &mut Vec<String>) {
    let sender = table
        .sender_named(&attempt.sender)
        .and_then(|at| table.sender(at));
    let Ok(country) = country.parse::<Country>() else {
        return;
    };
    if sender.is_some_and(|sender| !sender.serves(country)) {
        faults.push(format!("{} is not leased in {country}", attempt.sender));
    }
}

fn sorted(phone: &[Phone]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in phone {
        *counts.entry(format!("{one:?}")).or_default() += 1;
    }
    counts
}

fn words(phone: &[Phone]) -> String {
    if phone.is_empty() {
        return "nothing".to_owned();
    }
    let word = |one: &Phone| match one {
        Phone::Reads { parts: 1 } => "a text read".to_owned(),
        Phone::Reads { parts } => format!("a text of {parts} parts read"),
        Phone::Misses => "a text missed".to_owned(),
        Phone::Approves => "a call approved".to_owned(),
        Phone::Hears => "a code heard".to_owned(),
        Phone::Rings(result) => format!("a call ({result:?})").to_lowercase(),
    };
    let all: Vec<String> = phone.iter().map(word).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests;
