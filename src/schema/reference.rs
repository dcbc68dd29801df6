//! What a description comes to for readers: rows of the handbook's tables, and JSON Schemas.

use serde_json::{Map, Value as Json, json};

use super::{Applies, Key, Presence, Tree};

/// A JSON Schema (2020-12) of a whole file or message.
pub fn json_schema(title: &str, keys: &[Key]) -> Json {
    let mut schema = object(keys);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

/// A table with these keys and no others.
pub fn object(keys: &[Key]) -> Json {
    let properties: Map<String, Json> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Needed(_)))
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object", "additionalProperties": false, "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &Key) -> Json {
    let mut schema = key.json.clone();
    if !key.about.is_empty() {
        schema["description"] = json!(key.about.replace('`', ""));
    }
    match key.presence {
        Presence::Default(value) => schema["default"] = Tree::literal(value).to_json(),
        Presence::Needed(example) | Presence::Absent(_, example) if !example.is_empty() => {
            schema["examples"] = json!([Tree::literal(example).to_json()]);
        }
        Presence::Needed(_) | Presence::Absent(..) => {}
    }
    if !key.change.name().is_empty() {
        schema["x-change"] = json!(key.change.name());
    }
    schema
}

/// The rows of a table of the handbook, a line each, with the keys of inner tables dotted: key, default, values, change
/// (not for messages), what it is for.
pub fn rows(keys: &[Key]) -> String {
    let mut text = String::new();
    below("", Applies::Live, keys, &mut text);
    text
}

fn below(path: &str, above: Applies, keys: &[Key], text: &mut String) {
    for key in keys {
        let name = format!("{path}{}", key.name);
        let change = match key.change {
            Applies::Whole => above,
            change => change,
        };
        // An inner table is told of by its keys, unless it has something to say of itself.
        if key.inside.is_empty() || !key.about.is_empty() {
            text.push_str(&row(&name, change, key));
        }
        below(&format!("{name}."), change, &key.inside, text);
    }
}

fn row(name: &str, change: Applies, key: &Key) -> String {
    let (default, example) = match key.presence {
        Presence::Default(value) => (written(value), ""),
        Presence::Needed(example) => ("required".to_owned(), example),
        Presence::Absent(what, example) => (what.to_owned(), example),
    };
    let mut values = key.said.clone();
    if !example.is_empty() {
        values = format!("{values}; e.g. {}", written(example));
    }
    let change = match change {
        Applies::Message => String::new(),
        change => format!(" {} |", change.name()),
    };
    let about = key.about.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("| `{name}` | {default} | {values} |{change} {about} |\n")
}

/// A value as a file has it.
fn written(value: &'static str) -> String {
    format!("`{}`", Tree::literal(value))
}

#[cfg(test)]
mod tests {
    use crate::schema::{
        Described, Reading, Tree, described,
        kinds::{FLAG, SECOND, TEXT, int, span},
    };

    use super::*;

    described! {
        #[derive(Clone, Debug, PartialEq)]
        struct Lamp {
            /// Where it hangs.
            place: std::sync::Arc<str>, TEXT, live, needed("hall");
            bright: bool, FLAG, restart, default(true);
            watts: Option<u8>, int(1..=100), restart, absent("as sold", 40);
        }
        keys {
            /// Off after so long.
            off("off_after"): std::time::Duration, span(SECOND, 60 * SECOND), live, default("20s");
        }
        fields {
            off_s: u64, live;
        }
        then(table) {
            if watts == Some(Some(100)) && bright == Some(true) {
                table.fault("watts", "too bright");
            }
            let off_s = off.map(|span| span.as_secs());
        }
    }

    fn lamp(text: &str) -> (Option<Lamp>, Vec<(String, String)>) {
        let table = toml::de::DeTable::parse(text).expect("TOML").into_inner();
        let entries = Tree::entries(table);
        let reading = Reading::toml(std::path::Path::new(""));
        let root = reading.root(&entries);
        let found = Lamp::read(&root);
        root.finish();
        let notes = reading.into_notes().into_iter();
        (found, notes.map(|note| (note.key, note.reason)).collect())
    }

    #[test]
    fn a_description_is_read_with_all_faults_at_once() {
        let (found, notes) = lamp("place = \"door\"");
        let lamp_at = found.expect("a lamp");
        assert_eq!(
            (lamp_at.off_s, lamp_at.bright, lamp_at.watts),
            (20, true, None)
        );
        assert!(notes.is_empty());
        let (found, notes) = lamp("wats = 1\nwatts = 100\noff_after = 5\n");
        assert!(found.is_none());
        let keys: Vec<&str> = notes.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["place", "off_after", "watts", "wats"]);
        assert_eq!(notes[3].1, "unknown key; did you mean watts?");
    }

    #[test]
    fn what_waits_for_a_restart_is_kept_and_named() {
        let (one, _) = lamp("place = \"a\"\nbright = true");
        let (two, _) = lamp("place = \"b\"\nbright = false");
        let mut waiting = crate::schema::RestartNeeded::default();
        let now = one.expect("one").adopt(two.expect("two"), &mut waiting);
        assert_eq!((&*now.place, now.bright), ("b", true));
        assert_eq!(waiting.keys, ["bright"]);
    }

    #[test]
    fn a_description_tells_of_itself() {
        assert_eq!(
            rows(&Lamp::keys()),
            "| `off_after` | `\"20s\"` | 1s to 1m | live | Off after so long. |\n\
             | `place` | required | a text; e.g. `\"hall\"` | live | Where it hangs. |\n\
             | `bright` | `true` | `true`, `false` | restart |  |\n\
             | `watts` | as sold | 1 to 100; e.g. `40` | restart |  |\n"
        );
        let schema = json_schema("a lamp", &Lamp::keys());
        assert_eq!(schema["required"], json!(["place"]));
        assert_eq!(schema["properties"]["off_after"]["default"], json!("20s"));
    }

    #[test]
    fn a_message_repeats_no_value_and_may_say_null() {
        let body = r#"{"place": 7, "bright": null, "+14255550100": 1, "place": "x"}"#;
        let Ok(Tree::Table(entries)) = serde_json::from_str::<Tree<'_>>(body) else {
            panic!("no object")
        };
        let reading = Reading::json();
        let root = reading.root(&entries);
        assert!(root.get("bright").is_none());
        Lamp::read(&root);
        root.finish();
        let notes = reading.into_notes();
        let said: Vec<_> = notes.iter().map(|n| (&*n.key, &*n.reason)).collect();
        assert_eq!(
            said,
            [
                ("place", "must be a string"),
                ("(unprintable)", "unknown field"),
                ("place", "stands twice")
            ]
        );
    }
}
