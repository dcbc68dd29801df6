//! Where the ledger's rows lie: the database behind it, and all that speaks its language.

pub(super) mod sqlite;
