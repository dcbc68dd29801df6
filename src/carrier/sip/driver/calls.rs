//! The calls of a trunk: from an order to its last word to dispatch.
//!
//! Translates between three machines that know nothing of each other: SIP, audio, talk. Every attempt is settled
//! exactly once, by `CallEnded` if it was answered and by `Failed` if not.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Trunk, call_scripts::script, targets::Target, way::Way};
use crate::{
    carrier::{
        self, AttemptEvent, CallMark, CallOrder, CallState, CarrierEvent, CarrierMessage,
        sip::{
            address,
            call_script::{CallScript, Input, Prompt},
            cause,
            media::{Connection, MediaPort},
            redirect::RedirectStep,
        },
    },
    cause::{Cause, Failure},
    challenge::{AttemptKey, Millis},
    clock,
    config::carrier::Codec as Named,
    protocol::{
        rtp::Codec,
        sip::{CallHandle, End, Event as Sip, Invite, Limits, Resume, sdp},
    },
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

impl Trunk {
    pub(super) fn submit(&mut self, order: Box<CallOrder>) {
        let key = order.key;
        let ask = Prompt::of(&order.content);
        let refusal = if self.draining.is_some() {
            Some(Cause::Throttled.failure(None))
        } else if time_left(order.deadline).is_zero() {
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

    /// Calls over the next target, or where a redirection leads.
    fn place(&mut self, order: Box<CallOrder>, ask: Prompt, mut way: Way) {
        let key = order.key;
        let (step, target) = match way.next_step() {
            Some((step, target)) => (Some(step), target),
            None => match self.targets.choose(&way.tried) {
                Some(target) => (None, target.clone()),
                None => {
                    return self.fail_as(way.carrier, key, Cause::CarrierFault.failure(None));
                }
            },
        };
        let media = match self.media.open() {
            Ok(media) => media,
            Err(error) => {
                self.muted(Instant::now(), &error);
                return self.fail_as(way.carrier, key, cause::no_media());
            }
        };
        self.read_credentials();
        let placed = self
            .invite_for(&order, &target, media, step.as_ref())
            .and_then(|invite| self.endpoint.invite(Instant::now(), invite).ok());
        let Some(call) = placed else {
            self.media.close(media.id);
            return self.fail_as(way.carrier, key, cause::unfit());
        };
        way.tried.push(target.address);
        way.last = Some(target);
        self.by_key.insert(key, call);
        self.by_media.insert(media.id, call);
        let active = Active {
            key,
            order,
            ask,
            media,
            reference: self.endpoint.call_id(call).unwrap_or_default().into(),
            way,
            talk: None,
            woken_at: None,
            accepted: false,
            ringing: false,
            end: None,
            settled: false,
        };
        self.calls.insert(call, active);
    }

    fn invite_for(
        &mut self,
        order: &CallOrder,
        target: &Target,
        media: MediaPort,
        step: Option<&RedirectStep>,
    ) -> Option<Invite> {
        let peer = self.endpoints.get(target.endpoint)?;
        let (from, headers) = address::caller(&order.sender, &self.sip, &self.own_host)?;
        self.session = self.session.wrapping_add(1);
        let codecs = self.sip.codecs.iter().map(|codec| match codec {
            Named::Pcmu => Codec::Pcmu,
            Named::Pcma => Codec::Pcma,
        });
        Some(Invite {
            to: target.address,
            transport: target.transport,
            uri: match step {
                Some(RedirectStep {
                    to,
                    place: Some((host, _)),
                }) => address::callee_at(to, &self.sip, peer, host),
                Some(RedirectStep { to, place: None }) => address::callee(to, &self.sip, peer),
                None => address::callee(&order.to, &self.sip, peer),
            },
            from,
            headers,
            media: sdp::Local {
                address: SocketAddr::new(self.media_address, media.local.port()),
                codecs: codecs.collect(),
                session: self.session,
            },
            limits: Limits {
                first_answer: self.config.response_timeout,
                ring: self.sip.ring.min(time_left(order.deadline)),
                // The talk has its own cap; this one catches what it can't.
                call: self.sip.call + CAP_MARGIN,
            },
        })
    }

    pub(super) fn hang_up(&mut self, key: AttemptKey) {
        let now = Instant::now();
        let Some(call) = self.by_key.get(&key).copied() else {
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

    pub(super) fn hang_up_all(&mut self, now: Instant) {
        let live: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, a)| a.end.is_none())
            .map(|(_, a)| a.key)
            .collect();
        live.into_iter().for_each(|key| self.hang_up(key));
        let talking: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, a)| a.end.is_none())
            .map(|(call, _)| *call)
            .collect();
        talking
            .into_iter()
            .for_each(|call| self.endpoint.hangup(now, call));
    }

    pub(super) fn end_orphan(&mut self, state: &CallState) {
        match serde_json::from_str::<Resume>(&state.0) {
            Ok(resume) => {
                tracing::info!(carrier = %self.config.name, call = %resume.call_id(), "ending a call of an earlier run");
                self.endpoint.end_orphan(Instant::now(), resume);
            }
            Err(_) => {
                tracing::warn!(carrier = %self.config.name, "the state of an earlier call can't be read")
            }
        }
    }

    /// The SIP machine speaks.
    pub(super) fn said(&mut self, event: Sip) {
        let now = Instant::now();
        match event {
            Sip::Progress {
                call,
                status,
                early: _,
            } => self.progress(call, status),
            Sip::Answered { call, remote } => self.answered(now, call, &remote),
            Sip::Key { call, key, held: _ } => self.info_key(now, call, key),
            Sip::Media { call, remote } => self.connect(now, call, &remote),
            Sip::Resume { call, resume } => self.remember(now, call, &resume),
            Sip::Ended { call, end } => self.ended(now, call, end),
            Sip::Cleared { call } => self.cleared(call),
            Sip::Probed { probe, status } => self.probed(probe, status),
            Sip::Foreign { from } => self.foreign(from),
            Sip::Malformed { fault, taken } => self.malformed(fault, taken),
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

    fn answered(&mut self, now: Instant, call: CallHandle, remote: &sdp::Remote) {
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
            now,
        );
        active.talk = Some(CallScript::new(script));
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
        self.media.connect(active.media.id, to);
        let heard = if remote.hears {
            Input::Unheld
        } else {
            Input::Held
        };
        self.talk(now, call, heard);
    }

    fn remember(&mut self, now: Instant, call: CallHandle, resume: &Resume) {
        let Some(key) = self
            .calls
            .get(&call)
            .filter(|active| !active.settled)
            .map(|active| active.key)
        else {
            return self.endpoint.recorded(now, call);
        };
        match serde_json::to_string(resume) {
            Ok(text) => {
                let mark = CallMark(call.to_bits());
                self.tell(key, AttemptEvent::CallState(CallState(text.into()), mark));
            }
            Err(error) => tracing::error!(carrier = %self.config.name, %error, "call state"),
        }
    }

    fn ended(&mut self, now: Instant, call: CallHandle, end: End) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        active.end = Some(end.clone());
        let heard = self.media.close(active.media.id);
        self.by_media.remove(&active.media.id);
        if heard.is_some_and(|audio| audio.received == 0 && audio.sent >= DEAF_AFTER) {
            tracing::warn!(carrier = %self.config.name, call = %active.reference,
                "no audio came from the address that the far end has signalled: keys can't be heard; does a firewall or NAT keep it from rtp.ports?");
        }
        if active.talk.is_some() {
            let input = if matches!(end, End::OurBye | End::Capped) {
                Input::Cancel
            } else {
                Input::RemoteHangUp
            };
            return self.talk(now, call, input);
        }
        let key = active.key;
        if cause::fails_over(&end)
            && self.targets.choose(&active.way.tried).is_some()
            && self.draining.is_none()
        {
            return self.go_on(call, key);
        }
        if let End::Redirected {
            status, contacts, ..
        } = &end
        {
            return match self.redirect(call, *status, contacts) {
                Ok(()) => self.go_on(call, key),
                Err(why) => {
                    let mut failure = cause::failure(&end, &self.config.status.clone());
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
        self.settle_failed(call, cause::failure(&end, &self.config.status.clone()));
    }

    /// The order goes on as another call: to another endpoint, or where a redirection leads.
    fn go_on(&mut self, call: CallHandle, key: AttemptKey) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        active.settled = true;
        let (order, ask, way) = (active.order.clone(), active.ask.clone(), active.way.clone());
        self.by_key.remove(&key);
        if time_left(order.deadline).is_zero() {
            return self.fail_as(way.carrier, key, Cause::CarrierFault.failure(None));
        }
        self.place(order, ask, way);
    }

    /// Nothing is left at the peer.
    fn cleared(&mut self, call: CallHandle) {
        let Some(active) = self.calls.get(&call) else {
            return;
        };
        if !active.settled {
            let end = active.end.clone().unwrap_or(End::Vanished);
            self.settle_failed(call, cause::failure(&end, &self.config.status.clone()));
        }
        if let Some(active) = self.calls.remove(&call) {
            self.media.close(active.media.id);
            self.by_media.remove(&active.media.id);
            // Else the attempt has gone on to another endpoint.
            if self
                .by_key
                .get(&active.key)
                .is_none_or(|current| *current == call)
            {
                self.by_key.remove(&active.key);
                self.tell_as(active.way.carrier, active.key, AttemptEvent::CallCleared);
            }
        }
    }

    fn settle_failed(&mut self, call: CallHandle, failure: Failure) {
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        if !std::mem::replace(&mut active.settled, true) {
            let key = active.key;
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

    fn fail_as(&mut self, carrier: Arc<str>, key: AttemptKey, failure: Failure) {
        self.tell_as(carrier, key, AttemptEvent::Failed(failure));
    }

    fn tell_as(&mut self, carrier: Arc<str>, key: AttemptKey, event: carrier::AttemptEvent) {
        let what = CarrierEvent::Attempt(key, event);
        self.outbox.push_back(CarrierMessage { carrier, what });
    }
}

pub(super) fn time_left(deadline: Millis) -> Duration {
    deadline.since(clock::now()).min(LONGEST_LIFE)
}

/// Packets sent in an answered call after which it is odd that none has come: two seconds of them.
const DEAF_AFTER: u64 = 100;
/// What the SIP machine's own cap leaves the talk to end by itself.
pub(super) const CAP_MARGIN: Duration = Duration::from_secs(10);
/// Longer than any challenge lives: keeps sums of instants in range.
const LONGEST_LIFE: Duration = Duration::from_secs(3_600);
