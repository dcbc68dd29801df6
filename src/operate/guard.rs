//! Who may speak to a listener: whoever knows its token, where one is set (compared in constant time); without a
//! token, whoever asks for a name that is the listener's own ([`hosts`]). Pages of other sites may act on neither.
//!
//! `Authorization: Bearer TOKEN`; a browser may give it as the password of `Basic`, so that the page can be opened.
//! Wrong tokens wait for their answers ([`delays`]), and the log says once a minute how many came.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};
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
use tokio::sync::Semaphore;

use crate::config::{
    secret::{Secret, SecretError},
    settings::Listener,
};
use crate::telemetry::minutely::Minutely;

mod delays;
mod elsewhere;
mod hosts;

use delays::Delays;
pub use delays::source;
use hosts::{Hosts, Misdirected};

/// Answers to wrong tokens that wait at the same time, per listener: beyond it they are refused at once, so that there
/// are connections left for right ones.
const WAITING: usize = 512;
/// The one path that asks for no token: it says that the process lives, and nothing else.
const HEALTH: &str = "/healthz";

/// Where a connection comes from; the listener puts it into each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// A listener's token, as it stands now, and the names it answers to.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    section: &'static str,
    secret: ArcSwapOption<Secret>,
    hosts: ArcSwap<Hosts>,
    key: hmac::Key,
    /// The token under `key`; None only where none is asked.
    tag: ArcSwapOption<hmac::Tag>,
    delays: Mutex<Delays>,
    waiting: Semaphore,
    refused: Minutely<Refused>,
    /// Where the last wrong one came from, for the log.
    last: Arc<Mutex<Option<IpAddr>>>,
}

/// What the log counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Refused {
    Missing,
    Wrong,
    Host,
    Elsewhere,
}

/// A token that is asked but can't be read: the listener stays shut.
#[derive(Debug, thiserror::Error)]
#[error("[{section}] token: {fault}")]
pub struct TokenError {
    section: &'static str,
    fault: TokenFault,
}

#[derive(Debug, thiserror::Error)]
enum TokenFault {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("it is empty")]
    Empty,
    #[error("the system has no randomness")]
    NoRandomness,
}

/// How a request is turned away.
enum Refusal {
    Now(Response),
    /// After a while: its token is wrong, and this is where it came from.
    Wrong(Option<IpAddr>),
}

/// What a request gives for a token.
enum Token {
    NotAsked,
    Right,
    Missing,
    Wrong,
}

impl Guard {
    pub fn new(section: &'static str, listener: &Listener) -> Result<Guard, TokenError> {
        let fault = |fault| TokenError { section, fault };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| fault(TokenFault::NoRandomness))?;
        let last = Arc::default();
        let guard = Guard(Arc::new(Inner {
            section,
            secret: ArcSwapOption::from_pointee(listener.token.clone()),
            hosts: ArcSwap::from_pointee(Hosts::new(&listener.hosts)),
            key,
            tag: ArcSwapOption::empty(),
            delays: Mutex::default(),
            waiting: Semaphore::new(WAITING),
            refused: lines(section, Arc::clone(&last)),
            last,
        }));
        guard.read().map_err(fault)?;
        Ok(guard)
    }

    /// Reads the token again; one that can't be read leaves the one before in force.
    pub fn refresh(&self) {
        if let Err(reason) = self.read() {
            tracing::error!(listener = self.0.section, %reason, "the token can't be read again; the one before holds");
        }
    }

    /// Another token, or none, and other names for the same address.
    pub fn change(&self, listener: &Listener) {
        self.0.secret.store(listener.token.clone().map(Arc::new));
        self.0.hosts.store(Arc::new(Hosts::new(&listener.hosts)));
        self.refresh();
    }

    fn read(&self) -> Result<(), TokenFault> {
        let Some(secret) = self.0.secret.load_full() else {
            self.0.tag.store(None);
            return Ok(());
        };
        let token = secret.read()?;
        if token.is_empty() {
            return Err(TokenFault::Empty);
        }
        let tag = hmac::sign(&self.0.key, token.as_bytes());
        self.0.tag.store(Some(Arc::new(tag)));
        Ok(())
    }

    /// Puts the guard before all of these routes, the unknown ones too.
    pub fn before(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), ask))
    }

    fn token(&self, headers: &HeaderMap) -> Token {
        let Some(tag) = self.0.tag.load_full() else {
            return Token::NotAsked;
        };
        let given = headers.get_all(header::AUTHORIZATION);
        let mut tokens = given.iter().filter_map(given_token).peekable();
        if tokens.peek().is_none() {
            return Token::Missing;
        }
        match tokens.any(|token| hmac::verify(&self.0.key, &token, (*tag).as_ref()).is_ok()) {
            true => Token::Right,
            false => Token::Wrong,
        }
    }

    /// None: it may pass.
    fn refuses(&self, request: &Request) -> Option<Refusal> {
        let inner = &*self.0;
        let headers = request.headers();
        let health = request.uri().path() == HEALTH && request.method() == Method::GET;
        match self.token(headers) {
            Token::NotAsked => {
                let here = inner
                    .hosts
                    .load()
                    .check(request.version(), request.uri(), headers);
                if let Err(why) = here {
                    inner.refused.note(Refused::Host);
                    return Some(Refusal::Now(misdirected(inner.section, why)));
                }
                if self.takes_jobs_unasked() && elsewhere::is_form(request.method(), headers) {
                    inner.refused.note(Refused::Elsewhere);
                    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                    let reason = "write application/json";
                    return Some(Refusal::Now(fault(status, "content-type", reason)));
                }
            }
            Token::Right => {}
            Token::Missing | Token::Wrong if health => {}
            Token::Missing => {
                inner.refused.note(Refused::Missing);
                return Some(Refusal::Now(unauthorized()));
            }
            Token::Wrong => return Some(Refusal::Wrong(peer(request))),
        }
        if elsewhere::acts(request.method(), headers) {
            inner.refused.note(Refused::Elsewhere);
            let reason = "a page of another site may not act here";
            let refusal = fault(StatusCode::FORBIDDEN, "origin", reason);
            return Some(Refusal::Now(refusal));
        }
        None
    }

    /// Callbacks are signed: what they are called, nobody else can make.
    fn takes_jobs_unasked(&self) -> bool {
        self.0.section != "callbacks"
    }

    async fn wrong(&self, from: Option<IpAddr>) -> Response {
        let inner = &*self.0;
        if from.is_some() {
            *lock(&inner.last) = from;
        }
        inner.refused.note(Refused::Wrong);
        let from = from.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let wait = lock(&inner.delays).wrong(from, Instant::now());
        let Ok(_place) = inner.waiting.try_acquire() else {
            let reason = "too many wrong tokens; come again later";
            let mut response = fault(StatusCode::TOO_MANY_REQUESTS, "authorization", reason);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            return response;
        };
        tokio::time::sleep(wait).await;
        unauthorized()
    }
}

/// The lines of a listener's refusals.
fn lines(section: &'static str, last: Arc<Mutex<Option<IpAddr>>>) -> Minutely<Refused> {
    Minutely::new(move |what, count| match what {
        Refused::Wrong => {
            let from = lock(&last).map(|from| from.to_string());
            tracing::warn!(listener = section, count, last_from = %from.unwrap_or_default(), "requests with a wrong token were refused");
        }
        Refused::Missing => {
            tracing::warn!(
                listener = section,
                count,
                "requests without a token were refused"
            );
        }
        Refused::Host => {
            tracing::warn!(
                listener = section,
                count,
                "requests for a foreign host name were refused: name it in hosts, or set a token"
            );
        }
        Refused::Elsewhere => {
            tracing::warn!(
                listener = section,
                count,
                "requests of another site's pages were refused"
            );
        }
    })
}

fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0)
}

/// Nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The token in a value of `Authorization`, if it has a form we know.
fn given_token(value: &HeaderValue) -> Option<Vec<u8>> {
    let value = value.as_bytes();
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
    match guard.refuses(&request) {
        None => next.run(request).await,
        Some(Refusal::Now(response)) => response,
        Some(Refusal::Wrong(from)) => guard.wrong(from).await,
    }
}

fn fault(status: StatusCode, field: &str, reason: &str) -> Response {
    let body = json!({ "errors": [{ "field": field, "reason": reason }] });
    (status, Json(body)).into_response()
}

fn unauthorized() -> Response {
    let reason = "a token is asked here";
    let mut response = fault(StatusCode::UNAUTHORIZED, "authorization", reason);
    for way in ["Bearer realm=\"ringback\"", "Basic realm=\"ringback\""] {
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(way));
    }
    response
}

fn misdirected(section: &str, why: Misdirected) -> Response {
    let (status, reason) = match why {
        Misdirected::NoHost => (StatusCode::BAD_REQUEST, "is missing".to_owned()),
        Misdirected::SeveralHosts => (StatusCode::BAD_REQUEST, "stands there twice".to_owned()),
        Misdirected::Unreadable => (StatusCode::BAD_REQUEST, "can't be read".to_owned()),
        Misdirected::Foreign => (
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "without a token only localhost and IP addresses are taken: name this one as [{section}] hosts = [\"...\"], or set a token"
            ),
        ),
    };
    fault(status, "host", &reason)
}

#[cfg(test)]
mod tests;
