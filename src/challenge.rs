//! A challenge: one request to prove that a person holds a number, with a deadline.
//!
//! Everything downstream trusts these types; `intake` is the only place that makes them from the outside's
//! words. Nothing here sends, waits or reads the clock.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::number::{Country, Number, Refusal};

/// Milliseconds since the Unix epoch: the time of everything that must outlive the process.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// The far future: a wait that no clock ends.
    pub const NEVER: Millis = Millis(i64::MAX);

    /// What is left from `now` until here; zero if it has passed.
    pub fn since(self, now: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0).max(0) as u64)
    }

    /// RFC 3339 in UTC with milliseconds, as reports show it.
    pub fn rfc3339(self) -> String {
        let t = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let (date, clock) = (t.date(), t.time());
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            clock.millisecond()
        )
    }
}

impl std::ops::Add<Duration> for Millis {
    type Output = Millis;
    fn add(self, span: Duration) -> Millis {
        Millis(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::ops::Sub<Duration> for Millis {
    type Output = Millis;
    fn sub(self, span: Duration) -> Millis {
        Millis(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

/// The gateway's own key of a challenge: unique over all nodes and tenants, never shown outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChallengeKey(pub i64);

/// One try on one carrier: the challenge and the number of the attempt, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    pub challenge: ChallengeKey,
    pub attempt: u16,
}

/// How the challenge is put to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A one-way text with a code.
    SmsCode,
    /// A text that is answered by text.
    SmsReply,
    /// A call: press # to approve.
    VoiceConfirm,
    /// A call: enter the PIN, then #.
    VoicePin,
    /// A call that reads a code out after a key press.
    VoiceCode,
}

impl Method {
    pub const ALL: [Method; 5] = [
        Method::SmsCode,
        Method::SmsReply,
        Method::VoiceConfirm,
        Method::VoicePin,
        Method::VoiceCode,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Method::SmsCode => "sms_code",
            Method::SmsReply => "sms_reply",
            Method::VoiceConfirm => "voice_confirm",
            Method::VoicePin => "voice_pin",
            Method::VoiceCode => "voice_code",
        }
    }

    pub fn parse(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|m| m.name() == name)
    }

    pub fn channel(self) -> Channel {
        match self {
            Method::SmsCode | Method::SmsReply => Channel::Sms,
            Method::VoiceConfirm | Method::VoicePin | Method::VoiceCode => Channel::Voice,
        }
    }

    /// Does it carry a code to the person (given by the job, or made by the gateway)?
    pub fn needs_code(self) -> bool {
        matches!(self, Method::SmsCode | Method::VoiceCode)
    }

    /// Methods that the machine has a place for but that are not served yet.
    pub fn served(self) -> bool {
        !matches!(self, Method::SmsReply | Method::VoicePin)
    }
}

/// The way to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Sms,
    Voice,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Channel::Sms => "sms",
            Channel::Voice => "voice",
        }
    }
}

/// What ends the challenge as good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// A positive receipt (or a code read out whole) is enough.
    #[default]
    Delivered,
    /// Only the caller's feedback says so.
    Verified,
}

/// What a reply to a text must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    #[default]
    Code,
    Yes,
}

/// A secret of the person's: printed by nobody by accident. [`Code::reveal`] is the only way to it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(Arc<str>);

impl Code {
    pub fn new(digits: &str) -> Code {
        Code(digits.into())
    }

    /// The digits themselves: for the text, the voice, the asking server; never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(•)")
    }
}

/// A further method, started when the first has failed or `after_s` has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    pub method: Method,
    /// Counted from the predecessor's start.
    pub after: Duration,
}

/// Where the caller wants its copy of the reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    pub queue: Arc<str>,
    pub correlation_id: Option<Arc<str>>,
}

/// By which door a challenge came; decides where its reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Amqp,
    Http,
}

/// A challenge as the gateway holds it, checked.
#[derive(Clone, Serialize, Deserialize)]
pub struct Challenge {
    pub id: Arc<str>,
    pub tenant: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// None only where the number could not be understood: then it is rejected at admission.
    pub to: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// What the number as it was written is refused for on every channel (emergency numbers among them).
    #[serde(skip)]
    pub refused: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Arc<str>>,
    pub method: Method,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
    pub until: Until,
    pub expect: Expect,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The gateway made the code: the caller learns it from the first `sent` or `answered`, and the final.
    #[serde(default)]
    pub code_made: bool,
    /// PHC string; never the PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
    pub locale: Arc<str>,
    /// Start of the life: `issued_at`, or when the ledger first saw it.
    pub issued: Millis,
    pub deadline: Millis,
    /// When it came to us.
    pub arrived: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<Number>,
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ReplyTo>,
    pub door: Origin,
    /// SHA-256 over the job's canonical content: tells "the same again" from "another with this id".
    #[serde(with = "hex::serde")]
    pub content: [u8; 32],
}

/// What the caller wants echoed: a few words by name, in the order of their names, and no octet more than they need,
/// because an open challenge is kept in memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Meta(Box<[(Arc<str>, Arc<str>)]>);

impl Meta {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Meta::default();
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|(name, _)| name)
    }
}

impl FromIterator<(Arc<str>, Arc<str>)> for Meta {
    /// The last of two of the same name counts.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(words: I) -> Meta {
        let sorted: BTreeMap<Arc<str>, Arc<str>> = words.into_iter().collect();
        Meta(sorted.into_iter().collect())
    }
}

impl Serialize for Meta {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, word)| (name, word)))
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Meta, D::Error> {
        BTreeMap::deserialize(from).map(Meta::from_iter)
    }
}

/// Text, meta and user say too much for a log.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({}, {})", self.id, self.method.name())
    }
}

impl Challenge {
    /// All methods in order: the asked one, then the fallbacks.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        std::iter::once(self.method).chain(self.fallback.iter().map(|f| f.method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_never_prints_itself() {
        let code = Code::new("482913");
        assert!(!format!("{code:?}").contains("482913"));
        assert_eq!(code.reveal(), "482913");
    }

    #[test]
    fn millis_show_as_rfc3339() {
        assert_eq!(
            Millis(1_700_000_000_123).rfc3339(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
    }
}
