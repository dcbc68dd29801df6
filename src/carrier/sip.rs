//! The SIP carrier: calls over a trunk.
//!
//! [`trunk`] is the machine: who is called where, and the calls themselves, around `protocol::sip` and [`call_script`].
//! [`start`] gives a trunk its task (`driver`): the machine with its sockets, the audio of [`media`], names and a clock.
//! What a SIP status means ends in [`cause`]; how numbers stand in URIs, in [`address`].

pub mod address;
pub mod call_script;
pub mod cause;
mod driver;
pub mod media;
mod redirect;
#[cfg(test)]
mod tests;
pub mod trunk;

pub use driver::{Opened, StartError, hold, open, own_address, start};
pub use trunk::{Local, TrunkChange, is_another_link};

use super::CallState;

/// The port on which the trunk expects whoever has this call: requests of the far end go there, also after a restart.
pub fn port_of(state: &CallState) -> Option<u16> {
    let calls = trunk::calls_in(state)?;
    calls.first()?.port()
}
