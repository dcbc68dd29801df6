//! One call's sockets around its `rtp::Stream`.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{Connection, MediaStats, SILENCE};
use crate::protocol::rtp::{
    Heard, Key, KeySource, MAX_PACKET, SENT_PACKET, Segment, Stream, StreamConfig,
};

/// One call: open, perhaps connected.
#[derive(Debug)]
pub(super) struct Call {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    far_end: Option<FarEnd>,
    /// Visits to the socket so far.
    visits: u32,
    /// The last visit found what comes in 20 ms: nothing more is due at the next.
    rest: bool,
    figures: MediaStats,
}

#[derive(Debug)]
struct FarEnd {
    /// Where SDP last said it is, but for addresses that are no place.
    signalled: Option<SocketAddr>,
    /// Where packets go: as signalled, but for a port that was learned.
    remote: SocketAddr,
    /// The port is the first that audio comes from, and none has come yet.
    learns: bool,
    /// It hears what is sent. Else nothing is, for so many frames already.
    hears: bool,
    held_frames: u32,
    /// The kernel knows it too. Not so where there was no way to it at that time.
    bound: bool,
    stream: Stream,
    next_report: Option<Instant>,
    /// When audio last came, or its lack was last told.
    last_heard: Option<Instant>,
}

/// What came of a turn to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// The tag of a play that ended with the last packet.
    pub ended: Option<u32>,
    /// Nothing has come for [`SILENCE`].
    pub silent: bool,
}

impl Call {
    pub fn new(rtp: UdpSocket, rtcp: UdpSocket) -> Call {
        Call {
            rtp,
            rtcp,
            far_end: None,
            visits: 0,
            rest: false,
            figures: MediaStats::default(),
        }
    }

    /// The far end has signalled where it is. The kernel is told too: it keeps away what comes from elsewhere, and finds
    /// the way there once and not for each packet.
    ///
    /// Not so where the port is learned: whatever the address sends must be seen then.
    pub fn connect(&mut self, to: Connection, config: StreamConfig) {
        if self.far_end.is_none() {
            self.forget_early();
        }
        let far_end = self.far_end.get_or_insert_with(|| FarEnd {
            signalled: None,
            remote: to.remote,
            learns: false,
            hears: true,
            held_frames: 0,
            bound: false,
            stream: Stream::new(config),
            next_report: None,
            last_heard: None,
        });
        if to.is_a_place() && far_end.signalled != Some(to.remote) {
            (far_end.signalled, far_end.remote) = (Some(to.remote), to.remote);
            // Once the kernel knows one address it can be told another, but not to forget.
            far_end.learns = to.symmetric && !far_end.bound;
            far_end.bound = !far_end.learns && self.rtp.connect(to.remote).is_ok();
        }
        far_end.stream.change(config.codec, config.key_type);
        far_end.hears = to.hears && to.is_a_place();
        if far_end.hears {
            let held = std::mem::take(&mut far_end.held_frames);
            if held > 0 {
                far_end.stream.skip(held);
            }
        } else {
            far_end.stream.hush();
        }
    }

    /// What came before the answer says nothing: a key pressed then was for somebody else.
    fn forget_early(&mut self) {
        let mut packet = [0u8; MAX_PACKET];
        for _ in 0..EARLY_PACKETS {
            match self.rtp.recv_from(&mut packet) {
                Ok(_) => self.figures.early += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    /// Neither sends nor listens any more.
    pub fn disconnect(&mut self) {
        self.far_end = None;
    }

    pub fn play(&mut self, tag: u32, segments: &[Segment]) {
        if let Some(far_end) = &mut self.far_end {
            far_end.stream.play(tag, segments);
        }
    }

    pub fn hush(&mut self) {
        if let Some(far_end) = &mut self.far_end {
            far_end.stream.hush();
        }
    }

    pub fn info(&mut self, now: Instant, key: Key) -> bool {
        self.far_end
            .as_mut()
            .is_some_and(|far_end| far_end.stream.info(now, key))
    }

    /// Sends the packet of the next 20 ms.
    pub fn send(&mut self, now: Instant) -> Turn {
        let Some(far_end) = self.far_end.as_mut() else {
            return Turn::default();
        };
        if !far_end.hears {
            far_end.held_frames = far_end.held_frames.saturating_add(1);
            // Whoever holds us need not play anything.
            far_end.last_heard = far_end.last_heard.map(|_| now);
            return Turn::default();
        }
        let mut packet = [0u8; SENT_PACKET];
        let (length, ended) = far_end.stream.frame(&mut packet);
        if far_end.transmit(&self.rtp, &packet[..length]).is_err() {
            self.figures.unsent += 1;
        }
        let due = *far_end.next_report.get_or_insert(now + REPORT_EVERY);
        let mut silent = false;
        if now >= due {
            far_end.next_report = Some(now + REPORT_EVERY);
            silent = far_end.last_heard.is_some_and(|last| now >= last + SILENCE);
            if silent {
                far_end.last_heard = Some(now);
            }
            self.report();
        }
        Turn { ended, silent }
    }

    /// Time has passed in which nothing could be sent.
    pub fn skip(&mut self, frames: u32) {
        if let Some(far_end) = &mut self.far_end {
            far_end.stream.skip(frames);
        }
    }

    /// Reads what has arrived; `heard` is called for each new key press.
    ///
    /// A far end sends one packet in 20 ms, the time of two visits: the visit after one that found a packet is left out,
    /// and a visit reads one packet. What that does not see (packets that came together, or earlier by and by) is read
    /// by a thorough visit now and then, and while the phone still rings nothing else is.
    pub fn receive(&mut self, now: Instant, mut heard: impl FnMut(Heard)) {
        self.visits = self.visits.wrapping_add(1);
        let thorough = self.visits.is_multiple_of(THOROUGH);
        let rest = std::mem::take(&mut self.rest) || self.far_end.is_none();
        if rest && !thorough {
            return;
        }
        let mut packet = [0u8; MAX_PACKET];
        let most = if thorough { PACKETS_A_TICK } else { 1 };
        let mut read = 0;
        for _ in 0..PACKETS_A_TICK {
            if read == most {
                break;
            }
            let (length, from) = match self.rtp.recv_from(&mut packet) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP of an earlier packet; the next read goes on.
                Err(_) => continue,
            };
            // What comes from elsewhere, before the kernel knows better, is nobody's turn.
            let Some(far_end) = self.far_end.as_mut().filter(|far_end| far_end.is_at(from)) else {
                self.figures.early += 1;
                continue;
            };
            read += 1;
            let held = !far_end.hears;
            let taken = far_end.stream.packet(now, &packet[..length], |key| {
                if !(held && key.source == KeySource::InBand) {
                    heard(key);
                }
            });
            if taken.is_ok() {
                far_end.last_heard = Some(now);
                // From now on it is here and nowhere else.
                (far_end.remote, far_end.learns) = (from, false);
            } else {
                self.figures.ignored += 1;
            }
        }
        self.rest = read == 1;
    }

    /// A sender report to the port above the far end's, and what came from there thrown away: it says nothing that
    /// is needed. Losing a report loses nothing.
    fn report(&mut self) {
        let Some(far_end) = &self.far_end else { return };
        let mut packet = [0u8; REPORT_SPACE];
        let length = far_end.stream.sender_report(ntp_now(), &mut packet);
        if let Some(port) = far_end.remote.port().checked_add(1) {
            let _ = self.rtcp.send_to(
                &packet[..length],
                SocketAddr::new(far_end.remote.ip(), port),
            );
        }
        for _ in 0..PACKETS_A_TICK {
            if self.rtcp.recv_from(&mut packet).is_err() {
                break;
            }
        }
    }

    pub fn stats(&self) -> MediaStats {
        let Some(far_end) = &self.far_end else {
            return self.figures;
        };
        let reception = far_end.stream.reception();
        MediaStats {
            sent: far_end.stream.sent() - self.figures.unsent,
            received: reception.received,
            lost: reception.lost,
            jitter_ms: reception.jitter_ms,
            ..self.figures
        }
    }
}

impl FarEnd {
    /// Is this where its audio may come from?
    fn is_at(&self, from: SocketAddr) -> bool {
        self.signalled.is_some()
            && (from == self.remote || self.learns && from.ip() == self.remote.ip())
    }

    fn transmit(&self, socket: &UdpSocket, packet: &[u8]) -> io::Result<usize> {
        if !self.bound {
            return socket.send_to(packet, self.remote);
        }
        match socket.send(packet) {
            // Said of an earlier packet, instead of sending this one: nobody listened there then.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => socket.send(packet),
            sent => sent,
        }
    }
}

/// NTP's 64-bit time (RFC 5905, section 6).
fn ntp_now() -> u64 {
    let millis = u64::try_from(crate::clock::wall().0).unwrap_or_default();
    let fraction = ((millis % 1_000) << 32) / 1_000;
    ((millis / 1_000).wrapping_add(SECONDS_1900_TO_1970) << 32) | fraction
}

/// Packets read of one call in one tick: four times what a lively far end sends in the time of a stall.
const PACKETS_A_TICK: usize = 16;
/// Packets thrown away at the answer: what the visits during the ringing have left at most.
const EARLY_PACKETS: usize = 64;
/// Each visit of so many is thorough: 80 ms, the longest that a packet waits which came together with others.
const THOROUGH: u32 = 8;
/// RFC 3550, section 6.2: at least five seconds apart.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A sender report with its source description.
const REPORT_SPACE: usize = 128;
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{carrier::sip::media::ports::Ports, protocol::rtp::Codec};
    use std::net::{IpAddr, Ipv4Addr};

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn plain(remote: SocketAddr) -> Connection {
        Connection {
            remote,
            hears: true,
            symmetric: false,
            codec: Codec::Pcmu,
            key_type: None,
        }
    }

    /// A call and its far end, and how many packets that one has sent.
    struct Bench {
        call: Call,
        far_end: UdpSocket,
        to: SocketAddr,
        sent: u16,
    }

    impl Bench {
        fn new() -> Bench {
            let (rtp, rtcp, to) = Ports::new(HOST, 34_000, 39_999).open().unwrap();
            let far_end = UdpSocket::bind((HOST, 0)).unwrap();
            let mut call = Call::new(rtp, rtcp);
            let config = StreamConfig {
                codec: Codec::Pcmu,
                key_type: None,
                seed: 1,
            };
            call.connect(plain(far_end.local_addr().unwrap()), config);
            Bench {
                call,
                far_end,
                to,
                sent: 0,
            }
        }

        /// On loopback what is sent has arrived.
        fn send(&mut self, count: u16) {
            for _ in 0..count {
                let mut packet = vec![0x80, 0];
                packet.extend(self.sent.to_be_bytes());
                packet.extend((u32::from(self.sent) * 160).to_be_bytes());
                packet.extend([0, 0, 0, 7]);
                packet.extend([0xff; 160]);
                self.far_end.send_to(&packet, self.to).unwrap();
                self.sent += 1;
            }
        }

        /// One visit; the packets that still wait.
        fn visit(&mut self) -> u64 {
            self.call.receive(Instant::now(), |_| {});
            u64::from(self.sent) - self.call.stats().received
        }
    }

    #[test]
    fn a_packet_each_20_ms_is_read_by_the_next_visit() {
        let mut bench = Bench::new();
        for _ in 0..100 {
            bench.send(1);
            assert_eq!(bench.visit(), 0);
            assert_eq!(bench.visit(), 0);
        }
    }

    #[test]
    fn a_far_end_that_sends_no_more_is_told_of_once_in_a_while() {
        let mut bench = Bench::new();
        let start = Instant::now();
        let at = |bench: &mut Bench, seconds: u64| {
            bench.call.send(start + Duration::from_secs(seconds)).silent
        };
        // One that has sent nothing at all may be silent by nature.
        assert!((0..100).step_by(5).all(|second| !at(&mut bench, second)));
        bench.send(1);
        bench.call.receive(start + Duration::from_secs(100), |_| {});
        let told: Vec<u64> = (100..190)
            .step_by(5)
            .filter(|second| at(&mut bench, *second))
            .collect();
        assert_eq!(told, [120, 140, 160, 180]);
    }

    #[test]
    fn what_comes_together_is_read_by_a_thorough_visit() {
        let mut bench = Bench::new();
        bench.send(PACKETS_A_TICK as u16);
        let waiting: Vec<u64> = (0..THOROUGH).map(|_| bench.visit()).collect();
        assert_eq!(waiting.last(), Some(&0), "{waiting:?}");
    }

    #[test]
    fn a_stream_that_comes_earlier_by_and_by_is_read_by_the_next_visit_again() {
        let mut bench = Bench::new();
        bench.send(1);
        assert_eq!(bench.visit(), 0);
        // From now on before what would be the visit that is left out.
        let waiting: Vec<u64> = (0..2 * THOROUGH)
            .map(|visit| {
                bench.send(u16::from(visit % 2 == 0));
                bench.visit()
            })
            .collect();
        assert_eq!(waiting[0], 1, "left out: {waiting:?}");
        assert!(
            waiting[THOROUGH as usize..].iter().all(|n| *n == 0),
            "{waiting:?}"
        );
    }
}
