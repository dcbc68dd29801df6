//! Carries callbacks to the gateway when they are due, signed, a few times if need be. One task, bounded.

use super::Callback;
use crate::record::Record;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Callbacks that wait for their time; beyond, the soonest are given up.
const MAX_WAITING: usize = 1_000_000;
/// Callbacks under way at a time.
const MAX_UNDER_WAY: usize = 64;
/// Tries per callback.
const TRIES: u32 = 6;
/// Before the second try; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer to a callback may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A callback to come.
#[derive(Debug)]
pub struct Parcel {
    due: Instant,
    about: About,
    /// The line of the record it belongs to, and the state to note there.
    line: Option<(u64, &'static str)>,
    tries: u32,
}

/// What the body says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum About {
    /// A receipt.
    Receipt {
        id: String,
        status: &'static str,
        to: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'static str>,
    },
    /// A person's own text.
    Inbound {
        inbound_id: String,
        from: String,
        to: String,
        text: String,
    },
}

impl Parcel {
    /// `line`: the text's line in the record and the state to note there when the first try is made.
    pub fn new(due: Instant, about: About, line: Option<(u64, &'static str)>) -> Parcel {
        Parcel {
            due,
            about,
            line,
            tries: 0,
        }
    }
}

/// Where callbacks go.
pub struct Target {
    url: Uri,
    key: hmac::Key,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Target {
    /// Fails where the URL is none, or not plain HTTP.
    pub fn of(callback: &Callback) -> io::Result<Target> {
        let wrong = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "callback URL: write it as http://host:port/path",
            )
        };
        let url: Uri = callback.url.parse().map_err(|_| wrong())?;
        if url.scheme_str() != Some("http") || url.host().is_none() {
            return Err(wrong());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, callback.key.as_bytes());
        Ok(Target {
            url,
            key,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    /// True when the gateway has answered 2xx.
    async fn post(&self, body: String) -> bool {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(
                "X-Ringback-Signature",
                signature(&self.key, at, body.as_bytes()),
            )
            .body(Full::new(Bytes::from(body)));
        let Ok(request) = request else { return false };
        let answered = async {
            let response = self.client.request(request).await.ok()?;
            let good = response.status().is_success();
            // Read to the end, so that the connection can be used again.
            let _ = response.into_body().collect().await;
            Some(good)
        };
        tokio::time::timeout(PATIENCE, answered)
            .await
            .ok()
            .flatten()
            .unwrap_or(false)
    }
}

/// `t=<unix>,v1=<hex HMAC-SHA256(key, t "." body)>`
fn signature(key: &hmac::Key, at: u64, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(key);
    signed.update(at.to_string().as_bytes());
    signed.update(b".");
    signed.update(body);
    format!("t={at},v1={}", hex::encode(signed.sign()))
}

/// Carry until the carrier ends.
pub async fn carry(target: Option<Target>, mut parcels: mpsc::Receiver<Parcel>, record: Record) {
    let Some(target) = target.map(std::sync::Arc::new) else {
        while parcels.recv().await.is_some() {}
        return;
    };
    let mut waiting: BTreeMap<(Instant, u64), Parcel> = BTreeMap::new();
    let mut order = 0;
    let mut under_way: JoinSet<Option<Parcel>> = JoinSet::new();
    loop {
        let room = under_way.len() < MAX_UNDER_WAY;
        let soonest = waiting
            .first_key_value()
            .map(|((due, _), _)| *due)
            .filter(|_| room);
        let due = async {
            match soonest {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let back = tokio::select! {
            parcel = parcels.recv() => match parcel {
                Some(parcel) => Some(parcel),
                None => return,
            },
            Some(done) = under_way.join_next() => done.ok().flatten(),
            () = due => {
                if let Some((_, parcel)) = waiting.pop_first() {
                    under_way.spawn(attempt(target.clone(), parcel, record.clone()));
                }
                None
            }
        };
        if let Some(parcel) = back {
            order += 1;
            waiting.insert((parcel.due, order), parcel);
            if waiting.len() > MAX_WAITING {
                waiting.pop_first();
            }
        }
    }
}

/// One try; gives the parcel back where another shall follow.
async fn attempt(
    target: std::sync::Arc<Target>,
    mut parcel: Parcel,
    record: Record,
) -> Option<Parcel> {
    if let Some((line, stat)) = parcel.line.take() {
        record.receipt(line, stat);
    }
    let body = serde_json::to_string(&parcel.about).ok()?;
    if target.post(body).await {
        return None;
    }
    parcel.tries += 1;
    parcel.due = Instant::now() + FIRST_PAUSE * 2u32.saturating_pow(parcel.tries - 1);
    (parcel.tries < TRIES).then_some(parcel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_an_hmac_over_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let one = signature(&key, 1, b"{}");
        assert!(one.starts_with("t=1,v1=") && one.len() == 7 + 64);
        let expected = hmac::sign(&key, b"1.{}");
        assert_eq!(one, format!("t=1,v1={}", hex::encode(expected)));
        assert_ne!(one, signature(&key, 2, b"{}"));
    }
}
