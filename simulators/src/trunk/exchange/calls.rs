//! What the media of a call says, and what every part asks of a call.

use super::super::call::{Call, State};
use super::super::talk::Doing;
use super::{Exchange, Heard, Output};
use std::time::Instant;

impl Exchange {
    /// The media of a call says something.
    pub fn media(&mut self, id: u64, heard: Heard, now: Instant) {
        match heard {
            Heard::Does(Doing::HangUp) => self.hang_up(id, now),
            Heard::Does(Doing::Key { key, info, at }) => {
                let Some(call) = self.calls.get_mut(&id) else {
                    return;
                };
                call.line.pressed.push(key);
                self.counts.keys += 1;
                call.pressed_at = Some(at);
                if info {
                    self.key_by_info(id, key, now);
                }
            }
            Heard::Ended(told) => {
                for fault in told.faults {
                    self.broken("rtp", fault.to_owned());
                }
                let lost = told.arrivals.lost();
                self.counts.packets_received += told.arrivals.received;
                self.counts.packets_lost += lost;
                self.counts.packets_reordered += told.arrivals.reordered;
                let account = |line: &mut crate::record::Call| {
                    line.packets_received = told.arrivals.received;
                    line.packets_lost = lost;
                };
                if let Some(mut line) = self.endings.remove(&id) {
                    account(&mut line);
                    self.out
                        .push_back(Output::Ended(Box::new(line), told.audio));
                } else if let Some(call) = self.calls.get_mut(&id) {
                    // The person hung up; the call goes on until its BYE is answered.
                    account(&mut call.line);
                    call.talking = false;
                    call.audio = told.audio;
                }
            }
        }
    }
}

impl Call {
    /// Not refused, not hanging.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Proceeding | State::Answered)
    }

    /// Our answer to the offer, once both sides of it are known.
    pub fn sdp(&self) -> Option<String> {
        let version = u64::from(self.basics.cseq);
        Some(
            self.offer
                .as_ref()?
                .answer(self.media?, version, self.events),
        )
    }

    /// When the next 200 without an ACK is due.
    pub fn resend_at(&self) -> Option<Instant> {
        let open = self.legs.iter().filter(|leg| !leg.acked && !leg.over);
        open.map(|leg| leg.resend.next.min(leg.resend.give_up))
            .min()
    }
}
