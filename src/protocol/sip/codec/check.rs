//! What every message must carry, and how (RFC 3261 8.1.1, 8.2, 7.3.1). Whoever passes may be read without doubt.

use super::value::{Address, Uri, Via, number, scheme};
use super::{Fault, HeaderName, Message, Method};

/// Checks the mandatory headers and those we act on; returns the number of CSeq.
pub(super) fn check(message: &Message) -> Result<u32, Fault> {
    if message.method().is_some() {
        request_uri(message.uri())?;
    }
    vias(message)?;
    for name in [HeaderName::From, HeaderName::To] {
        Address::parse(message.single(name)?.ok_or(Fault::Missing)?)?;
    }
    let call_id = message.single(HeaderName::CallId)?.ok_or(Fault::Missing)?;
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return Err(Fault::CallId);
    }
    if let Some(hops) = message.single(HeaderName::MaxForwards)? {
        number(hops, 255).ok_or(Fault::MaxForwards)?;
    }
    for contact in message
        .values(HeaderName::Contact)
        .filter(|value| *value != "*")
    {
        Address::parse(contact)?;
    }
    cseq(message)
}

/// A SIP URI without headers (RFC 3261 19.1.1), or any other scheme: that is 416, not a syntax fault.
fn request_uri(text: &str) -> Result<(), Fault> {
    if scheme(text).is_none() || text.contains(['<', '>', '"']) {
        return Err(Fault::Uri);
    }
    match Uri::parse(text) {
        Ok(uri) if !uri.headers.is_empty() => Err(Fault::Uri),
        Ok(_) | Err(Fault::Scheme) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn vias(message: &Message) -> Result<(), Fault> {
    let mut any = false;
    for value in message.values(HeaderName::Via) {
        Via::parse(value)?;
        any = true;
    }
    if any { Ok(()) } else { Err(Fault::Missing) }
}

fn cseq(message: &Message) -> Result<u32, Fault> {
    let value = message.single(HeaderName::CSeq)?.ok_or(Fault::Missing)?;
    let mut parts = value.split_ascii_whitespace();
    let sequence = parts
        .next()
        .and_then(|n| number(n, u64::from(u32::MAX)))
        .ok_or(Fault::CSeq)?;
    let method = parts.next().ok_or(Fault::CSeq)?;
    if parts.next().is_some() {
        return Err(Fault::CSeq);
    }
    match message.method() {
        Some(Method::Other) if message.method_name() != method => Err(Fault::CSeqMethod),
        Some(known) if known != Method::of(method) => Err(Fault::CSeqMethod),
        _ => Ok(sequence as u32),
    }
}
