//! What a trunk's machine wants done, and what of it breaks a promise.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Calls, FarEnd, LONGEST, OVER, audio, messages,
    network::{self, FORGER},
};
use crate::{
    carrier::{
        AttemptEvent, CarrierEvent, CarrierMessage, Finish,
        sip::{
            media::{MediaEvent, MediaId, OpenError},
            trunk::{Trunk, TrunkInput, TrunkOutput},
        },
    },
    config::carrier::{CarrierConfig, SipConfig},
    protocol::{
        rtp::{Key, KeySource},
        sip::Transport,
    },
    rehearse::{
        stage::{Effect, Stage},
        steps::CallStep,
    },
};

/// The least that a clock moves on.
const TICK: Duration = Duration::from_micros(1);

impl Calls {
    /// Its file says this now; its targets are the same.
    pub fn become_another(
        &mut self,
        config: &Arc<CarrierConfig>,
        sip: &SipConfig,
        stage: &mut Stage<'_>,
    ) {
        (self.config, self.sip) = (config.clone(), sip.clone());
        self.change(config.clone(), false, stage);
    }

    /// A trunk that was leaving has the carrier's address still: it stays.
    pub fn is_taken_up_again(&mut self, stage: &mut Stage<'_>) -> bool {
        let is_there = self.trunk.is_some();
        self.change(self.config.clone(), true, stage);
        is_there
    }

    /// Nobody hears it any more: it finds out once it has something to say.
    pub fn unheard(&mut self) {
        self.is_heard = false;
    }

    pub fn has_ended(&self, now: Instant) -> bool {
        let trunk = self.trunk.as_ref();
        trunk.is_none_or(|trunk| trunk.is_finished(now, false))
    }

    pub fn finish(&mut self, finish: Finish, stage: &mut Stage<'_>) {
        self.input(TrunkInput::Finish(finish), stage);
    }

    /// Does what the machine wants done.
    pub(super) fn carry_out(&mut self, stage: &mut Stage<'_>) {
        while let Some(output) = self.trunk.as_mut().and_then(Trunk::poll_output) {
            self.output(output, stage);
        }
        let now = self.moment(stage).at;
        if self.has_ended(now) && self.trunk.take().is_some() {
            self.far_ends.iter_mut().for_each(FarEnd::crashed);
            stage.effects.push(Effect::Ended(self.driver));
        }
        let settled = self.trunk.as_ref().is_none_or(Trunk::is_settled);
        self.quiet_since = settled.then(|| self.quiet_since.unwrap_or(now));
        let next = self.trunk.as_ref().and_then(|t| t.next_deadline(now));
        if let Some(next) = next
            && self.timer.is_none_or(|timer| next < timer)
        {
            self.timer = Some(next);
            // Never at this very moment: a clock moves on, and what is over only after its moment would never be.
            let after = next.saturating_duration_since(now).max(TICK);
            stage.later(after, CallStep::Timer);
        }
    }

    fn output(&mut self, output: TrunkOutput, stage: &mut Stage<'_>) {
        match output {
            TrunkOutput::Transmit { to, bytes, .. } => self.transmit(to, &bytes, stage),
            TrunkOutput::Event(message) => self.said(message, stage),
            TrunkOutput::Slots(slots) => self.slots.set(slots),
            TrunkOutput::OpenMedia => {
                let opened = if stage.dice.chance(stage.profile.no_audio) {
                    stage.effects.push(Effect::Fault("no audio for a call"));
                    Err(OpenError::Full { max_calls: 0 })
                } else {
                    Ok(self.audio.open())
                };
                let now = self.moment(stage);
                if let Some(trunk) = &mut self.trunk {
                    trunk.handle(now, TrunkInput::MediaOpened(opened));
                }
            }
            TrunkOutput::Connect(media, to) => {
                if self.audio.connect(media, to.hears) {
                    stage.later(audio::SILENCE, CallStep::Silence(media));
                }
            }
            TrunkOutput::Play {
                media,
                tag,
                segments,
            } => {
                if let Some(lasts) = self.audio.play(media, tag, &segments, &self.voices) {
                    stage.later(lasts, CallStep::Played(media, tag));
                }
            }
            TrunkOutput::InfoKey(media, key) => {
                let event = self.key(media, key, KeySource::Info, stage);
                let now = self.moment(stage);
                if let (Some(event), Some(trunk)) = (event, &mut self.trunk) {
                    trunk.handle(now, TrunkInput::Media(event));
                }
            }
            TrunkOutput::CloseMedia(media, _) => self.audio.close(media),
            TrunkOutput::Resolve(_) | TrunkOutput::MediaBounds(..) | TrunkOutput::Notice(_) => {}
        }
    }

    pub(super) fn key(
        &self,
        id: MediaId,
        key: Key,
        source: KeySource,
        stage: &Stage<'_>,
    ) -> Option<MediaEvent> {
        let at = self.moment(stage).at;
        self.audio.is_connected(id).then_some(MediaEvent::Key {
            id,
            key,
            source,
            at,
        })
    }

    fn said(&mut self, message: CarrierMessage, stage: &mut Stage<'_>) {
        if !self.is_heard {
            // As the driver does it: what it has said meanwhile is dropped.
            let now = self.moment(stage);
            if let Some(trunk) = &mut self.trunk {
                trunk.handle(now, TrunkInput::Unheard);
                trunk.handle(now, TrunkInput::Finish(Finish::End));
            }
            return;
        }
        if let CarrierEvent::Attempt(key, event) = &message.what {
            match event {
                AttemptEvent::CallState(_, mark) => {
                    self.marks.insert(mark.0, *key);
                }
                AttemptEvent::CallEnded(_) | AttemptEvent::Failed(_) => {
                    if let Some(order) = self.orders.get_mut(key) {
                        order.settled = true;
                    }
                    stage.later(OVER, CallStep::Over(*key));
                }
                _ => {}
            }
        }
        stage.say(message.what);
    }

    /// A datagram of the trunk's leaves.
    fn transmit(&mut self, to: SocketAddr, bytes: &[u8], stage: &mut Stage<'_>) {
        if bytes.starts_with(b"INVITE ") {
            self.invite_leaves(bytes, stage);
        }
        self.seen("sends", bytes, stage);
        let Some(at) = self.far_ends.iter().position(|far| far.address == to) else {
            return;
        };
        let now = self.moment(stage).at;
        for after in self.network.ways(now, stage) {
            let step = CallStep::ToFarEnd(at, bytes.to_vec());
            stage.later(after, step);
        }
    }

    /// A line of the trace: what the trunk sends or receives, and of which attempt's call.
    fn seen(&self, verb: &str, bytes: &[u8], stage: &mut Stage<'_>) {
        let (name, what) = (&self.config.name, messages::first_line(bytes));
        let key = messages::call_id(bytes).and_then(|call| self.invited.get(call));
        let of = key.map_or_else(String::new, |key| {
            format!(" of {:x}/{}", key.challenge.0, key.attempt)
        });
        let line = format!("{name} {verb} {what}{of}");
        stage.effects.push(Effect::Seen(line));
    }

    /// For the first time, or again: only what is recorded may leave, and nothing after its deadline.
    fn invite_leaves(&mut self, bytes: &[u8], stage: &mut Stage<'_>) {
        let Some(call): Option<Arc<str>> = messages::call_id(bytes).map(Into::into) else {
            return stage
                .effects
                .push(Effect::Broken("an INVITE without a Call-ID".into()));
        };
        let Some(key) = self.recorded else {
            if !self.invited.contains_key(&call) {
                let what = "an INVITE leaves before its call is recorded".to_owned();
                stage.effects.push(Effect::Broken(what));
            }
            return;
        };
        let new = self.invited.insert(call.clone(), key).is_none();
        let Some(order) = self.orders.get_mut(&key) else {
            return;
        };
        if stage.wall >= order.deadline {
            let what = format!(
                "attempt {}: an INVITE leaves after the deadline",
                key.attempt
            );
            stage.effects.push(Effect::Broken(what));
        }
        if !std::mem::replace(&mut order.invited, true) {
            stage.effects.push(Effect::Invited(key));
        }
        if new {
            self.unheard.insert(call.clone());
            self.audio
                .belongs_to(messages::audio_port(bytes), key, &call);
            stage.later(LONGEST, CallStep::Longest(call));
        }
    }

    /// A datagram reaches the trunk, and perhaps a forged one just before it.
    pub(super) fn reaches_trunk(&mut self, from: SocketAddr, bytes: &[u8], stage: &mut Stage<'_>) {
        self.network.arrived();
        let now = self.moment(stage);
        if self.trunk.is_none() || !self.network.holds(now.at, Duration::ZERO) {
            return;
        }
        if stage.dice.chance(stage.profile.datagrams_forged) {
            let forged = network::forge(bytes, stage.dice);
            stage.effects.push(Effect::Fault("datagram forged"));
            self.forged(&forged, stage);
        }
        self.seen("receives", bytes, stage);
        if !messages::asks_for_credentials(bytes)
            && let Some(call) = messages::call_id(bytes)
        {
            self.unheard.remove(call);
        }
        self.out_of_reach.received(bytes);
        let received = TrunkInput::Received {
            from,
            transport: Transport::Udp,
            octets: bytes,
        };
        self.input(received, stage);
    }

    /// It may be answered, and told to the operator, and nothing else comes of it.
    fn forged(&mut self, bytes: &[u8], stage: &mut Stage<'_>) {
        let now = self.moment(stage);
        let Some(trunk) = &mut self.trunk else {
            return;
        };
        let before = (trunk.next_deadline(now.at), trunk.is_settled());
        let received = TrunkInput::Received {
            from: FORGER,
            transport: Transport::Udp,
            octets: bytes,
        };
        trunk.handle(now, received);
        let mut changed = before != (trunk.next_deadline(now.at), trunk.is_settled());
        while let Some(output) = trunk.poll_output() {
            changed |= match output {
                TrunkOutput::Transmit { to, .. } => to != FORGER,
                TrunkOutput::Notice(_) => false,
                _ => true,
            };
        }
        if changed {
            let line = messages::first_line(bytes);
            let what = format!("a forged datagram ({line}) changes something");
            stage.effects.push(Effect::Broken(what));
        }
    }
}
