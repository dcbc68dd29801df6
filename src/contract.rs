//! What other programs rely on, as documents for machines: the HTTP API ([`openapi`]) and what goes through RabbitMQ
//! ([`asyncapi`]). Nothing is described here that is described elsewhere: endpoints, fields of jobs, bodies that are
//! written and the broker's topology are asked where they stand.

use serde_json::{Map, Value as Json};

use crate::{core::reasons, endpoint::Shape};

mod asyncapi;
mod openapi;

pub use asyncapi::asyncapi;
pub use openapi::openapi;

/// Schemas by name, each as often as it is used.
#[derive(Default)]
struct Schemas(Map<String, Json>);

impl Schemas {
    /// Where it stands in the document.
    fn add(&mut self, shape: Shape) -> Json {
        let mut schema = (shape.schema)();
        if shape.name == "Report" {
            // Words may be added, so that the set is told and not closed.
            schema["properties"]["reason"]["examples"] = serde_json::json!(reasons());
        }
        let before = self.0.insert(shape.name.to_owned(), schema.clone());
        debug_assert!(
            before.is_none_or(|before| before == schema),
            "two schemas are called {}",
            shape.name
        );
        reference("schemas", shape.name)
    }
}

fn reference(kind: &str, name: &str) -> Json {
    serde_json::json!({ "$ref": format!("#/components/{kind}/{name}") })
}
