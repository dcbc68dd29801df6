//! One request to an HTTP carrier: built from its file, sent over a kept-alive pool, read whole within its time.
//!
//! The one question that matters here is whether a request may have left us: if not, another carrier may take the
//! text; if so, it is in doubt.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::{Body, Frame, Incoming, SizeHint},
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    answer::{self, Answer},
    body::{self, Unreadable},
    oddities::Oddities,
    template::{Fields, Kind, Template},
};
use crate::{
    carrier::{
        AttemptEvent, TextOrder,
        tls::{self, TlsError},
    },
    cause::{Blame, Cause, Failure},
    challenge::Millis,
    config::{
        carrier::{CarrierConfig, Carry, Endpoint, HttpAuth, HttpConfig},
        secret::SecretError,
    },
};

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// An idle connection is kept for so long.
const IDLE: Duration = Duration::from_secs(30);
/// A secret is read again after so long, so that it can be rotated.
const SECRET_LIFE: Duration = Duration::from_secs(10);

/// Everything that doesn't change from one request to the next.
pub struct Requester {
    config: Arc<CarrierConfig>,
    http: HttpConfig,
    client: Client<HttpsConnector<HttpConnector>, Tracked>,
    method: Method,
    url: Template,
    /// The URL, where nothing is filled in.
    fixed: Option<Uri>,
    headers: HeaderMap,
    /// Those in which something is filled in.
    filled: Vec<(HeaderName, Template)>,
    body: Template,
    oddities: Oddities,
    /// A text that did not fit was said.
    unfit: AtomicBool,
    authorization: Mutex<Option<(Instant, (HeaderName, HeaderValue))>>,
    endpoint: Endpoint,
}

/// What became of a request, and what it tells about the link.
pub struct Exchange {
    pub event: AttemptEvent,
    pub link: Seen,
}

/// Why a request could not be made.
enum Unsent {
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

/// What a request has seen of the link.
pub enum Seen {
    Answered,
    /// No connection came to be.
    Unreachable(String),
    Nothing,
}

impl Requester {
    /// The error names what is wrong in the carrier's file.
    pub fn new(config: Arc<CarrierConfig>, http: HttpConfig) -> Result<Requester, RequestError> {
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
        Ok(Requester {
            client: client(&config, http.window)?,
            body: Template::new(&request.body, kind),
            fixed: url.is_fixed().then_some(uri),
            authorization: Mutex::default(),
            oddities: Oddities::new(config.name.clone()),
            unfit: AtomicBool::new(false),
            config,
            http,
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

    /// Whether the credentials can be read; the reason where not.
    pub fn credentials(&self) -> Result<(), RequestError> {
        self.authorization(Instant::now()).map(drop)
    }

    /// Sends one text and waits for the whole answer.
    pub async fn send(&self, order: &TextOrder, now: Millis) -> Exchange {
        let not_sent = |cause: Cause, link| Exchange {
            event: AttemptEvent::Failed(cause.failure(None)),
            link,
        };
        if order.deadline <= now {
            return not_sent(Cause::Expired, Seen::Nothing);
        }
        let reference = format!("{}-{}", order.key.challenge.0, order.key.attempt);
        let fields = Fields {
            to: order.to.e164(),
            sender: &order.sender,
            text: &order.content.body,
            reference: &reference,
        };
        let request = match self.request(&fields) {
            Ok(request) => request,
            Err(Unsent::Carrier(error)) => {
                return not_sent(Cause::CarrierFault, Seen::Unreachable(error.to_string()));
            }
            Err(Unsent::Text(reason)) => {
                // Texts come from jobs: who writes such ones must not fill the log.
                if !self.unfit.swap(true, Ordering::Relaxed) {
                    tracing::warn!(carrier = %self.config.name, reason, "a text does not fit into the request; said once");
                }
                let failure = Failure {
                    blame: Blame::Us,
                    ..Cause::CarrierFault.failure(None)
                };
                return Exchange {
                    event: AttemptEvent::Failed(failure),
                    link: Seen::Nothing,
                };
            }
        };
        let may_have_left = request.body().left.clone();
        let doubt = |link| Exchange {
            event: AttemptEvent::InDoubt {
                cause: Cause::InDoubt,
            },
            link,
        };
        let whole = async {
            let response = self.client.request(request).await?;
            Ok::<_, hyper_util::client::legacy::Error>(self.read(response, now).await)
        };
        match tokio::time::timeout(self.config.response_timeout, whole).await {
            Ok(Ok(event)) => Exchange {
                event,
                link: Seen::Answered,
            },
            Ok(Err(error)) if error.is_connect() => not_sent(
                Cause::CarrierFault,
                Seen::Unreachable(self.describe(&error)),
            ),
            Ok(Err(_)) | Err(_) if !may_have_left.load(Ordering::Acquire) => not_sent(
                Cause::CarrierFault,
                Seen::Unreachable(self.named("no connection in time")),
            ),
            Ok(Err(_)) | Err(_) => doubt(Seen::Nothing),
        }
    }

    async fn read(&self, response: Response<Incoming>, now: Millis) -> AttemptEvent {
        let (head, body) = response.into_parts();
        let octets = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::TooLong),
            Err(_) => Err(Unreadable::CutOff),
        };
        let text = octets.and_then(|octets| body::text(&head.headers, &octets, MAX_ANSWER));
        let answer = Answer {
            status: head.status.as_u16(),
            retry_after: head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()),
            body: text.as_deref().map_err(|why| *why),
        };
        let reading = answer::read(&answer, &self.http.response, &self.config.status, now);
        self.oddities.note(answer.status, &reading, Instant::now());
        reading.event
    }

    fn request(&self, fields: &Fields<'_>) -> Result<Request<Tracked>, Unsent> {
        let uri = match &self.fixed {
            Some(uri) => uri.clone(),
            None => self
                .url
                .fill(fields)
                .parse()
                .map_err(|e| Unsent::Text(format!("request.url: {e}")))?,
        };
        let body = Bytes::from(self.body.fill(fields));
        let mut request = Request::new(Tracked::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        for (name, template) in &self.filled {
            // A line end would begin another header: such a value is refused here.
            let value =
                HeaderValue::from_bytes(template.fill(fields).as_bytes()).map_err(|_| {
                    Unsent::Text(format!(
                        "request.headers.{name}: would hold a control character"
                    ))
                })?;
            request.headers_mut().insert(name.clone(), value);
        }
        let authorization = self
            .authorization(Instant::now())
            .map_err(Unsent::Carrier)?;
        if let Some((name, value)) = authorization {
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    fn authorization(
        &self,
        now: Instant,
    ) -> Result<Option<(HeaderName, HeaderValue)>, RequestError> {
        let Some(auth) = &self.http.request.auth else {
            return Ok(None);
        };
        // Nothing panics while it is held.
        let mut known = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((read, header)) = &*known
            && now.saturating_duration_since(*read) < SECRET_LIFE
        {
            return Ok(Some(header.clone()));
        }
        let header = header(auth)?;
        *known = Some((now, header.clone()));
        Ok(Some(header))
    }

    fn describe(&self, error: &hyper_util::client::legacy::Error) -> String {
        let mut innermost: &(dyn std::error::Error + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        match innermost.downcast_ref::<std::io::Error>() {
            Some(io) => self.named(&crate::carrier::connect::describe(io)),
            None => self.named(&innermost.to_string()),
        }
    }

    fn named(&self, reason: &str) -> String {
        format!("{}:{}: {reason}", self.endpoint.host, self.endpoint.port)
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

fn header(auth: &HttpAuth) -> Result<(HeaderName, HeaderValue), RequestError> {
    let (name, text) = match auth {
        HttpAuth::Bearer(secret) => (AUTHORIZATION, format!("Bearer {}", secret.read()?)),
        HttpAuth::Basic { user, password } => {
            let pair = format!("{user}:{}", password.read()?);
            (
                AUTHORIZATION,
                format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                ),
            )
        }
        HttpAuth::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| RequestError::AuthHeader(name.clone()))?;
            (name, value.read()?)
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| RequestError::ControlCharacter)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn client(
    config: &CarrierConfig,
    window: u32,
) -> Result<Client<HttpsConnector<HttpConnector>, Tracked>, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.response_timeout));
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(&config.tls)?)
        .https_or_http();
    let https = match &config.tls.name {
        Some(name) => {
            let name = FixedServerNameResolver::new(tls::server_name(&config.tls, name)?);
            builder
                .with_server_name_resolver(name)
                .enable_http1()
                .wrap_connector(tcp)
        }
        None => builder.enable_http1().wrap_connector(tcp),
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(window as usize)
        .build(https))
}

/// A body that remembers whether the connection has begun to take it.
pub struct Tracked {
    octets: Option<Bytes>,
    left: Arc<AtomicBool>,
}

impl Tracked {
    fn new(octets: Bytes) -> Tracked {
        // Without a body only a failed connection proves that nothing left.
        let left = Arc::new(AtomicBool::new(octets.is_empty()));
        Tracked {
            octets: Some(octets).filter(|octets| !octets.is_empty()),
            left,
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.left.store(true, Ordering::Release);
        Poll::Ready(self.octets.take().map(|octets| Ok(Frame::data(octets))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.as_ref().map_or(0, |octets| octets.len() as u64))
    }
}
