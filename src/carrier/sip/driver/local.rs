//! Which addresses of this machine a trunk uses, and whether they can reach its far end.
//!
//! Where the file names none, the address is the one from which the system reaches the endpoint.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

use super::StartError;
use crate::{
    carrier::sip::trunk::{Local, unable},
    config::carrier::{CarrierConfig, Endpoint, SipConfig, Transport},
};

/// By the file, and by the route to the endpoint where it says nothing. What can't work is refused by its key.
async fn choose(config: &CarrierConfig, sip: &SipConfig) -> Result<Local, StartError> {
    let refuse = |setting, reason: String| StartError::Key {
        name: config.name.clone(),
        setting,
        reason,
    };
    let peers = resolve(&config.endpoints).await;
    let routed = || {
        let to = peers.first().map_or(ANYWHERE, |(_, ip)| *ip);
        route(to).map_err(|error| {
            let to = peers.first().map_or("the network", |(host, _)| host);
            let reason =
                format!("no address of this machine leads to {to}: {error}; name one here");
            refuse("bind", reason)
        })
    };
    let own = match sip.bind.address {
        Some(address) => address,
        None => routed()?,
    };
    let rtp = match sip.rtp.address {
        Some(address) => address,
        None if own.is_unspecified() => routed()?,
        None => own,
    };
    for (host, ip) in &peers {
        for (key, local) in [("bind", own), ("rtp.address", rtp)] {
            if let Some(reason) = unable(local, *ip) {
                return Err(refuse(
                    key,
                    format!("{local} can't reach {host}{}: {reason}", shown(host, *ip)),
                ));
            }
        }
    }
    if let Err(error) = UdpSocket::bind((rtp, 0)) {
        let reason = format!("{rtp}: {error}; choose an address of this machine");
        return Err(refuse("rtp.address", reason));
    }
    Ok(Local {
        bind: SocketAddr::new(own, sip.bind.port),
        rtp,
    })
}

/// The addresses of a trunk by this configuration.
pub async fn own_address(config: Arc<CarrierConfig>) -> Result<Local, StartError> {
    match &config.transport {
        Transport::Sip(sip) => choose(&config, sip).await,
        Transport::Smpp(_) | Transport::Http(_) => Err(StartError::NotSip(config.name.clone())),
    }
}

/// The endpoints that are addresses, or whose names have one now: one each.
async fn resolve(endpoints: &[Endpoint]) -> Vec<(&str, IpAddr)> {
    let mut found = Vec::new();
    for endpoint in endpoints {
        let ip = match endpoint.ip() {
            Some(ip) => Some(ip),
            None => timeout(
                PATIENCE,
                lookup_host((endpoint.host.as_ref(), endpoint.port)),
            )
            .await
            .ok()
            .and_then(Result::ok)
            .and_then(|mut all| all.next())
            .map(|address| address.ip()),
        };
        found.extend(ip.map(|ip| (endpoint.host.as_ref(), ip)));
    }
    found
}

/// The address from which the system sends there. Nothing is sent.
fn route(to: IpAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match to {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect((to, DISCARD))?;
    Ok(socket.local_addr()?.ip())
}

/// A name's address, where it is not the host itself.
fn shown(host: &str, ip: IpAddr) -> String {
    if host.parse::<IpAddr>().is_ok() {
        String::new()
    } else {
        format!(" ({ip})")
    }
}

/// An address that is nobody's (RFC 5737): the way to it is the way to most.
const ANYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
/// Any port does.
const DISCARD: u16 = 9;
/// A name that does not resolve at once is asked for again later.
const PATIENCE: Duration = Duration::from_secs(3);
