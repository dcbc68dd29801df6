//! The operator's side of HTTP: the page, what it shows as JSON, metrics, health, reload, explain.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Query as Parameters, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Control, Reloaded,
    answers::{FilesFaults, NodeView, Overview, Readiness, ReloadedSet, RouteView, SameSet},
    explain::{Question, explain},
    gauges::Gauges,
    ready,
};
use crate::{
    challenge::Method,
    config::Config,
    dispatch::{Query, Seen},
    report::publish::pending,
};

/// The page, whole: it loads nothing from anywhere else.
const PAGE: &str = include_str!("page.html");
/// What Prometheus wants to read.
pub(super) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The page holds its own style and script, and may ask this listener only.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// How long `/metrics` and the page may wait for the ledger.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct AdminState {
    pub(super) control: Arc<Control>,
    gauges: Arc<Gauges>,
}

impl AdminState {
    pub(super) fn new(control: Arc<Control>) -> AdminState {
        AdminState {
            control,
            gauges: Arc::default(),
        }
    }
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

pub(super) async fn metrics(State(state): State<AdminState>) -> Response {
    match tokio::time::timeout(LOOK, state.gauges.render(&state.control)).await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS)], text).into_response(),
        Err(_) => silent(),
    }
}

pub(super) async fn readyz(State(state): State<AdminState>) -> Response {
    let reasons = ready::reasons(&state.control).await;
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let detail = state.control.detail();
    (status, Json(Readiness { reasons, detail })).into_response()
}

pub(super) async fn carriers(State(state): State<AdminState>) -> Response {
    match state.control.ask(Query::Carriers).await {
        Some(carriers) => Json(carriers).into_response(),
        None => silent(),
    }
}

pub(super) async fn nodes(State(state): State<AdminState>) -> Response {
    let nodes = state.control.ledger.nodes();
    let nodes = nodes.iter().flat_map(|nodes| nodes.iter());
    Json(nodes.map(NodeView::of).collect::<Vec<_>>()).into_response()
}

pub(super) async fn challenges(State(state): State<AdminState>) -> Response {
    match state.control.ask(Query::Challenges).await {
        Some(challenges) => Json(challenges).into_response(),
        None => silent(),
    }
}

/// All that changes from second to second, for the page.
pub(super) async fn overview(State(state): State<AdminState>) -> Response {
    let control = &state.control;
    let carriers = control.ask(Query::Carriers).await;
    let challenges = control.ask(Query::Challenges).await.unwrap_or_default();
    let reasons = ready::judge(control, carriers.as_deref());
    let waiting = tokio::time::timeout(LOOK, pending::read(&control.ledger)).await;
    let waiting = waiting.ok().and_then(Result::ok);
    Json(Overview {
        node: &control.node,
        version: env!("CARGO_PKG_VERSION"),
        up_s: control.started.elapsed().as_secs(),
        draining: control.draining(),
        ready: reasons.is_empty(),
        reasons,
        detail: control.detail(),
        reports_pending: waiting.as_ref().map(|waiting| waiting.count),
        reports_oldest_s: waiting.map(|waiting| waiting.longest.as_secs()),
        broker: broker_word(control),
        finals: control.measures.finals(),
        open: control.measures.open(),
        carriers: carriers.unwrap_or_default(),
        challenges,
    })
    .into_response()
}

/// None: no broker is configured.
fn broker_word(control: &Control) -> Option<&'static str> {
    let broker = control.broker.as_ref()?;
    Some(match (broker.connected(), broker.blocked()) {
        (false, _) => "not connected",
        (true, true) => "blocked",
        (true, false) => "connected",
    })
}

pub(super) async fn routes_in_force(State(state): State<AdminState>) -> Response {
    let Some(Seen { config, .. }) = state.control.ask(Query::Availability).await else {
        return silent();
    };
    Json(route_views(&config)).into_response()
}

fn route_views(config: &Config) -> Vec<RouteView<'_>> {
    let table = &config.table;
    table
        .lines()
        .iter()
        .map(|line| RouteView::of(table, line))
        .collect()
}

#[derive(Deserialize)]
pub(super) struct ExplainQuery {
    number: String,
    method: Option<String>,
    region: Option<String>,
    tenant: Option<String>,
    caller_id: Option<String>,
    at: Option<String>,
}

pub(super) async fn explained(
    State(state): State<AdminState>,
    ask: Result<Parameters<ExplainQuery>, QueryRejection>,
) -> Response {
    let Ok(Parameters(ask)) = ask else {
        return fault(
            StatusCode::BAD_REQUEST,
            "number",
            "required: ?number=%2B12025550123&method=sms_code",
        );
    };
    let method = ask.method.as_deref().unwrap_or("sms_code");
    let Some(method) = Method::parse(method) else {
        return fault(StatusCode::BAD_REQUEST, "method", "no method of that name");
    };
    let at = ask
        .at
        .as_deref()
        .map(|at| OffsetDateTime::parse(at, &Rfc3339));
    let Ok(at) = at.transpose() else {
        return fault(
            StatusCode::BAD_REQUEST,
            "at",
            "write it as 2030-01-31T12:00:00Z",
        );
    };
    let Some(seen) = state.control.ask(Query::Availability).await else {
        return silent();
    };
    let config = &seen.config;
    let policy = config.settings.numbers.policy();
    // A plus that was not written %2B has become a space on the way.
    let number = match ask.number.strip_prefix(' ') {
        Some(digits) => format!("+{digits}"),
        None => ask.number,
    };
    let question = Question {
        number: &number,
        region: ask.region.as_deref(),
        method,
        tenant: ask.tenant.as_deref().unwrap_or("default"),
        caller_id: ask.caller_id.as_deref(),
        at,
    };
    let known = (&*seen.standing, &*seen.refusals);
    Json(explain(&question, config, &policy, known)).into_response()
}

#[derive(Deserialize)]
pub(super) struct Reload {
    /// Emptied files, and a set without routes, are meant so.
    #[serde(default)]
    allow_empty: bool,
}

pub(super) async fn reload(
    State(state): State<AdminState>,
    wish: Result<Parameters<Reload>, QueryRejection>,
) -> Response {
    let Ok(Parameters(Reload { allow_empty })) = wish else {
        let reason = "write ?allow_empty=true, or leave it out";
        return fault(StatusCode::BAD_REQUEST, "allow_empty", reason);
    };
    // The reload goes on to its end, whether or not the one who asked waits for it.
    let control = state.control.clone();
    let Ok(reloaded) = tokio::spawn(async move { control.reload(allow_empty).await }).await else {
        return fault(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reload",
            "broken by a fault of ours; see the log",
        );
    };
    match reloaded {
        Reloaded::New(taken) => Json(ReloadedSet::of(&taken)).into_response(),
        Reloaded::Unchanged { restart_needed } => Json(SameSet {
            reloaded: false,
            restart_needed,
        })
        .into_response(),
        Reloaded::Faulty(faults) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            (status, Json(FilesFaults::of(&faults))).into_response()
        }
        Reloaded::Refused(reason) => fault(StatusCode::UNPROCESSABLE_ENTITY, "driver", &reason),
        Reloaded::Draining => fault(StatusCode::SERVICE_UNAVAILABLE, "gateway", "draining"),
    }
}

pub(super) fn silent() -> Response {
    fault(
        StatusCode::SERVICE_UNAVAILABLE,
        "gateway",
        "dispatch does not answer",
    )
}

pub(super) fn fault(status: StatusCode, field: &str, reason: &str) -> Response {
    let body = json!({ "errors": [{ "field": field, "reason": reason }] });
    (status, Json(body)).into_response()
}
