//! What an SMPP carrier has alone: binds, window, how its receipts name what they are for.

use std::sync::Arc;

use serde_json::json;

use super::{Endpoint, Parts, Secret, Tls, Transport};
use crate::{
    config::values::{SECRET, SMPP_ENDPOINT},
    schema::{
        Described, Key, TableView, described,
        kinds::{self, OneOf, Read, filled, int, section, word},
    },
};

/// The most submits that all binds of a carrier may have in flight: below the bound of its driver's commands.
const MAX_IN_FLIGHT: u32 = 16_000;

described! {
    #[derive(Clone, Debug, PartialEq)]
    struct Link {
        /// Where its SMSCs are.
        endpoints: Vec<Endpoint>, filled(SMPP_ENDPOINT, NO_ENDPOINT).distinct(), successor, needed(["smsc.example:2775"]);
        tls: Tls, section(), successor, default({});
    }
}

const NO_ENDPOINT: &str = "must name at least one endpoint: e.g. [\"smsc.example:2775\"]";

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct SmppConfig {
        /// Our name at the carrier.
        pub system_id: Arc<str>, SYSTEM_ID, successor, needed("mfa");
        /// Its password.
        pub password: Option<Secret>, SECRET, successor, absent("none", { env = "NORTHWIND_PASSWORD" });
        /// What the carrier wants to read there.
        pub system_type: Arc<str>, SYSTEM_TYPE, successor, default("");
        /// Transceiver sessions.
        pub binds: u32, int(1..=64), successor, default(2);
        /// Submits in flight per bind; binds times window at most 16,000.
        pub window: u32, int(1..=5_000), live, default(100);
        /// How the id in a receipt relates to the one in the answer.
        pub receipt_id: ReceiptId, RECEIPT_ID, live, default("auto");
    }
    then (table) {
        if let (Some(binds), Some(window)) = (binds, window)
            && binds * window > MAX_IN_FLIGHT
        {
            table.fault("window", format!("binds times window must be at most {MAX_IN_FLIGHT}"));
        }
    }
}

pub(super) fn keys() -> Vec<Key> {
    Link::keys().into_iter().chain(SmppConfig::keys()).collect()
}

pub(super) fn read(table: &TableView<'_>) -> Parts {
    let (link, smpp) = (Link::read(table), SmppConfig::read(table));
    let (endpoints, tls) = link.map(|link| (link.endpoints, link.tls)).unzip();
    (smpp.map(Transport::Smpp), endpoints, tls)
}

/// How the id in a receipt relates to the one in the submit response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiptId {
    /// Try the literal one, then the other forms.
    #[default]
    Auto,
    Same,
    Case,
    ZeroPadded,
    RespHexDlrDec,
    RespDecDlrHex,
}

const RECEIPT_ID: OneOf<ReceiptId> = word(&[
    ("auto", ReceiptId::Auto),
    ("same", ReceiptId::Same),
    ("case", ReceiptId::Case),
    ("zero-padded", ReceiptId::ZeroPadded),
    ("resp-hex-dlr-dec", ReceiptId::RespHexDlrDec),
    ("resp-dec-dlr-hex", ReceiptId::RespDecDlrHex),
]);

/// C-Octet Strings of SMPP 3.4 (5.2): ASCII, so long at most.
const SYSTEM_ID: Read<Arc<str>> = kinds::read(
    "at most 15 ASCII characters",
    || json!({ "type": "string", "pattern": "^[ -~]{0,15}$" }),
    |value| octets(value, 15),
);
const SYSTEM_TYPE: Read<Arc<str>> = kinds::read(
    "at most 12 ASCII characters",
    || json!({ "type": "string", "pattern": "^[ -~]{0,12}$" }),
    |value| octets(value, 12),
);

fn octets(value: &crate::schema::Value<'_>, most: usize) -> Option<Arc<str>> {
    let text = value.str()?;
    if text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return value.refuse(format!("must be at most {most} ASCII characters"));
    }
    Some(text.into())
}
