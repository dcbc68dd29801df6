//! What the `[admin]` listener serves: the list of its endpoints.

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use serde_json::{Value as Json, json};

use super::{
    Control,
    admin::{self, AdminState, METRICS},
    answers::{
        Cancelled, FilesFaults, NodeView, Overlaid, Overview, Readiness, ReloadedSet, Resumed,
        RouteView, SameSet, Suspended,
    },
    explain::Explained,
    verbs::{self, VerbBody},
};
use crate::{
    carrier::ReceiptState,
    challenge::Method,
    dispatch::{CarrierView, View},
    endpoint::{
        self, HttpAnswer, HttpEndpoint, Parameter, Presence, Served, Shape, any_string, moment,
        written,
    },
    intake::http::FAULTS,
    report::body,
};

/// The `[admin]` listener's router.
pub fn routes(control: Arc<Control>) -> Router {
    endpoint::router(list())
        .fallback(|| async { admin::fault(StatusCode::NOT_FOUND, "path", "nothing is here") })
        .with_state(AdminState::new(control))
}

fn list() -> Vec<Served<AdminState>> {
    [watched(), shown(), found(), reloaded(), ordered()]
        .into_iter()
        .flatten()
        .collect()
}

/// What the listener serves, for the OpenAPI document.
pub fn endpoints() -> Vec<HttpEndpoint> {
    endpoint::described(list())
}

/// For machines that watch.
fn watched() -> Vec<Served<AdminState>> {
    vec![
        HttpEndpoint::get("/metrics", "getMetrics", "The metrics, for Prometheus.")
            .answers(&[
                HttpAnswer::text(200, METRICS, "Prometheus' text format."),
                SILENT,
            ])
            .served_by(admin::metrics),
        HttpEndpoint::get("/healthz", "getHealth", "The process lives.")
            .open()
            .answers(&[HttpAnswer::text(200, "text/plain; charset=utf-8", "ok")])
            .served_by(admin::healthz),
        HttpEndpoint::get(
            "/readyz",
            "getReadiness",
            "Is it ready for work, and if not why?",
        )
        .answers(&[
            HttpAnswer::json(200, READINESS, "Ready."),
            HttpAnswer::json(503, READINESS, "Not ready, with every reason."),
        ])
        .served_by(admin::readyz),
    ]
}

/// For people who look.
fn shown() -> Vec<Served<AdminState>> {
    vec![
        HttpEndpoint::get("/", "getPage", "The operator's page.")
            .answers(&[HttpAnswer::text(
                200,
                "text/html; charset=utf-8",
                "It loads nothing from elsewhere.",
            )])
            .served_by(admin::page),
        HttpEndpoint::get(
            "/admin/overview",
            "getOverview",
            "All that changes from second to second.",
        )
        .answers(&[HttpAnswer::json(
            200,
            Shape::of::<Overview<'_>>("Overview"),
            "As the page shows it.",
        )])
        .served_by(admin::overview),
        HttpEndpoint::get(
            "/admin/carriers",
            "listCarriers",
            "The carriers in force, and how they stand.",
        )
        .answers(&[
            HttpAnswer::json(200, Shape::of::<Vec<CarrierView>>("Carriers"), "By name."),
            SILENT,
        ])
        .served_by(admin::carriers),
        HttpEndpoint::get(
            "/admin/nodes",
            "listNodes",
            "The gateways that have this ledger, as the last beat found them.",
        )
        .answers(&[HttpAnswer::json(
            200,
            Shape::of::<Vec<NodeView>>("Nodes"),
            "In the order in which they came first; empty where the ledger is this one's alone.",
        )])
        .served_by(admin::nodes),
        HttpEndpoint::get(
            "/admin/challenges",
            "listChallenges",
            "The last challenges, newest first; masked.",
        )
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::of::<Vec<View>>("Challenges"),
                "Open and ended ones.",
            ),
            SILENT,
        ])
        .served_by(admin::challenges),
        HttpEndpoint::get("/admin/routes", "listRoutes", "The routes in force.")
            .answers(&[
                HttpAnswer::json(
                    200,
                    Shape::of::<Vec<RouteView<'_>>>("Routes"),
                    "Line by line.",
                ),
                SILENT,
            ])
            .served_by(admin::routes_in_force),
    ]
}

/// For people who ask about one thing.
fn found() -> Vec<Served<AdminState>> {
    vec![
        HttpEndpoint::get(
            "/admin/explain",
            "explain",
            "The plan for a number now, and why.",
        )
        .takes(&[
            Parameter::query("number", "E.164, or a national number with `region`.").required(),
            Parameter::query("method", "How it would be put to the person.").schema(method),
            Parameter::query("region", "For national numbers: two letters."),
            TENANT,
            Parameter::query("caller_id", "The caller ID that the job would wish for."),
            Parameter::query("at", "The moment to plan for; now if absent.").schema(moment),
        ])
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::of::<Explained>("Explained"),
                "The plan; of a refused number, why.",
            ),
            FAULTY,
            SILENT,
        ])
        .served_by(admin::explained),
        HttpEndpoint::get(
            "/admin/overlay",
            "listOverlay",
            "What operators have changed for a while, and the record of it.",
        )
        .answers(&[
            HttpAnswer::json(200, Shape::of::<Overlaid>("Overlay"), "Newest first."),
            SILENT,
        ])
        .served_by(verbs::changes),
        HttpEndpoint::get(
            "/admin/challenges/{id}",
            "traceChallenge",
            "One challenge end to end; masked.",
        )
        .takes(&[ID, TENANT])
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::new("Trace", trace),
                "As memory and the ledger know it.",
            ),
            UNKNOWN,
            UNKEPT,
        ])
        .served_by(verbs::traced),
    ]
}

/// For people who have changed the files.
fn reloaded() -> Vec<Served<AdminState>> {
    vec![
        HttpEndpoint::post(
            "/admin/reload",
            "reload",
            "Reads the configuration again, whole or not at all.",
        )
        .takes(&[Parameter::query(
            "allow_empty",
            "Emptied files, and a set without routes, are meant so.",
        )
        .schema(flag)])
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::new("Reloaded", reload_answer),
                "In force, or the same as before.",
            ),
            FAULTY,
            HttpAnswer::json(
                422,
                Shape::new("Refused", refused),
                "The old set stays: every fault, or why a driver would not start.",
            ),
            HttpAnswer::json(500, FAULTS, "Broken by a fault of ours; see the log."),
            HttpAnswer::json(503, FAULTS, "It drains."),
        ])
        .served_by(admin::reload),
    ]
}

/// For people who act.
fn ordered() -> Vec<Served<AdminState>> {
    let carrier = Parameter::path("name", "A carrier in force.");
    vec![
        HttpEndpoint::post(
            "/admin/carriers/{name}/suspend",
            "suspendCarrier",
            "The carrier takes no new attempt.",
        )
        .takes(&[carrier])
        .body(VERB, Presence::Required)
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::of::<Suspended<'_>>("Suspended"),
                "In force, and over a restart.",
            ),
            FAULTY,
            NO_CARRIER,
            NO_JSON,
            UNKEPT,
        ])
        .served_by(verbs::suspend),
        HttpEndpoint::post(
            "/admin/carriers/{name}/resume",
            "resumeCarrier",
            "Takes back a suspension by an operator.",
        )
        .takes(&[carrier])
        .body(VERB, Presence::Optional)
        .answers(&[
            HttpAnswer::json(200, Shape::of::<Resumed<'_>>("Resumed"), "Lifted."),
            FAULTY,
            NO_CARRIER,
            HttpAnswer::json(409, FAULTS, "Not suspended by an operator."),
            NO_JSON,
            UNKEPT,
        ])
        .served_by(verbs::resume),
        HttpEndpoint::post(
            "/admin/challenges/{id}/cancel",
            "cancelAsOperator",
            "Ends an open challenge.",
        )
        .takes(&[ID, TENANT])
        .answers(&[
            HttpAnswer::json(
                200,
                Shape::of::<Cancelled<'_>>("Cancelled"),
                "It ends; a call is hung up.",
            ),
            UNKNOWN,
            HttpAnswer::json(409, FAULTS, "It has ended."),
            UNKEPT,
        ])
        .served_by(verbs::cancel),
    ]
}

const ID: Parameter = Parameter::path("id", "The challenge's id.");
const TENANT: Parameter = Parameter::query("tenant", "Whose it is.").schema(tenant);

const SILENT: HttpAnswer = HttpAnswer::json(503, FAULTS, "No answer in time from within.");
const FAULTY: HttpAnswer = HttpAnswer::json(400, FAULTS, "What is wrong with the request.");
const UNKNOWN: HttpAnswer = HttpAnswer::json(
    404,
    FAULTS,
    "Unknown to this gateway, or longer ago than its ledger remembers.",
);
const UNKEPT: HttpAnswer = HttpAnswer::json(
    503,
    FAULTS,
    "The ledger does not keep or give it: not done, and will not be.",
);
const NO_CARRIER: HttpAnswer = HttpAnswer::json(404, FAULTS, "No carrier of that name in force.");
const NO_JSON: HttpAnswer = HttpAnswer::json(415, FAULTS, "The body is not said to be JSON.");

const READINESS: Shape = Shape::of::<Readiness>("Readiness");
const VERB: Shape = Shape::of::<VerbBody>("Verb");

fn tenant() -> Json {
    json!({ "type": "string", "default": "default" })
}

fn flag() -> Json {
    json!({ "type": "boolean", "default": false })
}

fn method() -> Json {
    json!({ "enum": Method::ALL.map(Method::name), "default": "sms_code" })
}

fn reload_answer() -> Json {
    json!({ "anyOf": [written::<ReloadedSet<'_>>(), written::<SameSet>()] })
}

fn refused() -> Json {
    json!({ "anyOf": [written::<FilesFaults>(), (FAULTS.schema)()] })
}

/// One of a text, in a trace.
fn receipt() -> Json {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["part", "state"],
        "properties": {
            "part": { "type": "integer", "description": "Of the text, from 1." },
            "state": { "enum": ReceiptState::ALL.map(ReceiptState::name) },
            "late": { "const": true, "description": "It came after the final." },
        },
    })
}

/// See [`super::trace`]: what is known differs with the challenge's age.
fn trace() -> Json {
    let word = any_string;
    let words = || json!({ "type": "array", "items": any_string() });
    let maybe = |mut schema: Json| {
        schema["type"] = json!([schema["type"], "null"]);
        schema
    };
    let mut attempt = body::attempt_schema();
    attempt["properties"]["left_out"] = words();
    attempt["properties"]["receipts"] = json!({ "type": "array", "items": receipt() });
    let report = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["seq", "at", "event", "final"],
        "properties": {
            "seq": { "type": "integer" },
            "at": moment(),
            "event": word(),
            "final": { "type": "boolean" },
            "attempt": { "type": "integer" },
        },
    });
    json!({
        "type": "object",
        "required": ["id", "tenant"],
        "properties": {
            "id": word(),
            "tenant": word(),
            "to": maybe(json!({ "type": "string", "description": "Masked." })),
            "country": word(),
            "methods": words(),
            "locale": word(),
            "door": { "enum": ["http", "amqp"] },
            "arrived": moment(),
            "deadline": moment(),
            "ended": maybe(moment()),
            "verified": { "type": "boolean" },
            "event": maybe(word()),
            "reason": maybe(word()),
            "state": { "enum": ["ended", "waiting for a slot", "under way"] },
            "feedback": { "type": ["boolean", "null"] },
            "attempts": { "type": "array", "items": attempt },
            "reports": { "type": "array", "items": report },
            "left_out": words(),
            "left": word(),
        },
    })
}
