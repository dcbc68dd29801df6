//! Protocol cores: SMPP, SIP, RTP. Pure: they import nothing of ours, no socket, no clock.

pub mod cidr;
pub mod rtp;
pub mod sip;
pub mod smpp;
