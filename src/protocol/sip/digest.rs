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
    /// The best challenge among the header lines; `None` if none can be answered (another scheme, an unknown
    /// algorithm, only `auth-int`).
    pub fn best<'a>(lines: impl Iterator<Item = &'a str>, proxy: bool) -> Option<Challenge> {
        lines
            .filter_map(|line| Challenge::parse(line, proxy))
            .max_by_key(|challenge| {
                ALGORITHMS
                    .iter()
                    .position(|(known, _)| *known == challenge.algorithm)
            })
    }

    fn parse(line: &str, proxy: bool) -> Option<Challenge> {
        let (scheme, rest) = line.trim().split_once([' ', '\t'])?;
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

    pub fn nonce(&self) -> &str {
        &self.challenge.nonce
    }

    /// The name and the value of the header that answers the challenge for this request.
    pub fn authorize(
        &mut self,
        who: &Credentials,
        method: &str,
        uri: &str,
        cnonce: u64,
    ) -> (&'static str, String) {
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
        (
            if c.proxy {
                "Proxy-Authorization"
            } else {
                "Authorization"
            },
            value,
        )
    }
}

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
        Challenge::best([text].into_iter(), false).expect("a challenge")
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
        let (name, first) = session.authorize(&who(), "INVITE", "sip:x@y", 1);
        let (_, second) = session.authorize(&who(), "INVITE", "sip:x@y", 2);
        assert_eq!(name, "Proxy-Authorization");
        assert!(
            first.contains("realm=\"a \\\"b\\\"\"") && first.contains("opaque=\"o\""),
            "{first}"
        );
        assert!(first.contains("nc=00000001") && second.contains("nc=00000002"));
        assert!(!first.contains("Circle"));
        assert!(!format!("{:?}", who()).contains("Circle"));
    }

    #[test]
    fn the_best_answerable_challenge_is_taken() {
        let lines = [
            "Basic realm=\"x\"",
            "Digest realm=\"r\", nonce=\"1\"",
            "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\", stale=TRUE",
            "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-512-256",
            "Digest realm=\"r\", nonce=\"4\", algorithm=SHA-256, qop=\"auth-int\"",
        ];
        let best = Challenge::best(lines.into_iter(), false).expect("one");
        assert_eq!(
            (best.nonce.as_str(), best.algorithm, best.stale),
            ("2", Algorithm::Sha256, true)
        );
        assert_eq!(
            Challenge::best(
                ["Basic realm=\"x\"", "Digest realm=\"r\"", ""].into_iter(),
                true
            ),
            None
        );
    }
}
