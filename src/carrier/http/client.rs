//! Requests to an HTTP carrier over a kept-alive pool, each read whole within its time. What is sent is written in
//! [`request`](super::request), what comes of it is read in [`exchange`](super::exchange); here are the sockets, the secrets
//! and what is logged.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use tokio::time::{sleep, timeout};

use super::{
    body::Unreadable,
    exchange::{Exchange, MAX_ANSWER, Seen, Transmission},
    oddities::Oddities,
    request::{RequestError, RequestFormat, Unsent},
};
use crate::{
    carrier::{
        AttemptEvent, TextOrder, connect,
        tls::{self, TlsError},
    },
    challenge::Millis,
    config::carrier::{CarrierConfig, Endpoint, HttpAuth, HttpConfig},
};

/// An idle connection is kept for so long.
const IDLE: Duration = Duration::from_secs(30);
/// A secret is read again after so long, so that it can be rotated.
const SECRET_LIFE: Duration = Duration::from_secs(10);

/// Sends one carrier's requests.
pub struct Requester {
    config: Arc<CarrierConfig>,
    http: HttpConfig,
    format: RequestFormat,
    client: Client<HttpsConnector<HttpConnector>, Tracked>,
    oddities: Oddities,
    /// A text that did not fit was said.
    unfit: AtomicBool,
    authorization: Mutex<Option<(Instant, (HeaderName, HeaderValue))>>,
}

impl Requester {
    /// The error names what is wrong in the carrier's file.
    pub fn new(config: Arc<CarrierConfig>, http: HttpConfig) -> Result<Requester, RequestError> {
        Ok(Requester {
            format: RequestFormat::new(&http)?,
            client: client(&config, http.window)?,
            authorization: Mutex::default(),
            oddities: Oddities::new(config.name.clone()),
            unfit: AtomicBool::new(false),
            config,
            http,
        })
    }

    /// Where the probe asks.
    pub fn endpoint(&self) -> &Endpoint {
        self.format.endpoint()
    }

    /// Whether the credentials can be read; the reason where not.
    pub fn credentials(&self) -> Result<(), RequestError> {
        self.authorization(Instant::now()).map(drop)
    }

    /// Sends one text and waits for the whole answer.
    pub async fn send(&self, order: &TextOrder, now: Millis) -> Exchange {
        let request = self.format.build(order, now);
        let request = match request.and_then(|request| self.authorized(request)) {
            Ok(request) => request.map(Tracked::new),
            Err(why) => {
                self.note_unsent(&why);
                return Exchange::unsent(&why);
            }
        };
        let outcome = self.outcome(request, order.deadline.since(now)).await;
        let exchange = Exchange::of(outcome, &self.http.response, &self.config.status, now);
        if let Seen::Answered { status, oddity } = exchange.link {
            let is_accepted = matches!(exchange.event, AttemptEvent::Accepted { .. });
            let now = Instant::now();
            self.oddities.note(status, oddity, is_accepted, now);
        }
        exchange
    }

    /// `time_left`: until then it may leave.
    async fn outcome(&self, request: Request<Tracked>, time_left: Duration) -> Transmission {
        let leaving = request.body().leaving.clone();
        let whole =
            async { Ok::<_, ClientError>(collected(self.client.request(request).await?).await) };
        let whole = timeout(self.config.response_timeout, whole);
        tokio::pin!(whole);
        let answer = tokio::select! {
            answer = &mut whole => answer,
            () = sleep(time_left), if time_left < self.config.response_timeout => {
                if leaving.withdraw() {
                    return Transmission::Overdue;
                }
                whole.as_mut().await
            }
        };
        match answer {
            Ok(Ok(answer)) => Transmission::Answered(answer),
            Ok(Err(error)) if error.is_connect() => Transmission::NoConnection {
                reason: self.describe(&error),
            },
            Ok(Err(_)) | Err(_) => Transmission::Unanswered {
                may_have_left: !leaving.withdraw(),
                reason: self.named("no connection in time"),
            },
        }
    }

    fn note_unsent(&self, why: &Unsent) {
        // Texts come from jobs: who writes such ones must not fill the log.
        if let Unsent::Text(reason) = why
            && !self.unfit.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(carrier = %self.config.name, reason, "a text does not fit into the request; said once");
        }
    }

    fn authorized(&self, mut request: Request<Bytes>) -> Result<Request<Bytes>, Unsent> {
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

    fn describe(&self, error: &ClientError) -> String {
        let mut innermost: &(dyn std::error::Error + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        match innermost.downcast_ref::<std::io::Error>() {
            Some(io) => self.named(&connect::describe(io)),
            None => self.named(&innermost.to_string()),
        }
    }

    fn named(&self, reason: &str) -> String {
        let Endpoint { host, port, .. } = self.endpoint();
        format!("{host}:{port}: {reason}")
    }
}

/// An answer with its body, as far as it comes.
async fn collected(answer: Response<Incoming>) -> Response<Result<Bytes, Unreadable>> {
    let (head, body) = answer.into_parts();
    let octets = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::TooLong),
        Err(_) => Err(Unreadable::CutOff),
    };
    Response::from_parts(head, octets)
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

/// A body that remembers whether the connection has begun to take it, and that can be withdrawn until then.
pub struct Tracked {
    octets: Option<Bytes>,
    leaving: Arc<Leaving>,
}

/// How far a request has come, whoever asks first.
struct Leaving(AtomicU8);

const WAITS: u8 = 0;
const LEFT: u8 = 1;
const WITHDRAWN: u8 = 2;

/// It must not leave any more.
#[derive(Debug, thiserror::Error)]
#[error("the request was withdrawn")]
pub struct Withdrawn;

impl Leaving {
    /// False: it was withdrawn.
    fn leave(&self) -> bool {
        self.becomes(LEFT)
    }

    /// True: nothing has left, and nothing will.
    fn withdraw(&self) -> bool {
        self.becomes(WITHDRAWN)
    }

    fn becomes(&self, end: u8) -> bool {
        let (waits, taken) = (Ordering::AcqRel, Ordering::Acquire);
        match self.0.compare_exchange(WAITS, end, waits, taken) {
            Ok(_) => true,
            Err(known) => known == end,
        }
    }
}

impl Tracked {
    fn new(octets: Bytes) -> Tracked {
        // Without a body only a failed connection proves that nothing left.
        let state = if octets.is_empty() { LEFT } else { WAITS };
        Tracked {
            octets: Some(octets).filter(|octets| !octets.is_empty()),
            leaving: Arc::new(Leaving(AtomicU8::new(state))),
        }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Withdrawn;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.leaving.leave() {
            return Poll::Ready(Some(Err(Withdrawn)));
        }
        Poll::Ready(self.octets.take().map(|octets| Ok(Frame::data(octets))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.as_ref().map_or(0, |octets| octets.len() as u64))
    }
}
