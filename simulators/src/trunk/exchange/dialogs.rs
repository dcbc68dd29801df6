//! Requests inside a call, both ways: ACK, CANCEL, BYE, INFO, re-INVITE (RFC 3261 sections 9, 12, 14, 15).

use super::super::call::{Own, Peer, Resend, State, Timer};
use super::super::sip::{Basics, Message, Writer, host_of, param, split_commas, uri_of};
use super::{Exchange, Output, response_to, with_contact};
use crate::record::{CallResult, EndedBy};
use crate::script::Chance;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

impl Exchange {
    fn call_of(&self, basics: &Basics) -> Option<u64> {
        self.dialogs
            .get(&(basics.call_id.clone(), basics.from_tag.clone()))
            .copied()
    }

    pub(super) fn ack(&mut self, basics: &Basics, now: Instant) {
        let Some(id) = self.call_of(basics) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        // Of an INVITE before this one, that was asked for credentials: it was overtaken.
        if basics.cseq < call.basics.cseq {
            return;
        }
        match call.state {
            State::Refused => {
                if basics.branch != call.basics.branch {
                    self.broken(
                        "sip",
                        "the ACK of a refusal has another branch than its INVITE".into(),
                    );
                }
                let by = call_ended_by(self, id);
                self.end(id, by, now);
            }
            State::Answered => {
                let same_branch = basics.branch == call.basics.branch;
                let other_number = basics.cseq != call.basics.cseq;
                let tag = basics.to_tag.as_deref();
                let Some(leg) = call
                    .legs
                    .iter_mut()
                    .find(|leg| Some(leg.tag.as_str()) == tag)
                else {
                    return self
                        .broken("sip", "an ACK with a To tag that no answer carried".into());
                };
                let first = !std::mem::replace(&mut leg.acked, true);
                self.counts.acks += u64::from(first);
                if same_branch && first {
                    self.broken(
                        "sip",
                        "the ACK of a 200 has the branch of its INVITE".into(),
                    );
                }
                if other_number && first {
                    self.broken(
                        "sip",
                        "the ACK of a 200 has another CSeq than its INVITE".into(),
                    );
                }
            }
            State::Proceeding | State::Mute => {
                self.broken("sip", "an ACK before a final answer".into())
            }
        }
    }

    pub(super) fn cancel(&mut self, message: &Message, basics: &Basics, peer: Peer, now: Instant) {
        let found = self.call_of(basics).filter(|id| {
            self.calls
                .get(id)
                .is_some_and(|call| call.basics.branch == basics.branch)
        });
        let Some((id, state)) = found.and_then(|id| Some((id, self.calls.get(&id)?.state))) else {
            let bytes = message.response(481, Some("x"), peer.address()).end();
            return self.reply(message, basics, peer, bytes, now);
        };
        self.counts.cancels += 1;
        if state == State::Mute {
            return self.write_down_mute(id, now);
        }
        let tag = self.calls.get(&id).map(|call| call.tag.clone());
        let bytes = message.response(200, tag.as_deref(), peer.address()).end();
        self.reply(message, basics, peer, bytes, now);
        if state == State::Proceeding {
            let often = self.faults.answer_cancelled;
            let can_answer = self.calls.get(&id).is_some_and(|c| c.media.is_some());
            if can_answer && self.dice.strikes(Chance::AnswerCancelled, often) {
                return self.answer(id, now);
            }
            self.refuse(id, 487, now);
        }
    }

    pub(super) fn bye(&mut self, message: &Message, basics: &Basics, peer: Peer, now: Instant) {
        let call = self
            .call_of(basics)
            .and_then(|id| Some((id, self.calls.get_mut(&id)?)));
        let found = call.and_then(|(id, call)| {
            let pressed_at = call.pressed_at.take();
            let tag = basics.to_tag.as_deref();
            let alone = call.legs.len() == 1;
            let leg = call
                .legs
                .iter_mut()
                .find(|leg| Some(leg.tag.as_str()) == tag)?;
            leg.over = true;
            Some((id, leg.acked, alone, pressed_at))
        });
        let Some((id, acked, alone, pressed_at)) = found else {
            let bytes = message.response(481, Some("x"), peer.address()).end();
            return self.reply(message, basics, peer, bytes, now);
        };
        self.counts.byes += 1;
        if let Some(pressed_at) = pressed_at.filter(|_| alone) {
            self.counts.key_to_bye.add(now.duration_since(pressed_at));
        }
        if !acked {
            self.broken("sip", "a BYE for an answer that was not ACKed".into());
        }
        let bytes = message.response(200, None, peer.address()).end();
        self.reply(message, basics, peer, bytes, now);
        self.end_if_over(id, EndedBy::Gateway, now);
    }

    pub(super) fn in_dialog(
        &mut self,
        message: &Message,
        basics: &Basics,
        peer: Peer,
        now: Instant,
    ) {
        let known = self
            .call_of(basics)
            .is_some_and(|id| self.calls.contains_key(&id));
        let status = if known { 200 } else { 481 };
        let bytes = message.response(status, Some("x"), peer.address()).end();
        self.reply(message, basics, peer, bytes, now);
    }

    /// A new offer in a call gets the same answer again.
    pub(super) fn re_invite(
        &mut self,
        message: &Message,
        basics: &Basics,
        peer: Peer,
        now: Instant,
    ) {
        let contact = self.settings.contact;
        let call = self.call_of(basics).and_then(|id| self.calls.get_mut(&id));
        let bytes = match call.filter(|call| call.state == State::Answered) {
            None => message.response(481, Some("x"), peer.address()).end(),
            Some(call) => {
                call.basics.cseq = basics.cseq;
                match call.sdp() {
                    Some(sdp) => with_contact(message.response(200, None, peer.address()), contact)
                        .body("application/sdp", &sdp),
                    None => message.response(488, None, peer.address()).end(),
                }
            }
        };
        self.reply(message, basics, peer, bytes, now);
    }

    /// The person's side says BYE on every leg.
    pub(super) fn hang_up(&mut self, id: u64, now: Instant) {
        let Some(call) = self
            .calls
            .get(&id)
            .filter(|call| call.state == State::Answered)
        else {
            return;
        };
        // No BYE from the callee before the ACK (RFC 3261 section 15).
        if call.legs.iter().any(|leg| !leg.over && !leg.acked) {
            return self.timer(id, Timer::HangUp, now + WAIT_FOR_ACK);
        }
        let legs: Vec<usize> = (0..call.legs.len())
            .filter(|leg| !call.legs[*leg].over)
            .collect();
        for leg in legs {
            self.counts.own_byes += 1;
            self.request(id, leg, "BYE", None, now);
        }
        self.hush(id);
    }

    /// The person's key as INFO, on the first leg that is up.
    pub(super) fn key_by_info(&mut self, id: u64, key: char, now: Instant) {
        let leg = self
            .calls
            .get(&id)
            .and_then(|call| call.legs.iter().position(|leg| !leg.over));
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        if let Some(leg) = leg {
            self.request(
                id,
                leg,
                "INFO",
                Some(("application/dtmf-relay", &body)),
                now,
            );
        }
    }

    /// A request of ours in the dialog of a leg (section 12.2.1.1).
    fn request(
        &mut self,
        id: u64,
        leg: usize,
        method: &str,
        body: Option<(&str, &str)>,
        now: Instant,
    ) {
        let branch = format!("z9hG4bK{}", self.word());
        let contact = self.settings.contact;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let (invite, peer) = (&call.invite, call.peer);
        let routes: Vec<&str> = invite.all("record-route").flat_map(split_commas).collect();
        let target = invite
            .first("contact")
            .map_or(call.basics.uri.as_str(), uri_of);
        let next_hop = routes.first().map_or(target, |route| uri_of(route));
        let destination = destination(next_hop, peer);
        let Some(leg) = call.legs.get_mut(leg) else {
            return;
        };
        leg.cseq += 1;
        let via = if peer.is_reliable() { "TCP" } else { "UDP" };
        let mut writer = Writer::request(method, target)
            .header(
                "Via",
                format_args!("SIP/2.0/{via} {contact};branch={branch};rport"),
            )
            .header("Max-Forwards", 70);
        for route in &routes {
            writer = writer.header("Route", route);
        }
        let to = invite.first("to").unwrap_or_default();
        let ours = if param(to, "tag").is_some() {
            to.to_owned()
        } else {
            format!("{to};tag={}", leg.tag)
        };
        let writer = writer
            .header("From", ours)
            .header("To", invite.first("from").unwrap_or_default())
            .header("Call-ID", &call.basics.call_id)
            .header("CSeq", format_args!("{} {method}", leg.cseq));
        let bytes = match body {
            Some((kind, body)) => writer.body(kind, body),
            None => writer.end(),
        };
        let resend = Resend::new(now);
        leg.own = Some(Own {
            branch,
            is_bye: method == "BYE",
            bytes: bytes.clone(),
            peer: destination,
            resend,
        });
        self.send(destination, bytes, now);
        self.timer(id, Timer::Own, resend.next);
    }

    /// An answer to a request of ours.
    pub(super) fn response(&mut self, message: &Message, status: u16, now: Instant) {
        let via = message.first("via").unwrap_or_default();
        let branch =
            param(split_commas(via).next().unwrap_or_default(), "branch").unwrap_or_default();
        // In our requests the caller's tag stands in To.
        let tag = message
            .first("to")
            .and_then(|to| param(to, "tag"))
            .unwrap_or_default();
        let call_id = message.first("call-id").unwrap_or_default();
        let Some(id) = self
            .dialogs
            .get(&(call_id.to_owned(), tag.to_owned()))
            .copied()
        else {
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let matching = |own: &Own| own.branch == branch;
        let Some(leg) = call
            .legs
            .iter_mut()
            .find(|leg| leg.own.as_ref().is_some_and(matching))
        else {
            return;
        };
        if status < 200 {
            return;
        }
        let was_bye = leg.own.take().is_some_and(|own| own.is_bye);
        // Also without such a call there (481), or without an answer (408), the call is over (section 12.2.1.2).
        leg.over |= was_bye || matches!(status, 481 | 408);
        if status >= 300 {
            let what = if was_bye { "BYE" } else { "INFO" };
            self.broken("sip", format!("{status} in answer to our {what}"));
        }
        self.end_if_over(id, EndedBy::Person, now);
    }

    pub(super) fn resend_own(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let reliable = call.peer.is_reliable();
        let (mut again, mut given_up, mut next) = (Vec::new(), false, None::<Instant>);
        for leg in &mut call.legs {
            let Some(own) = &mut leg.own else { continue };
            if own.resend.give_up <= now {
                leg.over |= own.is_bye;
                leg.own = None;
                given_up = true;
                continue;
            }
            if own.resend.next <= now {
                if !reliable {
                    again.push((own.peer, own.bytes.clone()));
                }
                own.resend.step(now);
            }
            let at = own.resend.next.min(own.resend.give_up);
            next = Some(next.map_or(at, |soonest| soonest.min(at)));
        }
        for (peer, bytes) in again {
            self.counts.resent += 1;
            self.send(peer, bytes, now);
        }
        if let Some(next) = next {
            self.timer(id, Timer::Own, next);
        }
        if given_up {
            self.broken("sip", "no answer to a request of ours in a call".into());
            self.end_if_over(id, EndedBy::Person, now);
        }
    }

    /// Final answers without an ACK go again; after 64 T1 a refusal is given up and an answer is ended by BYE.
    pub(super) fn resend(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let peer = response_to(&call.invite, call.peer);
        if call.state == State::Refused {
            if call.resend.give_up <= now {
                self.counts.unacked += 1;
                self.broken("sip", "a refusal was never ACKed".into());
                let by = call_ended_by(self, id);
                return self.end(id, by, now);
            }
            let bytes = call.last.clone().unwrap_or_default();
            call.resend.step(now);
            let next = call.resend.next.min(call.resend.give_up);
            self.counts.resent += 1;
            self.send(peer, bytes, now);
            return self.timer(id, Timer::Resend, next);
        }
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        for (at, leg) in call
            .legs
            .iter_mut()
            .enumerate()
            .filter(|(_, leg)| !leg.acked && !leg.over)
        {
            if leg.resend.give_up <= now {
                leg.acked = true;
                given_up.push(at);
            } else if leg.resend.next <= now {
                again.push(leg.ok.clone());
                leg.resend.step(now);
            }
        }
        let next = call.resend_at();
        for bytes in again {
            self.counts.resent += 1;
            self.send(peer, bytes, now);
        }
        for leg in given_up {
            self.counts.unacked += 1;
            self.broken("sip", "a 200 was never ACKed".into());
            self.request(id, leg, "BYE", None, now);
        }
        if let Some(next) = next {
            self.timer(id, Timer::Resend, next);
        }
    }

    /// The gateway has given up on a call that hangs: written down now, kept mute as long as before.
    fn write_down_mute(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.written) else {
            return;
        };
        call.written = true;
        call.line.ended_by = EndedBy::Gateway;
        call.line.end_ms = now.duration_since(call.since).as_millis() as u64;
        self.counts.ended += 1;
        self.out
            .push_back(Output::Ended(Box::new(call.line.clone()), None));
    }

    fn end_if_over(&mut self, id: u64, by: EndedBy, now: Instant) {
        if self
            .calls
            .get(&id)
            .is_some_and(|call| call.legs.iter().all(|leg| leg.over))
        {
            self.end(id, by, now);
        }
    }

    /// The call is over: forget it, and write it down once the media has told what was heard.
    pub(super) fn end(&mut self, id: u64, by: EndedBy, now: Instant) {
        self.hush(id);
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        self.counts.live -= u64::from(call.is_live());
        self.dialogs
            .remove(&(call.basics.call_id.clone(), call.basics.from_tag.clone()));
        if let Some(last) = call.last.take().filter(|_| call.state != State::Mute) {
            self.recent.keep(&call.basics.branch, "INVITE", last, now);
        }
        if call.state != State::Refused {
            call.line.ended_by = by;
            call.line.end_ms = now.duration_since(call.since).as_millis() as u64;
        }
        if call.line.result == CallResult::NoAnswer && by == EndedBy::Trunk {
            call.line.result = CallResult::Cancelled;
        }
        if call.written {
            return;
        }
        self.counts.ended += 1;
        if call.talking {
            self.endings.insert(id, call.line);
        } else {
            self.out
                .push_back(Output::Ended(Box::new(call.line), call.audio));
        }
    }

    /// End the media; once.
    fn hush(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id)
            && call.media.take().is_some()
        {
            self.out.push_back(Output::Hush(id));
        }
    }
}

fn call_ended_by(exchange: &Exchange, id: u64) -> EndedBy {
    exchange
        .calls
        .get(&id)
        .map_or(EndedBy::Trunk, |call| call.line.ended_by)
}

/// The address that a URI names, where it is a numeric one; else where the call came from.
fn destination(uri: &str, peer: Peer) -> Peer {
    let Peer::Udp(source) = peer else { return peer };
    let named = host_of(uri)
        .and_then(|(host, port)| Some((host.parse::<IpAddr>().ok()?, port.unwrap_or(5060))));
    Peer::Udp(named.map_or(source, |(host, port)| SocketAddr::new(host, port)))
}

/// How soon one who wants to hang up looks again for the ACK.
pub(super) const WAIT_FOR_ACK: Duration = Duration::from_millis(50);
