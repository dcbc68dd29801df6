//! From an order, or what is left of it, to an INVITE: whom to ask next, audio for it, and what it says.

use std::{net::SocketAddr, time::Duration};

use super::{Moment, Trunk, TrunkOutput, calls::Active, targets::Target, way::Way};
use crate::{
    carrier::{
        AttemptEvent, CallOrder,
        sip::{
            address,
            call_script::Prompt,
            cause,
            media::{MediaPort, OpenError},
            redirect::RedirectStep,
        },
    },
    cause::{Cause, Failure},
    challenge::AttemptKey,
    config::carrier::Codec as Named,
    protocol::{
        rtp::Codec,
        sip::{End, Invite, Limits, sdp},
    },
};

/// What has asked for audio.
pub(super) enum Opening {
    /// An order, to be placed as a call.
    Call(Box<Placing>),
    /// Whether there is any.
    Look,
    /// An order that was hung up meanwhile.
    Nobody,
}

/// An order on its way to its next target.
pub(super) struct Placing {
    order: Box<CallOrder>,
    ask: Prompt,
    way: Way,
    step: Option<RedirectStep>,
    target: Target,
}

impl Opening {
    fn is_of(&self, key: AttemptKey) -> bool {
        matches!(self, Opening::Call(placing) if placing.order.key == key)
    }
}

impl Trunk {
    /// Calls over the next target, or where a redirection leads, once it has audio.
    pub(super) fn place(&mut self, order: Box<CallOrder>, ask: Prompt, mut way: Way) {
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
        let placing = Placing {
            order,
            ask,
            way,
            step,
            target,
        };
        self.opening.push_back(Opening::Call(Box::new(placing)));
        self.out.push_back(TrunkOutput::OpenMedia);
    }

    /// There is audio, or none, for what has asked first.
    pub(super) fn media_opened(&mut self, now: Moment, opened: Result<MediaPort, OpenError>) {
        let placing = match self.opening.pop_front() {
            Some(Opening::Call(placing)) => placing,
            Some(Opening::Look) => {
                self.looked(now.at, opened.is_ok());
                return self.give_back(opened);
            }
            Some(Opening::Nobody) | None => return self.give_back(opened),
        };
        match opened {
            Ok(media) => self.placed(now, *placing, media),
            Err(error) => {
                self.muted(now.at, error);
                self.unplaced(placing.way, placing.order.key, cause::no_media());
            }
        }
    }

    fn give_back(&mut self, opened: Result<MediaPort, OpenError>) {
        if let Ok(media) = opened {
            self.out.push_back(TrunkOutput::CloseMedia(media.id, None));
        }
    }

    /// The INVITE is written.
    fn placed(&mut self, now: Moment, placing: Placing, media: MediaPort) {
        let Placing {
            order,
            ask,
            mut way,
            step,
            target,
        } = placing;
        let key = order.key;
        let placed = self
            .invite_for(now, &order, &target, media, step.as_ref())
            .and_then(|invite| self.endpoint.invite(now.at, invite).ok());
        let Some(call) = placed else {
            self.give_back(Ok(media));
            return self.unplaced(way, key, cause::unfit());
        };
        way.tried.push(target.address);
        way.last = Some(target);
        self.by_key.insert(key, call);
        self.by_media.insert(media.id, call);
        let reference = self.endpoint.call_id(call).unwrap_or_default().into();
        let active = Active::new(order, ask, media, reference, way);
        self.calls.insert(call, active);
    }

    /// It becomes no call. One that it was before may be over already, and was not told as cleared since it went on.
    fn unplaced(&mut self, way: Way, key: AttemptKey, failure: Failure) {
        self.fail_as(way.carrier.clone(), key, failure);
        let went_on = !way.tried.is_empty();
        if went_on && !self.calls.values().any(|active| active.key == key) {
            self.tell_as(way.carrier, key, AttemptEvent::CallCleared);
        }
    }

    /// It waits for audio.
    pub(super) fn is_opening(&self, key: AttemptKey) -> bool {
        self.opening.iter().any(|opening| opening.is_of(key))
    }

    /// Hangs up an order that waits for audio. False if it is none of those.
    pub(super) fn hang_up_opening(&mut self, key: AttemptKey) -> bool {
        let opening = self.opening.iter_mut().find(|o| o.is_of(key));
        let Some(opening) = opening else {
            return false;
        };
        if let Opening::Call(placing) = std::mem::replace(opening, Opening::Nobody) {
            let failure = cause::failure(&End::Cancelled, &self.config.status);
            self.unplaced(placing.way, key, failure);
        }
        true
    }

    fn invite_for(
        &mut self,
        now: Moment,
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
                ring: self.sip.ring.min(now.time_left(order.deadline)),
                // The talk has its own cap; this one catches what it can't.
                call: self.sip.call + CAP_MARGIN,
            },
        })
    }
}

/// What the SIP machine's own cap leaves the talk to end by itself.
pub(super) const CAP_MARGIN: Duration = Duration::from_secs(10);
