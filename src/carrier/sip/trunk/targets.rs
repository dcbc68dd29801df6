//! Where a trunk's endpoints are, and in which order they are asked.
//!
//! Knows nothing of calls. An endpoint that stopped answering its probes is asked last, never left out.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    config::carrier::{Carry, Endpoint},
    protocol::sip::{ProbeHandle, Transport},
};

/// One address of one endpoint.
#[derive(Clone, Debug)]
pub struct Target {
    /// Of the configuration's list.
    pub endpoint: usize,
    pub address: SocketAddr,
    pub transport: Transport,
    /// The probe on its way, and when its silence is an answer.
    pub probe: Option<(ProbeHandle, Instant)>,
    /// It has answered a probe once: its silence means something.
    pub answers: bool,
    pub down: bool,
}

/// What OPTIONS brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Any answer but those below shows a living server: 404, 405 and 501 too (RFC 3261, 11.2).
    Alive,
    /// It answers, and takes nothing now: 500, 502, 503, 504 and their like.
    Unavailable(u16),
    Silent,
}

impl Probed {
    pub fn of(status: Option<u16>) -> Probed {
        match status {
            None => Probed::Silent,
            // Not implemented, version not supported, message too large: of the request, not of the server.
            Some(501 | 505 | 513) => Probed::Alive,
            Some(status @ 500..=599) => Probed::Unavailable(status),
            Some(_) => Probed::Alive,
        }
    }
}

/// The least time that an answer to OPTIONS gets.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long the answer to a probe is awaited: no longer than to the next probe, or none would ever be late.
pub fn patience(every: Duration, response_timeout: Duration) -> Duration {
    every.max(LEAST_PATIENCE).min(response_timeout)
}

/// What a name stands for now.
#[derive(Debug)]
pub struct Resolved {
    pub endpoint: usize,
    pub addresses: Vec<SocketAddr>,
}

#[derive(Debug, Default)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// Replaces one endpoint's addresses, keeping what is known of those that stay. True if anything changed.
    pub fn resolved(&mut self, endpoints: &[Endpoint], resolved: &Resolved) -> bool {
        let Some(endpoint) = endpoints.get(resolved.endpoint) else {
            return false;
        };
        let transport = transport(endpoint.carry);
        let before: Vec<_> = self.0.iter().map(|t| (t.endpoint, t.address)).collect();
        let fresh = |address: &SocketAddr| Target {
            endpoint: resolved.endpoint,
            address: *address,
            transport,
            probe: None,
            answers: false,
            down: false,
        };
        let known = |address: &SocketAddr| {
            self.0
                .iter()
                .find(|t| t.endpoint == resolved.endpoint && t.address == *address)
                .cloned()
        };
        let new: Vec<Target> = resolved
            .addresses
            .iter()
            .map(|address| known(address).unwrap_or_else(|| fresh(address)))
            .collect();
        self.0.retain(|t| t.endpoint != resolved.endpoint);
        self.0.extend(new);
        self.0.sort_by_key(|t| t.endpoint);
        before
            != self
                .0
                .iter()
                .map(|t| (t.endpoint, t.address))
                .collect::<Vec<_>>()
    }

    /// The target to ask next: in order, those that are up before those that are down, none twice.
    pub fn choose(&self, tried: &[SocketAddr]) -> Option<&Target> {
        let untried = || self.0.iter().filter(|t| !tried.contains(&t.address));
        untried().find(|t| !t.down).or_else(|| untried().next())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.0.iter_mut()
    }

    /// Probes whose answer is late.
    pub fn late(&self, now: Instant) -> Vec<ProbeHandle> {
        let probes = self.0.iter().filter_map(|t| t.probe);
        let late = probes.filter(|(_, until)| *until <= now);
        late.map(|(probe, _)| probe).collect()
    }

    pub fn next_late(&self) -> Option<Instant> {
        self.0.iter().filter_map(|t| Some(t.probe?.1)).min()
    }

    /// Notes a probe's answer or its lack: what it says of the trunk, of which one target is enough. None: nothing
    /// follows from it.
    pub fn probed(&mut self, probe: ProbeHandle, found: Probed) -> Option<Probed> {
        let known = |t: &&mut Target| t.probe.is_some_and(|(known, _)| known == probe);
        let target = self.0.iter_mut().find(known)?;
        target.probe = None;
        target.answers |= found != Probed::Silent;
        // A peer that never answered OPTIONS may simply not know them.
        if !target.answers {
            return None;
        }
        target.down = found != Probed::Alive;
        match self.0.iter().any(|t| !t.down) {
            true => Some(Probed::Alive),
            false => Some(found),
        }
    }
}

pub fn transport(carry: Carry) -> Transport {
    match carry {
        Carry::Udp => Transport::Udp,
        // `tls` is refused when the configuration is read.
        Carry::Tcp | Carry::Tls => Transport::Tcp,
    }
}

/// The endpoints that are addresses already.
pub fn literal(endpoints: &[Endpoint]) -> Vec<Resolved> {
    let address = |endpoint: &Endpoint| {
        let ip = endpoint.host.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, endpoint.port))
    };
    let all = endpoints.iter().enumerate();
    all.filter_map(|(at, e)| {
        Some(Resolved {
            endpoint: at,
            addresses: vec![address(e)?],
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_503_to_options_is_no_available_trunk_and_a_404_is_a_living_one() {
        for status in [200, 404, 405, 480, 501] {
            assert_eq!(Probed::of(Some(status)), Probed::Alive, "{status}");
        }
        for status in [500, 502, 503, 504] {
            assert_eq!(Probed::of(Some(status)), Probed::Unavailable(status));
        }
        assert_eq!(Probed::of(None), Probed::Silent);
    }

    #[test]
    fn a_probe_is_late_before_the_next_one_leaves() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(second * 2, second * 5), second * 2);
        assert_eq!(patience(second * 30, second * 5), second * 5);
        assert_eq!(patience(second / 10, second * 5), second);
        assert_eq!(patience(second * 30, second / 10), second / 10);
    }

    #[test]
    fn targets_are_asked_in_order_and_those_that_are_down_last() {
        let endpoint = |port| Endpoint {
            carry: Carry::Udp,
            host: "x".into(),
            port,
        };
        let endpoints = [endpoint(1), endpoint(2)];
        let mut targets = Targets::default();
        let second = Resolved {
            endpoint: 1,
            addresses: vec![address(3)],
        };
        let first = Resolved {
            endpoint: 0,
            addresses: vec![address(1), address(2)],
        };
        assert!(targets.resolved(&endpoints, &second) && targets.resolved(&endpoints, &first));
        assert!(!targets.resolved(&endpoints, &first));
        let choose = |targets: &Targets, tried: &[SocketAddr]| {
            targets.choose(tried).map(|t| t.address.port())
        };
        assert_eq!(choose(&targets, &[]), Some(1));
        assert_eq!(choose(&targets, &[address(1)]), Some(2));
        targets.iter_mut().take(2).for_each(|t| t.down = true);
        assert_eq!(choose(&targets, &[]), Some(3));
        assert_eq!(choose(&targets, &[address(3)]), Some(1));
        assert_eq!(
            choose(&targets, &[address(1), address(2), address(3)]),
            None
        );
    }
}
