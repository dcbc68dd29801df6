//! Writing of requests and answers, straight into the octets that go out.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{Config, Transport};
use crate::protocol::sip::codec::{HeaderName, Message};
use crate::protocol::sip::dialog::Dialog;
use crate::protocol::sip::digest::Authorization;
use crate::protocol::sip::sdp::Remote;
use crate::protocol::sip::token::push_hex;

/// The magic cookie of RFC 3261 8.1.1.7.
const COOKIE: &str = "z9hG4bK";
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
const MAX_FORWARDS: &str = "70";
pub(super) const SDP: &str = "application/sdp";

/// The octets of one message, line by line.
pub(super) struct Lines(String);

impl Lines {
    pub fn request(method: &str, uri: &str) -> Lines {
        let mut out = String::with_capacity(1024);
        for part in [method, " ", uri, " SIP/2.0\r\n"] {
            out.push_str(part);
        }
        Lines(out)
    }

    pub fn header(&mut self, name: &str, value: &str) -> &mut Self {
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
        self
    }

    pub fn via(&mut self, transport: Transport, sent_by: &str, branch: u64) -> &mut Self {
        for part in [
            "Via: SIP/2.0/",
            transport.name(),
            " ",
            sent_by,
            ";rport;branch=",
            COOKIE,
        ] {
            self.0.push_str(part);
        }
        push_hex(&mut self.0, branch);
        self.0.push_str("\r\n");
        self
    }

    pub fn cseq(&mut self, number: u32, method: &str) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "CSeq: {number} {method}\r\n");
        self
    }

    pub fn authorizations(&mut self, answers: &[Authorization]) -> &mut Self {
        for answer in answers {
            self.header(answer.name, &answer.value);
        }
        self
    }

    pub fn finish(mut self, content_type: &str, body: &[u8]) -> Bytes {
        if !body.is_empty() {
            self.header("Content-Type", content_type);
        }
        // Writing to a String cannot fail.
        let _ = write!(self.0, "Content-Length: {}\r\n\r\n", body.len());
        let mut out = self.0.into_bytes();
        out.extend_from_slice(body);
        Bytes::from(out)
    }
}

/// The branch's token if it is one of ours.
pub(super) fn branch_token(branch: &str) -> Option<u64> {
    crate::protocol::sip::token::read_hex(branch.strip_prefix(COOKIE)?)
}

pub(super) fn contact(config: &Config, transport: Transport) -> String {
    let transport = match transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
    };
    format!("<sip:{}@{}{transport}>", config.user, config.sent_by)
}

/// What an INVITE is made of.
pub(super) struct InviteLines<'a> {
    pub uri: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub branch: u64,
    pub transport: Transport,
    pub headers: &'a [(String, String)],
    pub authorizations: &'a [Authorization],
    pub body: &'a [u8],
}

pub(super) fn invite(config: &Config, i: &InviteLines<'_>) -> Bytes {
    let mut lines = Lines::request("INVITE", i.uri);
    lines
        .via(i.transport, &config.sent_by, i.branch)
        .header("Max-Forwards", MAX_FORWARDS)
        .header("From", i.from)
        .header("To", i.to)
        .header("Call-ID", i.call_id)
        .cseq(i.cseq, "INVITE")
        .header("Contact", &contact(config, i.transport))
        .header("Allow", ALLOW)
        .header("Accept", SDP)
        .header("User-Agent", &config.user_agent);
    for (name, value) in i.headers {
        lines.header(name, value);
    }
    lines.authorizations(i.authorizations);
    lines.finish(SDP, i.body)
}

/// ACK of a failure: the INVITE's own transaction (17.1.1.3).
pub(super) fn ack_failure(invite: &Message, response: &Message) -> Bytes {
    follow_up("ACK", invite, response.header(HeaderName::To))
}

/// CANCEL of an INVITE (9.1).
pub(super) fn cancel(invite: &Message) -> Bytes {
    follow_up("CANCEL", invite, None)
}

fn follow_up(method: &str, invite: &Message, to: Option<&str>) -> Bytes {
    let mut lines = Lines::request(method, invite.uri());
    let copied = |name| invite.header(name).unwrap_or("");
    lines
        .header("Via", copied(HeaderName::Via))
        .header("Max-Forwards", MAX_FORWARDS)
        .header("From", copied(HeaderName::From))
        .header("To", to.unwrap_or(copied(HeaderName::To)))
        .header("Call-ID", copied(HeaderName::CallId))
        .cseq(invite.cseq(), method);
    for route in invite.lines_of(HeaderName::Route) {
        lines.header("Route", route);
    }
    lines.finish("", b"")
}

/// A request within a dialog; `cseq` is the INVITE's for ACK, the next one otherwise.
pub(super) fn in_dialog(
    config: &Config,
    method: &str,
    dialog: &Dialog,
    (cseq, branch, transport): (u32, u64, Transport),
    authorizations: &[Authorization],
) -> Bytes {
    let (uri, routes) = dialog.request_route();
    let mut lines = Lines::request(method, &uri);
    lines
        .via(transport, &config.sent_by, branch)
        .header("Max-Forwards", MAX_FORWARDS);
    for route in &routes {
        lines.header("Route", route);
    }
    lines
        .header("From", &dialog.local)
        .header("To", &dialog.remote)
        .header("Call-ID", &dialog.call_id)
        .cseq(cseq, method)
        .header("User-Agent", &config.user_agent);
    lines.authorizations(authorizations);
    lines.finish("", b"")
}

/// A request of ours other than INVITE once more, with another CSeq and branch and these answers to challenges (22.2).
pub(super) fn again(
    config: &Config,
    request: &Message,
    (cseq, branch, transport): (u32, u64, Transport),
    authorizations: &[Authorization],
) -> Bytes {
    let mut lines = Lines::request(request.method_name(), request.uri());
    lines.via(transport, &config.sent_by, branch);
    for (header, name, value) in request.headers() {
        match header {
            HeaderName::Via
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
            | HeaderName::ContentLength => {}
            HeaderName::CSeq => {
                lines.cseq(cseq, request.method_name());
            }
            _ => {
                lines.header(name, value);
            }
        }
    }
    lines.authorizations(authorizations);
    lines.finish("", b"")
}

/// An OPTIONS outside any dialog, as a probe (11.1).
pub(super) fn options(
    config: &Config,
    uri: &str,
    transport: Transport,
    (branch, call, tag): (u64, u64, u64),
) -> Bytes {
    let mut lines = Lines::request("OPTIONS", uri);
    let own = format!("<sip:{}@{}>", config.user, config.sent_by);
    lines
        .via(transport, &config.sent_by, branch)
        .header("Max-Forwards", MAX_FORWARDS)
        .header("From", &format!("{own};tag={tag:016x}"))
        .header("To", &format!("<{uri}>"))
        .header("Call-ID", &format!("{call:016x}@{}", config.sent_by))
        .cseq(1, "OPTIONS")
        .header("Contact", &contact(config, transport))
        .header("Accept", SDP)
        .header("User-Agent", &config.user_agent);
    lines.finish("", b"")
}

/// An answer to a request, however broken: what it brought of Via, From, To, Call-ID and CSeq goes back (8.2.6.2).
/// The Via's first value says whence it really came (18.2.1, RFC 3581).
pub(super) fn response(
    request: &Message,
    status: u16,
    came_from: SocketAddr,
    tag: u64,
    extra: &[(&str, &str)],
    body: &[u8],
) -> Bytes {
    let mut lines = Lines(String::with_capacity(1024));
    // Writing to a String cannot fail.
    let _ = write!(lines.0, "SIP/2.0 {status} {}\r\n", phrase(status));
    let mut first = true;
    for via in request.values(HeaderName::Via) {
        if std::mem::take(&mut first) {
            lines.header("Via", &received(via, came_from));
        } else {
            lines.header("Via", via);
        }
    }
    if let Some(from) = request.header(HeaderName::From) {
        lines.header("From", from);
    }
    if let Some(to) = request.header(HeaderName::To) {
        let tagged = request.to_tag().is_some() || request.to().is_none();
        let tag = if tagged {
            String::new()
        } else {
            format!(";tag={tag:016x}")
        };
        lines.header("To", &format!("{to}{tag}"));
    }
    for name in [HeaderName::CallId, HeaderName::CSeq] {
        if let Some(value) = request.header(name) {
            lines.header(name.as_str(), value);
        }
    }
    for route in request.lines_of(HeaderName::RecordRoute) {
        lines.header("Record-Route", route);
    }
    for (name, value) in extra {
        lines.header(name, value);
    }
    lines.finish(SDP, body)
}

/// May audio go where the far end wants it?
pub(super) fn may_hear(config: &Config, remote: &Remote) -> bool {
    config.media_allow.is_empty()
        || config
            .media_allow
            .iter()
            .any(|block| block.contains(remote.address.ip()))
}

fn received(via: &str, from: SocketAddr) -> String {
    let mut parts = via.split(';');
    let mut out = parts.next().unwrap_or("").trim_end().to_owned();
    for param in parts {
        let name = param.split('=').next().unwrap_or("").trim();
        if name.eq_ignore_ascii_case("rport") {
            let _ = write!(out, ";rport={}", from.port());
        } else if !name.eq_ignore_ascii_case("received") {
            let _ = write!(out, ";{param}");
        }
    }
    let _ = write!(out, ";received={}", from.ip());
    out
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        481 => "Call/Transaction Does Not Exist",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        505 => "Version Not Supported",
        _ => "Unknown",
    }
}
