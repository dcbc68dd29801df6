//! The rules of a job, each in one place: from what was written to a [`Challenge`] or a control word.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::{
    BadJob, FAULTS, JobKind, Properties, code,
    fault_scan::shown,
    given::{Given, To},
    is_own_queue,
    raw::{Raw, RawFallback, Text},
    rules::{self, EXTENSION, FALLBACKS, META_KEY, META_VALUE, NAME, SHORT_STRING},
};
use crate::{
    challenge::{Challenge, Code, Expect, Fallback, Meta, Method, Millis, ReplyTo, Until},
    clock,
    config::settings::Jobs,
    intake::Job,
    message::templates,
    number::{self, Number},
    report::JobFault,
};

/// Everything that is wrong, or the job.
pub(super) fn check(
    kind: JobKind,
    raw: Raw<'_>,
    faults: Vec<JobFault>,
    properties: Properties,
    now: Millis,
    settings: &Jobs,
) -> Result<Job, BadJob> {
    let mut check = Check { faults };
    let id = check.id(&raw);
    check.version(raw.v);
    check.unknown_fields(kind, &raw);
    let job = match kind {
        JobKind::Challenge => check.challenge(&raw, id.clone(), properties, now, settings),
        JobKind::Cancel => check.cancel(&raw, id.clone()),
        JobKind::Feedback => check.feedback(&raw, id.clone()),
    };
    match job {
        Some(job) if check.faults.is_empty() => Ok(job),
        _ => Err(BadJob {
            faults: check.faults,
            id,
        }),
    }
}

struct Check {
    faults: Vec<JobFault>,
}

impl Check {
    fn fault(&mut self, field: &str, reason: &str) {
        // A field of the wrong type is told once, not also as missing.
        if self.faults.len() < FAULTS && !self.faults.iter().any(|f| f.field == field) {
            self.faults.push(JobFault::new(field, reason));
        }
    }

    /// The value, or a fault and None.
    fn keep<T>(&mut self, field: &str, value: Option<T>, reason: &str) -> Option<T> {
        if value.is_none() {
            self.fault(field, reason);
        }
        value
    }

    /// None where it is absent; where it is there it must be good.
    fn optional<'r, T>(
        &mut self,
        field: &str,
        value: &'r Option<Text<'_>>,
        read: impl FnOnce(&'r str) -> Option<T>,
        reason: &str,
    ) -> Option<T> {
        let text: &'r str = value.as_ref()?;
        let value = read(text);
        self.keep(field, value, reason)
    }

    fn id(&mut self, raw: &Raw<'_>) -> Option<Arc<str>> {
        match &raw.id {
            None => self.keep("id", None, "required"),
            Some(id) if rules::is_id(id) => Some((**id).into()),
            Some(_) => self.keep("id", None, "must be 1 to 128 of A-Z a-z 0-9 . _ : -"),
        }
    }

    fn version(&mut self, v: Option<i64>) {
        if v.is_some_and(|v| v != 1) {
            self.fault("v", "must be 1, the only version there is");
        }
    }

    /// Fields that another kind of message knows and this one doesn't.
    fn unknown_fields(&mut self, kind: JobKind, raw: &Raw<'_>) {
        if kind != JobKind::Feedback && raw.verified.is_some() {
            self.fault("verified", "unknown field");
        }
        if kind == JobKind::Challenge {
            return;
        }
        let present = [
            ("to", raw.to.is_some()),
            ("region", raw.region.is_some()),
            ("extension", raw.extension.is_some()),
            ("method", raw.method.is_some()),
            ("expect", raw.expect.is_some()),
            ("fallback", raw.fallback.is_some()),
            ("until", raw.until.is_some()),
            ("code", raw.code.is_some()),
            ("pin", raw.pin.is_some()),
            ("text", raw.text.is_some()),
            ("locale", raw.locale.is_some()),
            ("lifetime_s", raw.lifetime_s.is_some()),
            ("issued_at", raw.issued_at.is_some()),
            ("user", raw.user.is_some()),
            ("caller_id", raw.caller_id.is_some()),
            ("meta", raw.meta.is_some()),
        ];
        for (field, _) in present.iter().filter(|(_, there)| *there) {
            self.fault(field, "unknown field");
        }
    }

    fn tenant(&mut self, raw: &Raw<'_>) -> Arc<str> {
        match &raw.tenant {
            None => TENANT.clone(),
            Some(text) if rules::is_name(text, NAME) => (**text).into(),
            Some(_) => {
                self.fault("tenant", NAMED);
                TENANT.clone()
            }
        }
    }

    fn cancel(&mut self, raw: &Raw<'_>, id: Option<Arc<str>>) -> Option<Job> {
        let tenant = self.tenant(raw);
        Some(Job::Cancel { tenant, id: id? })
    }

    fn feedback(&mut self, raw: &Raw<'_>, id: Option<Arc<str>>) -> Option<Job> {
        let tenant = self.tenant(raw);
        let verified = self.keep("verified", raw.verified, "required: true or false");
        Some(Job::Feedback {
            tenant,
            id: id?,
            verified: verified?,
        })
    }

    fn challenge(
        &mut self,
        raw: &Raw<'_>,
        id: Option<Arc<str>>,
        properties: Properties,
        now: Millis,
        settings: &Jobs,
    ) -> Option<Job> {
        let to = self.to(raw);
        let method = self.method("method", &raw.method);
        let fallback = self.fallback(raw.fallback.as_deref().unwrap_or(&[]));
        let expect = self.expect(&raw.expect);
        let until = self.until(&raw.until);
        let extension = self.extension(&raw.extension);
        let code = self.optional("code", &raw.code, given_code, "must be 4 to 10 digits");
        let pin = self.pin(&raw.pin);
        let text = self.text(&raw.text, code.as_ref(), settings);
        let locale = self.locale(&raw.locale);
        let lifetime = self.lifetime(raw.lifetime_s);
        let issued_at = self.optional("issued_at", &raw.issued_at, rules::moment, MOMENT);
        let tenant = self.tenant(raw);
        let user = self.optional("user", &raw.user, named, NAMED);
        let caller_id = self.optional("caller_id", &raw.caller_id, Number::from_e164, E164);
        let reply_to = self.reply_to(properties.reply_to, properties.correlation_id, settings);
        self.meta(raw);
        let (to, method, id) = (to?, method?, id?);
        let given = Given {
            raw,
            to: &to,
            method,
            fallback: &fallback,
            expect,
            until,
            locale: &locale,
            lifetime,
            issued_at,
        };
        let content = given.content();
        // By the wall clock of this moment, once: from here on no step of it moves the deadline.
        let issued = issued_at.map(clock::waited_for);
        let issued = issued.map_or(now, |at| if at > now + AHEAD { now } else { at });
        let mut ch = Challenge {
            id,
            tenant,
            user,
            to: to.number,
            country: to.country,
            refused: to.refused,
            extension: extension.or(to.extension),
            method,
            fallback,
            until,
            expect,
            code,
            code_made: false,
            pin,
            text,
            locale,
            issued,
            deadline: issued + lifetime,
            arrived: now,
            caller_id,
            meta: kept_meta(raw, settings),
            reply_to,
            door: properties.door,
            content,
        };
        self.make_code(&mut ch, settings);
        Some(Job::Challenge(Box::new(ch)))
    }

    /// What goes on the air as it is written, but for the code.
    fn text(
        &mut self,
        text: &Option<Text<'_>>,
        code: Option<&Code>,
        settings: &Jobs,
    ) -> Option<Arc<str>> {
        let text: &str = text.as_ref()?;
        if text.is_empty() {
            return self.keep("text", None, "must not be empty");
        }
        if let Some(c) = text.chars().find(|c| c.is_control() && *c != '\n') {
            let reason = format!(
                "holds the control character U+{:04X}: of these only LF (U+000A) may stand in a text",
                u32::from(c)
            );
            return self.keep("text", None, &reason);
        }
        let length = code.map_or(settings.code_length.into(), |code| code.reveal().len());
        let segments = templates::segments(text, length);
        if segments > settings.max_segments {
            let reason = format!(
                "takes {segments} segments, at most {} are sent ([jobs] max_segments)",
                settings.max_segments
            );
            return self.keep("text", None, &reason);
        }
        Some(text.into())
    }

    /// Where one is needed and none was given.
    fn make_code(&mut self, ch: &mut Challenge, settings: &Jobs) {
        if self.faults.is_empty() && ch.code.is_none() && needs_code(ch) {
            let made = code::make(settings.code_length);
            ch.code = self.keep("code", made, "none could be made");
            ch.code_made = true;
        }
    }

    fn to(&mut self, raw: &Raw<'_>) -> Option<To> {
        let region = self.optional("region", &raw.region, region, REGION);
        let to = self.keep("to", raw.to.as_ref(), "required")?;
        Some(To::of(number::analyse(to, region)))
    }

    fn method(&mut self, field: &str, text: &Option<Text<'_>>) -> Option<Method> {
        let text = self.keep(field, text.as_ref(), "required")?;
        self.keep(field, Method::parse(text), METHODS)
    }

    fn fallback(&mut self, raw: &[RawFallback<'_>]) -> Vec<Fallback> {
        if raw.len() > FALLBACKS {
            self.fault("fallback", "holds more than 8 methods");
            return Vec::new();
        }
        let mut all = Vec::with_capacity(raw.len());
        for (n, one) in raw.iter().enumerate() {
            let method = self.method(&format!("fallback[{n}].method"), &one.method);
            let after = one
                .after_s
                .and_then(|s| u64::try_from(s).ok())
                .filter(|s| *s <= LIFETIME_MOST);
            let after = match (after, one.after_s) {
                (Some(after), _) => Some(after),
                (None, None) => self.keep(&format!("fallback[{n}].after_s"), None, "required"),
                (None, Some(_)) => self.keep(
                    &format!("fallback[{n}].after_s"),
                    None,
                    "must be 0 to 900 seconds",
                ),
            };
            if let (Some(method), Some(after)) = (method, after) {
                all.push(Fallback {
                    method,
                    after: Duration::from_secs(after),
                });
            }
        }
        all
    }

    fn expect(&mut self, text: &Option<Text<'_>>) -> Expect {
        let read = |text: &str| match text {
            "code" => Some(Expect::Code),
            "yes" => Some(Expect::Yes),
            _ => None,
        };
        self.optional("expect", text, read, "must be code or yes")
            .unwrap_or_default()
    }

    fn until(&mut self, text: &Option<Text<'_>>) -> Until {
        let read = |text: &str| match text {
            "delivered" => Some(Until::Delivered),
            "verified" => Some(Until::Verified),
            _ => None,
        };
        self.optional("until", text, read, "must be delivered or verified")
            .unwrap_or_default()
    }

    fn extension(&mut self, text: &Option<Text<'_>>) -> Option<Arc<str>> {
        let read = |text: &str| rules::is_digits(text, 1..=EXTENSION).then(|| text.into());
        self.optional("extension", text, read, "must be 1 to 20 digits")
    }

    fn pin(&mut self, text: &Option<Text<'_>>) -> Option<Code> {
        let read = |text: &str| rules::is_phc(text).then(|| Code::new(text));
        self.optional("pin", text, read, PIN)
    }

    fn locale(&mut self, text: &Option<Text<'_>>) -> Arc<str> {
        let read = |text: &str| rules::is_locale(text).then(|| Arc::<str>::from(text));
        self.optional(
            "locale",
            text,
            read,
            "must be a language tag (BCP 47), such as en-US",
        )
        .unwrap_or_else(|| LOCALE.clone())
    }

    fn lifetime(&mut self, seconds: Option<i64>) -> Duration {
        match seconds.map(u64::try_from) {
            None => LIFETIME,
            Some(Ok(s @ LIFETIME_LEAST..=LIFETIME_MOST)) => Duration::from_secs(s),
            Some(_) => {
                self.fault("lifetime_s", "must be 10 to 900 seconds");
                LIFETIME
            }
        }
    }

    fn reply_to(
        &mut self,
        queue: Option<Arc<str>>,
        correlation_id: Option<Arc<str>>,
        settings: &Jobs,
    ) -> Option<ReplyTo> {
        let queue = queue.filter(|queue| !queue.is_empty())?;
        if settings
            .amqp
            .as_ref()
            .is_some_and(|amqp| is_own_queue(amqp, &queue))
        {
            self.fault(
                "reply_to",
                "names a queue of the gateway itself; give one of your own",
            );
            return None;
        }
        if queue.len() > SHORT_STRING {
            self.fault("reply_to", "longer than 255 octets");
            return None;
        }
        Some(ReplyTo {
            queue,
            correlation_id,
        })
    }

    fn meta(&mut self, raw: &Raw<'_>) {
        for (key, value) in raw.meta.iter().flat_map(|meta| &meta.0) {
            if !rules::is_name(key, META_KEY) {
                self.fault(
                    "meta",
                    "has a name that is empty, longer than 64 octets or unprintable",
                );
            }
            if value.len() > META_VALUE {
                self.fault(&format!("meta.{}", shown(key)), "longer than 2048 octets");
            }
        }
    }
}

/// What the allow-list lets through.
fn kept_meta(raw: &Raw<'_>, settings: &Jobs) -> Meta {
    raw.meta
        .iter()
        .flat_map(|meta| &meta.0)
        .filter_map(|(key, value)| {
            let key = settings.meta.get::<str>(key)?;
            Some((key.clone(), (**value).into()))
        })
        .collect()
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

fn given_code(text: &str) -> Option<Code> {
    rules::is_digits(text, 4..=10).then(|| Code::new(text))
}

fn named(text: &str) -> Option<Arc<str>> {
    rules::is_name(text, NAME).then(|| text.into())
}

fn region(text: &str) -> Option<&str> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())).then_some(text)
}

static TENANT: LazyLock<Arc<str>> = LazyLock::new(|| "default".into());
static LOCALE: LazyLock<Arc<str>> = LazyLock::new(|| "en-US".into());

const LIFETIME: Duration = Duration::from_secs(180);
const LIFETIME_LEAST: u64 = 10;
const LIFETIME_MOST: u64 = 900;
/// Clocks differ: an `issued_at` up to so far ahead is believed.
const AHEAD: Duration = Duration::from_secs(5);

const NAMED: &str = "must be 1 to 256 octets without control characters";
const MOMENT: &str = "must be a time with its offset (RFC 3339), such as 2026-01-31T12:00:00Z";
const E164: &str = "must be E.164: + and 3 to 15 digits";
const REGION: &str = "must be two letters (ISO 3166), such as SE";
const METHODS: &str = "must be sms_code, sms_reply, voice_confirm, voice_pin or voice_code";
const PIN: &str = "must be a PHC string of argon2id, scrypt or pbkdf2-sha256";
