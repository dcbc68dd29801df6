//! How calls end from our side: CANCEL before an answer, BYE after it, and what runs out of time (RFC 3261 9, 15).

use std::net::SocketAddr;
use std::time::Instant;

use super::call::{Held, Phase};
use super::pending_key;
use super::write;
use super::{CallHandle, End, Endpoint, Event, Machine, Owner, Pending, Transport};
use crate::protocol::sip::codec::{Message, Method};
use crate::protocol::sip::transaction::Act;

impl Endpoint {
    /// Ends a call whatever its state: CANCEL before an answer (once a provisional was heard), BYE after it.
    pub fn hangup(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get(&call.0) else {
            return;
        };
        match state.phase {
            Phase::Calling | Phase::Proceeding => self.give_up(now, call, End::Cancelled),
            Phase::Up => {
                self.bye(now, call);
                self.end(call, End::OurBye);
            }
            // Its answer could not be recorded: it is ended all the same.
            Phase::Closing if state.holds_ack() => self.release(now, call),
            Phase::Abandoned | Phase::Cancelling | Phase::Closing | Phase::Over => {}
        }
    }

    /// The peer hangs up a call whose answer is not known here: it was lost, or an earlier life took it and died before
    /// that was recorded. Should the answer come again, it finds the call given up. False if it is no such call.
    pub(super) fn hung_up_unheard(
        &mut self,
        now: Instant,
        call: CallHandle,
        from: SocketAddr,
        request: &Message,
    ) -> bool {
        let tag = request.to_tag().map(|tag| format!(";tag={tag}"));
        let is_it = self.calls.get(&call.0).is_some_and(|state| {
            request.method() == Some(Method::Bye)
                && state.dialog.is_none()
                && tag.is_some_and(|tag| state.from.ends_with(&tag))
        });
        if is_it && !self.is_peer_of(call, from) {
            self.foreign(from);
            return false;
        }
        if is_it {
            self.give_up(now, call, End::PeerBye);
        }
        is_it
    }

    /// The connection to a peer could not be made: nothing of what was sent over it has arrived.
    pub fn unreachable(&mut self, now: Instant, to: SocketAddr, transport: Transport) {
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.to == to && pending.transport == transport)
            .map(|(key, _)| *key)
            .collect();
        for key in lost {
            let Some(pending) = self.pending.remove(&key) else {
                continue;
            };
            match pending.owner {
                Owner::Invite(call) => {
                    self.end(call, End::Unreachable);
                    self.clear(now, call);
                }
                owner => self.unanswered(now, owner),
            }
        }
    }

    /// Ends a call that is not answered: CANCEL now, or with the first provisional.
    pub(super) fn give_up(&mut self, now: Instant, call: CallHandle, end: End) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        state.deadline = None;
        if matches!(state.held, Some(Held::Invite(_))) {
            // Nothing waits at the peer: the first INVITE has not left, or an earlier one is answered.
            let end = if end == End::Cancelled {
                end
            } else {
                End::Unsent
            };
            self.end(call, end);
            return self.clear(now, call);
        }
        match state.phase {
            Phase::Calling => {
                state.phase = Phase::Abandoned;
                let branch = state.branch;
                let pending = self.pending.get_mut(&branch).map(|p| &mut p.machine);
                if let (End::Silent, Some(Machine::Invite(machine))) = (&end, pending) {
                    machine.stop_resending();
                }
            }
            Phase::Proceeding => self.cancel(now, call),
            Phase::Abandoned | Phase::Cancelling | Phase::Up | Phase::Closing | Phase::Over => {}
        }
        self.end(call, end);
    }

    pub(super) fn cancel(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        state.phase = Phase::Cancelling;
        let branch = state.branch;
        let Some(pending) = self.pending.get_mut(&branch) else {
            return;
        };
        let Machine::Invite(machine) = &mut pending.machine else {
            return;
        };
        machine.end_by(now + self.config.timing.patience());
        let (to, transport) = (pending.to, pending.transport);
        if let Ok(invite) = Message::parse(&pending.bytes) {
            let bytes = write::cancel(&invite);
            let cancel = Pending::other(Owner::Cancel(call), bytes, (to, transport));
            self.send_other(now, pending_key(branch, true), cancel);
        }
        self.arm_pending(branch);
    }

    /// Ends an answered call; one whose answer is not yet recorded as soon as it is.
    pub(super) fn bye(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let Some(dialog) = &state.dialog else {
            return;
        };
        let to = dialog.next_hop((state.invite.to, state.invite.transport));
        state.phase = Phase::Closing;
        state.deadline = None;
        if state.holds_ack() {
            state.held = Some(Held::AckAndBye);
            // By then the far end has given up as well.
            state.deadline = Some(now + self.config.timing.patience());
            return self.arm_call(call);
        }
        let branch = self.tokens.draw();
        self.send_in_dialog(now, call, ("BYE", Owner::Bye(call)), (branch, to));
    }

    /// A request within a call's dialog, with the next CSeq and what its realms have asked for (RFC 3261 12.2.1.1, 22.2).
    pub(super) fn send_in_dialog(
        &mut self,
        now: Instant,
        call: CallHandle,
        (method, owner): (&'static str, Owner),
        (branch, to): (u64, (SocketAddr, Transport)),
    ) {
        let dialog = |endpoint: &mut Endpoint| endpoint.calls.get_mut(&call.0)?.dialog.take();
        let Some(mut dialog) = dialog(self) else {
            return;
        };
        dialog.cseq = dialog.cseq.saturating_add(1);
        let uri = dialog.request_route().0;
        let answers = self.authorize(method, &uri);
        let sequence = (dialog.cseq, branch, to.1);
        let bytes = write::in_dialog(&self.config, method, &dialog, sequence, &answers);
        if let Some(state) = self.calls.get_mut(&call.0) {
            state.dialog = Some(dialog);
        }
        self.send_other(
            now,
            branch,
            Pending::other(owner, bytes, to).with(answers, 0),
        );
    }

    pub(super) fn pending_timeout(&mut self, now: Instant, at: Instant, key: u64) {
        let Some(pending) = self.pending.get_mut(&key) else {
            return;
        };
        if pending.woken_at == Some(at) {
            pending.woken_at = None;
        }
        let act = match &mut pending.machine {
            Machine::Invite(machine) => machine.timeout(now),
            Machine::Other(machine) => machine.timeout(now),
            Machine::Ready => Act::Nothing,
        };
        match act {
            Act::Resend => {
                let (to, transport, bytes) = (pending.to, pending.transport, pending.bytes.clone());
                self.transmit(to, transport, bytes);
            }
            Act::TimedOut => {
                let owner = pending.owner;
                self.pending.remove(&key);
                self.unanswered(now, owner);
            }
            Act::Over => {
                self.pending.remove(&key);
            }
            Act::Nothing | Act::Deliver | Act::DeliverAndAck | Act::AckAgain => {}
        }
        self.arm_pending(key);
    }

    fn unanswered(&mut self, now: Instant, owner: Owner) {
        match owner {
            Owner::Invite(call) => {
                self.end(call, End::Silent);
                self.clear(now, call);
            }
            Owner::Bye(call) => self.clear(now, call),
            Owner::Alive(call) => self.alive_answered(now, call, None),
            Owner::Probe(probe) => self.tell(Event::Probed {
                probe,
                status: None,
            }),
            Owner::ForkBye(call, tag) => self.fork_over(call, tag),
            Owner::Cancel(_) => {}
        }
    }
}
