//! Carriers: the postcard between dispatch and the drivers, and the drivers (SMPP, HTTP, SIP).

pub mod http;
pub mod sip;
pub mod smpp;
