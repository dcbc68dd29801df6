//! Taking a submit, or not: is it written as the standard wants, what does the script say, who is the person
//! at the other end, and which receipts follow when. Pure.

use super::centre::{Centre, Now};
use super::delivery::{Delivery, LineRef, Owned, Receipt, What};
use super::parts::{self, Joined, Part};
use super::pdu::{self, Address, Fault, Header, Submit, command, status, tag};
use super::receipt::{self, Stat};
use super::session::SessionId;
use super::timers::Event;
use super::{alphabet, write};
use crate::record::{Encoding, Entry, Text, TextResult, code_in};
use crate::script::{Chance, Faults, IdBase};
use crate::subscriber::{Behaviour, TextBehaviour};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How much earlier than the answer an early receipt is.
const EARLY_BY: Duration = Duration::from_millis(50);
/// How much later than the first a second receipt is.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a person takes to send the code back.
const REPLY_AFTER: Duration = Duration::from_millis(500);

/// Who asks, for what, when, and how the script stands.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub session: SessionId,
    pub header: Header,
    pub faults: &'a Faults,
    pub now: Now,
}

/// A submit that is written well.
struct Message<'a> {
    submit: Submit<'a>,
    encoding: Encoding,
    text: String,
    part: Option<Part>,
    parts: u32,
    validity_s: Option<i64>,
}

/// What becomes of a text that was taken.
#[derive(Clone, Copy)]
struct Fate {
    /// The state of its last receipt; none: no receipt ever.
    stat: Option<Stat>,
    intermediate: bool,
    early: bool,
    twice: bool,
    late: Duration,
    dropped: bool,
    replies: bool,
    id_in_text: bool,
    base: IdBase,
}

impl Centre {
    /// A submit_sm or data_sm on a session that may submit.
    pub(super) fn take(&mut self, asking: Asking<'_>, body: &[u8]) {
        let Asking {
            session,
            header,
            faults,
            now,
        } = asking;
        let read = if header.command == command::DATA_SM {
            pdu::read_data(body)
        } else {
            pdu::read_submit(body)
        };
        let message = match read.and_then(|submit| judge(submit, now)) {
            Ok(message) => message,
            Err(fault) => {
                self.broken(fault);
                return self.answer(asking, fault.status(), None, Duration::ZERO);
            }
        };
        let behaviour = faults.behaviour(&shown(&message.submit.destination));
        if let Some(code) = self.refusal(faults, behaviour) {
            let text = Text {
                result: TextResult::Refused,
                status: Some(code),
                ..self.line(&message)
            };
            self.record.push(&self.name, Entry::Text(text));
            return self.answer(asking, code, None, Duration::ZERO);
        }
        let fate = self.fate(faults, behaviour);
        let number = self.next_id;
        self.next_id += 1;
        let (reference, receipt_id) = fate.base.ids(number);
        let Some(line) = self.write_down(&message, &reference, fate, now) else {
            return self.answer(asking, status::QUEUE_FULL, None, Duration::ZERO);
        };
        self.schedule(asking, &message, receipt_id, line, fate);
        if fate.dropped {
            return self.close(session);
        }
        let held = if fate.early { EARLY_BY } else { Duration::ZERO };
        self.answer(asking, status::OK, Some(&reference), held);
    }

    /// The status to refuse with, if the script or the person wants so.
    fn refusal(&mut self, faults: &Faults, behaviour: Behaviour) -> Option<u32> {
        if self.dice.strikes(Chance::Throttle, faults.throttle) {
            return Some(status::THROTTLED);
        }
        if self.dice.strikes(Chance::Error, faults.error.often) {
            return Some(if faults.error.code == 0 {
                status::SYSTEM_ERROR
            } else {
                faults.error.code
            });
        }
        (behaviour.text == TextBehaviour::RefusedAtSubmit).then_some(status::INVALID_DESTINATION)
    }

    fn fate(&mut self, faults: &Faults, behaviour: Behaviour) -> Fate {
        let person = behaviour.text;
        let stat = match person {
            TextBehaviour::HandsetOff => Some(Stat::Undeliverable),
            TextBehaviour::Rejected => Some(Stat::Rejected),
            TextBehaviour::Expired => Some(Stat::Expired),
            TextBehaviour::NoReceipt => None,
            _ if self.dice.strikes(Chance::Undelivered, faults.undelivered) => {
                Some(Stat::Undeliverable)
            }
            _ => Some(Stat::Delivered),
        };
        let collapsed = self.dice.strikes(Chance::NoReceipt, faults.no_receipts);
        let late = match person {
            TextBehaviour::LateReceipt => self.habits.late_receipt,
            _ => Duration::ZERO,
        };
        Fate {
            stat: stat.filter(|_| !collapsed),
            intermediate: person == TextBehaviour::IntermediateFirst,
            early: self
                .dice
                .strikes(Chance::EarlyReceipt, faults.early_receipts)
                || person == TextBehaviour::EarlyReceipt,
            twice: self
                .dice
                .strikes(Chance::DoubleReceipt, faults.double_receipts)
                || person == TextBehaviour::DoubleReceipt,
            late: late + Duration::from_millis(faults.late_receipt_ms),
            dropped: self
                .dice
                .strikes(Chance::DropAfterSend, faults.drop_after_send)
                || person == TextBehaviour::DroppedUnanswered,
            replies: person == TextBehaviour::RepliesWithCode,
            id_in_text: person != TextBehaviour::IdOnlyInTlv,
            base: if person == TextBehaviour::OtherIdBase {
                IdBase::HexDec
            } else {
                faults.id_base
            },
        }
    }

    /// Into the record, once the text is whole; none: too many texts are not.
    fn write_down(
        &mut self,
        message: &Message<'_>,
        reference: &str,
        fate: Fate,
        now: Now,
    ) -> Option<LineRef> {
        let read = !matches!(
            fate.stat,
            Some(Stat::Undeliverable | Stat::Rejected | Stat::Expired)
        );
        let whole = |text: Text, parts: u32| Text {
            parts,
            reference: reference.to_owned(),
            result: if read {
                TextResult::Read
            } else {
                TextResult::Unread
            },
            answered: !fate.dropped,
            ..text
        };
        let Some(part) = message.part else {
            let text = whole(self.line(message), message.parts);
            return Some(LineRef::Known(
                self.record.push(&self.name, Entry::Text(text)),
            ));
        };
        let line = self.line(message);
        match self
            .joiner
            .part(&line.from, &line.to, part, line.text.clone(), now.at)
        {
            Joined::Full => None,
            Joined::Waiting(line) => Some(LineRef::Shared(line)),
            Joined::Whole { text, line: shared } => {
                let text = whole(Text { text, ..line }, u32::from(part.total));
                shared.store(
                    self.record.push(&self.name, Entry::Text(text)),
                    Ordering::Relaxed,
                );
                Some(LineRef::Shared(shared))
            }
        }
    }

    fn line(&self, message: &Message<'_>) -> Text {
        let submit = &message.submit;
        Text {
            to: shown(&submit.destination),
            from: shown(&submit.source),
            text: message.text.clone(),
            parts: 1,
            encoding: message.encoding,
            sender_reference: submit
                .tlvs
                .number(tag::USER_MESSAGE_REFERENCE)
                .map(|n| n.to_string()),
            answered: true,
            validity_s: message.validity_s,
            receipt_wanted: submit.registered_delivery & RECEIPT_BITS != 0,
            ..Text::default()
        }
    }

    fn schedule(
        &mut self,
        asking: Asking<'_>,
        message: &Message<'_>,
        receipt_id: String,
        line: LineRef,
        fate: Fate,
    ) {
        let Asking {
            session,
            faults,
            now,
            ..
        } = asking;
        let Some(account) = self.account(session) else {
            return;
        };
        let submit = &message.submit;
        let (from, to) = (Owned::from(submit.destination), Owned::from(submit.source));
        let usual = faults
            .receipt_delay_ms
            .map_or(self.habits.receipt_delay, Duration::from_millis);
        let answer = Duration::from_millis(faults.response_delay_ms);
        let delay = if fate.early {
            Duration::ZERO
        } else {
            answer + usual + fate.late
        };
        if fate.replies
            && let Some(code) = code_in(&message.text)
        {
            let (data_coding, octets) = alphabet::encode(code);
            let what = What::Text {
                data_coding,
                octets,
            };
            let reply = Delivery {
                account: account.clone(),
                from: from.clone(),
                to: to.clone(),
                what,
                counted: false,
            };
            self.timers.add(
                now.at + answer + usual + REPLY_AFTER,
                Event::Deliver(Box::new(reply)),
            );
        }
        let wanted = |stat: Stat| match submit.registered_delivery & RECEIPT_BITS {
            0 => false,
            2 => stat != Stat::Delivered,
            _ => true,
        };
        let Some(stat) = fate.stat.filter(|stat| wanted(*stat)) else {
            return;
        };
        let receipt = |stat: Stat| {
            let what = What::Receipt(Receipt {
                id: receipt_id.clone(),
                id_in_text: fate.id_in_text,
                stat,
                submitted: now.unix,
                beginning: receipt::beginning(&message.text),
                line: line.clone(),
            });
            let (account, from, to) = (account.clone(), from.clone(), to.clone());
            Box::new(Delivery {
                account,
                from,
                to,
                what,
                counted: false,
            })
        };
        if fate.intermediate {
            self.timers
                .add(now.at + delay / 2, Event::Deliver(receipt(Stat::Enroute)));
        }
        if delay.is_zero() {
            self.deliver(receipt(stat), now);
        } else {
            self.timers
                .add(now.at + delay, Event::Deliver(receipt(stat)));
        }
        if fate.twice {
            self.timers
                .add(now.at + delay + AGAIN_AFTER, Event::Deliver(receipt(stat)));
        }
    }

    fn answer(&mut self, asking: Asking<'_>, status: u32, reference: Option<&str>, held: Duration) {
        let Asking {
            session,
            header,
            faults,
            now,
        } = asking;
        let delay = held + Duration::from_millis(faults.response_delay_ms);
        let reference = reference.map(str::as_bytes);
        if delay.is_zero() {
            return self.say(session, |out| {
                write::response(out, header.command, status, header.sequence, reference)
            });
        }
        let mut octets = Vec::with_capacity(64);
        write::response(
            &mut octets,
            header.command,
            status,
            header.sequence,
            reference,
        );
        self.timers
            .add(now.at + delay, Event::Answer { session, octets });
    }
}

/// `registered_delivery`: which final receipts are wanted (section 5.2.17).
const RECEIPT_BITS: u8 = 0x03;

/// Is everything as the standard, and a strict carrier, want it?
fn judge(submit: Submit<'_>, now: Now) -> Result<Message<'_>, Fault> {
    check_destination(&submit.destination)?;
    check_source(&submit.source)?;
    let encoding = alphabet::encoding_of(submit.data_coding).ok_or(Fault::Value("data_coding"))?;
    let (part, octets) = parts::place(&submit)?;
    let room = alphabet::room(encoding, part.is_some());
    if octets.is_empty() || (octets.len() > room && !submit.payload) {
        return Err(Fault::Value("short_message"));
    }
    let parts = if octets.len() <= room {
        1
    } else {
        octets.len().div_ceil(alphabet::room(encoding, true)) as u32
    };
    let mut text = String::with_capacity(octets.len());
    alphabet::decode(encoding, octets, &mut text)?;
    let validity_s = alphabet::validity_s(submit.validity_period, now.unix)?;
    if validity_s.is_some_and(|seconds| seconds <= 0) {
        return Err(Fault::Value("validity_period"));
    }
    Ok(Message {
        submit,
        encoding,
        text,
        part,
        parts,
        validity_s,
    })
}

/// A phone is 3 to 15 digits, and says that it is an international number (E.164).
fn check_destination(address: &Address<'_>) -> Result<(), Fault> {
    let sound =
        address.addr.iter().all(u8::is_ascii_digit) && (3..=15).contains(&address.addr.len());
    if sound && address.ton != 5 {
        Ok(())
    } else {
        Err(Fault::Value("destination_addr"))
    }
}

/// A sender is 3 to 15 digits, or a name of at most 11 characters that says so.
fn check_source(address: &Address<'_>) -> Result<(), Fault> {
    let digits = address.addr.iter().all(u8::is_ascii_digit);
    let sound = match address.ton {
        5 => {
            (1..=11).contains(&address.addr.len())
                && address.addr.iter().all(|b| (0x20..0x7F).contains(b))
        }
        _ => digits && (3..=15).contains(&address.addr.len()),
    };
    if sound {
        Ok(())
    } else {
        Err(Fault::Value("source_addr"))
    }
}

/// An address as a person reads it: international numbers with their `+`.
fn shown(address: &Address<'_>) -> String {
    let text = String::from_utf8_lossy(address.addr);
    if address.ton == 1 {
        format!("+{text}")
    } else {
        text.into_owned()
    }
}
