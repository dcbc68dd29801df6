//! The control address: what the phones saw, and what shall go wrong, by HTTP.
//!
//! | request | does |
//! |---|---|
//! | `GET /record?since=N&to=NUMBER&wait=MS` | the record as JSON lines, after line N, about one number; `wait` holds the answer until there is such a line, at most so long |
//! | `DELETE /record` | forgets everything, counts too |
//! | `GET /summary` | the counts |
//! | `GET /codes?to=NUMBER` | the codes that reached a number, in load runs too |
//! | `GET /faults?carrier=NAME` | the faults by carrier, or of one |
//! | `POST /faults?carrier=NAME` | lays a JSON object over the faults of one carrier or of all; `null` puts a field back, `{}` puts all back |
//! | `POST /texts?carrier=NAME` | `{ "from", "to", "text" }`: the person at `from` sends a text to one of the gateway's senders |
//! | `GET /healthz` | 200 |
//!
//! Whoever reaches it may do everything: it belongs on a loopback address.

use crate::http_carrier::HttpHandle;
use crate::record::{Line, Record};
use crate::script::{Faults, Script};
use crate::smsc::SmscHandle;
use crate::subscriber::digits_of;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The longest request.
pub const MAX_BODY: usize = 1024 * 1024;
/// The longest time an answer is held.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a stopping control address lets requests finish.
const GOODBYE: Duration = Duration::from_secs(1);

/// A carrier as the control address sees it.
pub struct Carrier {
    name: String,
    script: Script,
    says: Says,
}

/// How a person behind a carrier sends a text of their own: from, to, text; false where it can't go out.
type Says = Box<dyn Fn(&str, &str, &str) -> bool + Send + Sync>;

impl Carrier {
    /// A carrier whose people only listen and press keys.
    pub fn new(name: &str, script: Script) -> Carrier {
        Carrier {
            name: name.to_owned(),
            script,
            says: Box::new(|_, _, _| false),
        }
    }

    /// An SMSC.
    pub fn smsc(handle: &Arc<SmscHandle>) -> Carrier {
        let carrier = Carrier::new(handle.name(), handle.faults().clone());
        let handle = handle.clone();
        Carrier {
            says: Box::new(move |from, to, text| handle.text_from(from, to, text)),
            ..carrier
        }
    }

    /// An HTTP carrier.
    pub fn http(handle: &Arc<HttpHandle>) -> Carrier {
        let carrier = Carrier::new(handle.name(), handle.faults().clone());
        let handle = handle.clone();
        Carrier {
            says: Box::new(move |from, to, text| handle.text_from(from, to, text)),
            ..carrier
        }
    }
}

/// A running control address.
pub struct Control {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Control {
    /// Listen for requests about these carriers, which share one record.
    pub async fn start(
        listen: SocketAddr,
        carriers: Vec<Carrier>,
        record: Record,
    ) -> io::Result<Control> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let router = router(Arc::new(Desk { carriers, record }));
        let task = tokio::spawn(async move {
            let mut done = stopped.clone();
            let goodbye = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            let serving = axum::serve(listener, router).with_graceful_shutdown(goodbye);
            let patience = async {
                let _ = done.wait_for(|stop| *stop).await;
                tokio::time::sleep(GOODBYE).await;
            };
            tokio::select! {
                _ = serving => {}
                () = patience => {}
            }
        });
        Ok(Control {
            address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Let requests finish, and end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A task that ended by itself has nothing more to say.
        let _ = self.task.await;
    }
}

struct Desk {
    carriers: Vec<Carrier>,
    record: Record,
}

impl Desk {
    /// The carriers that a request speaks of: the named one, or all.
    fn named(&self, which: &Which) -> Result<Vec<&Carrier>, Refused> {
        let named = |carrier: &&Carrier| {
            which
                .carrier
                .as_ref()
                .is_none_or(|name| *name == carrier.name)
        };
        let found: Vec<&Carrier> = self.carriers.iter().filter(named).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = self
            .carriers
            .iter()
            .map(|carrier| carrier.name.as_str())
            .collect();
        Err(Refused(
            StatusCode::NOT_FOUND,
            format!("no such carrier; there are: {}", names.join(", ")),
        ))
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/record", get(record).delete(forget))
        .route("/summary", get(summary))
        .route("/codes", get(codes))
        .route("/faults", get(faults).post(change_faults))
        .route("/texts", post(text))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(desk)
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    since: u64,
    to: Option<String>,
    wait: Option<u64>,
}

#[derive(Deserialize)]
struct Which {
    carrier: Option<String>,
}

#[derive(Deserialize)]
struct Who {
    to: String,
}

#[derive(Deserialize)]
struct Saying {
    from: String,
    to: String,
    text: String,
}

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

async fn record(
    State(desk): State<Arc<Desk>>,
    Query(filter): Query<Filter>,
) -> Result<Response, Refused> {
    let to = filter.to.as_deref().map(digits_of);
    let wanted = |line: &Line| {
        line.seq > filter.since
            && to
                .as_ref()
                .is_none_or(|to| digits_of(line.entry.to()) == *to)
    };
    if let Some(wait) = filter.wait {
        // Found or not, the answer is what there is by then.
        let _ = desk
            .record
            .wait_for(Duration::from_millis(wait).min(MAX_WAIT), wanted)
            .await;
    }
    let mut lines = String::new();
    for line in desk
        .record
        .since(filter.since)
        .iter()
        .filter(|line| wanted(line))
    {
        let line = serde_json::to_string(line);
        lines.push_str(
            &line
                .map_err(|e| Refused(StatusCode::INTERNAL_SERVER_ERROR, format!("record: {e}")))?,
        );
        lines.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn forget(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.record.clear();
    StatusCode::NO_CONTENT
}

async fn summary(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.record.summary()).into_response()
}

async fn codes(State(desk): State<Arc<Desk>>, Query(who): Query<Who>) -> Json<Vec<String>> {
    Json(desk.record.codes_to(&who.to))
}

async fn faults(
    State(desk): State<Arc<Desk>>,
    Query(which): Query<Which>,
) -> Result<Response, Refused> {
    let found = desk.named(&which)?;
    if let (Some(_), [carrier]) = (&which.carrier, found.as_slice()) {
        return Ok(Json(&*carrier.script.faults()).into_response());
    }
    let all: BTreeMap<&str, Arc<Faults>> = found
        .iter()
        .map(|carrier| (carrier.name.as_str(), carrier.script.faults()))
        .collect();
    let all: BTreeMap<&str, &Faults> = all
        .iter()
        .map(|(name, faults)| (*name, &**faults))
        .collect();
    Ok(Json(all).into_response())
}

async fn change_faults(
    State(desk): State<Arc<Desk>>,
    Query(which): Query<Which>,
    body: String,
) -> Result<Response, Refused> {
    let change = serde_json::from_str(&body);
    let change =
        change.map_err(|e| Refused(StatusCode::BAD_REQUEST, format!("faults: no JSON: {e}")))?;
    for carrier in desk.named(&which)? {
        carrier
            .script
            .apply(&change)
            .map_err(|reason| Refused(StatusCode::UNPROCESSABLE_ENTITY, reason))?;
    }
    faults(State(desk), Query(which)).await
}

async fn text(
    State(desk): State<Arc<Desk>>,
    Query(which): Query<Which>,
    body: String,
) -> Result<StatusCode, Refused> {
    let saying: Saying = serde_json::from_str(&body).map_err(|e| {
        Refused(
            StatusCode::BAD_REQUEST,
            format!("texts: write {{\"from\", \"to\", \"text\"}}: {e}"),
        )
    })?;
    let sent = desk
        .named(&which)?
        .iter()
        .any(|carrier| (carrier.says)(&saying.from, &saying.to, &saying.text));
    if sent {
        return Ok(StatusCode::ACCEPTED);
    }
    Err(Refused(
        StatusCode::CONFLICT,
        "nobody can carry it: no gateway is bound and no callback is configured".into(),
    ))
}
