//! Single lines of the head: the start line of a request or a response (RFC 3261 7.1, 7.2), and a header's (7.3.1).

use super::value::{is_token, number};
use super::{Fault, Header, HeaderName, Method, Span, Start};

/// Reads the start line; a fault that leaves the line readable comes beside it.
pub(super) fn start_line(head: &str, line: Span) -> Result<(Start, Option<Fault>), Fault> {
    let text = &head[line.clone()];
    if text.len() >= 4 && text.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(text, line.start);
    }
    let end = text.trim_end().len();
    let method_end = text.find(' ').ok_or(Fault::NotSip)?;
    let version_start = text[..end].rfind(' ').map_or(0, |at| at + 1);
    let version = &text[version_start..end];
    if version_start <= method_end + 1 || !is_token(&text[..method_end]) || !is_version(version) {
        return Err(Fault::NotSip);
    }
    let uri = method_end + 1..version_start - 1;
    let blanks = text[uri.clone()].contains(|c: char| c.is_whitespace() || c.is_control());
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(Fault::Version)
    } else {
        (blanks || uri.is_empty() || end != text.len()).then_some(Fault::StartLine)
    };
    let at = line.start;
    let method = Method::of(&text[..method_end]);
    Ok((
        Start::Request {
            method,
            name: at..at + method_end,
            uri: at + uri.start..at + uri.end,
        },
        fault,
    ))
}

fn status_line(text: &str, at: usize) -> Result<(Start, Option<Fault>), Fault> {
    let (version, rest) = text.split_once(' ').ok_or(Fault::NotSip)?;
    let blanks = rest.len() - rest.trim_start().len();
    let rest = &rest[blanks..];
    let code = rest.find(' ').map_or(rest, |end| &rest[..end]);
    if !is_version(version) {
        return Err(Fault::NotSip);
    }
    let status = number(code, 699).filter(|n| *n >= 100 && code.len() == 3);
    let reason_start = (version.len() + 1 + blanks + code.len() + 1).min(text.len());
    let start = Start::Response {
        status: status.unwrap_or(0) as u16,
        reason: at + reason_start..at + text.len(),
    };
    let fault = match status {
        None => Some(Fault::Status),
        Some(_) if !version.eq_ignore_ascii_case("SIP/2.0") => Some(Fault::Version),
        Some(_) => (blanks > 0 || text.contains('\r')).then_some(Fault::StartLine),
    };
    Ok((start, fault))
}

fn is_version(text: &str) -> bool {
    let number = text
        .as_bytes()
        .get(..4)
        .filter(|p| p.eq_ignore_ascii_case(b"SIP/"))
        .map(|_| &text[4..]);
    number
        .and_then(|n| n.split_once('.'))
        .is_some_and(|(major, minor)| number_like(major) && number_like(minor))
}

fn number_like(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `name : value`; a carriage return within the value would end the line for somebody else, so it is refused.
pub(super) fn header_line(head: &str, line: Span) -> Option<Header> {
    let text = &head[line.clone()];
    let colon = text.find(':')?;
    let name = text[..colon].trim_end_matches([' ', '\t']);
    let rest = &text[colon + 1..];
    let value = rest.trim_matches([' ', '\t']);
    if !is_token(name) || value.contains('\r') {
        return None;
    }
    let value_start =
        line.start + colon + 1 + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    let value_start = value_start.min(line.end - if value.is_empty() { 0 } else { value.len() });
    Some(Header {
        header: HeaderName::of(name),
        name: line.start..line.start + name.len(),
        value: value_start..value_start + value.len(),
    })
}
