//! A trunk's own addresses, and what the far end is told of them.

use std::net::{IpAddr, SocketAddr};

use crate::{carrier::sip::address, config::carrier::SipConfig};

/// A trunk's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub bind: SocketAddr,
    pub rtp: IpAddr,
}

/// What peers are told: `advertised` with our port where it has none, else the socket's own address; bound to all
/// addresses, the one of the audio.
pub fn sent_by(sip: &SipConfig, local: SocketAddr, rtp: IpAddr) -> String {
    match &sip.advertised {
        Some(host) if address::host_of(host) != host.as_ref() => host.to_string(),
        Some(host) => format!("{host}:{}", local.port()),
        None if local.ip().is_unspecified() => SocketAddr::new(rtp, local.port()).to_string(),
        None => local.to_string(),
    }
}

/// What our SDP says in place of the audio's own address: `rtp.advertised`, else the address that the signalling
/// advertises.
pub fn media_address(sip: &SipConfig, rtp: IpAddr) -> IpAddr {
    let signalled = || {
        let host = address::host_of(sip.advertised.as_deref()?);
        host.trim_matches(['[', ']']).parse().ok()
    };
    sip.rtp.advertised.or_else(signalled).unwrap_or(rtp)
}

/// Why nothing sent from `own` arrives there, if so.
pub fn unable(own: IpAddr, peer: IpAddr) -> Option<&'static str> {
    let (own, peer) = (own.to_canonical(), peer.to_canonical());
    if own.is_ipv4() != peer.is_ipv4() {
        Some("one is an IPv4 address, the other an IPv6 address")
    } else if own.is_loopback() && !peer.is_loopback() {
        Some(
            "nothing leaves this machine from a loopback address; leave the key out for the address that the system uses",
        )
    } else {
        None
    }
}
