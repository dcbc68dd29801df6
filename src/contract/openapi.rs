//! The HTTP API as an OpenAPI 3.1 document, from the lists that the listeners serve.

use std::net::SocketAddr;

use serde_json::{Map, Value as Json, json};

use super::Schemas;
use crate::{
    carrier::callbacks,
    config::Settings,
    endpoint::{HttpAnswer, HttpEndpoint, Media, Parameter, Presence},
    intake::http::{self, FAULTS},
    operate,
};

/// A listener with what it serves.
struct ListenerApi {
    tag: &'static str,
    about: &'static str,
    listen: SocketAddr,
    endpoints: Vec<HttpEndpoint>,
}

fn listeners() -> [ListenerApi; 3] {
    let settings = Settings::default();
    [
        ListenerApi {
            tag: "http",
            about: "Challenges in, reports out.",
            listen: settings.http.listen,
            endpoints: http::endpoints(),
        },
        ListenerApi {
            tag: "callbacks",
            about: "For HTTP carriers.",
            listen: settings.callbacks.listen,
            endpoints: callbacks::endpoints(),
        },
        ListenerApi {
            tag: "admin",
            about: "The operator's side.",
            listen: settings.admin.listen,
            endpoints: operate::endpoints(),
        },
    ]
}

/// The name of the security scheme.
const TOKEN: &str = "token";

/// What the guard before each listener may answer in any endpoint's place.
const GUARD: [HttpAnswer; 5] = [
    HttpAnswer::json(400, FAULTS, "No `Host`, or one that can't be read."),
    HttpAnswer::json(401, FAULTS, "The listener's token is missing or wrong."),
    HttpAnswer::json(403, FAULTS, "A page of another site may not act here."),
    HttpAnswer::json(
        421,
        FAULTS,
        "No token is set, and `Host` is none of the listener's names.",
    ),
    HttpAnswer::json(429, FAULTS, "Too many wrong tokens."),
];

/// The document.
pub fn openapi() -> Json {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    let mut tags = Vec::new();
    for api in listeners() {
        tags.push(json!({
            "name": api.tag,
            "description": format!("{} [{}] listen, {} by default.", api.about, api.tag, api.listen),
        }));
        for endpoint in &api.endpoints {
            let path = paths.entry(endpoint.path).or_insert_with(
                || json!({ "servers": [{ "url": format!("http://{}", api.listen) }] }),
            );
            path[endpoint.verb.name()] = operation(&api, endpoint, &mut schemas);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringback",
            "description": env!("CARGO_PKG_DESCRIPTION"),
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache License 2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {
                TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Asked wherever the listener's `token` is set.",
                },
            },
        },
    })
}

fn operation(api: &ListenerApi, endpoint: &HttpEndpoint, schemas: &mut Schemas) -> Json {
    let security = match endpoint.open {
        true => json!([]),
        // Without a token set, none is asked.
        false => json!([{ TOKEN: [] }, {}]),
    };
    let mut operation = json!({
        "operationId": endpoint.id,
        "summary": endpoint.about,
        "tags": [api.tag],
        "security": security,
        "responses": responses(endpoint, schemas),
    });
    if !endpoint.parameters.is_empty() {
        let parameters: Vec<Json> = endpoint.parameters.iter().map(parameter).collect();
        operation["parameters"] = json!(parameters);
    }
    if let Some((shape, presence)) = endpoint.body {
        operation["requestBody"] = json!({
            "required": presence == Presence::Required,
            "content": { "application/json": { "schema": schemas.add(shape) } },
        });
    }
    operation
}

fn parameter(parameter: &Parameter) -> Json {
    json!({
        "in": parameter.place.name(),
        "name": parameter.name,
        "description": parameter.about,
        "required": parameter.presence == Presence::Required,
        "schema": (parameter.schema)(),
    })
}

fn responses(endpoint: &HttpEndpoint, schemas: &mut Schemas) -> Json {
    let mut responses = Map::new();
    // The endpoint's own word about a status goes before the guard's.
    for answer in endpoint.answers.iter().chain(&GUARD) {
        if endpoint.open && answer.status == 401 {
            continue;
        }
        responses
            .entry(answer.status.to_string())
            .or_insert_with(|| response(answer, schemas));
    }
    Json::Object(responses)
}

fn response(answer: &HttpAnswer, schemas: &mut Schemas) -> Json {
    let mut response = json!({ "description": answer.about });
    let (media, schema) = match answer.media {
        Media::Nothing => return response,
        Media::Json(shape) => ("application/json", schemas.add(shape)),
        Media::Events(shape) => {
            // One event's data; the stream as a whole is no JSON.
            response["x-event-data"] = schemas.add(shape);
            ("text/event-stream", json!({ "type": "string" }))
        }
        Media::Text(media) => (media, json!({ "type": "string" })),
    };
    response["content"] = json!({ media: { "schema": schema } });
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::reference, *};

    /// Every `$ref` of a document.
    fn references(document: &Json, found: &mut BTreeSet<String>) {
        match document {
            Json::Object(fields) => {
                if let Some(Json::String(to)) = fields.get("$ref") {
                    found.insert(to.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Json::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn names_are_distinct_and_path_parameters_told() {
        let mut ids = BTreeSet::new();
        let mut places = BTreeSet::new();
        for api in listeners() {
            for endpoint in api.endpoints {
                assert!(ids.insert(endpoint.id), "{} stands twice", endpoint.id);
                let place = (endpoint.verb.name(), endpoint.path);
                assert!(places.insert(place), "{place:?} stands twice");
                let holes = endpoint.path.split('{').skip(1);
                let holes: Vec<&str> = holes.filter_map(|rest| rest.split('}').next()).collect();
                let told = endpoint.parameters.iter();
                let told = told.filter(|p| p.place.name() == "path").map(|p| p.name);
                assert_eq!(told.collect::<Vec<_>>(), holes, "{}", endpoint.path);
                let statuses: BTreeSet<u16> = endpoint.answers.iter().map(|a| a.status).collect();
                assert_eq!(statuses.len(), endpoint.answers.len(), "{}", endpoint.id);
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_no_schema_is_idle() {
        for document in [openapi(), super::super::asyncapi()] {
            let mut found = BTreeSet::new();
            references(&document, &mut found);
            for to in &found {
                let pointer = to.strip_prefix('#').expect("of this document");
                assert!(document.pointer(pointer).is_some(), "{to}");
            }
            for name in document["components"]["schemas"]
                .as_object()
                .expect("schemas")
                .keys()
            {
                let at = reference("schemas", name)["$ref"].clone();
                assert!(
                    found.contains(at.as_str().expect("a text")),
                    "{name} is used nowhere"
                );
            }
        }
    }
}
