//! SDP (RFC 4566, RFC 3264) for one audio stream: our offer, the peer's answer, and an answer to the peer's offer.
//!
//! We write strictly and read tolerantly: unknown lines are skipped, static payload types need no rtpmap, the first
//! usable audio stream counts. RFC 4733 telephone-event is offered always.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

pub use crate::protocol::rtp::{Codec, EVENT_TYPE as EVENTS};

/// Our end of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    pub address: SocketAddr,
    /// In order of preference, not empty.
    pub codecs: Vec<Codec>,
    /// Session id of the `o=` line.
    pub session: u32,
}

/// The peer's end of the stream, as agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where RTP goes, and the only place from which it is taken.
    pub address: SocketAddr,
    pub codec: Codec,
    pub payload_type: u8,
    /// Payload type of telephone-event, if the peer takes it.
    pub events: Option<u8>,
    /// The peer wants to hear us (`sendrecv`, `recvonly`).
    pub hears: bool,
    /// The peer speaks to us (`sendrecv`, `sendonly`).
    pub speaks: bool,
}

impl Remote {
    /// May RTP go there, for a call over a trunk at this address? Never to everybody (multicast, broadcast), and to this
    /// machine only where the trunk itself is on it. An address of zeros is a hold, and nothing goes there either.
    pub fn fits(&self, trunk: IpAddr) -> bool {
        let ip = self.address.ip().to_canonical();
        let everybody = match ip {
            IpAddr::V4(ip) => ip.is_broadcast() || ip.is_multicast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        !everybody && (!ip.is_loopback() || trunk.to_canonical().is_loopback())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpFault {
    #[error("no SDP")]
    Absent,
    #[error("no usable audio stream")]
    NoAudio,
    #[error("no address for the audio stream")]
    NoAddress,
    #[error("no codec in common")]
    NoCodec,
    #[error("an audio address where nothing may be sent: multicast, broadcast, or this machine")]
    Unfit,
}

/// Our offer.
pub fn offer(local: &Local) -> String {
    let mut out = head(local, 1);
    audio(&mut out, local, &local.codecs, Some(EVENTS));
    out.push_str("a=sendrecv\r\n");
    out
}

/// Our answer to `theirs`, from which `remote` was read; `version` goes up with each answer. One line for each of
/// their streams, port 0 for those we do not take (RFC 3264 6).
pub fn answer(local: &Local, theirs: &[u8], remote: &Remote, version: u32) -> String {
    let text = String::from_utf8_lossy(theirs);
    let mut out = head(local, version);
    let mut taken = false;
    for media in text.lines().filter_map(|line| line.strip_prefix("m=")) {
        if !taken && audio_port(media).is_some() {
            taken = true;
            audio(&mut out, local, &[remote.codec], remote.events);
            out.push_str(match (remote.hears, remote.speaks) {
                (true, true) => "a=sendrecv\r\n",
                (true, false) => "a=sendonly\r\n",
                (false, true) => "a=recvonly\r\n",
                (false, false) => "a=inactive\r\n",
            });
        } else {
            let mut parts = media.split_ascii_whitespace();
            let (kind, _, rest) = (
                parts.next().unwrap_or("audio"),
                parts.next(),
                parts.collect::<Vec<_>>(),
            );
            // Writing to a String cannot fail.
            let _ = write!(out, "m={kind} 0 {}\r\n", rest.join(" "));
        }
    }
    out
}

fn head(local: &Local, version: u32) -> String {
    let ip = local.address.ip();
    let kind = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let session = local.session;
    format!("v=0\r\no=- {session} {version} IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\n")
}

fn audio(out: &mut String, local: &Local, codecs: &[Codec], events: Option<u8>) {
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "m=audio {} RTP/AVP", local.address.port());
    for payload_type in codecs
        .iter()
        .map(|codec| codec.payload_type())
        .chain(events)
    {
        let _ = write!(out, " {payload_type}");
    }
    out.push_str("\r\n");
    for codec in codecs {
        let _ = write!(
            out,
            "a=rtpmap:{} {}/8000\r\n",
            codec.payload_type(),
            codec.name()
        );
    }
    if let Some(events) = events {
        let _ = write!(
            out,
            "a=rtpmap:{events} telephone-event/8000\r\na=fmtp:{events} 0-15\r\n"
        );
    }
    out.push_str("a=ptime:20\r\n");
}

/// Reads an answer, or an offer: the first audio stream with a port, its first codec that is among `ours`.
pub fn read(body: &[u8], ours: &[Codec]) -> Result<Remote, SdpFault> {
    let text = String::from_utf8_lossy(body);
    if !text.lines().any(|line| line.starts_with("m=")) {
        return Err(SdpFault::Absent);
    }
    let mut session_address = None;
    let mut session_direction = None;
    let mut lines = text.lines().map(str::trim_end).skip_while(|line| {
        session_address = session_address.or_else(|| connection(line));
        session_direction = session_direction.or_else(|| direction(line));
        !is_taken(line)
    });
    let media = lines
        .next()
        .and_then(|line| line.strip_prefix("m="))
        .ok_or(SdpFault::NoAudio)?;
    let port = audio_port(media).ok_or(SdpFault::NoAudio)?;
    let stream: Vec<&str> = lines.take_while(|line| !line.starts_with("m=")).collect();

    let ip = stream
        .iter()
        .find_map(|line| connection(line))
        .or(session_address)
        .ok_or(SdpFault::NoAddress)?;
    let formats: Vec<u8> = media
        .split_ascii_whitespace()
        .skip(3)
        .filter_map(|f| f.parse().ok())
        .collect();
    let (payload_type, codec) = formats
        .iter()
        .find_map(|format| {
            codec_of(*format, &stream)
                .filter(|codec| ours.contains(codec))
                .map(|c| (*format, c))
        })
        .ok_or(SdpFault::NoCodec)?;
    let events = events_of(&formats, &stream);
    // On hold the old way: an address of zeros (RFC 3264 8.4).
    let held = ip.is_unspecified();
    let (hears, speaks) = stream
        .iter()
        .find_map(|line| direction(line))
        .or(session_direction)
        .unwrap_or((true, true));
    let address = SocketAddr::new(ip, port);
    Ok(Remote {
        address,
        codec,
        payload_type,
        events,
        hears: hears && !held,
        speaks: speaks && !held,
    })
}

/// As [`read`], of an offer within a call whose stream was `before`: a port of 0 takes the stream away (RFC 3264 8.2),
/// which is a hold until another offer brings it back.
pub fn read_again(
    body: &[u8],
    ours: &[Codec],
    before: Option<&Remote>,
) -> Result<Remote, SdpFault> {
    match (read(body, ours), before) {
        (Err(SdpFault::NoAudio), Some(before)) if declines(body) => Ok(Remote {
            hears: false,
            speaks: false,
            ..before.clone()
        }),
        (read, _) => read,
    }
}

/// Is there an audio stream, with port 0?
fn declines(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).lines().any(|line| {
        let mut parts = line.split_ascii_whitespace();
        parts.next() == Some("m=audio") && parts.next() == Some("0")
    })
}

fn is_taken(line: &str) -> bool {
    line.strip_prefix("m=").and_then(audio_port).is_some()
}

/// The port of `audio PORT RTP/...`; `None` if it is no RTP audio or was declined.
fn audio_port(media: &str) -> Option<u16> {
    let mut parts = media.split_ascii_whitespace();
    let (kind, port, profile) = (parts.next()?, parts.next()?, parts.next()?);
    let port = port
        .split('/')
        .next()?
        .parse()
        .ok()
        .filter(|port| *port != 0)?;
    (kind == "audio" && matches!(profile, "RTP/AVP" | "RTP/AVPF")).then_some(port)
}

fn connection(line: &str) -> Option<IpAddr> {
    let mut parts = line.strip_prefix("c=")?.split_ascii_whitespace().skip(2);
    parts.next()?.split('/').next()?.parse().ok()
}

/// What the peer does: (hears, speaks).
fn direction(line: &str) -> Option<(bool, bool)> {
    match line {
        "a=sendrecv" => Some((true, true)),
        "a=sendonly" => Some((false, true)),
        "a=recvonly" => Some((true, false)),
        "a=inactive" => Some((false, false)),
        _ => None,
    }
}

fn rtpmap<'a>(format: u8, stream: &[&'a str]) -> Option<&'a str> {
    stream.iter().find_map(|line| {
        let (number, map) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        (number.trim().parse() == Ok(format)).then_some(map.trim())
    })
}

fn codec_of(format: u8, stream: &[&str]) -> Option<Codec> {
    let map = rtpmap(format, stream).map(str::to_ascii_uppercase);
    match (map.as_deref(), format) {
        (Some(map), _) if map.starts_with("PCMU/8000") => Some(Codec::Pcmu),
        (Some(map), _) if map.starts_with("PCMA/8000") => Some(Codec::Pcma),
        (None, 0) => Some(Codec::Pcmu),
        (None, 8) => Some(Codec::Pcma),
        _ => None,
    }
}

/// The payload type of telephone-event: the one that is mapped to it, or one that is not mapped to anything and can
/// mean nothing else, since we offer no other dynamic type.
fn events_of(formats: &[u8], stream: &[&str]) -> Option<u8> {
    let named = |format: &u8| {
        rtpmap(*format, stream).is_some_and(|map| {
            let map = map.to_ascii_lowercase();
            map == "telephone-event" || map.starts_with("telephone-event/8000")
        })
    };
    let bare = |format: &u8| (96..128).contains(format) && rtpmap(*format, stream).is_none();
    let mut unmapped = formats.iter().copied().filter(bare);
    formats
        .iter()
        .copied()
        .find(named)
        .or_else(|| formats.iter().copied().find(|f| *f == EVENTS && bare(f)))
        .or_else(|| unmapped.next().filter(|_| unmapped.next().is_none()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

    fn local() -> Local {
        Local {
            address: "192.0.2.1:20000".parse().expect("an address"),
            codecs: BOTH.to_vec(),
            session: 7,
        }
    }

    #[test]
    fn our_offer_is_read_back() {
        let text = offer(&local());
        assert!(
            text.starts_with("v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\n"),
            "{text}"
        );
        assert!(text.contains("m=audio 20000 RTP/AVP 0 8 101\r\n"), "{text}");
        let remote = read(text.as_bytes(), &BOTH).expect("good");
        assert_eq!(
            (remote.codec, remote.events, remote.hears, remote.speaks),
            (Codec::Pcmu, Some(101), true, true)
        );
        assert_eq!(
            read(text.as_bytes(), &[Codec::Pcma]).map(|r| r.codec),
            Ok(Codec::Pcma)
        );
    }

    #[test]
    fn answers_are_read_tolerantly() {
        let text = "v=0\nc=IN IP4 198.51.100.1\nb=AS:64\nm=video 3227 RTP/AVP 31\nm=audio 0 RTP/AVP 0\n\
                    m=audio 4000/2 RTP/AVP 18 96 8 100\nc=IN IP4 198.51.100.2/127\na=rtpmap:96 pcmu/8000/1\n\
                    a=rtpmap:100 Telephone-Event/8000\na=sendonly\na=candidate:1 x\nm=audio 5000 RTP/AVP 0\n";
        let remote = read(text.as_bytes(), &BOTH).expect("good");
        assert_eq!(
            remote.address,
            "198.51.100.2:4000".parse().expect("an address")
        );
        assert_eq!(
            (remote.codec, remote.payload_type, remote.events),
            (Codec::Pcmu, 96, Some(100))
        );
        assert_eq!((remote.hears, remote.speaks), (false, true));
        let held = read(b"c=IN IP4 0.0.0.0\r\nm=audio 9 RTP/AVP 8\r\n", &BOTH).expect("good");
        assert_eq!(
            (held.hears, held.speaks, held.codec),
            (false, false, Codec::Pcma)
        );
    }

    #[test]
    fn the_payload_type_of_events_is_found_where_only_one_can_be_meant() {
        for (formats, maps, events) in [
            ("0 101", "a=rtpmap:101 telephone-event/8000", Some(101)),
            ("101 0", "a=rtpmap:101 Telephone-Event/8000/1", Some(101)),
            ("0 96", "a=rtpmap:96 telephone-event/8000", Some(96)),
            ("0 96", "a=rtpmap:96 telephone-event", Some(96)),
            (
                "0 110 101",
                "a=rtpmap:110 telephone-event/48000\na=rtpmap:101 telephone-event/8000",
                Some(101),
            ),
            // Not mapped.
            ("0 101", "", Some(101)),
            ("0 96", "", Some(96)),
            ("0 96 101", "", Some(101)),
            ("0 96 97", "", None),
            ("0 96", "a=rtpmap:96 iLBC/8000", None),
            ("0 110", "a=rtpmap:110 telephone-event/48000", None),
            ("0 13", "", None),
            ("0", "", None),
        ] {
            let text = format!("c=IN IP4 1.2.3.4\nm=audio 9 RTP/AVP {formats}\n{maps}\n");
            assert_eq!(
                read(text.as_bytes(), &BOTH).map(|r| r.events),
                Ok(events),
                "{text}"
            );
        }
    }

    #[test]
    fn broken_sdp_says_what_is_missing() {
        for (text, fault) in [
            ("", SdpFault::Absent),
            ("junk", SdpFault::Absent),
            ("m=video 1 RTP/AVP 31", SdpFault::NoAudio),
            ("c=IN IP4 1.2.3.4\nm=audio 0 RTP/AVP 0", SdpFault::NoAudio),
            (
                "c=IN IP4 1.2.3.4\nm=audio 70000 RTP/AVP 0",
                SdpFault::NoAudio,
            ),
            ("c=IN IP4 1.2.3.4\nm=audio 1 RTP/SAVP 0", SdpFault::NoAudio),
            (
                "c=IN IP4 host.example\nm=audio 1 RTP/AVP 0",
                SdpFault::NoAddress,
            ),
            (
                "c=IN IP4 1.2.3.4\nm=audio 1 RTP/AVP 9 18",
                SdpFault::NoCodec,
            ),
        ] {
            assert_eq!(read(text.as_bytes(), &BOTH), Err(fault), "{text}");
        }
    }

    #[test]
    fn audio_goes_to_one_machine_and_to_ours_only_where_the_trunk_is() {
        let (far, here) = (IpAddr::from([192, 0, 2, 9]), IpAddr::from([127, 0, 0, 1]));
        for (address, from_far, from_here) in [
            ("IP4 198.51.100.2", true, true),
            ("IP4 127.0.0.1", false, true),
            ("IP4 127.9.9.9", false, true),
            ("IP6 ::1", false, true),
            ("IP6 ::ffff:127.0.0.1", false, true),
            ("IP4 224.0.1.1/127", false, false),
            ("IP4 255.255.255.255", false, false),
            ("IP6 ff02::1", false, false),
            ("IP6 2001:db8::1", true, true),
        ] {
            let text = format!("c=IN {address}\nm=audio 9 RTP/AVP 0\n");
            let remote = read(text.as_bytes(), &BOTH).expect("good");
            assert_eq!(
                (remote.fits(far), remote.fits(here)),
                (from_far, from_here),
                "{address}"
            );
        }
    }

    #[test]
    fn a_stream_that_is_taken_away_is_a_hold() {
        let before = read(b"c=IN IP4 1.2.3.4\nm=audio 9 RTP/AVP 0\n", &BOTH).expect("good");
        let away = b"c=IN IP4 1.2.3.4\r\nm=audio 0 RTP/AVP 0\r\n";
        let now = read_again(away, &BOTH, Some(&before)).expect("a hold");
        assert_eq!(
            (now.hears, now.speaks, now.address),
            (false, false, before.address)
        );
        assert!(answer(&local(), away, &now, 2).contains("m=audio 0 RTP/AVP 0\r\n"));
        // An answer without a stream is none, and neither is an offer of something else.
        assert_eq!(read_again(away, &BOTH, None), Err(SdpFault::NoAudio));
        let video = b"c=IN IP4 1.2.3.4\r\nm=video 9 RTP/AVP 31\r\n";
        assert_eq!(
            read_again(video, &BOTH, Some(&before)),
            Err(SdpFault::NoAudio)
        );
    }

    #[test]
    fn an_answer_has_a_line_for_each_stream_offered() {
        let theirs = b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=video 9 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8 101\r\n\
                       a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=audio 5000 RTP/AVP 0\r\n";
        let remote = read(theirs, &BOTH).expect("good");
        let text = answer(&local(), theirs, &remote, 2);
        let media: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(
            media,
            [
                "m=video 0 RTP/AVP 31",
                "m=audio 20000 RTP/AVP 8 101",
                "m=audio 0 RTP/AVP 0"
            ]
        );
        assert!(
            text.contains("o=- 7 2 ") && text.contains("a=recvonly"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(octets in proptest::collection::vec(any::<u8>(), 0..300), text in "([mca]=[ -~]{0,30}\n){0,8}") {
            let _ = read(&octets, &BOTH);
            if let Ok(remote) = read(text.as_bytes(), &BOTH) {
                answer(&local(), text.as_bytes(), &remote, 1);
            }
        }
    }
}
