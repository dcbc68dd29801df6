//! The codec: octets to [`Message`] and back (RFC 3261 7, 25), held to the torture messages of RFC 4475.
//!
//! A message owns one copy of its head, unfolded, and points into it: parsing costs three allocations however many
//! headers there are. [`Message::read`] takes one whole datagram or frame; [`Framer`] cuts a stream into frames.
//! Unknown headers are kept.
//!
//! Far ends write odd lines, and a call must not be lost over one: what can't be read in one header costs that header
//! and is noted ([`Message::oddities`]). Only what tells which call and which request a message belongs to costs the
//! message: start line, topmost Via, From and To, Call-ID, CSeq. Then it is [`Rejected`], together with as much of it as
//! could be read, so that a 400 can be sent. [`Message::parse`] is the strict form: any oddity rejects. Never panics,
//! whatever comes.

mod check;
mod frame;
mod line;
mod names;
mod value;

pub use frame::{FrameFault, Framer};
pub use names::{HeaderName, Method};
pub use value::{Address, Params, Split, Uri, Via, is_token, number, scheme, unescape};

use std::ops::Range;

use line::{header_line, start_line};

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
    odd: Vec<Fault>,
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
    /// As [`Message::read`], but any fault rejects.
    pub fn parse(input: &[u8]) -> Result<Message, Rejected> {
        let message = Message::read(input)?;
        match message.oddities().first() {
            None => Ok(message),
            Some(fault) => Err(Rejected {
                fault: *fault,
                salvage: Some(Box::new(message)),
            }),
        }
    }

    /// Reads one datagram or frame. Octets after Content-Length are noise (RFC 3261 18.3).
    pub fn read(input: &[u8]) -> Result<Message, Rejected> {
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
        let hard = start_fault.filter(|fault| *fault != Fault::StartLine);
        let mut odd = Vec::new();
        odd.extend(start_fault.filter(|fault| *fault == Fault::StartLine));
        odd.extend((!terminated).then_some(Fault::Unterminated));
        let mut headers = Vec::with_capacity(16);
        for line in lines {
            if headers.len() == MAX_HEADERS {
                odd.push(Fault::TooManyHeaders);
                break;
            }
            match header_line(&head, line) {
                Some(header) => headers.push(header),
                None if odd.contains(&Fault::HeaderLine) => {}
                None => odd.push(Fault::HeaderLine),
            }
        }
        let mut message = Message {
            head,
            start,
            headers,
            body: Vec::new(),
            cseq: 0,
            odd,
        };
        match hard.map_or_else(|| message.complete(&input[body_start..]), Err) {
            Ok(()) => Ok(message),
            Err(fault) => Err(Rejected {
                fault,
                salvage: Some(Box::new(message)),
            }),
        }
    }

    /// Takes the body as long as Content-Length says, all that is there where it says nothing usable, and checks what
    /// RFC 3261 8.1.1 demands.
    fn complete(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let mut lines = self.lines_of(HeaderName::ContentLength);
        let body = match (lines.next(), lines.next()) {
            (None, _) => Ok(rest),
            (Some(_), Some(_)) => Err(Fault::Repeated),
            (Some(text), None) => number(text, MAX_MESSAGE as u64)
                .and_then(|length| rest.get(..length as usize))
                .ok_or(Fault::ContentLength),
        };
        drop(lines);
        self.odd.extend(body.err());
        self.body = body.unwrap_or(rest).to_vec();
        let mut odd = std::mem::take(&mut self.odd);
        let checked = check::check(self, &mut odd);
        self.odd = odd;
        self.cseq = checked?;
        Ok(())
    }

    /// What is not written as it should be, and was left out of account.
    pub fn oddities(&self) -> &[Fault] {
        &self.odd
    }

    /// Every header in order: what it is, its name as written, its value.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, &str, &str)> {
        self.headers.iter().map(|h| {
            let (name, value) = (&self.head[h.name.clone()], &self.head[h.value.clone()]);
            (h.header, name, value)
        })
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

    /// The topmost Via.
    pub fn via(&self) -> Option<Via<'_>> {
        self.values(HeaderName::Via)
            .next()
            .and_then(|value| Via::read(value).ok())
    }

    pub fn from(&self) -> Option<Address<'_>> {
        self.header(HeaderName::From)
            .and_then(|value| Address::read(value).ok())
    }

    pub fn to(&self) -> Option<Address<'_>> {
        self.header(HeaderName::To)
            .and_then(|value| Address::read(value).ok())
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

#[cfg(test)]
mod tests;
