//! The SIP carrier: calls over a trunk.

pub mod conversation;
pub mod media;
