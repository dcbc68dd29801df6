//! Our requests and their answers: INVITE, CANCEL, BYE, and what a call does with each (RFC 3261 9, 13.2, 15).

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::call::{Call, Held, MAX_CONTACTS, Phase};
use super::pending_key;
use super::write::{self, InviteLines, branch_token};
use super::{CallHandle, End, Endpoint, Event, Invite, Machine, Owner, Pending, Unfit};
use crate::protocol::sip::codec::{Address, HeaderName, Message, Method, Uri, number};
use crate::protocol::sip::dialog::Dialog;
use crate::protocol::sip::sdp;
use crate::protocol::sip::token::{Tokens, push_hex};
use crate::protocol::sip::transaction::{Act, invite_client::InviteClient};

/// Calls are found by their Call-ID.
pub(super) fn call_key(tokens: &Tokens, call_id: &str) -> u64 {
    tokens.of(call_id)
}

impl Endpoint {
    /// Places a call under a fresh Call-ID. The INVITE leaves once the call is [`Endpoint::recorded`].
    pub fn invite(&mut self, now: Instant, invite: Invite) -> Result<CallHandle, Unfit> {
        check(&invite)?;
        let mut call_id = String::with_capacity(17 + self.config.sent_by.len());
        push_hex(&mut call_id, self.tokens.draw());
        call_id.push('@');
        call_id.push_str(&self.config.sent_by);
        let handle = CallHandle(call_key(&self.tokens, &call_id));
        let from = format!("<{}>;tag={:016x}", invite.from, self.tokens.draw());
        let call = Call {
            phase: Phase::Calling,
            call_id,
            from,
            cseq: 0,
            branch: 0,
            authorizations: Vec::new(),
            challenges: 0,
            peers: self.peers.of_call(),
            ring_until: now + invite.limits.ring,
            deadline: Some(now + invite.limits.first_answer.min(invite.limits.ring)),
            dialog: None,
            held: None,
            ack: None,
            forks: Vec::new(),
            told_resumes: 0,
            recorded_resumes: 0,
            owes_cleared: false,
            remote: None,
            version: 1,
            served: Vec::new(),
            told: false,
            woken_at: None,
            invite,
        };
        self.calls.insert(handle.0, Box::new(call));
        self.authorize_invite(handle);
        self.prepare_invite(handle);
        self.arm_call(handle);
        Ok(handle)
    }

    /// The Call-ID: the reference by which the trunk knows the call.
    pub fn call_id(&self, call: CallHandle) -> Option<&str> {
        self.calls.get(&call.0).map(|call| call.call_id.as_str())
    }

    /// Answers the challenges known so far.
    fn authorize_invite(&mut self, call: CallHandle) {
        let Some(uri) = self.calls.get(&call.0).map(|call| call.invite.uri.clone()) else {
            return;
        };
        let answers = self.authorize("INVITE", &uri);
        if let Some(state) = self.calls.get_mut(&call.0) {
            state.authorizations = answers;
        }
    }

    /// The INVITE is ready; it leaves once a restart could end what it begins.
    fn prepare_invite(&mut self, call: CallHandle) {
        let branch = self.tokens.draw();
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        state.cseq += 1;
        state.branch = branch;
        let transport = state.invite.transport;
        let bytes = write::invite(
            &self.config,
            &InviteLines {
                uri: &state.invite.uri,
                from: &state.from,
                to: &format!("<{}>", state.invite.uri),
                call_id: &state.call_id,
                cseq: state.cseq,
                branch,
                transport,
                headers: &state.invite.headers,
                authorizations: &state.authorizations,
                body: sdp::offer(&state.invite.media).as_bytes(),
            },
        );
        state.held = Some(Held::Invite(bytes));
        self.tell_resume(call);
    }

    /// What the last [`Event::Resume`] of this call said is durable: what waited for it leaves.
    pub fn recorded(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        state.recorded_resumes = state.told_resumes.min(state.recorded_resumes + 1);
        self.release(now, call);
    }

    /// What waits for a record leaves.
    pub(super) fn release(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        match state.held.take() {
            Some(Held::Invite(bytes)) => self.send_invite(now, call, bytes),
            Some(Held::Ack) => self.send_ack(call),
            Some(Held::AckAndBye) => {
                self.send_ack(call);
                self.bye(now, call);
            }
            None => {}
        }
        self.end_forks(now, call);
    }

    /// Nothing is recorded any more: the process ends. Answers have their ACK, and what has not left never does.
    pub fn not_recorded(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if matches!(state.held, Some(Held::Invite(_))) {
            return self.hangup(now, call);
        }
        state.recorded_resumes = state.told_resumes;
        self.release(now, call);
    }

    fn send_invite(&mut self, now: Instant, call: CallHandle, bytes: Bytes) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if state.phase == Phase::Calling {
            let first_answer = now + state.invite.limits.first_answer;
            state.deadline = Some(first_answer.min(state.ring_until));
        }
        let (branch, to, transport) = (state.branch, state.invite.to, state.invite.transport);
        state.peers.sent_to(to);
        let machine = Machine::Invite(InviteClient::new(
            now,
            transport.is_reliable(),
            self.config.timing,
        ));
        let owner = Owner::Invite(call);
        self.transmit(to, transport, bytes.clone());
        let pending = Pending::new(machine, owner, bytes, (to, transport));
        self.pending.insert(branch, Box::new(pending));
        self.arm_pending(branch);
        self.arm_call(call);
    }

    /// The ACK of the 2xx, for the first time or again.
    pub(super) fn send_ack(&mut self, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        state.held = None;
        if let Some((ack, to, transport)) = state.ack.clone() {
            state.peers.sent_to(to);
            self.transmit(to, transport, ack);
        }
    }

    pub(super) fn response(&mut self, now: Instant, from: SocketAddr, message: &Message) {
        let branch = message
            .via()
            .and_then(|via| via.branch())
            .and_then(branch_token);
        let (Some(branch), Some(status)) = (branch, message.status()) else {
            return;
        };
        let method = message.cseq_method();
        let key = pending_key(branch, method == Method::Cancel);
        match self.pending.get(&key) {
            Some(pending) if !self.may_answer(pending, from) => return self.foreign(from),
            Some(_) => {}
            None => return,
        }
        for fault in message.oddities() {
            self.malformed(*fault, true);
        }
        let Some(pending) = self.pending.get_mut(&key) else {
            return;
        };
        let owner = pending.owner;
        let (act, is_invite) = match &mut pending.machine {
            Machine::Invite(machine) if method == Method::Invite => {
                (machine.response(now, status), true)
            }
            Machine::Other(machine) if method != Method::Invite => {
                (machine.response(now, status), false)
            }
            Machine::Invite(_) | Machine::Other(_) | Machine::Ready => return,
        };
        let (to, transport) = (pending.to, pending.transport);
        match act {
            Act::DeliverAndAck => {
                let invite = Message::parse(&pending.bytes);
                let ack = invite
                    .map(|invite| write::ack_failure(&invite, message))
                    .unwrap_or_default();
                pending.bytes = ack.clone();
                self.transmit(to, transport, ack);
            }
            Act::AckAgain => {
                let ack = pending.bytes.clone();
                self.transmit(to, transport, ack);
            }
            Act::Nothing | Act::Resend | Act::Deliver | Act::TimedOut | Act::Over => {}
        }
        if act == Act::Deliver && is_invite && status >= 200 {
            // Answered: never sent or cancelled again.
            self.pending
                .entry(key)
                .and_modify(|pending| pending.bytes = Default::default());
        }
        self.arm_pending(key);
        if !matches!(act, Act::Deliver | Act::DeliverAndAck) {
            return;
        }
        self.delivered(now, (key, owner), (is_invite, status), message);
    }

    /// An answer has passed its transaction.
    fn delivered(
        &mut self,
        now: Instant,
        (key, owner): (u64, Owner),
        (is_invite, status): (bool, u16),
        message: &Message,
    ) {
        let challenged = !is_invite && matches!(status, 401 | 407);
        if challenged && self.answer_challenge(now, key, message) {
            return;
        }
        match owner {
            Owner::Invite(call) if is_invite => self.invite_answered(now, call, status, message),
            Owner::Bye(call) if status >= 200 => self.clear(now, call),
            Owner::ForkBye(call, tag) if status >= 200 => self.fork_over(call, tag),
            Owner::Alive(call) if status >= 200 => self.alive_answered(now, call, Some(status)),
            Owner::Probe(probe) if status >= 200 => {
                self.tell(Event::Probed {
                    probe,
                    status: Some(status),
                });
            }
            Owner::Invite(_)
            | Owner::Bye(_)
            | Owner::Alive(_)
            | Owner::Cancel(_)
            | Owner::ForkBye(..)
            | Owner::Probe(_) => {}
        }
    }

    fn invite_answered(&mut self, now: Instant, call: CallHandle, status: u16, message: &Message) {
        match status {
            ..200 => self.provisional(now, call, status, message),
            200..300 => self.accepted(now, call, message),
            300.. => self.failed(now, call, status, message),
        }
    }

    fn provisional(&mut self, now: Instant, call: CallHandle, status: u16, message: &Message) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        match state.phase {
            Phase::Calling | Phase::Proceeding => {
                state.phase = Phase::Proceeding;
                state.deadline = Some(state.ring_until);
                let early = state.read_sdp(message.body()).ok();
                if early.is_some() {
                    state.remote.clone_from(&early);
                }
                self.arm_call(call);
                self.tell(Event::Progress {
                    call,
                    status,
                    early,
                });
            }
            Phase::Abandoned => {
                self.cancel(now, call);
            }
            Phase::Cancelling | Phase::Up | Phase::Closing | Phase::Over => {}
        }
    }

    /// A 2xx: the answer, a copy of it, or another fork's (13.2.2.4).
    fn accepted(&mut self, now: Instant, call: CallHandle, message: &Message) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if let Some(dialog) = &state.dialog {
            if dialog.remote_tag == message.to_tag().unwrap_or("") {
                // As long as the answer is not recorded it stays without its ACK: it will be said again to a restart, which
                // could not end it otherwise.
                if !state.holds_ack() {
                    self.send_ack(call);
                }
            } else {
                self.fork(now, call, message);
            }
            return;
        }
        let Some(dialog) = Dialog::from_response(message, &state.invite.uri, &state.from) else {
            return;
        };
        let (to, transport) = state.next_hop(&dialog);
        let branch = self.tokens.draw();
        let sequence = (dialog.cseq, branch, transport);
        let ack = write::in_dialog(
            &self.config,
            "ACK",
            &dialog,
            sequence,
            &state.authorizations,
        );
        // A peer that tags nothing can't be held to a dialog: it is ended as it began.
        let tagged = !dialog.remote_tag.is_empty();
        state.dialog = Some(dialog);
        state.ack = Some((ack, to, transport));
        state.held = Some(Held::Ack);
        let wanted = state.is_live() && tagged;
        // Media is taken from what the answer says; an early answer stands in where the 2xx repeats none.
        let remote = match state.read_sdp(message.body()) {
            Err(sdp::SdpFault::Absent) => state.remote.clone(),
            other => other.ok(),
        };
        let remote = remote.filter(|remote| write::may_hear(&self.config, remote));
        state.phase = Phase::Up;
        state.remote.clone_from(&remote);
        state.deadline = Some(now + state.invite.limits.call);
        self.tell_resume(call);
        match remote {
            Some(remote) if wanted => {
                self.arm_call(call);
                self.tell(Event::Answered { call, remote });
            }
            // It crossed our CANCEL, or nobody could talk on it: a BYE follows the ACK.
            _ => {
                self.bye(now, call);
                self.end(call, End::BrokenMedia);
            }
        }
    }

    fn failed(&mut self, now: Instant, call: CallHandle, status: u16, message: &Message) {
        let Some(state) = self.calls.get(&call.0) else {
            return;
        };
        let wanted = state.is_live();
        if wanted && matches!(status, 401 | 407) && self.invite_challenged(call, message) {
            self.authorize_invite(call);
            return self.prepare_invite(call);
        }
        if (300..400).contains(&status) {
            let end = End::Redirected {
                status,
                phrase: message.reason().to_owned(),
                contacts: contacts(message),
            };
            self.end(call, end);
            return self.clear(now, call);
        }
        let reason = message.header(HeaderName::Reason).map(str::to_owned);
        let seconds = |value: &str| {
            number(
                value.split([' ', ';', '(']).next().unwrap_or(""),
                u64::from(u32::MAX),
            )
        };
        let retry_after = message
            .header(HeaderName::RetryAfter)
            .and_then(seconds)
            .map(|s| s as u32);
        self.end(
            call,
            End::Refused {
                status,
                phrase: message.reason().to_owned(),
                reason,
                retry_after,
            },
        );
        self.clear(now, call);
    }

    fn invite_challenged(&mut self, call: CallHandle, message: &Message) -> bool {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return false;
        };
        let (carried, taken) = (std::mem::take(&mut state.authorizations), state.challenges);
        state.challenges = taken.saturating_add(1);
        self.take_challenges(message, &carried, taken)
    }

    pub(super) fn tell_resume(&mut self, call: CallHandle) {
        if let Some(resume) = self.resume(call) {
            if let Some(state) = self.calls.get_mut(&call.0) {
                state.told_resumes += 1;
            }
            self.tell(Event::Resume {
                call,
                resume: Box::new(resume),
            });
        }
    }
}

/// The URIs of a redirection, those with the highest `q` first (8.1.3.4, 20.10).
fn contacts(message: &Message) -> Vec<String> {
    let mut found: Vec<(u32, String)> = message
        .values(HeaderName::Contact)
        .filter_map(|value| Address::read(value).ok())
        .map(|contact| (thousandths(contact.param("q")), contact.uri.to_owned()))
        .take(MAX_CONTACTS)
        .collect();
    found.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
    found.into_iter().map(|(_, uri)| uri).collect()
}

fn thousandths(q: Option<&str>) -> u32 {
    q.and_then(|q| q.parse::<f32>().ok())
        .map_or(1_000, |q| (q.clamp(0.0, 1.0) * 1_000.0) as u32)
}

/// Nothing in an order may end a line or a bracket early.
fn check(invite: &Invite) -> Result<(), Unfit> {
    let in_uri = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"');
    let bad = [&invite.uri, &invite.from]
        .into_iter()
        .any(|uri| uri.contains(in_uri) || Uri::parse(uri).is_err())
        || invite.headers.iter().any(|(name, value)| {
            !crate::protocol::sip::codec::is_token(name) || value.contains(|c: char| c.is_control())
        });
    if bad { Err(Unfit) } else { Ok(()) }
}
