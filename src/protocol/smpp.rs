//! SMPP 3.4: the session as a pure machine over the codec.

pub mod receipt;
