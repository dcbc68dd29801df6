//! What the operator sets: limits by window, and the countries that are on.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    number::{Country, countries},
    pace::{Pace, written::WINDOW},
    schema::{
        Value, described,
        kinds::{self, OneOf, Read, word},
        value::quoted,
    },
};

described! {
    /// Sliding windows; None: off.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Limits {
        /// Per tenant and user.
        pub per_user("challenges_per_user"): Option<Pace>, WINDOW, live, default({ count = 5, per = "5m" });
        /// Per number and extension.
        pub per_number("challenges_per_number"): Option<Pace>, WINDOW, live, default({ count = 5, per = "5m" });
        /// Per number less its last four digits. Left out, it only records; once it is set, `guard` holds.
        pub per_prefix("challenges_per_prefix"): Option<Pace>, WINDOW, live, default({ count = 200, per = "10m" });
        /// Per country of the number.
        pub per_country("challenges_per_country"): Option<Pace>, WINDOW, live, default(false);
        /// Per tenant.
        pub per_tenant("challenges_per_tenant"): Option<Pace>, WINDOW, live, default(false);
        /// For prefix (where set), country and tenant; `record`: only count and log.
        pub guard: Guard, GUARD, live, default("deny");
    }
    fields {
        /// Where it differs for the prefix: left out of the file, that limit only records.
        pub prefix_guard: Option<Guard>, live;
    }
    then (table) {
        let set = table.is_there("challenges_per_prefix");
        let prefix_guard = Some((!set).then_some(Guard::Record));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Deny,
    Record,
}

const GUARD: OneOf<Guard> = word(&[("deny", Guard::Deny), ("record", Guard::Record)]);

described! {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Countries {
        /// Where texts may go. `"all"`: all but the high-cost ones; a named country is on, high-cost or not.
        pub sms: CountrySet, COUNTRY_SET, live, default(["all"]);
        /// Where calls may go; likewise.
        pub voice: CountrySet, COUNTRY_SET, live, default(["all"]);
    }
}

/// `all` means all but the high-cost list; a named country is on, high-cost or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountrySet {
    pub all: bool,
    pub named: BTreeSet<Country>,
}

const COUNTRY_SET: Read<CountrySet> = kinds::read(
    "a list of `\"all\"` and ISO 3166 letters",
    || json!({ "type": "array", "items": { "type": "string" } }),
    country_set,
);

fn country_set(value: &Value<'_>) -> Option<CountrySet> {
    let mut set = CountrySet::default();
    for item in value.list()? {
        let Some(text) = item.str() else { continue };
        match countries::named(text) {
            _ if text == "all" => set.all = true,
            Some(country) => {
                set.named.insert(country);
            }
            None => item.fault(format!(
                "{} is no country: write \"all\" or ISO 3166 letters like \"SE\"",
                quoted(text)
            )),
        }
    }
    Some(set)
}
