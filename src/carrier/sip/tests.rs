//! What the tests of a trunk's machine and of its driver share: a configuration, and an order.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    carrier::{Call, CallOrder},
    challenge::{AttemptKey, Code, Method, Millis},
    config::carrier::{
        CarrierConfig, Carry, Codec, Endpoint as Peer, Identity, NumberFormat, Redirects,
        RtpConfig, SipConfig, Tls, Transport as Kind,
    },
    number::Number,
};

pub const CALLER: &str = "+18553308653";
const LONG: Duration = Duration::from_secs(30);

pub fn peer(carry: Carry, address: SocketAddr) -> Peer {
    Peer {
        carry,
        host: address.ip().to_string().into(),
        port: address.port(),
    }
}

pub fn config(endpoints: Vec<Peer>) -> CarrierConfig {
    CarrierConfig {
        name: "fabrikam".into(),
        enabled: true,
        transport: Kind::Sip(SipConfig {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            advertised: None,
            allow: Arc::default(),
            redirects: Redirects::Keep,
            rtp: RtpConfig {
                address: Some([127, 0, 0, 1].into()),
                advertised: None,
                allow: Arc::default(),
                symmetric: false,
                first_port: 20_000,
                last_port: 29_999,
            },
            username: None,
            password: None,
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            max_calls: 100,
            ring: Duration::from_secs(2),
            key_wait: Duration::from_secs(1),
            call: LONG,
            farewell: false,
            identity: Identity {
                from: NumberFormat::E164,
                asserted: true,
            },
            number_format: NumberFormat::E164,
        }),
        endpoints,
        tls: Tls::default(),
        pace: None,
        response_timeout: Duration::from_secs(2),
        receipt_wait: None,
        probe: Some(Duration::from_millis(200)),
        status: BTreeMap::new(),
    }
}

pub fn sip(config: &mut CarrierConfig) -> &mut SipConfig {
    match &mut config.transport {
        Kind::Sip(sip) => sip,
        Kind::Smpp(_) | Kind::Http(_) => panic!("a SIP carrier"),
    }
}

/// Every country but the costly ones.
fn call_rules() -> Arc<crate::admission::CallRules> {
    let mut rules = crate::admission::CallRules::default();
    rules.countries.all = true;
    Arc::new(rules)
}

pub fn order(key: AttemptKey, to: &str, method: Method, deadline: Millis) -> CallOrder {
    CallOrder {
        key,
        to: Number::from_e164(to).expect("a number"),
        sender: CALLER.into(),
        content: Call {
            method,
            locale: "en-US".into(),
            code: Some(Code::new("1357")),
            extension: None,
            rules: call_rules(),
        },
        deadline,
    }
}
