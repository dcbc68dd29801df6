//! The network between a trunk and its far end: it loses datagrams, repeats them, and lets some overtake others.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::messages::{first_line, header};
use crate::rehearse::{
    dice::Dice,
    stage::{Effect, Stage},
};

/// Where forged datagrams come from: nobody's address (RFC 5737).
pub const FORGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 5060);
/// So many in a row are lost at most, or an unlucky seed would break what only luck can keep.
const MOST_LOST: u32 = 3;

#[derive(Debug, Default)]
pub struct Network {
    /// Nothing comes through until then.
    gone_until: Option<Instant>,
    lost: u32,
    /// Datagrams on their way.
    under_way: usize,
}

impl Network {
    pub fn cut(&mut self, until: Instant) {
        self.gone_until = Some(until);
    }

    /// It has held for so long.
    pub fn holds(&self, now: Instant, so_long: Duration) -> bool {
        self.gone_until.is_none_or(|until| now >= until + so_long)
    }

    pub fn arrived(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub fn is_empty(&self) -> bool {
        self.under_way == 0
    }

    /// After what times a datagram that is sent now arrives: never, once, or twice.
    pub fn ways(&mut self, now: Instant, stage: &mut Stage<'_>) -> Vec<Duration> {
        let profile = stage.profile;
        let lost = self.lost < MOST_LOST && stage.dice.chance(profile.datagrams_lost);
        if !self.holds(now, Duration::ZERO) {
            return Vec::new();
        }
        if lost {
            self.lost += 1;
            stage.effects.push(Effect::Fault("datagram lost"));
            return Vec::new();
        }
        self.lost = 0;
        let mut ways = vec![stage.dice.between(2, 40)];
        if stage.dice.chance(profile.datagrams_late) {
            stage.effects.push(Effect::Fault("datagram late"));
            ways[0] += stage.dice.between(40, 1_500);
        }
        if stage.dice.chance(profile.datagrams_repeated) {
            stage.effects.push(Effect::Fault("datagram repeated"));
            ways.push(ways[0] + stage.dice.between(0, 900));
        }
        self.under_way += ways.len();
        ways
    }
}

/// What somebody might send who has seen this message of the far end's: another answer to the same request, an answer
/// with audio of his own, or the end of the call.
pub fn forge(seen: &[u8], dice: &mut Dice) -> Vec<u8> {
    let text = String::from_utf8_lossy(seen);
    let is_answer = text.starts_with("SIP/2.0 ");
    let status = ["200 OK", "486 Busy Here", "603 Decline", "180 Ringing"];
    match dice.below(3) {
        0 if is_answer => {
            let other = dice.pick(&status);
            text.replacen(first_line(seen), other, 1).into_bytes()
        }
        1 => seen.to_vec(),
        _ => {
            let of = |name| header(seen, name).unwrap_or_default();
            // The far end stands in To where it answers.
            let (far, ours) = match is_answer {
                true => (of("To"), of("From")),
                false => (of("From"), of("To")),
            };
            format!(
                "BYE sip:ringback@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {FORGER};branch=z9hG4bKforged{:x}\r\n\
                 Max-Forwards: 70\r\nFrom: {far}\r\nTo: {ours}\r\nCall-ID: {}\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n",
                dice.below(u64::MAX),
                of("Call-ID"),
            )
            .into_bytes()
        }
    }
}
