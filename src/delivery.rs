//! Delivery: the life of one challenge, as a pure machine.
