//! The carrier's side of callbacks: what its network has written goes out in bodies of one or several, signed, again and again
//! until it is answered with 200.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
};
use ring::hmac;
use serde_json::{Value, json};

use super::{Http, latency, now_and_then, packed, reached};
use crate::{
    carrier::{Receipt, ReceiptState, Reply, http::callback::signature},
    challenge::AttemptKey,
    rehearse::{
        stage::{Effect, Stage},
        steps::{Brought, HttpStep, PostId},
    },
};

/// A callback that was not answered with 200 is sent again after so long, in milliseconds.
const AGAIN: (u64, u64) = (2_000, 20_000);
/// Receipts are gathered for so long, in milliseconds, where they are gathered at all.
const GATHERED: (u64, u64) = (200, 3_000);
const AT_ONCE: u32 = 800;
/// The carrier's key and the one before it: callbacks are signed with either.
const KEYS: [&str; 2] = ["the carrier's key", "the key before"];

/// Of one carrier.
pub(super) struct Courier {
    pub keys: Vec<hmac::Key>,
    /// In no body yet.
    written: Vec<u32>,
    pub posts: BTreeMap<PostId, Post>,
    last_post: PostId,
    /// Which receipt has told this of a part of a text for the first time.
    told: BTreeMap<(AttemptKey, u16, &'static str), u32>,
    /// The carrier's own ids of what it brings, where it gives any.
    events: BTreeMap<u32, Arc<str>>,
    /// What the core has acknowledged, by number and by event.
    safe: BTreeSet<u32>,
    safe_events: BTreeSet<Arc<str>>,
}

/// A body that is sent.
#[derive(Clone)]
pub(super) struct Post {
    pub numbers: Vec<u32>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Courier {
    pub fn new() -> Courier {
        let keys = KEYS.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        Courier {
            keys: keys.to_vec(),
            written: Vec::new(),
            posts: BTreeMap::new(),
            last_post: 0,
            told: BTreeMap::new(),
            events: BTreeMap::new(),
            safe: BTreeSet::new(),
            safe_events: BTreeSet::new(),
        }
    }

    /// Whether the core says by this that it is safe, for the first time.
    pub fn is_safe_now(&mut self, number: u32, reply: Reply) -> bool {
        if reply != Reply::Taken {
            return false;
        }
        self.safe_events.extend(self.events.get(&number).cloned());
        self.safe.insert(number)
    }

    pub fn was_brought(&self, number: u32) -> bool {
        self.safe.contains(&number)
    }

    /// It is safe itself, or what it repeats is.
    fn is_safe(&self, number: u32) -> bool {
        let event = self.events.get(&number);
        self.safe.contains(&number) || event.is_some_and(|event| self.safe_events.contains(event))
    }
}

impl Http {
    /// The network has written a receipt.
    pub(super) fn write(&mut self, mut brought: Brought, stage: &mut Stage<'_>) {
        // Its answer had no id, and the receipt has one all the same.
        if let (Some(key), true) = (brought.of, brought.receipt.references.is_empty()) {
            let id = format!("{:x}-{}", key.challenge.0, key.attempt);
            brought.receipt.references = vec![id.into()];
        }
        let says = brought
            .of
            .map(|key| (key, brought.part, brought.receipt.state.name()));
        let number = self.network.written(brought);
        let first = says.map(|says| *self.courier.told.entry(says).or_insert(number));
        let event = first.and_then(|first| self.courier.events.get(&first).cloned());
        let event = match event.filter(|_| stage.dice.chance(500)) {
            // It repeats what it has told.
            Some(event) => Some(event),
            None if stage.dice.chance(800) => Some(format!("e{number}").into()),
            None => None,
        };
        if let Some(event) = event {
            self.courier.events.insert(number, event);
        }
        if self.courier.written.is_empty() {
            let after = match stage.dice.chance(AT_ONCE) {
                true => Duration::ZERO,
                false => stage.dice.between(GATHERED.0, GATHERED.1),
            };
            stage.later(after, HttpStep::Gathered);
        }
        self.courier.written.push(number);
    }

    /// All that is written goes into one body.
    pub(super) fn gathered(&mut self, stage: &mut Stage<'_>) {
        let numbers = std::mem::take(&mut self.courier.written);
        if numbers.len() > 1 {
            reached(stage, "a callback brought several receipts");
        }
        let parts = numbers.iter().filter_map(|number| {
            let brought = self.network.bringing.get(number)?;
            Some(part(brought, self.courier.events.get(number)))
        });
        let mut parts: Vec<Value> = parts.collect();
        if stage.dice.chance(stage.profile.callbacks_forged) {
            self.forge(&parts, stage);
        }
        if parts.len() > 1 && stage.dice.chance(stage.profile.receipt_foreign) {
            // Nobody knows what that is, and the others are taken all the same.
            let at = stage.dice.below(parts.len() as u64) as usize;
            parts.insert(at, json!({ "event": "ping" }));
        }
        let (headers, body) = body(&parts, stage);
        self.courier.last_post += 1;
        let id = self.courier.last_post;
        let post = Post {
            numbers,
            headers,
            body,
        };
        self.courier.posts.insert(id, post);
        let after = latency(stage);
        stage.later(after, HttpStep::Post(id));
    }

    /// The answer to a callback reaches the carrier.
    pub(super) fn replied(&mut self, id: PostId, status: u16, stage: &mut Stage<'_>) {
        if self.is_down(stage) {
            return again(id, stage);
        }
        match status {
            200 => {
                let post = self.courier.posts.remove(&id);
                for number in post.into_iter().flat_map(|post| post.numbers) {
                    self.network.bringing.remove(&number);
                    if !self.courier.is_safe(number) {
                        stage.effects.push(Effect::AnsweredUnsafe(number));
                    }
                }
            }
            // No driver of the name runs, or the core is behind.
            401 | 503 => {
                reached(stage, "a callback was told to come again");
                again(id, stage);
            }
            _ => {
                let fault = format!("a callback as the carrier's file has it is answered {status}");
                stage.effects.push(Effect::Broken(fault));
            }
        }
    }

    /// Somebody who has none of the keys says the contrary.
    fn forge(&mut self, parts: &[Value], stage: &mut Stage<'_>) {
        stage.effects.push(Effect::Fault("forged callback"));
        let mut parts = parts.to_vec();
        for part in &mut parts {
            part["status"] = match part["status"] == "delivered" {
                true => "failed".into(),
                false => "delivered".into(),
            };
        }
        let (mut headers, body) = body(&parts, stage);
        let key = &self.courier.keys[0];
        let unix = stage.wall.0 / 1_000;
        match stage.dice.below(4) {
            0 => {}
            1 => sign(&mut headers, key, unix, b"{}"),
            // One of long ago, come by somehow.
            2 => sign(&mut headers, key, unix - 600, &body),
            _ => {
                let own = hmac::Key::new(hmac::HMAC_SHA256, b"guessed");
                sign(&mut headers, &own, unix, &body);
            }
        }
        let read = self.read(&headers, &body, stage.wall);
        match read {
            Err(why) if why.status() == 401 => {}
            _ => {
                let fault = "a callback that its carrier has not signed is taken".to_owned();
                stage.effects.push(Effect::Broken(fault));
            }
        }
    }
}

pub(super) fn again(post: PostId, stage: &mut Stage<'_>) {
    let after = stage.dice.between(AGAIN.0, AGAIN.1);
    stage.later(after, HttpStep::Post(post));
}

/// Is this what the gateway reads of a receipt that is written so?
pub(super) fn is_read_from(read: &Receipt, written: &Receipt) -> bool {
    let bare = |number: &Option<Arc<str>>| {
        let number = number.as_deref()?;
        Some(number.trim_start_matches('+').to_owned())
    };
    (&read.references, read.state) == (&written.references, written.state)
        && read.carrier_code == written.carrier_code
        && read.phone.as_deref() == bare(&written.phone).as_deref()
        && read.sender.as_deref() == bare(&written.sender).as_deref()
}

// --- bodies ------------------------------------------------------------------------------------------------------

fn part(brought: &Brought, event: Option<&Arc<str>>) -> Value {
    let Receipt {
        references,
        state,
        carrier_code,
        phone,
        sender,
        ..
    } = &brought.receipt;
    let mut part = json!({ "id": references.first(), "status": word(*state) });
    for (key, value) in [
        ("event", event),
        ("code", carrier_code.as_ref()),
        ("to", phone.as_ref()),
        ("from", sender.as_ref()),
    ] {
        if let Some(value) = value {
            part[key] = json!(value);
        }
    }
    part
}

fn word(state: ReceiptState) -> &'static str {
    match state {
        ReceiptState::Delivered => "delivered",
        ReceiptState::Undelivered => "failed",
        ReceiptState::Intermediate => "sent",
        ReceiptState::Expired | ReceiptState::Rejected => "expired",
        ReceiptState::Unknown => "unknown",
    }
}

/// One alone, a list at the place that the file names, a list as the whole body, or one after the other.
fn body(parts: &[Value], stage: &mut Stage<'_>) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, kind);
    let text = match (parts, stage.dice.below(3)) {
        ([one], 0) => one.to_string(),
        (_, 0) => {
            let lines: Vec<String> = parts.iter().map(Value::to_string).collect();
            lines.join("\n")
        }
        (_, 1) => json!(parts).to_string(),
        _ => json!({ "results": parts }).to_string(),
    };
    if !now_and_then(stage) {
        return (headers, text.into_bytes());
    }
    let coding = HeaderValue::from_static("gzip");
    headers.insert(CONTENT_ENCODING, coding);
    (headers, packed(text.as_bytes()))
}

/// `t=<unix>,v1=<hex HMAC-SHA256(key, t "." body)>`
pub(super) fn sign(headers: &mut HeaderMap, key: &hmac::Key, unix: i64, body: &[u8]) {
    let mut signed = hmac::Context::with_key(key);
    signed.update(unix.to_string().as_bytes());
    signed.update(b".");
    signed.update(body);
    let value = format!("t={unix},v1={}", hex::encode(signed.sign()));
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(signature::NAME, value);
    }
}
