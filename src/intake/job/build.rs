//! From what a job says to a [`Challenge`] or a control word: what its fields mean together, and with the settings.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Properties,
    canonical::{To, content},
    code,
    fields::{CancelFields, ChallengeFields, FallbackFields, FeedbackFields},
    is_own_queue,
    rules::{self, SHORT_STRING},
};
use crate::{
    challenge::{Challenge, Expect, Fallback, Meta, Method, Millis, ReplyTo},
    clock,
    config::settings::Jobs,
    intake::Job,
    message::templates,
    number,
    schema::{Described, TableView},
};

pub(super) fn cancel(table: &TableView<'_>) -> Option<Job> {
    let CancelFields { v: _, id, tenant } = CancelFields::read(table)?;
    Some(Job::Cancel { tenant, id })
}

pub(super) fn feedback(table: &TableView<'_>) -> Option<Job> {
    let fields = FeedbackFields::read(table)?;
    Some(Job::Feedback {
        tenant: fields.tenant,
        id: fields.id,
        verified: fields.verified,
    })
}

/// The challenge, without a code that the gateway would make.
pub(super) fn challenge(
    table: &TableView<'_>,
    properties: Properties,
    now: Millis,
    settings: &Jobs,
) -> Option<Job> {
    let door = properties.door;
    let reply_to = reply_to(table, properties, settings);
    let fields = ChallengeFields::read(table);
    segments(table, settings);
    let fields = fields?;
    let to = To::of(number::analyse(&fields.to, fields.region.as_deref()));
    let content = content(&fields, &to);
    // By the wall clock of this moment, once: from here on no step of it moves the deadline.
    let issued = fields.issued_at.map(clock::waited_for);
    let issued = issued.map_or(now, |at| if at > now + AHEAD { now } else { at });
    let fallback = |one: &FallbackFields| Fallback {
        method: one.method,
        after: one.after_s,
    };
    Some(Job::Challenge(Box::new(Challenge {
        id: fields.id,
        tenant: fields.tenant,
        user: fields.user,
        to: to.number,
        country: to.country,
        refused: to.refused,
        extension: fields.extension.or(to.extension),
        method: fields.method,
        fallback: fields.fallback.iter().map(fallback).collect(),
        until: fields.until,
        expect: fields.expect,
        code: fields.code,
        code_made: false,
        pin: fields.pin,
        text: fields.text,
        locale: fields.locale,
        issued,
        deadline: issued + fields.lifetime_s,
        arrived: now,
        caller_id: fields.caller_id,
        meta: kept(&fields.meta, settings),
        reply_to,
        door,
        content,
    })))
}

/// Gives a challenge its code, where one is needed and none was given. False: none could be made.
pub(super) fn make_code(job: &mut Job, settings: &Jobs) -> bool {
    let Job::Challenge(ch) = job else { return true };
    if ch.code.is_none() && needs_code(ch) {
        ch.code = code::make(settings.code_length);
        ch.code_made = true;
        return ch.code.is_some();
    }
    true
}

/// A text of the job's own goes on the air as it is written, but for the code: it has so many segments at most. Looked at
/// although other fields are faulty.
fn segments(table: &TableView<'_>, settings: &Jobs) {
    let (text, code) = (table.value("text"), table.value("code"));
    let Some(value) = text.as_ref().filter(|text| text.is_str()) else {
        return;
    };
    let given = code.as_ref().filter(|code| code.is_str());
    let given = given.and_then(|code| code.str()).map(str::len);
    let given = given.filter(|length| rules::CODE.contains(length));
    let length = given.unwrap_or(settings.code_length.into());
    let segments = value
        .str()
        .map_or(0, |text| templates::segments(text, length));
    if segments > settings.max_segments {
        value.fault(format!(
            "takes {segments} segments, at most {} are sent ([jobs] max_segments)",
            settings.max_segments
        ));
    }
}

fn reply_to(table: &TableView<'_>, properties: Properties, settings: &Jobs) -> Option<ReplyTo> {
    let queue = properties.reply_to.filter(|queue| !queue.is_empty())?;
    let amqp = settings.amqp.as_ref();
    if amqp.is_some_and(|amqp| is_own_queue(amqp, &queue)) {
        table.fault(
            "reply_to",
            "names a queue of the gateway itself; give one of your own",
        );
    } else if queue.len() > SHORT_STRING {
        table.fault("reply_to", "longer than 255 octets");
    }
    Some(ReplyTo {
        queue,
        correlation_id: properties.correlation_id,
    })
}

/// What the allow-list lets through.
fn kept(meta: &BTreeMap<Arc<str>, Arc<str>>, settings: &Jobs) -> Meta {
    let allowed = meta.iter().filter_map(|(key, value)| {
        let key = settings.meta.get::<str>(key)?;
        Some((key.clone(), value.clone()))
    });
    allowed.collect()
}

/// Does anything carry a code to the person? A text without its place carries none.
fn needs_code(ch: &Challenge) -> bool {
    let text = ch.text.as_deref().is_none_or(templates::has_place);
    ch.methods().any(|method| match method {
        Method::SmsCode => text,
        Method::SmsReply => text && ch.expect == Expect::Code,
        Method::VoiceCode => true,
        Method::VoiceConfirm | Method::VoicePin => false,
    })
}

/// Clocks differ: an `issued_at` up to so far ahead is believed.
const AHEAD: Duration = Duration::from_secs(5);
