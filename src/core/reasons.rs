//! Every reason that a report can have: words of other tables, and the few that stand in none. The handbook tells them all,
//! and its test asks here.

use std::{collections::BTreeSet, sync::LazyLock};

use crate::{admission, carrier::ReceiptState, cause::Cause, challenge::Method, number};

/// All, but the method that a `fallback` names.
pub fn reasons() -> BTreeSet<&'static str> {
    let numbers = [number::Reason::InvalidNumber, number::Reason::NumberType];
    let mut all = BTreeSet::from(OTHERS);
    all.extend(Cause::ALL.map(Cause::name));
    all.extend(admission::Kind::ALL.map(admission::Kind::reason));
    all.extend(numbers.map(number::Reason::as_str));
    all.extend(ReceiptState::ALL.map(ReceiptState::name));
    all
}

/// Is it one of them, or a method?
pub(super) fn is_known(reason: &str) -> bool {
    static KNOWN: LazyLock<BTreeSet<&str>> = LazyLock::new(reasons);
    KNOWN.contains(reason) || Method::parse(reason).is_some()
}

/// Reasons that no other table has.
const OTHERS: [&str; 7] = [
    "carriers_exhausted",
    "confirmed",
    "country_blocked",
    "delivered",
    "method_disabled",
    "no_route",
    "verified",
];
