//! `[[sender]]` of `routes/senders.toml`: what a person may see, and where.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;

use crate::{
    number::{Country, countries},
    schema::{
        TableView, Value, described,
        kinds::{self, FLAG, OneOf, Read, TEXT, filled, mapped, text, word},
        value::quoted,
    },
};

described! {
    /// What the person sees.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Sender {
        /// As the person sees it.
        pub id: Arc<str>, ID, live, needed("97671");
        /// What it is.
        pub kind: SenderKind, KIND, live, needed("short_code");
        /// Where it may be shown; `"all"` not for short codes, which are leased country by country.
        pub countries: Scope, SCOPE, live, needed(["US"]);
        /// Texts to it come back to us.
        pub two_way: bool, FLAG, live, default(false);
        /// May be a caller ID (long codes and toll-free numbers).
        pub voice: bool, FLAG, live, default(false);
        /// Opt-outs are per programme.
        pub programme: Arc<str>, text("a name"), live, default("mfa");
        /// Who may use it.
        pub tenants: Option<BTreeSet<Arc<str>>>, mapped(filled(TEXT, NOBODY), BTreeSet::from_iter), live,
            absent("every tenant", ["bank"]);
    }
    then (table) {
        check(table, id.as_deref(), kind, voice, countries.as_ref());
    }
}

const NOBODY: &str = "is empty: nobody could use this sender; leave it out for everybody";
const ID: kinds::PlainText = text(
    "a short code (3 to 8 digits), a number in E.164, or 1 to 11 letters, digits and ` -_.&+`",
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderKind {
    ShortCode,
    LongCode,
    TollFree,
    Alphanumeric,
}

const KIND: OneOf<SenderKind> = word(&[
    ("short_code", SenderKind::ShortCode),
    ("long_code", SenderKind::LongCode),
    ("toll_free", SenderKind::TollFree),
    ("alphanumeric", SenderKind::Alphanumeric),
]);

/// Where a sender may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Only(BTreeSet<Country>),
}

impl Sender {
    /// May it be shown in this country? A short code only where it is leased.
    pub fn serves(&self, country: Country) -> bool {
        match &self.countries {
            Scope::All => true,
            Scope::Only(set) => set.contains(&country),
        }
    }

    pub fn may_use(&self, tenant: &str) -> bool {
        self.tenants.as_ref().is_none_or(|set| set.contains(tenant))
    }
}

const SCOPE: Read<Scope> = kinds::read(
    "a list of ISO 3166 letters, or `\"all\"`",
    || json!({ "anyOf": [{ "const": "all" }, { "type": "array", "minItems": 1, "items": { "type": "string" } }] }),
    scope,
);

fn scope(value: &Value<'_>) -> Option<Scope> {
    use crate::schema::ValueKind;
    if value.is_str() {
        return word(&[("all", Scope::All)]).read(value);
    }
    let items = value.list()?;
    if items.is_empty() {
        return value.refuse("names no country");
    }
    let mut found = BTreeSet::new();
    for item in &items {
        let text = item.str()?;
        match countries::named(text) {
            None => item.fault(format!(
                "{} is no country: write ISO 3166 letters like \"US\"",
                quoted(text)
            )),
            Some(country) if !found.insert(country) => item.fault("stands here twice"),
            Some(_) => {}
        }
    }
    Some(Scope::Only(found))
}

/// What the kind of a sender allows.
fn check(
    table: &TableView<'_>,
    id: Option<&str>,
    kind: Option<SenderKind>,
    voice: Option<bool>,
    countries: Option<&Scope>,
) {
    let Some(kind) = kind else { return };
    if let Some(id) = id
        && let Some(reason) = misnamed(kind, id)
    {
        table.fault("id", format!("{} {reason}", quoted(id)));
    }
    let number = matches!(kind, SenderKind::LongCode | SenderKind::TollFree);
    if voice == Some(true) && !number {
        let reason = "only a long code or a toll-free number can be a caller ID";
        table.fault("voice", reason);
    }
    if kind == SenderKind::ShortCode && countries == Some(&Scope::All) {
        let reason = "a short code is leased country by country: name them, like [\"US\"]";
        table.fault("countries", reason);
    }
}

/// Why this can't be the id of a sender of that kind.
fn misnamed(kind: SenderKind, id: &str) -> Option<&'static str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match kind {
        SenderKind::ShortCode => (!digits(id) || !(3..=8).contains(&id.len()))
            .then_some("is no short code: 3 to 8 digits"),
        SenderKind::LongCode | SenderKind::TollFree => {
            let number = id
                .strip_prefix('+')
                .is_some_and(|d| digits(d) && (7..=15).contains(&d.len()) && !d.starts_with('0'));
            (!number).then_some("is no number in E.164: a plus and 7 to 15 digits")
        }
        // TS 23.040, 9.1.2.5: eleven characters of the 7-bit alphabet.
        SenderKind::Alphanumeric => {
            let good = (1..=11).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b" -_.&+".contains(&b))
                && id.bytes().any(|b| b.is_ascii_alphabetic());
            (!good).then_some("is no alphanumeric sender: 1 to 11 letters, digits and spaces, at least one letter")
        }
    }
}
