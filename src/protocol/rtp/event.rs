//! RFC 4733 telephone-events: keys heard, and keys sent (an office extension).

use super::{FRAME, Key};

/// An event packet: what of its RTP header tells presses apart, and its payload.
#[derive(Clone, Copy, Debug)]
pub struct EventPacket<'a> {
    pub ssrc: u32,
    pub sequence: u16,
    pub marker: bool,
    pub timestamp: u32,
    pub payload: &'a [u8],
}

/// Hears key presses in events. One press is one timestamp and one key, however often its packets are repeated and
/// whichever of them are lost; a press is told at the first packet of it that arrives. Relays that give packets of one
/// press timestamps of their own are seen through by what they leave as it was: the duration, the sequence, the end bit.
#[derive(Debug, Default)]
pub struct EventReceiver {
    /// Source, timestamp and key of the last packets' presses. Some gateways send events as a source of their own beside
    /// the audio.
    seen: [Option<(u32, u32, Key)>; REMEMBERED],
    next: usize,
    last: Option<Press>,
}

/// The press heard last.
#[derive(Debug)]
struct Press {
    key: Key,
    ssrc: u32,
    /// Where it, or its last segment, began.
    timestamp: u32,
    sequence: u16,
    duration: u16,
    ended: bool,
}

impl EventReceiver {
    /// The key, if a new press begins here.
    pub fn receive(&mut self, packet: &EventPacket<'_>) -> Option<Key> {
        let [code, flags, high, low, ..] = *packet.payload else {
            return None;
        };
        let next = Press {
            key: Key::from_event(code)?,
            ssrc: packet.ssrc,
            timestamp: packet.timestamp,
            sequence: packet.sequence,
            duration: u16::from_be_bytes([high, low]),
            ended: flags & 0x80 != 0,
        };
        let id = (next.ssrc, next.timestamp, next.key);
        let known = self.seen.contains(&Some(id));
        if !known {
            self.remember(id);
        }
        let Some(last) = self.last.as_mut() else {
            let key = next.key;
            self.last = Some(next);
            return Some(key);
        };
        if last.is_at(&next) || (!known && last.is_repeated_as(&next, packet.marker)) {
            last.goes_on(&next);
            return None;
        }
        if known {
            // A late packet of an earlier press.
            return None;
        }
        let further = last.has_segment(&next, packet.marker);
        let key = next.key;
        self.last = Some(next);
        (!further).then_some(key)
    }

    fn remember(&mut self, id: (u32, u32, Key)) {
        if let Some(slot) = self.seen.get_mut(self.next) {
            *slot = Some(id);
        }
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Press {
    /// Of one source and one key.
    fn is_alike(&self, next: &Press) -> bool {
        (self.ssrc, self.key) == (next.ssrc, next.key)
    }

    fn is_at(&self, next: &Press) -> bool {
        self.is_alike(next) && self.timestamp == next.timestamp
    }

    /// Under another timestamp, and still this press. A key can't be pressed while it is pressed, a press begins with
    /// packets without the end bit, and it does not begin anew where nothing was lost and the last has not ended.
    fn is_repeated_as(&self, next: &Press, marker: bool) -> bool {
        if !self.is_alike(next) || (marker && !next.ended) {
            return false;
        }
        let passed = next.timestamp.wrapping_sub(self.timestamp);
        let steps = next.sequence.wrapping_sub(self.sequence);
        passed <= u32::from(self.duration) + OVERLAP && self.duration < NEARLY_FULL
            || next.ended && (1..=END_REPEATS).contains(&steps)
            || !self.ended && steps == 1 && self.duration < NEARLY_FULL
    }

    fn goes_on(&mut self, next: &Press) {
        self.duration = self.duration.max(next.duration);
        self.ended |= next.ended;
        if next.sequence.wrapping_sub(self.sequence) < u16::MAX / 2 {
            self.sequence = next.sequence;
        }
    }

    /// Section 2.5.1.3: a press longer than the duration field can say goes on as a further segment, without marker,
    /// at the timestamp where the last one ended.
    fn has_segment(&self, next: &Press, marker: bool) -> bool {
        let passed = next.timestamp.wrapping_sub(self.timestamp);
        self.is_alike(next)
            && !marker
            && !self.ended
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
/// How far behind the end of a press a packet of it may be dated, in samples: less than the shortest pause between two
/// presses (Q.24: 40 ms).
const OVERLAP: u32 = 240;
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

    impl EventReceiver {
        /// Far from any other packet in the sequence.
        fn hears(
            &mut self,
            ssrc: u32,
            marker: bool,
            timestamp: u32,
            payload: &[u8],
        ) -> Option<Key> {
            let sequence = (timestamp >> 2) as u16;
            self.receive(&EventPacket {
                ssrc,
                sequence,
                marker,
                timestamp,
                payload,
            })
        }
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
                .filter_map(|(end, d)| receiver.hears(1, false, 7, &payload(11, *end, *d)));
            assert_eq!(heard.collect::<Vec<_>>(), vec![Key::POUND]);
        }
    }

    #[test]
    fn a_late_end_of_an_earlier_press_is_not_a_press() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .hears(1, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .hears(1, true, 3000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .hears(1, false, 1000, &payload(1, true, 800))
                .is_none()
        );
        assert!(
            receiver
                .hears(1, false, 3000, &payload(1, true, 800))
                .is_none()
        );
    }

    #[test]
    fn the_same_timestamp_of_another_source_is_another_press() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .hears(1, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .hears(2, true, 1000, &payload(1, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .hears(1, false, 1000, &payload(1, true, 800))
                .is_none()
        );
    }

    #[test]
    fn a_very_long_press_counts_once() {
        let mut receiver = EventReceiver::default();
        let start = u32::MAX - 100;
        assert!(
            receiver
                .hears(1, true, start, &payload(5, false, 160))
                .is_some()
        );
        assert!(
            receiver
                .hears(1, false, start, &payload(5, false, u16::MAX))
                .is_none()
        );
        let second = start.wrapping_add(u32::from(u16::MAX));
        assert!(
            receiver
                .hears(1, false, second, &payload(5, false, 160))
                .is_none()
        );
        assert!(
            receiver
                .hears(1, false, second, &payload(5, true, 1600))
                .is_none()
        );
        // The same key again, after the end: a press.
        assert!(
            receiver
                .hears(1, true, second.wrapping_add(4000), &payload(5, false, 160))
                .is_some()
        );
    }

    /// One press of ten packets and three ends, from this sequence number on; `dated` says what each is dated, from the
    /// number of the packet (10, 11 and 12 are the ends).
    fn press(
        receiver: &mut EventReceiver,
        code: u8,
        first: u16,
        dated: impl Fn(u16) -> u32,
        duration: impl Fn(u16) -> u16,
        keep: impl Fn(u16) -> bool,
    ) -> usize {
        (0..13)
            .filter(|n| keep(*n))
            .filter_map(|n| {
                receiver.receive(&EventPacket {
                    ssrc: 1,
                    sequence: first.wrapping_add(n),
                    marker: n == 0,
                    timestamp: dated(n),
                    payload: &payload(code, n >= 10, duration(n)),
                })
            })
            .count()
    }

    #[test]
    fn a_press_whose_packets_are_dated_anew_counts_once_and_the_next_one_too() {
        let end = |n: u16| u32::from(n.saturating_sub(10)) * 160;
        let growing = |n: u16| (n.min(9) + 1) * 160;
        type Dated = Box<dyn Fn(u16) -> u32>;
        type Way = (&'static str, Dated, fn(u16) -> u16);
        let ways: [Way; 5] = [
            ("ends within the duration", Box::new(end), |n| {
                (n.min(9) + 1) * 160
            }),
            (
                "ends from the end on",
                Box::new(move |n| if n < 10 { 0 } else { 1600 + end(n) }),
                |n| (n.min(9) + 1) * 160,
            ),
            (
                "ends far away",
                Box::new(move |n| if n < 10 { 0 } else { 70_000 + end(n) }),
                |n| (n.min(9) + 1) * 160,
            ),
            (
                "each packet its own",
                Box::new(|n| u32::from(n) * 160),
                |n| (n.min(9) + 1) * 160,
            ),
            (
                "each its own, never growing",
                Box::new(|n| u32::from(n) * 160),
                |_| 160,
            ),
        ];
        for (way, dated, duration) in &ways {
            let mut receiver = EventReceiver::default();
            // The same key three times, as quick as a hand can, and another.
            for (i, code) in [1, 1, 1, 11].into_iter().enumerate() {
                let i = i as u16;
                let began = 4_000_000_000_u32.wrapping_add(u32::from(i) * 1_920);
                let dated = |n| began.wrapping_add(dated(n));
                let heard = press(
                    &mut receiver,
                    code,
                    65_500_u16.wrapping_add(i * 15),
                    dated,
                    duration,
                    |_| true,
                );
                assert_eq!(heard, 1, "{way}: press {i}");
            }
        }
        // What is left of a press that was dated well, whatever is lost.
        for lost in 0..13 {
            let mut receiver = EventReceiver::default();
            for i in 0..3 {
                let dated = |_| u32::from(i) * 2_000;
                let kept = |n| n != lost && n != (lost * 5 + 3) % 13;
                assert_eq!(
                    press(&mut receiver, 4, i * 16, dated, growing, kept),
                    1,
                    "{lost}"
                );
            }
        }
    }

    #[test]
    fn two_keys_under_one_timestamp_are_two() {
        let mut receiver = EventReceiver::default();
        let mut heard = String::new();
        for code in [1, 2, 11] {
            for n in 0..13 {
                let key =
                    receiver.hears(1, n == 0, 7, &payload(code, n >= 10, (n.min(9) + 1) * 160));
                heard.extend(key.map(Key::sign));
            }
        }
        assert_eq!(heard, "12#");
    }

    #[test]
    fn tones_and_scraps_are_no_keys() {
        let mut receiver = EventReceiver::default();
        assert!(
            receiver
                .hears(1, true, 1, &payload(16, false, 160))
                .is_none()
        );
        assert!(
            receiver
                .hears(1, true, 1, &payload(255, false, 160))
                .is_none()
        );
        assert!(receiver.hears(1, true, 1, &[11, 0, 0]).is_none());
        assert!(receiver.hears(1, true, 1, &[]).is_none());
        assert!(
            receiver
                .hears(1, true, 1, &payload(0, false, 160))
                .is_some()
        );
    }

    #[test]
    fn what_is_sent_is_heard_once_and_ends_three_times() {
        let (mut sender, mut receiver) = (EventSender::new(Key::STAR), EventReceiver::default());
        let (mut heard, mut ends, mut last) = (0, 0, 0);
        while let Some(payload) = sender.next_payload() {
            heard += usize::from(
                receiver.hears(1, sender.frames_sent() == 1, 99, &payload) == Some(Key::STAR),
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
                    heard.extend(receiver.hears(1, *packet == 0, timestamp, &payload(*code, end, duration)));
                }
            }
            let meant: Vec<Key> = presses.iter().filter_map(|(code, _)| Key::from_event(*code)).collect();
            prop_assert_eq!(heard, meant);
        }
    }
}
