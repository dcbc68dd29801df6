//! Ledger: what is durable. SQLite, one writer, group commit; everything personal sealed.
