//! # Ringback, from end to end
//!
//! When someone signs in, their bank or employer challenges them by phone. This library takes such a
//! **challenge** from a queue, brings it to the person as a text or a call, and reports what became of it:
//! exactly one final report for every challenge, to the server that asked.
//!
//! ```text
//!  jobs (AMQP, HTTP)                                             reports (AMQP, SSE)
//!      |                                                               ^
//!    intake --> admission --> routing --> dispatch --> carrier --> delivery --> report
//!               number,       plan with   slots,       SMPP,       receipts,    outbox,
//!               limits,       reasons     pace,        HTTP,       timers,      confirms
//!               countries     health      deadline     SIP+RTP     failover
//!                   \______________ ledger (SQLite) ______________________/
//! ```
//!
//! Read the modules in the order they stand here; that is the order in which a challenge meets them.
//!
//! ## The laws of the house
//!
//! 1. The unit is the challenge with a deadline. Nothing is sent after it.
//! 2. A job is acked when the [`ledger`] durably holds it; from there it ends in exactly one final report.
//! 3. An attempt's intent is durable before its first byte leaves. A submit without an answer is *in doubt*.
//! 4. Carrier, sender and link are chosen when a slot is free, earliest deadline first.
//! 5. A choice carries its reason, into the attempt, the report and `ringback explain`.
//! 6. Protocol cores are sans-IO: bytes and time in, bytes, events and the next deadline out.
//! 7. A code, a PIN or a full number never reaches a log, a metric, a dead letter, or the disk in clear.

// What a challenge is, and what is known about the number it goes to.
pub mod challenge;
pub mod number;

// The way.
pub mod admission;
pub mod carrier;
pub mod delivery;
pub mod dispatch;
pub mod intake;
pub mod message;
pub mod report;
pub mod routing;

// What the way stands on.
pub mod clock;
pub mod config;
pub mod gateway;
pub mod ledger;
pub mod operate;
pub mod protocol;
pub mod retry;
pub mod simulate;

// What a person types.
pub mod cli;
