//! SMPP 3.4, the side of an ESME: frames, the few PDUs a text gateway needs, and the session as a pure machine.
//!
//! [`pdu`] reads and writes PDUs, [`Session`] is one bind from its first octet to its last. Bytes and time go in;
//! bytes, events and the next deadline come out. Nothing here owns a socket, reads the clock or knows a carrier.
//!
//! The PDUs are written by hand. The `rusmpp` crate is held against them in the tests, but can't be the codec: it
//! refuses a whole PDU where a peer's dialect is merely untidy (an id over 64 characters, a missing final NUL, a
//! Latin-1 octet in an address), and then a receipt is lost that every SMSC expects to be understood.

pub mod pdu;
pub mod receipt;
pub mod session;

pub use pdu::{Deliver, SmppAddress, Submit};
pub use session::{Closed, Counters, Session, SessionEvent, Settings};
