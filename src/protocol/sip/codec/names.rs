//! Methods and header names: the closed sets we speak, and `Other` for everything else.

/// A method. Case-sensitive (RFC 3261 7.1); the text of `Other` stays in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Info,
    Update,
    Prack,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    Other,
}

impl Method {
    pub fn of(text: &str) -> Method {
        METHODS
            .iter()
            .find(|(_, name)| *name == text)
            .map_or(Method::Other, |(method, _)| *method)
    }

    /// The method's name; empty for `Other`.
    pub fn as_str(self) -> &'static str {
        METHODS
            .iter()
            .find(|(method, _)| *method == self)
            .map_or("", |(_, name)| name)
    }
}

const METHODS: [(Method, &str); 14] = [
    (Method::Invite, "INVITE"),
    (Method::Ack, "ACK"),
    (Method::Bye, "BYE"),
    (Method::Cancel, "CANCEL"),
    (Method::Options, "OPTIONS"),
    (Method::Register, "REGISTER"),
    (Method::Info, "INFO"),
    (Method::Update, "UPDATE"),
    (Method::Prack, "PRACK"),
    (Method::Subscribe, "SUBSCRIBE"),
    (Method::Notify, "NOTIFY"),
    (Method::Refer, "REFER"),
    (Method::Message, "MESSAGE"),
    (Method::Publish, "PUBLISH"),
];

/// A header we look at. Everything else is `Other`, kept with its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderName {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    ContentLength,
    ContentType,
    MaxForwards,
    Route,
    RecordRoute,
    Require,
    ProxyRequire,
    Supported,
    Unsupported,
    Allow,
    Accept,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    Subject,
    ContentEncoding,
    Reason,
    RetryAfter,
    PAssertedIdentity,
    Privacy,
    SessionExpires,
    ReferTo,
    Event,
    Identity,
    UserAgent,
    Server,
    Other,
}

impl HeaderName {
    /// Names are case-insensitive and some have a compact form (RFC 3261 7.3.3, 20).
    pub fn of(text: &str) -> HeaderName {
        HEADERS
            .iter()
            .find(|(_, name, compact)| {
                name.eq_ignore_ascii_case(text) || compact.eq_ignore_ascii_case(text)
            })
            .map_or(HeaderName::Other, |(header, _, _)| *header)
    }

    /// The full name; empty for `Other`.
    pub fn as_str(self) -> &'static str {
        HEADERS
            .iter()
            .find(|(header, _, _)| *header == self)
            .map_or("", |(_, name, _)| name)
    }
}

/// Header, full name, compact form (`\0` matches no name: a name is a token).
const HEADERS: [(HeaderName, &str, &str); 33] = [
    (HeaderName::Via, "Via", "v"),
    (HeaderName::From, "From", "f"),
    (HeaderName::To, "To", "t"),
    (HeaderName::CallId, "Call-ID", "i"),
    (HeaderName::CSeq, "CSeq", "\0"),
    (HeaderName::Contact, "Contact", "m"),
    (HeaderName::ContentLength, "Content-Length", "l"),
    (HeaderName::ContentType, "Content-Type", "c"),
    (HeaderName::MaxForwards, "Max-Forwards", "\0"),
    (HeaderName::Route, "Route", "\0"),
    (HeaderName::RecordRoute, "Record-Route", "\0"),
    (HeaderName::Require, "Require", "\0"),
    (HeaderName::ProxyRequire, "Proxy-Require", "\0"),
    (HeaderName::Supported, "Supported", "k"),
    (HeaderName::Unsupported, "Unsupported", "\0"),
    (HeaderName::Allow, "Allow", "\0"),
    (HeaderName::Accept, "Accept", "\0"),
    (HeaderName::Authorization, "Authorization", "\0"),
    (HeaderName::ProxyAuthorization, "Proxy-Authorization", "\0"),
    (HeaderName::WwwAuthenticate, "WWW-Authenticate", "\0"),
    (HeaderName::ProxyAuthenticate, "Proxy-Authenticate", "\0"),
    (HeaderName::Subject, "Subject", "s"),
    (HeaderName::ContentEncoding, "Content-Encoding", "e"),
    (HeaderName::Reason, "Reason", "\0"),
    (HeaderName::RetryAfter, "Retry-After", "\0"),
    (HeaderName::PAssertedIdentity, "P-Asserted-Identity", "\0"),
    (HeaderName::Privacy, "Privacy", "\0"),
    (HeaderName::SessionExpires, "Session-Expires", "x"),
    (HeaderName::ReferTo, "Refer-To", "r"),
    (HeaderName::Event, "Event", "o"),
    (HeaderName::Identity, "Identity", "y"),
    (HeaderName::UserAgent, "User-Agent", "\0"),
    (HeaderName::Server, "Server", "\0"),
];
