//! The gateway: wires the way together and runs it.
