//! Requests from outside: a peer's within one of our calls, answered here; everything else is a stranger's.
//! And the time-outs of calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call::{Fork, MAX_SERVED, Phase, Served, ServedMachine};
use super::outgoing::call_key;
use super::write::{self, ALLOW, SDP};
use super::{CallHandle, End, Endpoint, Event, Transport, out_of_dialog};
use crate::protocol::sip::codec::{HeaderName, Message, Method};
use crate::protocol::sip::sdp;
use crate::protocol::sip::transaction::{Act, invite_server::InviteServer, server::Server};

/// What a request within a dialog is answered with.
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn bare(status: u16) -> Answer {
        Answer {
            status,
            body: String::new(),
        }
    }
}

impl Endpoint {
    pub(super) fn request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transport: Transport,
        request: &Message,
    ) {
        let call = CallHandle(call_key(&self.tokens, request.call_id()));
        let mut ours = self
            .calls
            .get(&call.0)
            .and_then(|state| state.dialog.as_ref())
            .is_some_and(|dialog| dialog.owns(request));
        if ours && !self.is_peer_of(call, from) {
            // To whoever sent it, there is no such call.
            self.foreign(from);
            ours = false;
        }
        if ours {
            for fault in request.oddities() {
                self.malformed(*fault, true);
            }
            self.in_dialog(now, from, transport, call, request);
        } else if self.hung_up_unheard(now, call, from, request) {
            let bytes = write::response(request, 200, from, 0, &[], b"");
            self.transmit(from, transport, bytes);
        } else if let Some(bytes) = out_of_dialog::answer_to(request, from, &self.tokens)
            && self.is_answered(now, from)
        {
            self.transmit(from, transport, bytes);
        }
    }

    fn in_dialog(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transport: Transport,
        call: CallHandle,
        request: &Message,
    ) {
        let Some(method) = request.method() else {
            return;
        };
        if method == Method::Ack {
            return self.acked(now, call, request);
        }
        if let Some(bytes) = self.copy_of_served(call, request, method) {
            return bytes
                .into_iter()
                .for_each(|bytes| self.transmit(from, transport, bytes));
        }
        let answer = self.answer(call, request, method);
        let contact = write::contact(&self.config, transport);
        let unsupported = request
            .values(HeaderName::Require)
            .collect::<Vec<_>>()
            .join(", ");
        let extra: &[(&str, &str)] = match (answer.status, method) {
            (405 | 501, _) => &[("Allow", ALLOW)],
            (420, _) => &[("Unsupported", &unsupported)],
            (500, _) => &[("Retry-After", "1")],
            (200, Method::Invite | Method::Update) => &[("Contact", &contact), ("Allow", ALLOW)],
            (200, Method::Options) => &[("Allow", ALLOW), ("Accept", SDP)],
            _ => &[],
        };
        let bytes = write::response(
            request,
            answer.status,
            from,
            0,
            extra,
            answer.body.as_bytes(),
        );
        self.transmit(from, transport, bytes.clone());
        self.keep_served(
            now,
            call,
            request,
            (method, answer.status),
            bytes,
            (from, transport),
        );
        if method == Method::Bye && answer.status == 200 {
            self.end(call, End::PeerBye);
            self.clear(now, call);
        }
        self.arm_call(call);
    }

    /// `Some` if this request was answered before: the answer again, or nothing where only its ACK is awaited.
    fn copy_of_served(
        &mut self,
        call: CallHandle,
        request: &Message,
        method: Method,
    ) -> Option<Option<Bytes>> {
        let state = self.calls.get_mut(&call.0)?;
        let branch = branch_of(request);
        let served = state
            .served
            .iter_mut()
            .find(|s| s.method == method && s.branch == branch && s.cseq == request.cseq())?;
        let act = match &mut served.machine {
            ServedMachine::Invite(machine) => machine.repeated(),
            ServedMachine::Other(machine) => machine.repeated(),
        };
        Some((act == Act::Resend).then(|| served.answer.clone()))
    }

    fn answer(&mut self, call: CallHandle, request: &Message, method: Method) -> Answer {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return Answer::bare(481);
        };
        let Some(dialog) = &mut state.dialog else {
            return Answer::bare(481);
        };
        // Out of order (12.2.2). A CANCEL carries the number of what it cancels.
        if method != Method::Cancel
            && dialog
                .remote_cseq
                .is_some_and(|last| request.cseq() <= last)
        {
            return Answer::bare(500);
        }
        if method != Method::Cancel {
            dialog.remote_cseq = Some(request.cseq());
        }
        if method == Method::Bye {
            // Whatever else it asks for: who hangs up has hung up.
            return Answer::bare(200);
        }
        if let Some(status) = out_of_dialog::inspect(request) {
            return Answer::bare(status);
        }
        match method {
            _ if state.phase != Phase::Up => Answer::bare(481),
            Method::Invite => self.reinvite(call, request),
            Method::Update => self.update(call, request),
            Method::Info => self.info(call, request),
            Method::Options => Answer::bare(200),
            // The INVITE it means has its final answer already (9.2).
            Method::Cancel => {
                let known = self.calls.get(&call.0).is_some_and(|state| {
                    state
                        .served
                        .iter()
                        .any(|s| s.method == Method::Invite && s.branch == branch_of(request))
                });
                Answer::bare(if known { 200 } else { 481 })
            }
            Method::Ack | Method::Bye => Answer::bare(400),
            Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish => Answer::bare(405),
            Method::Other => Answer::bare(501),
        }
    }

    /// A re-INVITE: new media, a refresh of the session, or both (14.2).
    fn reinvite(&mut self, call: CallHandle, request: &Message) -> Answer {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return Answer::bare(481);
        };
        let waits = |s: &Served| matches!(&s.machine, ServedMachine::Invite(machine) if machine.awaits_ack());
        if state.served.iter().any(waits) {
            return Answer::bare(500);
        }
        if request.body().is_empty() {
            // Without an offer the answer makes one; theirs comes with the ACK.
            state.version += 1;
            if let Some(dialog) = &mut state.dialog {
                dialog.refresh_target(request);
            }
            let offer = sdp::offer(&state.invite.media);
            let version = format!(" {} IN", state.version);
            return Answer {
                status: 200,
                body: offer.replacen(" 1 IN", &version, 1),
            };
        }
        self.take_offer(call, request)
    }

    /// An UPDATE (RFC 3311): an offer, or only a refresh of the session (RFC 4028).
    fn update(&mut self, call: CallHandle, request: &Message) -> Answer {
        if !request.body().is_empty() {
            return self.take_offer(call, request);
        }
        if let Some(dialog) = self
            .calls
            .get_mut(&call.0)
            .and_then(|state| state.dialog.as_mut())
        {
            dialog.refresh_target(request);
        }
        Answer::bare(200)
    }

    fn take_offer(&mut self, call: CallHandle, request: &Message) -> Answer {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return Answer::bare(481);
        };
        let Some(remote) = state
            .read_sdp(request.body())
            .ok()
            .filter(|remote| write::may_hear(&self.config, remote))
        else {
            return Answer::bare(488);
        };
        if let Some(dialog) = &mut state.dialog {
            dialog.refresh_target(request);
        }
        state.version += 1;
        let body = sdp::answer(&state.invite.media, request.body(), &remote, state.version);
        self.moved(call, remote);
        Answer { status: 200, body }
    }

    fn moved(&mut self, call: CallHandle, remote: sdp::Remote) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if state.remote.as_ref() != Some(&remote) {
            state.remote = Some(remote.clone());
            self.tell(Event::Media { call, remote });
        }
    }

    fn info(&mut self, call: CallHandle, request: &Message) -> Answer {
        if let Some((key, held)) = key_of(request) {
            self.tell(Event::Key { call, key, held });
        }
        Answer::bare(200)
    }

    fn acked(&mut self, now: Instant, call: CallHandle, request: &Message) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let cseq = request.cseq();
        for served in state.served.iter_mut().filter(|s| s.cseq == cseq) {
            if let ServedMachine::Invite(machine) = &mut served.machine {
                machine.ack(now);
            }
        }
        let answered = state.read_sdp(request.body());
        if let (Ok(remote), Phase::Up) = (answered, state.phase)
            && write::may_hear(&self.config, &remote)
        {
            self.moved(call, remote);
        }
        self.arm_call(call);
    }

    fn keep_served(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        (method, status): (Method, u16),
        answer: Bytes,
        (to, transport): (SocketAddr, Transport),
    ) {
        let timing = self.config.timing;
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let reliable = transport.is_reliable();
        let machine = match method {
            Method::Invite => {
                ServedMachine::Invite(InviteServer::answered(now, status, reliable, timing))
            }
            _ => ServedMachine::Other(Server::answered(now, reliable, timing)),
        };
        if state.served.len() == MAX_SERVED {
            state.served.remove(0);
        }
        let branch = branch_of(request).to_owned();
        state.served.push(Served {
            branch,
            method,
            cseq: request.cseq(),
            machine,
            answer,
            to,
            transport,
        });
    }

    pub(super) fn call_timeout(&mut self, now: Instant, at: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if state.woken_at == Some(at) {
            state.woken_at = None;
        }
        self.served_timeouts(now, call);
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if state.deadline.is_some_and(|deadline| deadline <= now) {
            state.deadline = None;
            match state.phase {
                // Rung out if the ring limit is the shorter one.
                Phase::Calling => self.give_up(now, call, End::Silent),
                Phase::Proceeding => self.give_up(now, call, End::RungOut),
                Phase::Up => {
                    self.bye(now, call);
                    self.end(call, End::Capped);
                }
                // Its forks' BYEs are still under way.
                Phase::Over if state.owes_cleared => {
                    state.deadline = Some(now + self.config.timing.t4);
                }
                Phase::Over => {
                    self.calls.remove(&call.0);
                }
                Phase::Closing => self.release(now, call),
                Phase::Abandoned | Phase::Cancelling => {}
            }
        }
        self.arm_call(call);
    }

    fn served_timeouts(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let mut unheard = false;
        let mut again = Vec::new();
        state.served.retain_mut(|served| {
            let act = match &mut served.machine {
                ServedMachine::Invite(machine) => machine.timeout(now),
                ServedMachine::Other(machine) => machine.timeout(now),
            };
            match act {
                Act::Resend => again.push((served.to, served.transport, served.answer.clone())),
                Act::TimedOut => unheard |= served.is_accepted_invite(),
                _ => {}
            }
            !matches!(act, Act::TimedOut | Act::Over)
        });
        for (to, transport, bytes) in again {
            self.transmit(to, transport, bytes);
        }
        // No ACK to a 2xx: the session is torn (13.3.1.4).
        if unheard
            && self
                .calls
                .get(&call.0)
                .is_some_and(|state| state.phase == Phase::Up)
        {
            self.bye(now, call);
            self.end(call, End::Vanished);
        }
    }

    /// Says once how the call ended.
    pub(super) fn end(&mut self, call: CallHandle, end: End) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if !std::mem::replace(&mut state.told, true) {
            self.tell(Event::Ended { call, end });
        }
    }

    /// Nothing is left at the peer. An answered call lingers for late copies, any other is forgotten.
    pub(super) fn clear(&mut self, now: Instant, call: CallHandle) {
        let timing = self.config.timing;
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        if state.phase == Phase::Over {
            return;
        }
        if state.dialog.is_some() {
            let late = if state.served.is_empty() {
                timing.t4
            } else {
                timing.patience()
            };
            state.strip();
            state.deadline = Some(now + late);
            state.owes_cleared = !state.forks.iter().all(Fork::is_over);
            let owes = state.owes_cleared;
            self.arm_call(call);
            if owes {
                return;
            }
        } else {
            self.calls.remove(&call.0);
        }
        self.tell(Event::Cleared { call });
    }
}

impl Served {
    fn is_accepted_invite(&self) -> bool {
        self.method == Method::Invite && self.answer.starts_with(b"SIP/2.0 2")
    }
}

fn branch_of(request: &Message) -> &str {
    request.via().and_then(|via| via.branch()).unwrap_or("")
}

/// A key in an INFO: `application/dtmf-relay` with `Signal=5` and `Duration=160`, or `application/dtmf` with the key
/// alone.
fn key_of(request: &Message) -> Option<(char, Option<Duration>)> {
    let kind = request
        .header(HeaderName::ContentType)?
        .split(';')
        .next()?
        .trim()
        .to_ascii_lowercase();
    let text = std::str::from_utf8(request.body()).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    match kind.as_str() {
        "application/dtmf-relay" => {
            let held = field("Duration").and_then(|ms| ms.parse::<u16>().ok());
            Some((
                key(field("Signal")?)?,
                held.map(|ms| Duration::from_millis(ms.into())),
            ))
        }
        "application/dtmf" => Some((key(text.trim())?, None)),
        _ => None,
    }
}

fn key(text: &str) -> Option<char> {
    match text {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut chars = text.chars();
            let key = chars.next()?.to_ascii_uppercase();
            (chars.next().is_none() && matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'))
                .then_some(key)
        }
    }
}
