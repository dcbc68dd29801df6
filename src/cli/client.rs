//! A gateway asked by HTTP: for the verbs that speak to a running one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, Uri, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::settings::Listener;

type Sender = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Longest answer that is read as a whole, and longest event.
pub const MOST: usize = 256 * 1024;

/// A gateway, as its address is given.
pub struct Gateway {
    client: Sender,
    base: String,
    token: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// The address or the question is wrong: exit code 2.
    Usage(String),
    Failed(String),
}

impl Gateway {
    pub fn at(url: &str, token: Option<&str>) -> Result<Gateway, AskError> {
        let uri: Option<Uri> = url.parse().ok();
        let sound = uri.is_some_and(|u| {
            matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some()
        });
        if !sound {
            return Err(AskError::Usage(format!(
                "--http {url}: write it as http://127.0.0.1:8080"
            )));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|e| AskError::Failed(format!("the system's certificates can't be read: {e}")))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Gateway {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: url.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        })
    }

    /// The admin listener of a configuration, on this machine where it listens everywhere.
    pub fn admin(listener: &Listener) -> Result<Gateway, AskError> {
        let token = listener.token.as_ref().map(|token| token.read());
        let token = token
            .transpose()
            .map_err(|e| AskError::Usage(format!("[admin] token: {e}")))?;
        let mut at: SocketAddr = listener.listen;
        if at.ip().is_unspecified() {
            at.set_ip(match at.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Gateway::at(&format!("http://{at}"), token.as_deref())
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Response<Incoming>, AskError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| AskError::Usage(format!("{}: {e}", self.base)))?;
        self.client
            .request(request)
            .await
            .map_err(|e| AskError::Failed(format!("{}: {}", self.base, cause(&e))))
    }
}

/// An answer's JSON; null where it is none.
pub async fn whole(answer: Response<Incoming>) -> Value {
    let body = Limited::new(answer.into_body(), MOST).collect().await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}

/// The faults that an answer lists, one a line.
pub fn faults(list: &Value) -> String {
    let each = list.as_array().into_iter().flatten();
    let each = each.map(|f| {
        format!(
            "{}: {}",
            f["field"].as_str().unwrap_or("?"),
            f["reason"].as_str().unwrap_or("?")
        )
    });
    each.collect::<Vec<_>>().join("\n")
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
pub fn escaped(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}
