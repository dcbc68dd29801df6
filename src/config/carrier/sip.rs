//! What a trunk has alone: own addresses, media, times of a call, the caller's identity.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde_json::json;

use super::{Endpoint, Parts, Secret, Tls, Transport};
use crate::{
    config::values::{self, SECRET, SIP_ENDPOINT, SOCKET},
    protocol::cidr::Cidr,
    schema::{
        Described, Key, TableView, described,
        kinds::{
            self, FLAG, MINUTE, Misfit, OneOf, Parsed, SECOND, any_string, filled, int, list,
            mapped, section, span, text, word,
        },
        value::quoted,
    },
};

described! {
    #[derive(Clone, Debug, PartialEq)]
    struct Link {
        /// Where the trunk is.
        endpoints: Vec<Endpoint>, filled(SIP_ENDPOINT, NO_ENDPOINT).distinct(), live, needed(["udp:sip.example:5060"]);
    }
}

const NO_ENDPOINT: &str = "must name at least one endpoint: e.g. [\"udp:sip.example:5060\"]";

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct SipConfig {
        /// What the far end is told where it differs from `bind` (NAT).
        pub advertised: Option<Arc<str>>, ADVERTISED, live, absent("`bind`", "203.0.113.7");
        /// Blocks from which the trunk speaks, beyond its endpoints.
        pub allow: Arc<[Cidr]>, mapped(list(BLOCK), Arc::from), live, default([]);
        /// `follow`: a 302 may lead to another number, if a challenge could call it.
        pub redirects: Redirects, REDIRECTS, live, default("keep");
        pub rtp: RtpConfig, section(), inside, default({});
        /// For digest.
        pub username: Option<Arc<str>>, text("a name"), live, absent("none", "mfa");
        /// For digest.
        pub password: Option<Secret>, SECRET, live, absent("none", { env = "FABRIKAM_PASSWORD" });
        /// In order.
        pub codecs: Vec<Codec>, filled(CODEC, NO_CODEC).distinct(), live, default(["pcmu", "pcma"]);
        /// Calls at once.
        pub max_calls: u32, int(1..=10_000), live, default(500);
        /// Longest ringing.
        pub ring: Duration, span(SECOND, 2 * MINUTE), live, default("30s");
        /// How long to wait for a key after a prompt.
        pub key_wait: Duration, span(SECOND, MINUTE), live, default("15s");
        /// Longest call once answered.
        pub call: Duration, span(SECOND, 10 * MINUTE), live, default("90s");
        /// A goodbye is spoken before BYE.
        pub farewell: bool, FLAG, live, default(true);
        pub identity: Identity, section(), inside, default({});
        /// How the number that is called is written.
        pub number_format: NumberFormat, FORMAT, live, default("e164");
    }
    keys {
        /// Own signalling address; opens UDP and TCP on one port.
        own("bind"): Option<SocketAddr>, SOCKET, successor,
            absent("the address that leads to the endpoint, any port", "192.0.2.5:5060");
        /// As `rtp.symmetric`.
        symmetric: bool, FLAG, live, default(false);
    }
    fields {
        /// Own signalling address; opens UDP and TCP on one port.
        pub bind: Bind, successor;
    }
    then (table) {
        let bind = own.map(|own| own.map(Bind::from).unwrap_or_default());
        table.not_yet("stir", "signing calls (STIR/SHAKEN)");
        table.not_yet("tls", "TLS on SIP trunks");
        if table.is_there("password") && !table.is_there("username") {
            table.fault("password", "has no username beside it");
        }
        // What it says again of a faulty endpoint counts once.
        let endpoints = Link::read(table).map(|link| link.endpoints).unwrap_or_default();
        Reach::of(table, bind, &endpoints).check(advertised.as_ref(), rtp.as_ref());
        let rtp = rtp.map(|rtp| RtpConfig { symmetric: rtp.symmetric || symmetric == Some(true), ..rtp });
    }
}

const NO_CODEC: &str = "must name at least one of \"pcmu\", \"pcma\"";

pub(super) fn keys() -> Vec<Key> {
    Link::keys().into_iter().chain(SipConfig::keys()).collect()
}

pub(super) fn read(table: &TableView<'_>) -> Parts {
    let (link, sip) = (Link::read(table), SipConfig::read(table));
    let endpoints = link.map(|link| link.endpoints);
    (sip.map(Transport::Sip), endpoints, Some(Tls::default()))
}

described! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RtpConfig {
        /// Own IP address for audio.
        pub address: Option<IpAddr>, ADDRESS, live, absent("the signalling's", "192.0.2.5");
        /// Audio may come from another port than signalled, of the same address: the first that it comes from.
        pub symmetric: bool, FLAG, live, default(false);
        /// What the SDP shows where it differs from `rtp.address` (NAT).
        pub advertised: Option<IpAddr>, ADDRESS, live, absent("`advertised`, where it is an address", "203.0.113.7");
        /// Blocks where the far end's audio may be; none: anywhere.
        pub allow: Arc<[Cidr]>, mapped(list(BLOCK), Arc::from), live, default([]);
    }
    keys {
        /// Two a call.
        ports: (u16, u16), PORTS, live, default("20000-29999");
    }
    fields {
        pub first_port: u16, live;
        pub last_port: u16, live;
    }
    then (table) {
        let _ = table;
        let (first_port, last_port) = ports.unzip();
    }
}

impl Default for RtpConfig {
    fn default() -> Self {
        RtpConfig {
            address: None,
            first_port: 20_000,
            last_port: 29_999,
            advertised: None,
            symmetric: false,
            allow: Arc::default(),
        }
    }
}

/// A local address and port; without an address the one from which the system reaches the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Bind {
        Bind {
            address: Some(address.ip()),
            port: address.port(),
        }
    }
}

/// What a redirection (3xx) may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Name another place of the trunk for the number that was called.
    #[default]
    Keep,
    /// Name another number too, where a challenge could call it as well.
    Follow,
}

const REDIRECTS: OneOf<Redirects> =
    word(&[("keep", Redirects::Keep), ("follow", Redirects::Follow)]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Pcmu,
    Pcma,
}

const CODEC: OneOf<Codec> = word(&[("pcmu", Codec::Pcmu), ("pcma", Codec::Pcma)]);

described! {
    /// How the caller ID stands in From and P-Asserted-Identity.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Identity {
        /// How the caller ID is written; `national` within +1.
        pub from: NumberFormat, FORMAT, live, default("e164");
        /// P-Asserted-Identity too.
        pub asserted: bool, FLAG, live, default(true);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberFormat {
    /// `+12025550123`
    #[default]
    E164,
    /// `12025550123`
    Digits,
    /// `0012025550123`
    Prefix00,
    /// `2025550123` within +1, else as `E164`
    National,
}

const FORMAT: OneOf<NumberFormat> = word(&[
    ("e164", NumberFormat::E164),
    ("digits", NumberFormat::Digits),
    ("00", NumberFormat::Prefix00),
    ("national", NumberFormat::National),
]);

const ADVERTISED: Parsed<Arc<str>> = kinds::parsed("host or host:port", any_string, |text| {
    if text.parse::<Ipv6Addr>().is_ok() {
        let reason = format!("an IPv6 address needs brackets here: \"[{text}]\"");
        return Err(Misfit::new(reason));
    }
    let bracketed = text.starts_with('[') && text.ends_with(']') && address_of(text).is_some();
    let good = bracketed || values::is_host(text) || values::host_port(text).is_some();
    if !good {
        let reason = format!("{} is no host or host:port", quoted(text));
        return Err(Misfit::new(reason));
    }
    match address_of(text).and_then(untellable) {
        Some(reason) => Err(reason),
        None => Ok(text.into()),
    }
});

/// The address in `host`, `host:port` or `[host]:port`, where the host is one and no name.
fn address_of(text: &str) -> Option<IpAddr> {
    let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => text.split(':').next().unwrap_or(text),
    };
    host.parse().ok()
}

const ADDRESS: Parsed<IpAddr> = kinds::parsed("an IP address", any_string, |text| {
    let address = text
        .parse()
        .map_err(|_| Misfit::new(format!("{} is no IP address", quoted(text))))?;
    untellable(address).map_or(Ok(address), Err)
});

/// Why an address can't be told to a far end.
fn untellable(ip: IpAddr) -> Option<Misfit> {
    (ip.is_unspecified() || ip.is_multicast())
        .then(|| Misfit::new(format!("{ip} is no address that a far end could send to")))
}

/// `192.0.2.0/24`, `2001:db8::7`
const BLOCK: Parsed<Cidr> = kinds::parsed("blocks, like `\"192.0.2.0/24\"`", any_string, |text| {
    text.parse::<Cidr>().map_err(|fault| {
        Misfit::new(format!(
            "{} is no block of addresses: {fault}",
            quoted(text)
        ))
    })
});

/// At least one pair of an even port and the next (RTP, RTCP).
const PORTS: Parsed<(u16, u16)> = kinds::parsed(
    "from 1024 on",
    || json!({ "type": "string", "pattern": "^ *[0-9]+ *- *[0-9]+ *$" }),
    |text| {
        let port = |text: &str| text.trim().parse::<u16>().ok();
        let found = text
            .split_once('-')
            .and_then(|(first, last)| Some((port(first)?, port(last)?)));
        found
            .filter(|(first, last)| *first >= 1024 && first.next_multiple_of(2) < *last)
            .ok_or_else(|| Misfit::new(format!(
                "{} is no range of ports: write \"20000-29999\", from 1024 on, with an even port and the next in it",
                quoted(text)
            )))
    },
);

/// Whether the addresses of a trunk fit each other, as far as the file tells.
struct Reach<'a> {
    table: &'a TableView<'a>,
    bind: Option<IpAddr>,
    endpoints: &'a [Endpoint],
}

impl<'a> Reach<'a> {
    fn of(table: &'a TableView<'a>, bind: Option<Bind>, endpoints: &'a [Endpoint]) -> Reach<'a> {
        Reach {
            table,
            bind: bind.and_then(|bind| bind.address),
            endpoints,
        }
    }

    fn check(&self, advertised: Option<&Option<Arc<str>>>, rtp: Option<&RtpConfig>) {
        let table = self.table;
        if let Some(reason) = self.bind.and_then(|own| self.unreached(own)) {
            table.fault("bind", reason);
        }
        let advertised = advertised.and_then(|text| text.as_deref());
        if let Some(reason) = advertised
            .and_then(address_of)
            .and_then(|ip| self.foreign(ip))
        {
            table.fault("advertised", reason);
        }
        let Some(rtp) = rtp else { return };
        let value = table.value("rtp");
        let Some(table) = value.as_ref().and_then(crate::schema::Value::table) else {
            return;
        };
        if let Some(own) = rtp.address
            && let Some(reason) = self.foreign(own).or_else(|| self.looped(own))
        {
            table.fault("address", reason);
        }
        if let Some(reason) = rtp.advertised.and_then(|ip| self.foreign(ip)) {
            table.fault("advertised", reason);
        }
    }

    fn addresses(&self) -> impl Iterator<Item = (&Endpoint, IpAddr)> {
        self.endpoints
            .iter()
            .filter_map(|e| e.ip().map(|ip| (e, ip)))
    }

    fn unreached(&self, own: IpAddr) -> Option<String> {
        match self
            .addresses()
            .find(|(_, ip)| ip.is_ipv4() != own.is_ipv4())
        {
            Some((endpoint, _)) => Some(format!(
                "can't reach {}: one is an IPv4 address, the other an IPv6 address",
                endpoint.host
            )),
            None => self.looped(own),
        }
    }

    /// From a loopback address nothing leaves the machine.
    fn looped(&self, own: IpAddr) -> Option<String> {
        let mut others = self
            .addresses()
            .filter(|(_, ip)| !ip.to_canonical().is_loopback());
        let (endpoint, _) = others.next().filter(|_| own.to_canonical().is_loopback())?;
        Some(format!(
            "{own} can't reach {}: write an address of this machine, or leave the key out for the one that the system uses",
            endpoint.host
        ))
    }

    /// IPv4 or not: as the own address, else as the endpoints that are addresses.
    fn foreign(&self, ip: IpAddr) -> Option<String> {
        let other = self
            .bind
            .or_else(|| self.addresses().next().map(|(_, ip)| ip))?;
        (other.is_ipv4() != ip.is_ipv4()).then(|| {
            format!("{ip} is not of the family of the trunk's other addresses: all must be IPv4, or all IPv6")
        })
    }
}
