//! What a message must carry, and how (RFC 3261 8.1.1, 8.2, 7.3.1).
//!
//! What tells whose message it is must be readable without doubt, else the message is rejected. Everything else that is
//! not as it should be is noted, and whoever reads that header later finds nothing there.

use super::value::{Address, Uri, Via, number, scheme};
use super::{Fault, HeaderName, Message, Method};

/// Checks the mandatory headers and those we act on; returns the number of CSeq.
pub(super) fn check(message: &Message, odd: &mut Vec<Fault>) -> Result<u32, Fault> {
    let mut note = |fault: Result<(), Fault>| {
        if let Err(fault) = fault
            && !odd.contains(&fault)
        {
            odd.push(fault);
        }
    };
    if message.method().is_some() {
        note(request_uri(message.uri()));
    }
    vias(message, &mut note)?;
    for name in [HeaderName::From, HeaderName::To] {
        let value = once(message, name, &mut note)?;
        if let Err(fault) = Address::parse(value) {
            Address::read(value)?;
            note(Err(fault));
        }
    }
    let call_id = once(message, HeaderName::CallId, &mut note)?;
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return Err(Fault::CallId);
    }
    for (at, hops) in message.lines_of(HeaderName::MaxForwards).enumerate() {
        note(if at == 0 {
            Ok(())
        } else {
            Err(Fault::Repeated)
        });
        note(number(hops, 255).map(drop).ok_or(Fault::MaxForwards));
    }
    for contact in message
        .values(HeaderName::Contact)
        .filter(|value| *value != "*")
    {
        note(Address::parse(contact).map(drop));
    }
    cseq(message, &mut note)
}

/// A header that must stand there, and only once: said again it must say the same.
fn once<'a>(
    message: &'a Message,
    name: HeaderName,
    note: &mut impl FnMut(Result<(), Fault>),
) -> Result<&'a str, Fault> {
    let mut lines = message.lines_of(name);
    let first = lines.next().ok_or(Fault::Missing)?;
    for other in lines {
        if other != first {
            return Err(Fault::Repeated);
        }
        note(Err(Fault::Repeated));
    }
    Ok(first)
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

/// The topmost one leads an answer to its request; the others are other people's.
fn vias(message: &Message, note: &mut impl FnMut(Result<(), Fault>)) -> Result<(), Fault> {
    let mut values = message.values(HeaderName::Via);
    let top = values.next().ok_or(Fault::Missing)?;
    if let Err(fault) = Via::parse(top) {
        Via::read(top)?;
        note(Err(fault));
    }
    values.for_each(|value| note(Via::parse(value).map(drop)));
    Ok(())
}

fn cseq(message: &Message, note: &mut impl FnMut(Result<(), Fault>)) -> Result<u32, Fault> {
    let value = once(message, HeaderName::CSeq, note)?;
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
