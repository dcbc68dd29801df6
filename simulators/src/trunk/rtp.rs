//! RTP (RFC 3550 section 5.1) and telephone events (RFC 4733 section 2.3) on the wire.
//!
//! Pure: bytes in, fields out, and back. [`Arrivals`] keeps the account of one received stream.

/// One received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Beginning of a talk spurt or of an event.
    pub marker: bool,
    /// Payload type.
    pub kind: u8,
    /// Sequence number.
    pub sequence: u16,
    /// In samples of 1/8000 s.
    pub timestamp: u32,
    /// Whose stream.
    pub ssrc: u32,
    /// What it carries, padding taken off.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for anything that is no RTP packet.
    pub fn read(bytes: &'a [u8]) -> Option<Packet<'a>> {
        let [first, second, ..] = *bytes else {
            return None;
        };
        if bytes.len() < HEADER || first >> 6 != 2 {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let mut start = HEADER + 4 * usize::from(first & 15);
        if first & 0x10 != 0 {
            start += 4 + 4 * (word(start)? & 0xffff) as usize;
        }
        let mut end = bytes.len();
        if first & 0x20 != 0 {
            end = end.checked_sub(usize::from(*bytes.last()?))?;
        }
        Some(Packet {
            marker: second & 0x80 != 0,
            kind: second & 0x7f,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: word(4)?,
            ssrc: word(8)?,
            payload: bytes.get(start..end)?,
        })
    }

    /// Append the packet to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(0x80);
        out.push(self.kind & 0x7f | if self.marker { 0x80 } else { 0 });
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// One telephone event packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// 0 to 9, 10 `*`, 11 `#`.
    pub code: u8,
    /// The key has been let go.
    pub end: bool,
    /// Since the event's timestamp, in samples.
    pub duration: u16,
}

impl Event {
    /// The four octets, at -10 dBm0.
    pub fn write(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [
            self.code,
            EVENT_VOLUME | if self.end { 0x80 } else { 0 },
            high,
            low,
        ]
    }

    /// From a payload.
    pub fn read(payload: &[u8]) -> Option<Event> {
        let [code, flags, high, low, ..] = *payload else {
            return None;
        };
        Some(Event {
            code,
            end: flags & 0x80 != 0,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The code of a key.
    pub fn code_of(key: char) -> Option<u8> {
        match key {
            '0'..='9' => Some(key as u8 - b'0'),
            '*' => Some(10),
            '#' => Some(11),
            _ => None,
        }
    }
}

/// The account of one received stream.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// Packets, repeats not counted.
    pub received: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came again.
    pub repeated: u64,
    /// Missing in streams that have ended (another SSRC took over).
    missing_before: u64,
    stream: Option<Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// Bit n: `highest - n` has come.
    window: u64,
}

/// How a packet stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first of its stream.
    First,
    /// Exactly the next one.
    Next,
    /// Later than the next: some are missing so far.
    Ahead,
    /// It fills a hole.
    Late,
    /// It was here before.
    Repeat,
}

impl Arrivals {
    /// Note a packet.
    pub fn note(&mut self, packet: &Packet<'_>) -> Order {
        let sequence = u64::from(packet.sequence);
        let Some(stream) = self.stream.as_mut().filter(|s| s.ssrc == packet.ssrc) else {
            self.missing_before = self.lost();
            // Room below the first, for packets overtaken by it.
            let first = sequence + 0x1_0000;
            self.stream = Some(Stream {
                ssrc: packet.ssrc,
                first,
                highest: first,
                received: 1,
                window: 1,
            });
            self.received += 1;
            return Order::First;
        };
        let ahead = packet.sequence.wrapping_sub(stream.highest as u16);
        if ahead == 0 {
            self.repeated += 1;
            return Order::Repeat;
        }
        if ahead < 0x8000 {
            stream.highest += u64::from(ahead);
            stream.window = if ahead < 64 {
                stream.window << ahead | 1
            } else {
                1
            };
            stream.received += 1;
            self.received += 1;
            return if ahead == 1 {
                Order::Next
            } else {
                Order::Ahead
            };
        }
        let behind = ahead.wrapping_neg();
        if behind < 64 && stream.window >> behind & 1 == 1 {
            self.repeated += 1;
            return Order::Repeat;
        }
        stream.window |= if behind < 64 { 1 << behind } else { 0 };
        stream.first = stream.first.min(stream.highest - u64::from(behind));
        stream.received += 1;
        self.received += 1;
        self.reordered += 1;
        Order::Late
    }

    /// How many are missing by their sequence numbers.
    pub fn lost(&self) -> u64 {
        let now = self
            .stream
            .as_ref()
            .map_or(0, |s| (s.highest - s.first + 1).saturating_sub(s.received));
        self.missing_before + now
    }
}

/// Samples in a frame of 20 ms.
pub const FRAME: usize = 160;
const HEADER: usize = 12;
const EVENT_VOLUME: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16) -> Packet<'static> {
        Packet {
            marker: false,
            kind: 0,
            sequence,
            timestamp: 0,
            ssrc: 1,
            payload: &[],
        }
    }

    #[test]
    fn a_packet_survives_the_wire() {
        let packet = Packet {
            marker: true,
            kind: 101,
            sequence: 9,
            timestamp: 70_000,
            ssrc: 5,
            payload: &[1, 2],
        };
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        assert_eq!(Packet::read(&bytes), Some(packet));
        // Two CSRCs, an extension of one word, three octets of padding.
        let odd = [
            &[0xb2, 0][..],
            &[0; 18],
            &[0, 0, 0, 1],
            &[9; 4],
            b"hey",
            &[0, 0, 3],
        ]
        .concat();
        assert_eq!(
            Packet::read(&odd).map(|p| p.payload),
            Some(b"hey".as_slice())
        );
        for cut in 0..odd.len() {
            let _ = Packet::read(&odd[..cut]);
        }
        let event = Event {
            code: 11,
            end: true,
            duration: 800,
        };
        assert_eq!(Event::read(&event.write()), Some(event));
    }

    #[test]
    fn losses_repeats_and_overtaking_are_told_apart() {
        let mut arrivals = Arrivals::default();
        let order: Vec<_> = [65_534, 65_535, 1, 0, 0, 5, 65_533]
            .map(|s| arrivals.note(&packet(s)))
            .into();
        use Order::*;
        assert_eq!(order, [First, Next, Ahead, Late, Repeat, Ahead, Late]);
        assert_eq!(
            (
                arrivals.received,
                arrivals.lost(),
                arrivals.reordered,
                arrivals.repeated
            ),
            (6, 3, 2, 1)
        );
        arrivals.note(&Packet {
            ssrc: 2,
            ..packet(77)
        });
        assert_eq!((arrivals.received, arrivals.lost()), (7, 3));
    }
}
