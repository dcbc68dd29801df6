//! Requests that belong to no call of ours. Answered without keeping anything (RFC 3261 8.2.7): the same request
//! gets the same answer again, so a stranger costs no memory and touches no call. How many are answered has a limit
//! (`peers`).

use std::net::SocketAddr;

use bytes::Bytes;

use super::write::{ALLOW, SDP, response};
use crate::protocol::sip::codec::{HeaderName, Message, Method, Rejected, scheme};
use crate::protocol::sip::token::Tokens;

/// The answer to a request that could not be parsed; `None` where there can't be one.
pub(super) fn to_rejected(rejected: &Rejected, from: SocketAddr, tokens: &Tokens) -> Option<Bytes> {
    let request = rejected.salvage.as_deref()?;
    // No Via: nobody waits for an answer. An ACK is never answered.
    if matches!(request.method(), None | Some(Method::Ack))
        || request.header(HeaderName::Via).is_none()
    {
        return None;
    }
    Some(answer(request, rejected.fault.status(), from, tokens, &[]))
}

/// The answer to a stranger's request; one that is not written as it should be is refused as a whole.
pub(super) fn answer_to(request: &Message, from: SocketAddr, tokens: &Tokens) -> Option<Bytes> {
    match request.oddities().first() {
        Some(_) if request.method() == Some(Method::Ack) => None,
        Some(fault) => Some(answer(request, fault.status(), from, tokens, &[])),
        None => to_request(request, from, tokens),
    }
}

/// The answer to a stranger's well-formed request (8.2.1 to 8.2.3, in this order).
fn to_request(request: &Message, from: SocketAddr, tokens: &Tokens) -> Option<Bytes> {
    let status = match request.method()? {
        Method::Ack => return None,
        Method::Other => 501,
        Method::Bye | Method::Cancel | Method::Info | Method::Update | Method::Prack => 481,
        _ if request.to_tag().is_some() => 481,
        Method::Register | Method::Subscribe | Method::Notify | Method::Publish => 405,
        Method::Refer | Method::Message => 405,
        Method::Options => inspect(request).unwrap_or(200),
        // Nobody calls us.
        Method::Invite => inspect(request)
            .or_else(|| inspect_offer(request))
            .unwrap_or(403),
    };
    let unsupported = request
        .values(HeaderName::Require)
        .collect::<Vec<_>>()
        .join(", ");
    let extra: &[(&str, &str)] = match status {
        405 => &[("Allow", ALLOW)],
        415 => &[("Accept", SDP)],
        420 => &[("Unsupported", &unsupported)],
        200 => &[("Allow", ALLOW), ("Accept", SDP)],
        _ => &[],
    };
    Some(answer(request, status, from, tokens, extra))
}

/// Scheme (8.2.2.1) and Require (8.2.2.3).
pub(super) fn inspect(request: &Message) -> Option<u16> {
    let known = scheme(request.uri()).is_some_and(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")
    });
    if !known {
        Some(416)
    } else if request
        .values(HeaderName::Require)
        .any(|tag| !tag.is_empty())
    {
        Some(420)
    } else {
        None
    }
}

/// Content (8.2.3) and what the caller would accept.
fn inspect_offer(request: &Message) -> Option<u16> {
    let is_sdp = |kind: &str| {
        kind.split(';')
            .next()
            .unwrap_or("")
            .trim()
            .eq_ignore_ascii_case(SDP)
    };
    let taken = |range: &str| {
        let range = range.split(';').next().unwrap_or("").trim();
        is_sdp(range) || range == "*/*" || range.eq_ignore_ascii_case("application/*")
    };
    let multipart = |kind: &str| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("multipart/")
    };
    match request.header(HeaderName::ContentType) {
        Some(kind) if !request.body().is_empty() && !is_sdp(kind) && !multipart(kind) => {
            return Some(415);
        }
        _ => {}
    }
    let mut accepts = request
        .values(HeaderName::Accept)
        .filter(|range| !range.is_empty())
        .peekable();
    (accepts.peek().is_some() && !accepts.any(taken)).then_some(406)
}

fn answer(
    request: &Message,
    status: u16,
    from: SocketAddr,
    tokens: &Tokens,
    extra: &[(&str, &str)],
) -> Bytes {
    let tag = tokens.of(&(request.call_id(), request.header(HeaderName::From)));
    response(request, status, from, tag, extra, b"")
}
