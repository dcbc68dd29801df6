//! What a job may say: the description of its fields, by kind of message. From it follow the reading with every fault at
//! once, the handbook's tables and the JSON Schemas. Faults never repeat a value.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use serde_json::{Value as Json, json};

use super::rules::{self, EXTENSION, FALLBACKS, META_KEY, META_PAIRS, META_VALUE, NAME};
use crate::{
    challenge::{Code, Expect, Method, Millis, Until},
    number::Number,
    schema::{
        Value, ValueKind, described,
        kinds::{
            self, FLAG, Int, Mapped, OneOf, Read, any_string, int, list, mapped, section, word,
        },
    },
};

described! {
    /// A challenge.
    #[derive(Clone, PartialEq)]
    pub struct ChallengeFields {
        /// The only version.
        pub v: i64, VERSION, message, default(1);
        /// The same id again is the same challenge, per tenant, as long as `[ledger] retention`.
        pub id: Arc<str>, ID, message, needed("login-1");
        /// A national number needs its `region`. One that can't be understood is no bad job: it is `rejected`.
        pub to: Arc<str>, TO, message, needed("+12025550123");
        /// For national numbers.
        pub region: Option<Arc<str>>, REGION, message, absent("none", "SE");
        /// An office extension; counts for the limit of the number.
        pub extension: Option<Arc<str>>, OFFICE, message, absent("none", "204");
        /// How it is put to the person, see below.
        pub method: Method, METHOD, message, needed("sms_code");
        /// What follows when the method before has failed for good, or `after_s` seconds after its start.
        pub fallback: Vec<FallbackFields>, FALLBACK, message, default([]);
        /// For `sms_reply`, which is not served yet.
        pub expect: Expect, EXPECT, message, default("code");
        /// `delivered`: a receipt is enough. `verified`: only your feedback ends it as good.
        pub until: Until, UNTIL, message, default("delivered");
        /// Absent where one is needed, the gateway makes it (`[jobs] code_length`).
        pub code: Option<Code>, CODE, message, absent("none", "482913");
        /// For `voice_pin`, which is not served yet; the PIN itself never travels.
        pub pin: Option<Code>, PIN, message, absent("none");
        /// What the text says, `{code}` where the code belongs; at most `[jobs] max_segments`.
        pub text: Option<Arc<str>>, TEXT, message, absent("the template of `locale`", "Your code is {code}");
        /// The best match of templates and recordings.
        pub locale: Arc<str>, LOCALE, message, default("en-US");
        /// Nothing is sent after it.
        pub lifetime_s: Duration, seconds(10..=900), message, default(180);
        /// The life begins then. More than 5 s ahead counts as now.
        pub issued_at: Option<Millis>, MOMENT, message, absent("when it came", "2026-11-29T12:00:00Z");
        /// Whose it is; needs no declaration.
        pub tenant: Arc<str>, NAMED, message, default("default");
        /// For the limit of the user.
        pub user: Option<Arc<str>>, NAMED, message, absent("none", "ada");
        /// The caller ID to wish for; used if it is a sender with `voice = true` that the tenant may use.
        pub caller_id: Option<Number>, CALLER_ID, message, absent("that of the route", "+18553308653");
        /// Those on the list `[jobs] meta` are kept and come back.
        pub meta: BTreeMap<Arc<str>, Arc<str>>, META, message, default({});
    }
}

described! {
    /// A further method.
    #[derive(Clone, PartialEq)]
    pub struct FallbackFields {
        pub method: Method, METHOD, message, needed("voice_code");
        pub after_s: Duration, seconds(0..=900), message, needed(40);
    }
}

described! {
    /// Ends an open challenge.
    #[derive(Clone, PartialEq)]
    pub struct CancelFields {
        /// The only version.
        pub v: i64, VERSION, message, default(1);
        /// Of the challenge.
        pub id: Arc<str>, ID, message, needed("login-1");
        /// Of the challenge.
        pub tenant: Arc<str>, NAMED, message, default("default");
    }
}

described! {
    /// Did the person enter the right code?
    #[derive(Clone, PartialEq)]
    pub struct FeedbackFields {
        /// The only version.
        pub v: i64, VERSION, message, default(1);
        /// Of the challenge.
        pub id: Arc<str>, ID, message, needed("login-1");
        /// Of the challenge.
        pub tenant: Arc<str>, NAMED, message, default("default");
        /// Did the person enter the right code? `true` ends an open challenge as `verified`; `false` is recorded.
        pub verified: bool, FLAG, message, needed(true);
    }
}

const VERSION: Read<i64> = kinds::read(
    "1",
    || json!({ "const": 1 }),
    |value| {
        let version = int(i64::MIN..=i64::MAX).read(value)?;
        match version {
            1 => Some(version),
            _ => value.refuse("must be 1, the only version there is"),
        }
    },
);

fn seconds(range: std::ops::RangeInclusive<i64>) -> Mapped<Int<u64>, Duration> {
    mapped(int(range), Duration::from_secs)
}

/// A string that a rule takes, or what it must be.
macro_rules! string {
    ($name:ident: $type:ty, $said:literal, $json:expr, $reason:expr, $read:expr) => {
        const $name: Read<$type> = kinds::read(
            $said,
            || $json,
            |value| {
                let read: fn(&str) -> Option<$type> = $read;
                read(value.str()?).or_else(|| value.refuse($reason))
            },
        );
    };
}

/// What most jobs leave at its default is one text for all of them: a hundred thousand open challenges would hold as many
/// copies.
fn shared(text: &str) -> Arc<str> {
    static TENANT: LazyLock<Arc<str>> = LazyLock::new(|| "default".into());
    static LOCALE: LazyLock<Arc<str>> = LazyLock::new(|| "en-US".into());
    let known = [&*TENANT, &*LOCALE];
    let known = known.into_iter().find(|known| known.as_ref() == text);
    known.map_or_else(|| text.into(), Arc::clone)
}

fn pattern(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}

string!(ID: Arc<str>, "1 to 128 of `A-Z a-z 0-9 . _ : -`", pattern("^[A-Za-z0-9._:-]{1,128}$"),
    "must be 1 to 128 of A-Z a-z 0-9 . _ : -",
    |text| rules::is_id(text).then(|| text.into()));
string!(TO: Arc<str>, "E.164, or a national number", any_string(), "", |text| Some(text.into()));
string!(REGION: Arc<str>, "two letters (ISO 3166)", pattern("^[A-Za-z]{2}$"),
    "must be two letters (ISO 3166), such as SE",
    |text| rules::is_region(text).then(|| text.into()));
string!(OFFICE: Arc<str>, "1 to 20 digits", pattern("^[0-9]{1,20}$"), "must be 1 to 20 digits",
    |text| rules::is_digits(text, 1..=EXTENSION).then(|| text.into()));
string!(CODE: Code, "4 to 10 digits", pattern("^[0-9]{4,10}$"), "must be 4 to 10 digits",
    |text| rules::is_digits(text, rules::CODE).then(|| Code::new(text)));
string!(PIN: Code, "a PHC string of argon2id, scrypt or pbkdf2-sha256",
    pattern("^\\$(argon2id|scrypt|pbkdf2-sha256)\\$"),
    "must be a PHC string of argon2id, scrypt or pbkdf2-sha256",
    |text| rules::is_phc(text).then(|| Code::new(text)));
string!(LOCALE: Arc<str>, "a language tag (BCP 47)", any_string(),
    "must be a language tag (BCP 47), such as en-US",
    |text| rules::is_locale(text).then(|| shared(text)));
string!(MOMENT: Millis, "RFC 3339 with its offset", json!({ "type": "string", "format": "date-time" }),
    "must be a time with its offset (RFC 3339), such as 2026-01-31T12:00:00Z",
    rules::moment);
string!(NAMED: Arc<str>, "1 to 256 octets", json!({ "type": "string", "minLength": 1, "maxLength": 256 }),
    "must be 1 to 256 octets without control characters",
    |text| rules::is_name(text, NAME).then(|| shared(text)));
string!(CALLER_ID: Number, "E.164", pattern("^\\+[1-9][0-9]{2,14}$"),
    "must be E.164: + and 3 to 15 digits", Number::from_e164);

static METHODS: LazyLock<[(&'static str, Method); 5]> =
    LazyLock::new(|| Method::ALL.map(|method| (method.name(), method)));

const METHOD: Read<Method> = kinds::read(
    "a method",
    || word(METHODS.as_slice()).json(),
    |value| word(METHODS.as_slice()).read(value),
);

const EXPECT: OneOf<Expect> = word(&[("code", Expect::Code), ("yes", Expect::Yes)]);
const UNTIL: OneOf<Until> = word(&[
    ("delivered", Until::Delivered),
    ("verified", Until::Verified),
]);

const FALLBACK: Read<Vec<FallbackFields>> = kinds::read(
    "up to 8 of `{ \"method\", \"after_s\" }`, 0 to 900 seconds",
    || {
        let mut json = list(section::<FallbackFields>()).json();
        json["maxItems"] = json!(FALLBACKS);
        json
    },
    |value| match value.list()?.len() > FALLBACKS {
        true => value.refuse("holds more than 8 methods"),
        false => list(section()).read(value),
    },
);

const TEXT: Read<Arc<str>> = kinds::read(
    "not empty, no control characters but newline",
    || json!({ "type": "string", "minLength": 1 }),
    |value| {
        let text = value.str()?;
        if text.is_empty() {
            return value.refuse("must not be empty");
        }
        if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\n') {
            return value.refuse(format!(
                "holds the control character U+{:04X}: of these only LF (U+000A) may stand in a text",
                u32::from(c)
            ));
        }
        Some(text.into())
    },
);

const META: Read<BTreeMap<Arc<str>, Arc<str>>> = kinds::read(
    "up to 64 strings (names to 64 octets, values to 2,048)",
    || json!({ "type": "object", "maxProperties": META_PAIRS, "additionalProperties": { "type": "string" } }),
    meta,
);

fn meta(value: &Value<'_>) -> Option<BTreeMap<Arc<str>, Arc<str>>> {
    let table = value.table()?;
    if table.entries().count() > META_PAIRS {
        return value.refuse("holds more than 64 entries");
    }
    let mut found: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    for (key, value) in table.entries() {
        if found.contains_key(key) {
            value.fault("stands twice");
        } else if !rules::is_name(key, META_KEY) {
            table.fault_here("has a name that is empty, longer than 64 octets or unprintable");
        } else if let Some(text) = value.str() {
            if text.len() > META_VALUE {
                value.fault("longer than 2048 octets");
            }
            found.insert(key.into(), text.into());
        }
    }
    Some(found)
}
