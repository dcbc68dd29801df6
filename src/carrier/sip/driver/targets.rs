//! Where a trunk's endpoints are: names resolved again and again, and in which order they are asked.
//!
//! Knows nothing of calls. An endpoint that stopped answering its probes is asked last, never left out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::mpsc, time::timeout};

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
    /// The probe on its way.
    pub probe: Option<ProbeHandle>,
    /// It has answered a probe once: its silence means something.
    pub answers: bool,
    pub down: bool,
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

    /// Notes a probe's answer or its lack. None: nothing follows from it.
    pub fn probed(&mut self, probe: ProbeHandle, ok: bool) -> Option<bool> {
        let target = self.0.iter_mut().find(|t| t.probe == Some(probe))?;
        target.probe = None;
        target.answers |= ok;
        // A peer that never answered OPTIONS may simply not know them.
        if !target.answers {
            return None;
        }
        target.down = !ok;
        Some(ok || self.0.iter().any(|t| !t.down))
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

/// Resolves the endpoints that are names, for ever: at once, then every [`AGAIN`], sooner after a failure.
pub async fn resolve(endpoints: Arc<[Endpoint]>, found: mpsc::Sender<Result<Resolved, Arc<str>>>) {
    let known: Vec<usize> = literal(&endpoints)
        .iter()
        .map(|resolved| resolved.endpoint)
        .collect();
    let all = endpoints.iter().cloned().enumerate();
    let named: Vec<_> = all.filter(|(at, _)| !known.contains(at)).collect();
    while !named.is_empty() {
        let mut wait = AGAIN;
        for (at, endpoint) in &named {
            let asked = timeout(
                PATIENCE,
                lookup_host((endpoint.host.as_ref(), endpoint.port)),
            )
            .await;
            let addresses: Vec<_> = asked
                .ok()
                .and_then(Result::ok)
                .map(|all| all.take(MAX_ADDRESSES).collect())
                .unwrap_or_default();
            let news = if addresses.is_empty() {
                wait = SOONER;
                Err(format!("{} does not resolve", endpoint.host).into())
            } else {
                Ok(Resolved {
                    endpoint: *at,
                    addresses,
                })
            };
            if found.send(news).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = found.closed() => return,
        }
    }
}

const AGAIN: Duration = Duration::from_secs(60);
const SOONER: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
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
