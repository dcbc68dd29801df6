//! The SIP carrier: calls over a trunk.
//!
//! [`start`] gives a trunk its task: sockets (`driver::wire`), who is called where (`driver::targets`), and the calls
//! themselves (`driver::calls`) around `protocol::sip`, the audio of [`media`] and the talk of [`conversation`].
//! What a SIP status means ends in [`cause`]; how numbers stand in URIs, in [`address`].

pub mod address;
pub mod cause;
pub mod conversation;
mod driver;
pub mod media;

pub use driver::{StartError, start};
