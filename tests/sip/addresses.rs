//! Which addresses the driver uses and tells: what a far end reads in an INVITE, and what the start refuses by its key.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ringback::{
    carrier::{AttemptEvent, CallCarrier, CallCommand, CarrierEvent, sip},
    config::carrier::{Bind, CarrierConfig, Carry, SipConfig, Transport},
    message::speech::Catalogue,
};
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};

use crate::world::{LONG, config, order, root};

fn sip_of(config: &mut CarrierConfig) -> &mut SipConfig {
    match &mut config.transport {
        Transport::Sip(sip) => sip,
        Transport::Smpp(_) | Transport::Http(_) => unreachable!("a trunk"),
    }
}

/// A trunk to this far end whose file names no address of its own.
fn plain(at: usize, address: SocketAddr) -> CarrierConfig {
    let mut config = config(at, Carry::Udp, address);
    config.endpoints[0].host = address.ip().to_string().into();
    let sip = sip_of(&mut config);
    sip.bind = Bind::default();
    sip.rtp.address = None;
    config
}

async fn start(config: CarrierConfig) -> Result<CallCarrier, String> {
    let voices = Catalogue::load(&root().join("prompts")).expect("prompts");
    let (said, mut heard) = mpsc::channel(100);
    let started = sip::start(Arc::new(config), Arc::new(voices), said, &[]).await;
    let (handle, _) = started.map_err(|fault| fault.to_string())?;
    let commands = handle.commands.clone();
    tokio::spawn(async move {
        while let Some(said) = heard.recv().await {
            if let CarrierEvent::Attempt(_, AttemptEvent::CallState(_, mark)) = said.what {
                // No ledger here: as if it had answered at once.
                let _ = commands.send(CallCommand::Recorded(mark)).await;
            }
        }
    });
    Ok(handle)
}

/// The INVITE that reaches this far end, and where it came from.
async fn invite(far: &UdpSocket, config: CarrierConfig) -> (String, SocketAddr) {
    let handle = start(config).await.expect("a driver");
    let order = CallCommand::Submit(Box::new(order()));
    handle.commands.send(order).await.expect("a driver");
    let mut buffer = [0; 4_000];
    let wait = async {
        loop {
            let (length, from) = far.recv_from(&mut buffer).await.expect("a datagram");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("INVITE ") {
                return (text, from);
            }
        }
    };
    timeout(LONG, wait).await.expect("an INVITE in time")
}

fn line<'a>(message: &'a str, begin: &str) -> &'a str {
    let mut lines = message.lines();
    lines
        .find_map(|line| line.strip_prefix(begin))
        .unwrap_or_else(|| panic!("no line {begin:?} in {message}"))
}

#[tokio::test]
async fn an_sdp_behind_nat_shows_the_address_that_is_advertised() {
    for (advertised, media, signalled, shown) in [
        (
            Some("203.0.113.7"),
            Some("203.0.113.9"),
            "203.0.113.7:",
            "203.0.113.9",
        ),
        (
            Some("203.0.113.7:5070"),
            None,
            "203.0.113.7:5070",
            "203.0.113.7",
        ),
        (None, Some("203.0.113.9"), "127.0.0.1:", "203.0.113.9"),
        (
            Some("sip.example.org"),
            None,
            "sip.example.org:",
            "127.0.0.1",
        ),
        (None, None, "127.0.0.1:", "127.0.0.1"),
    ] {
        let far = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut config = plain(60, far.local_addr().expect("an address"));
        let sip = sip_of(&mut config);
        sip.advertised = advertised.map(Into::into);
        sip.rtp.advertised = media.map(|ip| ip.parse().expect("an address"));
        let (invite, _) = invite(&far, config).await;
        assert_eq!(line(&invite, "c=IN IP4 "), shown, "{invite}");
        assert!(line(&invite, "o=").ends_with(shown), "{invite}");
        assert!(
            line(&invite, "Via: SIP/2.0/UDP ").starts_with(signalled),
            "{invite}"
        );
        let contact = line(&invite, "Contact: ");
        assert!(contact.contains(&format!("@{signalled}")), "{invite}");
    }
}

/// An address of this machine that is not its loopback, if it has one.
fn outward() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system says from where it would.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then_some(ip)
}

#[tokio::test]
async fn a_trunk_without_addresses_uses_those_from_which_the_far_end_is_reached() {
    let Some(ip) = outward() else {
        eprintln!("not run: this machine has no address but loopback");
        return;
    };
    let far = UdpSocket::bind((ip, 0)).await.expect("a socket");
    let (invite, from) = invite(&far, plain(61, far.local_addr().expect("an address"))).await;
    assert_eq!(from.ip(), ip);
    assert_eq!(line(&invite, "c=IN IP4 "), ip.to_string(), "{invite}");
    let via = line(&invite, "Via: SIP/2.0/UDP ");
    assert!(via.starts_with(&from.to_string()), "{invite}");
}

#[tokio::test]
async fn what_this_machine_can_t_do_is_refused_at_start_by_its_key() {
    let nobodys: IpAddr = [203, 0, 113, 9].into();
    type Breaks = fn(&mut SipConfig, IpAddr);
    let faults: [(&str, Breaks, &str); 3] = [
        (
            "198.51.100.5",
            |sip, _| sip.bind = SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            "bind: 127.0.0.1 can't reach 198.51.100.5",
        ),
        (
            "127.0.0.1",
            |sip, nobodys| sip.rtp.address = Some(nobodys),
            "rtp.address: 203.0.113.9",
        ),
        (
            "127.0.0.1",
            |sip, _| sip.rtp.address = Some("::1".parse().expect("an address")),
            "rtp.address: ::1 can't reach 127.0.0.1",
        ),
    ];
    for (host, break_it, expected) in faults {
        let mut config = plain(
            62,
            SocketAddr::new(host.parse().expect("an address"), 5_099),
        );
        break_it(sip_of(&mut config), nobodys);
        let started = timeout(Duration::from_secs(10), start(config)).await;
        let fault = started.expect("an answer at once").expect_err(expected);
        assert!(fault.contains(expected), "{fault:?} for {expected:?}");
    }
}
