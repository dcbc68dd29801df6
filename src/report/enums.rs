//! The closed sets of words in reports, as JSON Schemas.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{
    challenge::{Channel, Method},
    delivery::{Event, Final, Outcome},
};

fn one_of(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let mut distinct: Vec<&str> = Vec::new();
    for word in words {
        if !distinct.contains(&word) {
            distinct.push(word);
        }
    }
    json_schema!({ "type": "string", "enum": distinct })
}

pub(super) fn event(_: &mut SchemaGenerator) -> Schema {
    one_of(Event::all().map(Event::name))
}

pub(super) fn result(_: &mut SchemaGenerator) -> Schema {
    one_of(Final::ALL.map(Final::result))
}

pub(super) fn method(_: &mut SchemaGenerator) -> Schema {
    one_of(Method::ALL.map(Method::name))
}

pub(super) fn channel(_: &mut SchemaGenerator) -> Schema {
    one_of([Channel::Sms, Channel::Voice].map(Channel::name))
}

pub(super) fn outcome(_: &mut SchemaGenerator) -> Schema {
    one_of(Outcome::ALL.map(Outcome::name))
}

pub(super) fn ringing(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": "ringing" })
}

/// RFC 3339.
pub(super) fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

pub(super) fn meta(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
}
