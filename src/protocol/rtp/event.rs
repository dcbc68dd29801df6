//! RFC 4733 telephone-events: keys heard, and keys sent (an office extension).

use super::{FRAME, Key};

/// Hears key presses in events. One press is one timestamp, however often its packets are repeated and
/// whichever of them are lost; a press is told at the first packet of it that arrives.
#[derive(Debug, Default)]
pub struct EventReceiver {
    /// Source and timestamp of the last presses. Some gateways send events as a source of their own beside the audio.
    seen: [Option<(u32, u32)>; REMEMBERED],
    next: usize,
    open: Option<Open>,
}

/// The press whose end has not been seen.
#[derive(Debug)]
struct Open {
    key: Key,
    ssrc: u32,
    timestamp: u32,
    duration: u16,
}

impl EventReceiver {
    /// An event packet: source, marker and timestamp of its RTP header, and its payload. The key, if a new press
    /// begins here.
    pub fn receive(
        &mut self,
        ssrc: u32,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
    ) -> Option<Key> {
        let [code, flags, high, low, ..] = *payload else {
            return None;
        };
        let key = Key::from_event(code)?;
        let duration = u16::from_be_bytes([high, low]);
        let ended = flags & 0x80 != 0;
        if self.seen.contains(&Some((ssrc, timestamp))) {
            if let Some(open) = &mut self.open
                && (open.ssrc, open.timestamp) == (ssrc, timestamp)
            {
                open.duration = open.duration.max(duration);
                if ended {
                    self.open = None;
                }
            }
            return None;
        }
        let next = Open {
            key,
            ssrc,
            timestamp,
            duration,
        };
        let goes_on = !marker
            && self
                .open
                .as_ref()
                .is_some_and(|open| open.goes_on_as(&next));
        self.remember(ssrc, timestamp);
        self.open = (!ended).then_some(next);
        (!goes_on).then_some(key)
    }

    fn remember(&mut self, ssrc: u32, timestamp: u32) {
        if let Some(slot) = self.seen.get_mut(self.next) {
            *slot = Some((ssrc, timestamp));
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Open {
    /// Section 2.5.1.3: a press longer than the duration field can say goes on as a further segment, without marker,
    /// at the timestamp where the last one ended.
    fn goes_on_as(&self, next: &Open) -> bool {
        let passed = next.timestamp.wrapping_sub(self.timestamp);
        (self.ssrc, self.key) == (next.ssrc, next.key)
            && self.duration >= NEARLY_FULL
            && passed <= u32::from(u16::MAX) + FRAME as u32
    }
}

/// Sends one key press: packets every frame with a growing duration, the end three times.
#[derive(Debug)]
pub struct EventSender {
    key: Key,
    sent: u16,
}

impl EventSender {
    pub fn new(key: Key) -> EventSender {
        EventSender { key, sent: 0 }
    }

    /// Frames since the press began; the RTP timestamp of all its packets is that of its first.
    pub fn frames_sent(&self) -> u16 {
        self.sent
    }

    /// The payload of the next packet; none when the press is over.
    pub fn next_payload(&mut self) -> Option<[u8; 4]> {
        if self.sent >= PRESS_FRAMES + END_REPEATS {
            return None;
        }
        self.sent += 1;
        let end = if self.sent > PRESS_FRAMES { 0x80 } else { 0 };
        let [high, low] = (self.sent.min(PRESS_FRAMES) * FRAME as u16).to_be_bytes();
        Some([self.key.event(), end | VOLUME, high, low])
    }
}

/// Presses remembered, so that late packets of an earlier one are known as such.
const REMEMBERED: usize = 8;
/// A duration from which the next segment of a long press may be due.
const NEARLY_FULL: u16 = 0xf000;
/// A key is held for 100 ms.
const PRESS_FRAMES: u16 = 5;
/// Section 2.5.1.4: the end packet is sent three times in all.
const END_REPEATS: u16 = 3;
/// -10 dBm0.
const VOLUME: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(code: u8, end: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [code, if end { 0x8a } else { 0x0a }, high, low]
    }

    #[test]
    fn a_press_counts_once_whichever_packets_arrive() {
        // All, the end only (three times), the beginning only.
        let all: Vec<(bool, u16)> = vec![
            (false, 160),
            (false, 320),
            (true, 480),
            (true, 480),
            (true, 480),
        ];
        for arriving in [&all[..], &all[2..], &all[..2], &all[4..]] {
            let mut receiver = EventReceiver::default();
            let heard = arriving
                .iter()
                .filter_map(|(end, d)| receiver.receive(1, false, 7, &payload(11, *end, *d)));
            assert_eq!(heard.collect::<Vec<_>>(), vec![Key::POUND]);
        }
    }

    #[test]
    fn a_late_end_of_an_earlier_press_is_not_a_press() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .receive(1, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .receive(1, true, 3000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .receive(1, false, 1000, &payload(1, true, 800))
                .is_none()
        );
        assert!(
            receiver
                .receive(1, false, 3000, &payload(1, true, 800))
                .is_none()
        );
    }

    #[test]
    fn the_same_timestamp_of_another_source_is_another_press() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .receive(1, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .receive(2, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .receive(1, false, 1000, &payload(1, true, 800))
                .is_none()
        );
    }

    #[test]
    fn a_very_long_press_counts_once() {
        let mut receiver = EventReceiver::default();
        let start = u32::MAX - 100;
        assert!(
            receiver
                .receive(1, true, start, &payload(5, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .receive(1, false, start, &payload(5, false, u16::MAX))
                .is_none()
        );
        let second = start.wrapping_add(u32::from(u16::MAX));
        assert!(
            receiver
                .receive(1, false, second, &payload(5, false, 160))
                .is_none()
        );
        assert!(
            receiver
                .receive(1, false, second, &payload(5, true, 1600))
                .is_none()
        );
        // The same key again, after the end: a press.
        assert!(
            receiver
                .receive(1, true, second.wrapping_add(4000), &payload(5, false, 160))
                .is_some()
        );
    }

    #[test]
    fn tones_and_scraps_are_no_keys() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .receive(1, true, 1, &payload(16, false, 160))
                .is_none()
        );
        assert!(
            receiver
                .receive(1, true, 1, &payload(255, false, 160))
                .is_none()
        );
        assert!(receiver.receive(1, true, 1, &[11, 0, 0]).is_none());
        assert!(receiver.receive(1, true, 1, &[]).is_none());
        assert!(
            receiver
                .receive(1, true, 1, &payload(0, false, 160))
                .is_some()
        );
    }

    #[test]
    fn what_is_sent_is_heard_once_and_ends_three_times() {
        let (mut sender, mut receiver) = (EventSender::new(Key::STAR), EventReceiver::default());
        let (mut heard, mut ends, mut last) = (0, 0, 0);
        while let Some(payload) = sender.next_payload() {
            heard += usize::from(
                receiver.receive(1, sender.frames_sent() == 1, 99, &payload) == Some(Key::STAR),
            );
            ends += usize::from(payload[1] & 0x80 != 0);
            let duration = u16::from_be_bytes([payload[2], payload[3]]);
            assert!(duration >= last);
            last = duration;
        }
        assert_eq!((heard, ends, last), (1, 3, 800));
        assert!(sender.next_payload().is_none());
    }

    proptest! {
        /// Presses in a row, each with any of its packets lost but one, repeated and swapped with neighbours
        /// of the same press: each counts once, in order.
        #[test]
        fn presses_survive_loss_and_repetition(
            presses in proptest::collection::vec((0u8..16, proptest::collection::vec(0usize..8, 1..20)), 1..12)
        ) {
            let mut receiver = EventReceiver::default();
            let mut heard = Vec::new();
            for (i, (code, arriving)) in presses.iter().enumerate() {
                let timestamp = (i as u32 * 2000).wrapping_sub(3000);
                for packet in arriving {
                    let (end, duration) = (*packet >= 5, (*packet as u16 + 1).min(5) * 160);
                    heard.extend(receiver.receive(1, *packet == 0, timestamp, &payload(*code, end, duration)));
                }
            }
            let meant: Vec<Key> = presses.iter().filter_map(|(code, _)| Key::from_event(*code)).collect();
            prop_assert_eq!(heard, meant);
        }
    }
}
