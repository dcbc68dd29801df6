//! By HTTP: POST, then the reports as server-sent events; a stream that is cut is taken up where it was.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Map, Value};

use super::{SendArgs, SendError, Teller, faults};

type Sender = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Longest answer that is read as a whole, and longest event.
const MOST: usize = 256 * 1024;
/// How often a cut stream is taken up again, and after what pause.
const AGAIN: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// A gateway, as its address is given.
struct Gateway<'a> {
    client: Sender,
    base: String,
    token: Option<&'a str>,
}

pub(super) async fn send(
    args: &SendArgs,
    job: &Map<String, Value>,
    teller: &mut Teller,
) -> Result<(), SendError> {
    let gateway = Gateway::at(&args.http, args.token.as_deref())?;
    let body = Value::Object(job.clone()).to_string();
    let answer = gateway.ask("POST", "/v1/challenges", &[], body).await?;
    let status = answer.status();
    let said = whole(answer).await;
    match status {
        StatusCode::ACCEPTED => {
            teller.taken(said["id"].as_str().unwrap_or(""), said["code"].as_str());
        }
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => return Err(SendError::Usage(faults(&said["errors"]))),
        status => {
            let reason = faults(&said["errors"]);
            return Err(SendError::Failed(format!("{status}: {reason}")));
        }
    }
    let id = job["id"].as_str().unwrap_or("");
    let tenant = args.tenant.as_deref().unwrap_or("default");
    let path = format!(
        "/v1/challenges/{}/reports?tenant={}",
        escaped(id),
        escaped(tenant)
    );
    for _ in 0..AGAIN {
        if gateway.follow(&path, teller).await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(SendError::Failed(
        "the reports broke off before the final one".to_owned(),
    ))
}

impl<'a> Gateway<'a> {
    fn at(url: &str, token: Option<&'a str>) -> Result<Gateway<'a>, SendError> {
        let uri: Option<Uri> = url.parse().ok();
        let sound = uri.is_some_and(|u| {
            matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some()
        });
        if !sound {
            return Err(SendError::Usage(format!(
                "--http {url}: write it as http://127.0.0.1:8080"
            )));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|e| {
                SendError::Failed(format!("the system's certificates can't be read: {e}"))
            })?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Gateway {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: url.trim_end_matches('/').to_owned(),
            token,
        })
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| SendError::Usage(format!("{}: {e}", self.base)))?;
        self.client
            .request(request)
            .await
            .map_err(|e| SendError::Failed(format!("{}: {}", self.base, cause(&e))))
    }

    /// True after the final; false where the stream was cut before.
    async fn follow(&self, path: &str, teller: &mut Teller) -> Result<bool, SendError> {
        let after = teller.last_seq.to_string();
        let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", &*after)];
        let mut answer = self.ask("GET", path, &headers, String::new()).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let reason = faults(&whole(answer).await["errors"]);
            return Err(SendError::Failed(format!("{status}: {reason}")));
        }
        let mut lines = Vec::new();
        while let Some(Ok(frame)) = answer.frame().await {
            let Ok(data) = frame.into_data() else {
                continue;
            };
            lines.extend_from_slice(&data);
            while let Some(end) = lines.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = lines.drain(..=end).collect();
                // Every report is one line of data; id and event stand in it, too.
                if let Some(body) = line.strip_prefix(b"data:")
                    && teller.report(body.trim_ascii())
                {
                    return Ok(true);
                }
            }
            if lines.len() > MOST {
                return Err(SendError::Failed(
                    "an event without an end; is this a gateway?".to_owned(),
                ));
            }
        }
        Ok(false)
    }
}

/// An answer's JSON; null where it is none.
async fn whole(answer: Response<Incoming>) -> Value {
    let body = Limited::new(answer.into_body(), MOST).collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}

/// The innermost reason: what a person can act on.
fn cause(e: &dyn std::error::Error) -> String {
    let mut inner = e;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

/// For a path or a query: all but the unreserved characters of RFC 3986, section 2.3, percent-encoded.
fn escaped(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}
