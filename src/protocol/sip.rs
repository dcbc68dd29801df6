//! SIP (RFC 3261) as machines: bytes and time in; bytes, events and the next deadline out.
//!
//! Read in this order: [`codec`] (messages), [`transaction`] (one request and its answers), [`dialog`] (what two
//! ends have agreed on), [`digest`] and [`sdp`] (what messages carry), [`endpoint`] (one trunk: calls, probes,
//! strangers). Nothing here opens a socket, reads a clock, rolls dice or logs; the driver stands in
//! `carrier::sip`.

pub mod codec;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod sdp;
pub mod token;
pub mod transaction;
pub mod transport;

pub use codec::{HeaderName, Message, Method};
pub use endpoint::{
    CallHandle, Config, End, Endpoint, Event, Invite, Limits, Output, ProbeHandle, Resume,
};
pub use transport::Transport;

#[cfg(test)]
mod torture;
