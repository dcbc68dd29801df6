//! Taking a submit, or not: is it written as the standard wants, what does the script say, who is the person
//! at the other end, and which receipts follow when. Pure.

use super::centre::{Centre, Now};
use super::delivery::{Delivery, LineRef, Owned, Receipt, What};
use super::parts::{self, Joined, Part};
use super::pdu::{self, Address, Fault, Header, Submit, command, status, tag};
use super::receipt;
use super::session::SessionId;
use super::timers::Event;
use super::{alphabet, write};
use crate::fate::{Fate, Refused, Stat};
use crate::record::{Encoding, Entry, Text, TextResult, code_in};
use crate::script::Faults;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Who asks, for what, when, and how the script stands.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub session: SessionId,
    pub header: Header,
    pub faults: &'a Faults,
    pub now: Now,
}

/// A submit that is written well.
pub(super) struct Message<'a> {
    pub(super) submit: Submit<'a>,
    encoding: Encoding,
    pub(super) text: String,
    pub(super) part: Option<Part>,
    parts: u32,
    validity_s: Option<i64>,
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
                return self.refuse_later(asking, fault.status());
            }
        };
        if self.outside.is_some() {
            return self.ask_outside(asking, &message);
        }
        let person = faults.behaviour(&shown(&message.submit.destination)).text;
        if let Some(refused) = Refused::decide(&mut self.dice, faults, person) {
            let code = status_of(refused);
            let text = Text {
                result: TextResult::Refused,
                status: Some(code),
                ..self.line(&message)
            };
            self.record.push(&self.name, Entry::Text(text));
            return self.refuse_later(asking, code);
        }
        let fate = Fate::decide(&mut self.dice, faults, person, &self.habits);
        let number = self.next_id;
        self.next_id += 1;
        let (reference, receipt_id) = fate.base.ids(number);
        let Some(line) = self.write_down(&message, &reference, fate, now) else {
            return self.refuse_later(asking, status::QUEUE_FULL);
        };
        self.schedule(asking, &message, receipt_id, line, fate);
        if fate.dropped {
            return self.close(session);
        }
        self.answer(asking, status::OK, Some(&reference), fate.answer_after);
    }

    fn refuse_later(&mut self, asking: Asking<'_>, status: u32) {
        let delay = Duration::from_millis(asking.faults.response_delay_ms);
        self.answer(asking, status, None, delay);
    }

    /// Into the record, once the text is whole; none: too many texts are not.
    fn write_down(
        &mut self,
        message: &Message<'_>,
        reference: &str,
        fate: Fate,
        now: Now,
    ) -> Option<LineRef> {
        let whole = |text: Text, parts: u32| Text {
            parts,
            reference: reference.to_owned(),
            result: fate.result(),
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

    /// The receipts, and the person's own text, each at its time.
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
        let delivery = |what: What| {
            let (from, to) = (Owned::from(submit.destination), Owned::from(submit.source));
            Box::new(Delivery {
                account: account.clone(),
                from,
                to,
                what,
                counted: false,
                tag: None,
            })
        };
        if let (Some(after), Some(code)) = (fate.reply_after, code_in(&message.text)) {
            let (data_coding, octets) = alphabet::encode(code);
            self.later(
                after,
                delivery(What::Text {
                    data_coding,
                    octets,
                }),
                now,
            );
        }
        let wanted = |stat: Stat| match (stat, submit.registered_delivery & RECEIPT_BITS) {
            // Intermediate notifications come unasked from carriers that send them.
            (Stat::Enroute, _) => true,
            (_, 0) => false,
            (Stat::Delivered, 2) => false,
            _ => true,
        };
        for (after, stat) in fate.receipts().filter(|(_, stat)| wanted(*stat)) {
            let receipt = Receipt {
                id: receipt_id.clone(),
                id_in_text: fate.id_in_text,
                stat,
                submitted: now.unix,
                beginning: receipt::beginning(&message.text),
                form: faults.receipt_form,
                by_data: fate.by_data,
                line: line.clone(),
            };
            self.later(after, delivery(What::Receipt(receipt)), now);
        }
    }

    fn later(&mut self, after: Duration, delivery: Box<Delivery>, now: Now) {
        if after.is_zero() {
            return self.deliver(delivery, now);
        }
        self.timers.add(now.at + after, Event::Deliver(delivery));
    }

    fn answer(
        &mut self,
        asking: Asking<'_>,
        status: u32,
        reference: Option<&str>,
        delay: Duration,
    ) {
        let Asking {
            session,
            header,
            now,
            ..
        } = asking;
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

/// The command status of a refusal.
fn status_of(refused: Refused) -> u32 {
    match refused {
        Refused::Throttled => status::THROTTLED,
        Refused::Error(0) => status::SYSTEM_ERROR,
        Refused::Error(code) => code,
        Refused::NoSuchPhone => status::INVALID_DESTINATION,
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
pub(super) fn shown(address: &Address<'_>) -> String {
    let text = String::from_utf8_lossy(address.addr);
    if address.ton == 1 {
        format!("+{text}")
    } else {
        text.into_owned()
    }
}
