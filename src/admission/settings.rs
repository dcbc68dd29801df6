//! What the operator sets: limits by window, and the countries that are on.

use std::collections::BTreeSet;

use crate::{number::Country, pace::Pace};

/// Sliding windows; None: off.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub per_user: Option<Pace>,
    pub per_number: Option<Pace>,
    pub per_prefix: Option<Pace>,
    pub per_country: Option<Pace>,
    pub per_tenant: Option<Pace>,
    /// For prefix, country and tenant.
    pub guard: Guard,
    /// Where it differs for the prefix: left out of the file, that limit only records.
    pub prefix_guard: Option<Guard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Deny,
    Record,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Countries {
    pub sms: CountrySet,
    pub voice: CountrySet,
}

/// `all` means all but the high-cost list; a named country is on, high-cost or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountrySet {
    pub all: bool,
    pub named: BTreeSet<Country>,
}
