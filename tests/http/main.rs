//! The gateway by HTTP, through real sockets: jobs and their reports, what the operator sees, and the verbs `run` and
//! `send` as a person runs them.

mod admission;
mod callbacks;
mod contract;
mod descriptors;
mod doors;
mod jobs;
mod ledger_files;
mod limits;
mod losses;
mod memory;
mod operator;
mod overlay;
mod process;
mod reload;
mod search;
mod secrets;
mod taking;
mod verbs;
mod world;
