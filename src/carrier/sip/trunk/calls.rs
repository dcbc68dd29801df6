//! The calls of a trunk: from an order to its last word to dispatch.
//!
//! Translates between three machines that know nothing of each other: SIP, audio, talk. Every attempt is settled
//! exactly once, by `CallEnded` if it was answered and by `Failed` if not.

use std::{sync::Arc, time::Instant};

use super::{Moment, Notice, Trunk, TrunkOutput, call_scripts::script, way::Way};
use crate::{
    carrier::{
        self, AttemptEvent, CallMark, CallOrder, CallState, CallToEnd, CarrierEvent,
        CarrierMessage,
        sip::{
            call_script::{CallScript, Input, Prompt},
            cause,
            media::{Connection, MediaPort},
        },
    },
    cause::{Cause, Failure},
    challenge::AttemptKey,
    protocol::sip::{CallHandle, End, Event as Sip, Resume, sdp},
};

/// A call that has not been cleared.
pub(super) struct Active {
    pub(super) key: AttemptKey,
    pub(super) order: Box<CallOrder>,
    ask: Prompt,
    pub(super) media: MediaPort,
    /// The Call-ID.
    pub(super) reference: Arc<str>,
    pub(super) way: Way,
    pub(super) talk: Option<CallScript>,
    /// The talk's wake-up that counts.
    pub(super) woken_at: Option<Instant>,
    accepted: bool,
    ringing: bool,
    /// How it ended, once it did.
    end: Option<End>,
    /// The attempt is settled.
    pub(super) settled: bool,
}

impl Active {
    pub(super) fn new(
        order: Box<CallOrder>,
        ask: Prompt,
        media: MediaPort,
        reference: Arc<str>,
        way: Way,
    ) -> Active {
        Active {
            key: order.key,
            order,
            ask,
            media,
            reference,
            way,
            talk: None,
            woken_at: None,
            accepted: false,
            ringing: false,
            end: None,
            settled: false,
        }
    }
}

impl Trunk {
    pub(super) fn submit(&mut self, now: Moment, order: Box<CallOrder>) {
        let key = order.key;
        let ask = Prompt::of(&order.content);
        let refusal = if self.draining.is_some() {
            Some(Cause::Throttled.failure(None))
        } else if now.time_left(order.deadline).is_zero() {
            Some(Cause::Expired.failure(None))
        } else {
            None
        };
        match (ask, refusal) {
            (Some(ask), None) => {
                let way = Way {
                    carrier: self.config.name.clone(),
                    ..Way::default()
                };
                self.place(order, ask, way);
            }
            (None, None) => self.fail(key, cause::unfit()),
            (_, Some(failure)) => self.fail(key, failure),
        }
    }

    pub(super) fn hang_up(&mut self, now: Instant, key: AttemptKey) {
        if self.hang_up_opening(key) {
            return;
        }
        let current = self.by_key.get(&key).copied();
        for other in self.all_of(key) {
            if current != Some(other) {
                self.endpoint.hangup(now, other);
            }
        }
        let Some(call) = current else {
            return;
        };
        match self
            .calls
            .get_mut(&call)
            .and_then(|active| active.talk.as_mut())
        {
            Some(talk) => {
                talk.handle(now, Input::Cancel);
                self.talk_said(now, call);
            }
            None => self.endpoint.hangup(now, call),
        }
    }

    /// Whatever still talks: by its script, and else at once.
    pub(super) fn hang_up_all(&mut self, now: Instant) {
        for call in self.unended() {
            let key = self.calls.get(&call).map(|active| active.key);
            key.into_iter().for_each(|key| self.hang_up(now, key));
        }
        for call in self.unended() {
            self.endpoint.hangup(now, call);
        }
    }

    /// In an order that does not depend on chance.
    fn unended(&self) -> Vec<CallHandle> {
        let unended = self.calls.iter().filter(|(_, a)| a.end.is_none());
        let mut unended: Vec<_> = unended.map(|(call, _)| *call).collect();
        unended.sort_unstable();
        unended
    }

    pub(super) fn end_unterminated(&mut self, now: Instant, unterminated: &CallToEnd) {
        let Some(calls) = calls_in(&unterminated.state) else {
            self.notice(Notice::UnreadableState);
            return self.unterminated_cleared(unterminated.key);
        };
        for resume in calls {
            self.notice(Notice::EndsUnterminated(resume.call_id().into()));
            let call = self.endpoint.end_unterminated(now, resume);
            self.unterminated.insert(call, unterminated.key);
        }
    }

    /// One of the calls of an earlier life is over, or nobody can end it: what is recorded of it may go with the last.
    fn unterminated_cleared(&mut self, key: AttemptKey) {
        if self.all_of(key).is_empty() {
            self.tell(key, AttemptEvent::CallCleared);
        }
    }

    /// A call of an earlier life is still being ended.
    pub fn ends_unterminated(&self) -> bool {
        !self.unterminated.is_empty()
    }

    /// Nothing is recorded from now on: what waits for it ends.
    pub(super) fn unheard(&mut self, now: Instant) {
        self.heard = false;
        let unterminated = self.unterminated.keys().copied();
        let mut calls: Vec<CallHandle> = self.calls.keys().copied().chain(unterminated).collect();
        calls.sort_unstable();
        for call in calls {
            self.endpoint.not_recorded(now, call);
        }
    }

    /// The SIP machine speaks.
    pub(super) fn said(&mut self, moment: Moment, event: Sip) {
        let now = moment.at;
        match event {
            Sip::Progress {
                call,
                status,
                early: _,
            } => self.progress(call, status),
            Sip::Answered { call, remote } => self.answered(moment, call, &remote),
            Sip::Key { call, key, held: _ } => self.info_key(call, key),
            Sip::Media { call, remote } => self.connect(now, call, &remote),
            Sip::Resume { call, resume } => self.remember(now, call, &resume),
            Sip::Ended { call, end } => self.ended(moment, call, end),
            Sip::Cleared { call } => self.cleared(call),
            Sip::Probed { probe, status } => self.probed(probe, status),
            Sip::Foreign { from } => self.notice(Notice::Foreign(from)),
            Sip::Malformed { fault, taken } => self.notice(Notice::Malformed(fault, taken)),
        }
    }

    fn progress(&mut self, call: CallHandle, status: u16) {
        self.accepted(call);
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        if matches!(status, 180 | 183) && !std::mem::replace(&mut active.ringing, true) {
            let key = active.key;
            self.tell(key, AttemptEvent::Ringing);
        }
    }

    /// The first answer of any kind: the trunk has the call.
    fn accepted(&mut self, call: CallHandle) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        if !std::mem::replace(&mut active.accepted, true) {
            let (key, references) = (active.key, vec![active.reference.clone()]);
            self.tell(key, AttemptEvent::Accepted { references });
        }
    }

    fn answered(&mut self, moment: Moment, call: CallHandle, remote: &sdp::Remote) {
        self.accepted(call);
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        let key = active.key;
        let script = script(
            &self.sip,
            &self.voices,
            &active.order.content,
            active.ask.clone(),
            active.order.deadline,
            moment,
        );
        active.talk = Some(CallScript::new(script));
        let now = moment.at;
        self.tell(key, AttemptEvent::Answered);
        self.connect(now, call, remote);
        self.talk(now, call, Input::Answered);
    }

    /// The audio follows what SDP says, and so does the talk: it waits while nobody hears it.
    fn connect(&mut self, now: Instant, call: CallHandle, remote: &sdp::Remote) {
        let Some(active) = self.calls.get(&call) else {
            return;
        };
        let to = Connection {
            remote: remote.address,
            hears: remote.hears,
            symmetric: self.sip.rtp.symmetric,
            codec: remote.codec,
            key_type: remote.events,
        };
        let media = active.media.id;
        self.out.push_back(TrunkOutput::Connect(media, to));
        let heard = if remote.hears {
            Input::Unheld
        } else {
            Input::Held
        };
        self.talk(now, call, heard);
    }

    fn remember(&mut self, now: Instant, call: CallHandle, resume: &Resume) {
        if !self.heard {
            return self.endpoint.not_recorded(now, call);
        }
        let active = self.calls.get(&call).map(|active| active.key);
        let Some(key) = active.or_else(|| self.unterminated.get(&call).copied()) else {
            return self.endpoint.recorded(now, call);
        };
        let others: Vec<Resume> = self
            .all_of(key)
            .into_iter()
            .filter(|other| *other != call)
            .filter_map(|other| self.endpoint.resume(other))
            .collect();
        let text = match others.is_empty() {
            true => serde_json::to_string(resume),
            false => {
                let all: Vec<&Resume> = [resume].into_iter().chain(&others).collect();
                serde_json::to_string(&all)
            }
        };
        match text {
            Ok(text) => {
                let mark = CallMark(call.to_bits());
                self.tell(key, AttemptEvent::CallState(CallState(text.into()), mark));
            }
            Err(error) => self.notice(Notice::UnwritableState(error)),
        }
    }

    /// This attempt's calls: also those at earlier targets that may still be answered, and of an earlier life.
    fn all_of(&self, key: AttemptKey) -> Vec<CallHandle> {
        let active = self.calls.iter().map(|(call, active)| (*call, active.key));
        let unterminated = self.unterminated.iter().map(|(call, key)| (*call, *key));
        let all = active.chain(unterminated).filter(|(_, of)| *of == key);
        let mut all: Vec<CallHandle> = all.map(|(call, _)| call).collect();
        all.sort_unstable();
        all
    }

    fn ended(&mut self, now: Moment, call: CallHandle, end: End) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        active.end = Some(end.clone());
        let reference = Some(active.reference.clone());
        self.by_media.remove(&active.media.id);
        self.out
            .push_back(TrunkOutput::CloseMedia(active.media.id, reference));
        if active.talk.is_some() {
            let input = if matches!(end, End::OurBye | End::Capped) {
                Input::Cancel
            } else {
                Input::RemoteHangUp
            };
            return self.talk(now.at, call, input);
        }
        let key = active.key;
        if cause::fails_over(&end)
            && self.targets.choose(&active.way.tried).is_some()
            && self.draining.is_none()
        {
            return self.go_on(now, call, key);
        }
        if let End::Redirected {
            status, contacts, ..
        } = &end
        {
            return match self.redirect(call, *status, contacts) {
                Ok(()) => self.go_on(now, call, key),
                Err(why) => {
                    let mut failure = cause::failure(&end, &self.config.status);
                    let code = failure.carrier_code.unwrap_or_default();
                    failure.carrier_code = Some(format!("{code} ({why})").into());
                    self.settle_failed(call, failure);
                }
            };
        }
        // Sent and never answered: in doubt until the transaction is over, when it is a fault of the trunk.
        if end == End::Silent {
            return self.tell(
                key,
                AttemptEvent::InDoubt {
                    cause: Cause::CarrierFault,
                },
            );
        }
        self.settle_failed(call, cause::failure(&end, &self.config.status));
    }

    /// The order goes on as another call: to another endpoint, or where a redirection leads.
    fn go_on(&mut self, now: Moment, call: CallHandle, key: AttemptKey) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        active.settled = true;
        let (order, ask, way) = (active.order.clone(), active.ask.clone(), active.way.clone());
        self.by_key.remove(&key);
        if now.time_left(order.deadline).is_zero() {
            return self.fail_as(way.carrier, key, Cause::CarrierFault.failure(None));
        }
        self.place(order, ask, way);
    }

    /// Nothing is left at the peer.
    fn cleared(&mut self, call: CallHandle) {
        if let Some(key) = self.unterminated.remove(&call) {
            return self.unterminated_cleared(key);
        }
        let Some(active) = self.calls.get(&call) else {
            return;
        };
        if !active.settled {
            let end = active.end.clone().unwrap_or(End::Vanished);
            self.settle_failed(call, cause::failure(&end, &self.config.status));
        }
        if let Some(active) = self.calls.remove(&call) {
            if self.by_media.remove(&active.media.id).is_some() {
                self.out
                    .push_back(TrunkOutput::CloseMedia(active.media.id, None));
            }
            let current = self.by_key.get(&active.key);
            if current.is_some_and(|current| *current == call) {
                self.by_key.remove(&active.key);
            }
            // Else the attempt has gone on to another endpoint, or an earlier one may still answer.
            if self.all_of(active.key).is_empty() && !self.is_opening(active.key) {
                self.tell_as(active.way.carrier, active.key, AttemptEvent::CallCleared);
            }
        }
    }

    fn settle_failed(&mut self, call: CallHandle, mut failure: Failure) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        if !std::mem::replace(&mut active.settled, true) {
            let key = active.key;
            // The attempt tells whereto it was redirected, whatever became of it there.
            if let Some(before) = &active.way.code {
                let last = failure.carrier_code.as_deref();
                let last = last.map_or(String::new(), |last| format!(", then {last}"));
                failure.carrier_code = Some(format!("{before}{last}").into());
            }
            self.fail(key, failure);
        }
    }

    fn fail(&mut self, key: AttemptKey, failure: Failure) {
        self.tell(key, AttemptEvent::Failed(failure));
    }

    /// In the name that the trunk had when the order came.
    pub(super) fn tell(&mut self, key: AttemptKey, event: carrier::AttemptEvent) {
        let active = self.by_key.get(&key).and_then(|call| self.calls.get(call));
        let carrier = active.map_or(&self.config.name, |active| &active.way.carrier);
        self.tell_as(carrier.clone(), key, event);
    }

    pub(super) fn fail_as(&mut self, carrier: Arc<str>, key: AttemptKey, failure: Failure) {
        self.tell_as(carrier, key, AttemptEvent::Failed(failure));
    }

    pub(super) fn tell_as(
        &mut self,
        carrier: Arc<str>,
        key: AttemptKey,
        event: carrier::AttemptEvent,
    ) {
        let what = CarrierEvent::Attempt(key, event);
        let message = CarrierMessage { carrier, what };
        self.out.push_back(TrunkOutput::Event(message));
    }
}

/// The calls of an attempt's state: one, or several where it has gone on to another target and the first may still answer.
/// None: it can't be read.
pub fn calls_in(state: &CallState) -> Option<Vec<Resume>> {
    if state.0.starts_with('[') {
        serde_json::from_str(&state.0).ok()
    } else {
        Some(vec![serde_json::from_str(&state.0).ok()?])
    }
}
