//! Reads what is peculiar to a SIP carrier: own addresses, media, times of a call, the caller's identity.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use crate::protocol::cidr::Cidr;

use super::{
    carrier::*,
    table::{Cursor, Value, quoted},
    values,
};

const SECOND: Duration = Duration::from_secs(1);
const FORMATS: [(&str, NumberFormat); 4] = [
    ("e164", NumberFormat::E164),
    ("digits", NumberFormat::Digits),
    ("00", NumberFormat::Prefix00),
    ("national", NumberFormat::National),
];
const REDIRECTS: [(&str, Redirects); 2] =
    [("keep", Redirects::Keep), ("follow", Redirects::Follow)];
const DEFAULT_IDENTITY: Identity = Identity {
    from: NumberFormat::E164,
    asserted: true,
};
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 29_999;

pub fn read(root: &Cursor<'_>, base: &Path, endpoints: &[Endpoint]) -> Option<SipConfig> {
    let bind = root
        .get("bind")
        .map_or(Some(Bind::default()), |v| bind(&v, endpoints));
    let family = family(bind, endpoints);
    let advertised = root
        .get("advertised")
        .map_or(Some(None), |v| advertised(&v, family).map(Some));
    let rtp = media(root, family, endpoints);
    let allow = root
        .get("allow")
        .map_or(Some(Arc::default()), |v| cidrs(&v));
    let redirects = root
        .get("redirects")
        .map_or(Some(Redirects::Keep), |v| v.word(&REDIRECTS));
    let username = root
        .get("username")
        .map_or(Some(None), |v| v.text().map(|t| Some(t.into())));
    let password = root
        .get("password")
        .map_or(Some(None), |v| values::secret_later(&v, base).map(Some));
    if let Some(value) = root.get("password").filter(|_| !root.is_there("username")) {
        value.fault("has no username beside it");
    }
    let codecs = root
        .get("codecs")
        .map_or(Some(vec![Codec::Pcmu, Codec::Pcma]), |v| codecs(&v));
    let max_calls = root
        .get("max_calls")
        .map_or(Some(500), |v| v.int(1..=10_000));
    let span = |key, default: u64, most: u64| {
        let found: Option<Value<'_>> = root.get(key);
        let (default, most) = (Duration::from_secs(default), Duration::from_secs(most));
        found.map_or(Some(default), |v| values::duration(&v, SECOND, most))
    };
    let ring = span("ring", 30, 120);
    let key_wait = span("key_wait", 15, 60);
    let call = span("call", 90, 600);
    let farewell = root.get("farewell").map_or(Some(true), |v| v.bool());
    let identity = root
        .get("identity")
        .map_or(Some(DEFAULT_IDENTITY), |v| identity(&v));
    let number_format = root
        .get("number_format")
        .map_or(Some(NumberFormat::E164), |v| v.word(&FORMATS));
    root.not_yet("stir", "signing calls (STIR/SHAKEN)");
    root.not_yet("tls", "TLS on SIP trunks");
    Some(SipConfig {
        bind: bind?,
        advertised: advertised?,
        allow: allow?,
        redirects: redirects?,
        rtp: rtp?,
        username: username?,
        password: password?,
        codecs: codecs?,
        max_calls: u32::try_from(max_calls?).ok()?,
        ring: ring?,
        key_wait: key_wait?,
        call: call?,
        farewell: farewell?,
        identity: identity?,
        number_format: number_format?,
    })
}

/// IPv4 or not, as far as the file tells: of the own address, else of the endpoints that are addresses.
fn family(bind: Option<Bind>, endpoints: &[Endpoint]) -> Option<bool> {
    let own = bind.and_then(|bind| bind.address);
    own.or_else(|| endpoints.iter().find_map(Endpoint::ip))
        .map(|ip| ip.is_ipv4())
}

fn bind(value: &Value<'_>, endpoints: &[Endpoint]) -> Option<Bind> {
    let found = values::socket(value)?;
    let clash = endpoints
        .iter()
        .find(|e| e.ip().is_some_and(|ip| ip.is_ipv4() != found.is_ipv4()));
    if let Some(endpoint) = clash {
        value.fault(format!(
            "can't reach {}: one is an IPv4 address, the other an IPv6 address",
            endpoint.host
        ));
        return None;
    }
    reaches(value, found.ip(), endpoints)?;
    Some(found.into())
}

/// From a loopback address nothing leaves the machine.
fn reaches(value: &Value<'_>, own: IpAddr, endpoints: &[Endpoint]) -> Option<()> {
    let foreign = endpoints
        .iter()
        .find(|e| e.ip().is_some_and(|ip| !ip.to_canonical().is_loopback()));
    match foreign {
        Some(endpoint) if own.to_canonical().is_loopback() => {
            value.fault(format!(
                "{own} can't reach {}: write an address of this machine, or leave the key out for the one that the system uses",
                endpoint.host
            ));
            None
        }
        Some(_) | None => Some(()),
    }
}

fn advertised(value: &Value<'_>, family: Option<bool>) -> Option<Arc<str>> {
    let text = value.text()?;
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        value.fault(format!("an IPv6 address needs brackets here: \"[{text}]\""));
        return None;
    }
    let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => text.split(':').next().unwrap_or(text),
    };
    let ip = host.parse::<IpAddr>().ok();
    if let Some(ip) = ip {
        tellable(value, ip, family)?;
    }
    let bracketed = text.starts_with('[') && text.ends_with(']') && ip.is_some();
    if bracketed || values::is_host(text) || ip.is_some() && host == text {
        return Some(text.into());
    }
    if values::host_port(text).is_some() {
        return Some(text.into());
    }
    value.fault(format!("{} is no host or host:port", quoted(text)));
    None
}

/// An address that can be told to a far end.
fn tellable(value: &Value<'_>, ip: IpAddr, family: Option<bool>) -> Option<()> {
    if ip.is_unspecified() || ip.is_multicast() {
        value.fault(format!("{ip} is no address that a far end could send to"));
        return None;
    }
    if family.is_some_and(|v4| v4 != ip.is_ipv4()) {
        value.fault(format!(
            "{ip} is not of the family of the trunk's other addresses: all must be IPv4, or all IPv6"
        ));
        return None;
    }
    Some(())
}

fn ip(value: &Value<'_>, family: Option<bool>) -> Option<IpAddr> {
    let text = value.text()?;
    let Ok(found) = text.parse() else {
        value.fault(format!("{} is no IP address", quoted(text)));
        return None;
    };
    tellable(value, found, family)?;
    Some(found)
}

/// Where the audio lives and how its far end is found.
fn media(root: &Cursor<'_>, family: Option<bool>, endpoints: &[Endpoint]) -> Option<RtpConfig> {
    let rtp = match root.get("rtp") {
        Some(value) => rtp(&value, family, endpoints),
        None => Some(RtpConfig::default()),
    };
    // It stands beside `rtp` or within it.
    let symmetric = root.get("symmetric").map_or(Some(false), |v| v.bool());
    rtp.zip(symmetric).map(|(rtp, symmetric)| RtpConfig {
        symmetric: rtp.symmetric || symmetric,
        ..rtp
    })
}

fn rtp(value: &Value<'_>, family: Option<bool>, endpoints: &[Endpoint]) -> Option<RtpConfig> {
    let table = value.table()?;
    let address = table.get("address").map_or(Some(None), |v| {
        let found = ip(&v, family)?;
        reaches(&v, found, endpoints)?;
        Some(Some(found))
    });
    let ports = table
        .get("ports")
        .map_or(Some((FIRST_PORT, LAST_PORT)), |v| ports(&v));
    let advertised = table
        .get("advertised")
        .map_or(Some(None), |v| ip(&v, family).map(Some));
    let allow = table
        .get("allow")
        .map_or(Some(Arc::default()), |v| cidrs(&v));
    let symmetric = table.get("symmetric").map_or(Some(false), |v| v.bool());
    table.finish();
    let (first_port, last_port) = ports?;
    Some(RtpConfig {
        address: address?,
        symmetric: symmetric?,
        first_port,
        last_port,
        advertised: advertised?,
        allow: allow?,
    })
}

/// `["192.0.2.0/24", "2001:db8::7"]`
fn cidrs(value: &Value<'_>) -> Option<Arc<[Cidr]>> {
    let items = value.list()?;
    let read = |item: &Value<'_>| {
        let text = item.text()?;
        match text.parse::<Cidr>() {
            Ok(block) => Some(block),
            Err(fault) => {
                item.fault(format!(
                    "{} is no block of addresses: {fault}",
                    quoted(text)
                ));
                None
            }
        }
    };
    let found: Vec<Option<Cidr>> = items.iter().map(read).collect();
    found.into_iter().collect()
}

/// `"20000-29999"`: at least one pair of an even port and the next (RTP, RTCP).
fn ports(value: &Value<'_>) -> Option<(u16, u16)> {
    let text = value.text()?;
    let found = text.split_once('-').and_then(|(first, last)| {
        Some((
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        ))
    });
    match found {
        Some((first, last)) if first >= 1024 && first.next_multiple_of(2) < last => {
            Some((first, last))
        }
        _ => {
            value.fault(format!(
                "{} is no range of ports: write \"20000-29999\", from 1024 on, with an even port and the next in it",
                quoted(text)
            ));
            None
        }
    }
}

fn codecs(value: &Value<'_>) -> Option<Vec<Codec>> {
    let items = value.list()?;
    let mut found: Vec<Codec> = Vec::new();
    for item in &items {
        let codec = item.word(&[("pcmu", Codec::Pcmu), ("pcma", Codec::Pcma)])?;
        if found.contains(&codec) {
            item.fault("stands here twice");
        }
        found.push(codec);
    }
    if found.is_empty() {
        value.fault("must name at least one of \"pcmu\", \"pcma\"");
    }
    Some(found)
}

fn identity(value: &Value<'_>) -> Option<Identity> {
    let table = value.table()?;
    let from = table
        .get("from")
        .map_or(Some(NumberFormat::E164), |v| v.word(&FORMATS));
    let asserted = table.get("asserted").map_or(Some(true), |v| v.bool());
    table.finish();
    Some(Identity {
        from: from?,
        asserted: asserted?,
    })
}
