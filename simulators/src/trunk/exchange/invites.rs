//! From an INVITE to its final answer (RFC 3261 sections 8.2 and 13.3.1).

use super::super::call::{Call, Leg, Peer, Resend, State, TIMERS, Timer};
use super::super::digest::Verdict;
use super::super::person::Person;
use super::super::sdp::Offer;
use super::super::sip::{Basics, Message, split_commas, uri_of, user_of};
use super::super::talk::{KeyWay, Terms};
use super::super::tones::Sound;
use super::{Exchange, MAX_CALLS, Output, response_to, with_contact};
use crate::record::{self, CallResult, EndedBy};
use crate::script::Chance;
use crate::subscriber::VoiceBehaviour;
use std::time::{Duration, Instant};

impl Exchange {
    pub(super) fn invite(&mut self, message: Message, basics: Basics, peer: Peer, now: Instant) {
        let dialog = (basics.call_id.clone(), basics.from_tag.clone());
        if basics.to_tag.is_some() {
            return self.re_invite(&message, &basics, peer, now);
        }
        if let Some(call) = self.dialogs.get(&dialog).and_then(|id| self.calls.get(id)) {
            if call.basics.branch == basics.branch {
                self.counts.repeated += 1;
                if let Some(bytes) = call.last.clone() {
                    self.send(response_to(&message, peer), bytes, now);
                }
                return;
            }
            // The one before this call's, that was asked for credentials, comes once more.
            if basics.cseq < call.basics.cseq {
                self.counts.repeated += 1;
                return;
            }
            self.broken(
                "sip",
                "a second INVITE with the Call-ID and tag of a call in progress".into(),
            );
            let bytes = message.response(482, Some("m"), peer.address()).end();
            return self.send(response_to(&message, peer), bytes, now);
        }
        self.counts.invites += 1;
        if let Some(credentials) = &self.settings.credentials {
            let seed = self.settings.seed;
            match credentials.judge(&message, "INVITE", &basics.uri, seed, &basics.call_id) {
                Verdict::Good => {}
                Verdict::OtherUri => {
                    let reason = "the URI in the credentials is not the request's";
                    self.broken("sip", reason.into());
                }
                Verdict::Ask => {
                    let (status, name, value) = credentials.challenge(seed, &basics.call_id);
                    self.counts.challenged += 1;
                    let bytes = message
                        .response(status, Some("a"), peer.address())
                        .header(name, value)
                        .end();
                    return self.send(response_to(&message, peer), bytes, now);
                }
                Verdict::Wrong => {
                    let bytes = message.response(403, Some("a"), peer.address()).end();
                    return self.send(response_to(&message, peer), bytes, now);
                }
            }
        }
        let id = self.new_call(message, basics, peer, now);
        self.dialogs.insert(dialog, id);
        self.treat(id, now);
    }

    fn new_call(&mut self, message: Message, basics: Basics, peer: Peer, now: Instant) -> u64 {
        self.last_id += 1;
        let to = user_of(&basics.uri).unwrap_or_default().to_owned();
        let line = self.who_calls(&message, to, &basics);
        let call = Call {
            voice: self.faults.behaviour(&line.to).voice,
            offer: None,
            events: false,
            state: State::Proceeding,
            legs: Vec::new(),
            tag: self.word(),
            last: None,
            resend: Resend::new(now),
            media: None,
            talking: false,
            early: false,
            written: false,
            audio: None,
            deadlines: [None; TIMERS],
            since: now,
            pressed_at: None,
            line,
            invite: message,
            basics,
            peer,
        };
        self.counts.live += 1;
        self.calls.insert(self.last_id, call);
        self.last_id
    }

    /// Who calls, as signalled and as the phone shows it (RFC 3325 section 9.1, RFC 3323).
    fn who_calls(&self, message: &Message, to: String, basics: &Basics) -> record::Call {
        let from = message.first("from").unwrap_or_default();
        let user = |value: &str| user_of(uri_of(value)).map(str::to_owned);
        let asserted = message
            .all("p-asserted-identity")
            .flat_map(split_commas)
            .find_map(user);
        let hidden = message
            .all("privacy")
            .flat_map(|p| p.split([';', ',']))
            .any(|word| {
                matches!(
                    word.trim().to_ascii_lowercase().as_str(),
                    "id" | "header" | "user"
                )
            });
        let from_user = user(from).unwrap_or_default();
        let nameless = from_user.is_empty() || from_user.eq_ignore_ascii_case(ANONYMOUS);
        let shown = match &asserted {
            _ if hidden || self.faults.strip_caller_id => ANONYMOUS.to_owned(),
            Some(asserted) => asserted.clone(),
            None if nameless => ANONYMOUS.to_owned(),
            None => from_user.clone(),
        };
        record::Call {
            to,
            from: from_user,
            asserted,
            shown,
            call_id: basics.call_id.clone(),
            result: CallResult::Cancelled,
            ..record::Call::default()
        }
    }

    /// The trunk's own faults first, then the person.
    fn treat(&mut self, id: u64, now: Instant) {
        let faults = self.faults.clone();
        if self.calls.len() > MAX_CALLS {
            return self.refuse(id, 503, now);
        }
        if self
            .dice
            .strikes(Chance::DropAfterSend, faults.drop_after_send)
        {
            return self.mute(id, now);
        }
        self.provisional(id, 100, now);
        if faults.hang_calls {
            return self.mute(id, now);
        }
        if self.dice.strikes(Chance::Throttle, faults.throttle) {
            return self.refuse(id, 503, now);
        }
        if self.dice.strikes(Chance::Error, faults.error.often) {
            let status = u16::try_from(faults.error.code)
                .ok()
                .filter(|code| (300..700).contains(code));
            return self.refuse(id, status.unwrap_or(500), now);
        }
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        match Offer::read(&call.invite.body) {
            Ok(offer) => {
                let in_audio =
                    faults.inband_digits_only || call.voice == VoiceBehaviour::InbandDigits;
                call.events = offer.telephone_event.is_some() && !in_audio;
                call.offer = Some(offer);
            }
            Err(why) => {
                self.broken(
                    "sip",
                    format!("an INVITE whose offer cannot be answered: {why:?}"),
                );
                return self.refuse(id, 488, now);
            }
        }
        self.ring(id, now);
    }

    fn ring(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        use VoiceBehaviour as V;
        let refusal = match call.voice {
            V::Busy => Some(486),
            V::Unreachable => Some(404),
            V::ServiceUnavailable => Some(503),
            V::Blocked => Some(608),
            V::TemporarilyUnavailable => Some(480),
            _ => None,
        };
        if let Some(status) = refusal {
            return self.refuse(id, status, now);
        }
        call.line.result = CallResult::NoAnswer;
        call.line.ring_ms = Some(now.duration_since(call.since).as_millis() as u64);
        let voice = call.voice;
        if !matches!(voice, V::NoAnswer | V::Declined) {
            self.out.push_back(Output::Bind(id));
        }
        if voice == V::EarlyMedia {
            // The 183 needs the media address, so it goes with the next look at the clock.
            return self.timer(id, Timer::Answer, now);
        }
        self.provisional(id, 180, now);
        if voice != V::NoAnswer {
            self.timer(id, Timer::Answer, now + self.settings.habits.ring);
        }
    }

    /// The ringing is over: answer or decline. With early media, it first begins here.
    pub(super) fn person_decides(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.state != State::Proceeding {
            return;
        }
        match call.voice {
            VoiceBehaviour::Declined => self.refuse(id, 603, now),
            VoiceBehaviour::EarlyMedia if !call.early => {
                call.early = true;
                self.provisional(id, 183, now);
                self.begin_talk(id);
                self.timer(
                    id,
                    Timer::Answer,
                    now + self.settings.habits.ring + EARLY_MEDIA,
                );
            }
            _ => self.answer(id, now),
        }
    }

    pub(super) fn answer(&mut self, id: u64, now: Instant) {
        let second = self.word();
        let contact = self.settings.contact;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(sdp) = call.sdp() else {
            return self.refuse(id, 500, now);
        };
        let mut tags = vec![call.tag.clone()];
        if call.voice == VoiceBehaviour::TwoAnswers {
            tags.push(second);
        }
        let peer = response_to(&call.invite, call.peer);
        let mut answers = Vec::new();
        for tag in tags {
            let writer = with_contact(
                call.invite.response(200, Some(&tag), call.peer.address()),
                contact,
            );
            let ok = writer
                .header("Allow", super::ALLOW)
                .body("application/sdp", &sdp);
            answers.push(ok.clone());
            let resend = Resend::new(now);
            call.legs.push(Leg {
                tag,
                ok,
                resend,
                acked: false,
                over: false,
                cseq: 0,
                own: None,
            });
        }
        call.state = State::Answered;
        call.last = answers.first().cloned();
        call.line.status = 200;
        call.line.result = CallResult::Answered;
        call.line.answer_ms = Some(now.duration_since(call.since).as_millis() as u64);
        call.line.codec = call.offer.as_ref().map(|offer| offer.law.name().to_owned());
        let next = call.resend_at();
        let hangs_up = call.voice == VoiceBehaviour::HangsUp;
        for bytes in answers {
            self.send(peer, bytes, now);
        }
        self.counts.answered += 1;
        if let Some(next) = next {
            self.timer(id, Timer::Resend, next);
        }
        if hangs_up {
            self.timer(id, Timer::HangUp, now + HANGS_UP_AFTER);
        }
        self.begin_talk(id);
        self.out.push_back(Output::Answered(id));
    }

    fn begin_talk(&mut self, id: u64) {
        if !self.settings.media {
            return;
        }
        let seed = self.dice.bits();
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(offer) = call
            .offer
            .as_ref()
            .filter(|_| !call.talking && call.media.is_some())
        else {
            return;
        };
        let events = offer.telephone_event.filter(|_| call.events);
        let keys = match (call.voice, events) {
            (VoiceBehaviour::InfoDigits, _) => KeyWay::Info,
            (VoiceBehaviour::InbandDigits, _) | (_, None) => KeyWay::Inband,
            (_, Some(kind)) => KeyWay::Event(kind),
        };
        let voicemail = call.voice == VoiceBehaviour::Voicemail;
        let terms = Terms {
            remote: offer.remote,
            law: offer.law,
            events: offer.telephone_event,
            keys,
            person: Person::new(call.voice, self.settings.habits.key_after),
            early: call.early.then_some(Sound::Ringback),
            sound: if voicemail {
                Sound::Voicemail
            } else {
                Sound::Silence
            },
            keep: self.settings.keep_audio,
            seed,
        };
        call.talking = true;
        self.out.push_back(Output::Talk(id, Box::new(terms)));
    }

    pub(super) fn provisional(&mut self, id: u64, status: u16, now: Instant) {
        let contact = self.settings.contact;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        // 100 carries no tag of ours (section 8.2.6.2).
        let tag = (status > 100).then_some(call.tag.as_str());
        let writer = call.invite.response(status, tag, call.peer.address());
        let bytes = match (status, call.sdp()) {
            (100, _) => writer.end(),
            (183, Some(sdp)) => with_contact(writer, contact).body("application/sdp", &sdp),
            _ => with_contact(writer, contact).end(),
        };
        call.last = Some(bytes.clone());
        let peer = response_to(&call.invite, call.peer);
        self.send(peer, bytes, now);
    }

    /// A final refusal; it goes again until its ACK comes (section 17.2.1).
    pub(super) fn refuse(&mut self, id: u64, status: u16, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.state != State::Proceeding {
            return;
        }
        let mut writer = call
            .invite
            .response(status, Some(&call.tag), call.peer.address());
        if status == 503 {
            writer = writer.header("Retry-After", RETRY_AFTER_S);
        }
        let bytes = writer.end();
        call.state = State::Refused;
        self.counts.live -= 1;
        call.last = Some(bytes.clone());
        call.line.status = status;
        call.line.result = match status {
            486 | 600 => CallResult::Busy,
            603 => CallResult::Declined,
            404 => CallResult::Unreachable,
            608 => CallResult::Blocked,
            480 => CallResult::TemporarilyUnavailable,
            487 if call.line.ring_ms.is_some() => CallResult::NoAnswer,
            487 => CallResult::Cancelled,
            _ => CallResult::Refused,
        };
        call.line.ended_by = match status {
            487 => EndedBy::Gateway,
            603 => EndedBy::Person,
            _ => EndedBy::Trunk,
        };
        call.line.end_ms = now.duration_since(call.since).as_millis() as u64;
        call.resend = Resend::new(now);
        let next = if call.peer.is_reliable() {
            call.resend.give_up
        } else {
            call.resend.next
        };
        let peer = response_to(&call.invite, call.peer);
        self.send(peer, bytes, now);
        self.timer(id, Timer::Resend, next);
    }

    /// Nothing more is said on this call.
    fn mute(&mut self, id: u64, now: Instant) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.state = State::Mute;
            self.counts.live -= 1;
            call.line.ended_by = EndedBy::Trunk;
        }
        self.timer(id, Timer::Forget, now + MUTE_LIFE);
    }
}

const ANONYMOUS: &str = "anonymous";
const RETRY_AFTER_S: u32 = 1;
/// How much longer it takes to an answer with early media.
const EARLY_MEDIA: Duration = Duration::from_millis(500);
const HANGS_UP_AFTER: Duration = Duration::from_secs(1);
/// How long a call that hangs is remembered.
const MUTE_LIFE: Duration = Duration::from_secs(120);
