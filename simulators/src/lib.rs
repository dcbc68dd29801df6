//! # The far end
//!
//! Simulated carriers and phones, against which Ringback is held. They share no codec with the gateway, so that
//! a mistake on one side cannot be cancelled out by the same mistake on the other.
//!
//! ```text
//!   gateway ==SMPP==> smsc          \                      / reads, replies
//!   gateway ==HTTP==> http_carrier  >-- script: faults -- subscriber: the person
//!   gateway ==SIP===> trunk         /                      \ answers, presses, declines
//!                       \________ record: what each phone saw, heard, pressed
//! ```
//!
//! Read [`subscriber`] first (who lives at which number), then [`script`] (what carriers do wrong), then
//! [`record`] (what is remembered). All of it is repeatable: numbers choose behaviour, a seed throws the dice.

pub mod clock;
pub mod control;
pub mod ear;
pub mod fate;
pub mod http_carrier;
pub mod listener;
pub mod record;
pub mod script;
pub mod smsc;
pub mod subscriber;
pub mod trunk;
