//! Routing: which carrier brings a challenge to its country, from which sender, and why.
//!
//! [`table`] is the routes compiled for speed, [`plan`] the pure choice over it (dispatch and `ringback explain` call
//! the very same function), [`health`] what is known of each carrier. here reads the clock, rolls dice, or knows a socket.

pub mod health;
pub mod plan;
mod sender;
pub mod table;

pub use health::{Availability, Health, HealthSettings};
pub use plan::{Candidate, Choice, LeftOut, Plan, PlanRequest, Tried, View, Why};
pub use table::{
    CarrierIx, EntryTerms, RouteEntry, RouteEntryIx, Sender, SenderIx, SenderKind, Table,
};
