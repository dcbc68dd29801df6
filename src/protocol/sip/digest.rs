//! Digest authentication, the client's side (RFC 2617, RFC 7616): MD5 and SHA-256, plain and `-sess`, with
//! `qop=auth` and without. One [`Session`] per challenge counts its nonces.

use std::fmt::Write;

use md5::{Digest, Md5};

use super::codec::Split;
use super::token::hex;

/// Who we are to the trunk. Never prints its password.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Md5Sess,
    Sha256,
    Sha256Sess,
}

impl Algorithm {
    fn of(name: &str) -> Option<Algorithm> {
        ALGORITHMS
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(algorithm, _)| *algorithm)
    }

    fn name(self) -> &'static str {
        ALGORITHMS
            .iter()
            .find(|(algorithm, _)| *algorithm == self)
            .map_or("MD5", |(_, name)| name)
    }

    fn is_session(self) -> bool {
        matches!(self, Algorithm::Md5Sess | Algorithm::Sha256Sess)
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 | Algorithm::Md5Sess => hex_of(&Md5::digest(text.as_bytes())),
            Algorithm::Sha256 | Algorithm::Sha256Sess => {
                hex_of(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
            }
        }
    }
}

/// In order of preference, the last is the best.
const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::Md5, "MD5"),
    (Algorithm::Md5Sess, "MD5-sess"),
    (Algorithm::Sha256, "SHA-256"),
    (Algorithm::Sha256Sess, "SHA-256-sess"),
];

fn hex_of(octets: &[u8]) -> String {
    octets
        .iter()
        .fold(String::with_capacity(octets.len() * 2), |mut out, octet| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{octet:02x}");
            out
        })
}

/// What a 401 or 407 asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    /// `qop` offers `auth`; without `qop` the old form is used.
    pub qop_auth: bool,
    /// The nonce was too old, the password is right: try again with this one.
    pub stale: bool,
    /// From a 407.
    pub proxy: bool,
}

impl Challenge {
    /// One challenge for each realm among the lines of `WWW-Authenticate` (`proxy` false) or `Proxy-Authenticate`, its
    /// best where a realm offers several algorithms. What can't be answered is left out: another scheme, an unknown
    /// algorithm, only `auth-int`.
    pub fn all<'a>(lines: impl Iterator<Item = &'a str>, proxy: bool) -> Vec<Challenge> {
        let mut found: Vec<Challenge> = Vec::new();
        for challenge in lines
            .flat_map(challenges_of)
            .filter_map(|text| Challenge::parse(text, proxy))
            .take(MAX_CHALLENGES)
        {
            match found.iter_mut().find(|known| known.asks_as(&challenge)) {
                Some(known) if known.rank() < challenge.rank() => *known = challenge,
                Some(_) => {}
                None => found.push(challenge),
            }
        }
        found
    }

    /// The same realm, asked by the same kind of server.
    pub fn asks_as(&self, other: &Challenge) -> bool {
        self.proxy == other.proxy && self.realm == other.realm
    }

    fn rank(&self) -> Option<usize> {
        ALGORITHMS
            .iter()
            .position(|(known, _)| *known == self.algorithm)
    }

    fn parse(text: &str, proxy: bool) -> Option<Challenge> {
        let (scheme, rest) = text.trim().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let field = |name: &str| {
            Split::new(rest, b',').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                key.trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| unquote(value.trim()))
            })
        };
        let qop = field("qop");
        let auth = |list: &String| {
            list.split(',')
                .any(|q| q.trim().eq_ignore_ascii_case("auth"))
        };
        if qop.as_ref().is_some_and(|list| !auth(list)) {
            return None;
        }
        Some(Challenge {
            realm: field("realm")?,
            nonce: field("nonce").filter(|nonce| !nonce.is_empty())?,
            opaque: field("opaque"),
            algorithm: Algorithm::of(&field("algorithm").unwrap_or_else(|| "MD5".into()))?,
            qop_auth: qop.is_some(),
            stale: field("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            proxy,
        })
    }
}

/// The challenges of one line: each begins with its scheme and a blank, where a parameter has its name and `=`.
fn challenges_of(line: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    for part in Split::new(line, b',') {
        let first = part.split('=').next().unwrap_or("").trim_end();
        if first.contains([' ', '\t']) {
            // `part` is a piece of `line`.
            starts.push(part.as_ptr() as usize - line.as_ptr() as usize);
        }
    }
    let ends = starts.iter().copied().skip(1).chain([line.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| line[*start..end].trim_end_matches([',', ' ', '\t']))
        .collect()
}

fn unquote(value: &str) -> String {
    match value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) => {
            let mut chars = inner.chars();
            std::iter::from_fn(|| {
                chars
                    .next()
                    .and_then(|c| if c == '\\' { chars.next() } else { Some(c) })
            })
            .collect()
        }
        None => value.to_owned(),
    }
}

fn quote(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The header of one request that answers a challenge.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    pub name: &'static str,
    pub value: String,
    proxy: bool,
    realm: String,
    /// Its nonce was never used before.
    fresh: bool,
}

impl Authorization {
    /// The challenge repeats what this has answered with a fresh nonce: not the nonce was the trouble, but the password
    /// (RFC 3261 22.3).
    pub fn is_refused_by(&self, challenge: &Challenge) -> bool {
        self.fresh
            && !challenge.stale
            && self.proxy == challenge.proxy
            && self.realm == challenge.realm
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name, self.realm)
    }
}

/// A challenge being answered: the nonce count goes up with every request.
#[derive(Debug, Clone)]
pub struct Session {
    challenge: Challenge,
    count: u32,
}

impl Session {
    pub fn new(challenge: Challenge) -> Session {
        Session {
            challenge,
            count: 0,
        }
    }

    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The header that answers the challenge for this request.
    pub fn authorize(
        &mut self,
        who: &Credentials,
        method: &str,
        uri: &str,
        cnonce: u64,
    ) -> Authorization {
        self.count = self.count.wrapping_add(1);
        let c = &self.challenge;
        let cnonce = hex(cnonce);
        let response = response(c, who, method, uri, &cnonce, self.count);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
            quote(&who.username),
            quote(&c.realm),
            quote(&c.nonce),
            c.algorithm.name(),
        );
        if c.qop_auth {
            // Writing to a String cannot fail.
            let _ = write!(
                value,
                ", qop=auth, nc={:08x}, cnonce=\"{cnonce}\"",
                self.count
            );
        } else if c.algorithm.is_session() {
            let _ = write!(value, ", cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &c.opaque {
            let _ = write!(value, ", opaque=\"{}\"", quote(opaque));
        }
        Authorization {
            name: if c.proxy {
                "Proxy-Authorization"
            } else {
                "Authorization"
            },
            value,
            proxy: c.proxy,
            realm: c.realm.clone(),
            fresh: self.count == 1,
        }
    }
}

/// The most challenges of one answer that are looked at.
const MAX_CHALLENGES: usize = 16;

/// RFC 7616 3.4.1 to 3.4.3.
fn response(
    c: &Challenge,
    who: &Credentials,
    method: &str,
    uri: &str,
    cnonce: &str,
    count: u32,
) -> String {
    let hash = |text: String| c.algorithm.hash(&text);
    let mut a1 = hash(format!("{}:{}:{}", who.username, c.realm, who.password));
    if c.algorithm.is_session() {
        a1 = hash(format!("{a1}:{}:{cnonce}", c.nonce));
    }
    let a2 = hash(format!("{method}:{uri}"));
    if c.qop_auth {
        hash(format!("{a1}:{}:{count:08x}:{cnonce}:auth:{a2}", c.nonce))
    } else {
        hash(format!("{a1}:{}:{a2}", c.nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(text: &str) -> Challenge {
        Challenge::all([text].into_iter(), false)
            .pop()
            .expect("a challenge")
    }

    fn who() -> Credentials {
        Credentials {
            username: "Mufasa".into(),
            password: "Circle of Life".into(),
        }
    }

    #[test]
    fn the_examples_of_the_rfcs_come_out() {
        // RFC 7616 3.9.1, both algorithms.
        let base = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
                    nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                    opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let c = challenge(&format!("{base}, algorithm={algorithm}"));
            assert_eq!(
                response(&c, &who(), "GET", "/dir/index.html", cnonce, 1),
                expected
            );
        }
    }

    #[test]
    fn the_old_form_and_sessions_come_out() {
        let old = challenge(
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
        );
        let who = Credentials {
            username: "Mufasa".into(),
            password: "CircleOfLife".into(),
        };
        let answer = response(&old, &who, "GET", "/dir/index.html", "", 0);
        assert_eq!(answer, "1949323746fe6a43ef61f9606e7febea");
        let session =
            challenge("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"");
        let a1 = Algorithm::Md5.hash(&format!(
            "{}:n:c",
            Algorithm::Md5.hash("Mufasa:r:CircleOfLife")
        ));
        let a2 = Algorithm::Md5.hash("BYE:sip:a@b");
        let expected = Algorithm::Md5.hash(&format!("{a1}:n:00000002:c:auth:{a2}"));
        assert_eq!(response(&session, &who, "BYE", "sip:a@b", "c", 2), expected);
    }

    #[test]
    fn the_nonce_is_counted_and_the_header_fits_the_challenge() {
        let mut session = Session::new(Challenge {
            proxy: true,
            ..challenge("Digest realm=\"a \\\"b\\\"\", nonce=\"n\", qop=\"auth\", opaque=\"o\"")
        });
        let first = session.authorize(&who(), "INVITE", "sip:x@y", 1);
        let second = session.authorize(&who(), "INVITE", "sip:x@y", 2);
        assert_eq!(first.name, "Proxy-Authorization");
        let again = session.challenge().clone();
        assert!(first.is_refused_by(&again) && !second.is_refused_by(&again));
        let stale = Challenge {
            stale: true,
            ..again
        };
        assert!(!first.is_refused_by(&stale));
        assert!(!format!("{first:?}").contains("response"));
        let (first, second) = (first.value, second.value);
        assert!(
            first.contains("realm=\"a \\\"b\\\"\"") && first.contains("opaque=\"o\""),
            "{first}"
        );
        assert!(first.contains("nc=00000001") && second.contains("nc=00000002"));
        assert!(!first.contains("Circle"));
        assert!(!format!("{:?}", who()).contains("Circle"));
    }

    #[test]
    fn each_realm_is_asked_for_once_by_its_best_answerable_challenge() {
        let lines = [
            "Basic realm=\"x\"",
            "Digest realm=\"r\", nonce=\"1\"",
            "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\", stale=TRUE",
            "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-3",
            "Digest realm=\"r\", nonce=\"4\", algorithm=SHA-512-256, qop=\"auth\"",
            "Digest realm=\"other, Digest x=y\", nonce=\"5\" , Basic realm=\"x\", digest nonce=\"6\",realm=third",
        ];
        let found = Challenge::all(lines.into_iter(), false);
        let told: Vec<_> = found
            .iter()
            .map(|c| (c.realm.as_str(), c.nonce.as_str(), c.algorithm, c.stale))
            .collect();
        assert_eq!(
            told,
            [
                ("r", "2", Algorithm::Sha256, true),
                ("other, Digest x=y", "5", Algorithm::Md5, false),
                ("third", "6", Algorithm::Md5, false)
            ]
        );
        let none = ["Basic realm=\"x\"", "Digest realm=\"r\"", "", ",", "="];
        assert_eq!(Challenge::all(none.into_iter(), true), []);
    }
}
