//! Session descriptions (RFC 8866) in offer and answer (RFC 3264), as far as a G.711 call needs them.
//!
//! Pure. Reads what the caller offers and writes the trunk's answer; anything but audio is refused in it.

use super::g711::Law;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// What the caller offers for audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where the caller wants our packets.
    pub remote: SocketAddr,
    /// The first of PCMU and PCMA in the caller's order.
    pub law: Law,
    /// The payload type of `telephone-event/8000`, where it is offered.
    pub telephone_event: Option<u8>,
    /// The payload types in the caller's order.
    pub formats: Vec<u8>,
    /// The media lines, for the answer must have as many: true for the audio taken.
    lines: Vec<(String, bool)>,
}

/// Why an offer cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No session description at all, or an unreadable one.
    Unreadable,
    /// No audio over RTP/AVP with an address and a port.
    NoAudio,
    /// Neither PCMU nor PCMA.
    NoCodec,
}

impl Offer {
    /// Read an offer.
    pub fn read(body: &[u8]) -> Result<Offer, Refused> {
        let text = std::str::from_utf8(body).map_err(|_| Refused::Unreadable)?;
        if !text.starts_with("v=0") {
            return Err(Refused::Unreadable);
        }
        let mut read = Reading::default();
        for line in text.lines() {
            read.line(line.trim_end());
        }
        read.offer()
    }

    /// The answer: one of the codecs, telephone-event unless digits may travel in-band only.
    pub fn answer(&self, local: SocketAddr, version: u64, events: bool) -> String {
        let family = if local.is_ipv4() { "IP4" } else { "IP6" };
        let host = local.ip();
        let mut text = format!(
            "v=0\r\no=trunk {version} {version} IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n"
        );
        let events = self.telephone_event.filter(|_| events);
        for (line, taken) in &self.lines {
            if !taken {
                let _ = write!(text, "m={} 0 {}\r\n", media_of(line), rest_of(line));
                continue;
            }
            let (codec, name) = (self.law.payload_type(), self.law.name());
            let _ = write!(text, "m=audio {} RTP/AVP {codec}", local.port());
            if let Some(event) = events {
                let _ = write!(text, " {event}");
            }
            let _ = write!(text, "\r\na=rtpmap:{codec} {name}/8000\r\n");
            if let Some(event) = events {
                let _ = write!(
                    text,
                    "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n"
                );
            }
            text.push_str("a=ptime:20\r\na=sendrecv\r\n");
        }
        text
    }
}

#[derive(Default)]
struct Reading {
    lines: Vec<String>,
    host: Option<IpAddr>,
    /// Of the audio line taken.
    audio: Option<Audio>,
    /// Attributes belong to the line taken.
    inside: bool,
}

struct Audio {
    line: usize,
    port: u16,
    host: Option<IpAddr>,
    formats: Vec<u8>,
    maps: Vec<(u8, String)>,
}

impl Reading {
    fn line(&mut self, line: &str) {
        let Some((kind, value)) = line.split_once('=') else {
            return;
        };
        match kind {
            "m" if self.lines.len() < MAX_MEDIA_LINES => self.media(value),
            "c" => {
                let host = value
                    .split(' ')
                    .nth(2)
                    .and_then(|h| h.split('/').next()?.parse().ok());
                match &mut self.audio {
                    Some(audio) if self.inside => audio.host = host,
                    _ if self.lines.is_empty() => self.host = host,
                    _ => {}
                }
            }
            "a" if self.inside => {
                if let (Some(audio), Some(map)) = (&mut self.audio, value.strip_prefix("rtpmap:"))
                    && let Some((format, name)) = map.split_once(' ')
                    && let Ok(format) = format.parse()
                {
                    audio.maps.push((format, name.trim().to_ascii_lowercase()));
                }
            }
            _ => {}
        }
    }

    fn media(&mut self, value: &str) {
        let words: Vec<&str> = value.split(' ').collect();
        self.inside = false;
        if let ["audio", port, "RTP/AVP", formats @ ..] = words.as_slice()
            && self.audio.is_none()
            && let Some(port) = port.split('/').next().and_then(|p| p.parse().ok())
            && port != 0
        {
            self.inside = true;
            let formats = formats.iter().filter_map(|f| f.parse().ok()).collect();
            self.audio = Some(Audio {
                line: self.lines.len(),
                port,
                host: None,
                formats,
                maps: Vec::new(),
            });
        }
        self.lines.push(value.to_owned());
    }

    fn offer(self) -> Result<Offer, Refused> {
        let audio = self.audio.ok_or(Refused::NoAudio)?;
        let host = audio.host.or(self.host).ok_or(Refused::NoAudio)?;
        let named = |format: u8, name: &str| {
            audio
                .maps
                .iter()
                .any(|(f, n)| *f == format && n.starts_with(name))
        };
        let law = audio.formats.iter().find_map(|&format| match format {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        });
        Ok(Offer {
            remote: SocketAddr::new(host, audio.port),
            law: law.ok_or(Refused::NoCodec)?,
            telephone_event: audio
                .formats
                .iter()
                .copied()
                .find(|f| named(*f, "telephone-event/8000")),
            lines: self
                .lines
                .into_iter()
                .enumerate()
                .map(|(at, line)| (line, at == audio.line))
                .collect(),
            formats: audio.formats,
        })
    }
}

fn media_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or("audio")
}

fn rest_of(line: &str) -> &str {
    line.splitn(3, ' ').nth(2).unwrap_or("RTP/AVP 0")
}

/// The most media lines of an offer that are answered.
const MAX_MEDIA_LINES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
        m=audio 20000 RTP/AVP 18 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n\
        m=video 20002 RTP/AVP 31\r\n";

    #[test]
    fn the_callers_order_decides_and_every_line_is_answered() {
        let offer = Offer::read(OFFER.as_bytes()).unwrap();
        assert_eq!((offer.law, offer.telephone_event), (Law::A, Some(101)));
        assert_eq!(offer.remote, "127.0.0.1:20000".parse().unwrap());
        let answer = offer.answer("127.0.0.2:30000".parse().unwrap(), 5, true);
        assert!(
            answer.contains("m=audio 30000 RTP/AVP 8 101\r\n"),
            "{answer}"
        );
        assert!(answer.contains("m=video 0 RTP/AVP 31\r\n"), "{answer}");
        let inband = offer.answer("127.0.0.2:30000".parse().unwrap(), 5, false);
        assert!(!inband.contains("telephone-event"), "{inband}");
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        assert_eq!(Offer::read(b"hello"), Err(Refused::Unreadable));
        assert_eq!(
            Offer::read(b"v=0\r\nc=IN IP4 1.2.3.4\r\n"),
            Err(Refused::NoAudio)
        );
        assert_eq!(
            Offer::read(b"v=0\r\nm=audio 9 RTP/AVP 0\r\n"),
            Err(Refused::NoAudio)
        );
        assert_eq!(
            Offer::read(b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 9 RTP/AVP 18\r\n"),
            Err(Refused::NoCodec)
        );
    }
}
