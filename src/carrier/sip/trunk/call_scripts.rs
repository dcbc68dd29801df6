//! The call scripts of answered calls: what is heard goes to the call script, and what it wants is done.

use std::{cmp::Reverse, time::Instant};

use super::{Moment, Trunk, TrunkOutput};
use crate::{
    carrier::{
        AttemptEvent, Call, CallEnd,
        sip::{
            call_script::{CallScript, Input, Prompt, Script, ScriptOutput as Saying},
            media::MediaEvent,
        },
    },
    challenge::Millis,
    config::carrier::SipConfig,
    message::speech::Catalogue,
    protocol::{rtp::Key, sip::CallHandle},
};

impl Trunk {
    /// A key by SIP INFO; the same press may have been heard in the audio too.
    pub(super) fn info_key(&mut self, call: CallHandle, key: char) {
        let (Some(active), Some(key)) = (self.calls.get(&call), Key::from_char(key)) else {
            return;
        };
        let media = active.media.id;
        self.out.push_back(TrunkOutput::InfoKey(media, key));
    }

    /// The audio speaks.
    pub(super) fn heard(&mut self, now: Instant, event: MediaEvent) {
        let (id, input) = match event {
            MediaEvent::Key {
                id,
                key,
                source: _,
                at: _,
            } => (id, Input::Key(key)),
            MediaEvent::PlayDone { id, tag } => (id, Input::PlayDone(tag)),
            MediaEvent::Silent { id } => {
                if let Some(call) = self.by_media.get(&id).copied() {
                    self.endpoint.ask_alive(now, call);
                }
                return;
            }
        };
        if let Some(call) = self.by_media.get(&id).copied() {
            self.talk(now, call, input);
        }
    }

    pub(super) fn talk_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, call))) = self.call_scripts.peek().copied() {
            if at > now {
                break;
            }
            self.call_scripts.pop();
            if self
                .calls
                .get(&call)
                .is_some_and(|active| active.woken_at == Some(at))
            {
                self.talk(now, call, Input::Tick);
            }
        }
    }

    pub(super) fn talk(&mut self, now: Instant, call: CallHandle, input: Input) {
        if let Some(talk) = self
            .calls
            .get_mut(&call)
            .and_then(|active| active.talk.as_mut())
        {
            talk.handle(now, input);
            self.talk_said(now, call);
        }
    }

    /// Carries out what the talk wants.
    pub(super) fn talk_said(&mut self, now: Instant, call: CallHandle) {
        loop {
            let Some(active) = self.calls.get_mut(&call) else {
                return;
            };
            let Some(talk) = &mut active.talk else { return };
            let (key, media) = (active.key, active.media.id);
            match talk.poll() {
                Some(Saying::Play { tag, segments }) => self.out.push_back(TrunkOutput::Play {
                    media,
                    tag,
                    segments,
                }),
                Some(Saying::KeyPressed(pressed)) => {
                    self.tell(key, AttemptEvent::KeyPressed(pressed))
                }
                Some(Saying::Outcome { ending, digits }) => {
                    active.settled = true;
                    let end = CallEnd {
                        outcome: ending.outcome(),
                        digits: digits.into(),
                        carrier_code: active.way.code.clone(),
                    };
                    self.tell(key, AttemptEvent::CallEnded(end));
                }
                Some(Saying::HangUp) => self.endpoint.hangup(now, call),
                None => break,
            }
        }
        let Some(active) = self.calls.get_mut(&call) else {
            return;
        };
        let next = active.talk.as_ref().and_then(CallScript::deadline);
        if next != active.woken_at {
            active.woken_at = next;
            self.call_scripts.extend(next.map(|at| Reverse((at, call))));
        }
    }
}

/// What the talk of a call needs to know.
pub(super) fn script(
    sip: &SipConfig,
    voices: &Catalogue,
    call: &Call,
    ask: Prompt,
    deadline: Millis,
    now: Moment,
) -> Script {
    Script {
        ask,
        voice: voices.best(&call.locale).clone(),
        extension: call
            .extension
            .iter()
            .flat_map(|digits| digits.chars())
            .filter_map(Key::from_char)
            .collect(),
        key_wait: sip.key_wait,
        call: sip.call,
        deadline: now.at + now.time_left(deadline),
        farewell: sip.farewell,
    }
}
