//! What an HTTP carrier's answer means: taken, refused and why, too busy, or nothing that can be read. Pure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use super::{
    body::Unreadable,
    code::{self, Tone},
    json,
};
use crate::{
    carrier::AttemptEvent,
    cause::{Blame, Cause, Failure},
    challenge::Millis,
    config::carrier::{HttpResponse, HttpVerdict},
};

/// A longer pause than this is not believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// One answer.
pub struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<&'a str>,
    pub body: Result<&'a str, Unreadable>,
}

/// What an answer is, and what is odd about it.
pub struct Reading {
    pub event: AttemptEvent,
    pub oddity: Option<Oddity>,
}

/// Why an answer says less than the carrier's file expects of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// Taken, but without the reference: its receipts may find it by phone only.
    NoReference,
    Empty,
    NotJson,
    CutOff,
    TooLong,
    Coding,
    /// The verdict is missing, or a word that the file names neither as accepted nor as refused.
    NoVerdict,
}

impl Oddity {
    /// As metrics and logs name it.
    pub fn name(self) -> &'static str {
        match self {
            Oddity::NoReference => "no_reference",
            Oddity::Empty => "empty",
            Oddity::NotJson => "not_json",
            Oddity::CutOff => "cut_off",
            Oddity::TooLong => "too_long",
            Oddity::Coding => "coding",
            Oddity::NoVerdict => "no_verdict",
        }
    }
}

/// The event that an answer is.
pub fn read(
    answer: &Answer<'_>,
    response: &HttpResponse,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Reading {
    let document = answer
        .body
        .ok()
        .and_then(json::documents)
        .and_then(|documents| <[&RawValue; 1]>::try_from(documents).ok())
        .map(|[document]| document)
        .filter(|document| document.get() != "null");
    let words = document.map(|document| Words::of(document, response));
    if !response.accepted.contains(&answer.status) {
        let code = words.and_then(|words| words.code);
        return plain(AttemptEvent::Failed(failure(answer, code, own, now)));
    }
    match (words, answer.body) {
        (Some(words), _) => taken_or_refused(answer, words, response, own, now),
        // A cut-off answer may have gone on to say anything.
        (None, Err(Unreadable::CutOff)) => doubt(Oddity::CutOff),
        (None, Err(Unreadable::TooLong)) => doubt(Oddity::TooLong),
        // Where nothing is to be read in it, the status says all.
        (None, _) if response.reference.is_none() && response.verdict.is_none() => {
            plain(accepted(None))
        }
        (None, Err(Unreadable::Coding)) => doubt(Oddity::Coding),
        (None, Ok(text)) => doubt(match text.trim_matches(['\0', ' ', '\t', '\r', '\n']) {
            "" | "null" => Oddity::Empty,
            _ => Oddity::NotJson,
        }),
    }
}

/// What the body says at the places that the carrier's file names.
struct Words {
    reference: Option<Arc<str>>,
    code: Option<Arc<str>>,
    verdict: Option<Arc<str>>,
}

impl Words {
    fn of(document: &RawValue, response: &HttpResponse) -> Words {
        let at = |pointer: &Option<Arc<str>>| json::word_at(document, pointer.as_deref()?);
        let verdict = response.verdict.as_ref();
        Words {
            reference: at(&response.reference),
            code: at(&response.code),
            verdict: verdict.and_then(|verdict| json::word_at(document, &verdict.at)),
        }
    }
}

/// The status is one of acceptance; the body may say otherwise.
fn taken_or_refused(
    answer: &Answer<'_>,
    words: Words,
    response: &HttpResponse,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Reading {
    let refused = match &response.verdict {
        Some(verdict) => match says(verdict, words.verdict.as_deref()) {
            Some(taken) => !taken,
            None if refuses(&words, response, own) => true,
            None => return doubt(Oddity::NoVerdict),
        },
        None => refuses(&words, response, own),
    };
    if refused {
        // The word that the table knows, else the code.
        let Words { code, verdict, .. } = words;
        let known = |word: &Arc<str>| own.contains_key(word);
        let code = match code.as_ref().is_some_and(known) {
            true => code,
            false => verdict.clone().filter(known).or(code).or(verdict),
        };
        return plain(AttemptEvent::Failed(failure(answer, code, own, now)));
    }
    let odd = response.reference.is_some() && words.reference.is_none();
    Reading {
        event: accepted(words.reference),
        oddity: odd.then_some(Oddity::NoReference),
    }
}

/// What the verdict says: taken or not; None: nothing.
fn says(verdict: &HttpVerdict, word: Option<&str>) -> Option<bool> {
    let named = |words: &[Arc<str>]| {
        word.is_some_and(|word| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
    };
    if named(&verdict.refused) {
        return Some(false);
    }
    if named(&verdict.accepted) {
        return Some(true);
    }
    match (verdict.accepted.is_empty(), verdict.refused.is_empty()) {
        // Only refusals are named: all else is none.
        (true, _) => Some(true),
        // Only acceptances are named: any other word is a refusal, no word is none.
        (false, true) => word.map(|_| false),
        (false, false) => None,
    }
}

/// Without a verdict, a code may say that the text was refused in spite of the status: one that the carrier's table
/// names, one that sounds like a refusal, one where the reference should be, or any that stands at a place for errors.
fn refuses(words: &Words, response: &HttpResponse, own: &BTreeMap<Arc<str>, Cause>) -> bool {
    let Some(code) = &words.code else {
        return false;
    };
    if own.contains_key(code) {
        return true;
    }
    let for_errors = response
        .code
        .as_deref()
        .is_some_and(code::is_place_of_errors);
    match code::tone(code) {
        Tone::Good => false,
        Tone::Bad => true,
        Tone::Unsaid => words.reference.is_none() || for_errors,
    }
}

fn accepted(reference: Option<Arc<str>>) -> AttemptEvent {
    AttemptEvent::Accepted {
        references: reference.into_iter().collect(),
    }
}

fn plain(event: AttemptEvent) -> Reading {
    Reading {
        event,
        oddity: None,
    }
}

fn doubt(oddity: Oddity) -> Reading {
    Reading {
        event: AttemptEvent::InDoubt {
            cause: Cause::InDoubt,
        },
        oddity: Some(oddity),
    }
}

/// By the carrier's own table (its code first, then the status), then by the status:
///
/// | status | cause | verdict |
/// |---|---|---|
/// | 429; 503 with Retry-After | throttled | later |
/// | 401, 403, 407: our account; 408, 425, 5xx, 3xx | carrier fault | next candidate |
/// | other 4xx; 2xx with a refusal in the body: this request | carrier fault, blamed on nobody | next candidate |
/// | 2xx that is no acceptance and says nothing | carrier fault | next candidate |
fn failure(
    answer: &Answer<'_>,
    code: Option<Arc<str>>,
    own: &BTreeMap<Arc<str>, Cause>,
    now: Millis,
) -> Failure {
    let status: Arc<str> = answer.status.to_string().into();
    let named = code
        .as_ref()
        .and_then(|code| own.get(code))
        .or_else(|| own.get(&status))
        .copied();
    let pause = answer.retry_after.and_then(|text| pause(text, now));
    let of_this_request = match answer.status {
        401 | 403 | 407 | 408 | 425 | 429 => false,
        400..=499 => true,
        200..=299 => code.is_some(),
        _ => false,
    };
    let cause = named.unwrap_or(match answer.status {
        429 => Cause::Throttled,
        503 if pause.is_some() => Cause::Throttled,
        _ => Cause::CarrierFault,
    });
    let retry_after = pause.filter(|_| cause == Cause::Throttled);
    let usual = cause.failure(Some(code.unwrap_or(status)));
    Failure {
        retry_after,
        // Whoever types a bad number into a form must not take a carrier down.
        blame: match named.is_none() && of_this_request {
            true => Blame::Nobody,
            false => usual.blame,
        },
        ..usual
    }
}

/// Retry-After (RFC 9110, 10.2.3): seconds, or a date.
fn pause(text: &str, now: Millis) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date =
                time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822)
                    .ok()?;
            Millis(date.unix_timestamp().saturating_mul(1_000)).since(now)
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests;
