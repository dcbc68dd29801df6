//! # Ringback, from end to end
//!
//! When someone signs in, their bank or employer challenges them by phone. This library takes such a
//! **challenge** from a queue, brings it to the person as a text or a call, and reports what became of it:
//! exactly one final report for every challenge, to the server that asked.
//!
//! ```text
//!  jobs (AMQP, HTTP)                                             reports (AMQP, SSE)
//!      |                                                               ^
//!    intake --> admission --> routing -->   core   --> carrier --> delivery --> report
//!               number,       plan with   slots,       SMPP,       receipts,    outbox,
//!               limits,       reasons     pace,        HTTP,       timers,      confirms
//!               countries     health      deadline     SIP+RTP     failover
//!                   \______________ ledger (SQLite) ______________________/
//! ```
//!
//! Read the modules in the order they stand here; that is the order in which a challenge meets them.
//!
//! ## The laws
//!
//! 1. The unit is the challenge with a deadline. Nothing is sent after it.
//! 2. A job is acked when the [`ledger`] durably holds it; from there it ends in exactly one final report.
//! 3. An attempt's intent is durable before its first byte leaves. A submit without an answer is *in doubt*.
//! 4. Carrier, sender and link are chosen when a slot is free, earliest deadline first.
//! 5. A choice carries its reason, into the attempt, the report and `ringback explain`.
//! 6. Protocol cores are sans-IO: bytes and time in, bytes, events and the next deadline out.
//! 7. A code, a PIN or a full number never reaches a log, a metric, a dead letter, or the disk in clear.

/// `Debug` of what holds a number, a code, keys or a text: its name and nothing that is in it. Tests may compare such
/// values; logs never show them.
macro_rules! private_debug {
    ($($type:ty),+ $(,)?) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($type), " { .. }"))
            }
        }
    )+};
}

// --- What comes along the way ---------------------------------------------------------------------------------

/// The unit: a challenge with a deadline, and its secrets that never print themselves.
pub mod challenge;

/// Why a carrier failed, in our words.
pub mod cause;

/// The number it goes to: E.164, country, line type, what is refused and why.
pub mod number;

// --- The way, in the order in which a challenge meets it --------------------------------------------------------

/// 1. Jobs come in by a door (AMQP, HTTP) and are parsed once.
pub mod intake;

/// 2. May this challenge be tried at all?
pub mod admission;

/// 3. Who may carry it, from which sender, and why: a pure plan over routes and health.
pub mod routing;

/// 4. All that is decided about open challenges: slots, pace, earliest deadline first, durable before done. Pure.
pub mod core;

/// The core's driver: channels and the clock, no decision.
pub mod dispatch;

/// 5. The contract with the carriers' drivers, one for texts and one for calls, and the drivers: SMPP, HTTP, SIP.
pub mod carrier;

/// What is said: texts, their encoding, recordings.
pub mod message;

/// 6. The life of one challenge: verdicts, receipts, doubts, fallbacks, exactly one end.
pub mod delivery;

/// 7. What the caller is told, and how it is brought there.
pub mod report;

// --- What the way stands on --------------------------------------------------------------------------------------

/// What is durable.
pub mod ledger;

/// RabbitMQ: connecting, what must stand there, how it is doing.
pub mod broker;

/// Protocol cores, pure: SMPP, SIP, RTP.
pub mod protocol;

/// `ringback.toml`, `routes/`, `carriers/`.
pub mod config;

/// One description per schema, and what follows from it: reading with all faults at once, the handbook, JSON Schemas.
pub mod schema;

/// What an HTTP endpoint takes and answers: one list from which the router and the OpenAPI document follow.
pub mod endpoint;

/// What operators have changed for a while: suspended carriers, each with its owner, reason and end.
pub mod overlay;

/// The memory allocator of the program: what is freed is overwritten.
pub mod scrub;

/// Files that are read whole: regular ones only.
pub mod regular;

/// The clocks, and the one place that reads the wall's: what is waited for, and what is said.
pub mod clock;

/// Lines that are written once a minute, errors in words, counters.
pub mod telemetry;

/// The one place that computes waits before a reconnect.
pub mod retry;

/// So many in so long, and a bucket that keeps to it.
pub mod pace;

// --- Who sets it going -------------------------------------------------------------------------------------------

/// Wires it all together and runs it.
pub mod gateway;

/// The operator's side: page, metrics, health, reload, logs.
pub mod operate;

/// What other programs rely on, as OpenAPI and AsyncAPI documents.
pub mod contract;

/// Simulated carriers and phones with a gateway in one process.
pub mod simulate;

/// The core in invented time, with everything around it going wrong on purpose.
pub mod rehearse;

/// What a person types: one file per verb.
pub mod cli;
