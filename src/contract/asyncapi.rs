//! What goes through RabbitMQ as an AsyncAPI 3.0 document: jobs and control words in, reports, errors and dead letters
//! out. Exchanges, keys and queues are those of [`Plan`], with the names that hold by default.

use lapin::ExchangeKind;
use serde_json::{Map, Value as Json, json};

use super::{Schemas, reference};
use crate::{
    broker::Plan,
    config::settings::Amqp,
    endpoint::{Shape, any_string},
    intake::{
        amqp::ERROR,
        http::{JOB, REPORT},
        job::{JobKind, keys},
    },
    report::publish::DEAD_LETTER,
    schema::object,
};

/// The document.
pub fn asyncapi() -> Json {
    let amqp = Amqp::at("amqp://127.0.0.1:5672");
    let mut parts = Parts::default();
    parts.taken(&amqp);
    parts.given(&amqp);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ringback",
            "description": "Jobs and reports by RabbitMQ. Names are keys of [jobs.amqp].",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": { "host": "127.0.0.1:5672", "protocol": "amqp", "protocolVersion": "0.9.1" },
        },
        "channels": parts.channels,
        "operations": parts.operations,
        "components": { "messages": parts.messages, "schemas": parts.schemas.0 },
    })
}

#[derive(Default)]
struct Parts {
    schemas: Schemas,
    messages: Map<String, Json>,
    channels: Map<String, Json>,
    operations: Map<String, Json>,
}

/// A message by its AMQP property `type`.
struct Message {
    kind: &'static str,
    about: &'static str,
    body: Shape,
    properties: Json,
}

const CANCEL: Shape = Shape::new("Cancel", || object(&keys(JobKind::Cancel)));
const FEEDBACK: Shape = Shape::new("Feedback", || object(&keys(JobKind::Feedback)));

impl Parts {
    /// What the gateway takes: each key of the jobs' exchange, and the queue behind.
    fn taken(&mut self, amqp: &Amqp) {
        for (kind, about, body) in [
            ("challenge", "Asks for a challenge.", JOB),
            ("cancel", "Ends an open challenge.", CANCEL),
            ("feedback", "Did the person enter the right code?", FEEDBACK),
        ] {
            let plan = Plan::of(amqp);
            let binding = plan.bindings.iter().find(|binding| binding.key == kind);
            let queue = binding.map_or("", |binding| binding.queue);
            let about = format!("{about} Read from the queue {queue}.");
            self.channel(kind, json!(kind), &about, &plan, &amqp.exchange);
            let message = Message {
                kind,
                about: "The AMQP properties are its headers.",
                body,
                properties: job_properties(kind),
            };
            self.message(kind, &message);
            let mut operation = json!({
                "action": "receive",
                "channel": { "$ref": format!("#/channels/{kind}") },
                "messages": [{ "$ref": format!("#/channels/{kind}/messages/{kind}") }],
                "bindings": { "amqp": { "ack": true } },
            });
            if kind == "challenge" {
                operation["reply"] = json!({
                    "address": { "location": "$message.header#/reply_to" },
                    "channel": { "$ref": "#/channels/reply" },
                });
            }
            self.operations.insert(format!("take_{kind}"), operation);
        }
    }

    /// What the gateway gives: reports to who asked and to everybody, errors, dead letters.
    fn given(&mut self, amqp: &Amqp) {
        let plan = Plan::of(amqp);
        let report = Message {
            kind: "report",
            about: "Order by seq, drop repeats by report_id, act on the one that is final.",
            body: REPORT,
            properties: our_properties("report"),
        };
        let error = Message {
            kind: "error",
            about: "A job that goes no further; it has no report.",
            body: ERROR,
            properties: our_properties("error"),
        };
        let dead = Message {
            kind: "dead",
            about: "What the gateway could not use, or not bring to anybody; nothing personal in clear.",
            body: DEAD_LETTER,
            properties: our_properties("dead"),
        };
        let key = json!("{event}.{channel}.{country}");
        let about = "All reports, without code and digits.";
        self.channel("reports", key, about, &plan, &amqp.reports);
        self.channels["reports"]["parameters"] = json!({
            "event": { "description": "The report's event." },
            "channel": { "enum": ["sms", "voice"] },
            "country": { "description": "ISO 3166 alpha-2 in lower case; zz where the number was not understood." },
        });
        self.message("reports", &report);
        let about = format!("An exchange and the queue {0} behind it.", amqp.dead);
        self.channel("dead", json!(""), &about, &plan, &amqp.dead);
        self.message("dead", &dead);
        let reply = json!({
            "address": null,
            "description": "The queue that the job's reply_to names: every report with code and digits, or an error.",
            "messages": {},
        });
        self.channels.insert("reply".to_owned(), reply);
        self.message("reply", &report);
        self.message("reply", &error);
        for (name, channel) in [
            ("give_reports", "reports"),
            ("give_dead_letters", "dead"),
            ("answer", "reply"),
        ] {
            let messages = self.channels[channel]["messages"].as_object();
            let messages = messages.into_iter().flat_map(Map::keys);
            let messages: Vec<Json> = messages
                .map(|kind| json!({ "$ref": format!("#/channels/{channel}/messages/{kind}") }))
                .collect();
            let operation = json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{channel}") },
                "messages": messages,
                "bindings": { "amqp": { "deliveryMode": 2, "timestamp": true } },
            });
            self.operations.insert(name.to_owned(), operation);
        }
    }

    /// A routing key of an exchange.
    fn channel(&mut self, name: &str, key: Json, about: &str, plan: &Plan<'_>, exchange: &str) {
        let known = plan.exchanges.iter().find(|(known, _)| *known == exchange);
        let kind = known.map_or("default", |(_, kind)| exchange_type(kind));
        let channel = json!({
            "address": key,
            "description": about,
            "messages": {},
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": { "name": exchange, "type": kind, "durable": true, "autoDelete": false },
                },
            },
        });
        self.channels.insert(name.to_owned(), channel);
    }

    /// Puts a message into a channel.
    fn message(&mut self, channel: &str, message: &Message) {
        let body = self.schemas.add(message.body);
        let shown = json!({
            "name": message.kind,
            "summary": message.about,
            "contentType": "application/json",
            "headers": message.properties,
            "payload": body,
            "bindings": { "amqp": { "messageType": message.kind } },
        });
        self.messages.insert(message.kind.to_owned(), shown);
        self.channels[channel]["messages"][message.kind] = reference("messages", message.kind);
    }
}

fn exchange_type(kind: &ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Direct => "direct",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Custom(_) => "default",
    }
}

/// AMQP properties of a job, with their AMQP names.
fn job_properties(kind: &str) -> Json {
    let mut properties = json!({
        "type": { "const": kind },
        "delivery_mode": { "const": 2, "description": "Or a broker's restart loses it." },
    });
    let mut required = vec!["type"];
    if kind == "challenge" {
        required.clear();
        properties["type"]["default"] = json!(kind);
        properties["reply_to"] =
            described("A queue that gets every report, or the error; none of the gateway's own.");
        properties["correlation_id"] = described("Comes back with each of them, octet for octet.");
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// AMQP properties of what the gateway publishes.
fn our_properties(kind: &str) -> Json {
    let mut properties = json!({
        "type": { "const": kind },
        "content_type": { "const": "application/json" },
        "delivery_mode": { "const": 2 },
        "timestamp": { "type": "integer", "description": "Seconds since the Unix epoch." },
    });
    if kind == "report" {
        properties["message_id"] = described("The report_id.");
    }
    if kind != "dead" {
        properties["correlation_id"] =
            described("The job's, where it had one; in its reply_to only.");
    }
    json!({ "type": "object", "properties": properties })
}

fn described(about: &str) -> Json {
    let mut schema = any_string();
    schema["description"] = json!(about);
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_exchange_and_every_key_of_the_topology_has_its_channel() {
        let document = asyncapi();
        let channels = document["channels"].as_object().expect("channels");
        let bound: Vec<_> = channels
            .values()
            .filter_map(|channel| {
                let exchange = &channel["bindings"]["amqp"]["exchange"];
                Some((
                    exchange["name"].as_str()?,
                    exchange["type"].as_str()?,
                    channel["address"].as_str()?,
                ))
            })
            .collect();
        let amqp = Amqp::at("amqp://127.0.0.1");
        let plan = Plan::of(&amqp);
        let told: BTreeSet<_> = bound.iter().map(|(name, kind, _)| (*name, *kind)).collect();
        let stands = plan
            .exchanges
            .iter()
            .map(|(name, kind)| (*name, exchange_type(kind)));
        assert_eq!(told, stands.collect());
        for binding in &plan.bindings {
            assert!(
                bound
                    .iter()
                    .any(|(name, _, key)| *name == binding.exchange && *key == binding.key),
                "{} of {}",
                binding.key,
                binding.exchange
            );
            assert!(
                document
                    .to_string()
                    .contains(&format!("the queue {}", binding.queue))
            );
        }
    }
}
