//! How a carrier's requests are written, by its file: method, URL, headers and body, with what is filled in for one text. Pure:
//! credentials are added by whoever can read them ([`client`](super::client)).

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Uri,
    header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::{
    body,
    template::{Fields, Kind, Template},
};
use crate::{
    carrier::{TextOrder, tls::TlsError},
    challenge::Millis,
    config::{
        carrier::{Carry, Endpoint, HttpConfig},
        secret::SecretError,
    },
};

/// Everything of a carrier's requests that doesn't change from one to the next.
pub struct RequestFormat {
    method: Method,
    url: Template,
    /// The URL, where nothing is filled in.
    fixed: Option<Uri>,
    headers: HeaderMap,
    /// Those in which something is filled in.
    filled: Vec<(HeaderName, Template)>,
    body: Template,
    endpoint: Endpoint,
}

/// Why a request could not be made.
#[derive(Debug)]
pub enum Unsent {
    /// The text's time is over.
    Expired,
    /// The carrier's file or secrets: nothing can be sent.
    Carrier(RequestError),
    /// This one text.
    Text(String),
}

/// Why nothing can be sent by a carrier's file, or with its secrets.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("it is no HTTP carrier")]
    NoHttp,
    #[error("request.method: {0} is no HTTP method")]
    Method(Arc<str>),
    #[error("request.headers: {0} is no header")]
    Header(Arc<str>),
    #[error("request.url: {0}")]
    Url(#[from] hyper::http::uri::InvalidUri),
    #[error("request.url: begin it with https:// or http://")]
    Scheme,
    #[error("request.url: it names no host")]
    NoHost,
    #[error("request.auth: {0}")]
    Secret(#[from] SecretError),
    #[error("request.auth: the secret holds a control character")]
    ControlCharacter,
    #[error("request.auth.header: {0} is no header's name")]
    AuthHeader(Arc<str>),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl RequestFormat {
    /// The error names what is wrong in the carrier's file.
    pub fn new(http: &HttpConfig) -> Result<RequestFormat, RequestError> {
        let request = &http.request;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| RequestError::Method(request.method.clone()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(body::CODINGS));
        let mut filled = Vec::new();
        for (name, value) in &request.headers {
            let wrong = || RequestError::Header(name.clone());
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let template = Template::new(value, Kind::Plain);
            let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            if !template.is_fixed() {
                filled.push((name.clone(), template));
            }
            headers.insert(name, value);
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = Kind::of(content_type, &request.body);
        if content_type.is_none() && !request.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.content_type()));
        }
        let url = Template::new(&request.url, Kind::Form);
        let sample = url.fill(&Fields {
            to: "",
            sender: "",
            text: "",
            reference: "",
        });
        let uri: Uri = sample.parse()?;
        let endpoint = endpoint(&uri)?;
        Ok(RequestFormat {
            body: Template::new(&request.body, kind),
            fixed: url.is_fixed().then_some(uri),
            method,
            url,
            headers,
            filled,
            endpoint,
        })
    }

    /// Where the probe asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The request of one text, but for the credentials.
    pub fn build(&self, order: &TextOrder, now: Millis) -> Result<Request<Bytes>, Unsent> {
        if order.deadline <= now {
            return Err(Unsent::Expired);
        }
        let reference = format!("{}-{}", order.key.challenge.0, order.key.attempt);
        let fields = Fields {
            to: order.to.e164(),
            sender: &order.sender,
            text: &order.content.body,
            reference: &reference,
        };
        let uri = match &self.fixed {
            Some(uri) => uri.clone(),
            None => self
                .url
                .fill(&fields)
                .parse()
                .map_err(|e| Unsent::Text(format!("request.url: {e}")))?,
        };
        let mut request = Request::new(Bytes::from(self.body.fill(&fields)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        for (name, template) in &self.filled {
            // A line end would begin another header: such a value is refused here.
            let value =
                HeaderValue::from_bytes(template.fill(&fields).as_bytes()).map_err(|_| {
                    Unsent::Text(format!(
                        "request.headers.{name}: would hold a control character"
                    ))
                })?;
            request.headers_mut().insert(name.clone(), value);
        }
        Ok(request)
    }
}

fn endpoint(uri: &Uri) -> Result<Endpoint, RequestError> {
    let carry = match uri.scheme_str() {
        Some("http") => Carry::Tcp,
        Some("https") => Carry::Tls,
        _ => return Err(RequestError::Scheme),
    };
    let host = uri.host().ok_or(RequestError::NoHost)?;
    let port = uri
        .port_u16()
        .unwrap_or(if carry == Carry::Tls { 443 } else { 80 });
    Ok(Endpoint {
        carry,
        host: host.into(),
        port,
    })
}
