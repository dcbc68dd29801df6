//! The codec: octets to [`Message`] and back (RFC 3261 7, 25), held to the torture messages of RFC 4475.
//!
//! A message owns one copy of its head, unfolded, and points into it: parsing costs three allocations however many
//! headers there are. [`Message::parse`] takes one whole datagram or frame; [`Framer`] cuts a stream into frames.
//! Unknown headers are kept. What is wrong is said by [`Rejected`], together with as much of the message as could be
//! read, so that a 400 can be sent. Never panics, whatever comes.

mod check;
mod frame;
mod names;
mod value;

pub use frame::{FrameFault, Framer};
pub use names::{HeaderName, Method};
pub use value::{Address, Params, Split, Uri, Via, is_token, number, scheme, unescape};

use std::ops::Range;

/// The largest message taken or framed, in octets: what one datagram can hold.
pub const MAX_MESSAGE: usize = 65_535;
/// The most header lines in one message.
pub const MAX_HEADERS: usize = 256;

/// A request or a response.
#[derive(Clone)]
pub struct Message {
    head: String,
    start: Start,
    headers: Vec<Header>,
    body: Vec<u8>,
    cseq: u32,
}

private_debug!(Message);

#[derive(Debug, Clone)]
enum Start {
    Request {
        method: Method,
        name: Span,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

#[derive(Debug, Clone)]
struct Header {
    header: HeaderName,
    name: Span,
    value: Span,
}

type Span = Range<usize>;

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not a SIP message")]
    NotSip,
    #[error("too long")]
    TooLong,
    #[error("no empty line after the headers")]
    Unterminated,
    #[error("malformed start line")]
    StartLine,
    #[error("unknown SIP version")]
    Version,
    #[error("status code out of range")]
    Status,
    #[error("malformed header line")]
    HeaderLine,
    #[error("too many header lines")]
    TooManyHeaders,
    #[error("mandatory header missing")]
    Missing,
    #[error("header present more than once")]
    Repeated,
    #[error("malformed URI")]
    Uri,
    #[error("URI scheme is not sip or sips")]
    Scheme,
    #[error("malformed address")]
    Address,
    #[error("unterminated quoted string")]
    Quote,
    #[error("malformed parameter")]
    Parameter,
    #[error("malformed Via")]
    Via,
    #[error("malformed CSeq")]
    CSeq,
    #[error("CSeq names another method")]
    CSeqMethod,
    #[error("malformed Call-ID")]
    CallId,
    #[error("malformed Max-Forwards")]
    MaxForwards,
    #[error("Content-Length malformed or larger than the message")]
    ContentLength,
}

impl Fault {
    /// The status that answers a request with this fault.
    pub fn status(self) -> u16 {
        if self == Fault::Version { 505 } else { 400 }
    }
}

/// A message that is not accepted; `salvage` is what could be read of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{fault}")]
pub struct Rejected {
    pub fault: Fault,
    pub salvage: Option<Box<Message>>,
}

impl Message {
    /// Parses one datagram or frame. Octets after Content-Length are noise (RFC 3261 18.3).
    pub fn parse(input: &[u8]) -> Result<Message, Rejected> {
        let bare = |fault| Rejected {
            fault,
            salvage: None,
        };
        if input.len() > MAX_MESSAGE {
            return Err(bare(Fault::TooLong));
        }
        let start = input
            .iter()
            .position(|b| *b != b'\r' && *b != b'\n')
            .ok_or(bare(Fault::NotSip))?;
        let input = &input[start..];
        let (head_end, body_start, terminated) = match head_end(input) {
            Some((end, body)) => (end, body, true),
            None => (input.len(), input.len(), false),
        };
        let head = unfold(&input[..head_end]);
        let mut lines = lines(&head);
        let first = lines.next().unwrap_or(0..0);
        let (start, start_fault) = start_line(&head, first).map_err(bare)?;
        let mut fault = start_fault.or((!terminated).then_some(Fault::Unterminated));
        let mut headers = Vec::with_capacity(16);
        for line in lines {
            if headers.len() == MAX_HEADERS {
                fault = fault.or(Some(Fault::TooManyHeaders));
                break;
            }
            match header_line(&head, line) {
                Some(header) => headers.push(header),
                None => fault = fault.or(Some(Fault::HeaderLine)),
            }
        }
        let mut message = Message {
            head,
            start,
            headers,
            body: Vec::new(),
            cseq: 0,
        };
        match fault.map_or_else(|| message.complete(&input[body_start..]), Err) {
            Ok(()) => Ok(message),
            Err(fault) => Err(Rejected {
                fault,
                salvage: Some(Box::new(message)),
            }),
        }
    }

    /// Takes the body as long as Content-Length says and checks what RFC 3261 8.1.1 demands.
    fn complete(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let length = match self.single(HeaderName::ContentLength)? {
            Some(text) => number(text, MAX_MESSAGE as u64).ok_or(Fault::ContentLength)? as usize,
            None => rest.len(),
        };
        self.body = rest.get(..length).ok_or(Fault::ContentLength)?.to_vec();
        self.cseq = check::check(self)?;
        Ok(())
    }

    /// The message as octets: full header names, one line each, Content-Length counted.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + self.body.len() + 64);
        let mut put = |parts: &[&str]| {
            parts
                .iter()
                .for_each(|part| out.extend_from_slice(part.as_bytes()))
        };
        match &self.start {
            Start::Request { name, uri, .. } => {
                put(&[
                    &self.head[name.clone()],
                    " ",
                    &self.head[uri.clone()],
                    " SIP/2.0\r\n",
                ]);
            }
            Start::Response { status, reason } => {
                put(&[
                    "SIP/2.0 ",
                    &status.to_string(),
                    " ",
                    &self.head[reason.clone()],
                    "\r\n",
                ]);
            }
        }
        for header in self
            .headers
            .iter()
            .filter(|h| h.header != HeaderName::ContentLength)
        {
            let name = match header.header {
                HeaderName::Other => &self.head[header.name.clone()],
                known => known.as_str(),
            };
            put(&[name, ": ", &self.head[header.value.clone()], "\r\n"]);
        }
        put(&["Content-Length: ", &self.body.len().to_string(), "\r\n\r\n"]);
        out.extend_from_slice(&self.body);
        out
    }

    /// The method of a request; `None` for a response.
    pub fn method(&self) -> Option<Method> {
        match &self.start {
            Start::Request { method, .. } => Some(*method),
            Start::Response { .. } => None,
        }
    }

    /// The method of a request as it was written; empty for a response.
    pub fn method_name(&self) -> &str {
        match &self.start {
            Start::Request { name, .. } => &self.head[name.clone()],
            Start::Response { .. } => "",
        }
    }

    /// The Request-URI; empty for a response.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => &self.head[uri.clone()],
            Start::Response { .. } => "",
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Response { status, .. } => Some(*status),
            Start::Request { .. } => None,
        }
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &str {
        match &self.start {
            Start::Response { reason, .. } => &self.head[reason.clone()],
            Start::Request { .. } => "",
        }
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of the first line of this header, unfolded.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.lines_of(name).next()
    }

    /// The value of the first line of a header by its name, known or not.
    pub fn header_named(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|h| self.head[h.name.clone()].eq_ignore_ascii_case(name))?;
        Some(&self.head[found.value.clone()])
    }

    /// The value of every line of this header, in order.
    pub fn lines_of(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |h| h.header == name)
            .map(|h| &self.head[h.value.clone()])
    }

    /// Every value of a header that may hold several, over all its lines, in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.lines_of(name).flat_map(|line| Split::new(line, b','))
    }

    /// The value of a header that may stand only once.
    fn single(&self, name: HeaderName) -> Result<Option<&str>, Fault> {
        let mut lines = self.lines_of(name);
        let first = lines.next();
        if lines.next().is_some() {
            Err(Fault::Repeated)
        } else {
            Ok(first)
        }
    }

    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'_>> {
        self.values(HeaderName::Via)
            .next()
            .and_then(|value| Via::parse(value).ok())
    }

    pub fn from(&self) -> Option<Address<'_>> {
        self.header(HeaderName::From)
            .and_then(|value| Address::parse(value).ok())
    }

    pub fn to(&self) -> Option<Address<'_>> {
        self.header(HeaderName::To)
            .and_then(|value| Address::parse(value).ok())
    }

    pub fn from_tag(&self) -> Option<&str> {
        self.from().and_then(|from| from.tag())
    }

    pub fn to_tag(&self) -> Option<&str> {
        self.to().and_then(|to| to.tag())
    }

    /// Empty in a rejected message without one.
    pub fn call_id(&self) -> &str {
        self.header(HeaderName::CallId).unwrap_or("")
    }

    /// The number of CSeq.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The method of CSeq.
    pub fn cseq_method(&self) -> Method {
        let value = self.header(HeaderName::CSeq).unwrap_or("");
        Method::of(value.split_ascii_whitespace().nth(1).unwrap_or(""))
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.encode() == other.encode()
    }
}

/// The end of the head and the start of the body; a lone LF counts as a line's end.
fn head_end(input: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = input[at..].iter().position(|b| *b == b'\n') {
        let next = at + found + 1;
        match &input[next..] {
            [b'\r', b'\n', ..] => return Some((next, next + 2)),
            [b'\n', ..] => return Some((next, next + 1)),
            _ => at = next,
        }
    }
    None
}

/// The head as text, folded lines joined by blanks (RFC 3261 7.3.1). Octets that are no UTF-8 become U+FFFD.
fn unfold(head: &[u8]) -> String {
    let mut bytes = head.to_vec();
    for at in 1..bytes.len() {
        if matches!(bytes[at], b' ' | b'\t') && bytes[at - 1] == b'\n' {
            bytes[at - 1] = b' ';
            if at >= 2 && bytes[at - 2] == b'\r' {
                bytes[at - 2] = b' ';
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Spans of the lines, without their ends.
fn lines(head: &str) -> impl Iterator<Item = Span> {
    let mut at = 0;
    head.split_terminator('\n').map(move |line| {
        let start = at;
        at += line.len() + 1;
        start..start + line.strip_suffix('\r').unwrap_or(line).len()
    })
}

/// Reads the start line; a fault that leaves the line readable comes beside it.
fn start_line(head: &str, line: Span) -> Result<(Start, Option<Fault>), Fault> {
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
    let code = rest.find(' ').map_or(rest, |end| &rest[..end]);
    if !is_version(version) {
        return Err(Fault::NotSip);
    }
    let status = number(code, 699).filter(|n| *n >= 100 && code.len() == 3);
    let reason_start = (version.len() + 1 + code.len() + 1).min(text.len());
    let start = Start::Response {
        status: status.unwrap_or(0) as u16,
        reason: at + reason_start..at + text.len(),
    };
    let fault = match status {
        None => Some(Fault::Status),
        Some(_) if !version.eq_ignore_ascii_case("SIP/2.0") => Some(Fault::Version),
        Some(_) => text.contains('\r').then_some(Fault::StartLine),
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
fn header_line(head: &str, line: Span) -> Option<Header> {
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

#[cfg(test)]
mod tests;
