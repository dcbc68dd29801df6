//! What goes wrong at a simulated carrier, and how often: a page that a person can read.
//!
//! [`Faults`] is the page, [`Script`] the live copy that a carrier watches and that a test or the control
//! address changes while it runs, [`Dice`] the seeded generator that decides single cases. The same seed and
//! the same order of traffic give the same faults.

use crate::subscriber::{Behaviour, digits_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Everything that can go wrong. The default: nothing does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Connections are refused, open ones closed. False again: the same port listens again.
    pub down: bool,
    /// Bytes are accepted, nothing is ever answered.
    pub silent: bool,
    /// Slow down: SMPP `ESME_RTHROTTLED` (0x58), HTTP 429, SIP 503 with Retry-After.
    pub throttle: Often,
    /// Any other refusal.
    pub error: Refusal,
    /// Taken, and the person gets it; then the connection is dropped without an answer (SIP: no answer at all).
    pub drop_after_send: Often,
    /// Receipts come so much later than they would (ms).
    pub late_receipt_ms: u64,
    /// Receipts come twice.
    pub double_receipts: Often,
    /// Receipts come before the answer to the submit.
    pub early_receipts: Often,
    /// No receipt ever comes: receipts collapse.
    pub no_receipts: Often,
    /// Taken, then a negative receipt; nobody reads it.
    pub undelivered: Often,
    /// How the id in the receipt differs from the one in the answer.
    pub id_base: IdBase,
    /// How the text of an SMPP receipt is written.
    pub receipt_form: ReceiptForm,
    /// SMPP receipts come by data_sm instead of deliver_sm.
    pub receipts_by_data_sm: Often,
    /// The person sees an anonymous caller.
    pub strip_caller_id: bool,
    /// Digits travel in-band only.
    pub inband_digits_only: bool,
    /// Media packets lost, both ways.
    pub packet_loss: f64,
    /// Every answer comes so much later (ms).
    pub response_delay_ms: u64,
    /// Instead of the carrier's own receipt delay (ms).
    pub receipt_delay_ms: Option<u64>,
    /// Calls are taken (100) and then nothing more is ever said.
    pub hang_calls: bool,
    /// A CANCEL comes too late: the person has just picked up, and a 200 follows it.
    pub answer_cancelled: Often,
    /// Persons who behave otherwise than their number says.
    pub people: BTreeMap<String, Behaviour>,
}

impl Faults {
    /// How the person at `number` behaves: as `people` says, else as the number says.
    pub fn behaviour(&self, number: &str) -> Behaviour {
        if !self.people.is_empty() {
            let digits = digits_of(number);
            if let Some((_, behaviour)) =
                self.people.iter().find(|(who, _)| digits_of(who) == digits)
            {
                return *behaviour;
            }
        }
        Behaviour::of(number)
    }

    /// These faults with the fields of `change` (a JSON object) laid over them. `null` puts a field back to
    /// its default; the empty object puts all of them back.
    pub fn with(&self, change: &serde_json::Value) -> Result<Faults, String> {
        let Some(change) = change.as_object() else {
            return Err("faults: a JSON object is wanted, such as {\"throttle\": 0.1}".into());
        };
        if change.is_empty() {
            return Ok(Faults::default());
        }
        let mut all = serde_json::to_value(self).map_err(|e| format!("faults: {e}"))?;
        if let Some(fields) = all.as_object_mut() {
            for (key, value) in change {
                match value {
                    serde_json::Value::Null => fields.remove(key),
                    value => fields.insert(key.clone(), value.clone()),
                };
            }
        }
        serde_json::from_value(all).map_err(|e| format!("faults: {e}"))
    }
}

/// How often a fault strikes: a share (`0.1`), or every so many (`{"every": 10}`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Often {
    /// Of all cases, 0 (never) to 1 (always).
    Share(f64),
    /// Each n-th case; 0 is never.
    Every {
        /// n
        every: u32,
    },
}

impl Often {
    /// Never.
    pub const NEVER: Often = Often::Share(0.0);
    /// Always.
    pub const ALWAYS: Often = Often::Share(1.0);
}

impl Default for Often {
    fn default() -> Self {
        Often::NEVER
    }
}

/// A refusal other than throttling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refusal {
    /// How often.
    pub often: Often,
    /// The SMPP command status, the HTTP or the SIP status; 0: the transport's usual one (SMPP 0x08
    /// `ESME_RSYSERR`, HTTP and SIP 500).
    pub code: u32,
}

/// How a carrier writes its message ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdBase {
    /// The same in answer and receipt.
    #[default]
    Same,
    /// Hexadecimal in the answer, decimal in the receipt.
    HexDec,
    /// Decimal in the answer, hexadecimal in the receipt.
    DecHex,
    /// Hexadecimal; lower case in the answer, upper case in the receipt.
    Upper,
    /// Padded with zeros in the receipt.
    Padded,
}

/// The habits of carriers in the text of a receipt; the standard only suggests one (SMPP 3.4, appendix B).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptForm {
    /// All fields, dates of ten digits, optional parameters beside it.
    #[default]
    Standard,
    /// Dates with seconds.
    Seconds,
    /// `id`, `stat` and `err` only.
    Short,
    /// All fields, no optional parameters.
    NoTlvs,
}

impl IdBase {
    /// The id in the answer, and the id in the receipt.
    pub fn ids(self, number: u64) -> (String, String) {
        match self {
            IdBase::Same => (number.to_string(), number.to_string()),
            IdBase::HexDec => (format!("{number:X}"), number.to_string()),
            IdBase::DecHex => (number.to_string(), format!("{number:x}")),
            IdBase::Upper => (format!("{number:x}"), format!("{number:X}")),
            IdBase::Padded => (number.to_string(), format!("{number:024}")),
        }
    }

    /// The number of a carrier's first id, where no earlier run has been: a million for every second since
    /// 1970, with a letter in front when written in hexadecimal.
    pub fn first(now: std::time::SystemTime) -> u64 {
        let seconds = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        (0xA << 52) | ((seconds << 20) & ((1 << 52) - 1))
    }
}

/// The live faults of one carrier. Clones are the same script.
#[derive(Clone, Debug)]
pub struct Script {
    live: Arc<watch::Sender<Arc<Faults>>>,
}

impl Default for Script {
    fn default() -> Self {
        Script::new(Faults::default())
    }
}

impl Script {
    /// A script that begins with these faults.
    pub fn new(faults: Faults) -> Script {
        Script {
            live: Arc::new(watch::Sender::new(Arc::new(faults))),
        }
    }

    /// The faults as they are now.
    pub fn faults(&self) -> Arc<Faults> {
        self.live.borrow().clone()
    }

    /// Replace all of them.
    pub fn set(&self, faults: Faults) {
        self.live.send_replace(Arc::new(faults));
    }

    /// Change some of them: `script.change(|f| f.down = true)`.
    pub fn change(&self, change: impl FnOnce(&mut Faults)) {
        self.live.send_modify(|live| change(Arc::make_mut(live)));
    }

    /// Lay a JSON object over them, see [`Faults::with`]. The reason is for a person.
    pub fn apply(&self, change: &serde_json::Value) -> Result<(), String> {
        let mut outcome = Ok(());
        self.live.send_if_modified(|live| match live.with(change) {
            Ok(faults) => {
                *live = Arc::new(faults);
                true
            }
            Err(reason) => {
                outcome = Err(reason);
                false
            }
        });
        outcome
    }

    /// For waiting until they change.
    pub fn watch(&self) -> watch::Receiver<Arc<Faults>> {
        self.live.subscribe()
    }
}

/// The kinds of fault that are decided case by case; each has its own count for [`Often::Every`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// [`Faults::throttle`]
    Throttle,
    /// [`Faults::error`]
    Error,
    /// [`Faults::drop_after_send`]
    DropAfterSend,
    /// [`Faults::double_receipts`]
    DoubleReceipt,
    /// [`Faults::early_receipts`]
    EarlyReceipt,
    /// [`Faults::no_receipts`]
    NoReceipt,
    /// [`Faults::undelivered`]
    Undelivered,
    /// [`Faults::packet_loss`]
    PacketLoss,
    /// [`Faults::receipts_by_data_sm`]
    DataReceipt,
    /// [`Faults::answer_cancelled`]
    AnswerCancelled,
}

const CHANCES: usize = 10;

/// A seeded generator (SplitMix64) with a count per [`Chance`].
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    counts: [u64; CHANCES],
}

impl Dice {
    /// The same seed, the same rolls.
    pub fn new(seed: u64) -> Dice {
        Dice {
            state: seed,
            counts: [0; CHANCES],
        }
    }

    /// Does the fault strike this time?
    pub fn strikes(&mut self, chance: Chance, often: Often) -> bool {
        match often {
            Often::Share(share) if share <= 0.0 => false,
            Often::Share(share) => self.share() < share,
            Often::Every { every: 0 } => false,
            Often::Every { every } => {
                let count = &mut self.counts[chance as usize];
                *count += 1;
                count.is_multiple_of(u64::from(every))
            }
        }
    }

    /// 0 (inclusive) to 1 (exclusive).
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 0 (inclusive) to `bound` (exclusive); 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// Sixty-four bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriber::VoiceBehaviour;
    use serde_json::json;

    #[test]
    fn a_page_of_faults_is_read_laid_over_and_cleared() {
        let script = Script::default();
        script
            .apply(&json!({"throttle": {"every": 3}, "error": {"often": 0.5, "code": 20}, "id_base": "hex_dec"}))
            .unwrap();
        script
            .apply(&json!({"down": true, "id_base": null}))
            .unwrap();
        let faults = script.faults();
        assert!(faults.down);
        assert_eq!(faults.throttle, Often::Every { every: 3 });
        assert_eq!(
            faults.error,
            Refusal {
                often: Often::Share(0.5),
                code: 20
            }
        );
        assert_eq!(faults.id_base, IdBase::Same);

        assert!(script.apply(&json!({"dwon": true})).is_err());
        assert!(script.apply(&json!([])).is_err());
        assert_eq!(
            script.faults(),
            faults,
            "a page with a fault in it changes nothing"
        );
        script.apply(&json!({})).unwrap();
        assert_eq!(*script.faults(), Faults::default());
    }

    #[test]
    fn a_script_knows_people_better_than_their_numbers_do() {
        let script = Script::default();
        script
            .apply(&json!({"people": {"+1 202 555 0123": {"voice": "busy"}}}))
            .unwrap();
        let faults = script.faults();
        assert_eq!(faults.behaviour("12025550123").voice, VoiceBehaviour::Busy);
        assert_eq!(
            faults.behaviour("+12025559022").voice,
            VoiceBehaviour::Declined
        );
    }

    #[test]
    fn the_same_seed_throws_the_same_and_shares_hold() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000)
                .map(|_| dice.strikes(Chance::Throttle, Often::Share(0.25)))
                .collect::<Vec<_>>()
        };
        assert_eq!(throw(7), throw(7));
        assert_ne!(throw(7), throw(8));
        let hits = throw(7).iter().filter(|hit| **hit).count();
        assert!((2300..2700).contains(&hits), "{hits}");

        let mut dice = Dice::new(1);
        let third: Vec<_> = (0..6)
            .map(|_| dice.strikes(Chance::Error, Often::Every { every: 3 }))
            .collect();
        assert_eq!(third, [false, false, true, false, false, true]);
    }
}
