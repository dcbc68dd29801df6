//! Digest authentication as the carrier asks for it (RFC 3261 section 22, RFC 2617: MD5, qop `auth`).
//!
//! Pure. A nonce is a function of the seed and the Call-ID, so nothing is kept between challenge and answer.

use super::md5::hex_of;
use super::sip::{Message, split_commas};

/// The carrier's side of the account.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name the gateway must know.
    pub username: String,
    /// The password it must prove.
    pub password: String,
    /// Challenge as a proxy (407) rather than as a server (401).
    pub proxy: bool,
}

/// What a request's credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None are given, or they answer another challenge: ask.
    Ask,
    /// Proved.
    Good,
    /// Proved, but for another URI than the request's: taken, and told on.
    OtherUri,
    /// Given, and wrong: 403.
    Wrong,
}

/// The realm of every trunk.
pub const REALM: &str = "trunk";

impl Credentials {
    /// Status, header and value of the challenge for this call.
    pub fn challenge(&self, seed: u64, call_id: &str) -> (u16, &'static str, String) {
        let (status, header) = if self.proxy {
            (407, "Proxy-Authenticate")
        } else {
            (401, "WWW-Authenticate")
        };
        let nonce = nonce(seed, call_id);
        (
            status,
            header,
            format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\""),
        )
    }

    /// Judge a request.
    pub fn judge(
        &self,
        message: &Message,
        method: &str,
        uri: &str,
        seed: u64,
        call_id: &str,
    ) -> Verdict {
        let header = if self.proxy {
            "proxy-authorization"
        } else {
            "authorization"
        };
        let nonce = nonce(seed, call_id);
        let answers = message.all(header).filter_map(Answer::read);
        let Some(answer) = answers
            .into_iter()
            .find(|answer| answer.realm == REALM && answer.nonce == nonce)
        else {
            return Verdict::Ask;
        };
        let named = answer.username == self.username
            && answer
                .algorithm
                .is_none_or(|a| a.eq_ignore_ascii_case("MD5"));
        if !named {
            return Verdict::Wrong;
        }
        let secret = hex_of(&[&self.username, REALM, &self.password]);
        let request = hex_of(&[method, answer.uri]);
        let wanted = match answer.qop {
            Some("auth") => match (answer.nc, answer.cnonce) {
                (Some(nc), Some(cnonce)) if nc.len() == 8 => {
                    hex_of(&[&secret, &nonce, nc, cnonce, "auth", &request])
                }
                _ => return Verdict::Wrong,
            },
            None => hex_of(&[&secret, &nonce, &request]),
            Some(_) => return Verdict::Wrong,
        };
        // The digest's URI should be the request's (RFC 2617 section 3.2.2.5); carriers let it pass.
        match (wanted == answer.response, answer.uri == uri) {
            (true, true) => Verdict::Good,
            (true, false) => Verdict::OtherUri,
            (false, _) => Verdict::Wrong,
        }
    }
}

fn nonce(seed: u64, call_id: &str) -> String {
    hex_of(&["nonce", &seed.to_string(), call_id])
}

#[derive(Default)]
struct Answer<'a> {
    username: &'a str,
    realm: &'a str,
    nonce: &'a str,
    uri: &'a str,
    response: &'a str,
    algorithm: Option<&'a str>,
    qop: Option<&'a str>,
    nc: Option<&'a str>,
    cnonce: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn read(value: &'a str) -> Option<Answer<'a>> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut answer = Answer::default();
        for part in split_commas(rest) {
            let (key, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "username" => answer.username = value,
                "realm" => answer.realm = value,
                "nonce" => answer.nonce = value,
                "uri" => answer.uri = value,
                "response" => answer.response = value,
                "algorithm" => answer.algorithm = Some(value),
                "qop" => answer.qop = Some(value),
                "nc" => answer.nc = Some(value),
                "cnonce" => answer.cnonce = Some(value),
                _ => {}
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(authorization: Option<&str>, password: &str) -> Verdict {
        let account = Credentials {
            username: "mfa".into(),
            password: password.into(),
            proxy: false,
        };
        let lines = authorization
            .map(|a| format!("Authorization: {a}\r\n"))
            .unwrap_or_default();
        let text = format!("INVITE sip:+1@h SIP/2.0\r\n{lines}\r\n");
        let message = Message::datagram(text.as_bytes()).unwrap();
        account.judge(&message, "INVITE", "sip:+1@h", 3, "c1")
    }

    #[test]
    fn only_the_right_password_for_this_call_is_good() {
        let nonce = nonce(3, "c1");
        let secret = hex_of(&["mfa", REALM, "right"]);
        let request = hex_of(&["INVITE", "sip:+1@h"]);
        let response = hex_of(&[&secret, &nonce, "00000001", "xyz", "auth", &request]);
        let with = |response: &str, rest: &str| {
            format!(
                "Digest username=\"mfa\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"sip:+1@h\", response=\"{response}\"{rest}"
            )
        };
        let good = with(&response, ", qop=auth, nc=00000001, cnonce=\"xyz\"");
        assert_eq!(judge(None, "right"), Verdict::Ask);
        assert_eq!(judge(Some(&good), "right"), Verdict::Good);
        assert_eq!(judge(Some(&good), "other"), Verdict::Wrong);
        assert_eq!(
            judge(Some(&good.replace(&nonce, "stale")), "right"),
            Verdict::Ask
        );
        assert_eq!(
            judge(Some(&good.replace("sip:+1@h", "sip:+2@h")), "right"),
            Verdict::Wrong
        );
        let plain = hex_of(&[&secret, &nonce, &request]);
        assert_eq!(judge(Some(&with(&plain, "")), "right"), Verdict::Good);
        let other = hex_of(&["INVITE", "sip:h"]);
        let elsewhere = hex_of(&[&secret, &nonce, &other]);
        let elsewhere = with(&elsewhere, "").replace("sip:+1@h", "sip:h");
        assert_eq!(judge(Some(&elsewhere), "right"), Verdict::OtherUri);
        assert_eq!(
            judge(Some(&with(&plain, ", qop=auth-int")), "right"),
            Verdict::Wrong
        );
    }
}
