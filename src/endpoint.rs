//! What an HTTP endpoint takes and answers, described in the very list that its listener serves: from it follow the
//! router ([`router`]) and the OpenAPI document (`ringback schema openapi`, made in `contract`).
//!
//! Ground: knows axum, and nothing of what is served.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value as Json, json};

/// An endpoint: one method of one path.
pub struct HttpEndpoint {
    pub verb: Verb,
    /// As axum and OpenAPI write it: `/v1/challenges/{id}`.
    pub path: &'static str,
    /// Its name in the OpenAPI document.
    pub id: &'static str,
    pub about: &'static str,
    /// No token is asked, even where one is set.
    pub open: bool,
    pub parameters: Vec<Parameter>,
    /// What the request's body is, and whether it may be absent.
    pub body: Option<(Shape, Presence)>,
    pub answers: Vec<HttpAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    /// As OpenAPI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// What a request says beside its body.
#[derive(Clone, Copy)]
pub struct Parameter {
    pub place: Place,
    pub name: &'static str,
    pub about: &'static str,
    pub schema: fn() -> Json,
    pub presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    /// As OpenAPI writes it.
    pub fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        }
    }
}

/// One status that may be answered.
#[derive(Clone, Copy)]
pub struct HttpAnswer {
    pub status: u16,
    pub about: &'static str,
    pub media: Media,
}

/// What stands in an answer's body.
#[derive(Clone, Copy)]
pub enum Media {
    Nothing,
    /// `application/json`
    Json(Shape),
    /// `text/event-stream`; the data of each event.
    Events(Shape),
    /// Any other media type.
    Text(&'static str),
}

/// A JSON Schema with a name.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub schema: fn() -> Json,
}

impl Shape {
    pub const fn new(name: &'static str, schema: fn() -> Json) -> Shape {
        Shape { name, schema }
    }

    /// Of what a type is written as.
    pub const fn of<T: JsonSchema>(name: &'static str) -> Shape {
        Shape::new(name, written::<T>)
    }
}

/// The JSON Schema (2020-12) of what a type is written as, closed: it has no other fields.
pub fn written<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let generator = settings.for_serialize().into_generator();
    let mut schema = Json::from(generator.into_root_schema_for::<T>());
    close(&mut schema);
    schema
}

/// Serialized structures have no other fields than theirs, and what may be left out is never null. Titles are the names
/// of types, and say nothing to a caller.
fn close(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            if fields.get("title").is_some_and(Json::is_string) {
                fields.remove("title");
            }
            let required = fields.get("required").cloned().unwrap_or_default();
            let required: Vec<&str> = required
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .collect();
            if let Some(Json::Object(properties)) = fields.get_mut("properties") {
                let optional = properties
                    .iter_mut()
                    .filter(|(name, _)| !required.contains(&name.as_str()));
                optional.for_each(|(_, property)| never_null(property));
                fields
                    .entry("additionalProperties")
                    .or_insert_with(|| json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Json::Array(items) => items.iter_mut().for_each(close),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn never_null(property: &mut Json) {
    if let Some(Json::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            property["type"] = only.clone();
        }
    }
    if let Some(Json::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [only] = &choices[..] {
            let mut only = only.clone();
            if let (Some(about), Json::Object(only)) = (property.get("description"), &mut only) {
                only.insert("description".to_owned(), about.clone());
            }
            *property = only;
        }
    }
}

/// What is written at several places in the same way.
pub fn any_string() -> Json {
    json!({ "type": "string" })
}

/// RFC 3339.
pub fn moment() -> Json {
    json!({ "type": "string", "format": "date-time" })
}

impl Parameter {
    pub const fn path(name: &'static str, about: &'static str) -> Parameter {
        Parameter {
            place: Place::Path,
            name,
            about,
            schema: any_string,
            presence: Presence::Required,
        }
    }

    pub const fn query(name: &'static str, about: &'static str) -> Parameter {
        Parameter {
            place: Place::Query,
            presence: Presence::Optional,
            ..Parameter::path(name, about)
        }
    }

    pub const fn header(name: &'static str, about: &'static str) -> Parameter {
        Parameter {
            place: Place::Header,
            presence: Presence::Optional,
            ..Parameter::path(name, about)
        }
    }

    pub const fn required(self) -> Parameter {
        Parameter {
            presence: Presence::Required,
            ..self
        }
    }

    pub const fn schema(self, schema: fn() -> Json) -> Parameter {
        Parameter { schema, ..self }
    }
}

impl HttpAnswer {
    pub const fn json(status: u16, shape: Shape, about: &'static str) -> HttpAnswer {
        HttpAnswer {
            status,
            about,
            media: Media::Json(shape),
        }
    }

    pub const fn events(status: u16, shape: Shape, about: &'static str) -> HttpAnswer {
        HttpAnswer {
            status,
            about,
            media: Media::Events(shape),
        }
    }

    pub const fn text(status: u16, media: &'static str, about: &'static str) -> HttpAnswer {
        HttpAnswer {
            status,
            about,
            media: Media::Text(media),
        }
    }

    pub const fn nothing(status: u16, about: &'static str) -> HttpAnswer {
        HttpAnswer {
            status,
            about,
            media: Media::Nothing,
        }
    }
}

impl HttpEndpoint {
    pub fn get(path: &'static str, id: &'static str, about: &'static str) -> HttpEndpoint {
        HttpEndpoint::new(Verb::Get, path, id, about)
    }

    pub fn post(path: &'static str, id: &'static str, about: &'static str) -> HttpEndpoint {
        HttpEndpoint::new(Verb::Post, path, id, about)
    }

    pub fn delete(path: &'static str, id: &'static str, about: &'static str) -> HttpEndpoint {
        HttpEndpoint::new(Verb::Delete, path, id, about)
    }

    fn new(verb: Verb, path: &'static str, id: &'static str, about: &'static str) -> HttpEndpoint {
        HttpEndpoint {
            verb,
            path,
            id,
            about,
            open: false,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
        }
    }

    pub fn open(mut self) -> HttpEndpoint {
        self.open = true;
        self
    }

    pub fn takes(mut self, parameters: &[Parameter]) -> HttpEndpoint {
        self.parameters.extend(parameters);
        self
    }

    pub fn body(mut self, shape: Shape, presence: Presence) -> HttpEndpoint {
        self.body = Some((shape, presence));
        self
    }

    pub fn answers(mut self, answers: &[HttpAnswer]) -> HttpEndpoint {
        self.answers.extend(answers);
        self
    }

    /// With what serves it.
    pub fn served_by<H, T, S>(self, handler: H) -> Served<S>
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let serving = on(self.verb.filter(), handler);
        Served {
            endpoint: self,
            serving,
        }
    }
}

/// An endpoint with what serves it.
pub struct Served<S> {
    endpoint: HttpEndpoint,
    serving: MethodRouter<S>,
}

/// The router that serves a list, and nothing else.
pub fn router<S: Clone + Send + Sync + 'static>(list: Vec<Served<S>>) -> Router<S> {
    let add =
        |router: Router<S>, served: Served<S>| router.route(served.endpoint.path, served.serving);
    list.into_iter().fold(Router::new(), add)
}

/// What a list serves.
pub fn described<S>(list: Vec<Served<S>>) -> Vec<HttpEndpoint> {
    list.into_iter().map(|served| served.endpoint).collect()
}
