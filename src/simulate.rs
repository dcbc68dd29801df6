//! Simulated carriers and phones wired to a gateway in one process.
