//! A simulated carrier that takes texts by HTTP/1.1 and sends receipts to a callback URL.
//!
//! `POST` (any path) with JSON `{ "to", "from", "text", "ref"? }` and, where a token is configured,
//! `Authorization: Bearer`. Answers: 201 `{ "id" }`, or an error status with `{ "error": { "code" } }`. Receipts:
//! `POST` to the callback URL with `{ "id", "status": "delivered"|"failed"|"sent", "to", "code"? }`, inbound texts
//! with `{ "inbound_id", "from", "to", "text" }`, both signed
//! `X-Ringback-Signature: t=<unix>,v1=<hex HMAC-SHA256(key, t "." raw body)>`, tried again a few times.
//!
//! [`desk`] decides, [`courier`] carries callbacks; this file holds the sockets.

use crate::listener::Listener;
use crate::record::Record;
use crate::script::{Faults, Script};
use crate::subscriber::Habits;
use desk::{Desk, Order, Ruling, Way};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

mod courier;
pub mod desk;

/// A longer request is refused (413).
pub const MAX_BODY: usize = 64 * 1024;
/// Callbacks on their way from the desk to the courier.
const HANDOVER: usize = 10_000;
/// How long a stopping carrier lets requests finish.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a simulated HTTP carrier is set up.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The carrier's name in the record.
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bearer token wanted; none: any or none.
    pub token: Option<String>,
    /// Where receipts go; none: nowhere.
    pub callback: Option<Callback>,
    /// How quick people and networks are.
    pub habits: Habits,
    /// Of the dice.
    pub seed: u64,
    /// What goes wrong.
    pub script: Script,
    /// What is remembered.
    pub record: Record,
}

/// Where receipts go, and the key they are signed with.
#[derive(Clone, Debug)]
pub struct Callback {
    /// `http://host:port/path`.
    pub url: String,
    /// Of the HMAC.
    pub key: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            name: "http".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
            callback: None,
            habits: Habits::default(),
            seed: 1,
            script: Script::default(),
            record: Record::new(),
        }
    }
}

/// A simulated HTTP carrier.
pub struct HttpCarrier;

impl HttpCarrier {
    /// Listen and serve, on the current tokio runtime.
    pub async fn start(config: HttpConfig) -> io::Result<HttpHandle> {
        let listener = Listener::bind(config.listen).await?;
        let address = listener.address();
        let callback = config
            .callback
            .as_ref()
            .map(courier::Target::of)
            .transpose()?;
        let (to_courier, parcels) = mpsc::channel(HANDOVER);
        let (stop, stopped) = watch::channel(false);
        let courier = tokio::spawn(courier::carry(callback, parcels, config.record.clone()));
        let counter = Arc::new(Counter {
            desk: Mutex::new(Desk::new(&config)),
            script: config.script.clone(),
            record: config.record.clone(),
            name: config.name.as_str().into(),
            token: config.token.clone(),
            courier: to_courier,
        });
        let for_connections = stopped.clone();
        let served = counter.clone();
        let serving = listener.serve(config.script.clone(), stopped, move |stream| {
            serve(served.clone(), stream, for_connections.clone())
        });
        let task = tokio::spawn(async move {
            serving.await;
            courier.abort();
        });
        Ok(HttpHandle {
            address,
            config,
            counter,
            stop,
            task,
        })
    }
}

/// A running HTTP carrier. It ends when this is dropped, or properly by [`HttpHandle::stop`].
pub struct HttpHandle {
    address: SocketAddr,
    config: HttpConfig,
    counter: Arc<Counter>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl HttpHandle {
    /// Where it listens; the same after it was down and came back.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The carrier's name in the record.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What goes wrong, live.
    pub fn faults(&self) -> &Script {
        &self.config.script
    }

    /// What the phones saw.
    pub fn record(&self) -> &Record {
        &self.config.record
    }

    /// The person at `person` sends `text` to `sender`, by callback. False: no callback is configured, or too
    /// many are under way.
    pub fn text_from(&self, person: &str, sender: &str, text: &str) -> bool {
        let parcel = self
            .counter
            .desk()
            .inbound(person, sender, text, Instant::now());
        self.config.callback.is_some() && self.counter.courier.try_send(parcel).is_ok()
    }

    /// Let requests finish, close, and end. Receipts that are not due yet are lost.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that ended by itself has nothing more to say.
        let _ = self.task.await;
    }
}

/// What every connection shares.
struct Counter {
    desk: Mutex<Desk>,
    script: Script,
    record: Record,
    name: Arc<str>,
    token: Option<String>,
    courier: mpsc::Sender<courier::Parcel>,
}

impl Counter {
    /// Nothing panics while it is held.
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request. An error closes the connection without an answer.
    async fn request(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, io::Error> {
        if self.script.faults().silent {
            std::future::pending::<()>().await;
        }
        let order = match self.read(request).await {
            Ok(order) => order,
            Err((status, reason)) => {
                if status != StatusCode::UNAUTHORIZED {
                    self.record.protocol_error(&self.name, "http", reason);
                }
                return Ok(error(status, reason));
            }
        };
        let ruling = self
            .desk()
            .rule(order, &self.script.faults(), Instant::now());
        let Ruling { way, hold, parcels } = ruling;
        for parcel in parcels {
            // The courier ends only with the carrier.
            let _ = self.courier.send(parcel).await;
        }
        if !hold.is_zero() {
            tokio::time::sleep(hold).await;
        }
        match way {
            Way::Taken { id } => Ok(json(StatusCode::CREATED, serde_json::json!({ "id": id }))),
            Way::Refused { status, code } => Ok(error(
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                code,
            )),
            Way::Dropped => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        }
    }

    async fn read(&self, request: Request<Incoming>) -> Result<Order, (StatusCode, &'static str)> {
        if request.method() != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
        }
        if let Some(token) = &self.token {
            let given = request
                .headers()
                .get(AUTHORIZATION)
                .map(|value| value.as_bytes());
            if given != Some(format!("Bearer {token}").as_bytes()) {
                return Err((StatusCode::UNAUTHORIZED, "unauthorized"));
            }
        }
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_wanted"));
        }
        let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let body = body
            .map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "too_large_or_cut"))?
            .to_bytes();
        let order: Order =
            serde_json::from_slice(&body).map_err(|_| (StatusCode::BAD_REQUEST, "bad_json"))?;
        order
            .check()
            .map_err(|reason| (StatusCode::BAD_REQUEST, reason))?;
        Ok(order)
    }
}

/// One connection until either side, the script or a stop ends it.
async fn serve(counter: Arc<Counter>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    let mut faults = counter.script.watch();
    // Small answers go out at once; without it they would only be slower.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(|request| counter.request(request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // What ended it is the other side's business, or was wanted.
        _ = connection.as_mut() => return,
        _ = faults.wait_for(|faults: &Arc<Faults>| faults.down) => return,
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(GOODBYE, connection).await;
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let mut response = json(status, serde_json::json!({ "error": { "code": code } }));
    if status == StatusCode::TOO_MANY_REQUESTS {
        response
            .headers_mut()
            .insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    response
}

fn json(status: StatusCode, body: serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
