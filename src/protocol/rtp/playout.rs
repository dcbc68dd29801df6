//! What a call plays, frame by frame: recordings, silence and key presses joined without seams. Copies
//! octets that were encoded once; nothing is encoded per packet.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Codec, EventSender, FRAME, Key, SAMPLE_RATE, Sound, tone};

/// One thing to play.
#[derive(Clone, Debug)]
pub enum Segment {
    Sound(Sound),
    Silence(Duration),
    /// A key pressed by us: as an event where the call has them, else as two tones.
    Key(Key),
}

/// What one frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFrame {
    /// The frame's octets were written.
    Audio,
    /// An event packet; `age` is the number of frames since its press began.
    Event { payload: [u8; 4], age: u32 },
}

/// The cursor over what a call plays. With nothing to play it plays silence.
#[derive(Debug)]
pub struct Playout {
    codec: Codec,
    events: bool,
    queue: VecDeque<Part>,
    tag: Option<u32>,
}

#[derive(Debug)]
enum Part {
    Sound { sound: Sound, at: usize },
    Silence { left: usize },
    Press(EventSender),
}

impl Playout {
    /// `events`: does the far end take RFC 4733?
    pub fn new(codec: Codec, events: bool) -> Playout {
        Playout {
            codec,
            events,
            queue: VecDeque::new(),
            tag: None,
        }
    }

    /// Plays this instead of what was playing. `tag` comes back from [`Playout::next_frame`] when it is over.
    pub fn play(&mut self, tag: u32, segments: &[Segment]) {
        self.queue.clear();
        for segment in segments.iter().take(MAX_SEGMENTS) {
            match segment {
                Segment::Sound(sound) => self.queue.push_back(Part::Sound {
                    sound: sound.clone(),
                    at: 0,
                }),
                Segment::Silence(time) => self.queue.push_back(Part::Silence {
                    left: samples(*time),
                }),
                Segment::Key(key) => self.press(*key),
            }
        }
        self.tag = Some(tag);
    }

    fn press(&mut self, key: Key) {
        if self.events {
            self.queue.push_back(Part::Press(EventSender::new(key)));
        } else {
            self.queue.push_back(Part::Sound {
                sound: tone(key, KEY_TIME),
                at: 0,
            });
        }
        self.queue.push_back(Part::Silence {
            left: samples(KEY_GAP),
        });
    }

    /// SDP has agreed on something else; what is playing goes on in the other codec.
    pub fn change(&mut self, codec: Codec, events: bool) {
        (self.codec, self.events) = (codec, events);
    }

    /// Plays nothing any more; what was playing never reports its end.
    pub fn hush(&mut self) {
        self.queue.clear();
        self.tag = None;
    }

    /// The next 20 ms into `out`, and the tag of what ended just before this frame.
    pub fn next_frame(&mut self, out: &mut [u8; FRAME]) -> (AudioFrame, Option<u32>) {
        let mut filled = 0;
        while filled < FRAME {
            match self.queue.front_mut() {
                None => break,
                Some(Part::Sound { sound, at }) => {
                    let rest = sound.octets(self.codec).get(*at..).unwrap_or_default();
                    let count = rest.len().min(FRAME - filled);
                    out[filled..filled + count].copy_from_slice(&rest[..count]);
                    (filled, *at) = (filled + count, *at + count);
                    if count == rest.len() {
                        self.queue.pop_front();
                    }
                }
                Some(Part::Silence { left }) => {
                    let count = (*left).min(FRAME - filled);
                    out[filled..filled + count].fill(self.codec.silence());
                    (filled, *left) = (filled + count, *left - count);
                    if *left == 0 {
                        self.queue.pop_front();
                    }
                }
                // A press begins at a frame of its own.
                Some(Part::Press(_)) if filled > 0 => break,
                Some(Part::Press(sender)) => match sender.next_payload() {
                    Some(payload) => {
                        let age = u32::from(sender.frames_sent()) - 1;
                        return (AudioFrame::Event { payload, age }, None);
                    }
                    None => drop(self.queue.pop_front()),
                },
            }
        }
        let ended = if filled == 0 && self.queue.is_empty() {
            self.tag.take()
        } else {
            None
        };
        out[filled..].fill(self.codec.silence());
        (AudioFrame::Audio, ended)
    }
}

fn samples(time: Duration) -> usize {
    let count = time.as_micros().saturating_mul(u128::from(SAMPLE_RATE)) / 1_000_000;
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Segments of one play; a code of ten digits read twice takes fifty.
pub const MAX_SEGMENTS: usize = 256;
/// A key sent as tones: long enough for any exchange (Q.24 asks for 40 ms).
const KEY_TIME: Duration = Duration::from_millis(100);
/// The pause between two keys.
const KEY_GAP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp(len: usize, from: usize) -> Sound {
        let samples: Vec<i16> = (0..len)
            .map(|i| ((from + i) * 97 % 30_000) as i16)
            .collect();
        Sound::encode(&samples)
    }

    /// Plays to the end: all audio octets, the events, and the number of frames before the end was told.
    fn drain(playout: &mut Playout) -> (Vec<u8>, Vec<(u8, u32)>, usize) {
        let (mut octets, mut events, mut frames) = (Vec::new(), Vec::new(), 0);
        loop {
            let mut out = [0; FRAME];
            let (frame, ended) = playout.next_frame(&mut out);
            if ended.is_some() {
                return (octets, events, frames);
            }
            frames += 1;
            match frame {
                AudioFrame::Audio => octets.extend(out),
                AudioFrame::Event { payload, age } => events.push((payload[0], age)),
            }
        }
    }

    #[test]
    fn nothing_to_play_is_silence_without_an_end() {
        let mut playout = Playout::new(Codec::Pcma, true);
        let mut out = [0; FRAME];
        assert_eq!(playout.next_frame(&mut out), (AudioFrame::Audio, None));
        assert_eq!(out, [Codec::Pcma.silence(); FRAME]);
    }

    #[test]
    fn the_end_is_told_once_a_frame_after_the_last() {
        let mut playout = Playout::new(Codec::Pcmu, true);
        playout.play(7, &[Segment::Sound(ramp(FRAME * 2, 0))]);
        let mut out = [0; FRAME];
        let ends: Vec<Option<u32>> = (0..5).map(|_| playout.next_frame(&mut out).1).collect();
        assert_eq!(ends, vec![None, None, Some(7), None, None]);
    }

    #[test]
    fn a_new_play_replaces_the_old_whose_end_is_never_told() {
        let mut playout = Playout::new(Codec::Pcmu, true);
        let mut out = [0; FRAME];
        playout.play(1, &[Segment::Sound(ramp(FRAME * 9, 0))]);
        playout.next_frame(&mut out);
        playout.play(2, &[Segment::Silence(Duration::from_millis(20))]);
        assert_eq!(playout.next_frame(&mut out).1, None);
        assert_eq!(playout.next_frame(&mut out).1, Some(2));
        playout.play(3, &[Segment::Sound(ramp(FRAME * 9, 0))]);
        playout.hush();
        assert!((0..20).all(|_| playout.next_frame(&mut out).1.is_none()));
    }

    #[test]
    fn a_key_is_eight_event_packets_and_a_pause() {
        let mut playout = Playout::new(Codec::Pcmu, true);
        playout.play(1, &[Segment::Key(Key::POUND)]);
        let (octets, events, frames) = drain(&mut playout);
        assert_eq!(events, (0..8).map(|age| (11, age)).collect::<Vec<_>>());
        assert_eq!(octets, vec![Codec::Pcmu.silence(); FRAME * 5]);
        assert_eq!(frames, 13);
    }

    #[test]
    fn without_events_a_key_is_a_tone() {
        let mut playout = Playout::new(Codec::Pcmu, false);
        playout.play(1, &[Segment::Key(Key::POUND)]);
        let (octets, events, _) = drain(&mut playout);
        assert!(events.is_empty());
        let loud = octets
            .iter()
            .filter(|o| Codec::Pcmu.decode(**o).abs() > 500)
            .count();
        assert!(loud > 500, "{loud}");
    }

    proptest! {
        /// The frames, end to end, are the segments, end to end, padded by less than one frame of silence.
        #[test]
        fn frames_are_the_segments(
            parts in proptest::collection::vec((any::<bool>(), 0usize..700), 0..12), a_law in any::<bool>()
        ) {
            let codec = if a_law { Codec::Pcma } else { Codec::Pcmu };
            let (mut segments, mut meant) = (Vec::new(), Vec::new());
            for (i, (loud, len)) in parts.iter().enumerate() {
                if *loud {
                    let sound = ramp(*len, i * 1000);
                    meant.extend_from_slice(sound.octets(codec));
                    segments.push(Segment::Sound(sound));
                } else {
                    meant.extend(std::iter::repeat_n(codec.silence(), *len));
                    segments.push(Segment::Silence(Duration::from_micros(*len as u64 * 125)));
                }
            }
            let mut playout = Playout::new(codec, true);
            playout.play(1, &segments);
            let (octets, _, frames) = drain(&mut playout);
            prop_assert_eq!(frames, meant.len().div_ceil(FRAME));
            prop_assert_eq!(&octets[..meant.len()], &meant[..]);
            prop_assert!(octets[meant.len()..].iter().all(|o| *o == codec.silence()));
        }
    }
}
