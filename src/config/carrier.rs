//! A carrier's file as checked types: how to reach it, how fast, and how to read its answers.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::source;
use crate::{cause::Cause, protocol::cidr::Cidr, regular};

pub use crate::pace::Pace;

/// One file of `carriers/`.
#[derive(Clone, Debug, PartialEq)]
pub struct CarrierConfig {
    /// The file's name without `.toml`.
    pub name: Arc<str>,
    /// False: drained by the operator. Sessions end, nothing new is given to it.
    pub enabled: bool,
    pub transport: Transport,
    /// In order of preference.
    pub endpoints: Vec<Endpoint>,
    pub tls: Tls,
    /// Submits (or call attempts) a second; None: no limit.
    pub pace: Option<Pace>,
    /// Bind, submit_sm_resp; whole HTTP answer; first answer to INVITE. Then the attempt is in doubt.
    pub response_timeout: Duration,
    /// How long a receipt may take; None: the challenge's own life.
    pub receipt_wait: Option<Duration>,
    /// enquire_link, OPTIONS; None: never.
    pub probe: Option<Duration>,
    /// The carrier's own meanings: SMPP status as `0x0414`, HTTP or body code, SIP status.
    pub status: BTreeMap<Arc<str>, Cause>,
}

impl CarrierConfig {
    /// All secrets and certificates that it names, as they are now.
    pub fn read_secrets(&self) -> SecretsRead {
        SecretsRead::of(self.secrets(), self.tls.certificates())
    }

    /// The files that hold its secrets and certificates.
    pub fn secret_files(&self) -> impl Iterator<Item = PathBuf> {
        let secrets = self.secrets().into_iter().filter_map(Secret::file);
        secrets.chain(self.tls.certificates()).cloned()
    }

    /// Every secret that its file names.
    pub fn secrets(&self) -> Vec<&Secret> {
        let mut found: Vec<&Secret> = self.tls.key.iter().collect();
        match &self.transport {
            Transport::Smpp(smpp) => found.extend(&smpp.password),
            Transport::Sip(sip) => found.extend(&sip.password),
            Transport::Http(http) => {
                found.extend(http.callback.iter().flat_map(|c| &c.keys));
                match &http.request.auth {
                    Some(HttpAuth::Bearer(secret)) => found.push(secret),
                    Some(HttpAuth::Basic { password, .. }) => found.push(password),
                    Some(HttpAuth::Header { value, .. }) => found.push(value),
                    None => {}
                }
            }
        }
        found
    }
}

/// What secrets and certificates came to. No value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsRead {
    /// To see that one has changed.
    pub digest: [u8; 32],
    /// Why those that can't be used can't: missing, empty, without permission.
    pub unreadable: Vec<String>,
}

impl SecretsRead {
    /// Reads all of these. Blocking.
    pub fn of<'a>(
        secrets: impl IntoIterator<Item = &'a Secret>,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> SecretsRead {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut unreadable = Vec::new();
        let mut add = |read: Result<Vec<u8>, String>| {
            // What is not there is a value too: that it comes is a change.
            let octets = read.unwrap_or_else(|reason| {
                unreadable.push(reason);
                Vec::new()
            });
            context.update(&(octets.len() as u64).to_be_bytes());
            context.update(&octets);
        };
        for secret in secrets {
            add(match secret.read() {
                Ok(found) if found.is_empty() => Err(format!("{secret} is empty")),
                found => found.map(String::into_bytes),
            });
        }
        for file in files {
            let read = regular::octets(file, source::MAX_FILE);
            add(read.map_err(|e| format!("{}: {e}", file.display())));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        SecretsRead { digest, unreadable }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    Smpp(SmppConfig),
    Http(HttpConfig),
    Sip(SipConfig),
}

impl Transport {
    pub fn is_http(&self) -> bool {
        matches!(self, Transport::Http(_))
    }

    pub fn name(&self) -> &'static str {
        match self {
            Transport::Smpp(_) => "smpp",
            Transport::Http(_) => "http",
            Transport::Sip(_) => "sip",
        }
    }
}

/// `host:port`, with what carries it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub carry: Carry,
    pub host: Arc<str>,
    pub port: u16,
}

impl Endpoint {
    /// The address, where the host is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carry {
    Tcp,
    Udp,
    Tls,
}

/// Certificates of a TLS link. No `ca`: the system's roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<Secret>,
    /// The name to expect in the peer's certificate, where it is not the host's.
    pub name: Option<Arc<str>>,
}

impl Tls {
    pub fn certificates(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca, &self.cert].into_iter().flatten()
    }
}

/// A secret that the configuration names and never stores. Read when it is needed, so that it can be rotated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    Env(Arc<str>),
    File(PathBuf),
}

impl Secret {
    /// The secret itself, without a trailing newline. The error names where it was looked for.
    pub fn read(&self) -> Result<String, String> {
        let found = match self {
            Secret::Env(name) => std::env::var(name.as_ref())
                .map_err(|_| format!("environment variable {name} is not set"))?,
            Secret::File(path) => {
                let said = |reason: String| format!("{}: {reason}", path.display());
                let octets = regular::octets(path, MAX_SECRET).map_err(|e| said(e.to_string()))?;
                String::from_utf8(octets).map_err(|_| said("is not UTF-8 text".to_owned()))?
            }
        };
        Ok(found.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The file that holds it, where one does.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Secret::Env(_) => None,
            Secret::File(path) => Some(path),
        }
    }
}

/// Where it stands; never what it is.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "environment variable {name}"),
            Secret::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// No key and no token is longer.
const MAX_SECRET: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub struct SmppConfig {
    pub system_id: Arc<str>,
    pub password: Option<Secret>,
    pub system_type: Arc<str>,
    pub binds: u32,
    /// Submits in flight per bind.
    pub window: u32,
    pub receipt_id: ReceiptId,
}

/// How the id in a receipt relates to the one in the submit response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiptId {
    /// Try the literal one, then the other forms.
    #[default]
    Auto,
    Same,
    Case,
    ZeroPadded,
    RespHexDlrDec,
    RespDecDlrHex,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// Requests in flight.
    pub window: u32,
    pub request: HttpRequest,
    pub response: HttpResponse,
    pub callback: Option<Box<HttpCallback>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpRequest {
    pub method: Arc<str>,
    pub url: Arc<str>,
    pub headers: BTreeMap<Arc<str>, Arc<str>>,
    pub auth: Option<HttpAuth>,
    /// `{to}`, `{sender}`, `{text}`, `{ref}` are filled in, encoded for the body's type.
    pub body: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAuth {
    Bearer(Secret),
    Basic { user: Arc<str>, password: Secret },
    Header { name: Arc<str>, value: Secret },
}

/// Where the answer says what: JSON pointers (RFC 6901).
#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    /// Statuses.
    pub accepted: Vec<u16>,
    pub reference: Option<Arc<str>>,
    pub code: Option<Arc<str>>,
    /// Where the body says whether the text was taken. None: the status and the code say it.
    pub verdict: Option<HttpVerdict>,
}

/// A word in the answer, and what it means. At least one of the lists has words; with only one of them any other word
/// means the opposite, with both an unknown one leaves the text in doubt.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpVerdict {
    pub at: Arc<str>,
    pub accepted: Vec<Arc<str>>,
    pub refused: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpCallback {
    pub keys: Vec<Secret>,
    /// The list in which receipts stand; the other pointers lead on from its elements. None: from the body, where
    /// `/0` stands for each element of a list.
    pub each: Option<Arc<str>>,
    /// The callback's own id, the same when it is repeated.
    pub id: Option<Arc<str>>,
    pub reference: Arc<str>,
    pub state: Arc<str>,
    pub delivered: Vec<Arc<str>>,
    pub undelivered: Vec<Arc<str>>,
    pub code: Option<Arc<str>>,
    pub from: Option<Arc<str>>,
    pub to: Option<Arc<str>>,
    pub text: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SipConfig {
    /// Own signalling address; opens UDP and TCP on one port.
    pub bind: Bind,
    /// What peers are told where it differs from `bind` (NAT): host, or host:port.
    pub advertised: Option<Arc<str>>,
    /// Who speaks for the trunk beyond the addresses of its endpoints.
    pub allow: Arc<[Cidr]>,
    pub redirects: Redirects,
    pub rtp: RtpConfig,
    pub username: Option<Arc<str>>,
    pub password: Option<Secret>,
    pub codecs: Vec<Codec>,
    pub max_calls: u32,
    /// Longest ringing.
    pub ring: Duration,
    /// How long to wait for a key after a prompt.
    pub key_wait: Duration,
    /// Longest call once answered.
    pub call: Duration,
    /// Speak a goodbye before BYE.
    pub farewell: bool,
    pub identity: Identity,
    pub number_format: NumberFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpConfig {
    /// None: the signalling's own.
    pub address: Option<IpAddr>,
    /// Audio may come from another port than signalled, of the same address: the first that it comes from.
    pub symmetric: bool,
    pub first_port: u16,
    pub last_port: u16,
    /// What the SDP says where it differs from `address` (NAT).
    pub advertised: Option<IpAddr>,
    /// Where the far end may put its media; empty: anywhere.
    pub allow: Arc<[Cidr]>,
}

impl Default for RtpConfig {
    fn default() -> Self {
        RtpConfig {
            address: None,
            first_port: 20_000,
            last_port: 29_999,
            advertised: None,
            symmetric: false,
            allow: Arc::default(),
        }
    }
}

/// A local address and port; without an address the one from which the system reaches the endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl From<SocketAddr> for Bind {
    fn from(address: SocketAddr) -> Bind {
        Bind {
            address: Some(address.ip()),
            port: address.port(),
        }
    }
}

/// What a redirection (3xx) may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Name another place of the trunk for the number that was called.
    #[default]
    Keep,
    /// Name another number too, where a challenge could call it as well.
    Follow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Pcmu,
    Pcma,
}

/// How the caller ID stands in From and P-Asserted-Identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub from: NumberFormat,
    pub asserted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberFormat {
    /// `+12025550123`
    #[default]
    E164,
    /// `12025550123`
    Digits,
    /// `0012025550123`
    Prefix00,
    /// `2025550123` within +1, else as `E164`
    National,
}
