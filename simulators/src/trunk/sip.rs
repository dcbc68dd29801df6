//! SIP messages as the trunk reads and writes them (RFC 3261 sections 7, 18.3, 20).
//!
//! The simulators' own parser: it shares nothing with the gateway's, so that a mistake there shows here.
//! Pure: bytes in, [`Message`] out, and back. Names of headers are kept in lower case, compact forms spelt out.

mod values;

use std::fmt::Write as _;
pub use values::{host_of, host_port, param, sent_by, split_commas, uri_of, user_of};

/// The longest message taken, on either transport.
pub const MAX_MESSAGE: usize = 65_536;
/// The most header lines in one message.
pub const MAX_HEADERS: usize = 256;

/// One request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: Start,
    /// Name in lower case, value trimmed and unfolded; in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// As many octets as Content-Length says, or the rest of the datagram.
    pub body: Vec<u8>,
}

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `METHOD uri SIP/2.0`
    Request {
        /// In capitals as on the wire; methods are case-sensitive.
        method: String,
        /// The Request-URI, as on the wire.
        uri: String,
    },
    /// `SIP/2.0 status reason`
    Response {
        /// 100 to 699.
        status: u16,
    },
}

/// Why bytes are no SIP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than [`MAX_MESSAGE`], or more lines than [`MAX_HEADERS`].
    TooLong,
    /// The head is not UTF-8.
    NotText,
    /// The first line is neither a request's nor a response's.
    StartLine,
    /// A header line without a name, or a control character in it.
    Header,
    /// The blank line after the headers is missing.
    NoEnd,
    /// Content-Length is no number, or more than there is.
    Length,
    /// A header that every message needs is missing or unreadable.
    Missing(&'static str),
}

impl Message {
    /// One whole datagram (RFC 3261 section 18.3: octets beyond Content-Length are dropped, too few are a fault).
    pub fn datagram(bytes: &[u8]) -> Result<Message, Malformed> {
        let start = bytes
            .iter()
            .position(|b| !matches!(b, b'\r' | b'\n'))
            .unwrap_or(bytes.len());
        let bytes = &bytes[start..];
        let end = head_end(bytes).ok_or(Malformed::NoEnd)?;
        let mut message = Message::head(&bytes[..end])?;
        let rest = &bytes[end..];
        let length = message.content_length()?.unwrap_or(rest.len());
        message.body = rest.get(..length).ok_or(Malformed::Length)?.to_vec();
        Ok(message)
    }

    /// The next message of a stream: `None` while it isn't whole. The count of octets used comes with it.
    /// Leading line breaks (RFC 5626 keep-alives) are skipped.
    pub fn from_stream(bytes: &[u8]) -> Result<Option<(Message, usize)>, Malformed> {
        let Some(start) = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')) else {
            return Ok(None);
        };
        let Some(head) = head_end(&bytes[start..]) else {
            return if bytes.len() - start > MAX_MESSAGE {
                Err(Malformed::TooLong)
            } else {
                Ok(None)
            };
        };
        let mut message = Message::head(&bytes[start..start + head])?;
        // On a stream, Content-Length is not optional (section 18.3); without it there is no body.
        let length = message.content_length()?.unwrap_or(0);
        if length > MAX_MESSAGE {
            return Err(Malformed::TooLong);
        }
        let end = start + head + length;
        let Some(body) = bytes.get(start + head..end) else {
            return Ok(None);
        };
        message.body = body.to_vec();
        Ok(Some((message, end)))
    }

    fn head(bytes: &[u8]) -> Result<Message, Malformed> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Malformed::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::NotText)?;
        let mut lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        let start = start_line(lines.next().unwrap_or_default())?;
        let mut headers: Vec<(String, String)> = Vec::with_capacity(16);
        for line in lines {
            if line.is_empty() {
                break;
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or(Malformed::Header)?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            if headers.len() == MAX_HEADERS {
                return Err(Malformed::TooLong);
            }
            let (name, value) = line.split_once(':').ok_or(Malformed::Header)?;
            let name = name.trim_end();
            if name.is_empty() || value.chars().any(|c| c.is_control() && c != '\t') {
                return Err(Malformed::Header);
            }
            headers.push((spelt_out(name), value.trim().to_owned()));
        }
        Ok(Message {
            start,
            headers,
            body: Vec::new(),
        })
    }

    fn content_length(&self) -> Result<Option<usize>, Malformed> {
        match self.first("content-length") {
            None => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| Malformed::Length),
        }
    }

    /// The first header of this name (lower case).
    pub fn first(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// All headers of this name (lower case), line by line.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// What a response to this request begins with: the status line and the headers copied from the request
    /// (section 8.2.6.2), the topmost Via marked with where the request came from (section 18.2.1, RFC 3581).
    /// `to_tag` is added to To where there is none.
    pub fn response(
        &self,
        status: u16,
        to_tag: Option<&str>,
        from: std::net::SocketAddr,
    ) -> Writer {
        let mut text = format!("SIP/2.0 {status} {}\r\n", reason(status));
        let mut topmost = true;
        for (name, value) in &self.headers {
            let title = match name.as_str() {
                "via" if topmost => {
                    topmost = false;
                    let _ = write!(text, "Via: {}\r\n", with_source(value, from));
                    continue;
                }
                "via" => "Via",
                "from" => "From",
                "call-id" => "Call-ID",
                "cseq" => "CSeq",
                "record-route" if (101..300).contains(&status) => "Record-Route",
                "to" => {
                    let _ = write!(text, "To: {value}");
                    if let Some(tag) = to_tag.filter(|_| param(value, "tag").is_none()) {
                        let _ = write!(text, ";tag={tag}");
                    }
                    text.push_str("\r\n");
                    continue;
                }
                _ => continue,
            };
            let _ = write!(text, "{title}: {value}\r\n");
        }
        Writer { text }
    }
}

/// A message being written; headers in the order they are added.
#[derive(Clone, Debug)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// A request's first line.
    pub fn request(method: &str, uri: &str) -> Writer {
        Writer {
            text: format!("{method} {uri} SIP/2.0\r\n"),
        }
    }

    /// One header.
    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Writer {
        let _ = write!(self.text, "{name}: {value}\r\n");
        self
    }

    /// Without a body.
    pub fn end(mut self) -> Vec<u8> {
        self.text.push_str("Content-Length: 0\r\n\r\n");
        self.text.into_bytes()
    }

    /// With a body.
    pub fn body(mut self, kind: &str, body: &str) -> Vec<u8> {
        let _ = write!(
            self.text,
            "Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.text.into_bytes()
    }
}

/// What every request must have (section 8.1.1), read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basics {
    /// The method of the first line.
    pub method: String,
    /// Request-URI.
    pub uri: String,
    /// Branch and sent-by of the topmost Via: what a transaction is known by (section 17.2.3).
    pub branch: String,
    /// The Call-ID.
    pub call_id: String,
    /// The caller's tag.
    pub from_tag: String,
    /// Our tag, inside a dialog.
    pub to_tag: Option<String>,
    /// The number of the CSeq.
    pub cseq: u32,
}

impl Basics {
    /// From a request.
    pub fn of(message: &Message) -> Result<Basics, Malformed> {
        let Start::Request { method, uri } = &message.start else {
            return Err(Malformed::StartLine);
        };
        let via = message.first("via").ok_or(Malformed::Missing("Via"))?;
        let via = split_commas(via).next().unwrap_or_default();
        let branch = param(via, "branch").ok_or(Malformed::Missing("branch"))?;
        let cseq = message.first("cseq").ok_or(Malformed::Missing("CSeq"))?;
        let (number, named) = cseq
            .split_once([' ', '\t'])
            .ok_or(Malformed::Missing("CSeq"))?;
        if named.trim() != method {
            return Err(Malformed::Missing("CSeq"));
        }
        let from = message.first("from").ok_or(Malformed::Missing("From"))?;
        let to = message.first("to").ok_or(Malformed::Missing("To"))?;
        Ok(Basics {
            method: method.clone(),
            uri: uri.clone(),
            branch: format!("{branch}@{}", sent_by(via)),
            call_id: message
                .first("call-id")
                .ok_or(Malformed::Missing("Call-ID"))?
                .to_owned(),
            from_tag: param(from, "tag").unwrap_or_default().to_owned(),
            to_tag: param(to, "tag").map(str::to_owned),
            cseq: number
                .trim()
                .parse()
                .map_err(|_| Malformed::Missing("CSeq"))?,
        })
    }
}

/// The words that go with a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        603 => "Decline",
        608 => "Rejected",
        _ => "Refused",
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4);
    crlf.or_else(|| bytes.windows(2).position(|w| w == b"\n\n").map(|at| at + 2))
}

fn start_line(line: &str) -> Result<Start, Malformed> {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let status = rest
            .get(..3)
            .and_then(|code| code.parse().ok())
            .ok_or(Malformed::StartLine)?;
        return match status {
            100..700 => Ok(Start::Response { status }),
            _ => Err(Malformed::StartLine),
        };
    }
    let mut words = line.split(' ');
    let (method, uri, version) = (words.next(), words.next(), words.next());
    match (method, uri, version, words.next()) {
        (Some(method), Some(uri), Some("SIP/2.0"), None)
            if !uri.is_empty()
                && !method.is_empty()
                && method.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(Start::Request {
                method: method.to_owned(),
                uri: uri.to_owned(),
            })
        }
        _ => Err(Malformed::StartLine),
    }
}

/// Compact forms (section 7.3.3) to their long names.
fn spelt_out(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let long = match name.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        "e" => "content-encoding",
        "k" => "supported",
        "s" => "subject",
        "o" => "event",
        "r" => "refer-to",
        "y" => "identity",
        _ => return name,
    };
    long.to_owned()
}

/// A Via with `received`, and `rport` filled in where it was asked for.
fn with_source(via: &str, from: std::net::SocketAddr) -> String {
    let first = split_commas(via).next().unwrap_or_default();
    let rest = &via[(first.as_ptr() as usize - via.as_ptr() as usize) + first.len()..];
    let asked = param(first, "rport").is_some();
    let same_host = host_port(sent_by(first))
        .and_then(|(host, _)| host.parse::<std::net::IpAddr>().ok())
        .is_some_and(|host| host == from.ip());
    let mut marked: String = first
        .split(';')
        .filter(|part| !part.trim().eq_ignore_ascii_case("rport"))
        .collect::<Vec<_>>()
        .join(";");
    if asked {
        let _ = write!(marked, ";rport={}", from.port());
    }
    if asked || !same_host {
        let _ = write!(marked, ";received={}", from.ip());
    }
    marked.push_str(rest);
    marked
}

#[cfg(test)]
mod tests;
