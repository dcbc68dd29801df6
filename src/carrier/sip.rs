//! The SIP carrier: calls over a trunk.
//!
//! [`start`] gives a trunk its task: sockets (`driver::wire`), who is called where (`driver::targets`), and the calls
//! themselves (`driver::calls`) around `protocol::sip`, the audio of [`media`] and the talk of [`call_script`].
//! What a SIP status means ends in [`cause`]; how numbers stand in URIs, in [`address`].

pub mod address;
pub mod call_script;
pub mod cause;
mod driver;
pub mod media;
mod redirect;

pub use driver::{
    Local, Opened, StartError, TrunkChange, hold, is_another_link, open, own_address, start,
};

use super::CallState;
use crate::protocol::sip::Resume;

/// The port on which the trunk expects whoever has this call: requests of the far end go there, also after a restart.
pub fn port_of(state: &CallState) -> Option<u16> {
    serde_json::from_str::<Resume>(&state.0).ok()?.port()
}
