//! A message centre whose decisions are somebody else's: it speaks SMPP, keeps the sessions and brings each delivery until
//! it is answered; what becomes of a submit, which receipts follow and when is decided outside. For rehearsals, in which
//! one seed decides everything. Part of the machine of `centre.rs`.

use super::SmscConfig;
use super::centre::{Centre, Now, SWEEP};
use super::delivery::{Delivery, LineRef, Owned, Receipt, What};
use super::parts::Part;
use super::session::{Asked, SessionId};
use super::taking::{Asking, Message, shown};
use super::write;
use crate::fate::Stat;
use crate::script::ReceiptForm;
use std::sync::Arc;
use std::time::Duration;

/// Sessions are looked over less often: nothing waits for it but deliveries that nobody answers.
const SWEEP_OUTSIDE: Duration = Duration::from_secs(10);

/// What has happened that whoever decides wants to know.
#[derive(Debug, Default)]
pub struct Outside {
    submitted: Vec<Submitted>,
    answered: Vec<Answered>,
}

/// A submit that is written well. It waits for [`Centre::answer_submit`], if it gets an answer at all.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Where it came from.
    pub session: SessionId,
    /// As a person reads it.
    pub to: String,
    /// As a person reads it.
    pub from: String,
    /// Of this part, without its header.
    pub text: String,
    /// None: it is whole.
    pub part: Option<Part>,
    command: u32,
    sequence: u32,
}

/// A delivery that the gateway has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Of [`Receipted::tag`].
    pub tag: u32,
    /// The command status: 0, it has been taken.
    pub status: u32,
}

/// A receipt to be brought.
#[derive(Clone, Debug)]
pub struct Receipted {
    /// The name of whoever is bound.
    pub account: Arc<str>,
    /// The phone, as digits; empty: it names none.
    pub phone: String,
    /// The sender that the text went out from; empty: it names none.
    pub sender: String,
    /// As the receipt writes it; none: it has no id.
    pub id: Option<String>,
    /// What has become of the text.
    pub stat: Stat,
    /// What it is called when it is answered.
    pub tag: u32,
}

impl Centre {
    /// A message centre that asks for every decision.
    pub fn decided_outside(config: &SmscConfig) -> Centre {
        let mut centre = Centre::new(config, 0);
        centre.outside = Some(Outside::default());
        centre
    }

    /// The submits that have come since this was asked last.
    pub fn submitted(&mut self) -> Vec<Submitted> {
        let outside = self.outside.as_mut();
        outside.map_or_else(Vec::new, |outside| std::mem::take(&mut outside.submitted))
    }

    /// The deliveries that were answered since this was asked last.
    pub fn answered(&mut self) -> Vec<Answered> {
        let outside = self.outside.as_mut();
        outside.map_or_else(Vec::new, |outside| std::mem::take(&mut outside.answered))
    }

    /// The answer to a submit, if its session still stands: refused by `status`, or taken under `id` (which may be empty).
    pub fn answer_submit(&mut self, submit: &Submitted, status: u32, id: Option<&str>) {
        let (command, sequence) = (submit.command, submit.sequence);
        self.say(submit.session, |out| {
            write::response(out, command, status, sequence, id.map(str::as_bytes));
        });
    }

    /// Brings a receipt, again and again until it is taken.
    pub fn bring(&mut self, receipt: Receipted, now: Now) {
        let id_in_text = receipt.id.is_some();
        let what = What::Receipt(Receipt {
            id: receipt.id.unwrap_or_default(),
            id_in_text,
            stat: receipt.stat,
            submitted: now.unix,
            beginning: String::new(),
            form: if id_in_text {
                ReceiptForm::Standard
            } else {
                ReceiptForm::NoTlvs
            },
            by_data: false,
            line: LineRef::Known(0),
        });
        let delivery = Delivery {
            account: receipt.account,
            from: address(&receipt.phone),
            to: address(&receipt.sender),
            what,
            counted: true,
            tag: Some(receipt.tag),
        };
        self.deliver(Box::new(delivery), now);
    }

    /// What this delivery is called, as long as it has no answer.
    pub fn tag_of(&self, session: SessionId, sequence: u32) -> Option<u32> {
        let (asked, _) = self.sessions.get(&session)?.asked.get(&sequence)?;
        match asked {
            Asked::Delivery(delivery) => delivery.tag,
            Asked::Probe | Asked::Unbind => None,
        }
    }

    /// Part of a PDU has come on this session, and the rest has not.
    pub fn is_within_pdu(&self, session: SessionId) -> bool {
        let session = self.sessions.get(&session);
        session.is_some_and(|session| !session.inbox.is_empty())
    }

    pub(super) fn ask_outside(&mut self, asking: Asking<'_>, message: &Message<'_>) {
        let submitted = Submitted {
            session: asking.session,
            to: shown(&message.submit.destination),
            from: shown(&message.submit.source),
            text: message.text.clone(),
            part: message.part,
            command: asking.header.command,
            sequence: asking.header.sequence,
        };
        if let Some(outside) = &mut self.outside {
            outside.submitted.push(submitted);
        }
    }

    pub(super) fn note_answered(&mut self, delivery: &Delivery, status: u32) {
        if let (Some(outside), Some(tag)) = (&mut self.outside, delivery.tag) {
            outside.answered.push(Answered { tag, status });
        }
    }

    pub(super) fn sweep_every(&self) -> Duration {
        match self.outside {
            Some(_) => SWEEP_OUTSIDE,
            None => SWEEP,
        }
    }
}

/// Digits are an international number, without a plus.
fn address(party: &str) -> Owned {
    let digits = party.trim_start_matches('+');
    Owned {
        ton: u8::from(!digits.is_empty()),
        npi: u8::from(!digits.is_empty()),
        addr: digits.as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use std::time::Instant;

    fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
        let length = 16 + body.len() as u32;
        let words = [length, command, status, sequence];
        let mut pdu: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        pdu.extend_from_slice(body);
        pdu
    }

    #[test]
    fn it_asks_answers_and_brings_until_it_is_taken() {
        let config = SmscConfig {
            record: Record::counters_only(),
            probe: None,
            ..SmscConfig::default()
        };
        let mut centre = Centre::decided_outside(&config);
        let mut now = Now {
            at: Instant::now(),
            unix: 1_750_000_000,
        };
        let session = centre.connected(now).unwrap();
        let mut out = Vec::new();
        centre.received(session, &pdu(0x09, 0, 1, b"mfa\0\0\0\x34\0\0\0"), now);
        centre.output(session, &mut out);
        assert_eq!(out[4..12], [0x80, 0, 0, 0x09, 0, 0, 0, 0]);

        let mut submit = b"\0\x03\x0097671\0\x01\x0112025550123\0\0\0\0\0".to_vec();
        submit.extend_from_slice(b"000000000300000R\0\x01\0\0\0\x02hi");
        centre.received(session, &pdu(0x04, 0, 2, &submit), now);
        centre.output(session, &mut out);
        assert!(out.is_empty(), "nothing is answered unasked");
        let asked = centre.submitted().pop().unwrap();
        assert_eq!(
            (&*asked.to, &*asked.text, asked.part),
            ("+12025550123", "hi", None)
        );
        centre.answer_submit(&asked, 0, Some("4711"));
        centre.output(session, &mut out);
        assert_eq!(out, pdu(0x8000_0004, 0, 2, b"4711\0"));

        let receipt = Receipted {
            account: "mfa".into(),
            phone: "12025550123".into(),
            sender: String::new(),
            id: Some("4711".into()),
            stat: Stat::Delivered,
            tag: 7,
        };
        centre.bring(receipt, now);
        centre.output(session, &mut out);
        assert_eq!(centre.tag_of(session, 1), Some(7));
        centre.received(session, &pdu(0x8000_0005, 0x14, 1, b""), now);
        assert_eq!(
            centre.answered(),
            [Answered {
                tag: 7,
                status: 0x14
            }]
        );
        now.at += Duration::from_secs(1);
        centre.tick(now);
        centre.output(session, &mut out);
        centre.received(session, &pdu(0x8000_0005, 0, 2, b"\0"), now);
        assert_eq!(centre.answered(), [Answered { tag: 7, status: 0 }]);
        assert_eq!(centre.tag_of(session, 2), None);
        assert_eq!(config.record.summary().protocol_errors, 0);
    }
}
