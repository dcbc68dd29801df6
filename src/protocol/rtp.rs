//! RTP for one call: RFC 3550 packets every 20 ms from recordings that were encoded once, digits by
//! RFC 4733 and in-band, what was lost on the way in. Sans-IO: packets and time in, packets and keys out.
//! Knows no socket, no clock, no SIP; `carrier/sip/media.rs` drives it.

mod digits;
mod event;
mod g711;
mod key;
mod playout;
mod reception;
mod stream;
mod tone;

pub use digits::DigitMerge;
pub use event::{EventPacket, EventReceiver, EventSender};
pub use g711::{Codec, Sound};
pub use key::{Key, KeySource};
pub use playout::{AudioFrame, Playout, Segment};
pub use reception::{Reception, ReceptionStats};
pub use stream::{Heard, Ignored, Stream, StreamConfig};
pub use tone::{ToneDetector, tone};

use std::time::Duration;

/// Samples per second of G.711 and of RFC 4733 timestamps here.
pub const SAMPLE_RATE: u32 = 8_000;
/// Samples, and octets of G.711, in one packet.
pub const FRAME: usize = 160;
/// The time between two packets.
pub const FRAME_TIME: Duration = Duration::from_millis(20);
/// The payload type under which we offer telephone-event. The far end sends events under this number (RFC 3264, section
/// 5.1), or under that of its answer.
pub const EVENT_TYPE: u8 = 101;
/// The longest packet that is looked at; longer ones are cut by the socket and refused as malformed.
pub const MAX_PACKET: usize = 1_500;
/// The longest packet ever sent: a header of twelve octets and one frame.
pub const SENT_PACKET: usize = 12 + FRAME;
