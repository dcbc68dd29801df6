//! Reads one file of `carriers/` into a [`CarrierConfig`].

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use super::{
    carrier::*,
    table::{Cursor, Value, quoted},
    values,
};
use crate::cause::Cause;

const SECOND: Duration = Duration::from_secs(1);
/// The most submits that all binds of a carrier may have in flight: below the bound of its driver's commands.
const MAX_IN_FLIGHT: i64 = 16_000;

/// Reads a carrier. `base` is the folder against which its paths stand.
pub fn read(name: &str, base: &Path, root: Cursor<'_>) -> Option<CarrierConfig> {
    let kind = root.need("transport", "\"smpp\"").and_then(|v| {
        v.word(&[
            ("smpp", Kind::Smpp),
            ("http", Kind::Http),
            ("sip", Kind::Sip),
        ])
    });
    let enabled = root.get("enabled").map_or(Some(true), |v| v.bool());
    let pace = root.get("pace").map_or(Some(None), |v| values::pace(&v));
    let response_timeout = root.get("response_timeout").map_or(Some(5 * SECOND), |v| {
        values::duration(&v, Duration::from_millis(100), 120 * SECOND)
    });
    let receipt_wait = root.get("receipt_wait").map_or(Some(None), |v| {
        values::duration_or_off(&v, SECOND, 3600 * SECOND)
    });
    let probe = root.get("probe").map_or(Some(Some(30 * SECOND)), |v| {
        values::duration_or_off(&v, SECOND, 3600 * SECOND)
    });
    let status = root
        .get("status")
        .map_or(Some(BTreeMap::new()), |v| status(&v));
    let Some(kind) = kind else {
        // Which of the other keys belong here is not known without the transport.
        return None;
    };
    let tls = match kind {
        Kind::Sip => Some(Tls::default()),
        Kind::Smpp | Kind::Http => root
            .get("tls")
            .map_or(Some(Tls::default()), |v| values::tls(&v, base)),
    };
    let endpoints = endpoints(&root, kind);
    let transport = match kind {
        Kind::Smpp => smpp(&root, base).map(Transport::Smpp),
        Kind::Http => super::carrier_http::read(&root, base).map(Transport::Http),
        Kind::Sip => {
            let endpoints = endpoints.as_deref().unwrap_or_default();
            super::carrier_sip::read(&root, base, endpoints).map(Transport::Sip)
        }
    };
    root.finish();
    Some(CarrierConfig {
        name: name.into(),
        enabled: enabled?,
        transport: transport?,
        endpoints: endpoints?,
        tls: tls?,
        pace: pace?,
        response_timeout: response_timeout?,
        receipt_wait: receipt_wait?,
        probe: probe?,
        status: status?,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Smpp,
    Http,
    Sip,
}

fn endpoints(root: &Cursor<'_>, kind: Kind) -> Option<Vec<Endpoint>> {
    if kind == Kind::Http {
        // An HTTP carrier's address is its request's URL.
        return Some(Vec::new());
    }
    let (plain, may, example): (_, &[Carry], _) = match kind {
        Kind::Sip => (
            Carry::Udp,
            &[Carry::Udp, Carry::Tcp],
            "[\"udp:sip.example:5060\"]",
        ),
        _ => (
            Carry::Tcp,
            &[Carry::Tcp, Carry::Tls],
            "[\"smsc.example:2775\"]",
        ),
    };
    let value = root.need("endpoints", example)?;
    let items = value.list()?;
    if items.is_empty() {
        value.fault(format!("must name at least one endpoint: e.g. {example}"));
        return None;
    }
    let found: Vec<Endpoint> = items
        .iter()
        .filter_map(|v| values::endpoint(v, plain, may))
        .collect();
    for (index, item) in items
        .iter()
        .enumerate()
        .skip(1)
        .filter(|_| found.len() == items.len())
    {
        if found[..index].contains(&found[index]) {
            item.fault("stands here twice");
        }
    }
    (found.len() == items.len()).then_some(found)
}

fn smpp(root: &Cursor<'_>, base: &Path) -> Option<SmppConfig> {
    let system_id = root
        .need("system_id", "\"mfa\"")
        .and_then(|v| octets(&v, 15));
    let password = root
        .get("password")
        .map_or(Some(None), |v| values::secret_later(&v, base).map(Some));
    let system_type = root
        .get("system_type")
        .map_or(Some("".into()), |v| octets(&v, 12));
    let binds = root.get("binds").map_or(Some(2), |v| v.int(1..=64));
    let window = root.get("window").map_or(Some(100), |v| v.int(1..=5_000));
    let receipt_id = root.get("receipt_id").map_or(Some(ReceiptId::Auto), |v| {
        v.word(&[
            ("auto", ReceiptId::Auto),
            ("same", ReceiptId::Same),
            ("case", ReceiptId::Case),
            ("zero-padded", ReceiptId::ZeroPadded),
            ("resp-hex-dlr-dec", ReceiptId::RespHexDlrDec),
            ("resp-dec-dlr-hex", ReceiptId::RespDecDlrHex),
        ])
    });
    if let (Some(binds), Some(window)) = (binds, window)
        && binds * window > MAX_IN_FLIGHT
    {
        root.fault(
            "window",
            format!("binds times window must be at most {MAX_IN_FLIGHT}"),
        );
    }
    Some(SmppConfig {
        system_id: system_id?,
        password: password?,
        system_type: system_type?,
        binds: u32::try_from(binds?).ok()?,
        window: u32::try_from(window?).ok()?,
        receipt_id: receipt_id?,
    })
}

/// A C-Octet String of SMPP 3.4 (5.2): ASCII, so long at most.
fn octets(value: &Value<'_>, most: usize) -> Option<Arc<str>> {
    let text = value.str()?;
    if text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        value.fault(format!("must be at most {most} ASCII characters"));
        return None;
    }
    Some(text.into())
}

/// The carrier's own meanings: its code, our cause.
fn status(value: &Value<'_>) -> Option<BTreeMap<Arc<str>, Cause>> {
    // No carrier speaks of limits of ours.
    let theirs = Cause::ALL.into_iter().filter(|c| *c != Cause::GatewayLimit);
    let words: Vec<(&'static str, Cause)> = theirs.map(|c| (c.name(), c)).collect();
    let mut found = BTreeMap::new();
    let mut whole = true;
    for (code, meaning) in value.table()?.entries() {
        if code.is_empty() || code.len() > 64 {
            meaning.fault(format!("{} is no carrier's code", quoted(code)));
            whole = false;
        } else if let Some(cause) = meaning.word(&words) {
            found.insert(Arc::from(code), cause);
        } else {
            whole = false;
        }
    }
    whole.then_some(found)
}
