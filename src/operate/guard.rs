//! Who may speak to a listener: whoever knows its token, where one is set. Compared in constant time.
//!
//! `Authorization: Bearer TOKEN`; a browser may give it as the password of `Basic`, so that the page can be opened.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{hmac, rand::SystemRandom};
use serde_json::json;

use crate::config::carrier::Secret;

/// A listener's token, as it stands now.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    section: &'static str,
    secret: Option<Secret>,
    key: hmac::Key,
    /// The token under `key`; None only where none is asked.
    tag: ArcSwapOption<hmac::Tag>,
}

/// A token that is asked but can't be read: the listener stays shut.
#[derive(Debug, thiserror::Error)]
#[error("[{section}] token: {reason}")]
pub struct TokenError {
    section: &'static str,
    reason: String,
}

impl Guard {
    pub fn new(section: &'static str, secret: Option<Secret>) -> Result<Guard, TokenError> {
        let fault = |reason: &str| TokenError {
            section,
            reason: reason.to_owned(),
        };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| fault("the system has no randomness"))?;
        let guard = Guard(Arc::new(Inner {
            section,
            secret,
            key,
            tag: ArcSwapOption::empty(),
        }));
        guard.read().map_err(|reason| fault(&reason))?;
        Ok(guard)
    }

    /// Reads the token again; one that can't be read leaves the one before in force.
    pub fn refresh(&self) {
        if let Err(reason) = self.read() {
            tracing::error!(listener = self.0.section, %reason, "the token can't be read again; the one before holds");
        }
    }

    fn read(&self) -> Result<(), String> {
        let Some(secret) = &self.0.secret else {
            return Ok(());
        };
        let token = secret.read()?;
        if token.is_empty() {
            return Err("it is empty".to_owned());
        }
        let tag = hmac::sign(&self.0.key, token.as_bytes());
        self.0.tag.store(Some(Arc::new(tag)));
        Ok(())
    }

    /// Puts the guard before all of these routes, the unknown ones too.
    pub fn before(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), ask))
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(tag) = self.0.tag.load_full() else {
            return true;
        };
        given(headers)
            .is_some_and(|token| hmac::verify(&self.0.key, &token, (*tag).as_ref()).is_ok())
    }
}

/// The token of a request, if there is one in a form we know.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let at = value.iter().position(|b| *b == b' ')?;
    let (scheme, rest) = (&value[..at], value[at..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    Some(pair[colon + 1..].to_vec())
}

async fn ask(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !guard.lets_in(request.headers()) {
        let body = Json(
            json!({ "errors": [{ "field": "authorization", "reason": "a token is asked here" }] }),
        );
        let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
        for way in ["Bearer realm=\"ringback\"", "Basic realm=\"ringback\""] {
            response
                .headers_mut()
                .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(way));
        }
        return response;
    }
    if request.method() != Method::GET && from_elsewhere(request.headers()) {
        let body = Json(
            json!({ "errors": [{ "field": "origin", "reason": "another site may not act here" }] }),
        );
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    next.run(request).await
}

/// A browser says that a page of another site makes this request.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(header::HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_token_is_read_from_bearer_and_from_basic() {
        let token = |value: &str| given(&headers(&[(header::AUTHORIZATION, value)]));
        assert_eq!(token("Bearer s3cret"), Some(b"s3cret".to_vec()));
        assert_eq!(token("bearer   s3cret"), Some(b"s3cret".to_vec()));
        let basic = format!("Basic {}", STANDARD.encode("operator:s3:cret"));
        assert_eq!(token(&basic), Some(b"s3:cret".to_vec()));
        for odd in ["", "Bearer", "Basic ???", "Digest x", "Basic bm9jb2xvbg=="] {
            assert_eq!(token(odd), None, "{odd}");
        }
    }

    #[test]
    fn another_sites_page_may_not_act() {
        let from = |origin: &str| {
            from_elsewhere(&headers(&[
                (header::ORIGIN, origin),
                (header::HOST, "127.0.0.1:8082"),
            ]))
        };
        assert!(!from("http://127.0.0.1:8082"));
        assert!(from("https://evil.example"));
        assert!(from("null"));
        assert!(!from_elsewhere(&HeaderMap::new()));
    }
}
