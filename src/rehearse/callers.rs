//! The servers that ask: what they ask, how often, and what they were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{dice::Dice, profile::Profile};
use crate::{
    challenge::{Millis, Origin},
    clock::Mono,
    intake::job::{JobKind, Properties},
};

/// A challenge, as the server that asks for it knows it, and what really became of it.
pub struct Job {
    pub id: Arc<str>,
    pub tenant: Arc<str>,
    pub door: Origin,
    pub body: Vec<u8>,
    pub to: String,
    /// No other challenge is for this phone.
    pub alone: bool,
    /// Asked for the first time.
    pub at: Duration,
    /// The server has been told that it is taken.
    pub acked: bool,
    /// It was told to come again, or waited no longer, and won't.
    pub given_up: bool,
    /// A crash has taken an answer: its server can't know whether it is taken.
    pub unsure: bool,
    /// Of the last that was asked.
    pub deadline: Millis,
    /// So often by HTTP until now.
    pub asked: u32,
    pub attempts: BTreeMap<u16, Truth>,
    /// Reports for the asker, by their ids: number, event, and a hash of the body.
    pub reports: BTreeMap<String, (u64, String, u64)>,
    /// The same for everyone, from the exchange.
    pub public: BTreeMap<String, (u64, String, u64)>,
    pub finals: BTreeMap<String, String>,
    /// The final's number.
    pub last_told: Option<u64>,
    /// Reports for the asker that no queue took in time.
    pub dead: BTreeSet<String>,
    /// Receipts (attempt, part) that were taken after the final.
    pub late_owed: BTreeSet<(u16, u16)>,
    pub late_told: BTreeSet<u16>,
    /// When its final left the core for the first time.
    pub final_at: Option<Mono>,
    /// The attempts whose text the phone has.
    pub at_phone: Vec<u16>,
    pub pressed: bool,
    pub code_read: bool,
    /// It was cancelled, or the server said whether the code was right.
    pub worded: bool,
}

impl Job {
    /// A report has come, to the asker or for everyone: its number, event, and the hash of its body. What is wrong with it
    /// beside those that came before, if anything.
    pub fn reported(
        &mut self,
        public: bool,
        report_id: &str,
        this: (u64, String, u64),
        is_final: bool,
        is_healthy: bool,
    ) -> Option<String> {
        let reports = match public {
            true => &mut self.public,
            false => &mut self.reports,
        };
        let seq = this.0;
        match reports.get(report_id) {
            Some(known) if *known != this => {
                return Some(format!(
                    "report {report_id} comes again and says something else"
                ));
            }
            None if reports.values().any(|(other, ..)| *other == seq) => {
                return Some(format!("two reports have the number {seq}"));
            }
            _ => {}
        }
        if is_healthy && reports.values().any(|(other, ..)| *other > seq) {
            return Some(format!(
                "nothing goes wrong, and report {seq} comes after a later one"
            ));
        }
        reports.insert(report_id.to_owned(), this);
        if is_final {
            self.last_told = Some(seq);
        }
        let after = self.after_final()?;
        Some(format!("report {after} comes after the final"))
    }

    /// A report beyond the final that is not `late`, by its name: there is to be none, in whatever order they have come.
    fn after_final(&self) -> Option<&str> {
        let end = self.last_told?;
        let mut all = self.reports.values().chain(self.public.values());
        let after = all.find(|(seq, event, _)| *seq > end && event != "late");
        after.map(|(_, event, _)| event.as_str())
    }
}

/// What really became of an attempt.
#[derive(Clone, Debug)]
pub struct Truth {
    /// In which life of the process it was handed to the carrier.
    pub life: u32,
    /// To which carrier, and when.
    pub place: usize,
    pub since: Mono,
    pub voice: bool,
    pub parts: u16,
    pub told: Told,
    /// A receipt of its text was brought, safe or not.
    pub has_receipt: bool,
    /// Positive receipts that we have answered for and that could mean no other text: since when, by part.
    pub proven: BTreeMap<u16, Duration>,
}

impl Truth {
    /// Positive receipts of the whole text were taken.
    pub fn is_proven(&self) -> bool {
        !self.voice && self.proven.len() >= usize::from(self.parts.max(1))
    }
}

/// What the core has been told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Nothing,
    Taken,
    Doubt,
    Over,
}

/// What is asked besides challenges.
pub struct Control {
    pub kind: JobKind,
    pub body: Vec<u8>,
}

pub const TENANTS: [&str; 3] = ["bank", "shop", "employer"];
/// So long all challenges take to be asked, in milliseconds for each of them.
const APART: u64 = 700;

/// All that is asked for, and when. `began`: the wall clock at the beginning.
pub fn jobs(count: usize, began: Millis, profile: &Profile, dice: &mut Dice) -> Vec<Job> {
    let spread = APART * count as u64;
    let mut jobs: Vec<Job> = (0..count)
        .map(|n| job(n, began, spread, profile, dice))
        .collect();
    let mut phones: BTreeMap<String, u32> = BTreeMap::new();
    for job in &jobs {
        *phones.entry(job.to.clone()).or_default() += 1;
    }
    for job in &mut jobs {
        job.alone = phones.get(&job.to) == Some(&1);
    }
    jobs
}

fn job(n: usize, began: Millis, spread: u64, profile: &Profile, dice: &mut Dice) -> Job {
    let tenant = *dice.pick(&TENANTS);
    let id = format!("c{n:05}");
    let door = match dice.chance(600) {
        true => Origin::Amqp,
        false => Origin::Http,
    };
    let to = number(n, profile, dice);
    let mut body = json!({
        "id": id,
        "tenant": tenant,
        "user": format!("u{}", dice.below(40)),
        "to": to,
        "lifetime_s": 60 + dice.below(240),
        "code": format!("{:06}", dice.below(1_000_000)),
    });
    choose_method(&mut body, dice);
    if dice.chance(profile.feedback) {
        body["until"] = json!("verified");
    }
    let at = dice.between(1, spread);
    if profile.hurried > 0 && dice.chance(profile.hurried) {
        let left = dice.between(500, 15_000) + at;
        let lifetime = Duration::from_secs(60);
        body["lifetime_s"] = json!(lifetime.as_secs());
        body["issued_at"] = json!((began + left - lifetime).rfc3339());
    }
    Job {
        id: id.into(),
        tenant: tenant.into(),
        door,
        body: body.to_string().into_bytes(),
        to,
        alone: true,
        at,
        acked: false,
        given_up: false,
        unsure: false,
        asked: 0,
        deadline: Millis(0),
        attempts: BTreeMap::new(),
        reports: BTreeMap::new(),
        public: BTreeMap::new(),
        finals: BTreeMap::new(),
        last_told: None,
        dead: BTreeSet::new(),
        late_owed: BTreeSet::new(),
        late_told: BTreeSet::new(),
        final_at: None,
        at_phone: Vec::new(),
        pressed: false,
        code_read: false,
        worded: false,
    }
}

/// Texts for the most part, some of two parts, some with a call after them.
fn choose_method(body: &mut Value, dice: &mut Dice) {
    match dice.below(10) {
        0..=1 => body["method"] = json!("voice_confirm"),
        2 => body["method"] = json!("voice_code"),
        _ => {
            body["method"] = json!("sms_code");
            if dice.chance(300) {
                body["fallback"] =
                    json!([{ "method": "voice_code", "after_s": 15 + dice.below(60) }]);
            }
            if dice.chance(150) {
                body["text"] = json!(format!(
                    "{} {{code}}",
                    "Your sign-in code is below. ".repeat(7)
                ));
            }
        }
    }
}

/// Of its own for nearly every challenge.
fn number(n: usize, profile: &Profile, dice: &mut Dice) -> String {
    let n = match dice.chance(profile.same_phone) {
        true => n / 4,
        false => n,
    };
    match n % 4 {
        0 | 1 => format!("+1202{:07}", 5_550_000 + n),
        2 => format!("+1416{:07}", 5_550_000 + n),
        _ => format!("+4670{:07}", 1_740_000 + n),
    }
}

impl Job {
    pub fn properties(&self) -> Properties {
        match self.door {
            Origin::Http => Properties::http(),
            Origin::Amqp => Properties {
                door: Origin::Amqp,
                reply_to: Some(format!("replies.{}", self.tenant).into()),
                correlation_id: Some(self.id.clone()),
            },
        }
    }

    /// The same id with something else in it.
    pub fn other_content(&self) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.body);
        text.replace("\"user\":\"u", "\"user\":\"another")
            .into_bytes()
    }

    /// A cancel, or whether the code was right.
    pub fn word(&self, dice: &mut Dice) -> Control {
        let (kind, body) = match dice.below(3) {
            0 => (
                JobKind::Cancel,
                json!({ "id": self.id, "tenant": self.tenant }),
            ),
            _ => (
                JobKind::Feedback,
                json!({ "id": self.id, "tenant": self.tenant, "verified": dice.chance(700) }),
            ),
        };
        Control {
            kind,
            body: body.to_string().into_bytes(),
        }
    }
}
