//! The SIP driver against far ends of another make. A program that is missing is said, and passes nothing off as run;
//! with RINGBACK_PEERS=required in the environment it fails.

mod addresses;
mod kamailio;
mod sipp;
mod world;
