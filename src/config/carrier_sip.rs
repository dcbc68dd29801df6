//! Reads what is peculiar to a SIP carrier: own addresses, media, times of a call, the caller's identity.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

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

pub fn read(root: &Cursor<'_>, base: &Path) -> Option<SipConfig> {
    let bind = root
        .get("bind")
        .map_or(Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0))), |v| {
            values::socket(&v)
        });
    let advertised = root
        .get("advertised")
        .map_or(Some(None), |v| advertised(&v).map(Some));
    let rtp = media(root);
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
    let identity = match root.get("identity") {
        Some(value) => identity(&value),
        None => Some(Identity {
            from: NumberFormat::E164,
            asserted: true,
        }),
    };
    let number_format = root
        .get("number_format")
        .map_or(Some(NumberFormat::E164), |v| v.word(&FORMATS));
    not_yet(root);
    Some(SipConfig {
        bind: bind?,
        advertised: advertised?,
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

/// Keys that have a place in the file and nothing behind it.
fn not_yet(root: &Cursor<'_>) {
    if let Some(value) = root.get("stir") {
        value.fault("signing calls (STIR/SHAKEN) is not available yet: take this key out");
    }
}

fn advertised(value: &Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    if values::is_host(text) || text.parse::<IpAddr>().is_ok() || values::host_port(text).is_some()
    {
        return Some(text.into());
    }
    value.fault(format!("{} is no host or host:port", quoted(text)));
    None
}

/// Where the audio lives and how its far end is found.
fn media(root: &Cursor<'_>) -> Option<RtpConfig> {
    let rtp = match root.get("rtp") {
        Some(value) => rtp(&value),
        None => Some(RtpConfig {
            address: IpAddr::from([127, 0, 0, 1]),
            advertised: None,
            symmetric: false,
            first_port: 20_000,
            last_port: 29_999,
        }),
    };
    // It stands beside `rtp` or within it.
    let symmetric = root.get("symmetric").map_or(Some(false), |v| v.bool());
    rtp.zip(symmetric).map(|(rtp, symmetric)| RtpConfig {
        symmetric: rtp.symmetric || symmetric,
        ..rtp
    })
}

fn rtp(value: &Value<'_>) -> Option<RtpConfig> {
    let table = value.table()?;
    let address = table
        .get("address")
        .map_or(Some(IpAddr::from([127, 0, 0, 1])), |v| {
            let text = v.text()?;
            let found = text.parse().ok();
            if found.is_none() {
                v.fault(format!("{} is no IP address", quoted(text)));
            }
            found
        });
    let advertised = table
        .get("advertised")
        .map_or(Some(None), |v| public(&v).map(Some));
    let symmetric = table.get("symmetric").map_or(Some(false), |v| v.bool());
    let ports = table
        .get("ports")
        .map_or(Some((20_000, 29_999)), |v| ports(&v));
    if let (Some(address), Some(Some(shown))) = (address, advertised)
        && address.is_ipv4() != shown.is_ipv4()
        && let Some(value) = table.get("advertised")
    {
        value.fault("is of another IP version than rtp.address");
    }
    table.finish();
    let (first_port, last_port) = ports?;
    Some(RtpConfig {
        address: address?,
        advertised: advertised?,
        symmetric: symmetric?,
        first_port,
        last_port,
    })
}

/// An address at which the far end finds us.
fn public(value: &Value<'_>) -> Option<IpAddr> {
    let text = value.text()?;
    let found: Option<IpAddr> = text.trim_matches(['[', ']']).parse().ok();
    match found {
        Some(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(ip),
        _ => {
            value.fault(format!(
                "{} is no IP address that the far end could send audio to",
                quoted(text)
            ));
            None
        }
    }
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
