//! One challenge of a run: what is asked for, and what must come of it.
//!
//! [`Case::job`] is the JSON that a server would send; [`Expect`] what the report must say and what the phone must
//! have seen or heard. What they are held against is `verdict`'s matter.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use simulators::record::CallResult;

/// A challenge with its expectation.
#[derive(Clone)]
pub struct Case {
    /// What it shows, in a few words.
    pub title: String,
    pub id: Arc<str>,
    pub to: String,
    pub method: &'static str,
    pub fallback: Option<&'static str>,
    pub locale: &'static str,
    /// None: the gateway makes one.
    pub code: Option<String>,
    /// None: the template of the language.
    pub text: Option<&'static str>,
    pub lifetime: Duration,
    pub expect: Expect,
}

private_debug!(Case);

/// What must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The final report's event.
    pub event: &'static str,
    /// The event itself where nothing else is the reason.
    pub reason: &'static str,
    /// What happens at the phone, in this order; nothing else may.
    pub phone: Vec<Phone>,
    /// The carriers that must have been tried, in this order; empty: any.
    pub carriers: Vec<Arc<str>>,
    /// The first attempt is in doubt, and another was made for it.
    pub hedged: bool,
}

/// Something that happens at a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phone {
    /// A text with the code is read; in so many parts.
    Reads { parts: u32 },
    /// A text with the code was on its way to a phone that is off.
    Misses,
    /// The person hears the prompt and approves.
    Approves,
    /// The person hears the code.
    Hears,
    /// The phone rings (or not even that), and nobody speaks.
    Rings(CallResult),
}

impl Case {
    /// The job as JSON.
    pub fn job(&self) -> Value {
        let mut job = json!({
            "id": &*self.id,
            "to": self.to,
            "method": self.method,
            "locale": self.locale,
            "lifetime_s": self.lifetime.as_secs(),
            "user": format!("user-{}", self.id),
            "meta": { "source": "ringback simulate" },
        });
        if let Some(code) = &self.code {
            job["code"] = json!(code);
        }
        if let Some(text) = self.text {
            job["text"] = json!(text);
        }
        if let Some(method) = self.fallback {
            job["fallback"] = json!([{ "method": method, "after_s": FALLBACK_AFTER }]);
        }
        job
    }
}

impl Expect {
    pub fn new(event: &'static str, phone: impl Into<Vec<Phone>>) -> Expect {
        Expect {
            event,
            reason: event,
            phone: phone.into(),
            carriers: Vec::new(),
            hedged: false,
        }
    }

    pub fn because(mut self, reason: &'static str) -> Expect {
        self.reason = reason;
        self
    }

    pub fn by(mut self, carriers: &[&Arc<str>]) -> Expect {
        self.carriers = carriers.iter().map(|name| (*name).clone()).collect();
        self
    }
}

/// A fallback starts after so many seconds; sooner where the method before has failed for good.
const FALLBACK_AFTER: u64 = 60;
