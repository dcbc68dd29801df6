//! Simulated carriers and phones.
