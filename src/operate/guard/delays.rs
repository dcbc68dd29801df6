//! How long a wrong token waits for its answer: longer with each from the same source. Pure.
//!
//! A right token never waits, whoever sent what before. A source is an IPv4 address or an IPv6 network of 64 bits
//! (what one customer has); sources are remembered in a bounded table.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// The first wrong token of a source waits so long; each further one twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// A source that was quiet so long begins anew.
const QUIET: Duration = Duration::from_secs(300);
/// Sources remembered; beyond it the one that was quiet longest goes.
const SOURCES: usize = 4_096;

#[derive(Debug, Default)]
pub struct Delays {
    sources: HashMap<IpAddr, Source>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    wrong: u32,
    last: Instant,
}

impl Delays {
    /// A wrong token came from there: how long its answer waits.
    pub fn wrong(&mut self, from: IpAddr, now: Instant) -> Duration {
        let from = source(from);
        if !self.sources.contains_key(&from) {
            self.make_room(now);
        }
        let known = self.sources.entry(from).or_insert(Source {
            wrong: 0,
            last: now,
        });
        if now.saturating_duration_since(known.last) >= QUIET {
            known.wrong = 0;
        }
        known.last = now;
        let wait = FIRST.saturating_mul(1 << known.wrong.min(16)).min(LONGEST);
        known.wrong = known.wrong.saturating_add(1);
        wait
    }

    fn make_room(&mut self, now: Instant) {
        if self.sources.len() < SOURCES {
            return;
        }
        self.sources
            .retain(|_, known| now.saturating_duration_since(known.last) < QUIET);
        if self.sources.len() >= SOURCES
            && let Some(oldest) = self
                .sources
                .iter()
                .min_by_key(|(_, known)| known.last)
                .map(|(from, _)| *from)
        {
            self.sources.remove(&oldest);
        }
    }
}

/// What counts as one sender.
pub fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_wrong_token_waits_longer_up_to_a_bound() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        let waits: Vec<u128> = (0..8)
            .map(|_| delays.wrong(at("192.0.2.1"), now).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(delays.wrong(at("192.0.2.2"), now), FIRST);
        let mapped = delays.wrong(at("::ffff:192.0.2.1"), now);
        assert_eq!(mapped, LONGEST, "the same source in another form");
        assert_eq!(delays.wrong(at("192.0.2.1"), now + QUIET), FIRST);
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        assert_eq!(delays.wrong(at("2001:db8:0:1::1"), now), FIRST);
        assert_eq!(delays.wrong(at("2001:db8:0:1:ffff::2"), now), FIRST * 2);
        assert_eq!(delays.wrong(at("2001:db8:0:2::1"), now), FIRST);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        for n in 0..SOURCES as u32 + 100 {
            let at = now + Duration::from_millis(u64::from(n));
            delays.wrong(IpAddr::V4(n.into()), at);
        }
        assert_eq!(delays.sources.len(), SOURCES);
        let last = IpAddr::V4((SOURCES as u32 + 99).into());
        assert_eq!(delays.wrong(last, now + QUIET / 2), FIRST * 2);
    }
}
