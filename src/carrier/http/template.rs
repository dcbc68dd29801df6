//! The request of an HTTP carrier as a template: `{to}`, `{sender}`, `{text}`, `{ref}` in the body and the URL. Pure.
//!
//! Every field is encoded for where it stands, so that no text can break out of its place: as a JSON string with
//! its quotes (without, where the template has put them), form-encoded, or as XML text.

use std::fmt::Write as _;

/// What is filled in.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    pub to: &'a str,
    pub sender: &'a str,
    pub text: &'a str,
    pub reference: &'a str,
}

/// How fields are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    /// `application/x-www-form-urlencoded`, and URLs.
    Form,
    Xml,
    Plain,
}

impl Kind {
    /// By the content type, or by how the body begins where there is none.
    pub fn of(content_type: Option<&str>, body: &str) -> Kind {
        match content_type.map(str::to_ascii_lowercase) {
            Some(named) if named.contains("json") => Kind::Json,
            Some(named) if named.contains("form-urlencoded") => Kind::Form,
            Some(named) if named.contains("xml") => Kind::Xml,
            Some(_) => Kind::Plain,
            None => match body.trim_start().as_bytes().first() {
                Some(b'{' | b'[') => Kind::Json,
                Some(b'<') => Kind::Xml,
                _ => Kind::Form,
            },
        }
    }

    /// The content type that goes with it where the operator names none.
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::Json => "application/json",
            Kind::Form => "application/x-www-form-urlencoded",
            Kind::Xml => "application/xml",
            Kind::Plain => "text/plain; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    To,
    Sender,
    Text,
    Reference,
}

const NAMES: [(&str, Field); 4] = [
    ("{to}", Field::To),
    ("{sender}", Field::Sender),
    ("{text}", Field::Text),
    ("{ref}", Field::Reference),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field {
        field: Field,
        /// It stands within quotes that the template itself has put.
        quoted: bool,
    },
}

/// A template, parsed once.
#[derive(Clone, Debug)]
pub struct Template {
    kind: Kind,
    pieces: Vec<Piece>,
}

impl Template {
    /// Any other brace is itself.
    pub fn new(template: &str, kind: Kind) -> Template {
        let mut pieces = Vec::new();
        let mut rest = template;
        let mut literal = String::new();
        let mut inside = false;
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            match NAMES.iter().find(|(name, _)| rest.starts_with(name)) {
                Some((name, field)) => {
                    rest = &rest[name.len()..];
                    inside ^= odd_quotes(&literal);
                    let quoted = inside;
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Field {
                        field: *field,
                        quoted,
                    });
                }
                None => {
                    literal.push('{');
                    rest = &rest[1..];
                }
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        Template { kind, pieces }
    }

    /// Whether anything is to be filled in.
    pub fn is_fixed(&self) -> bool {
        self.pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Literal(_)))
    }

    pub fn fill(&self, fields: &Fields<'_>) -> String {
        let mut out = String::with_capacity(256);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field { field, quoted } => {
                    let value = match field {
                        Field::To => fields.to,
                        Field::Sender => fields.sender,
                        Field::Text => fields.text,
                        Field::Reference => fields.reference,
                    };
                    encode(self.kind, value, *quoted, &mut out);
                }
            }
        }
        out
    }
}

/// Whether a string of JSON is begun or ended in between.
fn odd_quotes(literal: &str) -> bool {
    let mut odd = false;
    let mut escaped = false;
    for c in literal.chars() {
        match c {
            '\\' => escaped = !escaped,
            '"' if !escaped => odd = !odd,
            _ => escaped = false,
        }
    }
    odd
}

fn encode(kind: Kind, value: &str, quoted: bool, out: &mut String) {
    match kind {
        Kind::Json => {
            let json = serde_json::Value::from(value).to_string();
            out.push_str(if quoted {
                &json[1..json.len() - 1]
            } else {
                &json
            });
        }
        Kind::Form => percent(value, out),
        Kind::Xml => {
            for c in value.chars() {
                match c {
                    '&' => out.push_str("&amp;"),
                    '<' => out.push_str("&lt;"),
                    '>' => out.push_str("&gt;"),
                    '"' => out.push_str("&quot;"),
                    '\'' => out.push_str("&apos;"),
                    // Not characters of XML 1.0, not even escaped.
                    c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{FFFD}'),
                    c => out.push(c),
                }
            }
        }
        Kind::Plain => out.push_str(value),
    }
}

/// RFC 3986, 2.1: everything but the unreserved characters.
fn percent(value: &str, out: &mut String) {
    for octet in value.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(octet))
            }
            // Writing to a String can't fail.
            _ => drop(write!(out, "%{octet:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = r#"{"to":{to},"from":{sender},"text":{text},"ref":{ref}}"#;

    fn fields(text: &str) -> Fields<'_> {
        Fields {
            to: "+12025550123",
            sender: "97671",
            text,
            reference: "7-1",
        }
    }

    #[test]
    fn each_kind_encodes_in_its_own_way() {
        let text = "a\"b & <c>\n€";
        let json = Template::new(EXAMPLE, Kind::Json).fill(&fields(text));
        let expected = r#"{"to":"+12025550123","from":"97671","text":"a\"b & <c>\n€","ref":"7-1"}"#;
        assert_eq!(json, expected);
        let quoted =
            Template::new(r#"{"text":"code: {text}","to":"{to}"}"#, Kind::Json).fill(&fields("1"));
        assert_eq!(quoted, r#"{"text":"code: 1","to":"+12025550123"}"#);
        let form = Template::new("to={to}&text={text}&x={y}", Kind::Form).fill(&fields(text));
        assert_eq!(
            form,
            "to=%2B12025550123&text=a%22b%20%26%20%3Cc%3E%0A%E2%82%AC&x={y}"
        );
        let xml =
            Template::new("<sms><text>{text}</text></sms>", Kind::Xml).fill(&fields("a<b>\u{1}&"));
        assert_eq!(xml, "<sms><text>a&lt;b&gt;\u{FFFD}&amp;</text></sms>");
    }

    #[test]
    fn the_kind_is_named_or_guessed() {
        assert_eq!(
            Kind::of(Some("application/json; charset=utf-8"), ""),
            Kind::Json
        );
        assert_eq!(
            Kind::of(Some("Application/X-WWW-Form-Urlencoded"), "{"),
            Kind::Form
        );
        assert_eq!(Kind::of(None, EXAMPLE), Kind::Json);
        assert_eq!(Kind::of(None, "<a/>"), Kind::Xml);
        assert_eq!(Kind::of(None, "to={to}"), Kind::Form);
        assert_eq!(Kind::of(Some("text/plain"), "{to}"), Kind::Plain);
    }

    proptest! {
        #[test]
        fn any_text_stays_in_its_place(text in any::<String>()) {
            let json = Template::new(EXAMPLE, Kind::Json).fill(&fields(&text));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(&*text));
            prop_assert_eq!(read["ref"].as_str(), Some("7-1"));

            let quoted = Template::new(r#"{"text":"{text}"}"#, Kind::Json).fill(&fields(&text));
            let read: serde_json::Value = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(&*text));

            let form = Template::new("t={text}&end", Kind::Form).fill(&fields(&text));
            prop_assert!(form.ends_with("&end") && form.matches('&').count() == 1 && form.is_ascii());
        }

        #[test]
        fn any_template_is_taken_as_it_is(template in "[{}a-z\"]{0,40}") {
            let parsed = Template::new(&template, Kind::Plain);
            if parsed.is_fixed() {
                prop_assert_eq!(parsed.fill(&fields("x")), template);
            }
        }
    }
}
