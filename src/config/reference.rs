//! The keys of each file, as they are described: for the handbook's tables, and as JSON Schemas.

use serde_json::{Value as Json, json};

use super::{CarrierConfig, Settings, carrier::TransportKind, routes_file};
use crate::schema::{Described, Key, json_schema, object};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `ringback.toml`
    Settings,
    /// `routes/senders.toml`
    Senders,
    /// `routes/COUNTRY.toml`
    Route,
    /// `carriers/*.toml`
    Carrier,
}

impl File {
    /// Its keys; of a carrier those that every transport has.
    pub fn keys(self) -> Vec<Key> {
        match self {
            File::Settings => Settings::keys(),
            File::Senders => routes_file::sender_keys(),
            File::Route => routes_file::keys(),
            File::Carrier => CarrierConfig::keys(),
        }
    }

    /// JSON Schema (2020-12), for editors and other programs. It can't say all that `ringback check` looks at: what a
    /// file means beside the others, and what keys mean beside each other.
    pub fn json_schema(self) -> Json {
        match self {
            File::Settings => json_schema("ringback.toml", &self.keys()),
            File::Senders => json_schema("routes/senders.toml", &self.keys()),
            File::Route => json_schema("routes/COUNTRY.toml", &self.keys()),
            File::Carrier => {
                let each: Vec<Json> = TransportKind::ALL.map(carrier).into();
                json!({
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "title": "carriers/NAME.toml",
                    "oneOf": each,
                })
            }
        }
    }
}

/// A carrier's file with this transport.
fn carrier(kind: TransportKind) -> Json {
    let mut keys = CarrierConfig::keys();
    keys.extend(kind.keys());
    let mut schema = object(&keys);
    schema["properties"]["transport"] = json!({ "const": kind.name() });
    schema
}
