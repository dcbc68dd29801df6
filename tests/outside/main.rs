//! The gateway as a process, seen from outside: the real binary, a real RabbitMQ, simulated carriers and phones.
//!
//! [`storm`] proves that nothing is lost and nothing is sent twice, [`nodes`] the same of several gateways on one PostgreSQL, [`privacy`] that nothing personal is left lying
//! about, [`memory`] that codes leave the process, [`garbage`] that nothing breaks it. They take the machine one after the other.
//!
//! A broker is taken from RINGBACK_TEST_AMQP and RINGBACK_RABBIT_DIR (as `scripts/rabbit start` prints them) or
//! started for the test. Without Debian's rabbitmq-server they say so and end; with RINGBACK_PEERS in the environment
//! they fail instead. RINGBACK_STORM=1000 makes the storms smaller.

mod broker;
mod caller;
mod foreign;
mod garbage;
mod gateway;
mod jobs;
mod memory;
mod nodes;
mod privacy;
#[path = "../http/search.rs"]
mod search;
mod storm;
mod town;
mod verdict;

/// They keep times of a telephone, and use the same ports: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
