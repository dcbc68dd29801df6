//! The RTP of one call: what to send each 20 ms, what a packet that came in means.

use rtcp_types::{Compound, RtcpPacketWriterExt, Sdes, SdesChunk, SdesItem, SenderReport};
use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};
use std::time::Instant;

use super::reception::Order;
use super::{
    AudioFrame, Codec, DigitMerge, EVENT_TYPE, EventPacket, EventReceiver, FRAME, Key, KeySource,
    Playout, Reception, ReceptionStats, SENT_PACKET, Segment, ToneDetector,
};

/// What SDP has agreed on, and the seed of the call's first sequence number, timestamp and SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    pub codec: Codec,
    /// The payload type of telephone-event that the far end has named, if it has it.
    pub key_type: Option<u8>,
    pub seed: u64,
}

/// Both directions of one call.
#[derive(Debug)]
pub struct Stream {
    config: StreamConfig,
    playout: Playout,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    /// The next audio packet begins a talkspurt (RFC 3551, section 4.1).
    mark: bool,
    sent: u64,
    sent_octets: u64,
    reception: Reception,
    events: EventReceiver,
    tones: ToneDetector,
    merge: DigitMerge,
    /// The far end has sent a key as an event: it sends all of them so, and a voice can't press any.
    has_events: bool,
}

/// A new key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub key: Key,
    pub source: KeySource,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No RTP.
    Malformed,
    /// A payload type that was not offered.
    PayloadType,
    /// A sequence number far off the stream.
    Astray,
}

impl Stream {
    pub fn new(config: StreamConfig) -> Stream {
        let first = mix(config.seed);
        let mut tones = ToneDetector::default();
        tones.set_strict(config.key_type.is_some());
        Stream {
            config,
            playout: Playout::new(config.codec, config.key_type.is_some()),
            // The upper half of the sequence numbers is left out: RFC 3711 asks for room before the wrap.
            sequence: (first as u16) & 0x7fff,
            timestamp: (first >> 16) as u32,
            ssrc: (mix(first) >> 8) as u32,
            mark: true,
            sent: 0,
            sent_octets: 0,
            reception: Reception::default(),
            events: EventReceiver::default(),
            tones,
            has_events: false,
            merge: DigitMerge::default(),
        }
    }

    /// SDP has agreed on something else; what is playing goes on.
    pub fn change(&mut self, codec: Codec, key_type: Option<u8>) {
        (self.config.codec, self.config.key_type) = (codec, key_type);
        self.playout.change(codec, key_type.is_some());
        self.tones.set_strict(key_type.is_some());
    }

    /// Plays this instead of what was playing; `tag` comes back when it is over.
    pub fn play(&mut self, tag: u32, segments: &[Segment]) {
        self.playout.play(tag, segments);
    }

    /// Sends silence from now on.
    pub fn hush(&mut self) {
        self.playout.hush();
    }

    /// The packet of the next 20 ms and its length; the tag of what ended just before it.
    pub fn frame(&mut self, out: &mut [u8; SENT_PACKET]) -> (usize, Option<u32>) {
        let mut audio = [0u8; FRAME];
        let (frame, ended) = self.playout.next_frame(&mut audio);
        let builder = RtpPacketBuilder::new()
            .ssrc(self.ssrc)
            .sequence(Seq::from(self.sequence));
        let event;
        let builder = match frame {
            AudioFrame::Audio => {
                let mark = std::mem::take(&mut self.mark);
                let kind = self.config.codec.payload_type();
                builder
                    .payload_type(kind)
                    .marked(mark)
                    .timestamp(self.timestamp)
                    .payload(&audio)
            }
            AudioFrame::Event { payload, age } => {
                event = payload;
                self.mark = true;
                let began = self.timestamp.wrapping_sub(age.wrapping_mul(FRAME as u32));
                let kind = self.config.key_type.unwrap_or_default();
                builder
                    .payload_type(kind)
                    .marked(age == 0)
                    .timestamp(began)
                    .payload(&event)
            }
        };
        // The buffer holds a header and a frame, and payload types are below 128: building can't fail.
        let length = builder.build_into(out).unwrap_or(0);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        self.sent += 1;
        self.sent_octets += (length as u64).saturating_sub(12);
        (length, ended)
    }

    /// Time has passed in which nothing was sent: the timestamps go on, the sequence numbers don't.
    pub fn skip(&mut self, frames: u32) {
        self.timestamp = self
            .timestamp
            .wrapping_add(frames.wrapping_mul(FRAME as u32));
        self.mark = true;
    }

    /// A packet from the far end's address; `heard` is called for each new key press in it.
    pub fn packet(
        &mut self,
        now: Instant,
        bytes: &[u8],
        mut heard: impl FnMut(Heard),
    ) -> Result<(), Ignored> {
        let packet = RtpReader::new(bytes).map_err(|_| Ignored::Malformed)?;
        let kind = packet.payload_type();
        let codec = match kind {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            // Comfort noise (RFC 3389): a pause, nothing to hear.
            13 => None,
            kind if self.is_event(kind) => None,
            _ => return Err(Ignored::PayloadType),
        };
        let (ssrc, sequence) = (packet.ssrc(), u16::from(packet.sequence_number()));
        let order = self
            .reception
            .receive(now, ssrc, sequence, packet.timestamp());
        let is_event = self.is_event(kind);
        // Events are told apart by their timestamps, so one that is out of any order does no harm.
        if order == Order::Astray && !is_event {
            return Err(Ignored::Astray);
        }
        let merge = &mut self.merge;
        let mut press = |key, source| {
            if merge.hear(now, key, source) {
                heard(Heard { key, source });
            }
        };
        if is_event {
            let event = EventPacket {
                ssrc,
                sequence,
                marker: packet.mark(),
                timestamp: packet.timestamp(),
                payload: packet.payload(),
            };
            if let Some(key) = self.events.receive(&event) {
                self.has_events = true;
                press(key, KeySource::Event);
            }
        } else if let Some(codec) = codec
            && order != Order::Behind
            && !self.has_events
        {
            let meaning = codec.samples();
            let samples = packet
                .payload()
                .iter()
                .map(|octet| meaning[usize::from(*octet)]);
            self.tones
                .listen(samples, |key| press(key, KeySource::InBand));
        }
        Ok(())
    }

    fn is_event(&self, kind: u8) -> bool {
        Some(kind) == self.config.key_type || kind == EVENT_TYPE
    }

    /// A key told by SIP INFO. True if it is a new press.
    pub fn info(&mut self, now: Instant, key: Key) -> bool {
        self.merge.hear(now, key, KeySource::Info)
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn reception(&self) -> ReceptionStats {
        self.reception.stats()
    }

    /// A sender report with the name that RFC 3550 asks for in each (sections 6.4.1 and 6.5.1), for this moment, `ntp`
    /// in NTP's 32.32 bits. The length written; 0 if the buffer is too short.
    pub fn sender_report(&self, ntp: u64, out: &mut [u8]) -> usize {
        let report = SenderReport::builder(self.ssrc)
            .ntp_timestamp(ntp)
            .rtp_timestamp(self.timestamp)
            .packet_count(self.sent as u32)
            .octet_count(self.sent_octets as u32);
        let name = format!("{:016x}", mix(self.config.seed ^ u64::from(self.ssrc)));
        let item = SdesItem::builder(SdesItem::CNAME, &name);
        let names = Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(item));
        Compound::builder()
            .add_packet(report)
            .add_packet(names)
            .write_into(out)
            .unwrap_or(0)
    }
}

/// The finaliser of SplitMix64: neighbouring seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
