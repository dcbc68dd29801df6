//! What the `[http]` listener serves: the list of its endpoints, and the shapes of what they take and answer.

use serde_json::{Value as Json, json};

use super::{HttpIntake, Known, Taken, cancel, challenge, feedback, look, reports};
use crate::{
    endpoint::{self, HttpAnswer, HttpEndpoint, Parameter, Presence, Served, Shape, moment},
    intake::job::{JobKind, keys},
    report::{self, JobFault},
    schema::object,
};

pub(super) fn list() -> Vec<Served<HttpIntake>> {
    vec![
        HttpEndpoint::post("/v1/challenges", "createChallenge", "Asks for a challenge.")
            .body(JOB, Presence::Required)
            .answers(&[
                HttpAnswer::json(200, STATE, "The same job again: its state."),
                HttpAnswer::json(202, TAKEN, "The ledger holds it."),
                HttpAnswer::json(400, FAULTS, "Every fault of the job."),
                TOO_SLOW,
                HttpAnswer::json(409, FAULTS, "The id is known with other content."),
                TOO_LONG,
                HttpAnswer::json(429, FAULTS, "No room; come again after `Retry-After`."),
                COME_AGAIN,
            ])
            .served_by(challenge),
        HttpEndpoint::get("/v1/challenges/{id}", "getChallenge", "Its last report, and its attempts so far.")
            .takes(&[ID, TENANT])
            .answers(&[HttpAnswer::json(200, STATE, "Its state."), UNKNOWN, COME_AGAIN])
            .served_by(look),
        HttpEndpoint::delete("/v1/challenges/{id}", "cancelChallenge", "Ends an open challenge.")
            .takes(&[ID, TENANT])
            .answers(&[NOTED, FAULTY, COME_AGAIN])
            .served_by(cancel),
        HttpEndpoint::get(
            "/v1/challenges/{id}/reports",
            "followReports",
            "Its reports as server-sent events: `id` is `seq`, `event` the report's. Ends after the final.",
        )
        .takes(&[ID, TENANT, LAST])
        .answers(&[
            HttpAnswer::events(200, REPORT, "The reports after `Last-Event-ID`, as they come."),
            HttpAnswer::nothing(204, "Nothing more comes."),
            HttpAnswer::json(400, FAULTS, "`Last-Event-ID` is no number of a report."),
            HttpAnswer::json(404, FAULTS, "Unknown, or it came by AMQP."),
            COME_AGAIN,
        ])
        .served_by(reports),
        HttpEndpoint::post(
            "/v1/challenges/{id}/feedback",
            "giveFeedback",
            "Did the person enter the right code?",
        )
        .takes(&[ID, TENANT])
        .body(FEEDBACK, Presence::Required)
        .answers(&[NOTED, FAULTY, TOO_SLOW, TOO_LONG, COME_AGAIN])
        .served_by(feedback),
    ]
}

/// What the listener serves, for the OpenAPI document.
pub fn endpoints() -> Vec<HttpEndpoint> {
    endpoint::described(list())
}

const ID: Parameter = Parameter::path("id", "The challenge's id.").schema(id);
const TENANT: Parameter = Parameter::query("tenant", "Whose it is.").schema(tenant);
const LAST: Parameter =
    Parameter::header("Last-Event-ID", "`seq` of the last report that was seen.").schema(seq);

const FAULTY: HttpAnswer = HttpAnswer::json(400, FAULTS, "Every fault of the request.");
const UNKNOWN: HttpAnswer = HttpAnswer::json(
    404,
    FAULTS,
    "Unknown, or longer ago than the ledger remembers.",
);
const TOO_SLOW: HttpAnswer = HttpAnswer::json(408, FAULTS, "The body came too slowly.");
const TOO_LONG: HttpAnswer = HttpAnswer::json(413, FAULTS, "The body is longer than 64 KiB.");
const COME_AGAIN: HttpAnswer = HttpAnswer::json(
    503,
    FAULTS,
    "Stopping, or the ledger does not answer; nothing has been done. Come again after `Retry-After`.",
);
const NOTED: HttpAnswer = HttpAnswer::json(202, KNOWN, "The ledger holds it.");

/// What is wrong, by fields.
pub const FAULTS: Shape = Shape::new("Faults", faults);
/// A challenge's job.
pub const JOB: Shape = Shape::new("Challenge", || object(&keys(JobKind::Challenge)));
/// What the caller is told.
pub const REPORT: Shape = Shape::new("Report", report::body::schema);
const TAKEN: Shape = Shape::of::<Taken<'_>>("Taken");
const KNOWN: Shape = Shape::of::<Known>("Known");
const STATE: Shape = Shape::new("State", state);
const FEEDBACK: Shape = Shape::new("FeedbackBody", feedback_body);

/// As the messages have it.
fn id() -> Json {
    let keys = keys(JobKind::Feedback);
    let id = keys.into_iter().find(|key| key.name == "id");
    id.map(|id| id.json).unwrap_or_default()
}

fn tenant() -> Json {
    json!({ "type": "string", "default": "default" })
}

fn seq() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn faults() -> Json {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["errors"],
        "properties": {
            "errors": { "type": "array", "minItems": 1, "items": endpoint::written::<JobFault>() },
        },
    })
}

/// The message of the same kind, but that the path says the id.
fn feedback_body() -> Json {
    let mut schema = object(&keys(JobKind::Feedback));
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "id");
    }
    schema
}

/// See [`super::state`]: a report's fields, none of which is there before the first one.
fn state() -> Json {
    let mut schema = report::body::schema();
    let attempts = json!({ "type": "array", "items": report::body::attempt_schema() });
    schema["required"] = json!(["id", "tenant", "arrived", "deadline", "final"]);
    for (name, property) in [
        ("id", id()),
        ("arrived", moment()),
        ("deadline", moment()),
        (
            "verified",
            json!({ "type": "boolean", "description": "What feedback said." }),
        ),
        ("attempts", attempts),
    ] {
        schema["properties"][name] = property;
    }
    schema
}
